//! Cases of the specification's section 4.1 and of Multus's parser, and what differs knowingly.

use proptest::prelude::*;

use super::*;

fn all(value: &str) -> Vec<Selection> {
    parse(NETWORKS, value, "blue").unwrap()
}

fn refused(value: &str) -> String {
    parse(NETWORKS, value, "blue").unwrap_err().message
}

#[test]
fn nothing_is_asked_for() {
    assert!(all("").is_empty());
    assert!(all("  \n").is_empty());
    assert!(all("[]").is_empty());
}

#[test]
fn short_form() {
    let got = all("a, red/b@eth7 ,c@, d.e.f");
    let got: Vec<_> = got.iter().map(|s| (s.namespace.as_str(), s.name.as_str(), s.interface.as_deref())).collect();
    assert_eq!(got, [("blue", "a", None), ("red", "b", Some("eth7")), ("blue", "c", None), ("blue", "d.e.f", None)]);
}

#[test]
fn short_form_refused() {
    assert!(refused("a/b/c").contains("[namespace/]name[@interface]"));
    assert!(refused("a@b@c").contains("[namespace/]name[@interface]"));
    assert!(refused("a@b/c").contains("[namespace/]name[@interface]"));
    assert!(refused("a,").contains("comma too many"));
    assert!(refused("A").contains("element 1 (\"A\"): key \"name\""));
    assert!(refused("a,b@much-too-long-for-an-interface").contains("element 2 (\"b\"): key \"interface\""));
    assert!(refused("a@e th").contains("white space"));
    assert!(refused("a@lo").contains("loopback"));
    assert!(refused("x_y/a").contains("key \"namespace\""));
}

#[test]
fn every_key_of_the_json_form() {
    let got = all(
        r#"[{"name":"n","namespace":"red","interface":"net7","ips":["10.1.2.3","fd00::1/64"],"mac":"02:11:22:33:44:55",
        "infiniband-guid":"02:11:22:33:44:55:66:77","portMappings":[{"hostPort":80,"containerPort":8080,"protocol":"TCP","hostIP":"10.0.0.1"}],
        "bandwidth":{"ingressRate":1000,"ingressBurst":2000,"egressRate":3000,"egressBurst":4000},"cni-args":{"k":{"v":1}},
        "default-route":["10.1.2.1","fd00::ff"],"default-route-metric":7,"deviceID":"0000:01:00.1","unknown":[null]}]"#,
    );
    let s = &got[0];
    assert_eq!((s.name.as_str(), s.namespace.as_str(), s.interface.as_deref()), ("n", "red", Some("net7")));
    assert_eq!(s.ips, ["10.1.2.3", "fd00::1/64"]);
    assert_eq!(s.mac.as_deref(), Some("02:11:22:33:44:55"));
    assert_eq!(s.infiniband_guid.as_deref(), Some("02:11:22:33:44:55:66:77"));
    assert_eq!((s.port_mappings[0].host_port, s.port_mappings[0].container_port), (80, 8080));
    assert_eq!(s.bandwidth.as_ref().unwrap().egress_burst, Some(4000));
    assert_eq!(s.cni_args.as_ref().unwrap().to_vec(), br#"{"k":{"v":1}}"#);
    assert_eq!(s.default_route.as_ref().unwrap().len(), 2);
    assert_eq!(s.default_route_metric, Some(7));
    assert_eq!(s.device_id.as_deref(), Some("0000:01:00.1"));
}

#[test]
fn keys_match_as_go_matches_them() {
    let got = all(
        r#"[{"Name":"n","NAMESPACE":null,"interfaceRequest":"net9","interface":"","ipam-claim-reference":"c","default-route":[]}]"#,
    );
    assert_eq!((got[0].namespace.as_str(), got[0].interface.as_deref()), ("blue", Some("net9")));
    assert_eq!(got[0].ipam_claim_reference.as_deref(), Some("c"));
    assert_eq!(got[0].default_route.as_deref(), Some(&[][..]));
}

#[test]
fn hardware_addresses_as_go_reads_them() {
    for (mac, good) in [
        ("02:11:22:33:44:55", true),
        ("02-11-22-33-44-55", true),
        ("0211.2233.4455", true),
        ("02:11:22:33:44", false),
        ("02:11:22:33:44:5g", false),
        ("02:11:22:33:445:5", false),
        ("02:11-22:33:44:55", false),
        ("02112233.4455", false),
        ("021122334455", false),
    ] {
        let value = format!(r#"[{{"name":"n","mac":"{mac}"}}]"#);
        assert_eq!(parse(NETWORKS, &value, "blue").is_ok(), good, "{mac}");
    }
}

/// A defect that there was: such a gateway was taken for one of an IPv6 default route.
#[test]
fn a_gateway_in_ipv6_clothes_is_ipv4() {
    let got = all(r#"[{"name":"n","default-route":["::ffff:10.1.2.1"]}]"#);
    assert_eq!(got[0].default_route.as_deref(), Some(&["10.1.2.1".parse().unwrap()][..]));
}

#[test]
fn json_form_refused_by_key() {
    for (value, part) in [
        (r#"{"name":"n"}"#, "must be a JSON list"),
        (r#"[null]"#, "element 1: must be an object"),
        (r#"["n"]"#, "element 1: must be an object"),
        (r#"[{"name":"n"}"#, "not valid JSON"),
        (r#"[{}]"#, "key \"name\""),
        (r#"[{"name":"../../etc"}]"#, "key \"name\""),
        (r#"[{"name":5}]"#, "key \"name\": invalid type"),
        (r#"[{"name":"n","namespace":"a.b"}]"#, "key \"namespace\""),
        (r#"[{"name":"n","interface":"a/b"}]"#, "key \"interface\""),
        (r#"[{"name":"n","interface":"a\u0000b"}]"#, "key \"interface\""),
        (r#"[{"name":"n","interface":"\u00e0"}]"#, "key \"interface\""),
        (r#"[{"name":"n","ips":["10.1.2.300"]}]"#, "key \"ips[0]\": \"10.1.2.300\""),
        (r#"[{"name":"n","ips":["010.1.2.3/24"]}]"#, "key \"ips[0]\": \"010.1.2.3/24\""),
        (r#"[{"name":"n","ips":"10.1.2.3"}]"#, "key \"ips\": invalid type"),
        (r#"[{"name":"n","mac":"02:11:22:33:44:55:66:77"}]"#, "6 bytes"),
        (r#"[{"name":"n","infiniband-guid":"02:11:22:33:44:55"}]"#, "8 bytes"),
        (r#"[{"name":"n","portMappings":[{"hostPort":0,"containerPort":1}]}]"#, "key \"portMappings[0].hostPort\""),
        (r#"[{"name":"n","portMappings":[{"hostPort":70000,"containerPort":1}]}]"#, "key \"portMappings[0].hostPort\""),
        (
            r#"[{"name":"n","portMappings":[{"hostPort":1,"containerPort":1,"protocol":"icmp"}]}]"#,
            "none of TCP, UDP, SCTP",
        ),
        (r#"[{"name":"n","portMappings":[{"hostPort":1,"containerPort":1,"hostIP":"x"}]}]"#, ".hostIP\""),
        (r#"[{"name":"n","bandwidth":{"ingressBurst":5}}]"#, "needs \"ingressRate\""),
        (r#"[{"name":"n","bandwidth":{"egressRate":0}}]"#, "egressRate"),
        (r#"[{"name":"n","bandwidth":{"egressRate":1,"egressBurst":0}}]"#, "egressBurst"),
        (r#"[{"name":"n","bandwidth":{"egressRate":-1}}]"#, "key \"bandwidth.egressRate\""),
        (r#"[{"name":"n","cni-args":[1]}]"#, "key \"cni-args\""),
        (r#"[{"name":"n","default-route":["10.0.0.0/8"]}]"#, "key \"default-route[0]\""),
        (r#"[{"name":"n","default-route-metric":5}]"#, "needs a gateway"),
        (r#"[{"name":"n","ips":["10.1.2.3"],"ipam-claim-reference":"c"}]"#, "exclude each other"),
        (r#"[{"name":"a","interface":"x"},{"name":"b","interface":"x"}]"#, "asked for twice"),
    ] {
        let message = refused(value);
        assert!(message.starts_with("annotation k8s.v1.cni.cncf.io/networks: "), "{message}");
        assert!(message.contains(part), "{value}: {message}");
    }
}

proptest! {
    #[test]
    fn never_panics(value in "\\PC{0,200}") {
        let _ = parse(NETWORKS, &value, "blue");
    }

    #[test]
    fn both_forms_agree(name in "[a-z0-9]{1,10}", namespace in proptest::option::of("[a-z0-9]{1,10}"), interface in proptest::option::of("[a-k]{1,15}")) {
        let short = format!("{}{name}{}",
            namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default(), interface.as_ref().map(|i| format!("@{i}")).unwrap_or_default());
        let long = serde_json::json!([{"name": name, "namespace": namespace, "interface": interface}]).to_string();
        prop_assert_eq!(all(&short), all(&long));
    }
}

/// docs/annotations.md: every key of an element, and no other.
#[test]
fn the_documentation_is_current() {
    let section = testkit::Document::open("annotations.md").section("## The JSON form");
    assert_eq!(section.differences(&testkit::keys::<Element>()), [""; 0]);
}

/// The messages that it quotes are those that these values get.
#[test]
fn the_documented_errors_are_current() {
    let rows = testkit::Document::open("annotations.md").section("## What errors say").rows();
    assert!(rows.len() > 10);
    let cell = |text: &str| text.trim_matches('`').to_owned();
    let documented: Vec<_> = rows.iter().map(|row| (cell(&row[0]), cell(&row[1]))).collect();
    let told =
        |value: &str| refused(value).strip_prefix(&format!("annotation {NETWORKS}: ")).unwrap_or_default().to_owned();
    let actual: Vec<_> = documented.iter().map(|(value, _)| (value.clone(), told(value))).collect();
    assert_eq!(documented, actual);
}
