//! loopback, in real namespaces, looked at with `ip`.

use plugins::Loopback;
use serde_json::json;
use testkit::{Namespace, have_root, skip_or_fail};

use crate::call::{Program, VERSIONS, addresses};

fn up(ns: &Namespace) -> bool {
    ns.json("ip -j link show lo")[0]["flags"].as_array().unwrap().contains(&json!("UP"))
}

fn namespace() -> Option<Namespace> {
    if have_root() {
        return Some(Namespace::new());
    }
    skip_or_fail("netns", "not root");
    None
}

fn program(ns: &Namespace) -> Program {
    Program::new(&Loopback).with("CNI_IFNAME", "whatever").with("CNI_NETNS", ns.path())
}

#[test]
fn up_and_down() {
    for version in VERSIONS {
        let Some(ns) = namespace() else { return };
        let conf = json!({"cniVersion": version, "name": "cni-loopback", "type": "loopback"});
        assert!(!up(&ns));
        let result = program(&ns).add(&conf);
        assert!(up(&ns));
        assert_eq!(addresses(&result), ["127.0.0.1/8", "::1/128"], "{version}");
        if version >= "0.3.0" {
            let sandbox = ns.path().to_str().unwrap().to_owned();
            assert_eq!(result["interfaces"], json!([{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": sandbox}]));
            assert_eq!(result["ips"][0]["interface"], 0);
        }
        if version >= "0.4.0" {
            program(&ns).ok("CHECK", &conf);
        }
        // ADD again, DEL twice.
        program(&ns).add(&conf);
        program(&ns).ok("DEL", &conf);
        assert!(!up(&ns));
        program(&ns).ok("DEL", &conf);
        if version >= "0.4.0" {
            assert_eq!(program(&ns).error("CHECK", &conf), (999, "loopback interface is down".into()));
        }
    }
}

#[test]
fn a_previous_result_passes_through() {
    let Some(ns) = namespace() else { return };
    let prev = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "mac": "00:11:22:33:44:55"}],
        "ips": [{"address": "10.0.0.2/24", "interface": 0}]});
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "loopback", "prevResult": prev});
    assert_eq!(program(&ns).add(&conf), prev);
    assert!(up(&ns));
}

#[test]
fn a_foreign_address_on_lo_is_an_error_and_lo_stays_down() {
    let Some(ns) = namespace() else { return };
    ns.sh("ip address add 192.0.2.1/32 dev lo");
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "loopback"});
    let (code, message) = program(&ns).error("ADD", &conf);
    assert_eq!((code, message.as_str()), (999, "loopback interface found with non-loopback address \"192.0.2.1\""));
    assert!(!up(&ns));
}

#[test]
fn del_without_a_namespace() {
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "loopback"});
    let program = Program::new(&Loopback);
    program.with("CNI_NETNS", "").ok("DEL", &conf);
    program.with("CNI_NETNS", "/does/not/exist").ok("DEL", &conf);
    let (_, message) = program.with("CNI_NETNS", "/dev/null").error("DEL", &conf);
    assert!(message.contains("unknown FS magic"), "{message}");
    assert!(program.with("CNI_NETNS", "/does/not/exist").error("ADD", &conf).1.contains("No such file"));
}

#[test]
fn the_programs_own_namespace_is_refused_before_anything_is_done() {
    let Some(ns) = namespace() else { return };
    let inside = ns.netns().run(|| {
        let own = Program::new(&Loopback).with("CNI_NETNS", "/proc/thread-self/ns/net");
        let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "loopback"});
        for command in ["ADD", "DEL"] {
            let (code, message) = own.error(command, &conf);
            assert_eq!(code, 8);
            assert_eq!(message, "plugin's netns and netns from CNI_NETNS should not be the same");
            assert!(!up(&ns));
        }
        own.with("CNI_NETNS_OVERRIDE", "TRUE").add(&conf);
        assert!(up(&ns));
        assert_eq!(own.error("DEL", &conf).0, 8);
        assert!(up(&ns), "DEL must not take the host's lo down");
        own.with("CNI_NETNS_OVERRIDE", "1").ok("DEL", &conf);
        assert!(!up(&ns));
    });
    inside.unwrap();
}
