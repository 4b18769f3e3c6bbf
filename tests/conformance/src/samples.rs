//! Configurations that the crash, parallel and hostile tests share.

use serde_json::{Value, json};

use crate::World;

/// What `flannel+macvlan` needs on a host: a parent on a network, flanneld's file. State goes below the world's directory.
///
/// # Panics
/// If the world cannot be made.
pub fn host(world: &World) {
    world.host.sh("ip link add eth9 type veth peer name eth9p");
    world.host.sh("ip link set eth9 up");
    world.host.sh("ip link set eth9p up");
    let env = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
    std::fs::write(world.dir().join("subnet.env"), env).unwrap();
}

/// The article's pair: flannel for `eth0`, macvlan for `net0`, in the form of 2017.
#[must_use]
pub fn article(world: &World) -> Value {
    let dir = world.dir().display();
    json!({
        "name": "multus-demo", "type": "multus", "cniDir": format!("{dir}/multus"), "delegates": [
            { "type": "macvlan", "master": "eth9", "mode": "bridge",
              "ipam": { "type": "host-local", "dataDir": format!("{dir}/ipam"), "subnet": "192.168.122.0/24",
                        "rangeStart": "192.168.122.100", "rangeEnd": "192.168.122.216",
                        "routes": [{ "dst": "0.0.0.0/0" }], "gateway": "192.168.122.1" } },
            { "type": "flannel", "masterplugin": true, "subnetFile": format!("{dir}/subnet.env"),
              "dataDir": format!("{dir}/flannel"), "ipam": { "dataDir": format!("{dir}/ipam") },
              "delegate": { "bridge": "br9", "isDefaultGateway": true } }] })
}

/// A bridge with a gateway address, masquerading by `backend`, addresses from host-local.
#[must_use]
pub fn bridge(world: &World, backend: &str) -> Value {
    let dir = world.dir().display();
    json!({
        "cniVersion": "1.1.0", "name": "masq", "type": "bridge", "bridge": "br9", "isDefaultGateway": true,
        "ipMasq": true, "ipMasqBackend": backend,
        "ipam": { "type": "host-local", "dataDir": format!("{dir}/ipam"), "subnet": "10.1.2.0/24" } })
}

/// [`bridge`] by nf_tables, with the pod's MAC address enforced.
#[must_use]
pub fn spoof_checked(world: &World) -> Value {
    with(bridge(world, "nftables"), "macspoofchk", json!(true))
}

/// [`bridge`] by nf_tables, with an IPv4 and an IPv6 address.
#[must_use]
pub fn dual_stack(world: &World) -> Value {
    let ranges = json!([[{ "subnet": "10.1.2.0/24" }], [{ "subnet": "fd00:1:2::/64" }]]);
    let ipam = json!({ "type": "host-local", "dataDir": world.dir().join("ipam"), "ranges": ranges });
    with(bridge(world, "nftables"), "ipam", ipam)
}

/// The meta-plugin with one network of two plugins.
#[must_use]
pub fn chain(world: &World) -> Value {
    let plugins = json!([dual_stack(world), { "type": "loopback" }]);
    json!({
        "cniVersion": "1.1.0", "name": "chained", "type": "multus", "cniDir": world.dir().join("multus"),
        "delegates": [{ "cniVersion": "1.1.0", "name": "pods", "plugins": plugins }] })
}

/// [`article`], whose delegates are programs.
#[must_use]
pub fn executed(world: &World) -> Value {
    with(article(world), "inProcess", json!("never"))
}

fn with(mut conf: Value, key: &str, value: Value) -> Value {
    conf[key] = value;
    conf
}
