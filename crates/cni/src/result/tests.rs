use proptest::prelude::*;

use super::*;
use crate::{Code, Json};

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn read(text: &str, version: Version) -> CniResult {
    CniResult::from_json(&json(text), version).unwrap()
}

/// Compares without regard to the order of keys.
fn assert_same(found: &Json, expected: &str) {
    let value = |json: Json| serde_json::to_value(json).unwrap();
    assert_eq!(value(found.clone()), value(json(expected)));
}

const FULL: &str = r#"{"cniVersion": "1.1.0",
    "interfaces": [{"name": "br0"}, {"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1450, "sandbox": "/n", "socketPath": "/s", "pciID": "p"}],
    "ips": [{"interface": 1, "address": "10.1.2.3/24", "gateway": "10.1.2.1"}, {"address": "fd00::3/64"}, {"address": "10.9.9.9/8"}],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 7, "scope": 0},
               {"dst": "fd01::/16"}],
    "dns": {"nameservers": ["10.1.2.1"], "domain": "d", "search": ["s"], "options": ["o"]}}"#;

/// Reference section 1.9.
#[test]
fn every_version_of_one_result() {
    let full = read(FULL, Version::V0_1_0);
    assert_same(&full.to_json(Version::V1_1_0).unwrap(), FULL);
    // The originals have one type for 1.0.0 and 1.1.0.
    assert_same(&full.to_json(Version::V1_0_0).unwrap(), &FULL.replace("1.1.0", "1.0.0"));
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        assert_same(
            &full.to_json(version.parse().unwrap()).unwrap(),
            &r#"{"cniVersion": "@",
                "interfaces": [{"name": "br0"}, {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/n"}],
                "ips": [{"version": "4", "interface": 1, "address": "10.1.2.3/24", "gateway": "10.1.2.1"},
                        {"version": "6", "address": "fd00::3/64"}, {"version": "4", "address": "10.9.9.9/8"}],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 7, "scope": 0},
                           {"dst": "fd01::/16"}],
                "dns": {"nameservers": ["10.1.2.1"], "domain": "d", "search": ["s"], "options": ["o"]}}"#
                .replace('@', version),
        );
    }
    for version in ["0.1.0", "0.2.0"] {
        assert_same(
            &full.to_json(version.parse().unwrap()).unwrap(),
            &r#"{"cniVersion": "@",
                "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}]},
                "ip6": {"ip": "fd00::3/64", "routes": [{"dst": "fd01::/16"}]},
                "dns": {"nameservers": ["10.1.2.1"], "domain": "d", "search": ["s"], "options": ["o"]}}"#
                .replace('@', version),
        );
    }
}

#[test]
fn old_results_become_new_ones() {
    let old = read(
        r#"{"cniVersion": "0.2.0", "ip6": {"ip": "fd00::3/64", "routes": [{"dst": "::/0"}]},
            "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0"}]}}"#,
        Version::V1_0_0,
    );
    assert_eq!(old.version, Version::V0_2_0);
    assert_same(
        &old.to_json(Version::V0_4_0).unwrap(),
        r#"{"cniVersion": "0.4.0", "dns": {}, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            "ips": [{"version": "4", "address": "10.1.2.3/24", "gateway": "10.1.2.1"}, {"version": "6", "address": "fd00::3/64"}]}"#,
    );
}

#[test]
fn routes_of_a_family_without_address_are_dropped_for_old_versions() {
    let result = read(r#"{"ips": [{"address": "10.0.0.1/8"}], "routes": [{"dst": "::/0"}]}"#, Version::V1_1_0);
    let old = result.convert(Version::V0_2_0).unwrap();
    assert_eq!((old.version, old.ips.len(), old.routes.len()), (Version::V0_2_0, 1, 0));
}

#[test]
fn old_versions_need_an_address() {
    let empty = CniResult::empty(Version::V1_0_0);
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let error = empty.to_json(version).unwrap_err();
        assert_eq!(error.message, "cannot convert: no valid IP addresses");
        // Made by a plugin that was asked for this version, but with interfaces: nothing of it can be said.
        let made = CniResult { version, interfaces: vec![Interface::default()], ..empty.clone() };
        assert!(made.to_json(version).is_err());
        // Read as this version it goes out again, to any version.
        let came = CniResult::from_json(&Json::object(), version).unwrap();
        assert_same(&came.to_json(version).unwrap(), &format!(r#"{{"cniVersion": "{version}", "dns": {{}}}}"#));
        assert!(came.convert(Version::V1_0_0).is_ok());
    }
}

#[test]
fn empty_results() {
    assert_same(&CniResult::empty(Version::V1_0_0).to_json(Version::V1_0_0).unwrap(), r#"{"cniVersion": "1.0.0"}"#);
    assert_same(
        &CniResult::empty(Version::V1_0_0).to_json(Version::V0_3_1).unwrap(),
        r#"{"cniVersion": "0.3.1", "dns": {}}"#,
    );
    assert_eq!(CniResult::from_json(&Json::Null, Version::V0_4_0).unwrap(), CniResult::empty(Version::V0_4_0));
}

#[test]
fn what_go_reads_is_read() {
    let result = read(
        r#"{"CNIVersion": "", "Interfaces": [null, {"Name": "eth0", "mtu": 0, "mac": null}],
            "ips": [{"interface": -1, "address": "::ffff:10.0.0.1/120", "gateway": ""}, {"interface": 99, "address": "10.0.0.2/32"},
                    {"interface": null, "address": "10.0.0.3/32", "version": "4"}],
            "routes": [{"dst": "10.1.2.3/8", "gw": "::ffff:10.0.0.9", "mtu": 0, "priority": 0, "table": 0}], "dns": null, "extra": 1}"#,
        Version::V0_4_0,
    );
    assert_eq!((result.version, result.interfaces.len(), result.interfaces[0].name.as_str()), (Version::V0_4_0, 2, ""));
    assert_eq!(result.ips.iter().map(|ip| ip.interface).collect::<Vec<_>>(), [None, Some(99), None]);
    assert_eq!(result.ips[0].address.to_string(), "10.0.0.1/24");
    // Host bits of a destination stay as they are written.
    let route =
        Route { table: Some(0), ..Route::new("10.1.2.3/8".parse().unwrap(), Some("10.0.0.9".parse().unwrap())) };
    assert_eq!(result.routes, [route]);
    let written = result.to_json(Version::V1_1_0).unwrap();
    assert!(written.get("interfaces").unwrap().elements().unwrap()[1].get("mtu").is_none());
}

#[test]
fn unreadable_results_name_the_key() {
    for (text, code, names) in [
        (r#"{"cniVersion": "2.0.0"}"#, Code::INCOMPATIBLE_VERSION, "unsupported CNI result version \"2.0.0\""),
        (r#"{"cniVersion": 1}"#, Code::DECODE, "cniVersion"),
        (r#"{"ips": [{"address": "10.0.0.1/24"}, {"address": "10.0.0.1"}]}"#, Code::DECODE, "ips[1]"),
        (r#"{"ips": [{"address": "10.0.0.1/33"}]}"#, Code::DECODE, "10.0.0.1/33"),
        (r#"{"ips": [{"gateway": "10.0.0.1"}]}"#, Code::DECODE, "address"),
        (r#"{"ips": [{"address": "10.0.0.1/8", "gateway": "x"}]}"#, Code::DECODE, "gateway \"x\""),
        (r#"{"ips": [{"interface": "0", "address": "10.0.0.1/8"}]}"#, Code::DECODE, "ips[0].interface"),
        (r#"{"ips": {}}"#, Code::DECODE, "ips"),
        (r#"{"routes": [{"gw": "10.0.0.1"}]}"#, Code::DECODE, "routes[0]"),
        (r#"{"routes": [{"dst": "10.0.0.0/8", "scope": 256}]}"#, Code::DECODE, "routes[0].scope"),
        (r#"{"interfaces": [{"name": 1}]}"#, Code::DECODE, "interfaces[0].name"),
        (r#"{"cniVersion": "0.2.0", "ip4": {"ip": "x"}}"#, Code::DECODE, "ip4"),
        (r#"{"dns": []}"#, Code::DECODE, "dns"),
        ("[]", Code::DECODE, "result"),
        ("\"\"", Code::DECODE, "result"),
    ] {
        let error = CniResult::from_json(&json(text), Version::V1_1_0).unwrap_err();
        assert_eq!(error.code, code, "{text}: {error}");
        assert!(error.message.contains(names), "{text}: {error}");
    }
}

fn address() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(a, l)| IpNet::new(IpAddr::from(a), l).unwrap());
    let v6 = (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(a, l)| IpNet::new(IpAddr::from(a), l).unwrap());
    prop_oneof![v4, v6]
}

fn result() -> impl Strategy<Value = CniResult> {
    let interface =
        ("[a-z0-9]{1,15}", "([0-9a-f]{2})?", prop::option::of(1..70_000_u64), "(/[a-z]+)?", "(/s)?", "(p)?").prop_map(
            |(name, mac, mtu, sandbox, socket_path, pci_id)| Interface { name, mac, mtu, sandbox, socket_path, pci_id },
        );
    let ip = (prop::option::of(0..9_usize), address(), prop::option::of(any::<[u8; 16]>()))
        .prop_map(|(interface, address, gw)| IpConfig { interface, address, gateway: gw.map(IpAddr::from) });
    let one = || prop::option::of(1..=u32::MAX);
    let route = (
        address(),
        prop::option::of(any::<[u8; 4]>()),
        one(),
        one(),
        one(),
        prop::option::of(any::<u32>()),
        any::<Option<u8>>(),
    )
        .prop_map(|(dst, gw, mtu, advmss, priority, table, scope)| Route {
            dst,
            gw: gw.map(IpAddr::from),
            mtu,
            advmss,
            priority,
            table,
            scope,
        });
    let list = || prop::collection::vec(".{0,8}", 0..3);
    let dns = (list(), ".{0,8}", list(), list()).prop_map(|(nameservers, domain, search, options)| Dns {
        nameservers,
        domain,
        search,
        options,
    });
    (
        prop::sample::select(Version::ALL.to_vec()),
        prop::collection::vec(interface, 0..4),
        prop::collection::vec(ip, 0..4),
        prop::collection::vec(route, 0..4),
        dns,
    )
        .prop_map(|(version, interfaces, ips, routes, dns)| CniResult { version, interfaces, ips, routes, dns })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(result in result()) {
        for version in [Version::V1_0_0, Version::V1_1_0] {
            let read = CniResult::from_json(&result.to_json(version).unwrap(), Version::V0_1_0).unwrap();
            prop_assert_eq!(&read, &CniResult { version, ..result.clone() });
        }
    }

    #[test]
    fn converting_twice_changes_nothing_more(result in result()) {
        for version in Version::ALL {
            if let Ok(once) = result.convert(version) {
                prop_assert_eq!(once.version, version);
                prop_assert_eq!(&once.convert(version).unwrap(), &once);
                // The text goes through a parser as well.
                let text = once.to_json(version).unwrap().to_vec();
                prop_assert_eq!(&CniResult::from_json(&Json::parse(&text).unwrap(), Version::V0_1_0).unwrap(), &once);
            } else {
                prop_assert!(version < Version::V0_3_0 && result.ips.is_empty());
            }
        }
    }

    #[test]
    fn any_values_are_a_result_or_an_error(
        values in prop::collection::vec(prop::sample::select(vec![
            "null", "true", "1", "-1.5", "\"\"", "\"1.1.0\"", "\"0.2.0\"", "[]", "{}", "[null]", "[{\"address\":\"10.0.0.1/8\"}]",
            "[{\"dst\":\"::/0\"}]", "{\"ip\":\"10.0.0.1/8\",\"routes\":[{\"dst\":\"0.0.0.0/0\"}]}", "[[]]",
        ]), 7),
    ) {
        let keys = ["cniVersion", "interfaces", "ips", "routes", "ip4", "ip6", "dns"];
        let members: Vec<_> = keys.iter().zip(&values).map(|(k, v)| format!("\"{k}\":{v}")).collect();
        let tree = json(&format!("{{{}}}", members.join(",")));
        if let Ok(result) = CniResult::from_json(&tree, Version::V1_0_0) {
            for version in Version::ALL {
                let _ = result.to_json(version);
            }
        }
    }
}
