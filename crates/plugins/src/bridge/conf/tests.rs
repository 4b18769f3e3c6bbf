//! VLAN keys: what they put on a port, and what is refused.

use super::*;

fn trunk(text: &str) -> Vec<Trunk> {
    let json = Json::parse(text.as_bytes()).unwrap();
    from_json(&json).unwrap()
}

fn on_port(vlan: i64, text: &str) -> Vec<(u16, u16, bool)> {
    let vlans = vlans(vlan, Some(&trunk(text)), false).unwrap();
    vlans.on_port.iter().map(|v| (v.first, v.last, v.pvid && v.untagged)).collect()
}

#[test]
fn trunks_become_ranges() {
    assert_eq!(
        on_port(0, r#"[{"id":101},{"minID":200,"maxID":210}]"#),
        [(1, 1, true), (101, 101, false), (200, 210, false)]
    );
    assert_eq!(on_port(0, r#"[{"minID":10,"maxID":12,"id":13},{"id":11}]"#), [(1, 1, true), (10, 13, false)]);
    assert_eq!(on_port(100, r#"[{"minID":1,"maxID":4094}]"#), [(100, 100, true), (1, 99, false), (101, 4094, false)]);
    assert_eq!(on_port(0, r#"[{"minID":1,"maxID":3}]"#), [(1, 1, true), (2, 3, false)]);
    assert_eq!(on_port(100, "[]"), [(100, 100, true)]);
    assert_eq!(on_port(0, "[]"), []);
    assert_eq!(on_port(0, "[{}]"), []);
}

#[test]
fn a_trunk_makes_the_bridge_filter_even_if_it_is_empty() {
    assert!(vlans(0, Some(&[]), false).unwrap().filtering);
    assert!(vlans(5, None, false).unwrap().filtering);
    assert!(!vlans(0, None, false).unwrap().filtering);
}

#[test]
fn bad_ids_are_named() {
    for vlan in [-1, 4095, i64::MAX] {
        assert!(vlans(vlan, None, false).unwrap_err().message.contains("invalid VLAN ID"));
    }
    for (text, message) in [
        (r#"[{"minID":0,"maxID":5}]"#, "incorrect trunk minID parameter 0"),
        (r#"[{"minID":1,"maxID":4095}]"#, "incorrect trunk maxID parameter 4095"),
        (r#"[{"minID":6,"maxID":5}]"#, "minID 6 is greater than maxID 5"),
        (r#"[{"minID":6}]"#, "maxID is missing"),
        (r#"[{"maxID":6}]"#, "minID is missing"),
        (r#"[{"id":0}]"#, "incorrect trunk id parameter 0"),
        (r#"[{"id":-7}]"#, "incorrect trunk id parameter -7"),
    ] {
        let error = vlans(0, Some(&trunk(text)), false).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn the_documentation_is_current() {
    let section = testkit::Document::open("configuration.md").section("### bridge");
    let mut known = testkit::keys::<Raw>();
    // Chosen by `masquerade`, from text.
    known.insert("ipMasqBackend".to_owned(), ["nftables", "iptables"].map(str::to_owned).to_vec());
    assert_eq!(section.differences(&known), [""; 0]);
}
