//! The built binary, under every name, with the configuration of the article, in namespaces: what a pod gets, and that nothing stays.

use crate::world::{ARTICLE, Pod, World};
use serde_json::{Value, json};
use testkit::{have_root, skip_or_fail};

const LOOPBACK: &str = r#"{"cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback"}"#;

/// The addresses of a link as text.
fn addresses(link: &Value, family: &str) -> Vec<String> {
    let infos = link["addr_info"].as_array().unwrap().iter().filter(|a| a["family"] == family);
    infos.map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect()
}

/// `dst via dev` of each IPv4 route.
fn routes(pod: &Pod) -> Vec<String> {
    let all = pod.ns.json("ip -j -4 route");
    let word = |r: &Value, key: &str| r[key].as_str().unwrap_or("-").to_owned();
    let mut routes: Vec<String> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {} {}", word(r, "dst"), word(r, "gateway"), word(r, "dev")))
        .collect();
    routes.sort();
    routes
}

fn root() -> bool {
    if !have_root() {
        skip_or_fail("netns", "needs root");
    }
    have_root()
}

#[test]
fn a_pod_gets_lo_eth0_and_net0_and_leaves_nothing() {
    if !root() {
        return;
    }
    let world = World::new();
    // The bridge and the tables that the first pod makes stay for the next ones, as with the originals.
    let first = Pod::new("first");
    world.cni("multus", "ADD", &first, "eth0", ARTICLE).unwrap();
    world.cni("multus", "DEL", &first, "eth0", ARTICLE).unwrap();
    let before = world.everything();

    let pod = Pod::new("c1");
    world.cni("loopback", "ADD", &pod, "lo", LOOPBACK).unwrap();
    let (result, stderr) = world.cni("multus", "ADD", &pod, "eth0", ARTICLE).unwrap();

    assert_eq!(result["cniVersion"], "0.1.0");
    let eth0 = pod.link("eth0");
    assert_eq!(json!(addresses(&eth0, "inet")), json!([result["ip4"]["ip"]]));
    assert!(addresses(&eth0, "inet")[0].starts_with("10.244.1."), "{eth0}");
    assert_eq!(result["ip4"]["gateway"], "10.244.1.1");
    assert_eq!((&eth0["mtu"], &eth0["operstate"]), (&json!(1450), &json!("UP")));
    let net0 = pod.link("net0");
    assert!(addresses(&net0, "inet")[0].starts_with("192.168.122.20"), "{net0}");
    assert_eq!(net0["operstate"], "UP");
    assert_eq!(addresses(&pod.link("lo"), "inet"), ["127.0.0.1/8"]);
    assert_eq!(pod.links(), ["lo", "eth0", "net0"]);
    let subnet = |dev: &str| routes(&pod).iter().filter(|r| r.ends_with(&format!("- {dev}"))).count();
    assert_eq!((subnet("eth0"), subnet("net0")), (1, 1));
    let via: Vec<String> = routes(&pod).into_iter().filter(|r| !r.contains(" - ")).collect();
    assert_eq!(via, ["10.244.0.0/16 10.244.1.1 eth0", "default 10.244.1.1 eth0"]);
    let said = "default route of net0 via 192.168.122.1 dropped: eth0 (flannel) already provides it";
    assert!(stderr.contains(said), "{stderr}");
    // Traffic: to the host's end of eth0, and by net0 to the other machine.
    pod.ns.sh("ping -c 1 -W 2 10.244.1.1");
    pod.ns.sh("ping -c 1 -W 2 -I net0 192.168.122.1");

    world.cni("multus", "CHECK", &pod, "eth0", &ARTICLE.replacen('{', r#"{"cniVersion": "0.4.0","#, 1)).unwrap();
    world.cni("multus", "DEL", &pod, "eth0", ARTICLE).unwrap();
    assert_eq!(pod.links(), ["lo"]);
    assert_eq!(world.everything(), before);
    world.cni("multus", "DEL", &pod, "eth0", ARTICLE).unwrap();
    assert_eq!(world.everything(), before);
}

#[test]
fn without_a_namespace_del_gives_back_what_is_on_the_host() {
    if !root() {
        return;
    }
    let world = World::new();
    let pod = Pod::new("c1");
    world.cni("plexus", "ADD", &pod, "eth0", ARTICLE).unwrap();
    world.cni("plexus", "DEL", &pod, "eth0", ARTICLE).unwrap();
    let before = world.everything();
    world.cni("plexus", "ADD", &pod, "eth0", ARTICLE).unwrap();
    let id = pod.id.clone();
    drop(pod);
    let path = world.bin();
    let env = [
        ("CNI_COMMAND", "DEL"),
        ("CNI_CONTAINERID", id.as_str()),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", path.to_str().unwrap()),
    ];
    let out = world.command("plexus-node", &["cni"], &env, ARTICLE);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    // The pod's links end with its namespace, which the kernel cleans up in its own time.
    let mut after = world.everything();
    for _ in 0..100 {
        if after == before {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        after = world.everything();
    }
    assert_eq!(after, before);
}

#[test]
fn a_failing_network_leaves_no_half_made_pod() {
    if !root() {
        return;
    }
    let world = World::new();
    let warm = Pod::new("warm");
    world.cni("multus", "ADD", &warm, "eth0", ARTICLE).unwrap();
    world.cni("multus", "DEL", &warm, "eth0", ARTICLE).unwrap();
    let before = world.everything();
    let pod = Pod::new("c1");
    let broken = ARTICLE.replace("\"eth0\"", "\"nowhere0\"");
    let error = world.cni("multus", "ADD", &pod, "eth0", &broken).unwrap_err();
    let message = error["msg"].as_str().unwrap();
    assert!(message.contains("network \"multus-demo-0\" interface net0") && message.contains("nowhere0"), "{error}");
    assert_eq!(pod.links(), ["lo"]);
    assert_eq!(world.everything(), before);

    pod.ns.sh("ip link add name net0 type bridge");
    let error = world.cni("multus", "ADD", &pod, "eth0", ARTICLE).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("net0 already exists"), "{error}");
    assert_eq!(pod.links(), ["lo", "net0"]);
    assert_eq!(world.everything(), before);
}

/// Only the plugin that is missing could undo what it was asked for: nothing is attached, nothing is recorded, and the DEL succeeds.
#[test]
fn a_missing_ipam_plugin_leaves_nothing_that_no_del_could_remove() {
    if !root() {
        return;
    }
    let world = World::new();
    let conf = r#"{"cniVersion": "1.0.0", "name": "n", "type": "multus", "delegates": [
        {"type": "flannel"}, {"type": "macvlan", "master": "eth0", "ipam": {"type": "no-such-ipam"}}]}"#;
    let before = world.everything();
    let pod = Pod::new("c1");
    let error = world.cni("multus", "ADD", &pod, "eth0", conf).unwrap_err();
    let message = error["msg"].as_str().unwrap();
    assert!(
        message.contains("\"ipam.type\"") && message.contains("no-such-ipam") && message.contains("net1"),
        "{error}"
    );
    assert_eq!(pod.links(), ["lo"]);
    world.cni("multus", "DEL", &pod, "eth0", conf).unwrap();
    assert_eq!(world.everything(), before);
}

#[test]
fn the_same_by_programs_instead_of_in_process() {
    if !root() {
        return;
    }
    let world = World::new();
    let conf = ARTICLE.replacen('{', r#"{"inProcess": "never","#, 1);
    let warm = Pod::new("warm");
    world.cni("multus", "ADD", &warm, "eth0", &conf).unwrap();
    world.cni("multus", "DEL", &warm, "eth0", &conf).unwrap();
    let before = world.everything();
    let pod = Pod::new("c1");
    let (result, _) = world.cni("multus", "ADD", &pod, "eth0", &conf).unwrap();
    assert_eq!(json!(addresses(&pod.link("eth0"), "inet")), json!([result["ip4"]["ip"]]));
    assert_eq!(pod.links(), ["lo", "eth0", "net0"]);
    assert_eq!(routes(&pod).iter().filter(|r| r.starts_with("default")).count(), 1);
    world.cni("multus", "DEL", &pod, "eth0", &conf).unwrap();
    assert_eq!(pod.links(), ["lo"]);
    assert_eq!(world.everything(), before);
}

#[test]
fn todays_form_keeps_both_default_routes_and_checks_and_collects() {
    if !root() {
        return;
    }
    let world = World::new();
    let conf = json!({
        "cniVersion": "1.1.0", "name": "today", "type": "multus",
        "delegates": [
            {"name": "default", "plugins": [{"type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
                "ipam": {"type": "host-local", "subnet": "10.88.0.0/24"}}]},
            {"name": "storage", "type": "macvlan", "master": "eth0",
                "ipam": {"type": "host-local", "subnet": "192.168.122.0/24", "gateway": "192.168.122.1", "routes": [{"dst": "0.0.0.0/0"}]}},
        ],
    });
    let text = conf.to_string();
    let gone = Pod::new("gone");
    world.cni("multus", "ADD", &gone, "eth0", &text).unwrap();
    let pod = Pod::new("pod-one");
    let (result, _) = world.cni("multus", "ADD", &pod, "eth0", &text).unwrap();
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["interfaces"].as_array().unwrap().iter().filter(|i| i["name"] == "eth0").count(), 1);
    assert_eq!(pod.links(), ["lo", "eth0", "net1"]);
    assert_eq!(routes(&pod).iter().filter(|r| r.starts_with("default")).count(), 2);
    world.cni("multus", "CHECK", &pod, "eth0", &text).unwrap();
    world.cni("multus", "STATUS", &pod, "", &text).unwrap();

    let mut gc = conf.clone();
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "pod-one", "ifname": "eth0"}]);
    world.cni("multus", "GC", &pod, "", &gc.to_string()).unwrap();
    assert!(world.everything().contains("pod-one") && !world.everything().contains("gone"));
    world.cni("multus", "CHECK", &pod, "eth0", &text).unwrap();

    pod.ns.sh("ip link set net1 down");
    pod.ns.sh("ip addr flush dev net1");
    let error = world.cni("multus", "CHECK", &pod, "eth0", &text).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("network \"storage\" interface net1"), "{error}");
    world.cni("multus", "DEL", &pod, "eth0", &text).unwrap();
    assert!(!world.everything().contains("pod-one"), "{}", world.everything());
}
