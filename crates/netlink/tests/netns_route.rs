//! Routes, rules and neighbours on the real kernel, looked at with `ip`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;

use ipnet::IpNet;
use plexus_netlink::{
    AddressFlags, LinkChange, LinkKind, Mac, Neighbour, NewLink, NextHop, Route, Rtnl, Rule, VethPeer,
};
use proptest::prelude::*;
use rustix::io::Errno;
use serde_json::{Value, json};
use testkit::Namespace;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A namespace with `a` (10.0.0.1/24, fd00::1/64) and `b` (10.0.1.1/24), up, and their indexes.
fn world(namespace: &Namespace) -> (Rtnl, u32, u32) {
    let mut rtnl = namespace.netns().rtnl().unwrap();
    let peer = VethPeer { name: "b", mtu: None, mac: None, netns: None };
    let a = rtnl.add_link(&NewLink { up: true, ..NewLink::new("a", LinkKind::Veth(peer)) }).unwrap();
    let b = a.parent.unwrap();
    rtnl.change_link(b, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    let nodad = AddressFlags { nodad: true };
    rtnl.add_address(a.index, net("10.0.0.1/24"), nodad).unwrap();
    rtnl.add_address(a.index, net("fd00::1/64"), nodad).unwrap();
    rtnl.add_address(b, net("10.0.1.1/24"), nodad).unwrap();
    (rtnl, a.index, b)
}

/// The one route to `dst` as `ip` shows it.
fn look(namespace: &Namespace, what: &str) -> Value {
    let found = namespace.json(&format!("ip -d -j route show {what}"));
    assert_eq!(found.as_array().unwrap().len(), 1, "{what}: {found}");
    found[0].clone()
}

#[test]
fn a_route_with_everything_is_shown_with_everything() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, a, _) = world(&namespace);
    let route = Route {
        source: Some(ip("10.0.0.1")),
        metric: Some(7),
        table: Some(1000),
        mtu: Some(1300),
        advmss: Some(1200),
        protocol: Some(4),
        ..Route::new(net("192.168.0.0/16"), Some(ip("10.0.0.254")), a)
    };
    rtnl.add_route(&route).unwrap();
    let seen = look(&namespace, "192.168.0.0/16 table 1000");
    assert_eq!(seen["gateway"], "10.0.0.254");
    assert_eq!(seen["dev"], "a");
    assert_eq!(seen["prefsrc"], "10.0.0.1");
    assert_eq!(seen["metric"], 7);
    assert_eq!(seen["protocol"], "static");
    assert_eq!(seen["scope"], "global");
    assert_eq!((&seen["metrics"][0]["mtu"], &seen["metrics"][0]["advmss"]), (&json!(1300), &json!(1200)));
    assert_eq!(rtnl.routes(Some(1000), None).unwrap(), [Route { scope: Some(0), ..route.clone() }]);
    assert_eq!(rtnl.routes(Some(1000), Some(a)).unwrap().len(), 1);
    assert!(rtnl.delete_route(&route).unwrap());
    assert!(!rtnl.delete_route(&route).unwrap());
}

#[test]
fn defaults_are_the_reference_plugins() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, a, b) = world(&namespace);
    rtnl.add_route(&Route::new(net("0.0.0.0/0"), Some(ip("10.0.0.254")), a)).unwrap();
    rtnl.add_route(&Route::new(net("::/0"), Some(ip("fd00::fe")), a)).unwrap();
    rtnl.add_route(&Route::new(net("172.16.0.0/12"), None, b)).unwrap();
    let default = look(&namespace, "default");
    assert_eq!((&default["protocol"], &default["scope"]), (&json!("boot"), &json!("global")));
    assert_eq!(default["gateway"], "10.0.0.254");
    assert_eq!(look(&namespace, "172.16.0.0/12")["scope"], "link");
    let six = namespace.json("ip -d -6 -j route show default");
    assert_eq!(six[0]["gateway"], "fd00::fe");

    // As `ip route` lists them, connected ones included.
    let ours = rtnl.routes(None, None).unwrap();
    let four = namespace.json("ip -j route").as_array().unwrap().len();
    let six = namespace.json("ip -6 -j route show table main type unicast").as_array().unwrap().len();
    assert_eq!(ours.len(), four + six);
    let of_b = rtnl.routes(None, Some(b)).unwrap();
    assert!(!of_b.is_empty() && of_b.iter().all(|route| route.via[0].oif == Some(b)), "{of_b:?}");
    assert!(rtnl.routes(None, Some(99)).unwrap_err().is(Errno::NODEV));
    assert!(rtnl.routes(Some(4711), None).unwrap().is_empty(), "a table that was never used");

    // "None" when removing is "any": protocol, scope and metric of the default routes are the kernel's.
    let any = |dst: &str| Route { via: Vec::new(), ..Route::new(net(dst), None, a) };
    assert!(rtnl.delete_route(&any("0.0.0.0/0")).unwrap());
    assert!(rtnl.delete_route(&any("::/0")).unwrap());
    assert!(!rtnl.delete_route(&any("0.0.0.0/0")).unwrap());
    assert!(!rtnl.delete_route(&any("::/0")).unwrap());
}

#[test]
fn a_second_gateway_is_kept_beside_the_first_and_replace_takes_its_place() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, a, _) = world(&namespace);
    let by = |gateway: &str| Route::new(net("192.168.0.0/16"), Some(ip(gateway)), a);
    rtnl.add_route(&by("10.0.0.2")).unwrap();
    rtnl.add_route(&by("10.0.0.3")).unwrap();
    let error = rtnl.add_route(&by("10.0.0.3")).unwrap_err();
    assert!(error.is(Errno::EXIST));
    assert_eq!(error.object, "192.168.0.0/16 via 10.0.0.3 dev a", "{error}");
    assert_eq!(namespace.json("ip -j route show 192.168.0.0/16").as_array().unwrap().len(), 2);
    let other = Route::new(net("10.9.0.0/16"), Some(ip("10.0.0.2")), a);
    rtnl.replace_route(&other).unwrap();
    rtnl.replace_route(&Route { via: by("10.0.0.9").via, ..other }).unwrap();
    assert_eq!(look(&namespace, "10.9.0.0/16")["gateway"], "10.0.0.9");
}

#[test]
fn multipath_onlink_and_a_gateway_of_the_other_family() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, a, b) = world(&namespace);
    let hop =
        |gateway: &str, oif, weight| NextHop { gateway: Some(ip(gateway)), oif: Some(oif), weight, onlink: false };
    let many = Route {
        via: vec![hop("10.0.0.2", a, 1), hop("10.0.1.2", b, 10)],
        ..Route::new(net("192.168.0.0/16"), None, a)
    };
    rtnl.add_route(&many).unwrap();
    let hops = look(&namespace, "192.168.0.0/16")["nexthops"].clone();
    assert_eq!(
        (&hops[0]["gateway"], &hops[0]["dev"], &hops[0]["weight"]),
        (&json!("10.0.0.2"), &json!("a"), &json!(1))
    );
    assert_eq!(
        (&hops[1]["gateway"], &hops[1]["dev"], &hops[1]["weight"]),
        (&json!("10.0.1.2"), &json!("b"), &json!(10))
    );
    let ours = rtnl.routes(None, Some(b)).unwrap();
    assert!(ours.iter().any(|route| route.dst == many.dst && route.via == many.via), "{ours:?}");
    assert!(rtnl.delete_route(&many).unwrap());

    let six = Route { via: vec![hop("fd00::2", a, 1), hop("fd00::3", a, 3)], ..Route::new(net("fd01::/64"), None, a) };
    rtnl.add_route(&six).unwrap();
    let ours = rtnl.routes(None, None).unwrap();
    assert!(ours.iter().any(|route| route.dst == six.dst && route.via == six.via), "{ours:?}");
    assert!(rtnl.delete_route(&six).unwrap());

    // A gateway that no route leads to.
    let mut far = Route::new(net("192.168.0.0/16"), Some(ip("172.30.0.1")), a);
    let error = rtnl.add_route(&far).unwrap_err();
    assert!(error.is(Errno::NETUNREACH), "{error}");
    assert_eq!(error.kernel, "Nexthop has invalid gateway", "{error}");
    far.via[0].onlink = true;
    rtnl.add_route(&far).unwrap();
    assert_eq!(look(&namespace, "192.168.0.0/16")["flags"], json!(["onlink"]));
    assert!(rtnl.routes(None, None).unwrap().iter().any(|route| route.dst == far.dst && route.via == far.via));
    assert!(rtnl.delete_route(&far).unwrap());

    let other = Route::new(net("192.168.0.0/16"), Some(ip("fd00::2")), a);
    rtnl.add_route(&other).unwrap();
    assert_eq!(look(&namespace, "192.168.0.0/16")["via"], json!({"family": "inet6", "host": "fd00::2"}));
    assert!(rtnl.routes(None, None).unwrap().iter().any(|route| route.dst == other.dst && route.via == other.via));
}

#[test]
fn the_kernels_words_about_a_bad_route_arrive() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, a, _) = world(&namespace);
    let error = rtnl.add_route(&Route::new(net("192.168.1.1/16"), None, a)).unwrap_err();
    assert!(error.is(Errno::INVAL), "{error}");
    assert!(error.kernel.contains("Invalid prefix for given prefix length"), "{error}");
    let error = rtnl.add_route(&Route::new(net("192.168.0.0/16"), None, 99)).unwrap_err();
    assert!(error.is_missing() && error.object == "192.168.0.0/16 dev link 99", "{error}");
}

#[test]
fn rules_come_and_go() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, ..) = world(&namespace);
    let none = Rule { ipv6: false, from: None, to: None, iif: None, mark: None, table: 100, priority: None };
    let rules = [
        Rule { from: Some(net("10.0.0.1/32")), priority: Some(500), ..none.clone() },
        Rule { to: Some(net("10.9.0.0/16")), table: 100_000, priority: Some(501), ..none.clone() },
        Rule { iif: Some("a".into()), mark: Some(0x10), priority: Some(502), ..none.clone() },
        Rule { ipv6: true, from: Some(net("fd00::/64")), priority: Some(503), ..none.clone() },
        Rule { ipv6: true, mark: Some(3), priority: Some(504), ..none.clone() },
    ];
    for rule in &rules {
        rtnl.add_rule(rule).unwrap();
        let error = rtnl.add_rule(rule).unwrap_err();
        assert!(error.is(Errno::EXIST) && error.object == rule.to_string(), "{error}");
    }
    let find = |seen: &Value, priority: u32| {
        seen.as_array().unwrap().iter().find(|rule| rule["priority"] == priority).cloned().unwrap()
    };
    let four = namespace.json("ip -j rule");
    let six = namespace.json("ip -6 -j rule");
    assert_eq!((&find(&four, 500)["src"], &find(&four, 500)["table"]), (&json!("10.0.0.1"), &json!("100")));
    assert_eq!((&find(&four, 501)["dst"], &find(&four, 501)["dstlen"]), (&json!("10.9.0.0"), &json!(16)));
    assert_eq!(find(&four, 501)["table"], "100000");
    assert_eq!((&find(&four, 502)["iif"], &find(&four, 502)["fwmark"]), (&json!("a"), &json!("0x10")));
    assert_eq!(find(&six, 503)["src"], "fd00::");
    assert_eq!(find(&six, 504)["fwmark"], "0x3");

    let ours = rtnl.rules().unwrap();
    assert_eq!(ours.len(), four.as_array().unwrap().len() + six.as_array().unwrap().len());
    for rule in &rules {
        assert!(ours.contains(rule), "{rule}: {ours:?}");
        assert!(rtnl.delete_rule(rule).unwrap());
        assert!(!rtnl.delete_rule(rule).unwrap(), "{rule} twice");
    }
    assert_eq!(rtnl.rules().unwrap().len(), 5, "the kernel's own: three for IPv4, two for IPv6");
    // A priority of the kernel's choice, found again without it.
    let chosen = Rule { from: Some(net("10.0.0.7/32")), ..none };
    rtnl.add_rule(&chosen).unwrap();
    assert!(rtnl.delete_rule(&chosen).unwrap());
}

#[test]
fn neighbours_come_and_go() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, a, b) = world(&namespace);
    let mac = Some(Mac([2, 0, 0, 0, 0, 7]));
    let four = Neighbour { index: a, address: ip("10.0.0.7"), mac, permanent: true };
    let six = Neighbour { index: a, address: ip("fd00::7"), mac, permanent: false };
    rtnl.replace_neighbour(&four).unwrap();
    rtnl.replace_neighbour(&six).unwrap();
    let seen = namespace.json("ip -j neigh show dev a");
    let of = |dst: &str| seen.as_array().unwrap().iter().find(|n| n["dst"] == dst).cloned().unwrap();
    assert_eq!(
        (&of("10.0.0.7")["lladdr"], &of("10.0.0.7")["state"]),
        (&json!("02:00:00:00:00:07"), &json!(["PERMANENT"]))
    );
    assert_eq!(of("fd00::7")["state"], json!(["REACHABLE"]));
    let ours = rtnl.neighbours(a).unwrap();
    assert!(ours.contains(&four) && ours.contains(&six), "{ours:?}");
    assert!(!rtnl.neighbours(b).unwrap().iter().any(|neighbour| neighbour.address == four.address));
    // In place of the first.
    let other = Neighbour { mac: Some(Mac([2, 0, 0, 0, 0, 8])), ..four.clone() };
    rtnl.replace_neighbour(&other).unwrap();
    assert!(namespace.sh("ip neigh show 10.0.0.7").contains("02:00:00:00:00:08"));
    assert!(rtnl.delete_neighbour(a, four.address).unwrap());
    assert!(!rtnl.delete_neighbour(a, ip("10.0.0.77")).unwrap());
    let error = rtnl.replace_neighbour(&Neighbour { mac: None, ..four.clone() }).unwrap_err();
    assert!(error.is(Errno::INVAL) && error.object == "10.0.0.7 on a", "{error}");
    assert!(rtnl.replace_neighbour(&Neighbour { index: 99, ..four }).unwrap_err().is(Errno::NODEV));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is added is read back as it was given.
    #[test]
    fn any_route_makes_the_round_trip(
        v4: u32, v6: u128, four: bool, length in 0_u8..=128, gateway: bool,
        metric in proptest::option::of(1_u32..), table in 1_u32..,
        mtu in proptest::option::of(1280_u32..65_000), advmss in proptest::option::of(500_u32..65_000),
        protocol in proptest::option::of(3_u8..=250),
    ) {
        if !testkit::have_root() {
            testkit::skip_or_fail("netns", "needs root");
            return Ok(());
        }
        thread_local! {
            static WORLD: (Namespace, std::cell::RefCell<(Rtnl, u32, u32)>) = {
                let namespace = Namespace::new();
                let made = world(&namespace);
                (namespace, std::cell::RefCell::new(made))
            };
        }
        let (dst, gate) = if four {
            (IpNet::new(std::net::Ipv4Addr::from(v4).into(), length.min(32)).unwrap().trunc(), ip("10.0.0.2"))
        } else {
            (IpNet::new(std::net::Ipv6Addr::from(v6).into(), length).unwrap().trunc(), ip("fd00::2"))
        };
        WORLD.with(|(_, made)| {
            let (rtnl, a, _) = &mut *made.borrow_mut();
            // 255 is the local table, and its IPv6 half has the addresses' own routes; 253 and 254 have nothing that disturbs.
            let table = if table == 255 { 256 } else { table };
            let route = Route {
                metric, table: Some(table), mtu, advmss, protocol,
                ..Route::new(dst, gateway.then_some(gate), *a)
            };
            match rtnl.add_route(&route) {
                // IPv6 multicast and link-local destinations have rules of their own.
                Err(error) => prop_assert!(!four && error.is(Errno::INVAL), "{}", error),
                Ok(()) => {
                    let wanted = Route {
                        protocol: protocol.or(Some(3)),
                        metric: metric.or((!four).then_some(1024)),
                        scope: Some(if four && !gateway { 253 } else { 0 }),
                        ..route.clone()
                    };
                    let found = rtnl.routes(Some(table), Some(*a)).unwrap();
                    prop_assert!(found.contains(&wanted), "{wanted:?} in {found:?}");
                    prop_assert!(rtnl.delete_route(&route).unwrap());
                }
            }
            Ok(())
        })?;
    }
}
