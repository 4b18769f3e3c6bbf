//! Addresses on the real kernel, looked at with `ip`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use ipnet::IpNet;
use plexus_netlink::{Address, AddressFlags, LinkChange, LinkKind, NewLink, Rtnl, VethPeer};
use proptest::prelude::*;
use rustix::io::Errno;
use testkit::Namespace;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// A namespace with a veth pair `a`, `b`, both up. The index of `a`.
fn pair(namespace: &Namespace) -> (Rtnl, u32) {
    let mut rtnl = namespace.netns().rtnl().unwrap();
    let peer = VethPeer { name: "b", mtu: None, mac: None, netns: None };
    let a = rtnl.add_link(&NewLink { up: true, ..NewLink::new("a", LinkKind::Veth(peer)) }).unwrap();
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    rtnl.change_link(a.parent.unwrap(), &up).unwrap();
    (rtnl, a.index)
}

/// `ip -j addr show a`, without link-local ones.
fn look(namespace: &Namespace) -> Vec<serde_json::Value> {
    let all = namespace.json("ip -j addr show a")[0]["addr_info"].as_array().unwrap().clone();
    all.into_iter().filter(|a| a["scope"] != "link").collect()
}

#[test]
fn addresses_of_both_families_come_and_go() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, a) = pair(&namespace);
    // A minute instead of a second, so that it is not over before it is looked at.
    namespace.sh("sysctl -qw net.ipv6.conf.a.dad_transmits=60");
    rtnl.add_address(a, net("10.1.2.3/24"), AddressFlags::default()).unwrap();
    rtnl.add_address(a, net("10.1.3.1/31"), AddressFlags { nodad: true }).unwrap();
    rtnl.add_address(a, net("fd00::3/64"), AddressFlags { nodad: true }).unwrap();
    rtnl.add_address(a, net("fd00::4/64"), AddressFlags::default()).unwrap();
    let seen = look(&namespace);
    let text = |n: usize| format!("{}/{}", seen[n]["local"].as_str().unwrap(), seen[n]["prefixlen"]);
    let all: Vec<_> = (0..seen.len()).map(text).collect();
    assert_eq!(all, ["10.1.2.3/24", "10.1.3.1/31", "fd00::4/64", "fd00::3/64"]);
    assert_eq!(seen[0]["broadcast"], "10.1.2.255");
    assert!(seen[1].get("broadcast").is_none(), "a /31 has no broadcast address (RFC 3021)");
    assert_eq!((&seen[2]["tentative"], &seen[3]["nodad"]), (&true.into(), &true.into()));
    assert!(seen[3].get("tentative").is_none());

    let ours = rtnl.addresses(a).unwrap();
    let ours: Vec<&Address> = ours.iter().filter(|address| address.scope == 0).collect();
    assert_eq!(ours.iter().map(|a| a.address.to_string()).collect::<Vec<_>>(), all);
    let tentative: Vec<_> = ours.iter().map(|a| (a.tentative, a.dad_failed, a.index)).collect();
    assert_eq!(tentative, [(false, false, a), (false, false, a), (true, false, a), (false, false, a)]);

    // The other link's are not among them, nor the reverse.
    let b = rtnl.link("b").unwrap().index;
    assert!(rtnl.addresses(b).unwrap().iter().all(|address| address.index == b && address.scope != 0));

    for address in &all {
        assert!(rtnl.delete_address(a, net(address)).unwrap());
        assert!(!rtnl.delete_address(a, net(address)).unwrap(), "{address} twice");
    }
    assert_eq!(look(&namespace).len(), 0);
}

#[test]
fn errors_name_the_address_and_the_link() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let (mut rtnl, a) = pair(&namespace);
    rtnl.add_address(a, net("10.1.2.3/24"), AddressFlags::default()).unwrap();
    let error = rtnl.add_address(a, net("10.1.2.3/24"), AddressFlags::default()).unwrap_err();
    assert!(error.is(Errno::EXIST));
    assert!(error.to_string().starts_with("failed to add address 10.1.2.3/24 to a: File exists"), "{error}");
    let error = rtnl.add_address(99, net("10.1.2.3/24"), AddressFlags::default()).unwrap_err();
    assert!(error.is(Errno::NODEV) && error.object == "10.1.2.3/24 to link 99", "{error}");
    assert!(rtnl.delete_address(99, net("10.1.2.3/24")).unwrap_err().is(Errno::NODEV));
    assert!(rtnl.addresses(99).unwrap_err().is(Errno::NODEV));
    namespace.sh("sysctl -qw net.ipv6.conf.a.disable_ipv6=1");
    let error = rtnl.add_address(a, net("fd00::3/64"), AddressFlags::default()).unwrap_err();
    assert!(error.is(Errno::ACCESS), "{error}");
    assert!(!error.kernel.is_empty(), "{error}");
}

#[test]
fn a_duplicate_ipv6_address_is_seen_as_such() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let (left, right) = (Namespace::new(), Namespace::new());
    let (mut rtnl, a) = pair(&left);
    let mut other = right.netns().rtnl().unwrap();
    let b = rtnl.link("b").unwrap().index;
    let away = LinkChange { netns: Some(std::os::fd::AsFd::as_fd(right.netns())), ..LinkChange::default() };
    rtnl.change_link(b, &away).unwrap();
    let b = other.link("b").unwrap().index;
    other.change_link(b, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    other.add_address(b, net("fd00::3/64"), AddressFlags { nodad: true }).unwrap();
    rtnl.add_address(a, net("fd00::3/64"), AddressFlags::default()).unwrap();
    // Detection takes a second or two; the test waits for its end however long, up to a bound that only a hang exceeds.
    for _ in 0..600 {
        let addresses = rtnl.addresses(a).unwrap();
        let ours = addresses.iter().find(|address| address.address == net("fd00::3/64")).unwrap();
        if ours.dad_failed {
            return;
        }
        assert!(ours.tentative, "duplicate address detection ended without noticing");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("duplicate address detection did not end in 30 s");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any unicast address that the kernel takes is reported by `ip` and by us as it was given, and goes again.
    #[test]
    fn any_address_makes_the_round_trip(v4: u32, v6: u128, four: bool, length in 1_u8..=128) {
        if !testkit::have_root() {
            testkit::skip_or_fail("netns", "needs root");
            return Ok(());
        }
        thread_local! {
            static WORLD: (Namespace, std::cell::RefCell<(Rtnl, u32)>) = {
                let namespace = Namespace::new();
                let made = pair(&namespace);
                (namespace, std::cell::RefCell::new(made))
            };
        }
        let address = if four {
            IpNet::new(std::net::Ipv4Addr::from(v4).into(), length.min(32)).unwrap()
        } else {
            IpNet::new(std::net::Ipv6Addr::from(v6).into(), length).unwrap()
        };
        WORLD.with(|(namespace, made)| {
            let (rtnl, a) = &mut *made.borrow_mut();
            match rtnl.add_address(*a, address, AddressFlags { nodad: true }) {
                // The kernel takes no multicast, loopback or unspecified IPv6 address.
                Err(error) => prop_assert!(error.is(Errno::ADDRNOTAVAIL) || error.is(Errno::INVAL), "{}", error),
                Ok(()) => {
                    prop_assert!(rtnl.addresses(*a).unwrap().iter().any(|found| found.address == address));
                    let all = namespace.json("ip -j addr show a");
                    let seen = all[0]["addr_info"].as_array().unwrap().iter().any(|found| {
                        found["local"] == address.addr().to_string() && found["prefixlen"] == address.prefix_len()
                    });
                    prop_assert!(seen, "{all}");
                    prop_assert!(rtnl.delete_address(*a, address).unwrap());
                }
            }
            Ok(())
        })?;
    }
}
