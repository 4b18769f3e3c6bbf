//! Access to the nodes of the cluster that `make e2e` makes. On any other cluster there is none.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{eventually, run};

/// The nodes of our own cluster.
#[derive(Debug)]
pub struct Nodes {
    script: PathBuf,
    state: PathBuf,
    /// Their names.
    pub names: Vec<String>,
}

impl Nodes {
    /// The nodes, where `make e2e` has made the cluster.
    pub(crate) fn find() -> Option<Nodes> {
        let script = PathBuf::from(std::env::var_os("PLEXUS_E2E_CLUSTER")?);
        let state = PathBuf::from(std::env::var_os("CLUSTER")?);
        let entries = std::fs::read_dir(&state).ok()?.filter_map(|e| e.ok()?.file_name().into_string().ok());
        let number = |name: &str| name.strip_prefix('n').and_then(|n| n.parse::<u32>().ok());
        let mut names: Vec<String> = entries.filter_map(|e| number(&e)).map(|n| format!("node{n}")).collect();
        names.sort();
        Some(Nodes { script, state, names })
    }

    /// `cluster.sh ARGUMENTS`.
    ///
    /// # Panics
    /// If it fails.
    pub fn cluster(&self, arguments: &[&str]) -> String {
        run(Command::new(&self.script).args(arguments), "").unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs a shell line on a node.
    ///
    /// # Errors
    /// With what it said, if it fails.
    pub fn try_sh(&self, node: &str, line: &str) -> Result<String, String> {
        run(Command::new(&self.script).args(["exec", number(node), "sh", "-c", line]), "")
    }

    /// Runs a shell line on a node and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn sh(&self, node: &str, line: &str) -> String {
        self.try_sh(node, line).unwrap_or_else(|e| panic!("{node}: {e}"))
    }

    /// Where a node's directory (`run`, `etc-cni`, `opt-cni`, `var-lib-cni`, `manifests`...) is on this machine.
    #[must_use]
    pub fn dir(&self, node: &str, which: &str) -> PathBuf {
        self.state.join(format!("n{}", number(node))).join(which)
    }

    /// A file of the cluster's folder of logs.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.state.join("log").join(name)
    }

    /// Changes the meta-plugin's configuration on a node, in the ConfigMap as a user does, until the answer is dropped. Pods made with it may
    /// outlive it: each has its record.
    ///
    /// # Panics
    /// If the configuration cannot be read or does not reach the node.
    #[must_use]
    pub fn configure(&self, node: &str, change: impl FnOnce(&mut Value)) -> Configured {
        let path = format!("jsonpath={{.data.{node}\\.json}}");
        let original = kubectl(&["get", "configmap", CONFIG_MAP, "-o", &path]).unwrap_or_else(|e| panic!("{e}"));
        let mut conf: Value = serde_json::from_str(&original).expect("the node's configuration is JSON");
        change(&mut conf);
        let configured = Configured { node: node.to_owned(), file: self.configuration(node), original };
        configured.publish(&conf.to_string()).unwrap_or_else(|e| panic!("{e}"));
        configured
    }

    /// Where the runtime of a node finds the meta-plugin's configuration.
    fn configuration(&self, node: &str) -> PathBuf {
        self.dir(node, "etc-cni/net.d").join("10-multus.conf")
    }

    /// Waits until the nodes' [`Nodes::traces`] are `before` again.
    ///
    /// # Panics
    /// If something stays.
    pub fn as_before(&self, before: &[String]) {
        eventually("the nodes are as before", || {
            let now = self.traces();
            if now == before { Ok(()) } else { Err(format!("{now:#?}, before {before:#?}")) }
        });
    }

    /// Everything on all nodes that pods' networks consist of, a line each. What serves all pods and stays when the last one goes (the bridge,
    /// tables, host-local's index and memory of the address it gave last, locks) is left out.
    #[must_use]
    pub fn traces(&self) -> Vec<String> {
        // Every rule for a pod names its address.
        let look = "set -e
            ip -o link | awk -F': ' '$2 !~ /^(lo|eth0@.*|eth0|cni0)$/ { print \"link\", $2 }'
            ip -o addr | awk '$2 !~ /^(lo|cni0)$/ && $4 !~ /^fe80/ { print \"address\", $2, $4 }'
            ls /run/netns | sed 's/^/namespace /'
            find /var/lib/cni -type f ! -name 'last_reserved_ip*' ! -name lock ! -name .plexus-index -printf 'file %p\\n' | sort
            rules=$(nft list ruleset)
            echo \"$rules\" | sed -nE '/10[.]244[.][0-9]+[.][0-9]+([^/.0-9]|$)/s/^[ \t]*/rule /p'";
        let mut traces = Vec::new();
        for node in &self.names {
            traces.extend(self.sh(node, look).lines().map(|line| format!("{node}: {line}")));
        }
        traces
    }
}

/// The ConfigMap of the article's file, with a key for each node (`tests/e2e/article`).
const CONFIG_MAP: &str = "kube-multus-cfg";

/// A node with another configuration; it gets its own back at the end.
#[derive(Debug)]
pub struct Configured {
    node: String,
    file: PathBuf,
    original: String,
}

impl Configured {
    /// Puts a text into the ConfigMap and waits until the node has it.
    fn publish(&self, text: &str) -> Result<(), String> {
        let patch = json!({"data": {format!("{}.json", self.node): text}}).to_string();
        kubectl(&["patch", "configmap", CONFIG_MAP, "--type=merge", "-p", &patch])?;
        let field = format!("spec.nodeName={}", self.node);
        for attempt in 0..20 {
            // The kubelet looks at a pod's volumes once a minute, or when something about the pod has changed.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mark = format!("e2e/looked-at={}.{attempt}", now.as_nanos());
            kubectl(&["annotate", "pods", "-l", "app=multus", "--field-selector", &field, "--overwrite", &mark])?;
            for _ in 0..25 {
                if std::fs::read_to_string(&self.file).is_ok_and(|found| found == text) {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        Err(format!("the configuration of {} did not reach {}", self.node, self.file.display()))
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        if let Err(e) = self.publish(&self.original) {
            // Other tests would fail for a reason that is not theirs; two panics at once would end the program without diagnostics.
            eprintln!("{} keeps a changed configuration: {e}", self.node);
            assert!(std::thread::panicking(), "{e}");
        }
    }
}

/// `kubectl ARGUMENTS` in kube-system.
fn kubectl(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("kubectl").args(["-n", "kube-system"]).args(arguments), "")
}

/// `3` of `node3`.
fn number(node: &str) -> &str {
    node.strip_prefix("node").unwrap_or(node)
}
