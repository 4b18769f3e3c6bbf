//! `default-route`: what the kernel has after it, in both families, with several gateways, with a metric, and with none.

use e2e::{Pod, Test, definition};
use serde_json::{Value, json};

/// Addresses of both families.
fn both(subnet: &str, subnet6: &str) -> Value {
    json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}], [{"subnet": subnet6}]]}})
}

/// The default routes of one family of the pod that has the interface, as the node's `ip -j` tells them.
fn routes(test: &Test, node: &str, interface: &str, family: &str) -> Vec<Value> {
    let found = test.nodes().sh(
        node,
        &format!("for n in $(ls /run/netns); do ip -n $n link show {interface} >/dev/null 2>&1 && ip -n $n {family} -j route show default; done; true"),
    );
    serde_json::from_str(&found).unwrap_or_else(|e| panic!("{e}: {found}"))
}

fn pod(test: &Test, name: &str, ask: Value) -> Vec<Value> {
    test.start(&Pod::new(name).on(&test.node_names()[0]).networks(&json!([ask]).to_string()));
    test.status(name)
}

#[test]
fn both_families_by_one_network() {
    let Some(test) = Test::with_nodes("both-families") else { return };
    test.apply(&[definition("way-out", &both("10.250.1.0/24", "2001:db8:250::/64"))]);
    let ask = json!({"name": "way-out", "interface": "both0", "default-route": ["10.250.1.1", "2001:db8:250::1"]});
    let status = pod(&test, "web", ask);
    let node = &test.node_names()[0];
    let (v4, v6) = (routes(&test, node, "both0", "-4"), routes(&test, node, "both0", "-6"));
    assert_eq!((v4.len(), &v4[0]["gateway"], &v4[0]["dev"]), (1, &json!("10.250.1.1"), &json!("both0")));
    assert_eq!((v6.len(), &v6[0]["gateway"], &v6[0]["dev"]), (1, &json!("2001:db8:250::1"), &json!("both0")));
    let entry = status.iter().find(|e| e["interface"] == "both0").unwrap();
    assert_eq!(entry["default-route"], json!(["10.250.1.1", "2001:db8:250::1"]));
}

/// One family's default route is replaced, the other family's is not touched.
#[test]
fn ipv6_alone_leaves_the_ipv4_default_route_to_the_default_network() {
    let Some(test) = Test::with_nodes("one-family") else { return };
    test.apply(&[definition("way-out", &both("10.250.2.0/24", "2001:db8:251::/64"))]);
    pod(&test, "web", json!({"name": "way-out", "interface": "six0", "default-route": ["2001:db8:251::1"]}));
    let node = &test.node_names()[0];
    let (v4, v6) = (routes(&test, node, "six0", "-4"), routes(&test, node, "six0", "-6"));
    assert_eq!((v4.len(), &v4[0]["dev"]), (1, &json!("eth0")), "{v4:?}");
    assert_eq!((v6.len(), &v6[0]["dev"]), (1, &json!("six0")), "{v6:?}");
}

#[test]
fn several_gateways_share_the_traffic() {
    let Some(test) = Test::with_nodes("multipath") else { return };
    test.apply(&[definition("way-out", &both("10.250.3.0/24", "2001:db8:252::/64"))]);
    pod(&test, "web", json!({"name": "way-out", "interface": "multi0", "default-route": ["10.250.3.1", "10.250.3.2"]}));
    let found = routes(&test, &test.node_names()[0], "multi0", "-4");
    assert_eq!(found.len(), 1, "{found:?}");
    let gateways: Vec<&Value> = found[0]["nexthops"].as_array().unwrap().iter().map(|hop| &hop["gateway"]).collect();
    assert_eq!(gateways, ["10.250.3.1", "10.250.3.2"]);
}

/// With a metric, it stands beside the default network's route, and the metrics decide.
#[test]
fn a_metric_keeps_the_other_default_route() {
    let Some(test) = Test::with_nodes("metric") else { return };
    test.apply(&[definition("way-out", &both("10.250.4.0/24", "2001:db8:253::/64"))]);
    let ask = json!({"name": "way-out", "interface": "backup0", "default-route": ["10.250.4.1"], "default-route-metric": 500});
    pod(&test, "web", ask);
    let found = routes(&test, &test.node_names()[0], "backup0", "-4");
    let of =
        |link: &str| found.iter().find(|r| r["dev"] == link).unwrap_or_else(|| panic!("none by {link}: {found:?}"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&of("backup0")["metric"], &of("backup0")["gateway"]), (&json!(500), &json!("10.250.4.1")));
    assert!(of("eth0").get("metric").is_none(), "{found:?}");
}

/// The kernel has one route of each metric: the default network's goes, here and in the status.
#[test]
fn a_metric_that_the_other_default_route_has_takes_its_place() {
    let Some(test) = Test::with_nodes("same-metric") else { return };
    test.apply(&[definition("way-out", &both("10.250.6.0/24", "2001:db8:255::/64"))]);
    let ask =
        json!({"name": "way-out", "interface": "zero0", "default-route": ["10.250.6.1"], "default-route-metric": 0});
    let status = pod(&test, "web", ask);
    let found = routes(&test, &test.node_names()[0], "zero0", "-4");
    assert_eq!(
        (found.len(), &found[0]["dev"], &found[0]["gateway"]),
        (1, &json!("zero0"), &json!("10.250.6.1")),
        "{found:?}"
    );
    let of = |link: &str| status.iter().find(|e| e["interface"] == link).unwrap();
    assert_eq!((of("eth0").get("gateway"), &of("zero0")["gateway"]), (None, &json!(["10.250.6.1"])), "{status:?}");
}

/// An empty list: the network's own default route does not reach the pod.
#[test]
fn an_empty_list_drops_the_networks_own() {
    let Some(test) = Test::with_nodes("none-wanted") else { return };
    let mut config = both("10.250.5.0/24", "2001:db8:254::/64");
    config["ipam"]["routes"] = json!([{"dst": "::/0", "gw": "2001:db8:254::1"}]);
    test.apply(&[definition("way-out", &config)]);
    pod(&test, "with", json!({"name": "way-out", "interface": "with0"}));
    pod(&test, "without", json!({"name": "way-out", "interface": "without0", "default-route": []}));
    let node = &test.node_names()[0];
    assert_eq!(routes(&test, node, "with0", "-6").len(), 1);
    assert_eq!(routes(&test, node, "without0", "-6"), [Value::Null; 0]);
}
