//! CHECK: a container's interface is as a result says.

use cni::{Call, CniResult, Error, Result};
use ipnet::IpNet;
use netlink::{Link, Rtnl};

use crate::kernel;

/// The entry of `result` for the container's interface: its number and description.
///
/// # Errors
/// If there is none in the call's namespace.
pub fn in_result<'r>(call: &Call, result: &'r CniResult) -> Result<(usize, &'r cni::Interface)> {
    let mut found = result.interfaces.iter().enumerate();
    found.find(|(_, i)| i.name == call.ifname && i.sandbox == call.netns).ok_or_else(|| {
        Error::internal(format!("prevResult has no interface \"{}\" in the sandbox {}", call.ifname, call.netns))
    })
}

/// CHECK needs a `prevResult`.
///
/// # Errors
/// If it is missing or cannot be read.
pub fn required_prev_result(call: &Call) -> Result<CniResult> {
    call.prev_result()?.ok_or_else(|| Error::config("Required prevResult missing"))
}

/// CHECK: the link `expected` (interface number `number` of `result`) exists, is of this kind, and has MAC address, addresses and routes.
/// To be called with a socket of the container's namespace. The link as it is.
///
/// # Errors
/// What differs.
pub fn link(
    rtnl: &mut Rtnl,
    kind: &str,
    (number, expected): (usize, &cni::Interface),
    result: &CniResult,
) -> Result<Link> {
    let name = &expected.name;
    let link = rtnl.link(name).map_err(|e| {
        if e.is_missing() {
            Error::internal(format!(
                "interface \"{name}\" is missing in the container's namespace {}",
                expected.sandbox
            ))
        } else {
            kernel(e)
        }
    })?;
    if link.kind != kind {
        return Err(Error::internal(format!("interface \"{name}\" is not of type {kind} but \"{}\"", link.kind)));
    }
    mac(expected, &link)?;
    let addresses = rtnl.addresses(link.index).map_err(kernel)?;
    let ours: Vec<IpNet> =
        result.ips.iter().filter(|ip| ip.interface.is_none_or(|i| i == number)).map(|ip| ip.address).collect();
    for address in &ours {
        if !addresses.iter().any(|a| a.address == *address) {
            return Err(Error::internal(format!("interface \"{name}\" does not have the address {address}")));
        }
    }
    if ours.is_empty() && result.routes.is_empty() {
        return Ok(link);
    }
    let main = rtnl.routes(None, None).map_err(kernel)?;
    for address in &ours {
        // A host address (/32, /128) has no route to its prefix.
        if address.prefix_len() < address.max_prefix_len() && !main.iter().any(|r| r.dst == address.trunc()) {
            return Err(Error::internal(format!(
                "the container has no route to {}, the network of interface \"{name}\"",
                address.trunc()
            )));
        }
    }
    for route in &result.routes {
        // 0 is the main table (fib_get_table, and IPv6's).
        let elsewhere = match route.table.filter(|table| *table != 0) {
            Some(table) => Some(rtnl.routes(Some(table), None).map_err(kernel)?),
            None => None,
        };
        let table = elsewhere.as_ref().unwrap_or(&main);
        let found = table.iter().any(|r| {
            // A default route may belong to another interface of the container by now.
            let hop = route.gw.is_none() || route.is_default() || r.via.iter().any(|hop| hop.gateway == route.gw);
            r.dst == route.dst && hop
        });
        if !found {
            let via = route.gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
            return Err(Error::internal(format!("the container has no route to {}{via}", route.dst)));
        }
    }
    Ok(link)
}

/// CHECK: the MAC address is that of the result, if it has one.
///
/// # Errors
/// Both addresses.
pub fn mac(expected: &cni::Interface, link: &Link) -> Result<()> {
    let actual = link.mac.map(|m| m.to_string()).unwrap_or_default();
    if expected.mac.is_empty() || expected.mac.eq_ignore_ascii_case(&actual) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "interface \"{}\" has the MAC address {actual}, not {} as prevResult says",
        expected.name, expected.mac
    )))
}
