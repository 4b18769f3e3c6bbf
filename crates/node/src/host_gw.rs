//! `plexus-node host-gw`: what flannel's daemon gives a node by its backend host-gw, for clusters that do not run it.
//!
//! A file that tells the plugin `flannel` the node's subnet, a route to each other node's subnet by that node's address, and masquerading
//! of what leaves the pod network. IPv4; the nodes must share a network, since their addresses are the routes' gateways. The list of nodes is
//! read again and again, not watched: meant for clusters of some dozen nodes. Like flannel's, routes and file stay when it ends.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cni::file::{self, Durability};
use cni::{Code, Error, Result};
use ipnet::{IpNet, Ipv4Net};
use k8s::{Api, Credentials, Node};
use netlink::Rtnl;
use netlink::nft::{Base, Batch, Chain, ChainType, Expressions, Family, Hook, Is, Nft, Table};
use serde::Deserialize;

use crate::probe::{self, STATUS_FILE};
use crate::wait::Ending;

/// Marks our routes, so that those of nodes that are gone can be told from others (`ip route show proto 80`).
const PROTOCOL: u8 = 80;
const TABLE: Table<'static> = Table { family: Family::Ip, name: "plexus-host-gw" };
const CHAIN: Chain<'static> = Chain { table: TABLE, name: "postrouting" };
/// NF_IP_PRI_NAT_SRC.
const PRIORITY: i32 = 100;
const MULTICAST: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4);

/// Gives this node what flannel's backend host-gw does: its subnet for the plugin flannel, and routes to the other nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// flannel's net-conf.json: the pod network, and the backend, which must be host-gw.
    #[arg(long, value_name = "FILE", default_value = "/etc/kube-flannel/net-conf.json")]
    net_config_path: PathBuf,
    /// Where the plugin flannel finds this node's subnet.
    #[arg(long, value_name = "FILE", default_value = "/run/flannel/subnet.env")]
    subnet_file: PathBuf,
    /// Masquerade what leaves the pod network. Otherwise the plugin flannel lets its delegate do it.
    #[arg(long)]
    ip_masq: bool,
    /// This node's name.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node_name: String,
    /// How the API server is reached; by default by the pod's service account, which needs to list nodes.
    #[arg(long, value_name = "FILE")]
    kubeconfig_file: Option<PathBuf>,
    /// Seconds between two looks at the nodes.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=30))]
    interval: u64,
    /// Where `plexus-node probe` finds how it is.
    #[arg(long, value_name = "FILE", default_value = STATUS_FILE)]
    status_file: PathBuf,
}

/// flannel's net-conf.json.
#[derive(Debug, Deserialize)]
struct NetConf {
    #[serde(rename = "Network")]
    network: Ipv4Net,
    #[serde(rename = "Backend", default)]
    backend: Backend,
}

#[derive(Debug, Default, Deserialize)]
struct Backend {
    #[serde(rename = "Type", default)]
    kind: String,
}

/// Where a route to another node's pods leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
}

/// What the nodes say, seen from one of them.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    subnet: Ipv4Net,
    address: Ipv4Addr,
    ways: Vec<Way>,
}

/// What is to be on node `name`. Nodes that have no subnet or address yet come later.
fn plan(nodes: &[Node], name: &str) -> Result<Plan> {
    let subnet = |node: &Node| node.pod_cidrs.iter().find_map(|cidr| cidr.parse::<Ipv4Net>().ok());
    let address = |node: &Node| node.addresses.iter().find_map(|address| address.parse::<Ipv4Addr>().ok());
    let missing = |what: &str, remedy: &str| {
        Err(Error::new(Code::TRY_AGAIN, format!("node {name} has no {what} in the API server (yet): {remedy}")))
    };
    let Some(own) = nodes.iter().find(|node| node.name == name) else {
        return missing("object", "does NODE_NAME (--node-name) say its name?");
    };
    let Some(own_subnet) = subnet(own) else {
        return missing(
            "IPv4 podCIDR",
            "the controller manager gives one if it runs with --allocate-node-cidrs and --cluster-cidr",
        );
    };
    let Some(own_address) = address(own) else { return missing("IPv4 InternalIP", "the kubelet reports it") };
    let others = nodes.iter().filter(|node| node.name != name);
    let mut ways: Vec<Way> =
        others.filter_map(|node| Some(Way { subnet: subnet(node)?.trunc(), gateway: address(node)? })).collect();
    ways.sort();
    Ok(Plan { subnet: own_subnet.trunc(), address: own_address, ways })
}

/// What the plugin flannel reads. `masquerades`: somebody else than the plugin does.
fn subnet_env(network: Ipv4Net, subnet: Ipv4Net, mtu: u32, masquerades: bool) -> Result<String> {
    let gateway = subnet
        .hosts()
        .next()
        .filter(|_| subnet.prefix_len() < 31)
        .ok_or_else(|| Error::config(format!("podCIDR {subnet} is too small for a gateway and a pod")))?;
    Ok(format!(
        "FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={gateway}/{}\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ={masquerades}\n",
        subnet.prefix_len()
    ))
}

/// Runs until it is told to end.
pub(crate) fn run(options: &Options) -> ExitCode {
    crate::log::for_people();
    let serve = || -> Result<()> {
        let ending = Ending::listen()?;
        let credentials = options.kubeconfig_file.clone().map_or(Credentials::ServiceAccount, Credentials::Kubeconfig);
        let api = Api::new(credentials, options.node_name.as_str());
        let mut said = None;
        loop {
            // Before a pass too: the API server may take its time.
            let _ = probe::write(
                &options.status_file,
                said.as_ref().map_or(Some("starting"), |s: &Option<String>| s.as_deref()),
            );
            let done = pass(options, &api).err().map(|e| e.to_string());
            if said.as_ref() != Some(&done) {
                match &done {
                    None => tracing::info!("subnet and routes are there"),
                    Some(problem) => tracing::warn!("not ready: {problem}"),
                }
            }
            if let Err(e) = probe::write(&options.status_file, done.as_deref())
                && said.is_none()
            {
                tracing::warn!("probes will fail: {e}");
            }
            said = Some(done);
            if ending.comes_within(Duration::from_secs(options.interval))? {
                return Ok(());
            }
        }
    };
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn pass(options: &Options, api: &Api) -> Result<()> {
    let path = &options.net_config_path;
    let bytes = file::read(path, 100_000)?
        .ok_or_else(|| Error::new(Code::IO, format!("{} (--net-config-path) is not there", path.display())))?;
    let conf: NetConf =
        serde_json::from_slice(&bytes).map_err(|e| Error::new(Code::DECODE, format!("{}: {e}", path.display())))?;
    if conf.backend.kind != "host-gw" {
        return Err(Error::config(format!(
            "{}: backend {:?} is flannel's own daemon's; here is only \"host-gw\"",
            path.display(),
            conf.backend.kind
        )));
    }
    let plan = plan(&api.nodes()?, &options.node_name)?;
    apply(&plan, conf.network.trunc(), options)
}

/// Makes the node so.
fn apply(plan: &Plan, network: Ipv4Net, options: &Options) -> Result<()> {
    let failed = |e: netlink::Error| Error::internal(e.to_string());
    let mut rtnl = Rtnl::open().map_err(failed)?;
    let mut link = None;
    for candidate in rtnl.links().map_err(failed)? {
        let addresses = rtnl.addresses_of_family(candidate.index, true).map_err(failed)?;
        if addresses.iter().any(|a| a.address.addr() == IpAddr::V4(plan.address)) {
            link = Some(candidate);
            break;
        }
    }
    let link = link.ok_or_else(|| {
        Error::internal(format!(
            "no link has {}, the node's InternalIP: is the pod in the host's network?",
            plan.address
        ))
    })?;
    let routes = rtnl.routes(None, None).map_err(failed)?;
    let mut unreachable = Ok(());
    for way in &plan.ways {
        let mut route = netlink::Route::new(IpNet::V4(way.subnet), Some(IpAddr::V4(way.gateway)), link.index);
        route.protocol = Some(PROTOCOL);
        let there = routes
            .iter()
            .any(|r| r.dst == route.dst && r.protocol == route.protocol && leads_to(r, way.gateway, link.index));
        if !there && let Err(e) = rtnl.replace_route(&route) {
            unreachable = unreachable.and(Err(Error::internal(format!(
                "{e}: host-gw needs nodes that share a network; run flannel's daemon with backend vxlan where they do not"
            ))));
        }
    }
    for route in routes.iter().filter(|r| r.protocol == Some(PROTOCOL)) {
        if !plan.ways.iter().any(|way| IpNet::V4(way.subnet) == route.dst) {
            rtnl.delete_route(route).map_err(failed)?;
        }
    }
    if options.ip_masq {
        masquerade(network).map_err(failed)?;
    }
    let env = subnet_env(network, plan.subnet, link.mtu, options.ip_masq)?;
    if file::read(&options.subnet_file, 100_000)?.as_deref() != Some(env.as_bytes()) {
        if let Some(dir) = options.subnet_file.parent() {
            file::create_directory(dir, 0o755)?;
        }
        file::write_atomic(&options.subnet_file, env.as_bytes(), 0o644, Durability::Cached)?;
        tracing::info!("wrote {}: {}", options.subnet_file.display(), env.trim_end().replace('\n', " "));
    }
    unreachable
}

fn leads_to(route: &netlink::Route, gateway: Ipv4Addr, link: u32) -> bool {
    matches!(&route.via[..], [hop] if hop.gateway == Some(IpAddr::V4(gateway)) && hop.oif == Some(link))
}

fn masquerade(network: Ipv4Net) -> netlink::Result<()> {
    let leaving = Expressions::new(Family::Ip)
        .saddr(Is::Equal, IpNet::V4(network))
        .daddr(Is::Not, IpNet::V4(network))
        .daddr(Is::Not, IpNet::V4(MULTICAST))
        .masquerade();
    let mut nft = Nft::open()?;
    if nft.has_chain(CHAIN)? && matches!(&nft.rules(CHAIN)?[..], [rule] if rule.does(&leaving)) {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.add_table(TABLE, None);
    let base = Base { chain_type: ChainType::Nat, hook: Hook::Postrouting, priority: PRIORITY, policy: None };
    batch.add_chain(CHAIN, Some(base), None);
    batch.flush_chain(CHAIN);
    batch.add_rule(CHAIN, &leaving, Some("plexus host-gw: pods to the outside"));
    nft.commit(&batch)
}

#[cfg(test)]
mod tests;
