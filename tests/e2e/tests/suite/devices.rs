//! Devices of networks with a real kubelet: a device plugin and a DRA driver of the test's, whose devices are only names (docs/devices.md).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use e2e::{Pod, Recorder, Test, definition, eventually, run};
use serde_json::{Value, json};

const RESOURCE: &str = "plexus.test/nic";
const DRIVER: &str = "nic.plexus.test";

/// The program `device-plugin` of testkit on a node, until this is dropped.
struct Plugin<'a> {
    test: &'a Test,
    node: String,
    pid: String,
    log: PathBuf,
}

impl<'a> Plugin<'a> {
    /// Starts it and waits until it has said `ready`.
    fn start(test: &'a Test, node: &str, arguments: &str, ready: &str) -> Plugin<'a> {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "-p", "plexus-testkit", "--bin", "device-plugin", "--message-format=json"]);
        let built = run(build.current_dir(env!("CARGO_MANIFEST_DIR")), "").unwrap();
        let messages = built.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let program =
            messages.filter_map(|m| m["executable"].as_str().map(str::to_owned)).next_back().expect("a program");
        let log = test.nodes().dir(node, "run").join("e2e-device-plugin.log");
        let line = format!("{program} {arguments} </dev/null >/run/e2e-device-plugin.log 2>&1 & echo $!");
        let pid = test.nodes().sh(node, &line).trim().to_owned();
        let plugin = Plugin { test, node: node.to_owned(), pid, log };
        eventually("kubelet knows the plugin", || {
            let said = fs::read_to_string(&plugin.log).map_err(|e| e.to_string())?;
            if said.contains(ready) { Ok(()) } else { Err(said) }
        });
        plugin
    }
}

impl Drop for Plugin<'_> {
    fn drop(&mut self) {
        let _ = self.test.nodes().try_sh(&self.node, &format!("kill {}", self.pid));
        let _ = fs::remove_file(&self.log);
    }
}

/// The device plugin with two devices that the node offers.
fn two_devices<'a>(test: &'a Test, node: &str) -> Plugin<'a> {
    let arguments = format!(
        "--resource {RESOURCE} --device 0000:d8:00.3 --device 0000:d8:00.2 --device-info-dir /run/k8s.cni.cncf.io/devinfo"
    );
    let plugin = Plugin::start(test, node, &arguments, "ready");
    let path = format!("jsonpath={{.status.allocatable.{}}}", RESOURCE.replace('.', "\\."));
    eventually("the node offers two devices", || match test.kubectl(&["get", "node", node, "-o", &path]).trim() {
        "2" => Ok(()),
        other => Err(other.to_owned()),
    });
    plugin
}

/// A network with devices: macvlan, and the recorder, which wants to know them.
fn network(name: &str, resource: &str, subnet: &str) -> Value {
    let mut object = definition(
        name,
        &json!({"cniVersion": "1.0.0", "name": name, "plugins": [
            {"type": "macvlan", "ipam": {"type": "host-local", "subnet": subnet}},
            {"type": "e2e-recorder", "capabilities": {"deviceID": true, "CNIDeviceInfoFile": true}}]}),
    );
    object["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/resourceName": resource});
    object
}

/// A pod whose container asks for devices.
fn pod(name: &str, node: &str, networks: &str, count: u32) -> Value {
    let mut pod = Pod::new(name).on(node).networks(networks).manifest();
    if count > 0 {
        pod["spec"]["containers"][0]["resources"] = json!({"limits": {RESOURCE: count.to_string()}});
    }
    pod
}

/// The device that a network's plugins got, everywhere that it must be.
fn device_of(recorder: &Recorder, command: &str, network: &str) -> String {
    let conf = &recorder.call(command, network)["conf"];
    let device = conf["deviceID"].as_str().unwrap_or_else(|| panic!("{command}: no device in {conf:#}"));
    assert_eq!(conf["pciBusID"], device, "{conf:#}");
    assert_eq!(conf["runtimeConfig"]["deviceID"], device, "{conf:#}");
    device.to_owned()
}

#[test]
fn two_networks_get_the_two_devices() {
    let Some(test) = Test::on_nodes("devices") else { return };
    let node = &test.node_names()[0];
    let recorder = Recorder::new(&test, node);
    let _plugin = two_devices(&test, node);
    test.apply(&[network("first", RESOURCE, "10.254.1.0/24"), network("second", RESOURCE, "10.254.2.0/24")]);

    // Kubelet offers them to the scheduler, but this pod asks for none.
    test.apply(&[pod("forgot", node, "first", 0)]);
    let message = test.event("forgot", "FailedCreatePodSandBox", &format!("no device of resource \"{RESOURCE}\""));
    assert!(message.contains("request"), "says what to do: {message}");
    // And this one for one too few.
    test.apply(&[pod("too-few", node, "first,second", 1)]);
    test.event("too-few", "FailedCreatePodSandBox", "the pod has 1");
    test.delete_all();
    recorder.forget();

    let before = test.nodes().traces();
    test.apply(&[pod("web", node, "first@one0,second@two0", 2)]);
    test.ready("web");
    let devices = ["first", "second"].map(|network| device_of(&recorder, "ADD", network));
    assert_eq!(devices, ["0000:d8:00.2", "0000:d8:00.3"], "in the order of their names, whatever order kubelet has");
    let status = test.status("web");
    for (interface, device) in [("one0", &devices[0]), ("two0", &devices[1])] {
        let entry = status.iter().find(|e| e["interface"] == interface).unwrap_or_else(|| panic!("{status:#?}"));
        assert_eq!(entry["device-info"]["pci"]["pci-address"], device.as_str(), "{entry:#}");
    }
    // The pod's container that kubelet gave them to may be made anew: the devices stay with their networks, and DEL gets them again.
    test.delete_all();
    assert_eq!(["first", "second"].map(|network| device_of(&recorder, "DEL", network)), devices);
    test.nodes().as_before(&before);
    let left = test.nodes().sh(node, "ls /run/k8s.cni.cncf.io/devinfo/cni");
    assert_eq!(left, "", "device information goes with its attachment");
    test.nodes().sh(node, "rm -r /run/k8s.cni.cncf.io");
}

/// Kubelet's checkpoint, which it writes for itself, stands in for a socket that is not there.
#[test]
fn the_checkpoint_stands_in_for_the_socket() {
    let Some(test) = Test::on_nodes("checkpoint") else { return };
    let node = &test.node_names()[0];
    let recorder = Recorder::new(&test, node);
    let _plugin = two_devices(&test, node);
    test.apply(&[network("first", RESOURCE, "10.254.3.0/24")]);
    let socket = "/var/lib/kubelet/pod-resources/kubelet.sock";
    test.nodes().sh(node, &format!("mv {socket} {socket}.away"));
    test.apply(&[pod("web", node, "first@one0", 1)]);
    // Without a panic in between: the socket is put back whatever comes.
    let came = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test.ready("web")));
    test.nodes().sh(node, &format!("mv {socket}.away {socket}"));
    assert!(came.is_ok(), "the pod is not ready");
    assert!(device_of(&recorder, "ADD", "first").starts_with("0000:d8:00."));
    let log = test.nodes().sh(node, "cat /run/plexus.log");
    assert!(log.contains("kubelet_internal_checkpoint"), "says so: {log}");
    // While the recorder, which every DEL runs, is still there.
    test.delete_all();
}

/// A claim of Dynamic Resource Allocation: the scheduler chooses the device, the driver's slice says what it is to networks.
#[test]
fn a_claim_gives_the_device_that_the_scheduler_chose() {
    let Some(test) = Test::on_nodes("claims") else { return };
    let node = &test.node_names()[0];
    let recorder = Recorder::new(&test, node);
    let _driver = Plugin::start(&test, node, &format!("--dra-driver {DRIVER}"), "registered: true");
    let attribute = |text: &str| json!({"string": text});
    let device = |name: &str, id: &str, resource: &str| {
        json!({"name": name, "attributes": {"k8s.cni.cncf.io/deviceID": attribute(id), "k8s.cni.cncf.io/resourceName": attribute(resource),
            "kind": attribute(name)}})
    };
    let cluster_wide = [
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": DRIVER},
            "spec": {"selectors": [{"cel": {"expression": format!("device.driver == '{DRIVER}'")}}]}}),
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": format!("e2e-{node}")},
            "spec": {"driver": DRIVER, "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
                "devices": [device("a", "0000:3b:00.1", "plexus.test/other"), device("b", "0000:3b:00.2", "plexus.test/dra")]}}),
    ];
    test.apply(&cluster_wide);
    let expression = format!("device.attributes['{DRIVER}'].kind == 'b'");
    test.apply(&[
        network("claimed", "plexus.test/dra", "10.254.4.0/24"),
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "nic"},
            "spec": {"devices": {"requests": [{"name": "nic", "exactly": {"deviceClassName": DRIVER,
                "selectors": [{"cel": {"expression": expression}}]}}]}}}),
    ]);
    let mut pod = pod("web", node, "claimed@dra0", 0);
    pod["spec"]["resourceClaims"] = json!([{"name": "card", "resourceClaimName": "nic"}]);
    pod["spec"]["containers"][0]["resources"] = json!({"claims": [{"name": "card"}]});
    test.apply(&[pod]);
    test.ready("web");
    assert_eq!(device_of(&recorder, "ADD", "claimed"), "0000:3b:00.2");
    assert!(test.addresses("web")["dra0"][0].starts_with("10.254.4."));
    test.delete_all();
    assert_eq!(device_of(&recorder, "DEL", "claimed"), "0000:3b:00.2");
    // Kubelet removes the slices of a driver that has gone, but not at once.
    test.kubectl(&["delete", "resourceslice", &format!("e2e-{node}")]);
    test.kubectl(&["delete", "deviceclass", DRIVER]);
}
