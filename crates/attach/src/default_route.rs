//! Two networks that both bring a default route.
//!
//! Owns: which default routes of a secondary network the default network provides already, and a result without them. The kernel would put
//! the later route in front (it is added beside the earlier one, and the newest is preferred), so the default network would lose its own.

use std::net::IpAddr;

use cni::{CniResult, Route};

/// The main table (include/uapi/linux/rtnetlink.h).
const MAIN: u32 = 254;
/// The metric that IPv6 routes get where none is asked for (include/uapi/linux/ipv6_route.h, `IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

/// The default routes of `other` that `default` has too: same family, both in the main table, same metric. Each with the gateway it leads to,
/// so that it can be told from the default network's.
#[must_use]
pub fn conflicting(default: &CniResult, other: &CniResult) -> Vec<Route> {
    let theirs = other.routes.iter().filter(|r| default.routes.iter().any(|d| same(d, r)));
    theirs.map(|r| Route { gw: gateway(other, r), ..r.clone() }).collect()
}

/// The result without the default routes in `routes`.
#[must_use]
pub fn without(mut result: CniResult, routes: &[Route]) -> CniResult {
    result.routes.retain(|r| !routes.iter().any(|dropped| same(dropped, r)));
    result
}

fn same(a: &Route, b: &Route) -> bool {
    let is_v4 = |r: &Route| r.dst.addr().is_ipv4();
    a.is_default() && b.is_default() && is_v4(a) == is_v4(b) && is_main(a) && is_main(b) && metric(a) == metric(b)
}

fn is_main(route: &Route) -> bool {
    route.table.is_none_or(|t| t == 0 || t == MAIN)
}

fn metric(route: &Route) -> u32 {
    let given = route.priority.unwrap_or(0);
    if given == 0 && route.dst.addr().is_ipv6() { IPV6_METRIC } else { given }
}

/// Where a route leads: a route without a next hop means the gateway of the first address of its family that has one.
fn gateway(result: &CniResult, route: &Route) -> Option<IpAddr> {
    let of_family = |gateway: &IpAddr| gateway.is_ipv4() == route.dst.addr().is_ipv4();
    route.gw.or_else(|| result.ips.iter().filter_map(|ip| ip.gateway).find(of_family))
}

#[cfg(test)]
mod tests;
