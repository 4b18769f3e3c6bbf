//! What the netns tests share: a host and pods as namespaces, and calls to plugins as a runtime would make them.

use std::path::{Path, PathBuf};

use cni::{Call, CniResult, Command, Error, Invoke, Json, Result};
use plexus_plugins::{InProcess, Registry, perform};
use serde_json::{Value, json};
use testkit::Namespace;

/// A host without anything on it, and a directory for state.
pub(crate) struct World {
    pub(crate) host: Namespace,
    pub(crate) dir: tempfile::TempDir,
}

/// Refuses to run programs: everything in these tests is compiled in.
struct NoPrograms;

impl Invoke for NoPrograms {
    fn invoke(&self, plugin: &str, _: &Call) -> Result<Option<CniResult>> {
        Err(Error::internal(format!("test: program \"{plugin}\" was to be run")))
    }
}

/// What a test does in place of a delegate; `None` leaves the call to the compiled-in plugin.
pub(crate) type Fault<'a> = dyn Fn(&str, &Call) -> Option<Result<Option<CniResult>>> + Sync + 'a;

struct Delegates<'a> {
    registry: Registry<'a>,
    fault: &'a Fault<'a>,
}

impl Invoke for Delegates<'_> {
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>> {
        if let Some(answer) = (self.fault)(plugin, call) {
            return answer;
        }
        match Registry::find(plugin) {
            // Not by the registry, so that the delegate's delegates come here as well.
            Some(found) => perform(found, call, self),
            None => self.registry.invoke(plugin, call),
        }
    }

    fn validate(&self, plugin: &str, call: &Call) -> Result<()> {
        self.registry.validate(plugin, call)
    }
}

impl World {
    /// `None`, said on the terminal, where namespaces cannot be made.
    pub(crate) fn new() -> Option<World> {
        if !testkit::have_root() {
            testkit::skip_or_fail("netns", "network namespaces need root");
            return None;
        }
        let world = World { host: Namespace::new(), dir: tempfile::tempdir().unwrap() };
        world.host.sh("ip link set lo up");
        Some(world)
    }

    /// A path in the state directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `ipam` for host-local with one range set per subnet.
    pub(crate) fn host_local(&self, subnets: &[&str], routes: &[&str]) -> Value {
        let ranges: Vec<Value> = subnets.iter().map(|s| json!([{ "subnet": s }])).collect();
        let routes: Vec<Value> = routes.iter().map(|r| json!({ "dst": r })).collect();
        json!({ "type": "host-local", "dataDir": self.path("ipam"), "ranges": ranges, "routes": routes })
    }

    /// The files of leases, of every network.
    pub(crate) fn leases(&self) -> Vec<String> {
        let mut found = Vec::new();
        for network in std::fs::read_dir(self.path("ipam")).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(network.path()).into_iter().flatten().flatten() {
                let name = file.file_name().into_string().unwrap();
                if name.parse::<std::net::IpAddr>().is_ok() {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }

    /// Names of the host's links.
    pub(crate) fn links(&self) -> Vec<String> {
        names(&self.host.json("ip -j link"))
    }

    /// One call in the host's namespace.
    pub(crate) fn call(&self, command: Command, at: &At<'_>, conf: &Value) -> Result<Option<CniResult>> {
        self.call_with(command, at, conf, &|_, _| None)
    }

    /// One call, with `fault` asked before each delegate is invoked.
    pub(crate) fn call_with(
        &self,
        command: Command,
        at: &At<'_>,
        conf: &Value,
        fault: &Fault<'_>,
    ) -> Result<Option<CniResult>> {
        let call = Call {
            command,
            container_id: at.id.to_owned(),
            netns: at.netns.to_str().unwrap().to_owned(),
            ifname: at.ifname.to_owned(),
            args: at.args.to_owned(),
            path: vec![],
            netns_override: false,
            conf: Json::from(conf.clone()).into(),
        };
        let plugin = Registry::find(conf["type"].as_str().unwrap()).expect("compiled in");
        let run = || {
            let delegates = Delegates { registry: Registry::new(InProcess::Auto, &NoPrograms), fault };
            perform(plugin, &call, &delegates)
        };
        self.host.netns().run(run).unwrap()
    }

    pub(crate) fn add(&self, at: &At<'_>, conf: &Value) -> CniResult {
        self.call(Command::Add, at, conf).unwrap_or_else(|e| panic!("ADD: {e}")).expect("a result")
    }

    pub(crate) fn del(&self, at: &At<'_>, conf: &Value) {
        self.call(Command::Del, at, conf).unwrap_or_else(|e| panic!("DEL: {e}"));
    }

    /// CHECK with the result of the ADD.
    pub(crate) fn check(&self, at: &At<'_>, conf: &Value, result: &CniResult) -> Result<()> {
        self.call(Command::Check, at, &with_prev(conf, result)).map(drop)
    }

    /// ADD that fails: its error, after looking that it left nothing.
    pub(crate) fn add_fails(&self, at: &At<'_>, pod: &Namespace, conf: &Value, fault: &Fault<'_>) -> Error {
        let before = (names(&pod.json("ip -j link")), self.leases(), self.ports());
        let error = self.call_with(Command::Add, at, conf, fault).expect_err("ADD should fail");
        let after = (names(&pod.json("ip -j link")), self.leases(), self.ports());
        assert_eq!(before, after, "after: {error}");
        error
    }

    /// The host's links without the bridges, which stay.
    pub(crate) fn ports(&self) -> Vec<String> {
        let links = self.host.json("ip -j -d link");
        let links = links.as_array().unwrap().iter().filter(|l| l["linkinfo"]["info_kind"] != "bridge");
        links.map(|l| l["ifname"].as_str().unwrap().to_owned()).collect()
    }
}

/// `conf` with `prevResult`.
pub(crate) fn with_prev(conf: &Value, result: &CniResult) -> Value {
    let mut conf = conf.clone();
    let version = conf["cniVersion"].as_str().unwrap_or_default().parse().unwrap();
    conf["prevResult"] = serde_json::from_slice(&result.to_json(version).unwrap().to_vec()).unwrap();
    conf
}

/// Which attachment a call is about.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub(crate) id: &'a str,
    pub(crate) netns: PathBuf,
    pub(crate) ifname: &'a str,
    pub(crate) args: &'a str,
}

impl<'a> At<'a> {
    pub(crate) fn new(id: &'a str, pod: &Namespace, ifname: &'a str) -> Self {
        At { id, netns: pod.path(), ifname, args: "" }
    }

    pub(crate) fn args(self, args: &'a str) -> Self {
        At { args, ..self }
    }

    pub(crate) fn netns(self, netns: impl AsRef<Path>) -> Self {
        At { netns: netns.as_ref().to_owned(), ..self }
    }
}

/// `ifname` of each entry of `ip -j link`, sorted.
pub(crate) fn names(links: &Value) -> Vec<String> {
    let mut names: Vec<String> =
        links.as_array().unwrap().iter().map(|l| l["ifname"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// The addresses of a link in a namespace as `ip` shows them, without link-local ones.
pub(crate) fn addresses(netns: &Namespace, link: &str) -> Vec<String> {
    let found = netns.json(&format!("ip -j addr show dev {link}"));
    let found = found[0]["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] == "global");
    found.map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect()
}

/// The one link of that name with all details.
pub(crate) fn link(netns: &Namespace, name: &str) -> Value {
    netns.json(&format!("ip -j -d link show dev {name}"))[0].clone()
}
