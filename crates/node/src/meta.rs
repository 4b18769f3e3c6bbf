//! The meta-plugin as a CNI plugin: `attach` with this node's plugins, links and logs.

use std::process;

use attach::devices::NoDevices;
use attach::{Attach, Config, Readiness};
use cni::exec::Exec;
use cni::{Call, CniResult, Command, Error, Invoke, Result, Version};
use plugins::{InProcess, Plugin, Registry};

use crate::kubernetes;
use crate::ports::{Links, NodePlugins};

/// The meta-plugin. Its delegates are run as its own configuration says, not as the program around it would.
pub(crate) struct Meta;

/// Set for every program that the meta-plugin runs: called by one of them, it would go round without end, two processes for each round.
const INSIDE: &str = "PLEXUS_INSIDE";

/// A delegate that is a program ends with this process, and knows that it is one.
fn prepare(command: &mut process::Command) -> &mut process::Command {
    netlink::process::die_with_parent(command.env(INSIDE, "1"))
}

impl Meta {
    fn run(call: &Call) -> Result<Option<CniResult>> {
        let config = Config::read(&call.conf)?;
        crate::log::init(&config.log);
        if std::env::var_os(INSIDE).is_some() {
            return Meta::refuse(call);
        }
        let exec = Exec { timeout: config.delegate_timeout, prepare };
        let in_process = if config.in_process { InProcess::Auto } else { InProcess::Never };
        let delegates = NodePlugins::new(Registry::new(in_process, &exec), in_process);
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

    /// A call by one of our own delegates. None of them adds anything, so there is nothing to delete either.
    fn refuse(call: &Call) -> Result<Option<CniResult>> {
        let network = call.network();
        let message = format!(
            "network \"{network}\": the meta-plugin was called by a plugin that it runs: it would call itself without end; \
             name another plugin in the configuration of that plugin (\"ipam\", \"delegate\", ...)"
        );
        match call.command {
            Command::Del => {
                tracing::warn!("{message}");
                Ok(None)
            }
            _ => Err(Error::config(message)),
        }
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
