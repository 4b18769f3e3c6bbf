//! Nodes, as far as routes between their pods need them.

use cni::{Error, Result};
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::api::ListParams;

use crate::Api;
use crate::client::DEADLINE;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `spec.podCIDRs`, or `spec.podCIDR`: the addresses of its pods. Empty until it is given some.
    pub pod_cidrs: Vec<String>,
    /// `status.addresses` of type `InternalIP`.
    pub addresses: Vec<String>,
}

impl From<ApiNode> for Node {
    fn from(node: ApiNode) -> Node {
        let spec = node.spec.unwrap_or_default();
        let addresses = node.status.unwrap_or_default().addresses.unwrap_or_default();
        let internal = addresses.into_iter().filter(|a| a.type_ == "InternalIP");
        Node {
            name: node.metadata.name.unwrap_or_default(),
            pod_cidrs: spec.pod_cidrs.unwrap_or_else(|| spec.pod_cidr.into_iter().collect()),
            addresses: internal.map(|a| a.address).collect(),
        }
    }
}

impl Api {
    /// All nodes, from the API server's cache, which may be some seconds old.
    ///
    /// # Errors
    /// Code 11 if the API server does not answer within the deadline; the message says what to do.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        let listed = self.ask("list nodes", DEADLINE, |client| async move {
            // Any version will do: answered without asking etcd.
            kube::Api::<ApiNode>::all(client).list(&ListParams::default().match_any()).await
        })?;
        let listed = listed.ok_or_else(|| Error::internal("failed to list nodes: the API server has none"))?;
        Ok(listed.items.into_iter().map(Node::from).collect())
    }
}
