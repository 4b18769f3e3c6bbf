//! The article, step by step: two nginx pods with lo, eth0 (flannel) and net0 (macvlan on the node's network).

use std::net::IpAddr;
use std::process::Command;

use e2e::{Test, eventually, get, run};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

/// The article's nginx_pod.yaml.
fn nginx(replicas: u32) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "nginx"},
        "spec": {"replicas": replicas, "selector": {"app": "nginx"},
                 "template": e2e::Pod::new("nginx").template(&json!({"app": "nginx"}))},
    })
}

fn pod_ip(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|s| s.pod_ip.clone()).unwrap_or_default()
}

#[test]
fn two_pods_have_lo_eth0_and_net0_answer_on_both_and_leave_nothing() {
    let Some(test) = Test::on_nodes("article") else { return };
    // kubectl get pods --all-namespaces: the article's DaemonSet, by `make e2e` from deploy/article.
    let daemons =
        run(Command::new("kubectl").args(["-n", "kube-system", "get", "pods", "-l", "app=multus"]), "").unwrap();
    let running = daemons.lines().filter(|l| l.split_whitespace().skip(1).take(2).eq(["2/2", "Running"])).count();
    assert_eq!(running, test.node_names().len(), "{daemons}");
    // ls /etc/cni/net.d: before the article there was nothing.
    for node in test.node_names() {
        assert_eq!(test.nodes().sh(&node, "ls /etc/cni/net.d").trim(), "10-multus.conf\nmultus.d");
    }

    let before = test.nodes().traces();
    test.apply(&[nginx(2)]);
    let pods = test.all_ready(2);
    for pod in &pods {
        let name = pod.name_any();
        // kubectl exec nginx-... -it ip addr
        let addresses = test.addresses(&name);
        let mut interfaces: Vec<&String> = addresses.keys().collect();
        interfaces.sort();
        assert_eq!(interfaces, ["eth0", "lo", "net0"]);
        assert_eq!(addresses["net0"].len(), 1, "{addresses:?}");
        assert!(addresses["net0"][0].starts_with("10.99.0."), "{addresses:?}");
        // kubectl describe pod nginx-... | grep ^IP
        let described = test.kubectl(&["describe", "pod", &name]);
        let ip = described.lines().find_map(|l| l.strip_prefix("IP:")).map(str::trim).unwrap_or_default();
        assert_eq!(addresses["eth0"], [format!("{ip}/24")]);
        assert!(ip.starts_with("10.244."), "{described}");
        assert_eq!(ip, pod_ip(pod));
        // The default route is flannel's, the one of net0 was dropped.
        let routes = test.exec(&name, "ip route | grep ^default");
        assert_eq!(routes.lines().count(), 1, "{routes}");
        assert!(routes.contains("dev eth0"), "{routes}");
        // From the virtual machine host: curl -s http://... | grep -i thank
        let page = eventually("the page over net0", || get(test.address(&name, "net0"), 80));
        assert!(page.contains("Thank you for using nginx."), "{page}");
    }
    let nets: Vec<IpAddr> = pods.iter().map(|p| test.address(&p.name_any(), "net0")).collect();
    assert_ne!(nets[0], nets[1]);
    test.delete_all();
    test.nodes().as_before(&before);
    assert_eq!(test.failed_sandboxes(), [""; 0]);
}
