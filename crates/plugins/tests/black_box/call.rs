//! One call to a plugin, in this process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use cni::{Call, CniResult, Error, Invoke};
use plugins::{Plugin, skel};
use serde_json::Value;

/// Every version, oldest first: most cases hold for all of them.
pub(crate) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A plugin and the environment it is called with.
#[derive(Clone)]
pub(crate) struct Program {
    plugin: &'static dyn Plugin,
    env: BTreeMap<&'static str, OsString>,
}

/// What came out.
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// There are no delegates here.
struct Nobody;

impl Invoke for Nobody {
    fn invoke(&self, plugin: &str, _: &Call) -> Result<Option<CniResult>, Error> {
        Err(Error::internal(format!("no delegate \"{plugin}\" in this test")))
    }
}

impl Program {
    /// With an environment that every command accepts.
    pub(crate) fn new(plugin: &'static dyn Plugin) -> Self {
        let env = [
            ("CNI_CONTAINERID", "dummy"),
            ("CNI_NETNS", "/some/where"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/some/bin"),
        ];
        Program { plugin, env: env.map(|(k, v)| (k, v.into())).into() }
    }

    /// The same with another variable; an empty value takes it away.
    pub(crate) fn with(&self, name: &'static str, value: impl Into<OsString>) -> Self {
        let mut other = self.clone();
        other.env.insert(name, value.into());
        other
    }

    /// Calls it with raw bytes on stdin.
    pub(crate) fn raw(&self, command: &str, stdin: &[u8]) -> Outcome {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let var = |name: &str| match name {
            "CNI_COMMAND" => Some(command.into()),
            _ => self.env.get(name).cloned(),
        };
        let code = skel::run(self.plugin, var, &mut &*stdin, &mut stdout, &mut stderr, &Nobody);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { success: code == ExitCode::SUCCESS, stdout: text(stdout), stderr: text(stderr) }
    }

    pub(crate) fn call(&self, command: &str, conf: &Value) -> Outcome {
        self.raw(command, conf.to_string().as_bytes())
    }

    /// ADD that must succeed: its result.
    pub(crate) fn add(&self, conf: &Value) -> Value {
        let outcome = self.call("ADD", conf);
        assert!(outcome.success, "ADD {conf}: {}", outcome.stdout);
        let result = outcome.json();
        assert_eq!(result["cniVersion"], conf["cniVersion"]);
        result
    }

    /// Any command without a result that must succeed.
    pub(crate) fn ok(&self, command: &str, conf: &Value) {
        let outcome = self.call(command, conf);
        assert!(outcome.success, "{command} {conf}: {}", outcome.stdout);
        assert_eq!(outcome.stdout, "");
    }

    /// A command that must fail: code and message.
    pub(crate) fn error(&self, command: &str, conf: &Value) -> (u64, String) {
        let outcome = self.call(command, conf);
        assert!(!outcome.success, "{command} {conf} succeeded: {}", outcome.stdout);
        outcome.error()
    }
}

impl Outcome {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }

    /// Code and message of the error object, which must be one of the specification's form.
    pub(crate) fn error(&self) -> (u64, String) {
        let error = self.json();
        assert!(VERSIONS.contains(&error["cniVersion"].as_str().unwrap()), "{error}");
        (error["code"].as_u64().unwrap(), error["msg"].as_str().unwrap().to_owned())
    }
}

/// Addresses of a result of any version, with their prefix lengths.
pub(crate) fn addresses(result: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    match result["ips"].as_array() {
        Some(ips) => ips.iter().filter_map(|ip| text(&ip["address"])).collect(),
        None => [&result["ip4"]["ip"], &result["ip6"]["ip"]].into_iter().filter_map(text).collect(),
    }
}

/// Gateways of a result of any version.
pub(crate) fn gateways(result: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    match result["ips"].as_array() {
        Some(ips) => ips.iter().filter_map(|ip| text(&ip["gateway"])).collect(),
        None => [&result["ip4"]["gateway"], &result["ip6"]["gateway"]].into_iter().filter_map(text).collect(),
    }
}

/// Routes of a result of any version: destination, and next hop where there is one.
pub(crate) fn routes(result: &Value) -> Vec<String> {
    let all = match result["routes"].as_array() {
        Some(routes) => routes.clone(),
        None => ["ip4", "ip6"].iter().filter_map(|f| result[f]["routes"].as_array()).flatten().cloned().collect(),
    };
    let text = |r: &Value| format!("{} {}", r["dst"].as_str().unwrap(), r["gw"].as_str().unwrap_or_default());
    all.iter().map(|r| text(r).trim_end().to_owned()).collect()
}
