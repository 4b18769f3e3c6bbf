//! Routes.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Result, Rtnl};

/// A route. Of the optional parts, `None` means the kernel's default when adding and "any" when deleting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; prefix length 0 for a default route.
    pub dst: IpNet,
    /// Next hops: none for a route straight to the link `oif`... see [`Route::via`]; more than one for multipath.
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

impl Rtnl {
    /// Adds a route with NLM_F_CREATE only, as the reference plugins do: another next hop for the same destination is kept beside it.
    ///
    /// # Errors
    /// `EEXIST` if an identical one is there; `ENETUNREACH` if the gateway is on no connected network.
    pub fn add_route(&mut self, _route: &Route) -> Result<()> {
        todo!()
    }

    /// Puts a route in the place of one with the same destination, table and metric, or adds it (NLM_F_REPLACE).
    ///
    /// # Errors
    /// As [`Rtnl::add_route`].
    pub fn replace_route(&mut self, _route: &Route) -> Result<()> {
        todo!()
    }

    /// Removes one route that matches; false if none does.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete_route(&mut self, _route: &Route) -> Result<bool> {
        todo!()
    }

    /// All unicast routes of a table (main where `None`), of both families, or of one link where `oif` is given (a filtered dump).
    ///
    /// # Errors
    /// If the kernel refuses; an interrupted dump is repeated.
    pub fn routes(&mut self, _table: Option<u32>, _oif: Option<u32>) -> Result<Vec<Route>> {
        todo!()
    }
}
