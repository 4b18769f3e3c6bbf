//! The networks of a Kubernetes pod: what its annotations ask for, resolved to configurations.
//!
//! Owns: who the pod is and whether it still is the one that the runtime means; the order and the sources of its networks; namespace
//! isolation. Reading the annotations is [`crate::select`]'s, completing a definition's configuration `definition`'s, turning wishes into
//! arguments `request`'s.

pub(crate) mod definition;
mod request;

use std::collections::{BTreeMap, HashMap};

use cni::{Code, Error, Result};

pub use request::Request;

use crate::Config;
use crate::cluster::{Cluster, Definition, Event, Pod, PodId};
use crate::plan::{Network, Networks};
use crate::select::{self, Selection};

/// The pod that a call is for; `None` if the runtime does not say (it is no Kubernetes runtime).
#[must_use]
pub fn id(args: &[(String, String)]) -> Option<PodId> {
    let get = |key: &str| args.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.clone()).filter(|v| !v.is_empty());
    Some(PodId { namespace: get("K8S_POD_NAMESPACE")?, name: get("K8S_POD_NAME")?, uid: get("K8S_POD_UID") })
}

/// The pod as the API server has it.
///
/// # Errors
/// Code 3 if it is gone, also where another pod has taken its name; or what the API server's absence makes of it.
pub(crate) fn find(cluster: &dyn Cluster, id: &PodId) -> Result<Pod> {
    let Some(pod) = cluster.pod(id)? else {
        return Err(Error::new(
            Code::UNKNOWN_CONTAINER,
            format!("pod {}/{} does not exist any more: nothing was attached", id.namespace, id.name),
        ));
    };
    match &id.uid {
        // The API's object of a static pod is a mirror with a UID of its own.
        Some(uid) if *uid != pod.uid && !pod.is_static() => Err(Error::new(
            Code::UNKNOWN_CONTAINER,
            format!(
                "pod {}/{} with UID {uid} does not exist any more: the API server has another of that name (UID {}); nothing was attached",
                id.namespace, id.name, pod.uid
            ),
        )),
        _ => Ok(pod),
    }
}

/// The pod that a plan is for, and what its annotations asked for when the plan was made.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The pod, by the UID of its object.
    pub id: PodId,
    annotations: BTreeMap<String, String>,
}

impl Asked {
    pub(crate) fn new(id: PodId, pod: Pod) -> Asked {
        Asked { id: PodId { uid: Some(pod.uid), ..id }, annotations: pod.annotations }
    }

    /// What was attached is what the pod asks for. The plan may have come from an API server whose cache lags
    /// (`docs/decisions/0002`), or the annotation was changed meanwhile.
    ///
    /// # Errors
    /// Code 11, with the annotation's name.
    pub(crate) fn is_still_asked_for(&self, now: &Pod) -> Result<()> {
        // The annotations that a plan comes from.
        let mut wishes = [select::DEFAULT_NETWORK, select::NETWORKS].into_iter();
        let Some(annotation) = wishes.find(|wish| self.annotations.get(*wish) != now.annotations.get(*wish)) else {
            return Ok(());
        };
        let PodId { namespace, name, .. } = &self.id;
        Err(Error::new(
            Code::TRY_AGAIN,
            format!(
                "annotation {annotation} of pod {namespace}/{name} is another than the one that the networks were attached by: it was changed \
                 meanwhile, or the API server that was asked first lags behind; the runtime will try again"
            ),
        ))
    }
}

/// Resolves definitions, each once.
pub struct Resolver<'a> {
    config: &'a Config,
    cluster: &'a dyn Cluster,
    found: HashMap<(String, String), Definition>,
}

impl<'a> Resolver<'a> {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(config: &'a Config, cluster: &'a dyn Cluster) -> Self {
        Resolver { config, cluster, found: HashMap::new() }
    }

    /// A definition by name; `None` if there is none.
    pub(crate) fn definition(&mut self, namespace: &str, name: &str) -> Result<Option<Definition>> {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(found) = self.found.get(&key) {
            return Ok(Some(found.clone()));
        }
        let found = self.cluster.definition(namespace, name)?;
        if let Some(found) = &found {
            self.found.insert(key, found.clone());
        }
        Ok(found)
    }

    /// The network of a definition that is referred to by name in the configuration (`clusterNetwork`, `defaultNetworks`), if there is one.
    pub(crate) fn by_reference(&mut self, name: &str, position: usize) -> Result<Option<Network>> {
        let namespace = &self.config.multus_namespace;
        let Some(definition) = self.definition(namespace, name)? else { return Ok(None) };
        let list = definition::list(self.config, &definition, &Request::default())?;
        Ok(Some(Network {
            list,
            position,
            status_name: status_name(&definition),
            request: Request::default(),
            resource_name: definition.resource_name,
        }))
    }

    /// The networks of a pod: those of the configuration with the pod's wishes applied.
    ///
    /// # Errors
    /// Names the annotation, the element and the key, or the definition that is missing.
    pub(crate) fn networks(&mut self, pod: &Pod, id: &PodId, mut networks: Networks) -> Result<Networks> {
        let annotation = |key: &str| pod.annotations.get(key).map_or("", String::as_str);
        let default =
            select::parse(select::DEFAULT_NETWORK, annotation(select::DEFAULT_NETWORK), &self.config.multus_namespace)?;
        match default.as_slice() {
            [] => {}
            [only] => {
                if let Some(interface) = &only.interface {
                    return Err(Error::config(format!(
                        "annotation {}: key \"interface\": \"{interface}\": the default network's interface is named by the runtime; remove the key",
                        select::DEFAULT_NETWORK
                    )));
                }
                let network = self.selected(select::DEFAULT_NETWORK, only, id, 0)?;
                networks.networks[0] = network;
            }
            more => {
                return Err(Error::config(format!(
                    "annotation {}: asks for {} networks; a pod has one default network",
                    select::DEFAULT_NETWORK,
                    more.len()
                )));
            }
        }
        let wanted = select::parse(select::NETWORKS, annotation(select::NETWORKS), &id.namespace)?;
        // The auxiliary chain stays last.
        let auxiliary = if networks.has_auxiliary { networks.networks.pop() } else { None };
        for selection in &wanted {
            let position = networks.networks.len();
            networks.networks.push(self.selected(select::NETWORKS, selection, id, position)?);
        }
        if let Some(mut last) = auxiliary {
            last.position = networks.networks.len();
            networks.networks.push(last);
        }
        Ok(networks)
    }

    /// One network that an annotation asks for.
    fn selected(&mut self, annotation: &str, selection: &Selection, id: &PodId, position: usize) -> Result<Network> {
        let Selection { namespace, name, .. } = selection;
        let context = |e: Error| e.context(format!("annotation {annotation}: network {namespace}/{name}"));
        self.isolate(annotation, namespace, id).map_err(context)?;
        let Some(definition) = self.definition(namespace, name)? else {
            let message = format!("there is no NetworkAttachmentDefinition {name} in namespace {namespace}");
            let event = Event {
                warning: true,
                reason: "NoNetworkFound",
                message: format!("{message}: create it, or correct the annotation {annotation}"),
            };
            self.cluster.events(id, &[event]);
            return Err(context(Error::config(format!("{message}: create it, or correct the annotation"))));
        };
        let request = Request::new(selection);
        let list = definition::list(self.config, &definition, &request).map_err(context)?;
        if self.config.capability_mismatch_is_error {
            request.check(&list).map_err(context)?;
        }
        Ok(Network {
            list,
            position,
            status_name: status_name(&definition),
            request,
            resource_name: definition.resource_name,
        })
    }

    fn isolate(&self, annotation: &str, namespace: &str, id: &PodId) -> Result<()> {
        let own = namespace == id.namespace || self.config.global_namespaces.iter().any(|n| n == namespace);
        // The default network is looked up in Multus's namespace when none is given: that is the administrator's, not another tenant's.
        let system = annotation == select::DEFAULT_NETWORK && namespace == self.config.multus_namespace;
        if own || system || !self.config.namespace_isolation {
            return Ok(());
        }
        Err(Error::config(format!(
            "namespace isolation is on: a pod of namespace {} may use networks of its own namespace and of {} only",
            id.namespace,
            self.config.global_namespaces.join(", ")
        )))
    }
}

fn status_name(definition: &Definition) -> Option<String> {
    Some(format!("{}/{}", definition.namespace, definition.name))
}

#[cfg(test)]
mod tests;
