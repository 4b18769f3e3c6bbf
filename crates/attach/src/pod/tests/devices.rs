//! Networks with devices, of a node whose kubelet is a table.

use std::fs;

use super::*;
use crate::devices::{Allocated, Devices};

/// Kubelet and the claims' drivers.
#[derive(Default)]
pub(super) struct Node {
    kubelet: Allocated,
    claims: Allocated,
    away: bool,
    asked: RefCell<Vec<String>>,
}

impl Node {
    fn ask(&self, what: &str, pod: &PodId, uid: &str, answer: &Allocated) -> Result<Allocated> {
        self.asked.borrow_mut().push(format!("{what} {}/{} {uid}", pod.namespace, pod.name));
        if self.away { Err(Error::new(Code::TRY_AGAIN, "kubelet is away")) } else { Ok(answer.clone()) }
    }
}

impl Devices for Node {
    fn allocated(&self, pod: &PodId, uid: &str) -> Result<Allocated> {
        self.ask("kubelet", pod, uid, &self.kubelet)
    }

    fn claimed(&self, pod: &PodId, uid: &str) -> Result<Allocated> {
        self.ask("claims", pod, uid, &self.claims)
    }
}

/// A pod that asks for `networks`, each of the resource `x/vf` of which it has the devices.
fn world(networks: &str, devices: &[&str]) -> World {
    let mut world = World::networks(networks);
    world.define_with("prod/lan", r#"{"type": "sriov", "capabilities": {"deviceID": true}}"#, "x/vf");
    devices.iter().for_each(|d| world.devices.kubelet.insert("x/vf", *d));
    world
}

/// `deviceID pciBusID runtimeConfig.deviceID` of the calls of one command, by interface.
fn given(world: &World, command: Command) -> Vec<String> {
    let calls = world.plugins.whole.borrow();
    let text = |conf: &Json, key: &str| conf.get(key).and_then(Json::as_str).unwrap_or("-").to_owned();
    let calls = calls.iter().filter(|c| c.command == command && c.ifname != "eth0");
    calls
        .map(|c| {
            let runtime = c.conf.get("runtimeConfig").map_or("-".to_owned(), |r| text(r, "deviceID"));
            format!("{} {} {} {runtime}", c.ifname, text(&c.conf, "deviceID"), text(&c.conf, "pciBusID"))
        })
        .collect()
}

#[test]
fn each_network_gets_a_device_of_its_own_in_a_stable_order() {
    let world = world("lan,lan", &["0000:03:02.1", "0000:03:02.0", "0000:03:01.7"]);
    world.add().unwrap();
    let expected = ["net1 0000:03:01.7 0000:03:01.7 0000:03:01.7", "net2 0000:03:02.0 0000:03:02.0 0000:03:02.0"];
    assert_eq!(given(&world, Command::Add), expected);
    assert_eq!(*world.devices.asked.borrow(), ["kubelet prod/web u1"], "once for all networks");
    // What the DEL is to release is in the record, whatever kubelet says by then.
    world.run(Command::Del).unwrap();
    let mut deleted = given(&world, Command::Del);
    deleted.reverse();
    assert_eq!(deleted, expected);
    assert_eq!(world.devices.asked.borrow().len(), 1);
}

#[test]
fn kubelet_is_not_asked_without_need() {
    let mut world = World::networks("lan");
    world.devices.away = true;
    world.add().unwrap();
    assert!(world.devices.asked.borrow().is_empty());
}

#[test]
fn a_plugin_that_declares_nothing_has_the_device_in_its_configuration() {
    let mut world = world("lan", &["d0"]);
    world.define_with(
        "prod/lan",
        r#"{"cniVersion": "1.0.0", "plugins": [{"type": "sriov"}, {"type": "tuning"}]}"#,
        "x/vf",
    );
    world.add().unwrap();
    assert_eq!(given(&world, Command::Add), ["net1 d0 d0 -", "net1 d0 d0 -"]);
}

#[test]
fn default_and_configured_networks_share_the_allocator() {
    let mut world = world("lan", &["d0", "d1", "d2"]);
    world.define_with("kube-system/first", r#"{"type": "sriov"}"#, "x/vf");
    world.define_with("kube-system/more", r#"{"type": "sriov"}"#, "x/vf");
    world.conf.remove("delegates");
    world.conf.set("clusterNetwork", "first");
    world.conf.set("defaultNetworks", vec![Json::from("more")]);
    world.add().unwrap();
    let calls = world.plugins.whole.borrow();
    let got: Vec<String> =
        calls.iter().map(|c| format!("{} {}", c.ifname, c.conf.get("deviceID").unwrap().as_str().unwrap())).collect();
    assert_eq!(got, ["eth0 d0", "net1 d1", "net2 d2"]);
}

#[test]
fn a_replaced_default_network_takes_no_device() {
    let mut world = World::new(&[("v1.multus-cni.io/default-network", "prod/lan")]);
    world.define_with("prod/lan", r#"{"type": "sriov"}"#, "x/vf");
    world.define_with("kube-system/first", r#"{"type": "sriov"}"#, "x/vf");
    world.devices.kubelet.insert("x/vf", "d0");
    world.conf.remove("delegates");
    world.conf.set("clusterNetwork", "first");
    world.add().unwrap();
    assert_eq!(world.plugins.whole.borrow()[0].conf.get("deviceID"), Some(&Json::from("d0")));
}

#[test]
fn too_few_devices_are_an_error_that_says_how_many() {
    let mut world = world("lan,lan,lan", &["d0", "d1"]);
    let message = world.refused();
    assert!(message.contains("\"x/vf\"") && message.contains("request 3"), "{message}");
    world.conf.set("missingDevice", "ignore");
    world.add().unwrap();
    assert_eq!(given(&world, Command::Add), ["net1 d0 d0 d0", "net2 d1 d1 d1", "net3 - - -"]);
}

#[test]
fn an_unknown_resource_is_looked_for_in_the_claims_and_named() {
    let mut world = world("lan", &[]);
    world.devices.kubelet.insert("y/other", "e0");
    let message = world.refused();
    assert!(message.contains("\"x/vf\"") && message.contains("devices of y/other"), "{message}");
    assert_eq!(*world.devices.asked.borrow(), ["kubelet prod/web u1", "claims prod/web u1"]);
    world.devices.claims.insert("x/vf", "d9");
    world.add().unwrap();
    assert_eq!(given(&world, Command::Add), ["net1 d9 d9 d9"]);
}

#[test]
fn kubelet_away_fails_before_anything_is_attached() {
    let mut world = world("lan", &["d0"]);
    world.devices.away = true;
    let error = world.add().unwrap_err();
    assert_eq!(error.code, Code::TRY_AGAIN);
    assert!(error.message.contains("network \"lan\""), "{error}");
    assert!(world.plugins.take().is_empty());
}

#[test]
fn a_static_pods_devices_are_those_of_the_kubelets_uid() {
    let mut world = world("lan", &["d0"]);
    let pod = world.table.pods.get_mut("prod/web").unwrap();
    pod.annotations.insert("kubernetes.io/config.source".into(), "file".into());
    let mut call = call(Command::Add, &world.conf);
    call.args.push_str(";K8S_POD_UID=u0");
    world.run_call(&call).unwrap();
    assert_eq!(*world.devices.asked.borrow(), ["kubelet prod/web u0"]);
}

/// Files in the attachments' directory.
fn files(world: &World) -> Vec<String> {
    let dir = fs::read_dir(world.dir.path().join("devinfo/cni"));
    dir.into_iter().flatten().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn publish(world: &World, device: &str, info: &str) {
    let dp = world.dir.path().join("devinfo/dp");
    fs::create_dir_all(&dp).unwrap();
    fs::write(dp.join(format!("x-vf-{device}-device.json")), info).unwrap();
}

const INFO: &str = r#"{"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:03:02.0"}}"#;

#[test]
fn device_information_reaches_plugin_and_status_and_goes_with_the_attachment() {
    let mut world = world("lan", &["d0"]);
    world.define_with("prod/lan", r#"{"type": "sriov", "capabilities": {"CNIDeviceInfoFile": true}}"#, "x/vf");
    publish(&world, "d0", INFO);
    let copy = world.dir.path().join("devinfo/cni/prod-lan-c1_net1");
    world.plugins.before = Some(Box::new({
        let copy = copy.clone();
        move |call: &Call| {
            if call.ifname == "net1" {
                let told = call.conf.get("runtimeConfig").unwrap().get("CNIDeviceInfoFile").unwrap();
                assert_eq!(told.as_str(), copy.to_str());
                assert_eq!(
                    fs::read_to_string(&copy).unwrap(),
                    INFO,
                    "there before and during {}",
                    call.command.as_str()
                );
            }
        }
    }));
    world.add().unwrap();
    assert_eq!(world.status()[1]["device-info"], serde_json::from_str::<serde_json::Value>(INFO).unwrap());
    assert!(world.status()[0].get("device-info").is_none());
    world.run(Command::Del).unwrap();
    assert!(files(&world).is_empty());
}

#[test]
fn information_that_a_plugin_writes_itself_is_reported_too() {
    let mut world = World::networks("lan");
    world.define("prod/lan", r#"{"type": "userspace", "capabilities": {"CNIDeviceInfoFile": true}}"#);
    world.plugins.before = Some(Box::new(|call: &Call| {
        if call.ifname == "net1" && call.command == Command::Add {
            let file = call.conf.get("runtimeConfig").unwrap().get("CNIDeviceInfoFile").unwrap().as_str().unwrap();
            fs::create_dir_all(std::path::Path::new(file).parent().unwrap()).unwrap();
            fs::write(file, r#"{"type": "memif", "version": "1.1.0"}"#).unwrap();
        }
    }));
    world.add().unwrap();
    assert_eq!(world.status()[1]["device-info"]["type"], "memif");
    world.run(Command::Del).unwrap();
    assert!(files(&world).is_empty());
}

#[test]
fn unreadable_information_is_left_out() {
    let world = world("lan", &["d0"]);
    publish(&world, "d0", "[]");
    world.add().unwrap();
    assert!(world.status()[1].get("device-info").is_none());
}

#[test]
fn a_failed_add_leaves_no_information_behind() {
    let world = world("lan,lan", &["d0", "d1"]);
    publish(&world, "d0", INFO);
    publish(&world, "d1", INFO);
    world.plugins.fail("ADD sriov net2", 999);
    world.add().unwrap_err();
    assert!(files(&world).is_empty(), "{:?}", files(&world));
}

#[test]
fn what_a_killed_add_left_is_removed() {
    let world = world("lan", &["d0"]);
    publish(&world, "d0", INFO);
    world.plugins.fail("ADD sriov", 999);
    world.plugins.fail("DEL sriov", 999);
    world.add().unwrap_err();
    // Killed while it wrote: the temporary file is there, too.
    fs::write(world.dir.path().join("devinfo/cni/.prod-lan-c1_net1.tmp"), "{").unwrap();
    assert_eq!(files(&world).len(), 2, "kept while the DEL has not succeeded");
    world.plugins.heal();
    world.run(Command::Del).unwrap();
    assert!(files(&world).is_empty(), "{:?}", files(&world));
}

#[test]
fn a_file_elsewhere_is_not_ours_to_remove() {
    let world = World::networks("lan");
    let precious = world.dir.path().join("precious");
    fs::write(&precious, "").unwrap();
    let mut runtime = Json::object();
    runtime.set("CNIDeviceInfoFile", precious.display().to_string());
    let mut conf = world.conf.clone();
    conf.set("runtimeConfig", runtime);
    world.run_call(&call(Command::Add, &conf)).unwrap();
    world.run(Command::Del).unwrap();
    assert!(precious.exists());
}
