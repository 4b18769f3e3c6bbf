//! The host's side of an attachment: the bridge, the pair of links, the port's settings, the gateway's address.

use std::time::Duration;

use cni::{Call, Error, Result};
use ipnet::IpNet;
use netlink::{
    AddressFlags, BridgePort, Link, LinkChange, LinkKind, Mac, Netns, NewLink, OperState, Rtnl, VethPeer, sysctl,
};
use rustix::io::Errno;
use std::os::fd::AsFd as _;

use super::conf::{Conf, Vlans, gateway_name};
use crate::{interface, kernel};

/// How often a new name for the host's end is tried.
const NAME_TRIES: u32 = 10;

/// How long an ADD waits for the bridge port to forward, as the reference does.
const PORT_LIMIT: Duration = Duration::from_millis(2550);

/// The bridge, made if it is not there, up. Never removed: other attachments, of other calls at the same time, share it.
///
/// It stays when the ADD fails, so what can be told of `addresses` (whether the IPAM plugin could work) is asked before it is made.
pub(super) fn ensure_bridge(rtnl: &mut Rtnl, conf: &Conf, addresses: impl FnOnce() -> Result<()>) -> Result<Link> {
    let link = match rtnl.link(&conf.bridge) {
        Ok(link) => link,
        Err(e) if e.is_missing() => {
            addresses()?;
            create_bridge(rtnl, conf)?
        }
        Err(e) => return Err(kernel(e)),
    };
    require_bridge(&link)?;
    warn_of_differences(&link, conf);
    let change = LinkChange {
        up: (!link.up).then_some(true),
        promisc: (conf.promisc && !link.promisc).then_some(true),
        ..LinkChange::default()
    };
    if change.up.is_some() || change.promisc.is_some() {
        rtnl.change_link(link.index, &change).map_err(kernel)?;
    }
    no_router_advertisements(&link);
    Ok(link)
}

fn create_bridge(rtnl: &mut Rtnl, conf: &Conf) -> Result<Link> {
    let new = NewLink {
        mtu: conf.mtu,
        // A MAC address given by us stays: otherwise the bridge takes the lowest of its ports', and changes it as they come and go.
        mac: Some(Mac::random()),
        up: true,
        ..NewLink::new(&conf.bridge, LinkKind::Bridge { vlan_filtering: conf.vlans.filtering })
    };
    match rtnl.add_link(&new) {
        // Another ADD was quicker.
        Err(e) if e.is(Errno::EXIST) => rtnl.link(&conf.bridge).map_err(kernel),
        Err(e) if conf.vlans.filtering && (e.is(Errno::OPNOTSUPP) || e.is(Errno::INVAL)) => {
            Err(kernel(e).context("\"vlan\" and \"vlanTrunk\" need a kernel with CONFIG_BRIDGE_VLAN_FILTERING"))
        }
        other => other.map_err(kernel),
    }
}

/// The link is a bridge.
///
/// # Errors
/// What it is instead.
pub(super) fn require_bridge(link: &Link) -> Result<()> {
    if link.kind == "bridge" {
        return Ok(());
    }
    let kind = if link.kind.is_empty() { "physical" } else { &link.kind };
    Err(Error::internal(format!(
        "\"{}\" already exists but is not a bridge (it is of type {kind}): choose another name for \"bridge\", or remove that link",
        link.name
    )))
}

/// The bridge's MTU is not as configured though a port with that MTU has joined. (A bridge whose MTU nobody set follows its ports': with no
/// port it is back at 1500, which is no difference to speak of.)
pub(super) fn warn_of_mtu(link: &Link, conf: &Conf) {
    if let Some(mtu) = conf.mtu.filter(|mtu| *mtu != link.mtu) {
        tracing::warn!(bridge = link.name, actual = link.mtu, configured = mtu, "the existing bridge keeps its MTU");
    }
}

/// An existing bridge is used as it is; where it does not separate what the configuration wants separated, that is said.
fn warn_of_differences(link: &Link, conf: &Conf) {
    if conf.vlans.filtering && link.vlan_filtering != Some(true) {
        tracing::warn!(
            bridge = link.name,
            "the existing bridge does not filter VLANs, so \"vlan\" and \"vlanTrunk\" separate nothing: ip link set {} type bridge vlan_filtering 1",
            link.name
        );
    }
}

/// The host does not take routes from the containers' side. A kernel without IPv6 has no such parameter.
fn no_router_advertisements(link: &Link) {
    if link.accept_ra == Some(0) {
        return;
    }
    let key = format!("net/ipv6/conf/{}/accept_ra", link.name);
    match sysctl::set(&key, "0") {
        Err(error) if !error.is_missing() && sysctl::get(&key).is_ok_and(|value| value != "0") => {
            tracing::warn!(interface = link.name, %error, "router advertisements are still accepted");
        }
        _ => {}
    }
}

/// Both ends of the container's link.
pub(super) struct Pair {
    /// The host's end.
    pub(super) host: Link,
    /// The MAC address of the container's end.
    pub(super) mac: Mac,
    /// The index of the container's end, in the container's namespace.
    pub(super) index: Option<u32>,
}

/// Makes both ends in one request: the host's up and a port of the bridge, the container's in its namespace under its final name.
pub(super) fn create_pair(
    rtnl: &mut Rtnl,
    call: &Call,
    conf: &Conf,
    netns: &Netns,
    bridge: &Link,
    host_name: &mut String,
) -> Result<Pair> {
    let mac = conf.mac.unwrap_or_else(Mac::random);
    let mut last = None;
    for _ in 0..NAME_TRIES {
        *host_name = random_name();
        let peer = VethPeer { name: &call.ifname, mtu: conf.mtu, mac: Some(mac), netns: Some(netns.as_fd()) };
        let new = NewLink {
            mtu: conf.mtu,
            up: true,
            master: Some(bridge.index),
            ..NewLink::new(host_name, LinkKind::Veth(peer))
        };
        match rtnl.add_link(&new) {
            Ok(host) => return Ok(Pair { index: host.parent, host, mac }),
            Err(e) if e.is(Errno::EXIST) => {
                if rtnl.link(host_name).is_err() {
                    return Err(interface::name_taken(call, &e));
                }
                last = Some(e);
            }
            Err(e) => return Err(kernel(e)),
        }
    }
    let last = last.map(|e| e.to_string()).unwrap_or_default();
    Err(Error::internal(format!("no free name for the host's end of the link was found in {NAME_TRIES} tries: {last}")))
}

/// `veth` and 8 hexadecimal digits, as the reference names them.
fn random_name() -> String {
    let [a, b, c, d, e, f] = Mac::random().0;
    // The first byte of a MAC address is not random in all bits.
    format!("veth{:02x}{c:02x}{d:02x}{e:02x}", a ^ b ^ f)
}

/// Settings of the port that are not the kernel's defaults.
pub(super) fn set_up_port(rtnl: &mut Rtnl, conf: &Conf, port: &Link) -> Result<()> {
    no_router_advertisements(port);
    let settings = BridgePort { hairpin: conf.hairpin.then_some(true), isolated: conf.isolated.then_some(true) };
    if settings != BridgePort::default() {
        rtnl.change_port(port.index, &settings).map_err(kernel)?;
    }
    add_vlans(rtnl, &conf.vlans, port)
}

/// Puts the port's VLANs in the place of the bridge's default.
fn add_vlans(rtnl: &mut Rtnl, vlans: &Vlans, port: &Link) -> Result<()> {
    if vlans.on_port.is_empty() {
        return Ok(());
    }
    let failed = |e| kernel(e).context(format_args!("failed to set up VLANs on interface \"{}\"", port.name));
    if !vlans.preserve_default {
        let mut default = rtnl.port_vlans(port.index).map_err(failed)?;
        // What is to stay is not taken away for a moment either: another ADD may be setting up the same port.
        default.retain(|vlan| !vlans.on_port.contains(vlan));
        if !default.is_empty() {
            rtnl.delete_port_vlans(port.index, &default).map_err(failed)?;
        }
    }
    rtnl.add_port_vlans(port.index, &vlans.on_port).map_err(failed)
}

/// The link that has the gateway's address in a VLAN: one end of a pair whose other end is a port of the bridge in that VLAN. Shared by all
/// attachments of the VLAN, never removed.
pub(super) fn ensure_vlan_gateway(rtnl: &mut Rtnl, conf: &Conf, bridge: &Link) -> Result<Link> {
    let name = gateway_name(&conf.bridge, conf.vlans.access);
    match rtnl.link(&name) {
        Ok(link) => return finish_vlan_gateway(rtnl, conf, bridge, link),
        Err(e) if e.is_missing() => {}
        Err(e) => return Err(kernel(e)),
    }
    let port = random_name();
    let peer = VethPeer { name: &name, mtu: Some(bridge.mtu), mac: None, netns: None };
    let new = NewLink {
        mtu: Some(bridge.mtu),
        up: true,
        master: Some(bridge.index),
        ..NewLink::new(&port, LinkKind::Veth(peer))
    };
    let port_link = match rtnl.add_link(&new) {
        Ok(link) => link,
        Err(e) if e.is(Errno::EXIST) => {
            let link = rtnl.link(&name).map_err(kernel)?;
            return finish_vlan_gateway(rtnl, conf, bridge, link);
        }
        Err(e) => return Err(kernel(e)),
    };
    let made = interface::Made::new(&port, None);
    set_up_gateway_port(rtnl, conf, &port_link)?;
    let link = rtnl.link(&name).map_err(kernel)?;
    interface::set_up(rtnl, link.index)?;
    made.keep();
    Ok(link)
}

/// A gateway link that is there is finished when it is up, which is done last. One that is not is another ADD's, in progress or killed: its
/// port is done again, in the bridge and in the VLAN.
fn finish_vlan_gateway(rtnl: &mut Rtnl, conf: &Conf, bridge: &Link, link: Link) -> Result<Link> {
    if link.up {
        return Ok(link);
    }
    let no_port = || {
        Error::internal(format!(
            "\"{0}\" is to be the gateway of VLAN {1}, but it is no end of a pair whose other end is here: remove it (ip link del {0})",
            link.name, conf.vlans.access
        ))
    };
    let port = link.parent.filter(|_| link.kind == "veth" && link.parent_nsid.is_none()).ok_or_else(no_port)?;
    let port = rtnl.link_by_index(port).map_err(kernel)?;
    if port.master != Some(bridge.index) || !port.up {
        let change = LinkChange { master: Some(bridge.index), up: Some(true), ..LinkChange::default() };
        rtnl.change_link(port.index, &change).map_err(kernel)?;
    }
    set_up_gateway_port(rtnl, conf, &port)?;
    interface::set_up(rtnl, link.index)?;
    Ok(link)
}

/// The settings of the gateway's port: in the VLAN, in no other.
fn set_up_gateway_port(rtnl: &mut Rtnl, conf: &Conf, port: &Link) -> Result<()> {
    no_router_advertisements(port);
    let only_access = Vlans {
        on_port: conf.vlans.on_port.iter().copied().filter(|v| v.pvid).collect(),
        filtering: true,
        access: conf.vlans.access,
        preserve_default: conf.vlans.preserve_default,
    };
    add_vlans(rtnl, &only_access, port)
}

/// Gives `link` the gateways' addresses that it does not have.
///
/// The reference's rule: a bridge has one IPv4 address; IPv6 addresses of other networks may stand beside it.
pub(super) fn ensure_addresses(rtnl: &mut Rtnl, conf: &Conf, link: &Link, wanted: &[IpNet]) -> Result<()> {
    for ipv4 in [true, false] {
        let of_family = || wanted.iter().filter(|a| a.addr().is_ipv4() == ipv4);
        if of_family().next().is_none() {
            continue;
        }
        let present = rtnl.addresses_of_family(link.index, ipv4).map_err(kernel)?;
        let mut present: Vec<IpNet> = present.iter().map(|a| a.address).collect();
        for address in of_family() {
            ensure_address(rtnl, conf, link, *address, &mut present)?;
        }
    }
    Ok(())
}

fn ensure_address(rtnl: &mut Rtnl, conf: &Conf, link: &Link, address: IpNet, present: &mut Vec<IpNet>) -> Result<()> {
    if present.contains(&address) {
        return Ok(());
    }
    let conflicts = |a: &IpNet| a.addr().is_ipv4() || a.contains(&address.addr()) || address.contains(&a.addr());
    for conflict in present.extract_if(.., |a| conflicts(a)) {
        if !conf.force_address {
            return Err(Error::internal(format!(
                "failed to set bridge addr: \"{}\" already has an IP address different from {address}: {conflict}; remove it, use another bridge, or set \"forceAddress\"",
                link.name
            )));
        }
        tracing::info!(bridge = link.name, old = %conflict, new = %address, "replacing the address (forceAddress)");
        rtnl.delete_address(link.index, conflict).map_err(kernel)?;
    }
    match rtnl.add_address(link.index, address, AddressFlags { nodad: !conf.dad }) {
        // EEXIST: another ADD was quicker.
        Err(e) if !e.is(Errno::EXIST) => return Err(kernel(e).context("failed to set bridge addr")),
        _ => present.push(address),
    }
    // On a bridge that we did not make: see create_bridge.
    if link.kind == "bridge" {
        // Without a port it had none (all zero, which the kernel does not take back); with ours it has.
        let mac = match link.mac.filter(|mac| mac.0 != [0; 6]) {
            Some(mac) => Some(mac),
            None => rtnl.link_by_index(link.index).map_err(kernel)?.mac,
        };
        rtnl.change_link(link.index, &LinkChange { mac, ..LinkChange::default() }).map_err(kernel)?;
    }
    Ok(())
}

/// Lets the host forward packets of this family; written only where it does not.
pub(super) fn enable_forwarding(rtnl: &mut Rtnl, ipv4: bool) -> Result<()> {
    let key = if ipv4 { "net/ipv4/ip_forward" } else { "net/ipv6/conf/all/forwarding" };
    let failed = |e| kernel(e).context("failed to enable forwarding");
    if rtnl.forwards(ipv4).map_err(failed)? {
        return Ok(());
    }
    sysctl::set(key, "1").map_err(failed)
}

/// Waits until the port forwards. The link layer tells the bridge of a carrier from a work queue, normally before this first looks.
pub(super) fn wait_for_port(rtnl: &mut Rtnl, port: &Link) -> Result<()> {
    let mut pause = Duration::from_micros(50);
    let mut waited = Duration::ZERO;
    loop {
        let state = rtnl.link_by_index(port.index).map_err(kernel)?.oper_state;
        if state == OperState::Up {
            return Ok(());
        }
        if waited >= PORT_LIMIT {
            return Err(Error::internal(format!(
                "bridge port in error state: {state:?}: \"{}\" has no link to the container after {PORT_LIMIT:?}; is the bridge up, and the container's interface?",
                port.name
            )));
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
