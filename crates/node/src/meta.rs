//! The meta-plugin as a CNI plugin: `attach` with this node's plugins, links and logs.

use attach::cluster::Cluster;
use attach::{Attach, Config, Readiness};
use cni::exec::Exec;
use cni::{Call, CniResult, Invoke, Result, Version};
use k8s::{Api, Credentials};
use plugins::{InProcess, Plugin, Registry};

use crate::ports::{Links, NodePlugins};

/// The meta-plugin. Its delegates are run as its own configuration says, not as the program around it would.
pub(crate) struct Meta;

impl Meta {
    fn run(call: &Call) -> Result<Option<CniResult>> {
        let config = Config::read(&call.conf)?;
        crate::log::init(&config.log);
        let exec = Exec { timeout: config.delegate_timeout };
        let in_process = if config.in_process { InProcess::Auto } else { InProcess::Never };
        let delegates = NodePlugins::new(Registry::new(in_process, &exec), in_process);
        let links = Links::default();
        let api = credentials(&config).map(|credentials| Api::new(credentials, node_name()));
        let attach = Attach {
            config: &config,
            delegates: &delegates,
            links: &links,
            cluster: api.as_ref().map(|api| api as &dyn Cluster),
            readiness: Readiness::default(),
        };
        let done = attach.run(call);
        if let Err(e) = &done {
            tracing::error!("{} of container {:?} failed: {e}", call.command.as_str(), call.container_id);
        }
        done
    }
}

/// How the API server is reached: the configured file, or the service account of the pod that we run in; otherwise there is none.
fn credentials(config: &Config) -> Option<Credentials> {
    if !config.kubeconfig.is_empty() {
        return Some(Credentials::Kubeconfig(config.kubeconfig.clone().into()));
    }
    let in_pod = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].iter().all(|v| std::env::var_os(v).is_some());
    in_pod.then_some(Credentials::ServiceAccount)
}

/// The node's name, for events: kubelet's default is the host's name.
fn node_name() -> String {
    let name = std::env::var("PLEXUS_NODE_NAME").or_else(|_| std::env::var("MULTUS_NODE_NAME"));
    name.unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

impl Plugin for Meta {
    fn name(&self) -> &'static str {
        "multus"
    }

    fn add(&self, call: &Call, _: &dyn Invoke) -> Result<CniResult> {
        // ADD always has a result.
        Ok(Meta::run(call)?.unwrap_or_else(|| CniResult::empty(Version::CURRENT)))
    }

    fn del(&self, call: &Call, _: &dyn Invoke) -> Result<()> {
        Meta::run(call).map(|_| ())
    }

    fn check(&self, call: &Call, _: &dyn Invoke) -> Result<()> {
        Meta::run(call).map(|_| ())
    }

    fn status(&self, call: &Call, _: &dyn Invoke) -> Result<()> {
        Meta::run(call).map(|_| ())
    }

    fn gc(&self, call: &Call, _: &dyn Invoke) -> Result<()> {
        Meta::run(call).map(|_| ())
    }
}
