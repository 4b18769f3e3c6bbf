//! The delegate's configuration.

use cni::Command;
use serde_json::{Value, json};

use super::*;
use crate::Plugin as _;
use crate::testing::call;

fn subnet(masquerades: bool) -> Subnet {
    Subnet {
        networks: vec!["10.244.0.0/16".parse().unwrap()],
        v4: Some("10.244.1.0/24".parse().unwrap()),
        v6: None,
        mtu: 1450,
        masquerades,
    }
}

fn built(conf: Value) -> Value {
    serde_json::from_slice(&build(&call(conf), &subnet(true)).unwrap().to_vec()).unwrap()
}

#[test]
fn defaults() {
    let expected = json!({
        "name": "n", "type": "bridge", "ipMasq": false, "mtu": 1450, "isGateway": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.244.1.0/24" }]], "routes": [{ "dst": "10.244.0.0/16" }] }
    });
    assert_eq!(built(json!({ "name": "n", "type": "flannel" })), expected);
    let without = build(&call(json!({ "name": "n" })), &subnet(false)).unwrap();
    assert_eq!(without.get("ipMasq"), Some(&Json::Bool(true)));
}

#[test]
fn what_is_configured_stays() {
    let delegate = built(json!({
        "name": "n", "cniVersion": "1.0.0", "runtimeConfig": { "mac": "x" }, "prevResult": {}, "dns": {}, "args": {},
        "ipam": { "type": "static", "dataDir": "/d", "ranges": "replaced", "routes": [{ "dst": "10.9.0.0/16", "gw": "10.9.0.1", "mtu": 9 }] },
        "delegate": { "type": "macvlan", "mtu": 9000, "ipMasq": true, "other": [{ "b": 1, "a": 2 }] }
    }));
    assert_eq!(
        delegate,
        json!({
            "name": "n", "cniVersion": "1.0.0", "type": "macvlan", "mtu": 9000, "ipMasq": true, "other": [{ "a": 2, "b": 1 }],
            "runtimeConfig": { "mac": "x" },
            "ipam": { "type": "static", "dataDir": "/d", "ranges": [[{ "subnet": "10.244.1.0/24" }]],
                "routes": [{ "dst": "10.9.0.0/16", "gw": "10.9.0.1", "mtu": 9 }, { "dst": "10.244.0.0/16" }] }
        })
    );
}

#[test]
fn refused() {
    for conf in [
        json!({ "delegate": { "type": 5 } }),
        json!({ "delegate": { "Name": "x" } }),
        json!({ "delegate": { "ipam": {} } }),
        json!({ "delegate": "x" }),
        json!({ "ipam": [] }),
        json!({ "ipam": { "routes": {} } }),
        json!({ "ipam": { "routes": [5] } }),
        json!({ "ipam": { "routes": [{ "dst": 5 }] } }),
        json!({ "ipam": { "routes": [{ "dst": "10.0.0.0/8", "gw": "x" }] } }),
    ] {
        let error = build(&call(conf.clone()), &subnet(true)).unwrap_err();
        assert_eq!(error.code, cni::Code::INVALID_CONFIG, "{conf}: {error}");
    }
}

#[test]
fn whose_interface_it_is() {
    for (delegate, owns) in [
        (json!({}), true),
        (json!({ "type": "macvlan" }), true),
        (json!({ "type": "host-local" }), false),
        (json!({ "type": "flannel" }), false),
        (json!({ "type": "unheard-of" }), false),
        (json!({ "type": 5 }), false),
    ] {
        let del = Call { command: Command::Del, ..call(json!({ "type": "flannel", "delegate": delegate })) };
        assert_eq!(crate::Flannel.owns_interface(&del), owns, "{delegate}");
    }
}
