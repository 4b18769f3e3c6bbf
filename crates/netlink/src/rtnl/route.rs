//! Routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::attributes::{attributes, find, ip, u8_at, u16_at, u32_at};
use crate::{Result, Rtnl};

// include/uapi/linux/rtnetlink.h
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
const RTN_UNICAST: u8 = 1;
const RTNH_F_ONLINK: u8 = 4;
const RT_TABLE_MAIN: u32 = 254;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_NOWHERE: u8 = 255;
const RTPROT_UNSPEC: u8 = 0;
const RTPROT_BOOT: u8 = 3;

/// A route. Of the optional parts, `None` means the kernel's default when adding and "any" when deleting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; prefix length 0 for a default route.
    pub dst: IpNet,
    /// Next hops: one, or more than one for multipath.
    pub via: Vec<NextHop>,
    /// Preferred source.
    pub source: Option<IpAddr>,
    /// Metric (RTA_PRIORITY).
    pub metric: Option<u32>,
    /// Table; main (254) where absent.
    pub table: Option<u32>,
    /// Scope: 0 global, 253 link, 254 host. Where absent: link for a route without gateway, global otherwise (IPv4).
    pub scope: Option<u8>,
    /// RTAX_MTU in bytes.
    pub mtu: Option<u32>,
    /// RTAX_ADVMSS in bytes.
    pub advmss: Option<u32>,
    /// Routing protocol (RTPROT_*); boot (3) where absent, as the reference plugins have it.
    pub protocol: Option<u8>,
}

/// Where a route leads: a gateway, a link, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Gateway.
    pub gateway: Option<IpAddr>,
    /// Index of the outgoing link.
    pub oif: Option<u32>,
    /// Weight, from 1; only for multipath.
    pub weight: u16,
    /// RTNH_F_ONLINK: the gateway is on the link though no route says so.
    pub onlink: bool,
}

impl Route {
    /// A route to `dst` by one next hop.
    #[must_use]
    pub fn new(dst: IpNet, gateway: Option<IpAddr>, oif: u32) -> Route {
        let hop = NextHop { gateway, oif: Some(oif), weight: 1, onlink: false };
        Route {
            dst,
            via: vec![hop],
            source: None,
            metric: None,
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
            protocol: None,
        }
    }
}

impl fmt::Display for Route {
    /// As `ip route` writes it, links by number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dst.prefix_len() {
            0 => f.write_str("default")?,
            _ => write!(f, "{}", self.dst)?,
        }
        for hop in &self.via {
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            if let Some(oif) = hop.oif {
                write!(f, " dev link {oif}")?;
            }
        }
        match self.table {
            Some(table) => write!(f, " table {table}"),
            None => Ok(()),
        }
    }
}

impl Rtnl {
    /// Adds a route with NLM_F_CREATE only, as the reference plugins do: another next hop for the same destination is kept beside it.
    ///
    /// # Errors
    /// `EEXIST` if an identical one is there; `ENETUNREACH` if the gateway is on no connected network.
    pub fn add_route(&mut self, route: &Route) -> Result<()> {
        self.request(&RouteNetlinkMessage::NewRoute(addition(route)), NLM_F_CREATE)
            .map_err(|refusal| refusal.on("add route", self.describe(route)))
    }

    /// Puts a route in the place of one with the same destination, table and metric, or adds it (NLM_F_REPLACE).
    ///
    /// # Errors
    /// As [`Rtnl::add_route`].
    pub fn replace_route(&mut self, route: &Route) -> Result<()> {
        self.request(&RouteNetlinkMessage::NewRoute(addition(route)), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|refusal| refusal.on("replace route", self.describe(route)))
    }

    /// Removes one route that matches; false if none does.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete_route(&mut self, route: &Route) -> Result<bool> {
        match self.request(&RouteNetlinkMessage::DelRoute(removal(route)), 0) {
            Ok(()) => Ok(true),
            // IPv6 finds its null entry for a default route that is not there, and refuses to remove that with ENOENT.
            Err(refusal) if [Errno::SRCH, Errno::NOENT].contains(&refusal.errno) => Ok(false),
            Err(refusal) => Err(refusal.on("remove route", self.describe(route))),
        }
    }

    /// All unicast routes of a table (main where `None`), of both families, or of one link where `oif` is given (a filtered dump).
    ///
    /// # Errors
    /// `ENODEV` if there is no link `oif`; an interrupted dump is repeated.
    pub fn routes(&mut self, table: Option<u32>, oif: Option<u32>) -> Result<Vec<Route>> {
        let table = table.unwrap_or(RT_TABLE_MAIN);
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.kind = RouteType::Unicast;
            message.attributes.push(RouteAttribute::Table(table));
            message.attributes.extend(oif.map(RouteAttribute::Oif));
            // Filtered here too: before 4.20 the dump brings everything.
            let wanted = |route: &Route| {
                route.table == Some(table) && oif.is_none_or(|oif| route.via.iter().any(|hop| hop.oif == Some(oif)))
            };
            let dumped = self.dump(&RouteNetlinkMessage::GetRoute(message), |payload| parse(payload).filter(wanted));
            let found = super::empty_if_no_table(dumped)
                .map_err(|refusal| refusal.on("read routes of", format!("table {table}")))?;
            all.extend(found);
        }
        Ok(all)
    }

    /// The route for an error message, with the names of its links.
    fn describe(&mut self, route: &Route) -> String {
        let mut text = route.to_string();
        for oif in route.via.iter().filter_map(|hop| hop.oif) {
            text = text.replacen(&format!("dev link {oif}"), &format!("dev {}", self.name_of(oif)), 1);
        }
        text
    }
}

/// The request that adds a route: what is absent gets its default.
fn addition(route: &Route) -> RouteMessage {
    let mut message = message(route);
    let header = &mut message.header;
    header.protocol = route.protocol.unwrap_or(RTPROT_BOOT).into();
    let gateway = route.via.iter().any(|hop| hop.gateway.is_some());
    let scope = if gateway || route.dst.addr().is_ipv6() { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
    header.scope = route.scope.unwrap_or(scope).into();
    let mtu = route.mtu.map(RouteMetric::Mtu);
    let metrics: Vec<_> = mtu.into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

/// The request that removes a route: what is absent matches any.
fn removal(route: &Route) -> RouteMessage {
    let mut message = message(route);
    message.header.protocol = route.protocol.unwrap_or(RTPROT_UNSPEC).into();
    message.header.scope = route.scope.unwrap_or(RT_SCOPE_NOWHERE).into();
    message
}

/// The part that both have.
fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = super::family(route.dst.addr());
    header.destination_prefix_length = route.dst.prefix_len();
    header.kind = RouteType::Unicast;
    let table = route.table.unwrap_or(RT_TABLE_MAIN);
    // A table above 255 does not fit the header: RT_TABLE_UNSPEC there, and the attribute.
    header.table = u8::try_from(table).unwrap_or_default();
    let attributes = &mut message.attributes;
    if header.table == 0 {
        attributes.push(RouteAttribute::Table(table));
    }
    if route.dst.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(route.dst.addr().into()));
    }
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    match route.via.as_slice() {
        [] => {}
        [hop] => {
            if hop.onlink {
                header.flags |= RouteFlags::Onlink;
            }
            attributes.extend(gateway(route.dst, hop));
            attributes.extend(hop.oif.map(RouteAttribute::Oif));
        }
        hops => {
            let hops = hops.iter().map(|hop| {
                let mut next = RouteNextHop::default();
                if hop.onlink {
                    next.flags |= RouteNextHopFlags::Onlink;
                }
                // rtnh_hops is the weight minus one.
                next.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
                next.interface_index = hop.oif.unwrap_or_default();
                next.attributes.extend(gateway(route.dst, hop));
                next
            });
            attributes.push(RouteAttribute::MultiPath(hops.collect()));
        }
    }
    message
}

/// RTA_GATEWAY, or RTA_VIA for a gateway of the other family (IPv4 by an IPv6 neighbour).
fn gateway(dst: IpNet, hop: &NextHop) -> Option<RouteAttribute> {
    hop.gateway.map(|gateway| match (dst, gateway) {
        (IpNet::V4(_), IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (IpNet::V6(_), IpAddr::V4(gateway)) => RouteAttribute::Via(RouteVia::Inet(gateway)),
        _ => RouteAttribute::Gateway(gateway.into()),
    })
}

/// Reads an RTM_NEWROUTE that is unicast.
pub(crate) fn parse(payload: &[u8]) -> Option<Route> {
    if u8_at(payload, 7)? != RTN_UNICAST {
        return None;
    }
    let mut dst = match i32::from(u8_at(payload, 0)?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut table = u32::from(u8_at(payload, 4)?);
    let (mut source, mut metric, mut mtu, mut advmss) = (None, None, None, None);
    let onlink = u32_at(payload, 8)? & u32::from(RTNH_F_ONLINK) != 0;
    let mut single = NextHop { gateway: None, oif: None, weight: 1, onlink };
    let mut via = Vec::new();
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            RTA_DST => dst = ip(value)?,
            RTA_OIF => single.oif = u32_at(value, 0),
            RTA_GATEWAY | RTA_VIA => single.gateway = any_gateway(kind, value),
            RTA_PRIORITY => metric = u32_at(value, 0),
            RTA_PREFSRC => source = ip(value),
            RTA_TABLE => table = u32_at(value, 0)?,
            RTA_METRICS => {
                mtu = find(value, RTAX_MTU).and_then(|v| u32_at(v, 0));
                advmss = find(value, RTAX_ADVMSS).and_then(|v| u32_at(v, 0));
            }
            RTA_MULTIPATH => via = hops(value),
            _ => {}
        }
    }
    if via.is_empty() {
        via.push(single);
    }
    Some(Route {
        dst: IpNet::new(dst, u8_at(payload, 1)?).ok()?,
        via,
        source,
        metric,
        table: Some(table),
        scope: u8_at(payload, 6),
        mtu,
        advmss,
        protocol: u8_at(payload, 5),
    })
}

/// RTA_GATEWAY is the address, RTA_VIA (struct rtvia) its family and then the address.
fn any_gateway(kind: u16, value: &[u8]) -> Option<IpAddr> {
    ip(if kind == RTA_VIA { value.get(2..)? } else { value })
}

/// RTA_MULTIPATH: struct rtnexthop (length, flags, hops, link), each followed by its attributes.
fn hops(mut value: &[u8]) -> Vec<NextHop> {
    let mut hops = Vec::new();
    while let Some((hop, length)) = hop(value) {
        hops.push(hop);
        value = value.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

fn hop(value: &[u8]) -> Option<(NextHop, usize)> {
    let length = usize::from(u16_at(value, 0)?);
    let inner = value.get(8..length)?;
    let gateway = attributes(inner).find(|(kind, _)| [RTA_GATEWAY, RTA_VIA].contains(kind));
    let hop = NextHop {
        gateway: gateway.and_then(|(kind, value)| any_gateway(kind, value)),
        oif: u32_at(value, 4),
        weight: u16::from(u8_at(value, 3)?) + 1,
        onlink: u8_at(value, 2)? & RTNH_F_ONLINK != 0,
    };
    Some((hop, length))
}
