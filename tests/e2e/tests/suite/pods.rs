//! Pods across nodes, and pods that come again under the same name.

use e2e::{Pod, Test, eventually};
use serde_json::json;

/// Every pod reaches every other one by both networks.
#[test]
fn pods_on_all_nodes_reach_each_other_by_both_networks() {
    let Some(test) = Test::new("across-nodes") else { return };
    let nodes = test.node_names();
    let names: Vec<String> = (0..nodes.len()).map(|i| format!("web-{i}")).collect();
    for (name, node) in names.iter().zip(&nodes) {
        test.create(&Pod::new(name).on(node));
    }
    test.all_ready(nodes.len());
    for from in &names {
        for to in names.iter().filter(|to| *to != from) {
            for (interface, source) in [("eth0", "eth0"), ("net0", "net0")] {
                let address = test.address(to, interface);
                let ping = format!("ping -c 1 -W 2 -I {source} {address}");
                eventually(&format!("{from} reaches {to} by {interface}"), || test.try_exec(from, &ping));
            }
        }
    }
}

/// A StatefulSet's pod is made again under its name while its predecessor's sandbox is still being removed.
#[test]
fn a_statefulset_pod_comes_again_under_the_same_name() {
    let Some(test) = Test::new("same-name") else { return };
    let labels = json!({"app": "db"});
    test.apply(&[json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"replicas": 1, "serviceName": "db", "selector": {"matchLabels": labels}, "template": Pod::new("db").template(&labels)},
    })]);
    let mut seen = vec![test.ready("db-0").metadata.uid];
    for _ in 0..3 {
        test.kubectl(&["delete", "pod", "db-0", "--wait=false"]);
        let uid = eventually("another db-0 is ready", || {
            let pod = test.get("db-0")?.ok_or("gone")?;
            let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
            let ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
            let new = !seen.contains(&pod.metadata.uid);
            if ready && new { Ok(pod.metadata.uid) } else { Err(format!("ready: {ready}, new: {new}")) }
        });
        seen.push(uid);
        assert_eq!(test.addresses("db-0").len(), 3);
    }
    assert_eq!(test.failed_sandboxes(), [""; 0]);
}

/// A static pod, which the kubelet makes from a file, has its networks too, and they go with the file.
#[test]
fn a_static_pod_has_its_networks() {
    let Some(test) = Test::on_nodes("static-pod") else { return };
    let node = &test.node_names()[0];
    let before = test.nodes().traces();
    let mut manifest = Pod::new("static").manifest();
    manifest["metadata"]["namespace"] = json!(test.namespace);
    let file = test.nodes().dir(node, "manifests").join("static.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    let name = format!("static-{node}");
    test.ready(&name);
    let addresses = test.addresses(&name);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    test.none_left();
    test.nodes().as_before(&before);
}
