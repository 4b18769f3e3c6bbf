//! `subnet.env`, good and bad.

use proptest::prelude::*;

use super::*;

const GOOD: &str =
    "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

#[test]
fn good() {
    let subnet = parse(GOOD).unwrap();
    assert_eq!(subnet.v4.unwrap().to_string(), "10.244.1.0/24");
    assert_eq!((subnet.v6, subnet.mtu, subnet.masquerades), (None, 1450, true));
    let many = GOOD.replace("10.244.0.0/16", "10.244.0.0/16,10.244.0.0/16,192.168.0.0/16");
    assert_eq!(parse(&many).unwrap().networks.len(), 2);
    // Only "true" is true; unknown lines, blank ones and carriage returns do not matter.
    let odd = GOOD.replace("IPMASQ=true", "IPMASQ=yes").replace('\n', "\r\n") + "\r\n\r\nOTHER\r\nFLANNEL_X=1\r\n";
    assert!(!parse(&odd).unwrap().masquerades);
}

#[test]
fn bad_lines_are_named() {
    for (line, text) in [
        ("FLANNEL_MTU", "line 5: \"FLANNEL_MTU\": \"=\" is missing"),
        ("FLANNEL_MTU=big", "not a number of bytes"),
        ("FLANNEL_MTU=-1", "not a number of bytes"),
        ("FLANNEL_SUBNET=10.244.1.1", "not an address with prefix length"),
        ("FLANNEL_SUBNET=fc00::1/64", "wrong address family"),
        ("FLANNEL_NETWORK=", "not an address with prefix length"),
        ("FLANNEL_NETWORK=10.0.0.0/8,fc00::/48", "wrong address family"),
        ("FLANNEL_IPV6_SUBNET=10.0.0.0/8", "wrong address family"),
    ] {
        let error = parse(&format!("{GOOD}{line}\n")).unwrap_err();
        assert!(error.contains(text), "{line}: {error}");
    }
}

#[test]
fn everything_missing_is_named() {
    let error = parse("").unwrap_err();
    for key in ["FLANNEL_NETWORK", "FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"] {
        assert!(error.contains(key), "{error}");
    }
    for key in ["FLANNEL_NETWORK", "FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"] {
        let error = parse(&GOOD.replace(key, "X")).unwrap_err();
        assert!(error.contains("missing") && error.contains(key), "{error}");
    }
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("subnet.env");
    assert_eq!(Subnet::read(&path).unwrap_err().code, Code::TRY_AGAIN);
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(Subnet::read(&path).unwrap_err().message.contains("not UTF-8"));
    std::fs::write(&path, vec![b'a'; 1 << 20]).unwrap();
    assert!(Subnet::read(&path).unwrap_err().message.contains("longer than"));
    std::fs::write(&path, GOOD).unwrap();
    Subnet::read(&path).unwrap();
}

proptest! {
    #[test]
    fn nothing_panics(text in "(FLANNEL_(NETWORK|SUBNET|MTU|IPMASQ|IPV6_SUBNET)?[=,/0-9a-f:.\n]{0,20}\n){0,6}") {
        let _ = parse(&text);
    }
}
