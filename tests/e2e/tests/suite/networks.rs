//! `k8s.v1.cni.cncf.io/networks` as a user writes it: both forms, every key; network-status and events tell what came of it.

use e2e::{Pod, Test, definition};
use serde_json::{Value, json};

/// A macvlan network on the node's first interface, with its own addresses.
fn macvlan(subnet: &str) -> Value {
    json!({"cniVersion": "1.0.0", "type": "macvlan", "capabilities": {"ips": true, "mac": true},
           "ipam": {"type": "host-local", "subnet": subnet}})
}

/// As [`macvlan`], addresses by the pod's request alone.
fn requested() -> Value {
    json!({"cniVersion": "1.0.0", "type": "macvlan", "capabilities": {"ips": true, "mac": true}, "ipam": {"type": "static"}})
}

/// The status entry of an interface.
fn entry<'a>(status: &'a [Value], interface: &str) -> &'a Value {
    status.iter().find(|e| e["interface"] == interface).unwrap_or_else(|| panic!("no {interface} in {status:#?}"))
}

#[test]
fn short_form_with_names_interfaces_and_counts() {
    let Some(test) = Test::new("short-form") else { return };
    test.apply(&[definition("blue", &macvlan("10.201.1.0/24")), definition("red.two", &macvlan("10.201.2.0/24"))]);
    test.start(&Pod::new("web").networks("blue, short-form/red.two@signal"));
    let all = test.asked_for("web");
    // Without a name in the annotation it is the network's place in the list of all of the pod's networks.
    let [(net, blue), (signal, red)] = &all[..] else { panic!("{all:?}") };
    assert!(net.starts_with("net") && blue[0].starts_with("10.201.1."), "{all:?}");
    assert!(signal == "signal" && red[0].starts_with("10.201.2."), "{all:?}");
    let status = test.status("web");
    assert_eq!(status.len(), test.addresses("web").len() - 1, "one entry for each interface but lo: {status:#?}");
    let default: Vec<&Value> = status.iter().filter(|e| e["default"] == true).collect();
    assert_eq!(default.len(), 1, "{status:#?}");
    assert_eq!(default[0]["interface"], "eth0");
    assert_eq!(entry(&status, net)["name"], "short-form/blue");
    let of_signal = entry(&status, "signal");
    assert_eq!(of_signal["name"], "short-form/red.two");
    assert_eq!(of_signal["ips"], json!([red[0].split('/').next().unwrap()]));
    let link = test.exec("web", "ip -o link show signal");
    assert!(link.contains(of_signal["mac"].as_str().unwrap()), "{link} {of_signal}");
    test.event("web", "AddedInterface", &format!("Add {net} [10.201.1."));
    test.event("web", "AddedInterface", "from short-form/red.two");
}

#[test]
fn json_form_with_address_mac_and_interface() {
    let Some(test) = Test::new("json-form") else { return };
    test.apply(&[definition("fixed", &requested())]);
    let ask = json!([{"name": "fixed", "interface": "media", "ips": ["10.202.1.7/24", "2001:db8:2::7/64"], "mac": "02:23:45:67:89:01"}]);
    test.start(&Pod::new("web").networks(&ask.to_string()));
    let addresses = test.addresses("web");
    assert_eq!(addresses["media"], ["10.202.1.7/24", "2001:db8:2::7/64"]);
    assert!(test.exec("web", "ip -o link show media").contains("02:23:45:67:89:01"));
    let status = test.status("web");
    assert_eq!(entry(&status, "media")["mac"], "02:23:45:67:89:01");
    assert_eq!(entry(&status, "media")["ips"], json!(["10.202.1.7", "2001:db8:2::7"]));
}

#[test]
fn one_network_twice() {
    let Some(test) = Test::new("twice") else { return };
    test.apply(&[definition("blue", &macvlan("10.203.1.0/24"))]);
    test.start(&Pod::new("web").networks("blue,blue"));
    let all = test.asked_for("web");
    let [(_, one), (_, two)] = &all[..] else { panic!("{all:?}") };
    assert_ne!(one, two);
    assert_eq!((one.len(), two.len()), (1, 1));
}

#[test]
fn a_definition_of_another_namespace() {
    let Some(test) = Test::new("here") else { return };
    let other = test.beside("there");
    other.apply(&[definition("blue", &macvlan("10.204.1.0/24"))]);
    test.start(&Pod::new("web").networks(r#"[{"name": "blue", "namespace": "there", "interface": "blue0"}]"#));
    assert!(test.addresses("web")["blue0"][0].starts_with("10.204.1."));
    assert_eq!(entry(&test.status("web"), "blue0")["name"], "there/blue");
}

#[test]
fn cni_args_reach_the_plugin() {
    let Some(test) = Test::new("cni-args") else { return };
    let mut config = requested();
    config["args"] = json!({"cni": {"ips": ["10.205.1.1/24"]}});
    test.apply(&[definition("args", &config)]);
    let ask = json!([{"name": "args", "interface": "args0", "cni-args": {"ips": ["10.205.1.9/24"]}}]);
    test.start(&Pod::new("web").networks(&ask.to_string()));
    assert_eq!(test.addresses("web")["args0"], ["10.205.1.9/24"]);
}

/// The default route asked for is in the kernel, the other one is not; the status says so with the specification's key and with Multus's.
#[test]
fn default_route_by_a_secondary_network() {
    let Some(test) = Test::new("default-route") else { return };
    test.apply(&[definition("way-out", &macvlan("10.206.1.0/24"))]);
    let ask = json!([{"name": "way-out", "interface": "out0", "default-route": ["10.206.1.1"]}]);
    test.start(&Pod::new("web").networks(&ask.to_string()));
    let routes = test.exec("web", "ip route | grep ^default");
    assert_eq!(routes.split_whitespace().take(5).collect::<Vec<_>>(), ["default", "via", "10.206.1.1", "dev", "out0"]);
    assert_eq!(routes.lines().count(), 1, "{routes}");
    let status = test.status("web");
    assert_eq!(entry(&status, "out0")["gateway"], json!(["10.206.1.1"]));
    assert_eq!(entry(&status, "out0")["default-route"], json!(["10.206.1.1"]));
}

/// `v1.multus-cni.io/default-network` replaces the default network.
#[test]
fn another_default_network() {
    let Some(test) = Test::alone("other-default") else { return };
    let mut other = definition("e2e-default", &macvlan("10.207.1.0/24"));
    other["metadata"]["namespace"] = json!("kube-system");
    let made = e2e::run(std::process::Command::new("kubectl").args(["apply", "-f", "-"]), &other.to_string());
    made.unwrap();
    test.start(&Pod::new("web").annotation("v1.multus-cni.io/default-network", "e2e-default"));
    let addresses = test.addresses("web");
    let status = test.status("web");
    test.delete_all();
    e2e::run(
        std::process::Command::new("kubectl").args(["-n", "kube-system", "delete", "net-attach-def", "e2e-default"]),
        "",
    )
    .unwrap();
    assert!(addresses["eth0"][0].starts_with("10.207.1."), "{addresses:?}");
    assert_eq!(entry(&status, "eth0")["default"], true);
}
