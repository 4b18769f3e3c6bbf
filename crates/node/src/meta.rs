//! The meta-plugin as a CNI plugin: `attach` with this node's plugins, links and logs.

use attach::devices::NoDevices;
use attach::{Attach, Config, Readiness};
use cni::exec::Exec;
use cni::{Call, CniResult, Invoke, Result, Version};
use plugins::{InProcess, Plugin, Registry};

use crate::kubernetes;
use crate::ports::{Links, NodePlugins};

/// The meta-plugin. Its delegates are run as its own configuration says, not as the program around it would.
pub(crate) struct Meta;

impl Meta {
    fn run(call: &Call) -> Result<Option<CniResult>> {
        let config = Config::read(&call.conf)?;
        crate::log::init(&config.log);
        let exec = Exec { timeout: config.delegate_timeout, prepare: netlink::process::die_with_parent };
        let in_process = if config.in_process { InProcess::Auto } else { InProcess::Never };
        let delegates = NodePlugins::new(Registry::new(in_process, &exec), in_process);
        let _sockets = netlink::Pool::new();
        let kubernetes = kubernetes::connect(&config);
        let attach = Attach {
            config: &config,
            delegates: &delegates,
            links: &Links,
            cluster: kubernetes.as_ref().map(|k| &*k.cluster),
            devices: kubernetes.as_ref().map_or(&NoDevices, |k| &*k.devices),
            readiness: Readiness::default(),
        };
        let done = attach.run(call);
        if let Err(e) = &done {
            tracing::error!("{} of container {:?} failed: {e}", call.command.as_str(), call.container_id);
        }
        done
    }
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
