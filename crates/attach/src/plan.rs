//! The plan of an ADD: which attachments a container gets, in order, each complete.
//!
//! Owns: everything that can be decided, and every error that can be found, before anything is touched. A plan does not know who asks for
//! it: a runtime's CNI call makes one here, others can make theirs.

use std::collections::{BTreeMap, BTreeSet};

use cni::args::Args;
use cni::conf::{NetworkList, PluginConf};
use cni::{Call, Code, Error, Json, Result, names};

use crate::cluster::Cluster;
use crate::config::{RuntimeConfigTo, SecondaryDefaultRoutes};
use crate::default_route::{self, DefaultRoute};
use crate::devices::info::{self, DeviceInfo};
use crate::devices::{self, Allocator, Devices};
use crate::pod::{self, Request, Resolver};
use crate::{Config, default_network};

/// The meta-plugin's own types.
const META: [&str; 3] = ["multus", "multus-shim", "plexus"];

/// What of the runtime's `CNI_ARGS` belongs to one interface, the one that it asks for: two with the same MAC address or address are of no use.
const ADDRESSES: [&str; 3] = ["IP", "MAC", "GATEWAY"];

/// What an ADD is to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The container.
    pub container_id: String,
    /// Path of its network namespace.
    pub netns: String,
    /// The interface the runtime asked for (`CNI_IFNAME`): with the container, the key under which it will ask for the DEL.
    pub request: String,
    /// The attachments in the order in which they are made. The first is the default network's: its result is returned.
    pub attachments: Vec<Attachment>,
    /// What becomes of default routes of the others that the first one's result has too.
    pub secondary_default_routes: SecondaryDefaultRoutes,
    /// Where the pod's annotation wants its default routes, at most one for each address family.
    pub default_routes: Vec<DefaultRoute>,
    /// The pod, where Kubernetes asks. What is written is written to this one, not to another of its name.
    pub pod: Option<pod::Asked>,
}

/// One network of one container.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The network: its configuration, complete.
    pub list: NetworkList,
    /// The interface in the container.
    pub ifname: String,
    /// `CNI_ARGS` for its plugins.
    pub args: Vec<(String, String)>,
    /// Capability arguments; `null` for none.
    pub capability_args: Json,
    /// What the pod asks of it beyond that. Only an ADD needs it: it is not recorded.
    pub request: Request,
    /// Its name in the pod's network status, where it is a definition's. Only an ADD needs it: it is not recorded.
    pub status_name: Option<String>,
}

impl Attachment {
    /// One that a record or the cache tells of.
    pub(crate) fn recorded(
        list: NetworkList,
        ifname: String,
        args: Vec<(String, String)>,
        capability_args: Json,
    ) -> Attachment {
        Attachment { list, ifname, args, capability_args, request: Request::default(), status_name: None }
    }

    /// What it is, for messages: `network "x" interface net1`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("network \"{}\" interface {}", self.list.name, self.ifname)
    }
}

/// A network of the configuration, before it belongs to a container.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its configuration.
    pub list: NetworkList,
    /// Its place among the networks, which names its interface.
    pub position: usize,
    /// `namespace/name` of its definition; absent where it comes from the configuration.
    pub status_name: Option<String>,
    /// What the pod asks of it.
    pub request: Request,
    /// The resource of which it needs a device.
    pub resource_name: Option<String>,
}

impl Network {
    /// A network that no pod has asked for.
    fn configured(list: NetworkList, position: usize) -> Network {
        Network { list, position, status_name: None, request: Request::default(), resource_name: None }
    }
}

/// The networks that the configuration gives every container, in the order of attaching; the first is the default network.
#[derive(Clone, Debug)]
pub struct Networks {
    /// In order.
    pub networks: Vec<Network>,
    /// The configuration has the form of 2017: one delegate is marked `masterplugin`.
    pub marked: bool,
    /// The last one is the auxiliary chain.
    pub has_auxiliary: bool,
}

/// Resolves the configuration's networks for a pod of `namespace` (empty where there is none). Names are definitions in Multus's namespace
/// first, where there is a cluster.
///
/// # Errors
/// Names the key and the network that is missing or cannot be read.
pub fn networks(config: &Config, namespace: &str, resolver: Option<&mut Resolver<'_>>) -> Result<Networks> {
    let found = if config.cluster_network.is_empty() {
        static_networks(config)?
    } else {
        cluster_networks(config, namespace, resolver)?
    };
    check_lists(&found)?;
    Ok(found)
}

/// What every network must be, wherever it comes from.
fn check_lists(found: &Networks) -> Result<()> {
    for Network { list, .. } in &found.networks {
        names::network(&list.name)?;
        if let Some(nested) = list.plugins.iter().find(|p| META.contains(&p.plugin_type.as_str())) {
            let (name, nested) = (&list.name, &nested.plugin_type);
            return Err(Error::config(format!(
                "network \"{name}\" has the plugin \"{nested}\", which is this one: it would call itself without end"
            )));
        }
        // Found here, a bad name costs nothing; the plugin would find it with half of its work done.
        for plugin in &list.plugins {
            let run_by_it =
                |key: &str| plugin.conf.get(key).and_then(|k| k.get("type")).and_then(Json::as_str).unwrap_or("");
            if let Some(key) = ["ipam", "delegate"].into_iter().find(|key| META.contains(&run_by_it(key))) {
                return Err(Error::config(format!(
                    "network \"{}\": key \"{key}.type\" is \"{}\", which is this one: it would call itself without end",
                    list.name,
                    run_by_it(key)
                )));
            }
            let ipam = run_by_it("ipam");
            if ipam.contains('/') || ipam == "." || ipam == ".." {
                return Err(Error::config(format!(
                    "network \"{}\": key \"ipam.type\": invalid plugin name: {ipam:?} (it is a file name, without directories)",
                    list.name
                )));
            }
        }
    }
    Ok(())
}

fn cluster_networks(config: &Config, namespace: &str, mut resolver: Option<&mut Resolver<'_>>) -> Result<Networks> {
    let mut find = |key: &str, reference: &str, position: usize| -> Result<Network> {
        if let Some(resolver) = resolver.as_mut().filter(|_| !reference.contains('/'))
            && let Some(found) =
                resolver.by_reference(reference, position).map_err(|e| e.context(format!("key \"{key}\"")))?
        {
            return Ok(found);
        }
        Ok(Network::configured(default_network::find(config, key, reference)?, position))
    };
    let mut networks = vec![find("clusterNetwork", &config.cluster_network, 0)?];
    if !config.system_namespaces.iter().any(|n| n == namespace) {
        for (i, name) in config.default_networks.iter().enumerate() {
            networks.push(find(&format!("defaultNetworks[{i}]"), name, i + 1)?);
        }
    }
    let auxiliary = if config.auxiliary_chain.is_empty() { None } else { default_network::auxiliary(config)? };
    let has_auxiliary = auxiliary.is_some();
    let position = networks.len();
    networks.extend(auxiliary.map(|list| Network::configured(list, position)));
    Ok(Networks { networks, marked: false, has_auxiliary })
}

fn static_networks(config: &Config) -> Result<Networks> {
    let mut networks = Vec::with_capacity(config.delegates.len());
    let mut default = None;
    for (position, delegate) in config.delegates.iter().enumerate() {
        match delegate.get("masterplugin") {
            None | Some(Json::Bool(false)) => {}
            Some(Json::Bool(true)) => {
                if let Some(first) = default.replace(position) {
                    return Err(Error::config(format!(
                        "delegates[{first}] and delegates[{position}] are both marked \"masterplugin\": only one can be the default network"
                    )));
                }
            }
            Some(_) => {
                let message = format!("key \"delegates[{position}].masterplugin\" must be true or false");
                return Err(Error::new(Code::DECODE, message));
            }
        }
        networks.push(Network::configured(default_network::static_delegate(config, position, delegate)?, position));
    }
    if networks.is_empty() {
        return Err(Error::config("at least one network is needed: set \"delegates\" or \"clusterNetwork\""));
    }
    // The marked one runs first and gets the runtime's interface name; the others keep their place, so the names stay the same.
    if let Some(position) = default {
        networks[..=position].rotate_right(1);
    }
    Ok(Networks { networks, marked: default.is_some(), has_auxiliary: false })
}

/// What the runtime gives with a call.
struct Given {
    /// `CNI_ARGS` for delegates.
    args: Vec<(String, String)>,
    /// `runtimeConfig`, an object or `null`.
    runtime_config: Json,
}

impl Given {
    fn new(config: &Config, call: &Call) -> Result<Given> {
        let args = delegate_args(&call.args)?;
        let runtime_config = call.conf.get("runtimeConfig").cloned().unwrap_or(Json::Null);
        if !matches!(runtime_config, Json::Null | Json::Object(_)) {
            return Err(Error::new(Code::DECODE, "key \"runtimeConfig\" must be an object"));
        }
        if config.cluster_network.is_empty() && !config.auxiliary_chain.is_empty() {
            // Beside static delegates there is no such chain: without this the key would be passed over in silence.
            default_network::auxiliary(config)?;
        }
        Ok(Given { args, runtime_config })
    }
}

impl Plan {
    /// The plan for a runtime's call.
    ///
    /// # Errors
    /// Every mistake of the configuration and of the call's parameters, two attachments of one interface name included.
    /// With a cluster, the networks that the pod's annotations ask for are in it.
    pub fn new(config: &Config, call: &Call, cluster: Option<&dyn Cluster>, devices: &dyn Devices) -> Result<Plan> {
        let given = Given::new(config, call)?;
        let Some((cluster, id)) = cluster.and_then(|cluster| Some((cluster, pod::id(&given.args)?))) else {
            return Plan::without_pod(config, call, given, cluster);
        };
        let pod = pod::find(cluster, &id)?;
        let mut resolver = Resolver::new(config, cluster);
        let configured = networks(config, &id.namespace, Some(&mut resolver))?;
        let mut found = resolver.networks(&pod, &id, configured)?;
        check_lists(&found)?;
        // Kubelet knows a static pod by the UID that the runtime tells, not by the mirror's.
        let mut allocator = Allocator::new(devices, &id, id.uid.as_deref().unwrap_or(&pod.uid));
        devices::assign(config, &mut found.networks, &mut allocator)?;
        Plan::of(config, call, given, found, Some(pod::Asked::new(id, pod)))
    }

    /// The plan of what the configuration alone gives a container: no pod is asked for. With a cluster, names in it may be definitions.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn configured(config: &Config, call: &Call, cluster: Option<&dyn Cluster>) -> Result<Plan> {
        Plan::without_pod(config, call, Given::new(config, call)?, cluster)
    }

    fn without_pod(config: &Config, call: &Call, given: Given, cluster: Option<&dyn Cluster>) -> Result<Plan> {
        let mut resolver = cluster.map(|cluster| Resolver::new(config, cluster));
        let found = networks(config, pod_namespace(&given.args), resolver.as_mut())?;
        Plan::of(config, call, given, found, None)
    }

    fn of(config: &Config, call: &Call, given: Given, found: Networks, pod: Option<pod::Asked>) -> Result<Plan> {
        let Given { args, runtime_config } = given;
        let device_info = DeviceInfo::new(&config.device_info_dir);
        let mut attachments: Vec<Attachment> = Vec::with_capacity(found.networks.len());
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        for (i, network) in found.networks.into_iter().enumerate() {
            let Network { list, position, status_name, request, .. } = network;
            let ifname = match &request.interface {
                _ if i == 0 => call.ifname.clone(),
                Some(name) => name.clone(),
                None => format!("net{position}"),
            };
            let capable = i == 0 || config.runtime_config_to == RuntimeConfigTo::All;
            let mut capability_args =
                request.capability_args(if capable { runtime_config.clone() } else { Json::Null });
            if request.device.is_some() || list.plugins.iter().any(|p| p.capabilities().contains(&info::CAPABILITY)) {
                let path =
                    device_info.path(status_name.as_deref().unwrap_or(&list.name), &call.container_id, &ifname)?;
                if capability_args.members().is_none() {
                    capability_args = Json::object();
                }
                capability_args.set(info::CAPABILITY, path.display().to_string());
            }
            let given = args.iter().filter(|(key, _)| capable || !ADDRESSES.contains(&key.as_str()));
            let args = given.cloned().chain(request.args()).collect();
            let attachment = Attachment { list, ifname, args, capability_args, request, status_name };
            names::attachment(&attachment.list.name, &call.container_id, &attachment.ifname)?;
            if let Some(other) = taken.insert(attachment.ifname.clone(), i).map(|other| &attachments[other]) {
                return Err(Error::config(format!(
                    "{} and {} need the same interface name: choose another name than {} for one of them (CNI_IFNAME, or key \"interface\" of the annotation)",
                    other.describe(),
                    attachment.describe(),
                    attachment.ifname
                )));
            }
            attachments.push(attachment);
        }
        let default_routes = default_route::chosen(&attachments)?;
        let by_form = if found.marked { SecondaryDefaultRoutes::Drop } else { SecondaryDefaultRoutes::Keep };
        Ok(Plan {
            container_id: call.container_id.clone(),
            netns: call.netns.clone(),
            request: call.ifname.clone(),
            attachments,
            secondary_default_routes: config.secondary_default_routes.unwrap_or(by_form),
            default_routes,
            pod,
        })
    }

    /// Checks the plan against what is there: no interface of these names, and a plugin for every type.
    ///
    /// # Errors
    /// Names the interface or the plugin, and the attachment.
    pub fn check(&self, existing: &[String], find: impl Fn(&PluginConf) -> Result<()>) -> Result<()> {
        let existing: BTreeSet<&str> = existing.iter().map(String::as_str).collect();
        for attachment in &self.attachments {
            let context = |e: Error| e.context(attachment.describe());
            if existing.contains(attachment.ifname.as_str()) {
                return Err(context(Error::internal(format!(
                    "interface {} already exists in the container ({}): nothing was attached; DEL the earlier attachment first, or free the name",
                    attachment.ifname, self.netns
                ))));
            }
            for plugin in &attachment.list.plugins {
                find(plugin).map_err(context)?;
            }
        }
        Ok(())
    }
}

/// The pod's namespace, as the runtime tells it in `CNI_ARGS`; empty where it does not.
#[must_use]
pub fn pod_namespace(args: &[(String, String)]) -> &str {
    args.iter().rev().find(|(k, _)| k == "K8S_POD_NAMESPACE").map_or("", |(_, v)| v)
}

/// What delegates get as `CNI_ARGS`: the pod's keys in Multus's order, then whatever else the runtime sent. Unknown keys are allowed, since
/// plugins do not know these.
///
/// # Errors
/// Code 4 if `CNI_ARGS` is not `K=V;K=V`.
pub fn delegate_args(raw: &str) -> Result<Vec<(String, String)>> {
    const FIRST: [&str; 5] =
        ["IgnoreUnknown", "K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"];
    let given = Args::parse(raw)?;
    let mut args = vec![(FIRST[0].to_owned(), "true".to_owned())];
    for key in &FIRST[1..] {
        args.extend(given.get(key).map(|value| ((*key).to_owned(), value.to_owned())));
    }
    args.extend(given.pairs().iter().filter(|(k, _)| !FIRST.contains(&k.as_str())).cloned());
    Ok(args)
}

#[cfg(test)]
mod tests;
