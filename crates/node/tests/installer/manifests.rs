//! What is in deploy/: it parses, grants no more than it says, and names options that exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// All objects of a file.
fn objects(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(deploy().join(file)).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert!(objects.iter().all(|o| o["kind"].is_string() && o["apiVersion"].is_string()), "{file}");
    objects
}

fn all() -> Vec<(String, Value)> {
    let mut files = vec!["article/multus.yaml".to_owned(), "uninstall.yaml".to_owned()];
    let kustomization = &objects("base/kustomization.yaml")[0];
    files
        .extend(kustomization["resources"].as_array().unwrap().iter().map(|r| format!("base/{}", r.as_str().unwrap())));
    files.iter().flat_map(|file| objects(file).into_iter().map(move |o| (file.clone(), o))).collect()
}

fn of_kind<'a>(objects: &'a [(String, Value)], kind: &str) -> Vec<&'a (String, Value)> {
    let found: Vec<_> = objects.iter().filter(|(_, o)| o["kind"] == kind).collect();
    assert!(!found.is_empty(), "no {kind}");
    found
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

#[test]
fn roles_grant_what_is_used_and_nothing_by_wildcard() {
    let all = all();
    let mut granted = Vec::new();
    for (file, role) in of_kind(&all, "ClusterRole") {
        for rule in role["rules"].as_array().unwrap() {
            for key in ["apiGroups", "resources", "verbs"] {
                assert!(!strings(&rule[key]).iter().any(|s| s.contains('*')), "{file}: {rule}");
            }
            for resource in strings(&rule["resources"]) {
                granted.push(format!(
                    "{} {resource} {}",
                    strings(&rule["apiGroups"]).join(","),
                    strings(&rule["verbs"]).join(",")
                ));
            }
        }
    }
    granted.sort();
    let expected = [
        " events create,patch",
        " nodes list",
        " pods get",
        " pods/status patch",
        "k8s.cni.cncf.io network-attachment-definitions get",
        "resource.k8s.io resourceclaims get",
        "resource.k8s.io resourceslices list",
    ];
    assert_eq!(granted, expected);
    for (file, binding) in of_kind(&all, "ClusterRoleBinding") {
        let named = |kind: &str, name: &Value| {
            all.iter().any(|(f, o)| f == file && o["kind"] == kind && o["metadata"]["name"] == *name)
        };
        assert!(
            named("ClusterRole", &binding["roleRef"]["name"])
                && named("ServiceAccount", &binding["subjects"][0]["name"])
        );
    }
}

#[test]
fn daemon_sets_can_be_scheduled_probed_and_bounded() {
    let all = all();
    let images: std::collections::BTreeSet<_> = of_kind(&all, "DaemonSet")
        .iter()
        .flat_map(|(_, o)| {
            o["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().map(|c| c["image"].to_string())
        })
        .collect();
    assert_eq!(images.len(), 1, "one image: {images:?}");
    assert!(images.iter().all(|i| i.ends_with(&format!(":{}\"", env!("CARGO_PKG_VERSION")))), "{images:?}");
    for (file, object) in of_kind(&all, "DaemonSet") {
        let template = &object["spec"]["template"];
        let spec = &template["spec"];
        assert_eq!(object["spec"]["selector"]["matchLabels"], template["metadata"]["labels"], "{file}");
        assert_eq!(spec["priorityClassName"], "system-node-critical");
        assert_eq!(spec["tolerations"], json!([{"operator": "Exists"}]));
        assert_eq!(spec["hostNetwork"], true);
        assert_ne!(spec["hostPID"], true);
        let volumes: Vec<&Value> = spec["volumes"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
        assert!(
            spec["volumes"].as_array().unwrap().iter().all(|v| v["hostPath"]["path"] != "/"),
            "not the root file system"
        );
        for container in spec["containers"].as_array().unwrap() {
            let name = container["name"].as_str().unwrap();
            assert!(container["readinessProbe"]["exec"]["command"][0] == "/plexus-node", "{file} {name}");
            assert!(
                container["resources"]["requests"]["cpu"].is_string()
                    && container["resources"]["limits"]["memory"].is_string()
            );
            assert_ne!(container["securityContext"]["privileged"], true);
            for mount in container["volumeMounts"].as_array().unwrap() {
                assert!(volumes.contains(&&mount["name"]), "{file} {name}: {mount}");
            }
            // clap knows the options; only help is printed.
            let environment = |text: &str| {
                text.replace("$(NAMESPACE_ISOLATION)", "false")
                    .replace("$(INSTALL_MISSING_PLUGINS)", "true")
                    .replace("$(LOG_LEVEL)", "verbose")
            };
            let args: Vec<String> = strings(&container["args"]).into_iter().map(environment).collect();
            let out = Command::new(env!("CARGO_BIN_EXE_plexus-node")).args(&args).arg("--help").output().unwrap();
            assert!(out.status.success(), "{file} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        }
    }
}

#[test]
fn configuration_values_fit_the_options_that_they_become() {
    let all = all();
    let (_, object) = of_kind(&all, "DaemonSet").into_iter().find(|(file, _)| file.starts_with("base/")).unwrap();
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    let config = objects("base/configmap.yaml").remove(0);
    let node = crate::node::Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", crate::node::PRIMARY);
    let mut args: Vec<String> = strings(&container["args"])[1..].iter().map(|s| (*s).to_owned()).collect();
    for variable in container["env"].as_array().unwrap() {
        let reference = &variable["valueFrom"]["configMapKeyRef"];
        assert_eq!(reference["name"], config["metadata"]["name"]);
        let value = config["data"][reference["key"].as_str().unwrap()].as_str().unwrap_or_else(|| panic!("{variable}"));
        let pattern = format!("$({})", variable["name"].as_str().unwrap());
        args.iter_mut().for_each(|arg| *arg = arg.replace(&pattern, value));
    }
    assert!(args.iter().all(|arg| !arg.contains("$(")), "{args:?}");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    node.install(&args).ready();
    assert_eq!(node.generated()["plugins"][0]["logLevel"], "verbose");
    assert!(node.path("opt/cni/bin/loopback").exists());
}

#[test]
fn the_article_has_its_names_and_its_json() {
    let objects = objects("article/multus.yaml");
    let find = |kind: &str, name: &str| {
        objects
            .iter()
            .find(|o| o["kind"] == kind && o["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("{kind} {name}"))
    };
    find("ServiceAccount", "multus");
    let config = find("ConfigMap", "kube-multus-cfg");
    assert_eq!(config["data"]["cni-conf.json"].as_str().unwrap(), crate::node::article());
    let daemon_set = find("DaemonSet", "kube-multus-ds");
    let spec = &daemon_set["spec"]["template"]["spec"];
    assert_eq!(spec["containers"].as_array().unwrap().len(), 2, "2/2 Running");
    let volume = spec["volumes"].as_array().unwrap().iter().find(|v| v["name"] == "multus-cfg").unwrap();
    assert_eq!(volume["configMap"]["items"], json!([{"key": "cni-conf.json", "path": "10-multus.conf"}]));

    // As the container does it.
    let node = crate::node::Node::new();
    node.write("given/10-multus.conf", config["data"]["cni-conf.json"].as_str().unwrap());
    node.install(&[&format!("--multus-conf-file={}", node.path("given/10-multus.conf").display())]).ready();
    assert_eq!(node.text("etc/cni/net.d/10-multus.conf"), crate::node::article());
}
