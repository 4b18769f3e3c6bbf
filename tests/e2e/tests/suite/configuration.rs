//! What the meta-plugin's configuration says about whole clusters: the networks of every pod, and who may use whose.

use e2e::{Pod, Test, definition, run};
use serde_json::{Value, json};
use std::process::Command;

fn macvlan(subnet: &str) -> Value {
    json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "subnet": subnet}})
}

/// Makes a definition in kube-system until this is dropped.
struct System(&'static str);

impl System {
    fn new(name: &'static str, config: &Value) -> System {
        let mut object = definition(name, config);
        object["metadata"]["namespace"] = json!("kube-system");
        run(Command::new("kubectl").args(["apply", "-f", "-"]), &object.to_string()).unwrap();
        System(name)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = run(Command::new("kubectl").args(["-n", "kube-system", "delete", "net-attach-def", self.0]), "");
    }
}

/// `clusterNetwork` and `defaultNetworks` by name, before what the pod asks for.
#[test]
fn cluster_network_and_default_networks_come_first() {
    let Some(test) = Test::on_nodes("cluster-network") else { return };
    let node = &test.node_names()[0];
    let flannel = json!({"cniVersion": "0.4.0", "type": "flannel", "delegate": {"isDefaultGateway": true}});
    let _objects = [System::new("e2e-cluster", &flannel), System::new("e2e-every", &macvlan("10.230.1.0/24"))];
    test.apply(&[definition("own", &macvlan("10.230.2.0/24"))]);
    let _configured = test.nodes().configure(node, |conf| {
        conf.as_object_mut().unwrap().remove("delegates");
        conf["clusterNetwork"] = json!("e2e-cluster");
        conf["defaultNetworks"] = json!(["e2e-every"]);
    });
    test.start(&Pod::new("web").on(node).networks("own"));
    let addresses = test.addresses("web");
    assert!(addresses["eth0"][0].starts_with("10.244."), "{addresses:?}");
    assert!(addresses["net1"][0].starts_with("10.230.1."), "{addresses:?}");
    assert!(addresses["net2"][0].starts_with("10.230.2."), "{addresses:?}");
    let names: Vec<Value> = test.status("web").iter().map(|e| e["name"].clone()).collect();
    assert_eq!(names, ["kube-system/e2e-cluster", "kube-system/e2e-every", "cluster-network/own"]);
}

/// A definition without `spec`: its configuration is a file of the node.
#[test]
fn a_definition_whose_configuration_is_a_file() {
    let Some(test) = Test::on_nodes("from-a-file") else { return };
    let node = &test.node_names()[0];
    let mut config = macvlan("10.230.3.0/24");
    config["name"] = json!("e2e-file");
    let file = test.nodes().dir(node, "etc-cni").join("e2e.d/10-file.conf");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, config.to_string()).unwrap();
    let mut bare = definition("e2e-file", &Value::Null);
    bare.as_object_mut().unwrap().remove("spec");
    test.apply(&[bare]);
    let configured = test.nodes().configure(node, |conf| conf["confDir"] = json!("/etc/cni/e2e.d"));
    test.start(&Pod::new("web").on(node).networks("e2e-file@file0"));
    assert!(test.addresses("web")["file0"][0].starts_with("10.230.3."), "{:?}", test.addresses("web"));
    test.delete_all();
    drop(configured);
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

/// With `namespaceIsolation`, networks of other namespaces are refused, those of the global ones are not.
#[test]
fn namespaces_are_isolated() {
    let Some(test) = Test::on_nodes("isolated") else { return };
    let node = &test.node_names()[0];
    let (foreign, global) = (test.beside("foreign"), test.beside("global"));
    foreign.apply(&[definition("blue", &macvlan("10.231.1.0/24"))]);
    global.apply(&[definition("blue", &macvlan("10.231.2.0/24"))]);
    let _configured = test.nodes().configure(node, |conf| {
        conf["namespaceIsolation"] = json!(true);
        conf["globalNamespaces"] = json!("global");
    });
    test.create(&Pod::new("refused").on(node).networks("foreign/blue"));
    // Another default network is another tenant's network too.
    test.create(&Pod::new("by-default").on(node).annotation("v1.multus-cni.io/default-network", "foreign/blue"));
    test.start(&Pod::new("allowed").on(node).networks("global/blue@blue0"));
    assert!(test.addresses("allowed")["blue0"][0].starts_with("10.231.2."));
    for pod in ["refused", "by-default"] {
        let message = test.event(pod, "FailedCreatePodSandBox", "foreign/blue");
        assert!(message.contains("namespace isolation is on"), "says why: {message}");
    }
}

/// `multusNamespace` is where names are looked up; pods of `systemNamespaces` get the cluster network alone.
#[test]
fn system_namespaces_get_the_cluster_network_alone() {
    let Some(test) = Test::on_nodes("networks-of-all") else { return };
    let node = &test.node_names()[0];
    let system = test.beside("of-the-system");
    let flannel = json!({"cniVersion": "0.4.0", "type": "flannel", "delegate": {"isDefaultGateway": true}});
    test.apply(&[definition("flat", &flannel), definition("every", &macvlan("10.232.1.0/24"))]);
    test.apply(&[definition("other", &macvlan("10.232.2.0/24"))]);
    let _configured = test.nodes().configure(node, |conf| {
        conf.as_object_mut().unwrap().remove("delegates");
        conf["clusterNetwork"] = json!("flat");
        conf["defaultNetworks"] = json!(["every"]);
        conf["multusNamespace"] = json!("networks-of-all");
        conf["systemNamespaces"] = json!(["of-the-system"]);
    });
    test.start(&Pod::new("web").on(node));
    system.start(&Pod::new("web").on(node));
    system.start(&Pod::new("other").on(node).annotation("v1.multus-cni.io/default-network", "other"));
    assert!(test.addresses("web")["net1"][0].starts_with("10.232.1."));
    let mut interfaces: Vec<String> = system.addresses("web").into_keys().collect();
    interfaces.sort();
    assert_eq!(interfaces, ["eth0", "lo"]);
    assert!(system.addresses("other")["eth0"][0].starts_with("10.232.2."));
}

/// Pods wait for the file by which the default network says that it is ready.
#[test]
fn pods_wait_for_the_readiness_indicator() {
    let Some(test) = Test::on_nodes("indicator") else { return };
    let node = &test.node_names()[0];
    let _configured = test.nodes().configure(node, |conf| conf["readinessindicatorfile"] = json!("/run/e2e-ready"));
    test.create(&Pod::new("web").on(node));
    let message = test.event("web", "FailedCreatePodSandBox", "/run/e2e-ready");
    assert!(message.contains("readinessindicatorfile"), "{message}");
    test.nodes().sh(node, "touch /run/e2e-ready");
    test.ready("web");
    test.nodes().sh(node, "rm /run/e2e-ready");
    assert_eq!(test.addresses("web").len(), 3);
}
