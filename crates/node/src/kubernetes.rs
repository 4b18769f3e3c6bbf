//! Which API server and which kubelet the meta-plugin asks, if any.

use std::rc::Rc;

use attach::Config;
use attach::cluster::Cluster;
use attach::devices::Devices;

/// Kubernetes as the meta-plugin sees it.
pub(crate) struct Kubernetes {
    /// The API server.
    pub(crate) cluster: Rc<dyn Cluster>,
    /// This node's kubelet.
    pub(crate) devices: Box<dyn Devices>,
}

/// The configured kubeconfig's API server, or that of the pod that we run in; `None` where there is neither. Nothing is opened yet.
#[cfg(feature = "kubernetes")]
pub(crate) fn connect(config: &Config) -> Option<Kubernetes> {
    use k8s::{Api, Credentials, Kubelet};

    let in_pod = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].iter().all(|v| std::env::var_os(v).is_some());
    let credentials = match config.kubeconfig.as_str() {
        "" if in_pod => Credentials::ServiceAccount,
        "" => return None,
        path => Credentials::Kubeconfig(path.into()),
    };
    // Only events carry the node's name; kubelet's own default is the host's.
    let node = std::env::var("PLEXUS_NODE_NAME").or_else(|_| std::env::var("MULTUS_NODE_NAME"));
    let node = node.unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let api = Rc::new(Api::new(credentials, node));
    let devices = Box::new(Kubelet::new(api.clone(), &config.kubelet_dir));
    Some(Kubernetes { cluster: api, devices })
}

/// None: this binary was built for static networks. A configuration that counts on Kubernetes is told so, at every call.
#[cfg(not(feature = "kubernetes"))]
pub(crate) fn connect(config: &Config) -> Option<Kubernetes> {
    if !config.kubeconfig.is_empty() {
        tracing::warn!(
            "key \"kubeconfig\" has no effect: this plexus-node was built without the feature \"kubernetes\", so pods get the networks of the \
             configuration and none that their annotations ask for; install the binary of the image"
        );
    }
    None
}
