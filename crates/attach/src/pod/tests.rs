//! Pods with annotations, against a cluster that is a table.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use cni::{Call, CniResult, Code, Command, Error, Json, Result};
use tempfile::TempDir;

use crate::cluster::{Cluster, Definition, Event, Pod, PodId};
use crate::testing::{Links, Plugins, call, json};
use crate::{Attach, Config, Readiness};

mod devices;

/// What the API server has, and what it was told.
#[derive(Default)]
struct Table {
    pods: BTreeMap<String, Pod>,
    definitions: BTreeMap<String, Definition>,
    away: bool,
    asked: RefCell<Vec<String>>,
    status: RefCell<Option<String>>,
    events: RefCell<Vec<Event>>,
    /// The pod vanishes before its status is written.
    vanishes: bool,
    /// What its annotations really are, where the API server that is asked for the pod lags.
    newer: Option<BTreeMap<String, String>>,
}

impl Cluster for Table {
    fn pod(&self, id: &PodId) -> Result<Option<Pod>> {
        self.ask(format!("pod {}/{}", id.namespace, id.name))?;
        Ok(self.pods.get(&format!("{}/{}", id.namespace, id.name)).cloned())
    }

    fn definition(&self, namespace: &str, name: &str) -> Result<Option<Definition>> {
        self.ask(format!("definition {namespace}/{name}"))?;
        Ok(self.definitions.get(&format!("{namespace}/{name}")).cloned())
    }

    fn report(&self, id: &PodId, status: &str, events: &[Event]) -> Result<Option<Pod>> {
        self.ask(format!("report {} events", events.len()))?;
        self.events.borrow_mut().extend(events.iter().cloned());
        *self.status.borrow_mut() = Some(status.to_owned());
        let pod = self.pods.get(&format!("{}/{}", id.namespace, id.name)).filter(|_| !self.vanishes);
        Ok(pod.map(|pod| Pod { annotations: self.newer.clone().unwrap_or(pod.annotations.clone()), ..pod.clone() }))
    }

    fn events(&self, _: &PodId, events: &[Event]) {
        let _ = self.ask(format!("report {} events", events.len()));
        self.events.borrow_mut().extend(events.iter().cloned());
    }
}

impl Table {
    fn ask(&self, what: String) -> Result<()> {
        self.asked.borrow_mut().push(what);
        if self.away { Err(Error::new(Code::TRY_AGAIN, "the API server is away")) } else { Ok(()) }
    }
}

/// A node and a cluster with pod prod/web.
struct World {
    dir: TempDir,
    plugins: Plugins,
    links: Links,
    table: Table,
    devices: devices::Node,
    conf: Json,
}

const DEFAULT: &str = r#"{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
    "ips": [{"address": "10.244.1.7/24", "gateway": "10.244.1.1", "interface": 0}], "routes": [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]}"#;
const SECOND: &str = r#"{"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "sandbox": "/run/netns/c1"}],
    "ips": [{"address": "10.1.1.2/24", "gateway": "10.1.1.1", "interface": 0}]}"#;

impl World {
    fn new(annotations: &[(&str, &str)]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut conf = json(
            r#"{"name": "m", "cniVersion": "1.0.0", "type": "multus", "delegates": [{"name": "cbr0", "type": "bridge"}]}"#,
        );
        conf.set("cniDir", dir.path().display().to_string());
        conf.set("deviceInfoDir", dir.path().join("devinfo").display().to_string());
        let mut world = World {
            dir,
            plugins: Plugins::default(),
            links: Links::default(),
            table: Table::default(),
            devices: devices::Node::default(),
            conf,
        };
        let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        world.table.pods.insert("prod/web".into(), Pod { uid: "u1".into(), annotations });
        world.define("prod/lan", r#"{"type": "macvlan", "ipam": {"type": "static"}}"#);
        world.plugins.answer("bridge", DEFAULT);
        world.plugins.answer("macvlan", SECOND);
        world
    }

    fn networks(value: &str) -> World {
        World::new(&[("k8s.v1.cni.cncf.io/networks", value)])
    }

    fn define(&mut self, name: &str, config: &str) {
        let (namespace, short) = name.split_once('/').unwrap();
        let definition =
            Definition { namespace: namespace.into(), name: short.into(), config: config.into(), resource_name: None };
        self.table.definitions.insert(name.into(), definition);
    }

    fn define_with(&mut self, name: &str, config: &str, resource: &str) {
        self.define(name, config);
        self.table.definitions.get_mut(name).unwrap().resource_name = Some(resource.into());
    }

    fn run(&self, command: Command) -> Result<Option<CniResult>> {
        self.run_call(&call(command, &self.conf))
    }

    fn run_call(&self, call: &Call) -> Result<Option<CniResult>> {
        let config = Config::read(&call.conf)?;
        let readiness = Readiness { interval: Duration::from_millis(1), timeout: Duration::from_millis(5) };
        let attach = Attach {
            config: &config,
            delegates: &self.plugins,
            links: &self.links,
            cluster: Some(&self.table),
            devices: &self.devices,
            readiness,
        };
        attach.run(call)
    }

    fn add(&self) -> Result<()> {
        self.run(Command::Add).map(|_| ())
    }

    fn refused(&self) -> String {
        let error = self.add().unwrap_err();
        assert!(self.plugins.take().is_empty(), "nothing may run before every error is found");
        error.message
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(self.table.status.borrow().as_deref().unwrap()).unwrap()
    }

    fn reasons(&self) -> Vec<&'static str> {
        self.table.events.borrow().iter().map(|e| e.reason).collect()
    }
}

#[test]
fn a_second_interface_in_three_requests() {
    let world = World::networks("lan");
    world.add().unwrap();
    assert_eq!(world.plugins.take(), ["ADD bridge cbr0 eth0", "ADD macvlan lan net1"]);
    assert_eq!(*world.table.asked.borrow(), ["pod prod/web", "definition prod/lan", "report 2 events"]);
    let status = world.status();
    assert_eq!(status[0]["name"], "cbr0");
    assert_eq!(status[0]["default"], true);
    assert_eq!((&status[1]["name"], &status[1]["interface"]), (&"prod/lan".into(), &"net1".into()));
    let events = world.table.events.borrow();
    assert_eq!(events[1].message, "Add net1 [10.1.1.2/24] from prod/lan");
    assert!(events.iter().all(|e| e.reason == "AddedInterface" && !e.warning));
}

#[test]
fn a_del_with_a_record_asks_nobody() {
    let mut world = World::networks("lan");
    world.add().unwrap();
    world.table.away = true;
    world.table.asked.borrow_mut().clear();
    world.plugins.take();
    world.run(Command::Del).unwrap();
    assert_eq!(world.plugins.take(), ["DEL macvlan lan net1", "DEL bridge cbr0 eth0"]);
    assert!(world.table.asked.borrow().is_empty());
    assert_eq!(
        std::fs::read_dir(world.dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count(),
        0
    );
}

#[test]
fn what_the_pod_asks_reaches_the_plugins() {
    let mut world = World::networks(
        r#"[{"name": "lan", "interface": "data", "ips": ["10.1.1.9/24"], "mac": "02:00:00:00:00:09", "cni-args": {"a": 1, "b": 2}}]"#,
    );
    world.define(
        "prod/lan",
        r#"{"cniVersion": "1.0.0", "plugins": [{"type": "macvlan", "capabilities": {"ips": true}, "args": {"cni": {"b": 0, "c": 3}}, "ipam": {"type": "static"}}]}"#,
    );
    world.add().unwrap();
    let calls = world.plugins.whole.borrow();
    let second = calls.iter().find(|c| c.ifname == "data").unwrap();
    assert!(second.args.ends_with("MAC=02:00:00:00:00:09;IP=10.1.1.9/24"), "{}", second.args);
    assert_eq!(second.conf.get("runtimeConfig").unwrap().to_vec(), br#"{"ips":["10.1.1.9/24"]}"#);
    let mut expected = json(r#"{"cni": {"c": 3, "a": 1, "b": 2}}"#);
    let got = second.conf.get("args").unwrap();
    assert_eq!(serde_json::to_value(got).unwrap(), serde_json::to_value(&expected).unwrap());
    expected.remove("cni");
    assert_eq!(second.network(), "lan", "the definition's name where the configuration has none");
}

#[test]
fn a_wish_that_no_plugin_hears_is_an_error() {
    for (wish, key) in [
        (r#""portMappings": [{"hostPort": 80, "containerPort": 80}]"#, "portMappings"),
        (r#""bandwidth": {"ingressRate": 1000, "ingressBurst": 1000}"#, "bandwidth"),
        (r#""infiniband-guid": "02:00:00:00:00:00:00:01""#, "infiniband-guid"),
    ] {
        let mut world = World::networks(&format!(r#"[{{"name": "lan", {wish}}}]"#));
        let message = world.refused();
        assert!(message.contains(&format!("key \"{key}\"")) && message.contains("capabilities"), "{message}");
        world.conf.set("capabilityMismatch", "ignore");
        world.add().unwrap();
    }
    let mut world = World::networks(r#"[{"name": "lan", "ips": ["10.1.1.9"]}]"#);
    world.define("prod/lan", r#"{"type": "macvlan"}"#);
    assert!(world.refused().contains("key \"ips\""));
    world.define("prod/lan", r#"{"type": "macvlan", "ipam": {"type": "host-local"}}"#);
    world.add().unwrap();

    // A defect that there was: any plugin that is not known to make interfaces was believed to read the address.
    let chain = |second: &str| format!(r#"{{"plugins": [{{"type": "ipvlan"}}, {{"type": "{second}"}}]}}"#);
    for (second, heard) in
        [("portmap", false), ("bandwidth", false), ("firewall", false), ("sbr", false), ("tuning", true)]
    {
        let mut world = World::networks(r#"[{"name": "lan", "mac": "02:00:00:00:00:09"}]"#);
        world.define("prod/lan", &chain(second));
        match heard {
            true => world.add().unwrap(),
            false => assert!(world.refused().contains("key \"mac\""), "{second}"),
        }
    }
}

#[test]
fn a_missing_definition_is_named_and_reported() {
    let world = World::networks("nowhere");
    let message = world.refused();
    assert!(message.contains("there is no NetworkAttachmentDefinition nowhere in namespace prod"), "{message}");
    assert_eq!(world.reasons(), ["NoNetworkFound", "FailedAddingInterface"]);
}

#[test]
fn isolation_covers_both_annotations() {
    let mut world = World::networks("red/lan");
    world.define("red/lan", r#"{"type": "macvlan"}"#);
    world.add().unwrap();
    world.plugins.take();
    world.run(Command::Del).unwrap();
    world.plugins.take();
    world.conf.set("namespaceIsolation", true);
    assert!(world.refused().contains("namespace isolation"));
    world.conf.set("globalNamespaces", "blue, red");
    world.add().unwrap();

    // The administrator's namespace is open to the annotation that looks there by itself, and to no other.
    for (annotation, network, allowed) in [
        ("v1.multus-cni.io/default-network", "red/lan", false),
        ("v1.multus-cni.io/default-network", "lan", true),
        ("k8s.v1.cni.cncf.io/networks", "kube-system/lan", false),
    ] {
        let mut world = World::new(&[(annotation, network)]);
        world.define("red/lan", r#"{"type": "macvlan"}"#);
        world.define("kube-system/lan", r#"{"type": "macvlan"}"#);
        world.conf.set("namespaceIsolation", true);
        match world.add() {
            Ok(()) => assert!(allowed, "{annotation} {network}"),
            Err(e) => assert!(!allowed && e.message.contains("namespace isolation"), "{annotation} {network}: {e}"),
        }
    }
}

#[test]
fn the_default_network_annotation_replaces_the_default_network() {
    let mut world = World::new(&[("v1.multus-cni.io/default-network", "lan")]);
    world.define("kube-system/lan", r#"{"type": "macvlan"}"#);
    world.add().unwrap();
    assert_eq!(world.plugins.take(), ["ADD macvlan lan eth0"]);
    assert_eq!(world.status()[0]["name"], "kube-system/lan");
    for wrong in ["a,b", r#"[{"name": "lan", "interface": "x"}]"#] {
        World::new(&[("v1.multus-cni.io/default-network", wrong)]).refused();
    }
}

#[test]
fn a_cluster_network_is_a_definition_first() {
    let mut world = World::networks("lan");
    world.conf =
        json(r#"{"name": "m", "cniVersion": "1.0.0", "clusterNetwork": "main", "defaultNetworks": ["extra"]}"#);
    world.conf.set("cniDir", world.dir.path().display().to_string());
    world.conf.set("confDir", world.dir.path().display().to_string());
    world.define("kube-system/main", r#"{"type": "bridge"}"#);
    world.define("kube-system/extra", r#"{"type": "tap"}"#);
    world.add().unwrap();
    assert_eq!(world.plugins.take(), ["ADD bridge main eth0", "ADD tap extra net1", "ADD macvlan lan net2"]);
    assert_eq!(world.status()[0]["name"], "kube-system/main");
}

#[test]
fn a_pod_that_is_gone_or_another_gets_nothing_and_no_success() {
    let mut world = World::networks("lan");
    let mut other = call(Command::Add, &world.conf);
    other.args.push_str(";K8S_POD_UID=u0");
    let error = world.run_call(&other).unwrap_err();
    assert!(error.message.contains("UID u0"), "{error}");
    world.table.pods.clear();
    assert_eq!(world.add().unwrap_err().code, Code::UNKNOWN_CONTAINER);
    world.table.away = true;
    assert_eq!(world.add().unwrap_err().code, Code::TRY_AGAIN);
    assert!(world.plugins.take().is_empty());
}

#[test]
fn a_static_pod_has_a_mirror_with_another_uid() {
    let world = World::new(&[("kubernetes.io/config.source", "file")]);
    let mut call = call(Command::Add, &world.conf);
    call.args.push_str(";K8S_POD_UID=u0");
    world.run_call(&call).unwrap();
}

#[test]
fn a_failure_of_the_second_network_undoes_the_first_and_is_reported() {
    let world = World::networks("lan");
    world.plugins.fail("ADD macvlan", 11);
    let error = world.add().unwrap_err();
    assert_eq!(error.code, Code::TRY_AGAIN);
    let calls = world.plugins.take();
    assert_eq!(calls, ["ADD bridge cbr0 eth0", "ADD macvlan lan net1", "DEL macvlan lan net1", "DEL bridge cbr0 eth0"]);
    assert!(world.table.status.borrow().is_none());
}

/// A defect that there was: where the configuration names definitions, a DEL whose record a power loss had emptied failed for ever.
#[test]
fn a_damaged_record_is_made_good_by_definitions() {
    let lost = |annotations: &[(&str, &str)]| {
        let mut world = World::new(annotations);
        world.conf.remove("delegates");
        world.conf.set("clusterNetwork", "cbr0");
        world.conf.set("confDir", world.dir.path().display().to_string());
        world.define("kube-system/cbr0", r#"{"type": "bridge"}"#);
        world.add().unwrap();
        std::fs::write(world.dir.path().join("c1"), "").unwrap();
        world.plugins.take();
        world
    };
    let empty = |world: &World| {
        let files = world.dir.path().join("results").read_dir().unwrap().count();
        files == 0 && !world.dir.path().join("c1").exists()
    };
    // Neither is the API server there nor the cache: it may come to know.
    let mut world = lost(&[]);
    std::fs::remove_file(world.dir.path().join("results/cbr0-c1-eth0")).unwrap();
    world.table.away = true;
    assert_eq!(world.run(Command::Del).unwrap_err().code, Code::TRY_AGAIN);
    assert!(!empty(&world));
    world.table.away = false;
    world.table.asked.take();
    world.run(Command::Del).unwrap();
    assert_eq!(*world.table.asked.borrow(), ["definition kube-system/cbr0"], "nobody asks for the pod");
    assert_eq!(world.plugins.take(), ["DEL bridge cbr0 eth0"]);
    assert!(empty(&world));

    // The definition is gone for good, and the cache has told what there was.
    let mut world = lost(&[("k8s.v1.cni.cncf.io/networks", "lan")]);
    world.table.definitions.clear();
    world.run(Command::Del).unwrap();
    assert_eq!(world.plugins.take(), ["DEL macvlan lan net1", "DEL bridge cbr0 eth0"]);
    assert!(empty(&world));
}

/// A defect that there was: what the cache of an API server that lags said of the annotations was believed, and the pod came up without the
/// network that it asked for.
#[test]
fn an_annotation_that_was_another_than_it_seemed_leaves_nothing() {
    let networks = |value: &str| [("k8s.v1.cni.cncf.io/networks".to_owned(), value.to_owned())].into();
    let default = || [("v1.multus-cni.io/default-network".to_owned(), "lan".to_owned())].into();
    for (seen, newer) in
        [("", networks("lan")), ("lan", networks("lan,lan")), ("lan", BTreeMap::new()), ("", default())]
    {
        let mut world = if seen.is_empty() { World::new(&[]) } else { World::networks(seen) };
        world.table.newer = Some(newer);
        let error = world.add().unwrap_err();
        assert_eq!(error.code, Code::TRY_AGAIN, "{error}");
        assert!(error.message.contains("annotation "), "{error}");
        let calls = world.plugins.take();
        let made = calls.iter().filter(|c| c.starts_with("ADD")).count();
        assert_eq!(calls.iter().filter(|c| c.starts_with("DEL")).count(), made, "{calls:?}");
    }
}

/// Other annotations are written by many, also meanwhile.
#[test]
fn another_annotation_may_change_meanwhile() {
    let mut world = World::networks("lan");
    let now = [("k8s.v1.cni.cncf.io/networks", "lan"), ("k8s.v1.cni.cncf.io/network-status", "[]"), ("x", "y")];
    world.table.newer = Some(now.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    world.add().unwrap();
}

#[test]
fn a_pod_that_vanishes_meanwhile_leaves_nothing() {
    let mut world = World::networks("lan");
    world.table.vanishes = true;
    assert_eq!(world.add().unwrap_err().code, Code::UNKNOWN_CONTAINER);
    assert!(world.plugins.take().iter().rev().take(2).all(|c| c.starts_with("DEL")));
}

#[test]
fn the_default_route_goes_where_the_annotation_says() {
    let world = World::networks(r#"[{"name": "lan", "default-route": ["10.1.1.1", "10.1.1.254"]}]"#);
    world.add().unwrap();
    assert_eq!(
        *world.links.routes.borrow(),
        ["eth0 0.0.0.0/0 10.244.1.1", "net1 := [10.1.1.1, 10.1.1.254] None"],
        "the default network's goes, two gateways share the traffic"
    );
    let status = world.status();
    assert!(status[0].get("gateway").is_none());
    assert_eq!(status[1]["gateway"], serde_json::json!(["10.1.1.1", "10.1.1.254"]));
    assert_eq!(status[1]["default-route"], serde_json::json!(["10.1.1.1", "10.1.1.254"]));
}

#[test]
fn a_default_route_with_a_metric_leaves_the_others_alone() {
    let world = World::networks(r#"[{"name": "lan", "default-route": ["10.1.1.1"], "default-route-metric": 500}]"#);
    world.add().unwrap();
    assert_eq!(*world.links.routes.borrow(), ["net1 := [10.1.1.1] Some(500)"]);
    assert_eq!(world.status()[0]["gateway"], serde_json::json!(["10.244.1.1"]));
}

#[test]
fn an_empty_default_route_drops_only_this_networks_own() {
    let world = World::networks(r#"[{"name": "lan", "default-route": []}]"#);
    world.plugins.answer("macvlan", &SECOND.replace("}]}", r#"}], "routes": [{"dst": "0.0.0.0/0"}]}"#));
    world.add().unwrap();
    assert_eq!(*world.links.routes.borrow(), ["net1 0.0.0.0/0 10.1.1.1"]);
}

#[test]
fn two_networks_cannot_both_have_the_default_route() {
    let mut world = World::networks(
        r#"[{"name": "lan", "default-route": ["10.1.1.1"]}, {"name": "wan", "default-route": ["10.2.1.1"]}]"#,
    );
    world.define("prod/wan", r#"{"type": "macvlan"}"#);
    let message = world.refused();
    assert!(
        message.contains("network \"lan\"") && message.contains("network \"wan\"") && message.contains("default-route")
    );
}

#[test]
fn each_family_and_each_metric_has_a_default_route_of_its_own() {
    for wan in [r#"["fd00::1"]"#, r#"["10.2.1.1"], "default-route-metric": 500"#] {
        let annotation =
            format!(r#"[{{"name": "lan", "default-route": ["10.1.1.1"]}}, {{"name": "wan", "default-route": {wan}}}]"#);
        let mut world = World::networks(&annotation);
        world.define("prod/wan", r#"{"type": "macvlan"}"#);
        world.add().unwrap();
    }
}

/// A defect that there was: the kernel replaced eth0's route of the same metric, and the result still had it.
#[test]
fn a_metric_that_another_default_route_has_takes_its_place() {
    let both = r#"[{"name": "lan", "default-route": ["10.1.1.1"]}, {"name": "wan", "default-route": ["10.2.1.1"], "default-route-metric": 0}]"#;
    let mut world = World::networks(both);
    world.define("prod/wan", r#"{"type": "macvlan"}"#);
    assert!(world.refused().contains("both ask for the pod's IPv4 default route"), "none is metric 0");

    for (route, choice, gone) in [
        (r#"{"dst": "0.0.0.0/0"}"#, r#"["10.1.1.1"], "default-route-metric": 0"#, true),
        (r#"{"dst": "0.0.0.0/0", "priority": 7}"#, r#"["10.1.1.1"], "default-route-metric": 7"#, true),
        (r#"{"dst": "0.0.0.0/0", "priority": 7}"#, r#"["10.1.1.1"], "default-route-metric": 8"#, false),
        (r#"{"dst": "::/0"}"#, r#"["fd00::1"], "default-route-metric": 1024"#, true),
        (r#"{"dst": "::/0", "priority": 0}"#, r#"["fd00::1"], "default-route-metric": 0"#, true),
        (r#"{"dst": "::/0"}"#, r#"["fd00::1"], "default-route-metric": 1"#, false),
    ] {
        let world = World::networks(&format!(r#"[{{"name": "lan", "default-route": {choice}}}]"#));
        world.plugins.answer("bridge", &DEFAULT.replace(r#"{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}"#, route));
        let result = world.run(Command::Add).unwrap().unwrap();
        assert_eq!(result.routes.is_empty(), gone, "{route} {choice}: {:?}", result.routes);
        assert_eq!(world.links.routes.borrow().len(), 1 + usize::from(gone), "{route} {choice}");
    }
}

/// What the runtime is told, and CHECK will ask for, is what the pod has.
#[test]
fn only_the_default_route_that_was_replaced_is_out_of_the_result() {
    let world = World::networks(r#"[{"name": "lan", "default-route": ["10.1.1.1"]}]"#);
    let more = r#""routes": [{"dst": "0.0.0.0/0", "table": 100}, {"dst": "0.0.0.0/0", "gw": "10.244.1.1", "priority": 9},
        {"dst": "10.0.0.0/8"}, "#;
    world.plugins.answer("bridge", &DEFAULT.replace(r#""routes": ["#, more));
    let result = world.run(Command::Add).unwrap().unwrap();
    let left: Vec<String> = result.routes.iter().map(|r| format!("{} {:?} {:?}", r.dst, r.priority, r.table)).collect();
    assert_eq!(left, ["0.0.0.0/0 None Some(100)", "10.0.0.0/8 None None"]);
    let removed = world.links.routes.borrow();
    assert_eq!(removed[..2], ["eth0 0.0.0.0/0 10.244.1.1", "eth0 0.0.0.0/0 10.244.1.1"], "with and without a metric");
}

#[test]
fn a_gateway_that_cannot_be_reached_is_named_with_the_interfaces_networks() {
    let mut world =
        World::networks(r#"[{"name": "lan", "default-route": ["192.0.2.1"], "default-route-metric": 500}]"#);
    world.links.stuck = true;
    let error = world.add().unwrap_err().to_string();
    assert!(error.contains("key \"default-route\"") && error.contains("on a network of the interface (10."), "{error}");
}

#[test]
fn a_default_route_that_cannot_be_set_undoes_everything() {
    let mut world = World::networks(r#"[{"name": "lan", "default-route": ["10.1.1.1"]}]"#);
    world.links.stuck = true;
    world.add().unwrap_err();
    assert!(world.plugins.take().iter().rev().take(2).all(|c| c.starts_with("DEL")));
}
