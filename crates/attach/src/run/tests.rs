use std::fs;
use std::path::{Path, PathBuf};

use cni::Version;
use tempfile::TempDir;

use super::*;
use crate::testing::{Links, Plugins, article, call, json};

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

#[test]
fn both_default_routes_stay_where_asked_for() {
    let mut world = World::new();
    world.conf.set("secondaryDefaultRoutes", "keep");
    world.plugins.answer("flannel", FLANNEL);
    world.plugins.answer("macvlan", MACVLAN);
    world.add().unwrap();
    assert!(world.links.routes.borrow().is_empty());
}

#[test]
fn a_route_that_cannot_be_dropped_undoes_the_add() {
    let mut world = World::new();
    world.links.stuck = true;
    world.plugins.answer("flannel", FLANNEL);
    world.plugins.answer("macvlan", MACVLAN);
    assert!(world.add().unwrap_err().message.contains("net0"));
    assert_eq!(world.plugins.take()[2..], ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn everything_is_recorded_before_the_first_delegate_runs() {
    let mut world = World::new();
    let record = world.record();
    world.plugins.before = Some(Box::new(move |call| {
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.contains("multus-demo-0") && text.contains("multus-demo-1"), "{}", call.ifname);
    }));
    world.add().unwrap();
    world.del().unwrap();
    assert_eq!(world.plugins.take().len(), 4);
}

const THREE: &str = r#"{"type": "a", "name": "na"}, {"name": "nb", "plugins": [{"type": "b"}, {"type": "b2"}]}, {"type": "c", "name": "nc"}"#;

#[test]
fn a_failure_undoes_everything_in_reverse() {
    let undone = [
        ("ADD a", vec!["ADD a na eth0", "DEL a na eth0"]),
        (
            "ADD b2",
            vec![
                "ADD a na eth0",
                "ADD b nb net1",
                "ADD b2 nb net1",
                "DEL b2 nb net1",
                "DEL b nb net1",
                "DEL a na eth0",
            ],
        ),
        (
            "ADD c",
            vec![
                "ADD a na eth0",
                "ADD b nb net1",
                "ADD b2 nb net1",
                "ADD c nc net2",
                "DEL c nc net2",
                "DEL b2 nb net1",
                "DEL b nb net1",
                "DEL a na eth0",
            ],
        ),
    ];
    for (what, calls) in undone {
        let world = World::with(THREE);
        world.plugins.fail(what, 107);
        let error = world.add().unwrap_err();
        assert_eq!(error.code, Code(107), "the delegate's code survives");
        assert!(error.message.contains("network \"n") && error.message.contains(what), "{error}");
        assert_eq!(world.plugins.take(), calls);
        assert_eq!(world.files(), [""; 0], "{what}");
    }
}

#[test]
fn what_cannot_be_undone_stays_recorded() {
    let world = World::with(THREE);
    world.plugins.fail("ADD c", 11);
    world.plugins.fail("DEL b", 12);
    let error = world.add().unwrap_err();
    assert_eq!(error.code, Code(11));
    assert!(error.details.contains("net1") && error.details.contains("no DEL b today"), "{error}");
    let calls = world.plugins.take();
    assert_eq!(calls[4..], ["DEL c nc net2", "DEL b2 nb net1", "DEL b nb net1", "DEL a na eth0"], "never stops early");
    world.plugins.heal();
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL b2 nb net1", "DEL b nb net1"], "only what is left");
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn del_never_stops_early_and_forgets_only_what_is_gone() {
    let world = World::with(THREE);
    world.add().unwrap();
    world.plugins.take();
    world.plugins.fail("DEL c", 5);
    world.plugins.fail("DEL a", 6);
    let error = world.del().unwrap_err();
    assert_eq!(error.code, Code(5), "the first one's");
    assert!(
        error.message.contains("net2") && error.message.contains("eth0") && !error.message.contains("net1"),
        "{error}"
    );
    assert_eq!(world.plugins.take(), ["DEL c nc net2", "DEL b2 nb net1", "DEL b nb net1", "DEL a na eth0"]);
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0", "results/nc-c1-net2"]);
    world.plugins.heal();
    // The configuration may be another by now.
    let other = World::with(r#"{"type": "z", "name": "nz"}"#).conf;
    let mut conf = other.clone();
    conf.set("cniDir", world.cni_dir().display().to_string());
    world.run(&call(Command::Del, &conf)).unwrap();
    assert_eq!(world.plugins.take(), ["DEL c nc net2", "DEL a na eth0"]);
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn del_repeats_the_arguments_of_add() {
    let mut world = World::with(r#"{"type": "portmap", "name": "p", "capabilities": {"portMappings": true}}"#);
    let mut conf = world.conf.clone();
    conf.set("runtimeConfig", json(r#"{"portMappings": [{"hostPort": 80}], "bandwidth": {}}"#));
    std::mem::swap(&mut world.conf, &mut conf);
    world.add().unwrap();
    world.plugins.take();
    // A runtime that has forgotten.
    let mut del = call(Command::Del, &conf);
    del.args = String::new();
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let look = seen.clone();
    world.plugins.before = Some(Box::new(move |call| look.borrow_mut().push(call.clone())));
    world.run(&del).unwrap();
    let call = &seen.borrow()[0];
    assert!(call.conf.get("runtimeConfig").unwrap().get("portMappings").is_some());
    assert!(call.args.contains("K8S_POD_NAME=web") && call.args.contains("COLOUR=blue"), "{}", call.args);
}

#[test]
fn del_without_a_record_takes_the_configuration() {
    let world = World::new();
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    world.add().unwrap();
    fs::remove_file(world.record()).unwrap();
    world.plugins.take();
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    assert_eq!(world.files(), [""; 0]);
    world.del().unwrap();
    assert_eq!(world.plugins.take().len(), 2, "again and again");
}

#[test]
fn del_with_a_damaged_record_takes_cache_and_configuration() {
    for damage in ["", "[]", "[{\"Bytes\"", "\u{0}\u{0}\u{0}", "[null]"] {
        let world = World::with(THREE);
        world.add().unwrap();
        world.plugins.take();
        fs::write(world.record(), damage).unwrap();
        // The configuration has changed: what is in the cache is deleted all the same, and as it was.
        let mut conf = json(r#"{"name": "m", "cniVersion": "1.1.0", "delegates": [{"type": "a", "name": "na"}]}"#);
        conf.set("cniDir", world.cni_dir().display().to_string());
        world.run(&call(Command::Del, &conf)).unwrap();
        let mut calls = world.plugins.take();
        assert_eq!(calls.pop().as_deref(), Some("DEL a na eth0"), "the default network last");
        calls.sort();
        assert_eq!(calls, ["DEL b nb net1", "DEL b2 nb net1", "DEL c nc net2"], "{damage:?}");
        assert_eq!(world.files(), [""; 0], "{damage:?}");
    }
}

#[test]
fn a_damaged_record_without_cache_takes_the_configuration() {
    let world = World::with(THREE);
    fs::create_dir_all(world.cni_dir()).unwrap();
    fs::write(world.record(), "").unwrap();
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL c nc net2", "DEL b2 nb net1", "DEL b nb net1", "DEL a na eth0"]);
    assert_eq!(world.files(), [""; 0]);
    // Nor can the configuration be read: an error, and the record stays.
    fs::write(world.record(), "").unwrap();
    let mut conf = json(r#"{"name": "m", "clusterNetwork": "/nonexistent/x.conflist"}"#);
    conf.set("cniDir", world.cni_dir().display().to_string());
    assert!(world.run(&call(Command::Del, &conf)).unwrap_err().message.contains("record"));
    assert_eq!(world.files(), ["c1"]);
    // Without a record nothing was attached, so there is nothing to delete.
    fs::remove_file(world.record()).unwrap();
    world.run(&call(Command::Del, &conf)).unwrap();
}

/// It may be whole, and what it names is still there: nothing is attached or detached on a guess.
#[test]
fn nothing_is_done_without_a_record_that_cannot_be_read_now() {
    let world = World::with(THREE);
    world.add().unwrap();
    world.plugins.take();
    fs::remove_file(world.record()).unwrap();
    // A regular file whose first page nobody has: EIO.
    std::os::unix::fs::symlink("/proc/self/mem", world.record()).unwrap();
    let files = world.files();
    let eth1 = Call { ifname: "eth1".into(), ..world.call(Command::Add) };
    for call in [world.call(Command::Del), eth1, world.call(Command::Check)] {
        let error = world.run(&call).unwrap_err();
        assert_eq!(error.code, Code::TRY_AGAIN, "{:?}: {error}", call.command);
        assert!(world.plugins.take().is_empty(), "{:?}", call.command);
    }
    assert_eq!(world.files(), files);
}

#[test]
fn what_a_killed_process_left_goes_with_del() {
    let world = World::new();
    fs::create_dir_all(world.cni_dir().join("results")).unwrap();
    for left in [".c1.tmp", "results/.multus-demo-0-c1-net0.tmp", "results/.multus-demo-1-c1-eth0.tmp"] {
        fs::write(world.cni_dir().join(left), "half").unwrap();
    }
    world.del().unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn an_interface_that_exists_is_found_before_anything_runs() {
    let mut world = World::new();
    world.links.present = vec!["lo".into(), "net0".into()];
    let error = world.add().unwrap_err();
    assert!(error.message.contains("net0"), "{error}");
    assert!(world.plugins.take().is_empty());
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn del_after_a_refused_add_leaves_the_interface_that_was_there() {
    let mut world = World::with(THREE);
    world.plugins.owning = ["a", "b", "b2", "c"].map(String::from).into();
    world.links.present = vec!["lo".into(), "net1".into()];
    world.add().unwrap_err();
    world.del().unwrap();
    assert!(world.links.removed.borrow().is_empty());
    let told: Vec<String> = world.plugins.whole.borrow().iter().map(|c| c.netns.clone()).collect();
    assert_eq!(told, [""; 4], "addresses and rules go, links are not looked at");
    // What the cache knows was made here, though its record is gone.
    world.plugins.take();
    world.links.present.clear();
    world.add().unwrap();
    fs::remove_file(world.record()).unwrap();
    world.plugins.take();
    world.del().unwrap();
    assert_eq!(world.links.removed.borrow().concat().len(), 3);
    assert!(world.plugins.whole.borrow().iter().all(|c| c.netns == "/run/netns/c1"));
    assert_eq!(world.files(), [""; 0]);
}

/// A power loss leaves names without content: of a network, too, that the configuration does not have any more.
#[test]
fn del_of_what_a_power_loss_emptied_leaves_no_file() {
    let world = World::with(THREE);
    world.add().unwrap();
    let results = world.record().with_file_name("results");
    fs::write(results.join("gone-c1-net9"), "").unwrap();
    fs::write(world.record(), "").unwrap();
    for file in fs::read_dir(&results).unwrap() {
        fs::write(file.unwrap().path(), "").unwrap();
    }
    world.del().unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn a_network_name_that_the_cache_cannot_hold_is_refused_before_anything_runs() {
    for length in [240, 245, 250, 255, 300] {
        let world = World::with(&format!(
            r#"{{"type": "a", "name": "na"}}, {{"type": "b", "name": "{}"}}"#,
            "n".repeat(length)
        ));
        let add = Call { container_id: "f".repeat(64), ..world.call(Command::Add) };
        let error = world.run(&add).unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG, "{error}");
        assert!(world.plugins.take().is_empty());
        world.run(&Call { command: Command::Del, ..add }).unwrap();
        assert_eq!(world.files(), [""; 0]);
    }
}

#[test]
fn a_damaged_record_does_not_make_a_living_attachment_an_earlier_add() {
    for damage in ["", "[{\"Bytes\"", "[null]"] {
        let world = World::with(r#"{"type": "a", "name": "na"}"#);
        world.add().unwrap();
        fs::write(world.record(), damage).unwrap();
        world.plugins.take();
        let eth1 = |command| Call { ifname: "eth1".into(), ..world.call(command) };
        world.run(&eth1(Command::Add)).unwrap();
        assert_eq!(world.plugins.take(), ["ADD a na eth1"], "eth0 is in use");
        // And it is recorded again: each DEL removes its own.
        world.run(&eth1(Command::Del)).unwrap();
        assert_eq!(world.plugins.take(), ["DEL a na eth1"]);
        assert_eq!(world.files(), ["c1", "results/na-c1-eth0"]);
        world.del().unwrap();
        assert_eq!(world.plugins.take(), ["DEL a na eth0"]);
        assert!(world.plugins.whole.borrow().is_empty());
        assert_eq!(world.files(), [""; 0]);
    }
}

#[test]
fn a_damaged_record_does_not_make_one_requests_networks_anothers() {
    let both = World::with(r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#);
    both.add().unwrap();
    fs::write(both.record(), "").unwrap();
    let mut conf = both.conf.clone();
    conf.set("delegates", vec![json(r#"{"type": "a", "name": "na"}"#)]);
    let eth1 = |command| Call { ifname: "eth1".into(), ..both.call(command) }.with_conf(conf.clone());
    both.run(&eth1(Command::Add)).unwrap();
    both.plugins.take();
    both.run(&eth1(Command::Del)).unwrap();
    assert_eq!(both.plugins.take(), ["DEL a na eth1"]);
    both.del().unwrap();
    assert_eq!(both.plugins.take(), ["DEL b nb net1", "DEL a na eth0"]);
    assert_eq!(both.files(), [""; 0]);
}

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
fn adds_of_one_container_at_the_same_time_lose_nothing() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    let conf = &world.conf;
    let parallel = |command: Command| {
        std::thread::scope(|scope| {
            for i in 0..8 {
                scope.spawn(move || {
                    let config = Config::read(conf).unwrap();
                    let (delegates, links) = (Plugins::default(), Links::default());
                    let attach = Attach {
                        config: &config,
                        delegates: &delegates,
                        links: &links,
                        cluster: None,
                        devices: &NoDevices,
                        readiness: Readiness::default(),
                    };
                    attach.run(&Call { ifname: format!("eth{i}"), ..call(command, conf) }).unwrap();
                    delegates.take()
                });
            }
        });
    };
    for _ in 0..5 {
        parallel(Command::Add);
        let record = Records::new(world.cni_dir()).read("c1", "eth0", &Cache::new(world.cni_dir())).unwrap();
        let mut requests: Vec<String> = record.entries.into_iter().map(|e| e.request).collect();
        requests.sort();
        assert_eq!(requests, (0..8).map(|i| format!("eth{i}")).collect::<Vec<_>>());
        parallel(Command::Del);
        assert_eq!(world.files(), [""; 0]);
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

#[test]
fn a_network_may_have_neither_check_nor_gc() {
    let world = World::with(
        r#"{"type": "z", "name": "nz"}, {"name": "na", "disableCheck": true, "disableGC": true, "plugins": [{"type": "a"}]}"#,
    );
    world.add().unwrap();
    world.plugins.take();
    world.run(&world.call(Command::Check)).unwrap();
    assert_eq!(world.plugins.take(), ["CHECK z nz eth0"]);
    let gc = gc_conf(&world, r#"[{"containerID": "c1", "ifname": "eth0"}]"#);
    world.run(&gc).unwrap();
    assert_eq!(world.plugins.take(), ["GC z nz"]);
    // The configuration knows the network no more; its record still says what it wants.
    let other = World::with(r#"{"type": "y", "name": "ny"}"#);
    let mut conf = other.conf.clone();
    conf.set("cniDir", world.cni_dir().display().to_string());
    conf.set("cni.dev/valid-attachments", json(r#"[{"containerID": "c1", "ifname": "eth0"}]"#));
    world.run(&gc.with_conf(conf)).unwrap();
    assert_eq!(world.plugins.take(), ["GC y ny", "GC z nz"]);
}

#[test]
fn a_missing_plugin_is_found_before_anything_runs() {
    let mut world = World::new();
    world.plugins.missing = vec!["macvlan".into()];
    assert!(world.add().unwrap_err().message.contains("macvlan"));
    assert!(world.plugins.take().is_empty());
    // Nothing of it can be there, so the DEL that follows does not fail for want of the plugin either.
    world.plugins.fail("DEL macvlan", 999);
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL flannel multus-demo-1 eth0"]);
}

#[test]
fn a_result_that_cannot_be_said_in_the_version_undoes_the_add() {
    let world = World::new();
    world.plugins.answer("flannel", r#"{"cniVersion": "1.0.0"}"#);
    let error = world.add().unwrap_err();
    assert!(error.message.contains("0.1.0") && error.message.contains("eth0"), "{error}");
    assert_eq!(world.plugins.take()[2..], ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn an_add_that_was_killed_is_undone_by_the_next() {
    let world = World::with(THREE);
    world.add().unwrap();
    world.plugins.take();
    let second = World::with(r#"{"type": "z", "name": "nz"}"#).conf;
    let mut conf = second.clone();
    conf.set("cniDir", world.cni_dir().display().to_string());
    world.run(&call(Command::Add, &conf)).unwrap();
    let calls = world.plugins.take();
    assert_eq!(calls, ["DEL c nc net2", "DEL b2 nb net1", "DEL b nb net1", "DEL a na eth0", "ADD z nz eth0"]);
    assert_eq!(world.files(), ["c1", "results/nz-c1-eth0"]);
}

#[test]
fn two_requests_of_one_container_do_not_touch_each_other() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    world.add().unwrap();
    let eth1 = |command| Call { ifname: "eth1".into(), ..world.call(command) };
    world.run(&eth1(Command::Add)).unwrap();
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0", "results/na-c1-eth1"]);
    world.plugins.take();
    world.run(&eth1(Command::Del)).unwrap();
    assert_eq!(world.plugins.take(), ["DEL a na eth1"]);
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0"]);
    world.del().unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn del_of_a_refused_request_leaves_the_others_interfaces() {
    let two = r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#;
    let mut world = World::with(two);
    world.add().unwrap();
    world.links.present = vec!["eth0".into(), "net1".into()];
    let eth1 = |command| Call { ifname: "eth1".into(), ..world.call(command) };
    assert!(world.run(&eth1(Command::Add)).is_err(), "net1 is taken");
    world.plugins.take();
    world.run(&eth1(Command::Del)).unwrap();
    assert_eq!(world.plugins.take(), ["DEL a na eth1"], "net1 belongs to the other");
}

#[test]
fn interfaces_go_in_one_batch_where_plugins_own_them() {
    let mut world = World::with(&format!(r#"{THREE}, {{"type": "d", "name": "nd"}}"#));
    world.plugins.owning = ["a", "c", "d"].map(String::from).into();
    world.add().unwrap();
    world.del().unwrap();
    // b is not sure of its interface, so a is alone behind it and needs no batch.
    assert_eq!(*world.links.removed.borrow(), [["net3", "net2"]]);
    assert_eq!(world.plugins.take()[5..].len(), 5, "every delegate is asked all the same");

    world.links.removed.borrow_mut().clear();
    world.plugins.owning.push("b".into());
    world.plugins.owning.push("b2".into());
    world.links.stuck = true;
    world.add().unwrap();
    world.del().unwrap();
    assert_eq!(*world.links.removed.borrow(), [["net3", "net2", "net1", "eth0"]], "a failed batch is not a failed DEL");

    world.links.removed.borrow_mut().clear();
    let del = Call { netns: String::new(), ..world.call(Command::Del) };
    world.run(&del).unwrap();
    assert!(world.links.removed.borrow().is_empty(), "the namespace is gone");
}

#[test]
fn check_asks_every_attachment() {
    let world = World::with(THREE);
    world.add().unwrap();
    world.plugins.take();
    world.run(&world.call(Command::Check)).unwrap();
    assert_eq!(world.plugins.take(), ["CHECK a na eth0", "CHECK b nb net1", "CHECK b2 nb net1", "CHECK c nc net2"]);
    world.plugins.fail("CHECK a", 3);
    world.plugins.fail("CHECK c", 4);
    let error = world.run(&world.call(Command::Check)).unwrap_err();
    assert_eq!(error.code, Code(3));
    assert!(error.message.contains("eth0") && error.message.contains("net2"), "{error}");
}

#[test]
fn check_passes_over_networks_without_it() {
    let world = World::with(r#"{"type": "a", "name": "na", "cniVersion": "0.3.1"}, {"type": "b", "name": "nb"}"#);
    world.add().unwrap();
    world.plugins.take();
    world.run(&world.call(Command::Check)).unwrap();
    assert_eq!(world.plugins.take(), ["CHECK b nb net1"]);
}

#[test]
fn status_asks_every_network() {
    let world = World::with(THREE);
    world.run(&world.call(Command::Status)).unwrap();
    assert_eq!(
        world.plugins.take(),
        ["STATUS a na", "STATUS b nb", "STATUS b2 nb", "STATUS c nc"]
            .map(|s| s.to_owned() + " eth0")
            .map(|s| s.replace(" eth0", ""))
    );
    world.plugins.fail("STATUS c", 51);
    assert_eq!(world.run(&world.call(Command::Status)).unwrap_err().code, Code(51));
    let mut conf = world.conf.clone();
    conf.set("clusterNetwork", "/nonexistent/x.conflist");
    assert_eq!(world.run(&call(Command::Status, &conf)).unwrap_err().code, Code::NOT_AVAILABLE);
}

#[test]
fn nothing_is_attached_before_the_default_network_is_ready() {
    let mut world = World::new();
    let ready = world.dir.path().join("ready");
    world.conf.set("readinessindicatorfile", ready.display().to_string());
    let error = world.add().unwrap_err();
    assert_eq!(error.code, Code::TRY_AGAIN);
    assert!(error.message.contains("ready"), "{error}");
    assert_eq!(world.run(&world.call(Command::Status)).unwrap_err().code, Code::NOT_AVAILABLE);
    assert!(world.plugins.take().is_empty());
    world.del().unwrap();
    assert_eq!(world.plugins.take().len(), 2, "DEL does not wait");
    fs::write(ready, "").unwrap();
    world.add().unwrap();
}

fn gc_conf(world: &World, valid: &str) -> Call {
    let mut conf = world.conf.clone();
    conf.set("cni.dev/valid-attachments", json(valid));
    let call = call(Command::Gc, &conf);
    Call { container_id: String::new(), netns: String::new(), ifname: String::new(), args: String::new(), ..call }
}

#[test]
fn gc_deletes_what_the_runtime_does_not_know() {
    let world = World::with(r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#);
    let of = |id: &str, netns: &str| Call { container_id: id.into(), netns: netns.into(), ..world.call(Command::Add) };
    world.run(&of("c1", "/run/netns/c1")).unwrap();
    world.run(&of("c2", "/run/netns/c2")).unwrap();
    world.run(&of("c3", "/proc/7/ns/net")).unwrap();
    // Only the cache knows of these.
    world.run(&of("c4", "/run/netns/c4")).unwrap();
    fs::remove_file(world.cni_dir().join("c4")).unwrap();
    world.run(&of("c5", "/run/netns/c5")).unwrap();
    fs::write(world.cni_dir().join("c5"), "").unwrap();
    world.plugins.take();
    let gc = gc_conf(&world, r#"[{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c0", "ifname": "eth0"}]"#);
    world.run(&gc).unwrap();
    let deleted = |id: &str| -> Vec<String> {
        let whole = world.plugins.whole.borrow();
        let of = whole.iter().filter(|c| c.command == Command::Del && c.container_id == id);
        of.map(|c| format!("{} {}", c.ifname, c.netns)).collect()
    };
    assert_eq!(deleted("c1"), [""; 0]);
    assert_eq!(deleted("c2"), ["net1 /run/netns/c2", "eth0 /run/netns/c2"]);
    assert_eq!(deleted("c3"), ["net1 ", "eth0 "], "process 7 may be another by now");
    assert_eq!(deleted("c4").len(), 2);
    assert_eq!(deleted("c5").len(), 2);
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0", "results/nb-c1-net1"]);
    // What plugins are told: of c0, which has no record, what it would have by the configuration.
    let whole = world.plugins.whole.borrow();
    let told: Vec<String> = whole
        .iter()
        .filter(|c| c.command == Command::Gc)
        .map(|c| String::from_utf8(c.conf.get("cni.dev/valid-attachments").unwrap().to_vec()).unwrap())
        .collect();
    assert_eq!(
        told,
        [
            r#"[{"containerID":"c0","ifname":"eth0"},{"containerID":"c1","ifname":"eth0"}]"#,
            r#"[{"containerID":"c0","ifname":"net1"},{"containerID":"c1","ifname":"net1"}]"#
        ]
    );
}

/// Whoever is told too little removes what lives.
#[test]
fn gc_tells_each_network_what_it_has_of_a_container_that_lost_its_record() {
    let world = World::with(r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#);
    let (one, two) = (world.call(Command::Add), Call { container_id: "c2".into(), ..world.call(Command::Add) });
    world.run(&one).unwrap();
    world.run(&two).unwrap();
    // Attached under another configuration: its second network was named otherwise.
    let mut conf = world.conf.clone();
    conf.set(
        "delegates",
        vec![
            json(r#"{"type": "a", "name": "na"}"#),
            json(r#"{"type": "x", "name": "nx"}"#),
            json(r#"{"type": "b", "name": "nb"}"#),
        ],
    );
    world.run(&Call { container_id: "c3".into(), ..world.call(Command::Add) }.with_conf(conf)).unwrap();
    fs::remove_file(world.cni_dir().join("c3")).unwrap();
    world.plugins.take();
    world.plugins.whole.borrow_mut().clear();
    let valid = r#"[{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c3", "ifname": "eth0"}]"#;
    world.run(&gc_conf(&world, valid)).unwrap();
    let whole = world.plugins.whole.borrow();
    let told: Vec<(String, String)> = whole
        .iter()
        .filter(|c| c.command == Command::Gc)
        .map(|c| {
            let valid = cni::chain::Attachment::list(&c.conf).unwrap().unwrap();
            let valid: Vec<String> = valid.iter().map(|a| format!("{} {}", a.container_id, a.ifname)).collect();
            (c.network().to_owned(), valid.join(", "))
        })
        .collect();
    let expected = [("na", "c1 eth0, c3 eth0"), ("nb", "c1 net1, c3 net1, c3 net2")];
    assert_eq!(told, expected.map(|(network, valid)| (network.to_owned(), valid.to_owned())));
    assert!(!world.files().iter().any(|f| f.contains("c2")), "{:?}", world.files());
    assert!(world.files().contains(&"results/nx-c3-net1".to_owned()));
}

#[test]
fn gc_goes_on_after_a_failure() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    for id in ["c1", "c2"] {
        world.run(&Call { container_id: id.into(), ..world.call(Command::Add) }).unwrap();
    }
    world.plugins.take();
    world.plugins.fail("DEL a", 42);
    let error = world.run(&gc_conf(&world, "[]")).unwrap_err();
    assert_eq!(error.code, Code(42));
    assert!(error.message.contains("c1") && error.message.contains("c2"), "{error}");
    assert!(world.plugins.take().contains(&"GC a na".to_owned()));
    assert!(world.files().contains(&"c1".to_owned()), "still recorded");
    world.plugins.heal();
    world.run(&gc_conf(&world, "[]")).unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn gc_without_a_list_removes_nothing() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    world.add().unwrap();
    world.plugins.take();
    world.run(&world.call(Command::Gc)).unwrap();
    assert!(world.plugins.take().is_empty());
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0"]);
    assert!(world.run(&gc_conf(&world, r#"{"containerID": 1}"#)).unwrap_err().message.contains("valid-attachments"));
}

#[test]
fn what_multus_attached_is_deleted() {
    use base64::Engine as _;
    let world = World::new();
    let b = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    fs::create_dir_all(world.cni_dir()).unwrap();
    let record = format!(
        r#"[{{"Conf":{{"name":"cbr0","type":"flannel"}},"Name":"cbr0","Bytes":"{}"}},
            {{"ConfList":{{"name":"storage","plugins":[{{"type":"macvlan"}}]}},"Name":"default/storage","Bytes":"{}"}}]"#,
        b(r#"{"name":"cbr0","type":"flannel","cniVersion":"0.3.1","capabilities":{"portMappings":true}}"#),
        b(r#"{"name":"storage","cniVersion":"0.4.0","plugins":[{"type":"macvlan"}]}"#),
    );
    fs::write(world.record(), record).unwrap();
    let mut conf = world.conf.clone();
    conf.set("runtimeConfig", json(r#"{"portMappings": [{"hostPort": 80}]}"#));
    world.run(&call(Command::Del, &conf)).unwrap();
    let whole = world.plugins.whole.take();
    assert_eq!(world.plugins.take(), ["DEL macvlan storage net1", "DEL flannel cbr0 eth0"]);
    assert!(whole[1].conf.get("runtimeConfig").is_some(), "Multus does not record it, the runtime repeats it");
    assert!(whole[1].args.contains("K8S_POD_NAME=web"));
    assert_eq!(world.files(), [""; 0]);
}
