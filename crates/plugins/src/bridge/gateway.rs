//! What an IPAM result means for a bridge: the gateways' addresses, the container's default routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::{CniResult, Route};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{CONTAINER, conf::Conf};

/// Addresses that the bridge is to have.
pub(super) type Gateways = Vec<IpNet>;

/// Completes the IPAM plugin's part of `result`: every address belongs to the container's interface; gateways that the plugin left out, and
/// the default routes that the configuration asks for, are added. The addresses that the bridge is to have, if it is the gateway.
pub(super) fn complete(conf: &Conf, result: &mut CniResult) -> Gateways {
    let mut gateways = Vec::new();
    for ip in &mut result.ips {
        ip.interface = Some(CONTAINER);
        if !conf.gateway {
            continue;
        }
        let gateway = *ip.gateway.get_or_insert_with(|| first_host(&ip.address));
        // The prefix length is of the address's family; a gateway of the other one is refused when the plan is made.
        if let Ok(address) = IpNet::new(gateway, ip.address.prefix_len())
            && !gateways.contains(&address)
        {
            gateways.push(address);
        }
        let v4 = ip.address.addr().is_ipv4();
        // A default route without next hop counts: it gets the gateway when it is added, and is then the same unless it has a metric. One in another
        // table does not.
        let same = |r: &Route| r.gw.is_some() || r.priority.is_none_or(|p| p == 0);
        let has_default = |r: &Route| r.is_default() && r.dst.addr().is_ipv4() == v4 && r.is_main() && same(r);
        if conf.default_gateway && !result.routes.iter().any(has_default) {
            let default = if v4 { Ipv4Net::default().into() } else { Ipv6Net::default().into() };
            result.routes.push(Route::new(default, Some(gateway)));
        }
    }
    gateways
}

/// The address after the network's own.
fn first_host(address: &IpNet) -> IpAddr {
    match address.network() {
        IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from(u32::from(a).wrapping_add(1))),
        IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from(u128::from(a).wrapping_add(1))),
    }
}

#[cfg(test)]
mod tests;
