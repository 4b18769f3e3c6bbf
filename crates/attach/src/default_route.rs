//! Several networks and one default route.
//!
//! Owns: where the pod's annotation wants its default route (`default-route`), and without that which default routes of a secondary network the default network provides already, and a result without them. The kernel would put
//! the later route in front (it is added beside the earlier one, and the newest is preferred), so the default network would lose its own.

use std::net::IpAddr;

use cni::{CniResult, Error, Result, Route};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Attachment;

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
    a.is_default() && b.is_default() && is_v4(a) == is_v4(b) && a.is_main() && b.is_main() && metric(a) == metric(b)
}

fn metric(route: &Route) -> u32 {
    effective(route.priority, route.dst.addr().is_ipv4())
}

/// The metric that the kernel gives a route.
fn effective(given: Option<u32>, ipv4: bool) -> u32 {
    match given.unwrap_or(0) {
        0 if !ipv4 => IPV6_METRIC,
        given => given,
    }
}

/// Where a route leads: a route without a next hop means the gateway of the first address of its family that has one.
fn gateway(result: &CniResult, route: &Route) -> Option<IpAddr> {
    let of_family = |gateway: &IpAddr| gateway.is_ipv4() == route.dst.addr().is_ipv4();
    route.gw.or_else(|| result.ips.iter().filter_map(|ip| ip.gateway).find(of_family))
}

/// Where a pod's default route of one address family leads by its annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Which attachment, by its place in the plan.
    pub attachment: usize,
    /// It is IPv4.
    pub ipv4: bool,
    /// The gateways, all of this family; several share the traffic.
    pub gateways: Vec<IpAddr>,
    /// Its metric. With one, the other networks keep their default routes of another metric: the metrics decide.
    pub metric: Option<u32>,
}

/// What the attachments' requests say about the default route.
///
/// # Errors
/// Names both attachments if two want the same family's.
pub fn chosen(attachments: &[Attachment]) -> Result<Vec<DefaultRoute>> {
    let mut chosen: Vec<DefaultRoute> = Vec::new();
    for (at, attachment) in attachments.iter().enumerate() {
        let gateways = attachment.request.default_route.as_deref().unwrap_or_default();
        for ipv4 in [true, false] {
            let gateways: Vec<IpAddr> = gateways.iter().copied().filter(|g| g.is_ipv4() == ipv4).collect();
            if gateways.is_empty() {
                continue;
            }
            let metric = attachment.request.default_route_metric;
            let same = |c: &&DefaultRoute| c.ipv4 == ipv4 && effective(c.metric, ipv4) == effective(metric, ipv4);
            if let Some(other) = chosen.iter().find(same) {
                return Err(Error::config(format!(
                    "{} and {} both ask for the pod's {} default route (key \"default-route\"): remove it from one, or give one another \
                     \"default-route-metric\"",
                    attachments[other.attachment].describe(),
                    attachment.describe(),
                    if ipv4 { "IPv4" } else { "IPv6" }
                )));
            }
            chosen.push(DefaultRoute { attachment: at, ipv4, gateways, metric });
        }
    }
    Ok(chosen)
}

/// The default routes of attachment number `at` that must go: those of a family that another network (or the annotation's own gateways)
/// shall provide, with a metric only those of the same one, which the kernel would replace; and all where the annotation gives this network an
/// empty list. Each with the gateway it leads to.
#[must_use]
pub fn superseded(at: usize, attachment: &Attachment, result: &CniResult, chosen: &[DefaultRoute]) -> Vec<Route> {
    let none_wanted = attachment.request.default_route.as_ref().is_some_and(Vec::is_empty);
    let goes = |route: &&Route| {
        let ipv4 = route.dst.addr().is_ipv4();
        let takes_place = |c: &DefaultRoute| c.metric.is_none() || effective(c.metric, ipv4) == metric(route);
        let replaced = chosen.iter().any(|c| c.ipv4 == ipv4 && (c.attachment == at || takes_place(c)));
        route.is_default() && route.is_main() && (none_wanted || replaced)
    };
    result.routes.iter().filter(goes).map(|r| Route { gw: gateway(result, r), ..r.clone() }).collect()
}

/// The routes of a choice, as a result says them.
pub fn routes(choice: &DefaultRoute) -> impl Iterator<Item = Route> {
    // Both defaults have prefix length 0.
    let dst = if choice.ipv4 { IpNet::V4(Ipv4Net::default()) } else { IpNet::V6(Ipv6Net::default()) };
    let metric = choice.metric;
    choice.gateways.iter().map(move |gw| Route { priority: metric, ..Route::new(dst, Some(*gw)) })
}

#[cfg(test)]
mod tests;
