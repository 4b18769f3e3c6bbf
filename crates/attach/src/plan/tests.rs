use std::fs;

use cni::Command;

use super::*;
use crate::devices::NoDevices;
use crate::testing::{article, call, json};

fn plan(conf: &Json) -> Result<Plan> {
    Plan::new(&Config::read(conf)?, &call(Command::Add, conf), None, &NoDevices)
}

/// `ifname network version`, of each attachment.
fn summary(plan: &Plan) -> Vec<String> {
    let line = |a: &Attachment| format!("{} {} {}", a.ifname, a.list.name, a.list.cni_version);
    plan.attachments.iter().map(line).collect()
}

#[test]
fn the_form_of_2017() {
    let plan = plan(&article("/x".as_ref())).unwrap();
    assert_eq!(summary(&plan), ["eth0 multus-demo-1 0.4.0", "net0 multus-demo-0 0.4.0"]);
    assert_eq!(plan.secondary_default_routes, SecondaryDefaultRoutes::Drop);
    // Everything else of a delegate is untouched.
    let macvlan = &plan.attachments[1].list.plugins[0].conf;
    assert_eq!(macvlan.get("ipam").unwrap().get("rangeStart").unwrap().as_str(), Some("192.168.122.200"));
}

#[test]
fn the_form_of_2017_can_keep_both_default_routes() {
    let mut conf = article("/x".as_ref());
    conf.set("secondaryDefaultRoutes", "keep");
    assert_eq!(plan(&conf).unwrap().secondary_default_routes, SecondaryDefaultRoutes::Keep);
}

#[test]
fn todays_form() {
    let conf = json(
        r#"{"name": "m", "cniVersion": "0.4.0", "delegates": [
             {"name": "default", "cniVersion": "0.3.1", "plugins": [{"type": "bridge"}, {"type": "portmap"}]},
             {"name": "storage", "type": "macvlan"},
             {"name": "media", "cniVersion": "1.1.0", "type": "ipvlan", "masterplugin": false}]}"#,
    );
    let plan = plan(&conf).unwrap();
    assert_eq!(summary(&plan), ["eth0 default 0.3.1", "net1 storage 0.4.0", "net2 media 1.1.0"]);
    assert_eq!(plan.secondary_default_routes, SecondaryDefaultRoutes::Keep);
    assert_eq!(plan.attachments[0].list.plugins.len(), 2);
}

#[test]
fn many_networks() {
    let delegates: Vec<String> = (0..20_000).map(|i| format!(r#"{{"type": "a", "name": "n{i}"}}"#)).collect();
    let conf = |last: &str| json(&format!(r#"{{"name": "m", "delegates": [{}{last}]}}"#, delegates.join(",")));
    assert_eq!(plan(&conf("")).unwrap().attachments.len(), 20_000);
    // The runtime's name is one that a network gets by its place.
    let conf = conf("");
    let call = Call { ifname: "net19999".into(), ..call(Command::Add, &conf) };
    let error = Plan::new(&Config::read(&conf).unwrap(), &call, None, &NoDevices).unwrap_err();
    assert!(error.message.contains("net19999") && error.message.contains("\"n0\""), "{error}");
}

#[test]
fn the_marked_delegate_first_changes_no_names() {
    let conf =
        json(r#"{"name": "m", "delegates": [{"type": "a", "masterplugin": true}, {"type": "b"}, {"type": "c"}]}"#);
    assert_eq!(summary(&plan(&conf).unwrap()), ["eth0 m-0 0.4.0", "net1 m-1 0.4.0", "net2 m-2 0.4.0"]);
    let conf =
        json(r#"{"name": "m", "delegates": [{"type": "a"}, {"type": "b"}, {"type": "c", "masterplugin": true}]}"#);
    assert_eq!(summary(&plan(&conf).unwrap()), ["eth0 m-2 0.4.0", "net0 m-0 0.4.0", "net1 m-1 0.4.0"]);
}

#[test]
fn mistakes_are_found_before_anything_is_touched() {
    let cases = [
        (r#"{"name": "m"}"#, 7, "delegates"),
        (r#"{"name": "m", "delegates": []}"#, 7, "delegates"),
        (r#"{"name": "m", "delegates": [null]}"#, 6, "delegates[0]"),
        (r#"{"name": "m", "delegates": [{"name": "x"}]}"#, 7, "plugins"),
        (r#"{"name": "m", "delegates": [{"type": ""}]}"#, 7, "type"),
        (r#"{"name": "m", "delegates": [{"type": 1}]}"#, 6, "type"),
        (r#"{"name": "m", "delegates": [{"type": "a", "name": 1}]}"#, 6, "name"),
        (r#"{"name": "m", "delegates": [{"type": "a", "name": "../x"}]}"#, 7, "../x"),
        (r#"{"name": "m", "delegates": [{"type": "a"}, {"plugins": []}]}"#, 7, "delegates[1]"),
        (r#"{"name": "m", "delegates": [{"plugins": {}}]}"#, 6, "plugins"),
        (r#"{"name": "m", "delegates": [{"plugins": [null]}]}"#, 0, "delegates[0]"),
        (r#"{"name": "m", "delegates": [{"plugins": [{"type": "a"}, {}]}]}"#, 7, "type"),
        (r#"{"name": "m", "delegates": [{"type": "a", "cniVersion": "7"}]}"#, 1, "7"),
        (r#"{"name": "m", "delegates": [{"type": "a", "masterplugin": "yes"}]}"#, 6, "masterplugin"),
        (
            r#"{"name": "m", "delegates": [{"type": "a", "masterplugin": true}, {"type": "b", "masterplugin": true}]}"#,
            7,
            "masterplugin",
        ),
        (r#"{"name": "m", "delegates": [{"type": "multus", "name": "x"}]}"#, 7, "itself"),
        (r#"{"name": "m", "delegates": [{"type": "a", "ipam": {"type": "plexus"}}]}"#, 7, "key \"ipam.type\""),
        (
            r#"{"name": "m", "delegates": [{"type": "flannel", "delegate": {"type": "multus"}}]}"#,
            7,
            "key \"delegate.type\"",
        ),
        (r#"{"name": "m", "runtimeConfig": [], "delegates": [{"type": "a"}]}"#, 6, "runtimeConfig"),
        (r#"{"name": "m", "clusterNetwork": "nowhere", "confDir": "/nonexistent"}"#, 7, "nowhere"),
        (r#"{"name": "m", "clusterNetwork": "/nonexistent/x.conflist"}"#, 5, "/nonexistent/x.conflist"),
    ];
    for (text, code, word) in cases {
        let error = plan(&json(text)).unwrap_err();
        assert!(code == 0 || error.code == Code(code), "{text}: {} {error}", error.code.0);
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
}

#[test]
fn interface_names_must_differ() {
    let conf = json(r#"{"name": "m", "delegates": [{"type": "a", "name": "one"}, {"type": "b", "name": "two"}]}"#);
    let mut call = call(Command::Add, &conf);
    call.ifname = "net1".into();
    let error = Plan::new(&Config::read(&conf).unwrap(), &call, None, &NoDevices).unwrap_err();
    for word in ["one", "two", "net1", "CNI_IFNAME"] {
        assert!(error.message.contains(word), "{error}");
    }
}

#[test]
fn existing_interfaces_and_missing_plugins_are_found() {
    let plan = plan(&article("/x".as_ref())).unwrap();
    let found = |_: &PluginConf| Ok(());
    assert!(plan.check(&["lo".into(), "net1".into()], found).is_ok());
    let error = plan.check(&["lo".into(), "net0".into()], found).unwrap_err();
    assert!(error.message.contains("network \"multus-demo-0\" interface net0"), "{error}");
    let missing = |plugin: &PluginConf| match plugin.plugin_type.as_str() {
        "flannel" => Err(Error::internal("nowhere")),
        _ => Ok(()),
    };
    let error = plan.check(&[], missing).unwrap_err();
    assert!(error.message.contains("multus-demo-1") && error.message.contains("nowhere"), "{error}");
}

#[test]
fn the_runtimes_capability_arguments_are_the_default_networks() {
    let conf = r#"{"name": "m", "delegates": [{"type": "a"}, {"type": "b"}], "runtimeConfig": {"portMappings": [1], "dns": {"servers": []}}"#;
    let plan_a = plan(&json(&format!("{conf}}}"))).unwrap();
    let given = &plan_a.attachments[0].capability_args;
    assert!(given.get("portMappings").is_some() && given.get("dns").is_some());
    assert_eq!(plan_a.attachments[1].capability_args, Json::Null);
    let plan_b = plan(&json(&format!(r#"{conf}, "runtimeConfigTo": "all"}}"#))).unwrap();
    assert_eq!(&plan_b.attachments[1].capability_args, given);
}

#[test]
fn arguments_in_multus_order() {
    let args = delegate_args("COLOUR=blue;K8S_POD_NAME=web;IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;X=a=b").unwrap();
    let text: Vec<String> = args.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(text, ["IgnoreUnknown=true", "K8S_POD_NAMESPACE=prod", "K8S_POD_NAME=web", "COLOUR=blue", "X=a=b"]);
    assert_eq!(pod_namespace(&args), "prod");
    assert_eq!(delegate_args("").unwrap().len(), 1);
    assert_eq!(delegate_args("nonsense").unwrap_err().code, Code::INVALID_ENVIRONMENT);
}

/// A defect that there was: CRI-O's wish for the pod's address and MAC address was every network's.
#[test]
fn the_runtimes_addresses_are_the_default_networks() {
    let args =
        "K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web;COLOUR=blue;IP=10.244.1.9;MAC=02:00:00:00:00:01;GATEWAY=10.244.1.1";
    for (to, second) in [("default", 4), ("all", 7)] {
        let conf = json(&format!(
            r#"{{"name": "m", "runtimeConfigTo": "{to}", "delegates": [{{"type": "a"}}, {{"type": "b"}}]}}"#
        ));
        let call = Call { args: args.into(), ..call(Command::Add, &conf) };
        let plan = Plan::new(&Config::read(&conf).unwrap(), &call, None, &NoDevices).unwrap();
        let [first, other] =
            [0, 1].map(|i| plan.attachments[i].args.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>());
        let all = ["IgnoreUnknown", "K8S_POD_NAMESPACE", "K8S_POD_NAME", "COLOUR", "IP", "MAC", "GATEWAY"];
        assert_eq!((&first[..], &other[..]), (&all[..], &all[..second]), "{to}");
    }
}

#[test]
fn a_cluster_network_by_name_directory_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path().display();
    fs::write(
        dir.path().join("20-b.conflist"),
        r#"{"name": "two", "cniVersion": "0.3.1", "plugins": [{"type": "b"}]}"#,
    )
    .unwrap();
    fs::write(dir.path().join("10-a.conf"), r#"{"name": "one", "type": "a", "cniVersion": "0.4.0"}"#).unwrap();
    fs::write(dir.path().join("00-readme.txt"), "not a network").unwrap();
    let conf = |reference: &str, more: &str| {
        json(&format!(
            r#"{{"name": "m", "confDir": "{d}", "clusterNetwork": "{reference}", "delegates": [{{"type": "ignored"}}]{more}}}"#
        ))
    };
    assert_eq!(summary(&plan(&conf("two", "")).unwrap()), ["eth0 two 0.3.1"]);
    assert_eq!(summary(&plan(&conf(&format!("{d}"), "")).unwrap()), ["eth0 one 0.4.0"]);
    assert_eq!(summary(&plan(&conf(&format!("{d}/20-b.conflist"), "")).unwrap()), ["eth0 two 0.3.1"]);

    let more = r#", "defaultNetworks": ["one", "two"]"#;
    let all = plan(&conf("two", more)).unwrap();
    assert_eq!(summary(&all), ["eth0 two 0.3.1", "net1 one 0.4.0", "net2 two 0.3.1"]);
    let more = r#", "defaultNetworks": ["one"], "systemNamespaces": ["prod"]"#;
    assert_eq!(plan(&conf("two", more)).unwrap().attachments.len(), 1, "the pod is in a system namespace");
    let error = plan(&conf("two", r#", "defaultNetworks": ["three"]"#)).unwrap_err();
    assert!(error.message.contains("defaultNetworks[0]") && error.message.contains("three"), "{error}");
}

#[test]
fn drop_in_plugins_belong_to_a_cluster_network() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("10-x.conflist");
    fs::write(&list, r#"{"name": "x", "plugins": [{"type": "a"}]}"#).unwrap();
    fs::create_dir(dir.path().join("x")).unwrap();
    fs::write(dir.path().join("x/tune.conf"), r#"{"type": "tuning"}"#).unwrap();
    let plan = plan(&json(&format!(r#"{{"name": "m", "clusterNetwork": "{}"}}"#, list.display()))).unwrap();
    let types: Vec<&str> = plan.attachments[0].list.plugins.iter().map(|p| p.plugin_type.as_str()).collect();
    assert_eq!(types, ["a", "tuning"]);
    assert_eq!(plan.attachments[0].list.cni_version, "0.4.0", "it has none and the configuration has none");
}

#[test]
fn the_auxiliary_chain_is_last() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("10-x.conflist");
    fs::write(&list, r#"{"name": "x", "cniVersion": "1.0.0", "plugins": [{"type": "a"}]}"#).unwrap();
    let conf = |chain: &str, network: &str| {
        json(&format!(
            r#"{{"name": "m", "cniVersion": "1.0.0", "clusterNetwork": "{network}", "auxiliaryCNIChainName": "{chain}"}}"#
        ))
    };
    let path = list.display().to_string();
    assert_eq!(plan(&conf("vendor", &path)).unwrap().attachments.len(), 1, "no directory, no network");
    fs::create_dir(dir.path().join("vendor")).unwrap();
    assert_eq!(plan(&conf("vendor", &path)).unwrap().attachments.len(), 1, "no plugin, no network");
    fs::write(dir.path().join("vendor/b.conf"), r#"{"type": "tuning"}"#).unwrap();
    let with = plan(&conf("vendor", &path)).unwrap();
    assert_eq!(summary(&with), ["eth0 x 1.0.0", "net1 vendor 1.0.0"]);
    let types: Vec<&str> = with.attachments[1].list.plugins.iter().map(|p| p.plugin_type.as_str()).collect();
    assert_eq!(types, ["passthru", "tuning"]);
    assert!(plan(&conf("vendor", "x")).is_err(), "needs a path");
    let beside = json(
        r#"{"name": "m", "cniVersion": "1.0.0", "delegates": [{"name": "x", "type": "a"}], "auxiliaryCNIChainName": "vendor"}"#,
    );
    assert_eq!(plan(&beside).unwrap_err().code, Code::INVALID_CONFIG, "a key without effect must not be silent");
    assert!(plan(&conf("../vendor", &path)).is_err(), "must not lead elsewhere");
    fs::write(dir.path().join("vendor/c.conf"), "{").unwrap();
    assert!(plan(&conf("vendor", &path)).unwrap_err().message.contains("c.conf"));
}
