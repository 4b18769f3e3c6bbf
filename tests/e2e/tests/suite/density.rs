//! Many pods at once.

use e2e::{Pod, Test, within};
use kube::ResourceExt;
use serde_json::json;
use std::time::Duration;

/// 60 pods per node are made at once and removed at once: none fails, none shares an address, nothing is left.
#[test]
fn sixty_pods_per_node_come_and_go_at_once() {
    let Some(test) = Test::on_nodes("density") else { return };
    let before = test.nodes().traces();
    let nodes = test.node_names();
    let count = 60 * nodes.len();
    let labels = json!({"app": "many"});
    let mut template = Pod::new("many").template(&labels);
    // Evenly: 60 each.
    template["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels}}]);
    test.apply(&[json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "many"},
                        "spec": {"replicas": count, "selector": labels, "template": template}})]);
    let pods = within(Duration::from_secs(600), "all are ready", || {
        let ready = test.kubectl(&["get", "replicationcontroller", "many", "-o", "jsonpath={.status.readyReplicas}"]);
        if ready == count.to_string() { Ok(test.all_ready(count)) } else { Err(format!("{ready} of {count}")) }
    });
    let mut addresses: Vec<String> =
        pods.iter().filter_map(|p| p.status.as_ref()?.pod_ip.clone()).filter(|ip| ip.starts_with("10.244.")).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), count);
    // Each has its macvlan interface: seen from the nodes, all net0 addresses at once.
    for node in &nodes {
        let all = test.nodes().sh(
            node,
            "for n in $(ls /run/netns); do ip -n $n -o -4 addr show dev net0 | awk '{ print $4 }'; done | sort | uniq | wc -l",
        );
        assert_eq!(all.trim(), "60", "{node}");
    }
    assert_eq!(test.failed_sandboxes(), [""; 0]);
    let one = pods[0].name_any();
    assert_eq!(test.addresses(&one).len(), 3);

    test.kubectl(&["delete", "replicationcontroller", "many", "--wait=false"]);
    within(Duration::from_secs(300), "all are gone", || {
        let left = test.kubectl(&["get", "pods", "-o", "name"]).lines().count();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    });
    test.nodes().as_before(&before);
}
