//! What a result means for an interface, without a kernel.

use super::*;
use crate::testing;

fn result(ips: &[(&str, Option<&str>)], routes: &[(&str, Option<&str>)]) -> CniResult {
    testing::result(Some(0), ips, routes)
}

#[test]
fn routes_get_the_first_gateway_of_their_family() {
    let result = result(
        &[("10.0.0.2/24", None), ("10.0.1.2/24", Some("10.0.1.1")), ("fd00::2/64", Some("fd00::1"))],
        &[("0.0.0.0/0", None), ("::/0", None), ("10.9.0.0/16", Some("10.0.0.9"))],
    );
    let plan = Plan::new(&result, 0).unwrap();
    let gateways: Vec<_> = plan.routes.iter().map(|r| r.gw.unwrap().to_string()).collect();
    assert_eq!(gateways, ["10.0.1.1", "fd00::1", "10.0.0.9"]);
    assert_eq!(plan.addresses.len(), 3);
}

#[test]
fn routes_without_any_gateway_lead_to_the_link() {
    let plan = Plan::new(&result(&[("10.0.0.2/24", None)], &[("10.9.0.0/16", None)]), 0).unwrap();
    assert_eq!(plan.routes[0].gw, None);
}

#[test]
fn the_same_route_twice_is_one_and_another_next_hop_is_two() {
    let routes = [("0.0.0.0/0", None), ("0.0.0.0/0", Some("10.0.0.1")), ("0.0.0.0/0", Some("10.0.0.3"))];
    let plan = Plan::new(&result(&[("10.0.0.2/24", Some("10.0.0.1"))], &routes), 0).unwrap();
    assert_eq!(plan.routes.len(), 2);
}

#[test]
fn addresses_of_no_interface_are_left_alone_and_of_another_refused() {
    let mut unassigned = result(&[("10.0.0.2/24", None)], &[]);
    unassigned.ips[0].interface = None;
    assert_eq!(Plan::new(&unassigned, 0).unwrap().addresses, []);
    let error = Plan::new(&result(&[("10.0.0.2/24", None)], &[]), 1).unwrap_err();
    assert!(error.message.contains("invalid interface index"), "{error}");
}

#[test]
fn what_the_kernel_would_refuse_is_refused_first() {
    for (result, text) in [
        (result(&[("10.0.0.2/24", None), ("10.0.0.2/16", None)], &[]), "twice"),
        (result(&[("10.0.0.2/24", Some("fd00::1"))], &[]), "other address family"),
        (result(&[("10.0.0.2/24", None)], &[("10.9.0.1/16", None)]), "write it as 10.9.0.0/16"),
        (result(&[("10.0.0.2/24", None)], &[("10.9.0.0/16", Some("fd00::1"))]), "different address families"),
    ] {
        let error = Plan::new(&result, 0).unwrap_err();
        assert!(error.message.contains(text), "{error}");
    }
}

#[test]
fn names_and_numbers() {
    for good in ["eth0", "br-1.100", "ünï", "123456789012345"] {
        valid_name("bridge", good).unwrap();
    }
    for bad in ["", ".", "..", "a/b", "a:b", "a b", "1234567890123456", "a\0", "ümlautümlautü"] {
        let error = valid_name("bridge", bad).unwrap_err();
        assert!(error.code == Code::INVALID_CONFIG && error.message.contains("bridge"), "{bad:?}: {error}");
    }
    for good in ["eth0", "enP65539p0s2f1np1", &"a".repeat(127)] {
        existing_name("master", good).unwrap();
    }
    for bad in ["", "a/b", "enP65539p0s2f1\0", &"a".repeat(128)] {
        assert_eq!(existing_name("master", bad).unwrap_err().code, Code::INVALID_CONFIG, "{bad:?}");
    }
    assert_eq!((mtu(0).unwrap(), mtu(1500).unwrap()), (None, Some(1500)));
    for bad in [-1, i64::MIN, i64::MAX, 1 << 31] {
        assert_eq!(mtu(bad).unwrap_err().code, Code::INVALID_CONFIG, "{bad}");
    }
}
