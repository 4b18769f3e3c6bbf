//! What is printed when a test fails: enough to understand it without running it again.

use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::{Nodes, run};

/// Prints the namespace's pods and events, the network of each pod from inside and of its node, and Plexus's logs.
pub(crate) fn print(namespace: &str, pods: &[Pod], nodes: Option<&Nodes>) {
    eprintln!("===== diagnostics of namespace {namespace}");
    show("pods", kubectl(&["-n", namespace, "get", "pods", "-o", "wide"]));
    let events = kubectl(&["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"]);
    show("the last events", events.map(|all| last(&all, 40)));
    // Of many pods the ones that are in trouble, and few of them.
    let (ready, troubled): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|p| crate::test::is_ready(p));
    for pod in troubled.into_iter().chain(ready).take(4) {
        let name = pod.name_any();
        show(&format!("{name}: annotations"), Ok(format!("{:#?}", pod.annotations())));
        let inside = ["-n", namespace, "exec", &name, "--", "sh", "-c", "ip addr; ip route; ip -6 route"];
        show(&format!("{name}: its network"), kubectl(&inside));
    }
    show("Plexus's pods", kubectl(&["-n", "kube-system", "get", "pods", "-o", "wide"]));
    for label in ["app=multus", "app.kubernetes.io/name=plexus-node"] {
        let logs = ["-n", "kube-system", "logs", "-l", label, "--prefix", "--all-containers", "--tail=30"];
        show(&format!("their logs ({label})"), kubectl(&logs));
    }
    for node in nodes.iter().flat_map(|n| &n.names) {
        if let Some(nodes) = nodes {
            show(&format!("{node}: its network"), nodes.try_sh(node, "ip -br link; ip -br addr; ip route"));
            show(&format!("{node}: Plexus's log"), nodes.try_sh(node, "tail -n 40 /run/plexus.log"));
        }
    }
}

fn last(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn show(what: &str, said: Result<String, String>) {
    let text = said.unwrap_or_else(|e| e);
    eprintln!("----- {what}\n{}", text.trim_end());
}

fn kubectl(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("kubectl").arg("--request-timeout=10s").args(arguments), "")
}
