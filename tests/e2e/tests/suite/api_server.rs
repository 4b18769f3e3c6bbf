//! The API server is away, or what a pod was made from is: nothing is lost, nothing is a false success.

use std::path::PathBuf;

use e2e::{Pod, Test, definition, eventually};
use serde_json::{Value, json};

fn blue() -> Value {
    let config =
        json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.220.1.0/24"}});
    definition("blue", &config)
}

/// The API server, stopped until this is dropped.
struct Away<'a>(&'a Test);

impl<'a> Away<'a> {
    fn new(test: &'a Test) -> Away<'a> {
        test.nodes().cluster(&["stop", "api", "-KILL"]);
        Away(test)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.0.nodes().cluster(&["start", "api"]);
        eventually("the API server is back", || self.0.try_kubectl(&["get", "--raw", "/readyz"], ""));
    }
}

/// What runs on a node: a line for each container, sandboxes included.
fn running(test: &Test, node: &str) -> String {
    test.nodes().sh(node, "ctr -n k8s.io tasks ls -q | sort")
}

/// Makes a static pod, which the kubelet starts and ends without asking anyone, and returns its file.
fn static_pod(test: &Test, node: &str, pod: &Pod) -> PathBuf {
    let mut manifest = pod.manifest();
    manifest["metadata"]["namespace"] = json!(test.namespace);
    let file = test.nodes().dir(node, "manifests").join("e2e.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    file
}

/// The pod's networks go while the API server is away.
#[test]
fn a_pod_ends_while_the_api_server_is_away() {
    let Some(test) = Test::on_nodes("api-del") else { return };
    let before = test.nodes().traces();
    let node = &test.node_names()[0];
    let file = static_pod(&test, node, &Pod::new("web"));
    test.ready(&format!("web-{node}"));
    assert_ne!(test.nodes().traces(), before);
    {
        let _away = Away::new(&test);
        std::fs::remove_file(&file).unwrap();
        test.nodes().as_before(&before);
    }
    test.none_left();
}

#[test]
fn a_pod_begins_while_the_api_server_is_away() {
    let Some(test) = Test::on_nodes("api-add") else { return };
    test.apply(&[blue()]);
    let node = &test.node_names()[0];
    let before = running(&test, node);
    let file;
    {
        let _away = Away::new(&test);
        file = static_pod(&test, node, &Pod::new("web").networks("blue@blue0"));
        // It must not come up without the network that it asks for.
        std::thread::sleep(std::time::Duration::from_secs(10));
        assert_eq!(running(&test, node), before, "no container runs");
    }
    let name = format!("web-{node}");
    test.ready(&name);
    let addresses = test.addresses(&name);
    std::fs::remove_file(&file).unwrap();
    assert!(addresses["blue0"][0].starts_with("10.220.1."), "{addresses:?}");
    test.none_left();
}

/// A runtime may be late: the pod of that name is another one by now, or there is none. Neither gets a network.
#[test]
fn a_call_for_a_pod_that_was_replaced_or_is_gone() {
    let Some(test) = Test::on_nodes("replaced") else { return };
    let node = &test.node_names()[0];
    test.start(&Pod::new("web").on(node));
    let before = test.nodes().traces();
    for (pod, why) in [("web", "UID"), ("nobody", "nobody")] {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=replaced;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID=e2e;K8S_POD_UID=another"
        );
        // As the runtime calls, with the node's own configuration.
        let call = format!(
            "ip netns add e2e
             CNI_COMMAND=ADD CNI_CONTAINERID=e2e CNI_NETNS=/run/netns/e2e CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin CNI_ARGS='{args}' \
                 /opt/cni/bin/multus </etc/cni/net.d/10-multus.conf && echo SUCCESS
             ip netns del e2e"
        );
        let said = test.nodes().sh(node, &call);
        assert!(said.contains("\"code\"") && said.contains(why) && !said.contains("SUCCESS"), "{said}");
    }
    assert_eq!(test.nodes().traces(), before);
}

#[test]
fn a_definition_is_deleted_before_its_pod() {
    let Some(test) = Test::on_nodes("no-definition") else { return };
    let before = test.nodes().traces();
    test.apply(&[blue()]);
    test.start(&Pod::new("web").networks("blue@blue0"));
    test.kubectl(&["delete", "net-attach-def", "blue"]);
    test.delete_all();
    test.nodes().as_before(&before);
}

/// An eviction or `--force` removes the pod from the API server first.
#[test]
fn a_pod_is_deleted_by_force() {
    let Some(test) = Test::on_nodes("by-force") else { return };
    let before = test.nodes().traces();
    test.apply(&[blue()]);
    test.start(&Pod::new("web").networks("blue@blue0"));
    test.kubectl(&["delete", "pod", "web", "--force", "--grace-period=0"]);
    test.nodes().as_before(&before);
}
