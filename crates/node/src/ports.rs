//! What `attach` asks of a node: its plugins, and the links of a container, by netlink.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use attach::{Delegates, PodLinks};
use cni::{Call, CniResult, Error, Invoke, Result, Route};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::{Netns, NextHop, Rtnl};
use plugins::{InProcess, Registry, kernel};

/// The plugins of this node: compiled in, or programs.
pub(crate) struct NodePlugins<'a> {
    registry: Registry<'a>,
    in_process: InProcess,
}

impl<'a> NodePlugins<'a> {
    pub(crate) fn new(registry: Registry<'a>, in_process: InProcess) -> Self {
        NodePlugins { registry, in_process }
    }

    fn compiled_in(&self, plugin: &str) -> Option<&'static dyn plugins::Plugin> {
        Registry::find(plugin).filter(|_| self.in_process == InProcess::Auto)
    }
}

impl Invoke for NodePlugins<'_> {
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>> {
        self.registry.invoke(plugin, call)
    }

    fn validate(&self, plugin: &str, call: &Call) -> Result<()> {
        self.registry.validate(plugin, call)
    }
}

impl Delegates for NodePlugins<'_> {
    fn find(&self, plugin: &str, path: &[PathBuf]) -> Result<()> {
        if self.compiled_in(plugin).is_some() { Ok(()) } else { cni::exec::find(plugin, path).map(|_| ()) }
    }

    fn owns_interface(&self, plugin: &str, del: &Call) -> bool {
        self.compiled_in(plugin).is_some_and(|p| p.owns_interface(del))
    }
}

/// Links of containers. One socket per call is enough: all questions of a call are about one namespace.
#[derive(Default)]
pub(crate) struct Links {
    open: RefCell<Option<(String, Rtnl)>>,
}

impl Links {
    fn with<T>(&self, netns: &str, f: impl FnOnce(&mut Rtnl) -> netlink::Result<T>) -> netlink::Result<T> {
        let mut open = self.open.borrow_mut();
        let socket = match open.take().filter(|(path, _)| path == netns) {
            Some((_, socket)) => socket,
            None => Netns::open(netns)?.rtnl()?,
        };
        let (_, socket) = open.insert((netns.to_owned(), socket));
        f(socket)
    }
}

impl PodLinks for Links {
    fn names(&self, netns: &str) -> Result<Vec<String>> {
        let links = self.with(netns, Rtnl::links).map_err(kernel)?;
        Ok(links.into_iter().map(|link| link.name).collect())
    }

    fn remove(&self, netns: &str, names: &[&str]) -> Result<()> {
        match self.with(netns, |rtnl| rtnl.delete_links(names)) {
            Ok(_) => Ok(()),
            Err(e) if e.is_missing() => Ok(()),
            Err(e) => Err(kernel(e)),
        }
    }

    fn remove_routes(&self, netns: &str, ifname: &str, routes: &[Route]) -> Result<()> {
        self.with(netns, |rtnl| {
            let link = rtnl.link(ifname)?.index;
            for route in routes {
                let mut removed = netlink::Route::new(route.dst, route.gw, link);
                removed.metric = route.priority.filter(|p| *p != 0);
                rtnl.delete_route(&removed)?;
            }
            Ok(())
        })
        .map_err(kernel)
    }

    fn replace_default_route(&self, netns: &str, ifname: &str, gateways: &[IpAddr], metric: Option<u32>) -> Result<()> {
        let Some(first) = gateways.first() else { return Ok(()) };
        let dst = if first.is_ipv4() { IpNet::V4(Ipv4Net::default()) } else { IpNet::V6(Ipv6Net::default()) };
        let (wanted, present) = self
            .with(netns, |rtnl| {
                let oif = rtnl.link(ifname)?.index;
                let via =
                    gateways.iter().map(|gw| NextHop { gateway: Some(*gw), oif: Some(oif), weight: 1, onlink: false });
                let wanted = netlink::Route { via: via.collect(), metric, ..netlink::Route::new(dst, None, oif) };
                rtnl.replace_route(&wanted)?;
                let mut routes = rtnl.routes(None, Some(oif))?;
                routes.retain(|r| r.dst == dst);
                Ok((wanted, routes))
            })
            .map_err(kernel)?;
        // Multus 4.2 to 4.3.0 believed that it had replaced a route that was still there (its issue 1444): look.
        let hops = |r: &netlink::Route| r.via.iter().filter_map(|hop| hop.gateway).collect::<BTreeSet<_>>();
        if present.iter().any(|r| hops(r) == hops(&wanted)) {
            return Ok(());
        }
        Err(Error::internal(format!(
            "the default route of {ifname} is not via {gateways:?} after it was set: {present:?}"
        )))
    }
}
