//! Links on the real kernel, looked at with `ip`.

use std::os::fd::AsFd;

use plexus_netlink::{BridgePort, LinkChange, LinkKind, Mac, MacvlanMode, NewLink, OperState, VethPeer};
use rustix::io::Errno;
use serde_json::{Value, json};
use testkit::Namespace;

/// What `ip -d -j link show NAME` says.
fn look(namespace: &Namespace, name: &str) -> Value {
    namespace.json(&format!("ip -d -j link show {name}"))[0].clone()
}

fn veth<'a>(name: &'a str, peer: &'a str) -> NewLink<'a> {
    NewLink::new(name, LinkKind::Veth(VethPeer { name: peer, mtu: None, mac: None, netns: None }))
}

#[test]
fn one_request_makes_a_whole_bridge_port_with_its_peer_in_another_namespace() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let (host, pod) = (Namespace::new(), Namespace::new());
    let mut rtnl = host.netns().rtnl().unwrap();
    let bridge = NewLink { up: true, ..NewLink::new("br0", LinkKind::Bridge { vlan_filtering: false }) };
    let bridge = rtnl.add_link(&bridge).unwrap();
    assert_eq!((bridge.name.as_str(), bridge.kind.as_str(), bridge.up), ("br0", "bridge", true));
    assert!(!bridge.vlan_filtering.unwrap_or(false));

    let (mac, peer_mac) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let peer = VethPeer { name: "eth0", mtu: Some(1400), mac: Some(peer_mac), netns: Some(pod.netns().as_fd()) };
    let new = NewLink {
        mtu: Some(1400),
        mac: Some(mac),
        up: true,
        master: Some(bridge.index),
        ..NewLink::new("veth1", LinkKind::Veth(peer))
    };
    let link = rtnl.add_link(&new).unwrap();

    let seen = look(&host, "veth1");
    assert_eq!(seen["ifindex"], link.index);
    assert_eq!(seen["master"], "br0");
    assert_eq!(seen["mtu"], 1400);
    assert_eq!(seen["address"], "02:00:00:00:00:01");
    assert!(seen["flags"].as_array().unwrap().contains(&json!("UP")));
    assert_eq!((link.mac, link.mtu, link.up, link.master), (Some(mac), 1400, true, Some(bridge.index)));
    let inside = look(&pod, "eth0");
    assert_eq!(inside["address"], "02:00:00:00:00:02");
    assert_eq!(inside["mtu"], 1400);
    // One queue at each end: the kernel's own default makes one for each CPU and takes them away again.
    for end in [&seen, &inside] {
        assert_eq!((&end["num_tx_queues"], &end["num_rx_queues"]), (&json!(1), &json!(1)), "{end}");
    }
    // The echo tells the peer's index without a question in its namespace.
    assert_eq!(inside["ifindex"], link.parent.unwrap());
    assert_eq!(seen["link_netnsid"], link.parent_nsid.unwrap());
    // What is asked later agrees with the echo.
    let later = rtnl.link("veth1").unwrap();
    assert_eq!((later.index, later.parent, later.parent_nsid), (link.index, link.parent, link.parent_nsid));
    assert_eq!(later.port, Some(BridgePort { hairpin: Some(false), isolated: Some(false) }));
    for value in [0, 2, 1] {
        host.sh(&format!("sysctl -qw net.ipv6.conf.veth1.accept_ra={value}"));
        assert_eq!(rtnl.link("veth1").unwrap().accept_ra, Some(value));
    }
}

#[test]
fn a_macvlan_is_made_in_the_pod_under_a_name_that_the_host_has_too() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let (host, pod) = (Namespace::new(), Namespace::new());
    let mut rtnl = host.netns().rtnl().unwrap();
    let parent = rtnl.add_link(&NewLink { up: true, ..veth("net1", "peer") }).unwrap();
    let kind = LinkKind::Macvlan { mode: MacvlanMode::Vepa, bc_queue_len: Some(2000) };
    let new = NewLink { mtu: Some(1300), parent: Some(parent.index), up: true, ..NewLink::new("net1", kind) };
    rtnl.add_link_in(&new, pod.netns()).unwrap();
    let seen = look(&pod, "net1");
    assert_eq!(seen["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(seen["linkinfo"]["info_data"]["mode"], "vepa");
    assert_eq!(seen["mtu"], 1300);
    assert!(pod.sh("ip -d link show net1").contains("bcqueuelen 2000"));
    let link = pod.netns().rtnl().unwrap().link("net1").unwrap();
    assert_eq!(link.macvlan_mode, Some(MacvlanMode::Vepa));
    assert_eq!((link.parent, link.parent_nsid.is_some()), (Some(parent.index), true));
    // Again: the name is taken in the pod.
    let kind = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };
    let new = NewLink { parent: Some(parent.index), ..NewLink::new("net1", kind) };
    let error = rtnl.add_link_in(&new, pod.netns()).unwrap_err();
    assert!(error.is(Errno::EXIST), "{error}");
    assert!(error.to_string().starts_with("failed to create macvlan net1 in "), "{error}");
}

#[test]
fn a_change_of_everything_is_one_request() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let (host, pod) = (Namespace::new(), Namespace::new());
    let mut rtnl = host.netns().rtnl().unwrap();
    let bridge = rtnl.add_link(&NewLink::new("br0", LinkKind::Bridge { vlan_filtering: false })).unwrap();
    let link = rtnl.add_link(&veth("a", "b")).unwrap();
    let change = LinkChange {
        up: Some(true),
        name: Some("renamed"),
        mtu: Some(1234),
        mac: Some(Mac([2, 0, 0, 0, 0, 9])),
        master: Some(bridge.index),
        promisc: Some(true),
        allmulti: Some(true),
        txqlen: Some(77),
        alias: Some("what it is for"),
        // arp_notify on, and send_redirects off: zero is a value too.
        ipv4_conf: &[(22, 1), (6, 0)],
        netns: None,
    };
    rtnl.change_link(link.index, &change).unwrap();
    let seen = look(&host, "renamed");
    assert_eq!(seen["mtu"], 1234);
    assert_eq!(seen["address"], "02:00:00:00:00:09");
    assert_eq!(seen["master"], "br0");
    assert_eq!(seen["txqlen"], 77);
    assert_eq!(seen["ifalias"], "what it is for");
    for flag in ["UP", "PROMISC", "ALLMULTI"] {
        assert!(seen["flags"].as_array().unwrap().contains(&json!(flag)), "{seen}");
    }
    let sysctl = |key: &str| host.sh(&format!("sysctl -n net.ipv4.conf.renamed.{key}")).trim().to_owned();
    assert_eq!((sysctl("arp_notify").as_str(), sysctl("send_redirects").as_str()), ("1", "0"));
    let after = rtnl.link_by_index(link.index).unwrap();
    assert_eq!((after.name.as_str(), after.alias.as_str(), after.txqlen), ("renamed", "what it is for", 77));
    assert!(after.promisc && after.allmulti && after.up);

    rtnl.change_port(link.index, &BridgePort { hairpin: Some(true), isolated: Some(true) }).unwrap();
    let data = look(&host, "renamed")["linkinfo"]["info_slave_data"].clone();
    assert_eq!((&data["hairpin"], &data["isolated"]), (&json!(true), &json!(true)));
    assert_eq!(rtnl.link("renamed").unwrap().port, Some(BridgePort { hairpin: Some(true), isolated: Some(true) }));

    // Off the bridge, and into another namespace under another name.
    let off =
        LinkChange { master: Some(0), promisc: Some(false), alias: Some(""), up: Some(false), ..LinkChange::default() };
    rtnl.change_link(link.index, &off).unwrap();
    let seen = look(&host, "renamed");
    assert!(seen.get("master").is_none() && seen.get("ifalias").is_none(), "{seen}");
    let away = LinkChange { netns: Some(pod.netns().as_fd()), name: Some("eth7"), ..LinkChange::default() };
    rtnl.change_link(link.index, &away).unwrap();
    assert_eq!(look(&pod, "eth7")["address"], "02:00:00:00:00:09");
    assert!(rtnl.link("renamed").unwrap_err().is(Errno::NODEV));
}

#[test]
fn a_port_setting_of_a_link_that_is_no_port_is_refused() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    let mut rtnl = host.netns().rtnl().unwrap();
    let link = rtnl.add_link(&veth("a", "b")).unwrap();
    let error = rtnl.change_port(link.index, &BridgePort { hairpin: Some(true), isolated: None }).unwrap_err();
    assert!(error.is(Errno::OPNOTSUPP) && error.object == "a", "{error}");
}

#[test]
fn all_links_are_listed_as_ip_lists_them() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    let mut rtnl = host.netns().rtnl().unwrap();
    // Enough that the dump takes several reads.
    for n in 0..60 {
        rtnl.add_link(&veth(&format!("a{n}"), &format!("b{n}"))).unwrap();
    }
    let ours: Vec<_> = rtnl.links().unwrap().into_iter().map(|l| (l.index, l.name)).collect();
    let theirs: Vec<_> = host
        .json("ip -j link")
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (l["ifindex"].as_u64().unwrap() as u32, l["ifname"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(ours.len(), 121);
    assert_eq!(ours, theirs);
    let lo = rtnl.link("lo").unwrap();
    assert!(lo.loopback && !lo.up);
    assert_eq!((lo.index, lo.kind.as_str(), lo.oper_state), (1, "", OperState::Down));
}

#[test]
fn links_are_removed_together_and_missing_ones_do_not_matter() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    let mut rtnl = host.netns().rtnl().unwrap();
    for name in ["a", "c", "e"] {
        rtnl.add_link(&veth(name, &format!("{name}-peer"))).unwrap();
    }
    assert_eq!(rtnl.delete_links(&[]).unwrap(), 0);
    assert_eq!(rtnl.delete_links(&["nothing", "here"]).unwrap(), 0);
    assert_eq!(rtnl.delete_links(&["a", "nothing", "c", "a"]).unwrap(), 2);
    assert_eq!(host.json("ip -j link").as_array().unwrap().len(), 3, "lo, e and its peer");
    // Both ends of a pair.
    assert_eq!(rtnl.delete_links(&["e", "e-peer"]).unwrap(), 2);
    assert_eq!(host.json("ip -j link").as_array().unwrap().len(), 1);
    assert!(!rtnl.delete_link("a").unwrap());
    rtnl.add_link(&veth("a", "b")).unwrap();
    assert_eq!(rtnl.delete_links(&["b"]).unwrap(), 1);
    assert!(!rtnl.delete_link("a").unwrap());
}

#[test]
fn a_link_that_cannot_be_removed_keeps_no_other() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    let mut rtnl = host.netns().rtnl().unwrap();
    rtnl.add_link(&veth("a", "b")).unwrap();
    rtnl.add_link(&veth("c", "d")).unwrap();
    let error = rtnl.delete_links(&["a", "lo", "c"]).unwrap_err();
    assert_eq!((error.object.as_str(), error.errno), ("lo", Errno::OPNOTSUPP.raw_os_error()), "{error}");
    let left = host.json("ip -j link");
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left[0]["group"], "default");
}

#[test]
fn errors_say_what_on_what_and_in_the_kernels_words() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    let mut rtnl = host.netns().rtnl().unwrap();
    let error = rtnl.link("nothing").unwrap_err();
    assert_eq!(error.to_string(), "failed to find link nothing: No such device (os error 19)");
    assert!(error.is_missing());
    rtnl.add_link(&veth("a", "b")).unwrap();
    let error = rtnl.add_link(&veth("a", "c")).unwrap_err();
    assert!(error.is(Errno::EXIST));
    assert!(error.to_string().starts_with("failed to create veth pair a with peer c: File exists"), "{error}");
    // A macvlan without parent: the kernel's own words and the place.
    let kind = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };
    let error = rtnl.add_link(&NewLink::new("m", kind)).unwrap_err();
    assert!(error.is(Errno::INVAL), "{error}");
    let error = rtnl.change_link(2, &LinkChange { mtu: Some(1_000_000), ..LinkChange::default() }).unwrap_err();
    assert_eq!(error.kernel, "mtu greater than device maximum", "{error}");
    assert!(rtnl.change_link(99, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap_err().is_missing());
}

#[test]
fn hostile_names_are_refused_and_make_no_link_of_another_name() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    let mut rtnl = host.netns().rtnl().unwrap();
    for name in ["", ".", "..", "a/b", "a b", "a\0b", "net%d", "sixteen-bytes-xx", "a:b", "a\nb"] {
        for new in [veth(name, "peer"), veth("host", name)] {
            let error = rtnl.add_link(&new).unwrap_err();
            assert!(error.is(Errno::INVAL), "{name:?}: {error}");
        }
        assert!(rtnl.link(name).is_err());
        assert!(!rtnl.delete_link(name).unwrap_or(false));
    }
    assert_eq!(rtnl.links().unwrap().len(), 1);
}

#[test]
fn kinds_that_the_kernel_lacks_are_named() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    let mut rtnl = host.netns().rtnl().unwrap();
    match rtnl.add_link(&NewLink::new("d0", LinkKind::Dummy)) {
        Ok(link) => {
            assert_eq!(link.kind, "dummy");
            assert_eq!(look(&host, "d0")["linkinfo"]["info_kind"], "dummy");
        }
        Err(error) => {
            assert!(error.is(Errno::OPNOTSUPP), "{error}");
            assert!(host.run("ip link add d0 type dummy").status.code() != Some(0), "ip can, we cannot: {error}");
            testkit::skip_or_fail("kernel", "no dummy links");
        }
    }
}

#[test]
fn a_dump_is_whole_while_links_come_and_go() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    let mut rtnl = host.netns().rtnl().unwrap();
    // So many that a dump takes several reads, between which it can meet a change.
    let stays: Vec<String> = (0..100).map(|n| format!("stays{n}")).collect();
    for name in &stays {
        rtnl.add_link(&veth(name, &format!("p-{name}"))).unwrap();
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = host.netns().rtnl().unwrap();
            while !done.load(relaxed) {
                other.add_link(&veth("comes", "goes")).unwrap();
                assert!(other.delete_link("comes").unwrap());
            }
        });
        let dumps: Vec<_> = (0..50).map(|_| rtnl.links()).collect();
        done.store(true, relaxed);
        for links in dumps {
            let links = links.unwrap();
            for name in &stays {
                assert_eq!(links.iter().filter(|link| link.name == *name).count(), 1, "{name}");
            }
        }
    });
}

#[test]
fn batches_at_the_same_time_remove_what_they_were_told_and_nothing_else() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let host = Namespace::new();
    host.netns().rtnl().unwrap().add_link(&veth("stays", "stays-peer")).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let host = &host;
            scope.spawn(move || {
                let mut rtnl = host.netns().rtnl().unwrap();
                let names = ["a", "b", "c"].map(|pair| format!("{pair}{worker}"));
                for _ in 0..8 {
                    for name in &names {
                        rtnl.add_link(&veth(name, &format!("{name}-peer"))).unwrap();
                    }
                    let names: Vec<_> = names.iter().map(String::as_str).collect();
                    // All went into the group, whoever removed it.
                    assert_eq!(rtnl.delete_links(&names).unwrap(), 3);
                    assert!(names.iter().all(|name| rtnl.link(name).is_err()));
                }
            });
        }
    });
    let left = host.json("ip -j link");
    let left: Vec<_> = left.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap()).collect();
    assert_eq!(left, ["lo", "stays-peer", "stays"]);
}

#[test]
fn links_are_gone_for_everybody_when_an_early_removal_returns() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let (host, pod) = (Namespace::new(), Namespace::new());
    let mut rtnl = host.netns().rtnl().unwrap();
    let mut inside = pod.netns().rtnl().unwrap();
    for round in 0..20 {
        for (here, there) in [("h0", "eth0"), ("h1", "net1")] {
            let peer = VethPeer { name: there, mtu: None, mac: None, netns: Some(pod.netns().as_fd()) };
            rtnl.add_link(&NewLink { up: true, ..NewLink::new(here, LinkKind::Veth(peer)) }).unwrap();
        }
        // Which of them are there does not matter.
        let names = [&["eth0", "net1"][..], &["net1", "no", "eth0", "net1"], &["eth0"]][round % 3];
        let removed = names.iter().filter(|name| **name != "no").collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(inside.delete_links_early(names).unwrap(), removed);
        // Looked at by another program at once: neither end is there.
        assert_eq!(pod.json("ip -j link").as_array().unwrap().len(), 3 - removed);
        assert_eq!(host.json("ip -j link").as_array().unwrap().len(), 3 - removed);
        // The socket hears no more of others, and answers as before.
        assert_eq!(inside.delete_links_early(&["eth0", "net1"]).unwrap(), 2 - removed);
        assert_eq!(inside.delete_links_early(&["eth0", "net1"]).unwrap(), 0);
        assert_eq!(inside.links().unwrap().len(), 1);
    }
    let error = inside.delete_links_early(&["lo"]).unwrap_err();
    assert!(error.is(Errno::OPNOTSUPP), "{error}");
    assert_eq!(inside.links().unwrap().len(), 1);
}
