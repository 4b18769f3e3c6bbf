//! What `attach` asks of a node: its plugins, and the links of a container, by netlink.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use attach::{Delegates, PodLinks};
use cni::conf::PluginConf;
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

/// Reference plugins that are programs here, and leave nothing outside the kernel and /run (tuning, unless it has a `dataDir`).
const KERNEL_ONLY: [&str; 12] = [
    "bandwidth",
    "dummy",
    "firewall",
    "host-device",
    "ipvlan",
    "portmap",
    "ptp",
    "sbr",
    "tap",
    "tuning",
    "vlan",
    "vrf",
];

/// The plugins that one runs itself, each with the key that names it.
fn run_by(plugin: &PluginConf) -> impl Iterator<Item = (&'static str, &str)> {
    let keys: &[&'static str] = if plugin.plugin_type == "flannel" { &["ipam", "delegate"] } else { &["ipam"] };
    keys.iter().filter_map(|key| {
        let name = plugin.conf.get(key)?.get("type")?.as_str()?;
        Some((*key, name)).filter(|_| !name.is_empty())
    })
}

impl Delegates for NodePlugins<'_> {
    fn find(&self, plugin: &PluginConf, path: &[PathBuf]) -> Result<()> {
        let find =
            |name: &str| if self.compiled_in(name).is_some() { Ok(()) } else { cni::exec::find(name, path).map(drop) };
        find(&plugin.plugin_type)?;
        if self.compiled_in(&plugin.plugin_type).is_none() {
            return Ok(());
        }
        // Found missing by the plugin, they would be missed by its DEL too, and the attachment could never be undone.
        let mut runs = run_by(plugin);
        runs.try_for_each(|(key, name)| find(name).map_err(|e| e.context(format!("key \"{key}.type\""))))
    }

    fn state_dirs(&self, plugin: &PluginConf) -> Option<Vec<PathBuf>> {
        let mut dirs = Vec::new();
        for name in std::iter::once(plugin.plugin_type.as_str()).chain(run_by(plugin).map(|(_, name)| name)) {
            match self.compiled_in(name) {
                Some(found) => dirs.extend(found.state_dirs(&plugin.conf)),
                None if KERNEL_ONLY.contains(&name) && plugin.conf.get("dataDir").is_none() => {}
                None => return None,
            }
        }
        Some(dirs)
    }

    fn owns_interface(&self, plugin: &str, del: &Call) -> bool {
        self.compiled_in(plugin).is_some_and(|p| p.owns_interface(del))
    }
}

/// Links of containers.
pub(crate) struct Links;

fn with_rtnl<T>(netns: &str, f: impl FnOnce(&mut Rtnl) -> netlink::Result<T>) -> netlink::Result<T> {
    Netns::open(netns)?.with_rtnl(f)?
}

impl PodLinks for Links {
    fn names(&self, netns: &str) -> Result<Vec<String>> {
        let links = with_rtnl(netns, Rtnl::links).map_err(kernel)?;
        Ok(links.into_iter().map(|link| link.name).collect())
    }

    fn remove(&self, netns: &str, names: &[&str]) -> Result<()> {
        match with_rtnl(netns, |rtnl| rtnl.delete_links_early(names)) {
            Ok(_) => Ok(()),
            Err(e) if e.is_missing() => Ok(()),
            Err(e) => Err(kernel(e)),
        }
    }

    fn remove_routes(&self, netns: &str, ifname: &str, routes: &[Route]) -> Result<()> {
        with_rtnl(netns, |rtnl| {
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
        let (wanted, present) = with_rtnl(netns, |rtnl| {
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use cni::Json;
    use cni::exec::Exec;

    use super::*;

    fn with<T>(in_process: InProcess, conf: &str, ask: impl FnOnce(NodePlugins<'_>, &PluginConf) -> T) -> T {
        let exec = Exec::new(Duration::from_secs(1));
        let plugin = PluginConf::new(Json::parse(conf.as_bytes()).unwrap()).unwrap();
        ask(NodePlugins::new(Registry::new(in_process, &exec), in_process), &plugin)
    }

    fn find(in_process: InProcess, conf: &str, path: &Path) -> Result<()> {
        with(in_process, conf, |plugins, plugin| plugins.find(plugin, &[path.to_owned()]))
    }

    #[test]
    fn files_are_where_the_configuration_says_and_a_programs_anywhere() {
        let auto = |conf| with(InProcess::Auto, conf, |plugins, plugin| plugins.state_dirs(plugin));
        let dirs = |dirs: &[&str]| Some(dirs.iter().map(PathBuf::from).collect());
        let (flannel, leases) = ("/var/lib/cni/flannel", "/var/lib/cni/networks");
        for (conf, expected) in [
            (r#"{"type": "macvlan"}"#, dirs(&[])),
            (r#"{"type": "bridge", "ipam": {"type": "static"}}"#, dirs(&[])),
            (r#"{"type": "bridge", "ipam": {"type": "host-local"}}"#, dirs(&[leases])),
            (r#"{"type": "macvlan", "ipam": {"type": "host-local", "dataDir": "/d"}}"#, dirs(&["/d"])),
            (r#"{"type": "flannel"}"#, dirs(&[flannel, leases])),
            (r#"{"type": "flannel", "dataDir": "/f", "delegate": {"type": "bridge"}}"#, dirs(&["/f", leases])),
            (r#"{"type": "macvlan", "ipam": {"type": "whereabouts"}}"#, None),
            (r#"{"type": "flannel", "delegate": {"type": "own"}}"#, None),
            (r#"{"type": "portmap"}"#, dirs(&[])),
            (r#"{"type": "ptp", "ipam": {"type": "host-local"}}"#, dirs(&[leases])),
            (r#"{"type": "ptp", "ipam": {"type": "dhcp"}}"#, None),
            (r#"{"type": "tuning", "dataDir": "/d"}"#, None),
            (r#"{"type": "own"}"#, None),
        ] {
            assert_eq!(auto(conf), expected, "{conf}");
        }
        assert_eq!(
            with(InProcess::Never, r#"{"type": "macvlan"}"#, |plugins, plugin| plugins.state_dirs(plugin)),
            None
        );
    }

    /// A defect that there was: an IPAM plugin that is not there failed the ADD half-way, and then every DEL, so that records and namespaces
    /// stayed for good.
    #[test]
    fn what_a_plugin_runs_is_looked_for_too() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("own"), "").unwrap();
        let auto = |conf| find(InProcess::Auto, conf, dir.path());
        for (conf, key) in [
            (r#"{"type": "macvlan", "ipam": {"type": "nowhere"}}"#, "ipam.type"),
            (r#"{"type": "flannel", "delegate": {"type": "nowhere"}}"#, "delegate.type"),
            (r#"{"type": "nowhere"}"#, "nowhere"),
        ] {
            let error = auto(conf).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("nowhere") && error.contains("install"), "{error}");
        }
        for conf in [
            r#"{"type": "macvlan", "ipam": {"type": "host-local"}}"#,
            r#"{"type": "macvlan", "ipam": {"type": "own"}}"#,
            r#"{"type": "macvlan", "ipam": {}}"#,
            r#"{"type": "own", "ipam": {"type": "inside-of-it"}}"#,
        ] {
            auto(conf).unwrap();
        }
        // As programs, all of them are their own affair, and have to be there.
        find(InProcess::Never, r#"{"type": "own", "ipam": {"type": "nowhere"}}"#, dir.path()).unwrap();
        find(InProcess::Never, r#"{"type": "macvlan"}"#, dir.path()).unwrap_err();
    }
}
