//! What the meta-plugin asks of Kubernetes, and tells it: the port that crate `k8s` implements.
//!
//! Owns: the few facts about pods and definitions that decide anything. Knows nothing of clients, transports or retries.

use std::collections::BTreeMap;

use cni::Result;

/// Which pod a call is for: what the runtime puts into `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodId {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`; older runtimes give none.
    pub uid: Option<String>,
}

/// A pod, as far as its networks depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

impl Pod {
    /// The API object only mirrors a pod that a kubelet runs from a file, and has another UID than the kubelet's.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.annotations.get("kubernetes.io/config.source").is_some_and(|source| source != "api")
    }
}

/// A NetworkAttachmentDefinition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.config`; empty where the configuration is a file on the node.
    pub config: String,
    /// Annotation `k8s.v1.cni.cncf.io/resourceName`: the device resource of the network.
    pub resource_name: Option<String>,
}

/// An event on a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// `AddedInterface`, `NoNetworkFound`...
    pub reason: &'static str,
    /// What happened, and what to do about it.
    pub message: String,
}

/// Kubernetes, as the meta-plugin sees it. Every call has a deadline; transient failures have been retried before an error comes back.
pub trait Cluster {
    /// The pod; `None` if the API server says that there is none (it is gone, not merely unreachable).
    ///
    /// # Errors
    /// Code 11 if the API server cannot be reached or does not answer in time, 999 for what will not get better by waiting.
    fn pod(&self, id: &PodId) -> Result<Option<Pod>>;

    /// The definition; `None` if there is none.
    ///
    /// # Errors
    /// As [`Cluster::pod`].
    fn definition(&self, namespace: &str, name: &str) -> Result<Option<Definition>>;

    /// Writes the annotation `k8s.v1.cni.cncf.io/network-status` of the pod with one PATCH, and creates events as [`Cluster::events`] does, at
    /// the same time. The pod as the PATCH left it, which no cache stands before; `None` if it is gone.
    ///
    /// # Errors
    /// As [`Cluster::pod`].
    fn report(&self, id: &PodId, status: &str, events: &[Event]) -> Result<Option<Pod>>;

    /// Creates events on the pod. One that is there already is counted; a lost one is logged.
    fn events(&self, id: &PodId, events: &[Event]);
}
