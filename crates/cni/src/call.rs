//! One CNI call as a value: what the runtime puts into environment and stdin.

use std::path::PathBuf;

use crate::{CniResult, Error, Json, Result, Version};

/// What is asked for: `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach the container to the network.
    Add,
    /// Undo an ADD; must succeed when there is nothing to undo.
    Del,
    /// Is the attachment as ADD left it?
    Check,
    /// Remove what belongs to no attachment of the given list.
    Gc,
    /// Could an ADD be served now?
    Status,
    /// Which versions are spoken?
    Version,
}

impl Command {
    /// As it stands in `CNI_COMMAND`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Gc => "GC",
            Command::Status => "STATUS",
            Command::Version => "VERSION",
        }
    }
}

/// One call: parameters (environment) and configuration (stdin). Validated by whoever makes it from outside input.
#[derive(Clone, Debug)]
pub struct Call {
    /// `CNI_COMMAND`.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for GC and STATUS.
    pub container_id: String,
    /// `CNI_NETNS`: a path; empty where the runtime gave none (DEL after the namespace is gone, GC, STATUS).
    pub netns: String,
    /// `CNI_IFNAME`; empty for GC and STATUS.
    pub ifname: String,
    /// `CNI_ARGS`, raw: `K=V;K2=V2`.
    pub args: String,
    /// `CNI_PATH`: where plugins are searched, in order.
    pub path: Vec<PathBuf>,
    /// `CNI_NETNS_OVERRIDE`: the plugin's own namespace may be the container's.
    pub netns_override: bool,
    /// The configuration of one plugin, with what the runtime added (`name`, `cniVersion`, `prevResult`, `runtimeConfig`).
    pub conf: Json,
}

impl Call {
    /// The same call with another command.
    #[must_use]
    pub fn with_command(&self, command: Command) -> Call {
        Call { command, ..self.clone() }
    }

    /// The same call with another configuration.
    #[must_use]
    pub fn with_conf(&self, conf: Json) -> Call {
        Call {
            command: self.command,
            container_id: self.container_id.clone(),
            netns: self.netns.clone(),
            ifname: self.ifname.clone(),
            args: self.args.clone(),
            path: self.path.clone(),
            netns_override: self.netns_override,
            conf,
        }
    }

    /// The configuration's `cniVersion`; 0.1.0 where it has none.
    ///
    /// # Errors
    /// Code 1 if it is not a version spoken here.
    pub fn version(&self) -> Result<Version> {
        self.conf.get("cniVersion").and_then(Json::as_str).unwrap_or_default().parse()
    }

    /// The network's name: the configuration's `name`; empty where it has none.
    #[must_use]
    pub fn network(&self) -> &str {
        self.conf.get("name").and_then(Json::as_str).unwrap_or_default()
    }

    /// The configuration's `prevResult`, read as its own version says.
    ///
    /// # Errors
    /// If it cannot be read, or its version is of another family than the configuration's (as the originals refuse it).
    pub fn prev_result(&self) -> Result<Option<CniResult>> {
        let Some(prev) = self.conf.get("prevResult") else { return Ok(None) };
        let version = self.version()?;
        let result = CniResult::from_json(prev, version).map_err(|e| e.context("could not parse prevResult"))?;
        if !version.family().contains(&result.version) {
            return Err(Error::config(format!(
                "could not parse prevResult: result type supports {:?} but unmarshalled CNIVersion is \"{}\"",
                version.family().iter().map(|v| v.as_str()).collect::<Vec<_>>(),
                result.version,
            )));
        }
        Ok(Some(result))
    }
}
