//! One test: its namespace, and what it does and sees there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use serde_json::Value;
use testkit::skip_or_fail;

use crate::api::server;
use crate::{Nodes, diagnose, eventually, run};

/// Tests that look at whole nodes, or stop parts of the cluster, have it for themselves.
static CLUSTER: RwLock<()> = RwLock::new(());

enum Share {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// A running test: a namespace of its own, which is removed at the end; diagnostics if it fails.
pub struct Test {
    /// The namespace.
    pub namespace: String,
    nodes: Option<Nodes>,
    _share: Option<Share>,
}

impl Test {
    /// Begins a test beside others; `None` (and said so) where there is no cluster. `name` is also the namespace.
    #[must_use]
    pub fn new(name: &str) -> Option<Test> {
        let share = || Share::Shared { _guard: CLUSTER.read().unwrap_or_else(PoisonError::into_inner) };
        available().then(|| Test::begin(name, Some(share())))
    }

    /// Begins a test that has the cluster for itself.
    #[must_use]
    pub fn alone(name: &str) -> Option<Test> {
        let share = || Share::Alone { _guard: CLUSTER.write().unwrap_or_else(PoisonError::into_inner) };
        available().then(|| Test::begin(name, Some(share())))
    }

    /// Begins a test beside others that needs access to the nodes.
    #[must_use]
    pub fn with_nodes(name: &str) -> Option<Test> {
        have_nodes().then(|| Test::new(name)).flatten()
    }

    /// Begins a test that needs access to the nodes, and has the cluster for itself.
    #[must_use]
    pub fn on_nodes(name: &str) -> Option<Test> {
        have_nodes().then(|| Test::alone(name)).flatten()
    }

    /// A second namespace of this test.
    #[must_use]
    pub fn beside(&self, name: &str) -> Test {
        Test::begin(name, None)
    }

    fn begin(name: &str, share: Option<Share>) -> Test {
        // As a run that was interrupted may have left it.
        let _ = run(Command::new("kubectl").args(["delete", "namespace", name, "--ignore-not-found"]), "");
        run(Command::new("kubectl").args(["create", "namespace", name]), "").unwrap_or_else(|e| panic!("{e}"));
        let test = Test { namespace: name.to_owned(), nodes: Nodes::find(), _share: share };
        // Pods are refused until there is one.
        eventually("the namespace's service account", || test.try_kubectl(&["get", "serviceaccount", "default"], ""));
        test
    }

    /// The nodes.
    ///
    /// # Panics
    /// If this test did not begin with [`Test::on_nodes`] or [`Test::with_nodes`], and the cluster is not ours.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        self.nodes.as_ref().expect("access to the nodes")
    }

    /// The nodes' names; of any cluster.
    ///
    /// # Panics
    /// If the API server does not answer.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        server().node_names().unwrap_or_else(|e| panic!("{e}"))
    }

    /// `kubectl ARGUMENTS` in the namespace.
    ///
    /// # Errors
    /// With what it said, if it fails.
    pub fn try_kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String, String> {
        run(Command::new("kubectl").args(["-n", &self.namespace]).args(arguments), stdin)
    }

    /// `kubectl ARGUMENTS` in the namespace.
    ///
    /// # Panics
    /// If it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments, "").unwrap_or_else(|e| panic!("{e}"))
    }

    /// `kubectl apply` of some objects.
    ///
    /// # Panics
    /// If it fails.
    pub fn apply(&self, objects: &[Value]) {
        let stdin: String = objects.iter().map(|o| format!("---\n{o}\n")).collect();
        self.try_kubectl(&["apply", "-f", "-"], &stdin).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Makes a pod.
    ///
    /// # Panics
    /// If it is refused.
    pub fn create(&self, pod: &crate::Pod) {
        self.apply(&[pod.manifest()]);
    }

    /// Makes a pod and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start(&self, pod: &crate::Pod) -> Pod {
        self.create(pod);
        let manifest = pod.manifest();
        self.ready(manifest["metadata"]["name"].as_str().unwrap_or_default())
    }

    /// The pod, if there is one.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub fn get(&self, name: &str) -> Result<Option<Pod>, String> {
        server().pod(&self.namespace, name)
    }

    /// The namespace's pods.
    ///
    /// # Panics
    /// If the API server does not answer.
    #[must_use]
    pub fn get_all(&self) -> Vec<Pod> {
        server().pods(&self.namespace).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Waits until a pod is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn ready(&self, name: &str) -> Pod {
        eventually(&format!("pod {name} is ready"), || match self.get(name)? {
            Some(pod) if is_ready(&pod) => Ok(pod),
            Some(pod) => Err(format!("{:?}", pod.status.and_then(|s| s.phase))),
            None => Err("there is no such pod".to_owned()),
        })
    }

    /// Waits until `count` pods are there and all are ready.
    ///
    /// # Panics
    /// If they do not become ready.
    pub fn all_ready(&self, count: usize) -> Vec<Pod> {
        eventually(&format!("{count} pods are ready"), || {
            let pods = server().pods(&self.namespace)?;
            let ready = pods.iter().filter(|p| is_ready(p)).count();
            if ready == count && pods.len() == count { Ok(pods) } else { Err(format!("{ready} of {}", pods.len())) }
        })
    }

    /// Waits until no pod is left.
    ///
    /// # Panics
    /// If one stays.
    pub fn none_left(&self) {
        eventually("all pods are gone", || {
            let pods = server().pods(&self.namespace)?;
            if pods.is_empty() { Ok(()) } else { Err(format!("{} are left", pods.len())) }
        });
    }

    /// The namespace's events.
    ///
    /// # Panics
    /// If the API server does not answer.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        server().events(&self.namespace).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Waits for an event of a pod whose message contains `text`, and returns the message.
    ///
    /// # Panics
    /// If none comes.
    pub fn event(&self, pod: &str, reason: &str, text: &str) -> String {
        eventually(&format!("event {reason} of pod {pod} with {text:?}"), || {
            let events = server().events(&self.namespace)?;
            let of_pod = events.iter().filter(|e| e.involved_object.name.as_deref() == Some(pod));
            let with_reason = of_pod.filter(|e| e.reason.as_deref() == Some(reason));
            let messages: Vec<String> = with_reason.filter_map(|e| e.message.clone()).collect();
            messages.iter().find(|m| m.contains(text)).cloned().ok_or_else(|| format!("only {messages:#?}"))
        })
    }

    /// The sandboxes that failed, of all pods.
    #[must_use]
    pub fn failed_sandboxes(&self) -> Vec<String> {
        let failed = self.events().into_iter().filter(|e| e.reason.as_deref() == Some("FailedCreatePodSandBox"));
        failed.filter_map(|e| e.message).collect()
    }

    /// Runs a shell line in a pod.
    ///
    /// # Errors
    /// With what it said, if it fails.
    pub fn try_exec(&self, pod: &str, line: &str) -> Result<String, String> {
        self.try_kubectl(&["exec", pod, "--", "sh", "-c", line], "")
    }

    /// Runs a shell line in a pod.
    ///
    /// # Panics
    /// If it fails.
    pub fn exec(&self, pod: &str, line: &str) -> String {
        self.try_exec(pod, line).unwrap_or_else(|e| panic!("{pod}: {e}"))
    }

    /// Interface -> its addresses with prefix length, link-local ones left out.
    ///
    /// # Panics
    /// If the pod cannot be looked into.
    #[must_use]
    pub fn addresses(&self, pod: &str) -> HashMap<String, Vec<String>> {
        let mut found: HashMap<String, Vec<String>> = HashMap::new();
        for line in self.exec(pod, "ip -o link").lines() {
            let name = line.split([':', '@']).nth(1).unwrap_or_default().trim();
            found.insert(name.to_owned(), Vec::new());
        }
        for line in self.exec(pod, "ip -o addr").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [_, link, "inet" | "inet6", address, ..] = words[..]
                && !address.starts_with("fe80")
            {
                found.entry(link.to_owned()).or_default().push(address.to_owned());
            }
        }
        found
    }

    /// The addresses of the interfaces that a pod asked for, by their names: what neither `lo` nor the configuration of the node made.
    #[must_use]
    pub fn asked_for(&self, pod: &str) -> Vec<(String, Vec<String>)> {
        let mut all: Vec<_> = self.addresses(pod).into_iter().collect();
        all.retain(|(name, _)| !["lo", "eth0", "net0"].contains(&name.as_str()));
        all.sort();
        all
    }

    /// The one IPv4 address of a pod's interface.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn address(&self, pod: &str, interface: &str) -> IpAddr {
        let all = self.addresses(pod);
        let of_interface = all.get(interface).unwrap_or_else(|| panic!("{pod} has no {interface}: {all:?}"));
        let first = of_interface.iter().find(|a| a.contains('.')).unwrap_or_else(|| panic!("{interface}: {all:?}"));
        first.split('/').next().and_then(|a| a.parse().ok()).unwrap_or_else(|| panic!("{first} is no address"))
    }

    /// The entries of `k8s.v1.cni.cncf.io/network-status`.
    ///
    /// # Panics
    /// If there is none or it is no JSON array.
    #[must_use]
    pub fn status(&self, pod: &str) -> Vec<Value> {
        let found = self.get(pod).ok().flatten().unwrap_or_else(|| panic!("there is no pod {pod}"));
        let text = found.annotations().get("k8s.v1.cni.cncf.io/network-status");
        let text = text.unwrap_or_else(|| panic!("pod {pod} has no network-status"));
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// Deletes the namespace's pods and controllers and waits until no pod is left.
    ///
    /// # Panics
    /// If one stays.
    pub fn delete_all(&self) {
        self.kubectl(&["delete", "replicationcontrollers,deployments,statefulsets,pods", "--all", "--wait=false"]);
        self.none_left();
    }
}

/// Condition `Ready` is true and nobody deletes it.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn available() -> bool {
    let there = std::env::var_os("KUBECONFIG").is_some();
    if !there {
        skip_or_fail("cluster", "needs a Kubernetes cluster: `make e2e`");
    }
    there
}

/// `true` also where there is no cluster at all, which is said for itself.
fn have_nodes() -> bool {
    let there = Nodes::find().is_some() || std::env::var_os("KUBECONFIG").is_none();
    if !there {
        skip_or_fail("nodes", "needs access to the nodes: only on the cluster that `make e2e` makes");
    }
    there
}

impl Drop for Test {
    fn drop(&mut self) {
        if std::thread::panicking() {
            diagnose::print(&self.namespace, &server().pods(&self.namespace).unwrap_or_default(), self.nodes.as_ref());
        }
        // The next test finds the nodes without pods of this one; the rest of the namespace may go later.
        let _ = self.try_kubectl(&["delete", "replicationcontrollers,deployments,statefulsets", "--all"], "");
        let _ = self.try_kubectl(&["delete", "pods", "--all", "--timeout=60s"], "");
        let _ = run(Command::new("kubectl").args(["delete", "namespace", &self.namespace, "--wait=false"]), "");
    }
}
