//! `macvlan`: the container's interface is a child of a host's interface, with a MAC address of its own on that network.

use cni::json::from_json;
use cni::{Call, CniResult, Code, Dns, Error, Interface, Invoke, Result, Version};
use netlink::{Link, LinkKind, Mac, MacvlanMode, Netns, NewLink, Rtnl};
use rustix::io::Errno;
use serde::Deserialize;

use crate::dns::RawDns;
use crate::interface::{self, Made, Plan, Settings, Target, check};
use crate::{Plugin, every, ipam, kernel};

/// The plugin.
#[derive(Debug)]
pub struct Macvlan;

/// The keys as they stand in the document.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    master: String,
    mode: String,
    mtu: i64,
    mac: String,
    link_in_container: bool,
    bcqueuelen: u32,
    /// Not a key of the reference: without it, addresses from IPAM do not wait for duplicate address detection.
    enabledad: bool,
    dns: Option<RawDns>,
    runtime_config: RawMac,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMac {
    mac: String,
}

/// A valid configuration, as far as that can be told without the master.
#[derive(Debug)]
struct Conf {
    /// The parent's name; that of the first default route where absent.
    master: Option<String>,
    mode: MacvlanMode,
    /// In bytes; the parent's where absent.
    mtu: Option<u32>,
    mac: Option<Mac>,
    /// The parent is in the container's namespace.
    link_in_container: bool,
    bc_queue_len: Option<u32>,
    dad: bool,
    dns: Option<Dns>,
    layer3: bool,
}

impl Conf {
    fn read(call: &Call) -> Result<Conf> {
        let raw: Raw = from_json(&call.conf)?;
        if !raw.master.is_empty() {
            interface::existing_name("master", &raw.master)?;
        }
        let environment = cni::args::load(&call.args, &["MAC"])?;
        let candidates = [
            ("runtimeConfig.mac", raw.runtime_config.mac.as_str()),
            ("MAC of CNI_ARGS", environment.get("MAC").unwrap_or_default()),
            ("mac", raw.mac.as_str()),
        ];
        let mac = candidates.into_iter().find(|(_, value)| !value.is_empty());
        Ok(Conf {
            mode: mode(&raw.mode)?,
            mtu: interface::mtu(raw.mtu)?,
            mac: mac.map(|(key, value)| interface::mac(key, value)).transpose()?,
            link_in_container: raw.link_in_container,
            bc_queue_len: (raw.bcqueuelen != 0).then_some(raw.bcqueuelen),
            dad: raw.enabledad,
            dns: raw.dns.and_then(RawDns::set),
            layer3: ipam::delegate(call)?.is_some(),
            master: Some(raw.master).filter(|m| !m.is_empty()),
        })
    }
}

fn mode(name: &str) -> Result<MacvlanMode> {
    match name {
        "" | "bridge" => Ok(MacvlanMode::Bridge),
        "private" => Ok(MacvlanMode::Private),
        "vepa" => Ok(MacvlanMode::Vepa),
        "passthru" => Ok(MacvlanMode::Passthru),
        _ => Err(Error::config(format!(
            "unknown macvlan mode: \"{name}\"; key \"mode\" is one of bridge, private, vepa, passthru"
        ))),
    }
}

impl Plugin for Macvlan {
    fn name(&self) -> &'static str {
        "macvlan"
    }

    fn owns_interface(&self, _: &Call) -> bool {
        true
    }

    fn add(&self, call: &Call, delegates: &dyn Invoke) -> Result<CniResult> {
        let conf = Conf::read(call)?;
        interface::expressible(call, conf.layer3)?;
        let netns = interface::open_netns(call)?;
        create(call, &conf, &netns)?;
        // On a failure the variables below are dropped in reverse: the link goes before its addresses are free for another.
        let lease;
        let made = Made::new(&call.ifname, Some(&netns));
        let mut result = CniResult::empty(call.version()?);
        lease = if conf.layer3 { Some(ipam::acquire(call, delegates)?) } else { None };
        let mut plan = None;
        if let Some(lease) = &lease {
            let ipam = lease.result();
            result.ips.clone_from(&ipam.ips);
            result.routes.clone_from(&ipam.routes);
            result.dns.clone_from(&ipam.dns);
            for ip in &mut result.ips {
                ip.interface = Some(0);
            }
            plan = Some(Plan::new(&result, 0)?);
        }
        let link = interface::inside(&netns, |rtnl| bring_up(rtnl, &netns, call, &conf, plan.as_ref()))?;
        result.interfaces.push(Interface {
            name: call.ifname.clone(),
            mac: link.mac.map(|m| m.to_string()).unwrap_or_default(),
            mtu: (result.version >= Version::V1_1_0).then_some(u64::from(link.mtu)),
            sandbox: call.netns.clone(),
            ..Interface::default()
        });
        if let Some(dns) = conf.dns {
            result.dns = dns;
        }
        made.keep();
        lease.map(ipam::Lease::keep);
        Ok(result)
    }

    fn del(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        every([ipam::del(call, delegates), interface::remove(call)])
    }

    fn check(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let conf = Conf::read(call)?;
        let netns = interface::open_netns(call)?;
        ipam::check(call, delegates)?;
        let result = check::required_prev_result(call)?;
        let expected = check::in_result(call, &result)?;
        if !conf.link_in_container {
            interface::on_host(|rtnl| find_master(rtnl, &conf))?;
        }
        interface::inside(&netns, |rtnl| {
            if conf.link_in_container {
                find_master(rtnl, &conf)?;
            }
            let link = check::link(rtnl, "macvlan", expected, &result)?;
            if link.macvlan_mode != Some(conf.mode) {
                return Err(Error::internal(format!(
                    "interface \"{}\" has macvlan mode {:?}, not {:?} as configured",
                    link.name, link.macvlan_mode, conf.mode
                )));
            }
            Ok(())
        })
    }

    fn status(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let conf = Conf::read(call)?;
        ipam::status(call, delegates)?;
        if conf.link_in_container {
            // There is no container to look into.
            return Ok(());
        }
        let found = interface::on_host(|rtnl| find_master(rtnl, &conf));
        let master = found.map_err(|e| Error { code: Code::NOT_AVAILABLE, ..e })?;
        if !master.up {
            return Err(Error::new(
                Code::NOT_AVAILABLE,
                format!(
                    "master \"{0}\" is down, so its macvlan interfaces reach nothing: ip link set {0} up",
                    master.name
                ),
            ));
        }
        Ok(())
    }

    fn gc(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        ipam::gc(call, delegates)
    }
}

/// The parent, in the socket's namespace; the configured MTU fits it.
fn find_master(rtnl: &mut Rtnl, conf: &Conf) -> Result<Link> {
    let place = if conf.link_in_container { "in the container" } else { "on the host" };
    let master = match &conf.master {
        Some(name) => rtnl.link(name).map_err(|e| {
            if e.is_missing() {
                Error::internal(format!(
                    "Link not found: master \"{name}\" does not exist {place}: correct the key \"master\""
                ))
            } else {
                kernel(e)
            }
        })?,
        None => {
            let routes = rtnl.routes(None, None).map_err(kernel)?;
            let mut defaults = routes.iter().filter(|r| r.dst.prefix_len() == 0);
            let index = defaults.find_map(|r| r.via.iter().find_map(|hop| hop.oif)).ok_or_else(|| {
                Error::internal(format!("no default route interface found {place}: set the key \"master\""))
            })?;
            rtnl.link_by_index(index).map_err(kernel)?
        }
    };
    match conf.mtu {
        Some(mtu) if mtu > master.mtu => Err(Error::config(format!(
            "invalid MTU {mtu}, must be [0, master MTU({})] of \"{}\"",
            master.mtu, master.name
        ))),
        _ => Ok(master),
    }
}

/// Makes the interface in the container's namespace under its final name, down.
fn create(call: &Call, conf: &Conf, netns: &Netns) -> Result<()> {
    let make = |rtnl: &mut Rtnl, in_container: bool| {
        let master = find_master(rtnl, conf)?;
        let kind = LinkKind::Macvlan { mode: conf.mode, bc_queue_len: conf.bc_queue_len };
        let new =
            NewLink { mtu: conf.mtu, mac: conf.mac, parent: Some(master.index), ..NewLink::new(&call.ifname, kind) };
        let made = if in_container { rtnl.add_link(&new).map(drop) } else { rtnl.add_link_in(&new, netns) };
        made.map_err(|e| match e {
            e if e.is(Errno::EXIST) => interface::name_taken(call, &e),
            e => kernel(e).context(format_args!("failed to create macvlan on master \"{}\"", master.name)),
        })
    };
    if conf.link_in_container {
        interface::inside(netns, |rtnl| make(rtnl, true))
    } else {
        interface::on_host(|rtnl| make(rtnl, false))
    }
}

/// The container's side of an ADD. The link as the kernel made it: its MAC address is the kernel's choice (in mode passthru the parent's)
/// unless one was asked for.
fn bring_up(rtnl: &mut Rtnl, netns: &Netns, call: &Call, conf: &Conf, plan: Option<&Plan>) -> Result<Link> {
    let link = rtnl.link(&call.ifname).map_err(kernel)?;
    if let (Some(wanted), Some(actual)) = (conf.mac, link.mac)
        && wanted != actual
    {
        tracing::warn!(interface = link.name, %wanted, %actual, "mode passthru takes the parent's MAC address");
    }
    let Some(plan) = plan else {
        interface::set_up(rtnl, link.index)?;
        return Ok(link);
    };
    plan.check_mtu(Some(link.mtu))?;
    let target = Target { netns, name: &link.name, index: link.index };
    plan.apply(rtnl, &target, Settings { dad: conf.dad, arp_notify: true, ndisc_notify: true })?;
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_current() {
        let section = testkit::Document::open("configuration.md").section("### macvlan");
        let mut known = testkit::keys::<Raw>();
        known.insert("mode".to_owned(), ["bridge", "private", "vepa", "passthru"].map(str::to_owned).to_vec());
        assert_eq!(section.differences(&known), [""; 0]);
    }
}
