//! Calls on a node of directories, plugins that write down what is asked of them, and links that do nothing.

use std::fs;
use std::path::{Path, PathBuf};

use cni::Version;
use tempfile::TempDir;

use super::*;
use crate::devices::NoDevices;
use crate::testing::{Links, Plugins, article, call, json};

mod add;
mod check;
mod damage;
mod del;
mod gc;
mod requests;

/// A node: directories, plugins, links.
struct World {
    dir: TempDir,
    plugins: Plugins,
    links: Links,
    conf: Json,
}

impl World {
    /// With the article's configuration.
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let conf = article(&dir.path().join("cni"));
        World { dir, plugins: Plugins::default(), links: Links::default(), conf }
    }

    /// With these delegates.
    fn with(delegates: &str) -> World {
        let mut world = World::new();
        let text = format!(r#"{{"name": "m", "cniVersion": "1.1.0", "delegates": [{delegates}]}}"#);
        let mut conf = json(&text);
        conf.set("cniDir", world.cni_dir().display().to_string());
        world.conf = conf;
        world
    }

    fn cni_dir(&self) -> PathBuf {
        self.dir.path().join("cni")
    }

    fn record(&self) -> PathBuf {
        self.cni_dir().join("c1")
    }

    fn call(&self, command: Command) -> Call {
        call(command, &self.conf)
    }

    fn run(&self, call: &Call) -> Result<Option<CniResult>> {
        let config = Config::read(&call.conf)?;
        let readiness = Readiness { interval: Duration::from_millis(1), timeout: Duration::from_millis(5) };
        Attach {
            config: &config,
            delegates: &self.plugins,
            links: &self.links,
            cluster: None,
            devices: &NoDevices,
            readiness,
        }
        .run(call)
    }

    fn add(&self) -> Result<CniResult> {
        self.run(&self.call(Command::Add)).map(|r| r.expect("a result"))
    }

    fn del(&self) -> Result<()> {
        self.run(&self.call(Command::Del)).map(|r| assert!(r.is_none()))
    }

    /// Every file below the state directory.
    fn files(&self) -> Vec<String> {
        fn walk(dir: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap()) {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found)
                } else {
                    found.push(entry.path().display().to_string())
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.cni_dir(), &mut found);
        let strip = |f: String| f.replace(&format!("{}/", self.cni_dir().display()), "");
        let mut found: Vec<String> = found.into_iter().map(strip).collect();
        found.sort();
        found
    }
}

const FLANNEL: &str = r#"{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
    "ips": [{"address": "10.244.1.7/24", "gateway": "10.244.1.1", "interface": 0}], "routes": [{"dst": "10.244.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]}"#;

const MACVLAN: &str = r#"{"cniVersion": "1.0.0", "interfaces": [{"name": "net0", "sandbox": "/run/netns/c1"}],
    "ips": [{"address": "192.168.122.200/24", "gateway": "192.168.122.1", "interface": 0}], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8"}]}"#;

#[test]
fn the_article() {
    let world = World::new();
    world.plugins.answer("flannel", FLANNEL);
    world.plugins.answer("macvlan", MACVLAN);
    let result = world.add().unwrap();
    assert_eq!(world.plugins.calls.take(), ["ADD flannel multus-demo-1 eth0", "ADD macvlan multus-demo-0 net0"]);
    assert_eq!(result.version, Version::V0_1_0);
    assert_eq!(result.ips[0].address.to_string(), "10.244.1.7/24");
    assert_eq!(*world.links.routes.borrow(), ["net0 0.0.0.0/0 192.168.122.1"]);
    assert_eq!(world.files(), ["c1", "results/multus-demo-0-c1-net0", "results/multus-demo-1-c1-eth0"]);
    // The cached result, which CHECK is measured by, has no default route either.
    let cached = Cache::new(world.cni_dir()).result("multus-demo-0", "c1", "net0", Version::V1_0_0).unwrap().unwrap();
    assert_eq!(cached.routes.iter().map(|r| r.dst.to_string()).collect::<Vec<_>>(), ["10.0.0.0/8"]);
    assert!(
        world
            .plugins
            .whole
            .borrow()
            .iter()
            .all(|c| c.args.starts_with("IgnoreUnknown=true;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web"))
    );

    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    assert_eq!(world.files(), [""; 0]);
}

const THREE: &str = r#"{"type": "a", "name": "na"}, {"name": "nb", "plugins": [{"type": "b"}, {"type": "b2"}]}, {"type": "c", "name": "nc"}"#;

#[test]
fn plugins_are_looked_for_in_bin_dir_and_then_where_the_runtime_says() {
    let mut world = World::with(r#"{"type": "a", "name": "na"}"#);
    for (bin_dir, expected) in
        [("/mine", vec!["/mine", "/opt/cni/bin", "/more"]), ("/more", vec!["/more", "/opt/cni/bin"])]
    {
        world.conf.set("binDir", bin_dir);
        let path = vec!["/opt/cni/bin".into(), "/more".into()];
        for command in [Command::Add, Command::Check, Command::Del] {
            world.run(&Call { path: path.clone(), ..world.call(command) }).unwrap();
            assert_eq!(world.plugins.whole.borrow()[0].path, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
            world.plugins.take();
        }
    }
}

#[test]
fn delegates_are_told_that_their_own_namespace_is_allowed() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    for (command, allowed) in [(Command::Add, true), (Command::Check, false), (Command::Del, true)] {
        world.run(&Call { netns_override: allowed, ..world.call(command) }).unwrap();
        assert!(world.plugins.whole.borrow().iter().all(|c| c.netns_override == allowed), "{command:?}");
        world.plugins.take();
    }
}
