//! One CNI call as a value: what the runtime puts into environment and stdin.

use std::path::PathBuf;
use std::sync::Arc;

use crate::version::incompatible;
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
    /// All of them.
    pub const ALL: [Command; 6] =
        [Command::Add, Command::Del, Command::Check, Command::Gc, Command::Status, Command::Version];

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
    /// The configuration of one plugin, with what the runtime added (`name`, `cniVersion`, `prevResult`, `runtimeConfig`). Shared, since a plugin
    /// hands it on to its IPAM delegate.
    pub conf: Arc<Json>,
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
        Call { conf: Arc::new(conf), ..self.clone() }
    }

    /// The configuration's `cniVersion`; 0.1.0 where it has none.
    ///
    /// # Errors
    /// Code 1 if it is not a version spoken here.
    pub fn version(&self) -> Result<Version> {
        self.conf.get("cniVersion").and_then(Json::as_str).unwrap_or_default().parse()
    }

    /// The call's version, which must be one of `supported`: what a plugin asks before it begins.
    ///
    /// # Errors
    /// Code 1 if it is not; the details have both sides.
    pub fn version_among(&self, supported: &[Version]) -> Result<Version> {
        let version = self.version()?;
        if supported.contains(&version) { Ok(version) } else { Err(incompatible(version.as_str(), supported)) }
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
            let family: Vec<_> = version.family().iter().map(|v| v.as_str()).collect();
            return Err(Error::config(format!(
                "could not parse prevResult: result type supports [{}] but unmarshalled CNIVersion is \"{}\"",
                family.join(" "),
                result.version,
            ))
            .with_details("the plugin before this one must return the version of the configuration"));
        }
        Ok(Some(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn call(conf: &str) -> Call {
        Call {
            command: Command::Add,
            container_id: "c".to_owned(),
            netns: String::new(),
            ifname: "eth0".to_owned(),
            args: String::new(),
            path: Vec::new(),
            netns_override: false,
            conf: Json::parse(conf.as_bytes()).unwrap().into(),
        }
    }

    #[test]
    fn a_previous_result_of_the_family_is_read() {
        assert_eq!(call(r#"{"cniVersion": "1.0.0"}"#).prev_result().unwrap(), None);
        assert_eq!(call(r#"{"cniVersion": "1.0.0", "prevResult": null}"#).prev_result().unwrap(), None);
        for (conf, prev) in [("1.1.0", "1.0.0"), ("0.3.0", "0.4.0"), ("0.2.0", "0.1.0"), ("", "0.2.0")] {
            let conf = format!(r#"{{"cniVersion": "{conf}", "PrevResult": {{"cniversion": "{prev}"}}}}"#);
            assert_eq!(call(&conf).prev_result().unwrap().unwrap().version.as_str(), prev);
        }
        // One without version is of the configuration's.
        let prev = call(r#"{"cniVersion": "0.4.0", "prevResult": {"ips": [{"address": "10.0.0.1/24"}]}}"#)
            .prev_result()
            .unwrap();
        assert_eq!((prev.as_ref().unwrap().version, prev.unwrap().ips.len()), (Version::V0_4_0, 1));
    }

    #[test]
    fn a_previous_result_of_another_family_is_refused() {
        for (conf, prev) in [("1.0.0", "0.4.0"), ("0.3.1", "1.0.0"), ("0.3.1", "0.2.0"), ("", "0.3.0")] {
            let error = call(&format!(r#"{{"cniVersion": "{conf}", "prevResult": {{"cniVersion": "{prev}"}}}}"#))
                .prev_result()
                .unwrap_err();
            assert!(error.message.ends_with(&format!("but unmarshalled CNIVersion is \"{prev}\"")), "{error}");
        }
        let error =
            call(r#"{"cniVersion": "0.3.1", "prevResult": {"cniVersion": "1.0.0"}}"#).prev_result().unwrap_err();
        assert!(error.message.contains("result type supports [0.3.0 0.3.1 0.4.0]"), "{error}");
        for prev in ["\"x\"", "[]", "{\"ips\": [{\"address\": 1}]}", "{\"cniVersion\": \"7.0.0\"}"] {
            let conf = format!(r#"{{"cniVersion": "1.0.0", "prevResult": {prev}}}"#);
            assert!(
                call(&conf).prev_result().unwrap_err().message.starts_with("could not parse prevResult: "),
                "{prev}"
            );
        }
    }

    #[test]
    fn a_plugin_speaks_what_it_says() {
        let supported = [Version::V0_4_0, Version::V1_0_0];
        assert_eq!(call(r#"{"cniVersion": "1.0.0"}"#).version_among(&supported).unwrap(), Version::V1_0_0);
        let error = call("{}").version_among(&supported).unwrap_err();
        assert_eq!(error.code, Code::INCOMPATIBLE_VERSION);
        assert_eq!(error.details, r#"config is "0.1.0", plugin supports ["0.4.0" "1.0.0"]"#);
    }
}
