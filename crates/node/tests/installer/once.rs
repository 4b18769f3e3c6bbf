//! The installer as a program, on nodes that are directories: what it makes, what it follows, what it survives, and that uninstalling leaves
//! nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::node::{Node, PRIMARY};
use serde_json::{Value, json};

#[test]
fn a_node_gets_programs_kubeconfig_and_configuration_and_gives_them_back() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    let before = node.snapshot();
    node.install(&["--namespace-isolation", "--global-namespaces=default,infra", "--multus-log-level=debug"]).ready();

    let expected = json!({
        "cniVersion": "0.3.1",
        "name": "multus-cni-network",
        "plugins": [{
            "type": "multus",
            "clusterNetwork": "/etc/cni/net.d/10-flannel.conflist",
            "capabilities": {"portMappings": true},
            "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
            "logToStderr": true,
            "logLevel": "debug",
            "namespaceIsolation": true,
            "globalNamespaces": "default,infra",
        }],
    });
    assert_eq!(node.generated(), expected);
    assert_eq!(node.mode("etc/cni/net.d/00-multus.conflist"), 0o600);

    let kubeconfig: Value = serde_json::from_slice(&node.read("etc/cni/net.d/multus.d/multus.kubeconfig")).unwrap();
    assert_eq!(node.mode("etc/cni/net.d/multus.d/multus.kubeconfig"), 0o600);
    assert_eq!(kubeconfig["clusters"][0]["cluster"]["server"], "https://10.96.0.1:443");
    assert_eq!(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"], "Y2EtMQ==");
    assert_eq!(kubeconfig["users"][0]["user"]["token"], "token-1");

    for name in ["multus", "plexus"] {
        assert_eq!(fs::read_link(node.path("opt/cni/bin").join(name)).unwrap().to_str(), Some("plexus-node"));
    }
    assert_eq!(node.mode("opt/cni/bin/plexus-node"), 0o755);
    assert_eq!(node.read("opt/cni/bin/plexus-node"), fs::read(env!("CARGO_BIN_EXE_plexus-node")).unwrap());
    assert!(!node.path("opt/cni/bin/bridge").exists(), "reference plugins are installed only when asked for");

    // What is right is not touched: a runtime watches these directories.
    let installed = node.snapshot();
    node.install(&["--namespace-isolation", "--global-namespaces=default,infra", "--multus-log-level=debug"]).ready();
    assert_eq!(node.snapshot(), installed);

    node.uninstall();
    assert_eq!(node.snapshot(), before);
    node.uninstall();
    assert_eq!(node.snapshot(), before, "uninstalling twice is no harm");
}

#[test]
fn what_was_replaced_comes_back_bytes_modes_times_and_all() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    // A node that has Multus.
    for (path, content, mode) in [
        ("opt/cni/bin/multus", "the other's program", 0o711),
        ("opt/cni/bin/bridge", "the reference plugin", 0o755),
        ("etc/cni/net.d/00-multus.conf", r#"{"type": "multus-shim", "name": "x"}"#, 0o640),
        ("etc/cni/net.d/00-multus.conflist", "", 0o644),
        ("etc/cni/net.d/multus.d/multus.kubeconfig", "apiVersion: v1", 0o400),
    ] {
        node.write(path, content);
        fs::set_permissions(node.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("/elsewhere/plexus", node.path("opt/cni/bin/plexus")).unwrap();
    let before = node.snapshot();

    node.install(&["--install-missing-plugins"]).ready();
    assert_eq!(node.read("opt/cni/bin/bridge"), b"the reference plugin");
    assert_eq!(fs::read_link(node.path("opt/cni/bin/macvlan")).unwrap().to_str(), Some("plexus-node"));
    assert!(!node.path("etc/cni/net.d/00-multus.conf").exists(), "it would be used instead of ours");
    assert_eq!(node.generated()["plugins"][0]["clusterNetwork"], "/etc/cni/net.d/10-flannel.conflist");

    node.uninstall();
    assert_eq!(node.snapshot(), before);
}

#[test]
fn what_somebody_else_put_in_place_meanwhile_stays() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    node.install(&["--install-missing-plugins"]).ready();
    fs::remove_file(node.path("opt/cni/bin/bridge")).unwrap();
    node.write("opt/cni/bin/bridge", "a package's");
    node.install(&["--install-missing-plugins"]).ready();
    fs::remove_file(node.path("opt/cni/bin/multus")).unwrap();
    node.write("opt/cni/bin/multus", "a package's");
    node.uninstall();
    assert_eq!(node.names("opt/cni/bin"), ["bridge", "multus"]);
    assert_eq!(node.read("opt/cni/bin/bridge"), b"a package's");
    assert_eq!(node.names("etc/cni/net.d"), ["10-flannel.conflist"]);
}

#[test]
fn the_primary_is_the_first_that_is_a_network_and_not_ours() {
    let node = Node::new();
    // Ours under other names, alone, in a list, as a plugin among others, by all of its names; loopback; an empty file that Multus left.
    node.write("etc/cni/net.d/00-multus.conf", "");
    node.write(
        "etc/cni/net.d/01-mine.conf",
        r#"{"type": "plexus", "name": "a", "cniVersion": "1.0.0", "delegates": [{"type": "x"}]}"#,
    );
    node.write(
        "etc/cni/net.d/02-mine.json",
        r#"{"name": "b", "plugins": [{"type": "tuning"}, {"type": "multus-shim"}]}"#,
    );
    node.write("etc/cni/net.d/03-lo.conf", r#"{"type": "loopback", "name": "lo"}"#);
    node.write("etc/cni/net.d/04-readme.txt", "not a configuration");
    node.write("etc/cni/net.d/50-weave.conf", r#"{"name": "weave", "type": "weave-net"}"#);
    node.write("etc/cni/net.d/60-flannel.conflist", PRIMARY);
    node.install(&[]).ready();
    let generated = node.generated();
    assert_eq!(generated["plugins"][0]["clusterNetwork"], "/etc/cni/net.d/50-weave.conf");
    assert_eq!(generated["cniVersion"], "0.4.0", "the primary has none");
    assert_eq!(generated["plugins"][0].get("capabilities"), None);

    node.install(&["--multus-master-cni-file-name=60-flannel.conflist", "--override-network-name"]).ready();
    assert_eq!(node.generated()["plugins"][0]["clusterNetwork"], "/etc/cni/net.d/60-flannel.conflist");
    assert_eq!(node.generated()["name"], "cbr0");
    let said = node.install(&["--multus-master-cni-file-name=01-mine.conf"]).not_ready();
    assert!(said.contains("01-mine.conf") && said.contains("own"), "{said}");
}

/// A defect that there was: only the newest of the primary's versions was named, with which a runtime of before 1.1.0 takes no configuration.
#[test]
fn a_primary_of_several_versions_is_followed_in_all_of_them() {
    let node = Node::new();
    let list = r#""name": "cbr0", "plugins": [{"type": "flannel"}]"#;
    node.write(
        "etc/cni/net.d/10-flannel.conflist",
        &format!(r#"{{"cniVersion": "0.3.1", "cniVersions": ["0.3.1", "1.0.0", "1.1.0"], {list}}}"#),
    );
    node.install(&[]).ready();
    let generated = node.generated();
    assert_eq!(generated["cniVersion"], "0.3.1");
    assert_eq!(generated["cniVersions"], json!(["0.3.1", "1.0.0", "1.1.0"]));
    for asked in ["0.3.1", "1.1.0"] {
        node.install(&[&format!("--cni-version={asked}")]).ready();
    }
    node.install(&["--cni-version=0.4.0"]).not_ready();

    node.write("etc/cni/net.d/10-flannel.conflist", &format!(r#"{{"cniVersions": ["1.0.0"], {list}}}"#));
    node.install(&[]).ready();
    assert_eq!(
        (&node.generated()["cniVersion"], &node.generated()["cniVersions"]),
        (&json!("0.4.0"), &json!(["1.0.0"]))
    );
}

#[test]
fn a_primary_that_cannot_be_used_changes_nothing() {
    let node = Node::new();
    let said = node.install(&[]).not_ready();
    assert!(said.contains("no primary network in") && said.contains("install the cluster's network"), "{said}");
    assert_eq!(node.names("etc/cni/net.d"), [".plexus-installed", "multus.d"]);

    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    node.write("etc/cni/net.d/20-other.conflist", PRIMARY);
    node.install(&[]).ready();
    let good = node.generated();
    for bad in [
        "",
        "{",
        "[]",
        r#"{"name": "cbr0"}"#,
        r#"{"name": "cbr0", "plugins": []}"#,
        r#"{"name": "cbr0", "plugins": [{"type": 7}]}"#,
        r#"{"name": "../x", "plugins": [{"type": "flannel"}]}"#,
        r#"{"name": "cbr0", "cniVersion": "9.9.9", "plugins": [{"type": "flannel"}]}"#,
    ] {
        node.write("etc/cni/net.d/10-flannel.conflist", bad);
        let said = node.install(&[]).not_ready();
        assert!(said.contains("10-flannel.conflist") && said.contains("repair or remove it"), "{bad}: {said}");
        assert_eq!(node.generated(), good, "{bad}");
    }
    // Not UTF-8, and longer than a plugin may be given.
    for bad in [vec![0xff; 10], vec![b' '; 1_000_001]] {
        fs::write(node.path("etc/cni/net.d/10-flannel.conflist"), bad).unwrap();
        node.install(&[]).not_ready();
        assert_eq!(node.generated(), good);
    }
}

#[test]
fn a_primary_that_changes_is_renamed_disappears_or_is_outdone_is_followed() {
    let node = Node::new();
    let network = |node: &Node| node.generated()["plugins"][0]["clusterNetwork"].as_str().unwrap().to_owned();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    node.install(&[]).ready();

    let more = PRIMARY
        .replace(r#""portMappings": true"#, r#""portMappings": false, "bandwidth": true"#)
        .replace("0.3.1", "1.0.0");
    node.write("etc/cni/net.d/10-flannel.conflist", &more);
    node.install(&[]).ready();
    assert_eq!(
        node.generated()["plugins"][0]["capabilities"],
        json!({"bandwidth": true}),
        "not what it once was able to"
    );
    assert_eq!(node.generated()["cniVersion"], "1.0.0");

    // A drop-in plugin's capabilities count.
    node.write("etc/cni/net.d/cbr0/10.conf", r#"{"type": "tuning", "capabilities": {"mac": true}}"#);
    node.install(&[]).ready();
    assert_eq!(node.generated()["plugins"][0]["capabilities"], json!({"bandwidth": true, "mac": true}));

    fs::rename(node.path("etc/cni/net.d/10-flannel.conflist"), node.path("etc/cni/net.d/20-flannel.conflist")).unwrap();
    node.install(&[]).ready();
    assert_eq!(network(&node), "/etc/cni/net.d/20-flannel.conflist");

    node.write("etc/cni/net.d/05-calico.conflist", r#"{"name": "k8s-pod-network", "plugins": [{"type": "calico"}]}"#);
    node.install(&[]).ready();
    assert_eq!(network(&node), "/etc/cni/net.d/05-calico.conflist");

    fs::remove_file(node.path("etc/cni/net.d/05-calico.conflist")).unwrap();
    node.install(&[]).ready();
    assert_eq!(network(&node), "/etc/cni/net.d/20-flannel.conflist");

    // With none left ours stays: deleting pods needs it.
    fs::remove_file(node.path("etc/cni/net.d/20-flannel.conflist")).unwrap();
    let said = node.install(&[]).not_ready();
    assert!(said.contains("no primary network"), "{said}");
    assert_eq!(network(&node), "/etc/cni/net.d/20-flannel.conflist");
}

#[test]
fn a_runtime_that_would_take_another_configuration_is_said() {
    let node = Node::new();
    node.write("etc/cni/net.d/00-flannel.conflist", PRIMARY);
    let said = node.install(&[]).not_ready();
    assert!(
        said.contains("00-flannel.conflist, instead of 00-multus.conflist") && said.contains("--rename-conf-file"),
        "{said}"
    );

    let before = node.snapshot();
    node.install(&["--rename-conf-file"]).ready();
    assert!(!node.path("etc/cni/net.d/00-flannel.conflist").exists());
    assert_eq!(node.generated()["plugins"][0]["clusterNetwork"], "/etc/cni/net.d/00-flannel.conflist.old");
    // The primary's own installer writes it again, changed.
    node.write("etc/cni/net.d/00-flannel.conflist", &PRIMARY.replace("portMappings", "bandwidth"));
    node.install(&["--rename-conf-file"]).ready();
    assert!(!node.path("etc/cni/net.d/00-flannel.conflist").exists());
    assert_eq!(node.generated()["plugins"][0]["capabilities"], json!({"bandwidth": true}));
    // One that comes later by name does not take its place.
    node.write("etc/cni/net.d/10-other.conflist", PRIMARY);
    node.install(&["--rename-conf-file"]).ready();
    assert_eq!(node.generated()["plugins"][0]["clusterNetwork"], "/etc/cni/net.d/00-flannel.conflist.old");
    fs::remove_file(node.path("etc/cni/net.d/10-other.conflist")).unwrap();

    node.install(&[]).not_ready();
    assert_eq!(node.names("etc/cni/net.d"), before.names("etc/cni/net.d"), "without the option it has its name again");
    node.install(&["--rename-conf-file"]).ready();
    node.uninstall();
    assert_eq!(node.names("etc/cni/net.d"), ["00-flannel.conflist"]);
    assert_eq!(node.text("etc/cni/net.d/00-flannel.conflist"), PRIMARY.replace("portMappings", "bandwidth"));

    node.write("etc/cni/net.d/00-flannel.conflist.old", "somebody's");
    let said = node.install(&["--rename-conf-file"]).not_ready();
    assert!(said.contains("00-flannel.conflist.old is there already"), "{said}");
    assert_eq!(node.text("etc/cni/net.d/00-flannel.conflist.old"), "somebody's");
}

#[test]
fn a_given_configuration_is_installed_to_the_letter_if_it_is_good() {
    let node = Node::new();
    let article = crate::node::article();
    let given = node.path("given/10-multus.conf");
    node.write("given/10-multus.conf", &article);
    let before = node.snapshot();
    let option = format!("--multus-conf-file={}", given.display());
    node.install(&[&option]).ready();
    assert_eq!(node.text("etc/cni/net.d/10-multus.conf"), article);
    assert!(!node.path("etc/cni/net.d/multus.d").exists(), "a credential that nothing uses");

    for (bad, reason) in [
        ("", "parsing"),
        (r#"{"name": "x", "type": "bridge"}"#, "no plugin of type"),
        (r#"{"name": "x", "type": "multus"}"#, "default network"),
        (r#"{"name": "x", "type": "multus", "delegates": [{}]}"#, "delegates[0]"),
        (r#"{"name": "x", "type": "multus", "delegates": 7}"#, "delegates"),
        (r#"{"type": "multus", "delegates": [{"type": "bridge"}]}"#, "missing network name"),
        (r#"{"name": "x", "type": "multus", "clusterNetwork": "/etc/cni/net.d/none.conf"}"#, "none.conf"),
    ] {
        node.write("given/10-multus.conf", bad);
        let said = node.install(&[&option]).not_ready();
        assert!(said.contains(reason), "{bad}: {said}");
        assert_eq!(node.text("etc/cni/net.d/10-multus.conf"), article);
    }
    let named = r#"{"name": "x", "type": "multus", "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig", "delegates": [{"type": "x"}]}"#;
    node.write("given/10-multus.conf", named);
    node.install(&[&option]).ready();
    assert!(node.text("etc/cni/net.d/multus.d/multus.kubeconfig").contains("token-1"));
    fs::remove_file(&given).unwrap();
    assert!(node.install(&[&option]).not_ready().contains("ConfigMap"));
    node.write("given/10-multus.conf", &article);
    assert!(node.install(&["--multus-conf-file=/x/10-multus.yaml"]).not_ready().contains("10-multus.yaml"));

    // From one form to the other and back.
    node.write("etc/cni/net.d/20-flannel.conflist", PRIMARY);
    node.install(&[]).ready();
    assert_eq!(
        node.names("etc/cni/net.d"),
        [".plexus-installed", "00-multus.conflist", "20-flannel.conflist", "multus.d"]
    );
    node.install(&[&option]).ready();
    assert!(!node.path("etc/cni/net.d/00-multus.conflist").exists());
    fs::remove_file(node.path("etc/cni/net.d/20-flannel.conflist")).unwrap();
    node.uninstall();
    assert_eq!(node.snapshot().names("etc/cni/net.d"), before.names("etc/cni/net.d"));
}

#[test]
fn nothing_is_published_before_the_primary_network_is_ready() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    fs::create_dir_all(node.path("run/flannel")).unwrap();
    let option = "--readiness-indicator-file=/run/flannel/subnet.env";
    let said = node.install(&[option]).not_ready();
    assert!(
        said.contains("/run/flannel/subnet.env") && !node.path("etc/cni/net.d/00-multus.conflist").exists(),
        "{said}"
    );
    node.write("run/flannel/subnet.env", "");
    node.install(&[option]).ready();
    assert_eq!(node.generated()["plugins"][0]["readinessindicatorfile"], "/run/flannel/subnet.env");
    // Where it cannot be seen from here each ADD waits for it.
    node.install(&["--readiness-indicator-file=/not/mounted/here"]).ready();
}

#[test]
fn the_kubeconfig_follows_token_and_ca() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    node.install(&[]).ready();
    let token = |node: &Node| {
        let kubeconfig: Value = serde_json::from_slice(&node.read("etc/cni/net.d/multus.d/multus.kubeconfig")).unwrap();
        kubeconfig["users"][0]["user"]["token"].as_str().unwrap().to_owned()
    };
    node.write("account/token", "token-2\n");
    node.install(&[]).ready();
    assert_eq!(token(&node), "token-2");
    // A token that cannot be read does not destroy the one that is in use, and an old configuration stays.
    node.write("account/token", "");
    let said = node.install(&[]).not_ready();
    assert!(said.contains("token is missing or empty"), "{said}");
    assert_eq!(token(&node), "token-2");
    assert_eq!(node.generated()["name"], "multus-cni-network");

    // Somebody opened it for all to read.
    node.write("account/token", "token-3");
    node.install(&[]).ready();
    let path = node.path("etc/cni/net.d/multus.d/multus.kubeconfig");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    node.install(&[]).ready();
    assert_eq!(node.mode("etc/cni/net.d/multus.d/multus.kubeconfig"), 0o600);
}

#[test]
fn outside_of_a_pod_there_is_no_kubeconfig_unless_named() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    node.install_outside(&[]).ready();
    assert_eq!(node.generated()["plugins"][0].get("kubeconfig"), None);
    assert!(!node.path("etc/cni/net.d/multus.d").exists());
    node.install_outside(&["--multus-kubeconfig-file-host=/etc/kubernetes/plexus.conf"]).ready();
    assert_eq!(node.generated()["plugins"][0]["kubeconfig"], "/etc/kubernetes/plexus.conf");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let node = Node::new();
    for (options, reason) in [
        (&["--multus-log-level=loud"][..], "loud"),
        (&["--multus-master-cni-file-name=../x"], "not a path"),
        (&["--rename-conf-file", "--multus-autoconfig-dir=/x"], "--multus-autoconfig-dir"),
        (&["--no-such-option"], "--no-such-option"),
    ] {
        let said = node.install(options).not_ready();
        assert!(said.contains(reason), "{options:?}: {said}");
    }
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    let said = node.install(&["--cni-version=1.0.0"]).not_ready();
    assert!(said.contains("\"0.3.1\"") && said.contains("1.0.0"), "{said}");
    node.install(&["--cni-version=0.3.1", "--multus-log-to-stderr=false"]).ready();
    assert_eq!(node.generated()["plugins"][0]["logToStderr"], false);
}

#[test]
fn a_damaged_list_of_what_was_installed_stops_everything() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    node.install(&[]).ready();
    for bad in ["", "{\"before\": {\"conf/../../passwd\": \"absent\"}}", "{\"before\": {\"x\": \"absent\"}}"] {
        node.write("etc/cni/net.d/.plexus-installed", bad);
        let before = node.snapshot();
        assert!(node.install(&[]).not_ready().contains(".plexus-before"), "it says how to go on");
        assert!(!node.command(&["uninstall"]).output().unwrap().status.success());
        assert_eq!(node.snapshot(), before);
    }
}

/// A defect that there was: behind an installer that hangs, the next one and `uninstall` waited for ever.
#[test]
fn another_installer_is_not_waited_for_without_end() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    let other = fs::File::open(node.path("etc/cni/net.d")).unwrap();
    other.lock().unwrap();
    // It goes at last, so that this test ends either way.
    let ends = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(40));
        drop(other);
    });
    let said = node.install(&[]).not_ready();
    assert!(said.contains("is locked by another process") && said.contains("lslocks"), "{said}");
    assert!(!ends.is_finished());
}
