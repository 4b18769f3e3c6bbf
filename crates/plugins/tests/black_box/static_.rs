//! static.

use plugins::Static;
use serde_json::{Value, json};

use crate::call::{Program, VERSIONS, addresses, gateways, routes};

fn program() -> Program {
    Program::new(&Static)
}

fn conf(version: &str, ipam: Value) -> Value {
    let mut ipam = ipam;
    ipam["type"] = "static".into();
    json!({"cniVersion": version, "name": "mynet", "type": "ipvlan", "ipam": ipam})
}

#[test]
fn addresses_routes_and_dns() {
    for version in VERSIONS {
        let conf = conf(
            version,
            json!({
                "addresses": [{"address": "10.10.0.1/24", "gateway": "10.10.0.254"},
                              {"address": "3ffe:ffff:0:01ff::1/64", "gateway": "3ffe:ffff:0::1"}],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.10.5.1"},
                           {"dst": "3ffe:ffff:0:01ff::1/64"}],
                "dns": {"nameservers": ["8.8.8.8"], "domain": "example.com", "search": ["example.com"]},
            }),
        );
        let result = program().add(&conf);
        assert_eq!(addresses(&result), ["10.10.0.1/24", "3ffe:ffff:0:1ff::1/64"], "{version}");
        assert_eq!(gateways(&result), ["10.10.0.254", "3ffe:ffff::1"]);
        assert_eq!(routes(&result), ["0.0.0.0/0", "192.168.0.0/16 10.10.5.1", "3ffe:ffff:0:1ff::1/64"]);
        assert_eq!(
            result["dns"],
            json!({"nameservers": ["8.8.8.8"], "domain": "example.com", "search": ["example.com"]})
        );
        program().ok("DEL", &conf);
        program().ok("DEL", &json!({"cniVersion": version, "name": "other", "ipam": {"addresses": "no list"}}));
    }
}

/// A placeholder in the place of an address that the capability gives.
#[test]
fn what_is_replaced_need_not_make_sense() {
    let given = |more: Value| {
        let mut conf =
            conf("1.0.0", json!({ "type": "static", "addresses": [{"address": "10.10.0.1"}, {"address": ""}] }));
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        conf
    };
    let result = program().add(&given(json!({ "runtimeConfig": { "ips": ["10.10.0.5/24"] } })));
    assert_eq!(addresses(&result), ["10.10.0.5/24"]);
    let result = program().add(&given(json!({ "args": { "cni": { "ips": ["10.10.0.6/24"] } } })));
    assert_eq!(addresses(&result), ["10.10.0.6/24"]);
    assert_eq!(program().error("ADD", &given(json!({ "runtimeConfig": { "ips": [] } }))).0, 7);
}

/// A defect that there was: the address became IPv4 and the route to its neighbours stayed IPv6.
#[test]
fn ipv4_in_ipv6_clothes_is_ipv4_in_routes_too() {
    let result = program().add(&conf(
        "1.0.0",
        json!({"addresses": [{"address": "::ffff:10.0.0.5/120", "gateway": "::ffff:10.0.0.1"}],
               "routes": [{"dst": "::ffff:10.2.0.0/112", "gw": "::ffff:10.0.0.1"}, {"dst": "::/0"}]}),
    ));
    assert_eq!((addresses(&result), gateways(&result)), (vec!["10.0.0.5/24".into()], vec!["10.0.0.1".into()]));
    assert_eq!(routes(&result), ["10.2.0.0/16 10.0.0.1", "::/0"]);
}

#[test]
fn several_next_hops_for_one_destination() {
    for version in VERSIONS {
        let result = program().add(&conf(
            version,
            json!({"addresses": [{"address": "10.10.0.1/24"}],
                   "routes": [{"dst": "0.0.0.0/0", "gw": "10.10.0.2"}, {"dst": "0.0.0.0/0", "gw": "10.10.0.3"}]}),
        ));
        assert_eq!(routes(&result), ["0.0.0.0/0 10.10.0.2", "0.0.0.0/0 10.10.0.3"]);
    }
}

#[test]
fn addresses_from_elsewhere() {
    for version in VERSIONS {
        let base = conf(version, json!({"routes": [{"dst": "0.0.0.0/0"}]}));
        let by_env = program().with("CNI_ARGS", "IP=10.10.0.1/24;GATEWAY=10.10.0.254");
        let result = by_env.add(&base);
        assert_eq!((addresses(&result), gateways(&result)), (vec!["10.10.0.1/24".into()], vec!["10.10.0.254".into()]));

        let several = program().with("CNI_ARGS", "IP=10.10.0.1/24, 2001:db8::5/64;GATEWAY=10.10.0.254,2001:db8::1");
        let result = several.add(&base);
        assert_eq!(addresses(&result), ["10.10.0.1/24", "2001:db8::5/64"]);
        assert_eq!(gateways(&result), ["10.10.0.254", "2001:db8::1"]);

        // args takes the place of CNI_ARGS, the capability that of both.
        let mut args = base.clone();
        args["args"] = json!({"cni": {"ips": ["10.10.0.2/24"]}});
        assert_eq!(addresses(&by_env.add(&args)), ["10.10.0.2/24"]);
        args["runtimeConfig"] = json!({"ips": ["10.10.0.3/24", "2001:db8::3/64"]});
        assert_eq!(addresses(&by_env.add(&args)), ["10.10.0.3/24", "2001:db8::3/64"]);
    }
    // CNI_ARGS adds to the configuration, and its gateway is for all.
    let configured = conf("1.0.0", json!({"addresses": [{"address": "10.10.0.9/24"}, {"address": "10.11.0.9/24"}]}));
    let result = program().with("CNI_ARGS", "IP=10.10.0.1/24;GATEWAY=10.10.0.254").add(&configured);
    assert_eq!(addresses(&result), ["10.10.0.9/24", "10.11.0.9/24", "10.10.0.1/24"]);
    assert_eq!(gateways(&result), ["10.10.0.254", "10.10.0.254"]);
}

#[test]
fn without_ipam_nothing_else_counts() {
    for version in VERSIONS {
        for extra in
            [json!({"args": {"cni": {"ips": ["10.0.0.1/24"]}}}), json!({"runtimeConfig": {"ips": ["10.0.0.1/24"]}})]
        {
            let mut conf = extra;
            conf["cniVersion"] = version.into();
            conf["name"] = "mynet".into();
            assert_eq!(program().error("ADD", &conf), (7, "IPAM config missing 'ipam' key".to_owned()));
        }
    }
}

#[test]
fn what_is_no_cidr_is_quoted() {
    for version in VERSIONS {
        let base = conf(version, json!({}));
        let configured = conf(version, json!({"addresses": [{"address": "10.10.0.1"}]}));
        let quoted = "the 'address' field is expected to be in CIDR notation, got: '10.10.0.1'";
        assert_eq!(program().error("ADD", &configured), (7, quoted.into()));
        let quoted = "the 'ip' field is expected to be in CIDR notation, got: '10.10.0.2'";
        assert_eq!(program().with("CNI_ARGS", "IP=10.10.0.2").error("ADD", &base), (4, quoted.into()));
        let gateway = "invalid gateway address: x";
        assert_eq!(program().with("CNI_ARGS", "IP=10.0.0.1/8;GATEWAY=x").error("ADD", &base), (4, gateway.into()));
        for key in ["args", "runtimeConfig"] {
            let mut conf = base.clone();
            conf[key] =
                if key == "args" { json!({"cni": {"ips": ["10.10.0.3"]}}) } else { json!({"ips": ["10.10.0.3"]}) };
            let quoted = "an entry in the 'ips' field is NOT in CIDR notation, got: '10.10.0.3'";
            assert_eq!(program().error("ADD", &conf), (7, quoted.into()));
        }
    }
    let two = conf("0.2.0", json!({"addresses": [{"address": "10.0.0.1/8"}, {"address": "10.0.0.2/8"}]}));
    let message = "CNI version 0.2.0 does not support more than 1 address per family";
    assert_eq!(program().error("ADD", &two), (7, message.into()));
}

#[test]
fn no_address_is_an_empty_result() {
    let result = program().add(&conf("1.0.0", json!({})));
    assert_eq!(result, json!({"cniVersion": "1.0.0"}));
    // Versions that cannot say it.
    assert_eq!(program().error("ADD", &conf("0.2.0", json!({}))).1, "cannot convert: no valid IP addresses");
}

#[test]
fn check_compares_gateways() {
    let mut conf = conf("1.0.0", json!({"addresses": [{"address": "10.10.0.1/24", "gateway": "10.10.0.254"}]}));
    assert_eq!(program().error("CHECK", &conf), (7, "Required prevResult missing".into()));
    conf["prevResult"] = program().add(&conf);
    program().ok("CHECK", &conf);
    conf["prevResult"]["ips"][0]["gateway"] = "10.10.0.253".into();
    let message = "static: Failed to match addr 10.10.0.1 on interface eth0";
    assert_eq!(program().error("CHECK", &conf), (999, message.into()));
    conf["prevResult"] = json!({"cniVersion": "1.0.0"});
    program().ok("CHECK", &conf);
}
