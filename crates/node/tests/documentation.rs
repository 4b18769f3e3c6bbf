//! `docs/` and the program: every option of its commands, every key that is read by its name, every annotation; and the examples, which are
//! planned as a pod's ADD would be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use attach::cluster::{Cluster, Definition, Event, Pod, PodId};
use attach::devices::{Allocated, Devices};
use attach::{Config, Plan};
use cni::conf::NetworkList;
use cni::{Call, Code, Error, Json, Result};
use plugins::{InProcess, Registry};
use testkit::{Document, document};

/// Every document of `docs/`.
fn documents() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let names = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).collect()
}

/// The options that `plexus-node COMMAND --help` lists, each with its default.
fn options(command: &str) -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO_BIN_EXE_plexus-node")).args([command, "--help"]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut options = BTreeMap::new();
    let mut option = String::new();
    for line in text.lines() {
        // An option stands alone on its line, or behind its short form.
        if let Some((_, rest)) = line.split_once("--").filter(|(before, _)| before.trim().len() <= 3) {
            let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
            option = format!("--{name}");
            options.insert(option.clone(), Vec::new());
        }
        if let Some((_, rest)) = line.split_once("[default: ") {
            let default = rest.split(']').next().unwrap_or_default().trim_matches('"');
            options.entry(option.clone()).or_default().extend(Some(default.to_owned()).filter(|d| !d.is_empty()));
        }
    }
    options.remove("--help");
    options
}

#[test]
fn every_option_of_every_command() {
    let document = Document::open("configuration.md");
    let help = Command::new(env!("CARGO_BIN_EXE_plexus-node")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.contains(&"install"), "{help}");
    for command in commands {
        let section = document.section(&format!("### plexus-node {command}"));
        assert_eq!(section.differences(&options(command)), [""; 0], "{command}");
    }
}

/// Every source file below a directory that is no test.
fn sources(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in dir.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if !path
            .components()
            .any(|c| ["tests", "tests.rs", "testing.rs"].iter().any(|name| c.as_os_str() == *name))
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            found.push((path, code.join("\n")));
        }
    }
}

fn crates(names: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for name in names {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(name).join("src"), &mut found);
    }
    found
}

/// What is set as code anywhere in these documents, and the last part of it where it has dots.
fn named(documents: &[&str]) -> BTreeSet<String> {
    let texts = documents.iter().map(|name| Document::open(name));
    let spans = texts.flat_map(|d| document::code(d.text()).map(str::to_owned).collect::<Vec<_>>());
    spans.flat_map(|span| [span.rsplit('.').next().unwrap_or_default().to_owned(), span]).collect()
}

/// Keys that are not fields of a type, but asked for one by one.
#[test]
fn every_key_that_is_read_by_its_name() {
    let named = named(&["configuration.md", "annotations.md"]);
    let asks = [
        "get(\"",
        "text(&document, \"",
        "boolean(&document, \"",
        "object(conf, \"",
        "path(conf, \"",
        "path(&call.conf, \"",
        "flag(call, \"",
    ];
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, code) in crates(&["attach", "plugins", "cni"]) {
        // Files of the state directories, results and the environment are no configuration.
        if ["multus.rs", "stored.rs", "cache.rs", "wire.rs", "env.rs", "exec.rs"]
            .iter()
            .any(|name| path.ends_with(name))
        {
            continue;
        }
        for ask in asks {
            for rest in code.split(ask).skip(1) {
                let key = rest.split('"').next().unwrap_or_default();
                seen.insert(key.to_owned());
                if !named.contains(key) {
                    missing.push(format!("{}: \"{key}\" is not documented", path.display()));
                }
            }
        }
    }
    assert_eq!(missing, [""; 0]);
    for known in ["masterplugin", "subnetFile", "dataDir", "disableGC", "runtimeConfig"] {
        assert!(seen.contains(known), "the sources are not searched as they should be: {known}");
    }
}

#[test]
fn every_annotation() {
    let named = named(&["annotations.md"]);
    let mut seen = BTreeSet::new();
    for (_, code) in crates(&["attach", "k8s"]) {
        for prefix in ["\"k8s.v1.cni.cncf.io/", "\"v1.multus-cni.io/", "\"kubernetes.io/"] {
            for rest in code.split(prefix).skip(1) {
                seen.insert(format!("{}{}", &prefix[1..], rest.split('"').next().unwrap_or_default()));
            }
        }
    }
    assert!(seen.len() >= 5, "{seen:?}");
    assert_eq!(seen.difference(&named).collect::<Vec<_>>(), [""; 0]);
}

/// The pieces between placeholders of every string in the code.
fn pieces(code: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' && chars.next_if_eq(&'"').is_some() {
            continue;
        }
        if c != '"' {
            continue;
        }
        let mut piece = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => match chars.next() {
                    Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                    Some(escaped) => piece.push(escaped),
                    None => break,
                },
                '{' if chars.next_if_eq(&'{').is_none() => {
                    while chars.next_if(|c| *c != '}').is_some() {}
                    pieces.push(std::mem::take(&mut piece));
                }
                '}' => {
                    if chars.next_if_eq(&'}').is_some() {
                        piece.push('}');
                    }
                }
                c => piece.push(c),
            }
        }
        pieces.push(piece);
    }
    pieces.retain(|piece| piece.trim().len() >= 8);
    pieces
}

/// How much of a message is in the code, in percent. The rest is names, numbers, and what others say.
fn covered(message: &str, pieces: &[String]) -> usize {
    let mut found = vec![false; message.len()];
    for piece in pieces {
        // The document may cut a message short.
        for (at, _) in message.match_indices(piece.trim()) {
            found[at..at + piece.trim().len()].fill(true);
        }
    }
    found.iter().filter(|f| **f).count() * 100 / message.len()
}

/// The messages that the document explains are printed by the code, not by one of a year ago.
#[test]
fn every_message_of_the_troubleshooting() {
    let code = crates(&["attach", "cni", "k8s", "netlink", "node", "plugins"]);
    let pieces: Vec<String> = code.iter().flat_map(|(_, code)| pieces(code)).collect();
    let mut seen = 0;
    for row in Document::open("troubleshooting.md").rows() {
        let Some(message) = document::code(&row[0]).next().filter(|m| m.len() > 50 && !m.starts_with("kubectl")) else {
            continue;
        };
        seen += 1;
        let covered = covered(message, &pieces);
        assert!(covered >= 45, "only {covered} % of this are in the code, is it still printed? {message}");
    }
    assert!(seen > 20, "only {seen} messages were found");
}

#[test]
fn every_option_of_the_manifests_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/base/configmap.yaml");
    let map: Vec<serde_json::Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap();
    let keys = Document::open("configuration.md").section("## ConfigMap `plexus-config`").keys();
    let documented: BTreeMap<&String, &str> = keys
        .iter()
        .map(|(key, row)| (key, document::code(&row[1]).next().unwrap_or_default().trim_matches('"')))
        .collect();
    let actual = map[0]["data"].as_object().unwrap();
    let actual: BTreeMap<&String, &str> = actual.iter().map(|(key, value)| (key, value.as_str().unwrap())).collect();
    assert_eq!(documented, actual);
}

/// The definitions of one document, and a device for whoever requests one.
#[derive(Default)]
struct Examples {
    definitions: Vec<Definition>,
    pods: Vec<serde_json::Value>,
}

impl Cluster for Examples {
    fn pod(&self, id: &PodId) -> Result<Option<Pod>> {
        let pod = self.pods.iter().find(|pod| pod["metadata"]["name"] == id.name.as_str());
        let annotations = pod.and_then(|pod| pod["metadata"]["annotations"].as_object());
        let annotations = annotations.into_iter().flatten().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()));
        Ok(Some(Pod { uid: "u".into(), annotations: annotations.collect() }))
    }

    fn definition(&self, namespace: &str, name: &str) -> Result<Option<Definition>> {
        Ok(self.definitions.iter().find(|d| d.name == name && d.namespace == namespace).cloned())
    }

    fn report(&self, id: &PodId, _: &str, _: &[Event]) -> Result<Option<Pod>> {
        self.pod(id)
    }

    fn events(&self, _: &PodId, _: &[Event]) {}
}

impl Devices for Examples {
    fn allocated(&self, _: &PodId, _: &str) -> Result<Allocated> {
        let mut allocated = Allocated::default();
        for resource in self.definitions.iter().filter_map(|d| d.resource_name.as_ref()) {
            ["d0", "d1"].iter().for_each(|device| allocated.insert(resource, *device));
        }
        Ok(allocated)
    }

    fn claimed(&self, _: &PodId, _: &str) -> Result<Allocated> {
        Ok(Allocated::default())
    }
}

fn call(conf: &Json, pod: &str) -> Call {
    Call {
        command: cni::Command::Add,
        container_id: "c1".into(),
        netns: "/run/netns/c1".into(),
        ifname: "eth0".into(),
        args: format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"),
        path: vec!["/opt/cni/bin".into()],
        netns_override: false,
        conf: conf.clone().into(),
    }
}

/// Every compiled-in plugin of a network takes its configuration. What this machine lacks (a parent interface, flannel's file) is no mistake of
/// the example.
fn try_plugins(list: &NetworkList) -> Result<()> {
    let exec = cni::exec::Exec::new(std::time::Duration::from_secs(1));
    let registry = Registry::new(InProcess::Auto, &exec);
    for plugin in &list.plugins {
        let Some(found) = Registry::find(&plugin.plugin_type) else { continue };
        let request = plugin.request(list, None, &Json::Null)?;
        let status = call(&request, "").with_command(cni::Command::Status);
        match plugins::perform(found, &status, &registry) {
            Err(e) if ![Code::NOT_AVAILABLE, Code::TRY_AGAIN].contains(&e.code) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Plans a pod's ADD.
fn try_plan(conf: &Json, pod: &str, examples: Option<&Examples>) -> Result<()> {
    let config = Config::read(conf)?;
    let devices: &dyn Devices = examples.map_or(&attach::devices::NoDevices, |e| e);
    let plan = Plan::new(&config, &call(conf, pod), examples.map(|e| e as &dyn Cluster), devices)?;
    plan.attachments.iter().try_for_each(|a| try_plugins(&a.list).map_err(|e| e.context(a.describe())))
}

/// A `json` example: a configuration of the meta-plugin (alone or in a list), or a network's.
fn try_json(text: &str) -> Result<()> {
    let conf = Json::parse(text.as_bytes())?;
    let list = if conf.get("plugins").is_some() {
        NetworkList::parse(text.as_bytes())?
    } else {
        NetworkList::from_single(text.as_bytes())?
    };
    let Some(meta) = list.plugins.iter().find(|p| p.plugin_type == "multus") else { return try_plugins(&list) };
    let request = meta.request(&list, None, &Json::Null)?;
    let config = Config::read(&request)?;
    // A cluster network is a file of the reader's node.
    if config.cluster_network.is_empty() { try_plan(&request, "", None) } else { Ok(()) }
}

fn definition(object: &serde_json::Value) -> Definition {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&object["metadata"]["namespace"]);
    let resource = &object["metadata"]["annotations"]["k8s.v1.cni.cncf.io/resourceName"];
    Definition {
        namespace: if namespace.is_empty() { "default".into() } else { namespace },
        name: text(&object["metadata"]["name"]),
        config: text(&object["spec"]["config"]),
        resource_name: resource.as_str().map(str::to_owned),
    }
}

/// The `yaml` examples of a document go together: its pods get the networks of its definitions.
#[test]
fn the_examples_work() {
    let conf =
        Json::parse(br#"{"name": "n", "cniVersion": "1.0.0", "type": "multus", "delegates": [{"type": "flannel"}]}"#)
            .unwrap();
    let mut tried = 0;
    let others = ["../README.md", "../deploy/README.md"].map(str::to_owned);
    for name in documents().into_iter().chain(others) {
        let mut examples = Examples::default();
        for example in Document::open(&name).examples() {
            match example.language.as_str() {
                "json" => try_json(&example.text).unwrap_or_else(|e: Error| panic!("{name}: {e}\n{}", example.text)),
                "yaml" => {
                    let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(&example.text)
                        .unwrap_or_else(|e| panic!("{name}: {e}\n{}", example.text));
                    for object in objects {
                        match object["kind"].as_str() {
                            Some("NetworkAttachmentDefinition") => examples.definitions.push(definition(&object)),
                            // An excerpt of a pod has no kind, nor always a name.
                            Some("Pod") | None => examples.pods.push(object),
                            _ => {}
                        }
                    }
                }
                "text" | "" | "sh" => continue,
                other => panic!("{name}: an example in \"{other}\", which no test reads"),
            }
            tried += 1;
        }
        for (at, pod) in examples.pods.clone().into_iter().enumerate() {
            let pod_name = format!("example-{at}");
            examples.pods = vec![pod];
            examples.pods[0]["metadata"]["name"] = pod_name.as_str().into();
            try_plan(&conf, &pod_name, Some(&examples)).unwrap_or_else(|e| panic!("{name}: {e}\n{}", examples.pods[0]));
        }
    }
    assert!(tried > 8, "only {tried} examples were found");
}

/// Where links lead: to a file that is there, and to a heading in it.
#[test]
fn links() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files: Vec<PathBuf> = documents().iter().map(|name| top.join("docs").join(name)).collect();
    files.extend(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "deploy/README.md", "tests/e2e/README.md"]
            .map(|f| top.join(f)),
    );
    // As GitHub makes them.
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect::<String>()
    };
    let mut broken = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { file.with_file_name(path) };
            let there = match std::fs::read_to_string(&target) {
                Ok(text) if !heading.is_empty() => text.lines().any(|l| l.starts_with('#') && anchor(l) == heading),
                read => read.is_ok() || target.is_dir(),
            };
            if !there {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}
