//! For the tests of this crate: delegates and links that do nothing but write down what is asked of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::conf::PluginConf;
use cni::{Call, CniResult, Code, Command, Error, Invoke, Json, Result, Route, Version};

use crate::{Delegates, PodLinks};

/// A configuration or any other document.
pub(crate) fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).expect("JSON")
}

/// A call of container `c1`, interface `eth0`.
pub(crate) fn call(command: Command, conf: &Json) -> Call {
    Call {
        command,
        container_id: "c1".into(),
        netns: "/run/netns/c1".into(),
        ifname: "eth0".into(),
        args: "K8S_POD_NAME=web;IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;COLOUR=blue".into(),
        path: vec!["/opt/cni/bin".into()],
        netns_override: false,
        conf: conf.clone().into(),
    }
}

/// The configuration of the article, with a directory of its own.
pub(crate) fn article(cni_dir: &std::path::Path) -> Json {
    let mut conf = json(
        r#"{ "name": "multus-demo", "type": "multus",
             "delegates": [
               { "type": "macvlan", "master": "eth0", "mode": "bridge",
                 "ipam": { "type": "host-local", "subnet": "192.168.122.0/24", "rangeStart": "192.168.122.200", "rangeEnd": "192.168.122.216",
                           "routes": [ { "dst": "0.0.0.0/0" } ], "gateway": "192.168.122.1" } },
               { "type": "flannel", "masterplugin": true, "delegate": { "isDefaultGateway": true } } ] }"#,
    );
    conf.set("cniDir", cni_dir.display().to_string());
    conf
}

/// A look at the world before a call.
type Look = Box<dyn Fn(&Call)>;

/// Plugins that answer from a table.
#[derive(Default)]
pub(crate) struct Plugins {
    /// `COMMAND type network ifname`, in order.
    pub(crate) calls: RefCell<Vec<String>>,
    /// The whole calls.
    pub(crate) whole: RefCell<Vec<Call>>,
    /// What fails: `COMMAND type`, or `COMMAND type ifname`.
    pub(crate) failing: RefCell<BTreeMap<String, Error>>,
    /// Results by type; others give an address of their own and nothing else.
    pub(crate) results: RefCell<BTreeMap<String, Json>>,
    /// Types that are nowhere.
    pub(crate) missing: Vec<String>,
    /// Types that own their interface.
    pub(crate) owning: Vec<String>,
    /// A look at the world before each call.
    pub(crate) before: Option<Look>,
}

impl Plugins {
    pub(crate) fn fail(&self, what: &str, code: u32) {
        self.failing.borrow_mut().insert(what.into(), Error::new(Code(code), format!("no {what} today")));
    }

    pub(crate) fn heal(&self) {
        self.failing.borrow_mut().clear();
    }

    pub(crate) fn answer(&self, plugin: &str, result: &str) {
        self.results.borrow_mut().insert(plugin.into(), json(result));
    }

    /// The calls so far, which are forgotten.
    pub(crate) fn take(&self) -> Vec<String> {
        self.whole.borrow_mut().clear();
        self.calls.take()
    }
}

impl Invoke for Plugins {
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>> {
        if let Some(look) = &self.before {
            look(call);
        }
        let command = call.command.as_str();
        let line = format!("{command} {plugin} {} {}", call.network(), call.ifname);
        self.calls.borrow_mut().push(line.trim_end().to_owned());
        self.whole.borrow_mut().push(call.clone());
        let failing = self.failing.borrow();
        let keys = [format!("{command} {plugin}"), format!("{command} {plugin} {}", call.ifname)];
        if let Some(error) = keys.iter().find_map(|k| failing.get(k)) {
            return Err(error.clone());
        }
        if call.command != Command::Add {
            return Ok(None);
        }
        let version = call.version()?;
        let plain = json(r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.9.8.7/24"}]}"#);
        let result = self.results.borrow().get(plugin).cloned().unwrap_or(plain);
        let result = CniResult::from_json(&result, Version::V1_0_0)?;
        Ok(Some(CniResult { version, ..result }))
    }
}

impl Delegates for Plugins {
    fn find(&self, plugin: &PluginConf, path: &[PathBuf]) -> Result<()> {
        let plugin = &plugin.plugin_type;
        if self.missing.contains(plugin) {
            return Err(Error::internal(format!("failed to find plugin {plugin:?} in path {path:?}")));
        }
        Ok(())
    }

    fn state_dirs(&self, _: &PluginConf) -> Option<Vec<PathBuf>> {
        Some(Vec::new())
    }

    fn owns_interface(&self, plugin: &str, _: &Call) -> bool {
        self.owning.iter().any(|o| o == plugin)
    }
}

/// The links of a namespace.
#[derive(Default)]
pub(crate) struct Links {
    /// Those that are there.
    pub(crate) present: Vec<String>,
    /// Batches that were removed.
    pub(crate) removed: RefCell<Vec<Vec<String>>>,
    /// Routes that were removed, as `ifname dst via`.
    pub(crate) routes: RefCell<Vec<String>>,
    /// Removing anything fails.
    pub(crate) stuck: bool,
}

impl PodLinks for Links {
    fn names(&self, _: &str) -> Result<Vec<String>> {
        Ok(self.present.clone())
    }

    fn remove(&self, _: &str, names: &[&str]) -> Result<()> {
        self.removed.borrow_mut().push(names.iter().map(|n| (*n).to_owned()).collect());
        if self.stuck { Err(Error::internal("stuck")) } else { Ok(()) }
    }

    fn remove_routes(&self, _: &str, ifname: &str, routes: &[Route]) -> Result<()> {
        if self.stuck {
            return Err(Error::internal("stuck"));
        }
        for route in routes {
            let via = route.gw.map(|g| g.to_string()).unwrap_or_default();
            self.routes.borrow_mut().push(format!("{ifname} {} {via}", route.dst));
        }
        Ok(())
    }

    fn replace_default_route(&self, _: &str, ifname: &str, gateways: &[IpAddr], metric: Option<u32>) -> Result<()> {
        if self.stuck {
            return Err(Error::internal("stuck"));
        }
        self.routes.borrow_mut().push(format!("{ifname} := {gateways:?} {metric:?}"));
        Ok(())
    }
}
