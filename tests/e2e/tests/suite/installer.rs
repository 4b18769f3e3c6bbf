//! The installer on a real cluster: the kustomize base beside a primary network, what it follows, and both installations' way back.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use e2e::{Nodes, Pod, Test, definition, eventually, run};
use serde_json::{Value, json};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
/// The article's file on the test cluster, and what applies it.
const ARTICLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/article");
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install");

/// As flannel's own manifest writes it.
const FLANNEL: &str = r#"{ "name": "cbr0", "cniVersion": "0.3.1", "plugins": [ { "type": "flannel", "delegate": { "isDefaultGateway": true } } ] }
"#;
/// The same network after its operator changed it.
const CHANGED: &str = r#"{ "name": "cbr0", "cniVersion": "0.4.0", "plugins": [
  { "type": "flannel", "delegate": { "isDefaultGateway": true }, "capabilities": { "bandwidth": true } } ] }
"#;

/// A plugin of somebody else's.
const OTHER: &str = "#!/bin/sh\nexit 1\n";

fn kubectl(arguments: &[&str]) -> String {
    run(Command::new("kubectl").args(["-n", "kube-system"]).args(arguments), "").unwrap()
}

fn deploy(path: &str) -> String {
    format!("{DEPLOY}/{path}")
}

/// Stops an installation and puts the nodes back, as deploy/uninstall.yaml says. What the first command deletes is `installer`.
fn uninstall(installer: &[&str]) {
    let stop = ["delete", "--cascade=foreground", "--ignore-not-found", "--timeout=120s"];
    kubectl(&[&stop, installer].concat());
    let manifest = deploy("uninstall.yaml");
    kubectl(&["apply", "-f", &manifest]);
    kubectl(&["rollout", "status", "daemonset/plexus-uninstall", "--timeout=120s"]);
    kubectl(&["delete", "--cascade=foreground", "--timeout=120s", "-f", &manifest]);
}

/// Applies the base and waits until it runs on every node.
fn install_base() {
    kubectl(&["apply", "-k", &deploy("base")]);
    kubectl(&["rollout", "status", "daemonset/plexus-node", "--timeout=120s"]);
}

/// The nodes without Plexus. Dropped, they have the article's again, as all other tests expect.
struct Bare<'a>(&'a Nodes);

impl<'a> Bare<'a> {
    /// Nothing but an empty directory is left of an installation on nodes that had nothing.
    fn new(nodes: &'a Nodes) -> Bare<'a> {
        let bare = Bare(nodes);
        uninstall(&["-k", ARTICLE]);
        for node in &nodes.names {
            let left = nodes.sh(node, "find /etc/cni/net.d /opt/cni/bin -mindepth 1");
            assert_eq!(left, "", "{node}");
        }
        bare
    }
}

impl Drop for Bare<'_> {
    fn drop(&mut self) {
        let script = format!(
            "kubectl() {{ command kubectl -n kube-system \"$@\"; }}
             if {failed}; then
                 kubectl describe pods -l app.kubernetes.io/name=plexus-node
                 kubectl logs -l app.kubernetes.io/name=plexus-node --prefix --tail=40
                 kubectl logs -l app.kubernetes.io/name=plexus-uninstall --prefix --tail=40
             fi
             kubectl delete --cascade=foreground --ignore-not-found --timeout=120s -f '{DEPLOY}/uninstall.yaml'
             kubectl delete --cascade=foreground --ignore-not-found --timeout=120s -k '{DEPLOY}/base'",
            failed = std::thread::panicking(),
        );
        let said = run(Command::new("sh").args(["-c", &script]), "").unwrap_or_else(|e| e);
        if std::thread::panicking() {
            eprintln!("----- the installer\n{said}");
        }
        for node in &self.0.names {
            let _ = self.0.try_sh(node, "find /etc/cni/net.d /opt/cni/bin -mindepth 1 -delete");
        }
        let installed = run(&mut Command::new(INSTALL), "");
        assert!(installed.is_ok() || std::thread::panicking(), "the article is not installed again: {installed:?}");
    }
}

/// Everything in a node's two directories: type, mode, owner, inode, time, target of links, and the bytes by their hash.
fn snapshot(nodes: &Nodes, node: &str) -> String {
    nodes.sh(
        node,
        "find /etc/cni /opt/cni -type d -printf '%p %y %m %U:%G\\n' -o -printf '%p %y %m %U:%G %i %T@ %l\\n' | sort
         find /etc/cni /opt/cni -type f -exec sha256sum {} + | sort",
    )
}

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What an administrator may have on a node: programs of the names that are installed, one as a link, and configurations.
fn seed(nodes: &Nodes, configurations: &[(&str, &str, u32)]) -> Vec<String> {
    for node in &nodes.names {
        let bin = nodes.dir(node, "opt-cni/bin");
        write(&bin.join("multus"), "#!/bin/sh\nexit 1\n", 0o755);
        write(&bin.join("static"), OTHER, 0o700);
        symlink("multus", bin.join("plexus")).unwrap();
        for (name, content, mode) in configurations {
            write(&nodes.dir(node, "etc-cni/net.d").join(name), content, *mode);
        }
    }
    nodes.names.iter().map(|node| snapshot(nodes, node)).collect()
}

fn is_as_before(nodes: &Nodes, before: &[String]) {
    for (node, before) in nodes.names.iter().zip(before) {
        assert_eq!(snapshot(nodes, node), *before, "{node}");
    }
}

/// The configuration that the base's installer made on a node.
fn generated(nodes: &Nodes, node: &str) -> Result<Value, String> {
    let file = nodes.dir(node, "etc-cni/net.d/00-multus.conflist");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))
}

fn follows(nodes: &Nodes, node: &str, what: &str, key: &str, value: &Value) {
    eventually(what, || {
        let conf = generated(nodes, node)?;
        if conf.pointer(key) == Some(value) { Ok(()) } else { Err(conf.to_string()) }
    });
}

/// The token that calls on a node use ends with its pod: there is one that is ready all the time.
fn rolls_out_without_a_gap() {
    kubectl(&["rollout", "restart", "daemonset/plexus-node"]);
    eventually("the rollout is complete", || {
        let daemonset: Value =
            serde_json::from_str(&kubectl(&["get", "daemonset", "plexus-node", "-o", "json"])).unwrap();
        let status = |key: &str| daemonset["status"][key].as_u64().unwrap_or_default();
        assert_eq!(status("numberUnavailable"), 0, "{daemonset}");
        let seen = daemonset["metadata"]["generation"].as_u64() == Some(status("observedGeneration"));
        let complete = seen && status("updatedNumberScheduled") == status("desiredNumberScheduled");
        if complete { Ok(()) } else { Err(daemonset["status"].to_string()) }
    });
}

/// The installer's pod on a node.
fn installer(node: &str) -> Result<Value, String> {
    let field = format!("--field-selector=spec.nodeName={node}");
    let pods = kubectl(&["get", "pods", "-l", "app.kubernetes.io/name=plexus-node", &field, "-o", "json"]);
    let pods: Value = serde_json::from_str(&pods).unwrap();
    match &pods["items"].as_array().unwrap()[..] {
        [pod] => Ok(pod.clone()),
        others => Err(format!("{} pods of the installer", others.len())),
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// The token that CNI calls on a node use.
fn token(nodes: &Nodes, node: &str) -> Result<String, String> {
    let file = nodes.dir(node, "etc-cni/net.d/multus.d/multus.kubeconfig");
    let text = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let conf: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    Ok(conf["users"][0]["user"]["token"].as_str().unwrap_or_default().to_owned())
}

fn another_token(nodes: &Nodes, node: &str, old: &str) -> String {
    eventually("another token", || {
        token(nodes, node).and_then(|t| if t == old { Err("the old one".into()) } else { Ok(t) })
    })
}

/// What the node's kubeconfig may do, asked from the node.
fn can_i(nodes: &Nodes, node: &str, what: &str) -> String {
    let kubeconfig = "--kubeconfig /etc/cni/net.d/multus.d/multus.kubeconfig";
    // It ends with an error where the answer is no.
    nodes.sh(node, &format!("kubectl {kubeconfig} auth can-i {what} -A || true")).trim().to_owned()
}

fn blue() -> Value {
    definition(
        "blue",
        &json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.240.1.0/24"}}),
    )
}

#[test]
fn the_base_follows_the_primary_network_and_the_token() {
    let Some(test) = Test::on_nodes("installer") else { return };
    let nodes = test.nodes();
    let node = &test.node_names()[0];
    let bare = Bare::new(nodes);
    // An earlier Multus's configuration is there too, and of no effect.
    let multus = r#"{"cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus", "clusterNetwork": "/etc/cni/net.d/10-flannel.conflist"}"#;
    let before = seed(nodes, &[("10-flannel.conflist", FLANNEL, 0o644), ("00-multus.conf", multus, 0o600)]);
    install_base();
    test.apply(&[blue()]);
    let start = |name: &str| {
        test.start(&Pod::new(name).on(node).networks("blue@blue0"));
        let addresses = test.addresses(name);
        assert!(addresses["eth0"][0].starts_with("10.244."), "{addresses:?}");
        assert!(addresses["blue0"][0].starts_with("10.240.1."), "{addresses:?}");
    };
    start("first");
    assert_eq!(fs::read_to_string(nodes.dir(node, "opt-cni/bin/static")).unwrap(), OTHER, "it is not missing");

    // The primary network is renamed, changed, gone, and there again.
    let dir = "/etc/cni/net.d";
    follows(nodes, node, "the primary", "/plugins/0/clusterNetwork", &json!(format!("{dir}/10-flannel.conflist")));
    nodes.sh(node, &format!("mv {dir}/10-flannel.conflist {dir}/05-flannel.conflist"));
    follows(nodes, node, "renamed", "/plugins/0/clusterNetwork", &json!(format!("{dir}/05-flannel.conflist")));
    start("renamed");
    nodes.sh(node, &format!("mv {dir}/05-flannel.conflist /etc/cni/aside"));
    write(&nodes.dir(node, "etc-cni/net.d/05-flannel.conflist"), CHANGED, 0o644);
    follows(nodes, node, "changed", "/cniVersion", &json!("0.4.0"));
    follows(nodes, node, "its capabilities", "/plugins/0/capabilities", &json!({"bandwidth": true}));
    start("changed");
    let last = generated(nodes, node).unwrap();
    nodes.sh(node, &format!("rm {dir}/05-flannel.conflist"));
    let name = installer(node).unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    eventually("the pod says that there is no primary network", || {
        let described = kubectl(&["describe", "pod", &name]);
        let unready = !is_ready(&installer(node)?);
        if unready && described.contains("no primary network") { Ok(()) } else { Err(described) }
    });
    assert_eq!(generated(nodes, node).unwrap(), last, "pods that are deleted need it");
    test.kubectl(&["delete", "pod", "changed"]);
    nodes.sh(node, &format!("mv /etc/cni/aside {dir}/10-flannel.conflist"));
    follows(nodes, node, "there again", "/plugins/0/clusterNetwork", &json!(format!("{dir}/10-flannel.conflist")));
    eventually("the pod is ready", || installer(node).and_then(|p| is_ready(&p).then_some(()).ok_or("not yet".into())));

    // A kubelet that was started again gives its pods new tokens; the installer is not restarted for that.
    let pod = installer(node).unwrap();
    let first = token(nodes, node).unwrap();
    let kubelet = node.replace("node", "kubelet");
    nodes.cluster(&["stop", &kubelet]);
    nodes.cluster(&["start", &kubelet]);
    let second = another_token(nodes, node, &first);
    let now = installer(node).unwrap();
    let container = |pod: &Value| pod["status"]["containerStatuses"][0]["containerID"].clone();
    assert_eq!((&now["metadata"]["uid"], container(&now)), (&pod["metadata"]["uid"], container(&pod)));
    // A token ends with its pod; the next pod has another.
    kubectl(&["delete", "pod", &name]);
    another_token(nodes, node, &second);
    kubectl(&["rollout", "status", "daemonset/plexus-node", "--timeout=120s"]);
    start("rotated");
    rolls_out_without_a_gap();
    let answers = ["get pods", "patch pods --subresource=status", "list pods", "get secrets", "delete pods"]
        .map(|what| can_i(nodes, node, what));
    assert_eq!(answers, ["yes", "yes", "no", "no", "no"]);

    test.delete_all();
    uninstall(&["daemonset", "plexus-node"]);
    kubectl(&["delete", "-f", &deploy("base/rbac.yaml"), "-f", &deploy("base/configmap.yaml")]);
    is_as_before(nodes, &before);
    drop(bare);
}

/// The article's installation, over what an administrator had under the same names.
#[test]
fn the_article_is_uninstalled_byte_for_byte() {
    let Some(test) = Test::on_nodes("uninstalled") else { return };
    let nodes = test.nodes();
    let bare = Bare::new(nodes);
    let before = seed(
        nodes,
        &[
            ("10-multus.conf", "{\"the\": \"old one\"}\n", 0o640),
            ("99-loopback.conf", r#"{"type": "loopback"}"#, 0o644),
        ],
    );
    run(&mut Command::new(INSTALL), "").unwrap();
    test.start(&Pod::new("web"));
    assert_eq!(test.addresses("web").len(), 3);
    test.delete_all();
    uninstall(&["-k", ARTICLE]);
    is_as_before(nodes, &before);
    drop(bare);
}
