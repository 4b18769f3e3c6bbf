//! What cannot be fulfilled: the pod does not come up, its event says what to fix, and once that is fixed it comes up by itself.

use e2e::{Pod, Test, definition, eventually};
use serde_json::json;

/// The event that the kubelet makes of the plugin's error.
const FAILED: &str = "FailedCreatePodSandBox";

/// Annotation -> what the event must name.
const INVALID: &[(&str, &str, &str)] = &[
    ("no-json", r#"[{"name": "blue""#, "JSON"),
    ("object", r#"{"name": "blue"}"#, "list"),
    ("null-element", "[null]", "element 1"),
    ("no-name", r#"[{"interface": "x"}]"#, "name"),
    ("two-slashes", "a/b/c", "a/b/c"),
    ("two-ats", "blue@x@y", "blue@x@y"),
    ("long-interface", "blue@interface-too-long", "interface-too-long"),
    ("interface-slash", r#"[{"name": "blue", "interface": "a/b"}]"#, "a/b"),
    ("interface-lo", "blue@lo", "lo"),
    ("interface-eth0", "blue@eth0", "eth0"),
    ("mac", r#"[{"name": "blue", "mac": "02:00"}]"#, "02:00"),
    ("ips", r#"[{"name": "blue", "ips": ["10.0.0.300"]}]"#, "10.0.0.300"),
    ("default-route", r#"[{"name": "blue", "default-route": ["nowhere"]}]"#, "nowhere"),
    ("port", r#"[{"name": "blue", "portMappings": [{"hostPort": 70000, "containerPort": 80}]}]"#, "70000"),
    ("capability", r#"[{"name": "blue", "bandwidth": {"ingressRate": 1000, "ingressBurst": 1000}}]"#, "bandwidth"),
    ("wrong-type", r#"[{"name": 7}]"#, "name"),
    (
        "claim-and-ips",
        r#"[{"name": "blue", "ips": ["10.210.1.9"], "ipam-claim-reference": "claim"}]"#,
        "ipam-claim-reference",
    ),
    ("metric-alone", r#"[{"name": "blue", "default-route-metric": 50}]"#, "default-route-metric"),
    (
        "two-default-routes",
        r#"[{"name": "blue", "default-route": ["10.210.1.1"]}, {"name": "blue", "default-route": ["10.210.1.2"]}]"#,
        "default-route",
    ),
    ("burst", r#"[{"name": "blue", "bandwidth": {"ingressBurst": 1000}}]"#, "ingressRate"),
    ("guid", r#"[{"name": "blue", "infiniband-guid": "02:11"}]"#, "02:11"),
    ("cni-args", r#"[{"name": "blue", "cni-args": ["x"]}]"#, "cni-args"),
    ("no-definition", "blue,green", "green"),
    ("same-interface", "blue@one,blue@one", "one"),
];

/// The kubelet has tried again, and Plexus has said so in the event that there was.
fn is_counted(test: &Test, pod: &str) {
    eventually(&format!("one event of pod {pod} with a count"), || {
        let mut events = test.events();
        events.retain(|e| {
            e.involved_object.name.as_deref() == Some(pod) && e.reason.as_deref() == Some("FailedAddingInterface")
        });
        let counts: Vec<_> = events.iter().map(|e| (e.count, e.message.as_deref())).collect();
        if matches!(counts[..], [(Some(2..), _)]) { Ok(()) } else { Err(format!("{counts:#?}")) }
    });
}

#[test]
fn invalid_annotations_of_every_kind() {
    let Some(test) = Test::new("invalid") else { return };
    let config =
        json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.210.1.0/24"}});
    test.apply(&[definition("blue", &config)]);
    let pods: Vec<_> = INVALID.iter().map(|(name, value, _)| Pod::new(name).networks(value).manifest()).collect();
    test.apply(&pods);
    for (name, value, names) in INVALID {
        let message = test.event(name, FAILED, names);
        assert!(!message.contains("panic"), "{value}: {message}");
    }
    for (name, ..) in INVALID {
        is_counted(&test, name);
    }
    for pod in test.get_all() {
        let ready = pod
            .status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten())
            .any(|c| c.type_ == "Ready" && c.status == "True");
        assert!(!ready, "{:?}", pod.metadata.name);
    }
}

#[test]
fn a_network_that_comes_later() {
    let Some(test) = Test::new("later") else { return };
    test.create(&Pod::new("web").networks("blue@blue0"));
    test.event("web", FAILED, "later/blue");
    test.event("web", "NoNetworkFound", "blue");
    let config =
        json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.211.1.0/24"}});
    test.apply(&[definition("blue", &config)]);
    test.ready("web");
    assert!(test.addresses("web")["blue0"][0].starts_with("10.211.1."));
}

/// The second of two networks fails: what the first one and the default network made is undone.
#[test]
fn the_second_network_fails_and_all_is_undone() {
    let Some(test) = Test::on_nodes("rollback") else { return };
    let before = test.nodes().traces();
    let good =
        json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.212.1.0/24"}});
    let mut bad = good.clone();
    bad["master"] = json!("no-such-link");
    test.apply(&[definition("good", &good), definition("bad", &bad)]);
    test.create(&Pod::new("web").networks("good,bad"));
    test.event("web", FAILED, "no-such-link");
    // What fails last of all: every network is there when its gateway turns out to be nowhere.
    let astray = json!([{"name": "good", "default-route": ["10.99.99.1"]}]).to_string();
    test.create(&Pod::new("astray").networks(&astray));
    test.event("astray", FAILED, "10.99.99.1");
    // Each try gets other addresses.
    is_counted(&test, "web");
    is_counted(&test, "astray");
    test.delete_all();
    test.nodes().as_before(&before);
}
