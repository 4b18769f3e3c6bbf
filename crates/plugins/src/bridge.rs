//! `bridge`: a pair of links, one end in the container, the other a port of a bridge on the host.
//!
//! Owns: the order of an ADD and of its undoing. Beside it: `conf` (keys), `host` (kernel objects of the host), `gateway` (what the IPAM
//! result means for bridge and routes), `check`.

mod check;
mod conf;
mod gateway;
mod host;

use cni::{Call, CniResult, Code, Interface, Invoke, Result, Version};
use netlink::{Netns, Rtnl};

use crate::interface::{self, Made, Plan, Settings, Target};
use crate::masquerade::Masquerade;
use crate::{Plugin, every, ipam, kernel, spoofcheck};
use conf::{Conf, flag};
use gateway::Gateways;

/// The container's interface in the result, after bridge and host's end.
const CONTAINER: usize = 2;

/// The plugin.
#[derive(Debug)]
pub struct Bridge;

impl Plugin for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn owns_interface(&self, _: &Call) -> bool {
        true
    }

    fn add(&self, call: &Call, delegates: &dyn Invoke) -> Result<CniResult> {
        interface::on_host(|rtnl| add(rtnl, call, delegates))
    }

    fn del(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let rules = |wanted: bool, teardown: &dyn Fn() -> Result<()>| if wanted { teardown() } else { Ok(()) };
        every([
            interface::remove(call),
            ipam::del(call, delegates),
            rules(flag(call, "macspoofchk"), &|| spoofcheck::teardown(&call.container_id, &call.ifname)),
            rules(flag(call, "ipMasq"), &|| masquerade(call, "").teardown()),
        ])
    }

    fn check(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        check::check(call, delegates)
    }

    fn status(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let conf = Conf::read(call)?;
        ipam::status(call, delegates)?;
        let unavailable = |e: cni::Error| cni::Error { code: Code::NOT_AVAILABLE, ..e };
        if conf.layer3 && conf.masquerade {
            masquerade(call, &conf.masquerade_backend).validate().map_err(unavailable)?;
        }
        match Rtnl::open().and_then(|mut rtnl| rtnl.link(&conf.bridge)) {
            Ok(link) => host::require_bridge(&link).map_err(unavailable),
            // ADD makes it.
            Err(e) if e.is_missing() => Ok(()),
            Err(e) => Err(unavailable(kernel(e))),
        }
    }

    fn gc(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let rules = || match crate::Attachment::list(&call.conf)? {
            Some(valid) if flag(call, "ipMasq") => Masquerade::gc(call.network(), &valid),
            _ => Ok(()),
        };
        every([ipam::gc(call, delegates), rules()])
    }
}

/// ADD, with a socket of the host's namespace.
fn add(rtnl: &mut Rtnl, call: &Call, delegates: &dyn Invoke) -> Result<CniResult> {
    let conf = Conf::read(call)?;
    interface::expressible(call, conf.layer3)?;
    let masquerade = masquerade(call, &conf.masquerade_backend);
    if conf.layer3 && conf.masquerade {
        masquerade.validate()?;
    }
    if conf.spoof_check {
        spoofcheck::validate(&call.container_id, &call.ifname)?;
    }
    let netns = interface::open_netns(call)?;
    let addresses = || if conf.layer3 { ipam::validate(call, delegates) } else { Ok(()) };
    let bridge = host::ensure_bridge(rtnl, &conf, addresses)?;
    let mut host_name = String::new();
    let pair = host::create_pair(rtnl, call, &conf, &netns, &bridge, &mut host_name)?;
    // On a failure the variables below are dropped in reverse: the link goes before its addresses are free for another.
    let lease;
    let spoof = SpoofRules { call, kept: !conf.spoof_check };
    let made = Made::new(&host_name, None);
    let container = pair.mac.to_string();
    host::set_up_port(rtnl, &conf, &pair.host)?;
    if conf.spoof_check {
        spoofcheck::setup(&host_name, &container, &call.container_id, &call.ifname)?;
    }
    let mut result = CniResult::empty(call.version()?);
    let mtu = |value: u32| (result.version >= Version::V1_1_0).then_some(u64::from(value));
    let interfaces = vec![
        Interface { name: bridge.name.clone(), mtu: mtu(bridge.mtu), ..Interface::default() },
        Interface {
            name: host_name.clone(),
            mac: pair.host.mac.map(|m| m.to_string()).unwrap_or_default(),
            mtu: mtu(pair.host.mtu),
            ..Interface::default()
        },
        Interface {
            name: call.ifname.clone(),
            mac: container,
            mtu: mtu(pair.host.mtu),
            sandbox: call.netns.clone(),
            ..Interface::default()
        },
    ];
    result.interfaces = interfaces;
    lease = if conf.layer3 { Some(ipam::acquire(call, delegates)?) } else { None };
    if let Some(lease) = &lease {
        let ipam = lease.result();
        result.ips.clone_from(&ipam.ips);
        result.routes.clone_from(&ipam.routes);
        result.dns.clone_from(&ipam.dns);
        let gateways = gateway::complete(&conf, &mut result);
        let plan = Plan::new(&result, CONTAINER)?;
        plan.check_mtu(Some(pair.host.mtu))?;
        // The container's part fails more easily (a route by a gateway that cannot be reached), and the bridge's address stays.
        configure(call, &netns, &pair, &plan, &conf)?;
        if let Some(vlan) = host_layer3(rtnl, &conf, &bridge, &gateways)? {
            result.interfaces.push(vlan);
        }
    } else if !conf.disable_container_interface {
        inside_pair(call, &netns, &pair, interface::set_up)?;
    }
    if !conf.disable_container_interface {
        host::wait_for_port(rtnl, &pair.host)?;
    }
    // The first port may have changed the MAC address of a bridge that we did not make, and any port its MTU.
    let bridge = rtnl.link_by_index(bridge.index).map_err(kernel)?;
    host::warn_of_mtu(&bridge, &conf);
    result.interfaces[0].mac = bridge.mac.map(|m| m.to_string()).unwrap_or_default();
    result.interfaces[0].mtu = result.interfaces[0].mtu.map(|_| u64::from(bridge.mtu));
    if let Some(dns) = conf.dns {
        result.dns = dns;
    }
    if conf.layer3 && conf.masquerade {
        // The last step that can fail, and one transaction, so that nothing need undo it.
        let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address).collect();
        masquerade.setup(&addresses)?;
    }
    made.keep();
    spoof.keep();
    lease.map(ipam::Lease::keep);
    Ok(result)
}

fn masquerade<'a>(call: &'a Call, backend: &'a str) -> Masquerade<'a> {
    let backend = (!backend.is_empty()).then_some(backend);
    Masquerade { network: call.network(), container_id: &call.container_id, ifname: &call.ifname, backend }
}

/// Runs `f` with a socket of the container's namespace and the index of the container's end.
fn inside_pair(
    call: &Call,
    netns: &Netns,
    pair: &host::Pair,
    f: impl FnOnce(&mut Rtnl, u32) -> Result<()>,
) -> Result<()> {
    interface::inside(netns, |rtnl| {
        let index = match pair.index {
            Some(index) => index,
            None => rtnl.link(&call.ifname).map_err(kernel)?.index,
        };
        f(rtnl, index)
    })
}

/// The container's side of layer 3.
fn configure(call: &Call, netns: &Netns, pair: &host::Pair, plan: &Plan, conf: &Conf) -> Result<()> {
    let settings = Settings { dad: conf.dad, arp_notify: true, ndisc_notify: false };
    inside_pair(call, netns, pair, |rtnl, index| {
        plan.apply(rtnl, &Target { netns, name: &call.ifname, index }, settings)
    })
}

/// The host's side of layer 3: the gateways' addresses and forwarding. The VLAN's gateway link, if there is one.
fn host_layer3(rtnl: &mut Rtnl, conf: &Conf, bridge: &netlink::Link, gateways: &Gateways) -> Result<Option<Interface>> {
    if gateways.is_empty() {
        return Ok(None);
    }
    let vlan = match conf.vlans.access {
        0 => None,
        _ => Some(host::ensure_vlan_gateway(rtnl, conf, bridge)?),
    };
    let link = vlan.as_ref().unwrap_or(bridge);
    host::ensure_addresses(rtnl, conf, link, gateways)?;
    for ipv4 in [true, false] {
        if gateways.iter().any(|a| a.addr().is_ipv4() == ipv4) {
            host::enable_forwarding(rtnl, ipv4)?;
        }
    }
    Ok(vlan.map(|link| Interface {
        name: link.name,
        mac: link.mac.map(|m| m.to_string()).unwrap_or_default(),
        ..Interface::default()
    }))
}

/// The rules against forged MAC addresses of the ADD in progress.
struct SpoofRules<'a> {
    call: &'a Call,
    kept: bool,
}

impl SpoofRules<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for SpoofRules<'_> {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = spoofcheck::teardown(&self.call.container_id, &self.call.ifname)
        {
            tracing::warn!(%error, "a failed ADD could not remove its rules against forged MAC addresses; the runtime's DEL will try again");
        }
    }
}
