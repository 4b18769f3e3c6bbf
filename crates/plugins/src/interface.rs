//! A container's interface: its addresses and routes, and its removal.
//!
//! Owns: what every plugin that makes an interface does with it (the reference's `ConfigureIface`, removal in DEL), the keys that all of them
//! have, and the guard that removes a link again when the ADD that made it fails. Beside it: `check` (whether it still is as a result says).

pub mod check;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni::{Call, CniResult, Code, Error, Result, Route};
use ipnet::IpNet;
use netlink::{AddressFlags, LinkChange, Mac, Netns, OperState, Rtnl, sysctl};
use rustix::io::Errno;

use crate::kernel;

/// `IPV4_DEVCONF_ARP_NOTIFY` (include/uapi/linux/ip.h): the kernel announces addresses by ARP when the link comes up.
const ARP_NOTIFY: u16 = 22;

/// How long an ADD waits for duplicate address detection, as the reference does.
const DAD_LIMIT: Duration = Duration::from_secs(5);

/// The smallest MTU of a link that carries IPv6, in bytes (RFC 8200, section 5); the kernel removes IPv6 from links below.
const IPV6_MIN_MTU: u32 = 1280;

/// What an interface is to get. Made from a result, and validated, before the kernel is touched.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    addresses: Vec<IpNet>,
    routes: Vec<Route>,
}

/// How a [`Plan`] is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Detect duplicate IPv6 addresses and wait for the outcome. Addresses from IPAM are unique without it.
    pub dad: bool,
    /// Announce IPv4 addresses when the link comes up.
    pub arp_notify: bool,
    /// Announce IPv6 addresses when the link comes up (the kernel does for those without detection too, since 4.15).
    pub ndisc_notify: bool,
}

/// An interface of a container, as far as configuring it needs.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The container's namespace.
    pub netns: &'a Netns,
    /// Its name.
    pub name: &'a str,
    /// Its index in the container's namespace.
    pub index: u32,
}

impl Plan {
    /// The addresses and routes of `result` for its interface number `interface`. A route without next hop gets the first gateway of its
    /// family; one that is then the same as another is dropped.
    ///
    /// # Errors
    /// Naming the address or route that the kernel would not take.
    pub fn new(result: &CniResult, interface: usize) -> Result<Plan> {
        let mut addresses: Vec<IpNet> = Vec::new();
        let mut gateways: Vec<IpAddr> = Vec::new();
        for ip in &result.ips {
            let Some(index) = ip.interface else { continue };
            if index != interface {
                return Err(Error::internal(format!(
                    "failed to add IP address {} to interface number {interface}: invalid interface index {index}",
                    ip.address
                )));
            }
            if addresses.iter().any(|a| a.addr() == ip.address.addr()) {
                return Err(Error::internal(format!("the IPAM plugin gave the address {} twice", ip.address)));
            }
            if let Some(gateway) = ip.gateway {
                if gateway.is_ipv4() != ip.address.addr().is_ipv4() {
                    return Err(Error::internal(format!(
                        "the gateway {gateway} of address {} is of the other address family",
                        ip.address
                    )));
                }
                gateways.push(gateway);
            }
            addresses.push(ip.address);
        }
        let mut routes: Vec<Route> = Vec::new();
        for route in &result.routes {
            let v4 = route.dst.addr().is_ipv4();
            if route.dst != route.dst.trunc() {
                return Err(Error::internal(format!(
                    "route to {}: host bits are set; write it as {}",
                    route.dst,
                    route.dst.trunc()
                )));
            }
            if let Some(gw) = route.gw.filter(|gw| gw.is_ipv4() != v4) {
                return Err(Error::internal(format!(
                    "route to {} via {gw}: next hop and destination are of different address families",
                    route.dst
                )));
            }
            let gw = route.gw.or_else(|| gateways.iter().copied().find(|g| g.is_ipv4() == v4));
            let route = Route { gw, ..route.clone() };
            if !routes.contains(&route) {
                routes.push(route);
            }
        }
        Ok(Plan { addresses, routes })
    }

    /// The MTU that the interface will have is enough.
    ///
    /// # Errors
    /// Code 7 if there are IPv6 addresses and the MTU is below 1280 bytes.
    pub fn check_mtu(&self, mtu: Option<u32>) -> Result<()> {
        match mtu.filter(|m| *m < IPV6_MIN_MTU) {
            Some(mtu) if self.has_ipv6() => Err(Error::config(format!(
                "mtu {mtu} is too small for IPv6 addresses: set \"mtu\" to {IPV6_MIN_MTU} or more"
            ))),
            _ => Ok(()),
        }
    }

    fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|a| matches!(a, IpNet::V6(_)))
    }

    fn has_ipv4(&self) -> bool {
        self.addresses.iter().any(|a| matches!(a, IpNet::V4(_)))
    }

    /// Gives `target` its addresses, sets it up, adds its routes, with a socket of its namespace.
    ///
    /// # Errors
    /// Naming the address or route that the kernel refused. What was done before stays: whoever made the link removes it.
    pub fn apply(&self, rtnl: &mut Rtnl, target: &Target<'_>, settings: Settings) -> Result<()> {
        if self.has_ipv6() {
            target.netns.run(|| enable_ipv6(target.name, settings)).map_err(kernel)??;
        }
        if settings.arp_notify && self.has_ipv4() {
            // A request of its own, before the one that sets the link up: within one request the kernel sets the link up first.
            let notify = LinkChange { ipv4_conf: &[(ARP_NOTIFY, 1)], ..LinkChange::default() };
            rtnl.change_link(target.index, &notify).map_err(kernel)?;
        }
        for address in &self.addresses {
            let flags = AddressFlags { nodad: !settings.dad };
            rtnl.add_address(target.index, *address, flags).map_err(|e| context(e, target.name))?;
        }
        set_up(rtnl, target.index)?;
        if self.has_ipv6() && settings.dad {
            settle(rtnl, target)?;
        }
        for route in &self.routes {
            rtnl.add_route(&kernel_route(route, target.index)).map_err(|e| self.route_failed(e, route, target.name))?;
        }
        Ok(())
    }

    fn route_failed(&self, e: netlink::Error, route: &Route, name: &str) -> Error {
        let remedy = match route.gw {
            Some(gw) if e.is(Errno::NETUNREACH) || e.is(Errno::HOSTUNREACH) => {
                let subnets = self.addresses.iter().map(|a| a.trunc().to_string()).collect::<Vec<_>>().join(", ");
                format!(
                    "; the next hop {gw} is in no network of the interface ({subnets}): correct the route or the gateway in the IPAM configuration"
                )
            }
            _ => String::new(),
        };
        Error::internal(format!("interface \"{name}\": {e}{remedy}"))
    }
}

fn kernel_route(route: &Route, index: u32) -> netlink::Route {
    netlink::Route {
        metric: route.priority,
        table: route.table,
        scope: route.scope,
        mtu: route.mtu,
        advmss: route.advmss,
        ..netlink::Route::new(route.dst, route.gw, index)
    }
}

fn context(e: netlink::Error, name: &str) -> Error {
    kernel(e).context(format_args!("interface \"{name}\""))
}

/// Sets a link up.
///
/// # Errors
/// The kernel's.
pub fn set_up(rtnl: &mut Rtnl, index: u32) -> Result<()> {
    rtnl.change_link(index, &LinkChange { up: Some(true), ..LinkChange::default() }).map_err(kernel)
}

/// Kernel parameters that IPv6 addresses need, of the calling thread's namespace.
fn enable_ipv6(name: &str, settings: Settings) -> Result<()> {
    for link in ["lo", name] {
        let key = format!("net/ipv6/conf/{link}/disable_ipv6");
        match sysctl::get(&key) {
            Ok(value) if value == "0" => {}
            Ok(_) => sysctl::set(&key, "0").map_err(|e| context(e, name))?,
            Err(e) => {
                let why = format!("{e}; the kernel has no IPv6: remove the IPv6 ranges from the IPAM configuration");
                return Err(
                    Error::internal(why).context(format_args!("interface \"{name}\" is to have IPv6 addresses"))
                );
            }
        }
    }
    sysctl::set(&format!("net/ipv6/conf/{name}/keep_addr_on_down"), "1").map_err(|e| context(e, name))?;
    // The rest is a matter of quality and of kernels that lack it: the reference ignores failures as well.
    let try_set = |key: &str, value: &str| {
        if let Err(error) = sysctl::set(&format!("net/ipv6/conf/{name}/{key}"), value) {
            tracing::debug!(interface = name, %error, "optional kernel parameter not set");
        }
    };
    if settings.dad {
        try_set("enhanced_dad", "1");
    }
    // Of the addresses only the link-local one is left to be detected when the others are added without detection.
    try_set("accept_dad", if settings.dad { "1" } else { "0" });
    if settings.ndisc_notify {
        try_set("ndisc_notify", "1");
    }
    Ok(())
}

/// Waits until no IPv6 address of the link is tentative.
fn settle(rtnl: &mut Rtnl, target: &Target<'_>) -> Result<()> {
    let start = Instant::now();
    loop {
        let addresses = rtnl.addresses(target.index).map_err(kernel)?;
        if let Some(duplicate) = addresses.iter().find(|a| a.dad_failed) {
            return Err(Error::internal(format!(
                "interface \"{}\": the address {} is in use by another host of the network (duplicate address detection failed)",
                target.name, duplicate.address
            )));
        }
        let Some(tentative) = addresses.iter().find(|a| a.tentative) else { return Ok(()) };
        if start.elapsed() > DAD_LIMIT {
            // Without a carrier detection never ends, and that is no fault of the address.
            if rtnl.link_by_index(target.index).map_err(kernel)?.oper_state != OperState::Up {
                return Ok(());
            }
            return Err(Error::internal(format!(
                "interface \"{}\": the address {} is still tentative after {DAD_LIMIT:?}; leave out \"enabledad\" if addresses are unique",
                target.name, tentative.address
            )));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Opens the container's namespace for ADD and CHECK.
///
/// # Errors
/// In the originals' words; what the path is, where it is no namespace.
pub fn open_netns(call: &Call) -> Result<Netns> {
    Netns::open(&call.netns).map_err(|e| Error::internal(format!("failed to open netns \"{}\": {e}", call.netns)))
}

/// Runs `f` with an rtnetlink socket of a namespace.
///
/// # Errors
/// `f`'s own; or why the namespace could not be entered.
pub fn inside<T>(netns: &Netns, f: impl FnOnce(&mut Rtnl) -> Result<T>) -> Result<T> {
    netns.with_rtnl(f).map_err(kernel)?
}

/// Runs `f` with an rtnetlink socket of the calling thread's namespace, the host's.
///
/// # Errors
/// `f`'s own; or why there can be no socket.
pub fn on_host<T>(f: impl FnOnce(&mut Rtnl) -> Result<T>) -> Result<T> {
    Netns::with_rtnl_here(f).map_err(kernel)?
}

/// DEL: removes the container's interface. No namespace, or no interface in it, is success.
///
/// # Errors
/// If what `CNI_NETNS` names is not a namespace, or the link cannot be removed.
pub fn remove(call: &Call) -> Result<()> {
    if call.netns.is_empty() {
        return Ok(());
    }
    let netns = match Netns::open(&call.netns) {
        Ok(netns) => netns,
        Err(e) if e.is_missing() => return Ok(()),
        Err(e) => return Err(Error::internal(format!("failed to open netns \"{}\": {e}", call.netns))),
    };
    inside(&netns, |rtnl| rtnl.delete_links_early(&[&call.ifname]).map(drop).map_err(kernel))
}

/// A link made by the ADD in progress. Unless [`Made::keep`] is called, it is removed when this is dropped.
#[must_use = "the link is removed when this is dropped"]
#[derive(Debug)]
pub struct Made<'a> {
    name: &'a str,
    /// Where the link is; the calling thread's namespace where absent.
    netns: Option<&'a Netns>,
    kept: bool,
}

impl<'a> Made<'a> {
    /// Guards the link `name` in `netns` (absent: the calling thread's).
    pub fn new(name: &'a str, netns: Option<&'a Netns>) -> Self {
        Made { name, netns, kept: false }
    }

    /// The ADD has succeeded: the link stays.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let delete = |rtnl: &mut Rtnl| rtnl.delete_link(self.name).map(drop).map_err(kernel);
        let done = match self.netns {
            Some(netns) => inside(netns, delete),
            None => on_host(delete),
        };
        if let Err(error) = done {
            tracing::warn!(interface = self.name, %error, "a failed ADD could not remove its interface; the runtime's DEL will try again");
        }
    }
}

/// The error for an interface name that is taken in the container.
#[must_use]
pub fn name_taken(call: &Call, e: &netlink::Error) -> Error {
    Error::internal(format!(
        "interface \"{}\" already exists in the container's namespace {}: {e}; delete the earlier attachment first, or ask for another interface name",
        call.ifname, call.netns
    ))
}

/// A name that Linux takes for a link (`dev_valid_name`): 1 to 15 bytes, not `.` or `..`, without `/`, `:` and white space.
///
/// # Errors
/// Code 7 naming the key.
pub fn valid_name(key: &str, name: &str) -> Result<()> {
    let wrong = name.is_empty()
        || name.len() > 15
        || name == "."
        || name == ".."
        || name.chars().any(|c| c == '/' || c == ':' || c == '\0' || c.is_whitespace());
    if wrong {
        return Err(Error::config(format!(
            "key \"{key}\": {name:?} is not an interface name (1 to 15 bytes without \"/\", \":\" and white space)"
        )));
    }
    Ok(())
}

/// A name by which Linux finds a link: one that [`valid_name`] takes, or an alternative name of up to 127 bytes (`ALTIFNAMSIZ`; `ip link property`).
///
/// # Errors
/// Code 7 naming the key.
pub fn existing_name(key: &str, name: &str) -> Result<()> {
    match name.len() {
        16..=127 if !name.contains('\0') => Ok(()),
        _ => valid_name(key, name),
    }
}

/// The configuration key `mtu`: 0 or absent leaves it to the kernel.
///
/// # Errors
/// Code 7 for a negative value or one above the largest that Linux knows.
pub fn mtu(value: i64) -> Result<Option<u32>> {
    match u32::try_from(value) {
        Ok(0) => Ok(None),
        Ok(mtu) if mtu <= i32::MAX.unsigned_abs() => Ok(Some(mtu)),
        _ => Err(Error::config(format!(
            "invalid mtu {value}: it is a number of bytes; leave it out for the kernel's default"
        ))),
    }
}

/// A MAC address from key `key`.
///
/// # Errors
/// Code 7 naming key and value.
pub fn mac(key: &str, value: &str) -> Result<Mac> {
    value.parse().map_err(|e| Error::config(format!("key \"{key}\": {e}")))
}

/// The result can be said in the configuration's version; found out before anything is made.
///
/// # Errors
/// In the originals' words: 0.1.0 and 0.2.0 cannot describe an interface without addresses.
pub fn expressible(call: &Call, layer3: bool) -> Result<()> {
    let version = call.version()?;
    if layer3 || version >= cni::Version::V0_3_0 {
        return Ok(());
    }
    Err(Error::new(Code::INCOMPATIBLE_VERSION, "cannot convert: no valid IP addresses").with_details(format!(
        "a result of cniVersion {version} cannot describe an interface without addresses: set \"cniVersion\" to 0.3.1 or later, or \"ipam\""
    )))
}

#[cfg(test)]
mod tests;
