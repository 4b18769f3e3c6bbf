//! GC: what goes, and what each network is told to keep.

use super::*;

#[test]
fn a_network_may_have_neither_check_nor_gc() {
    let world = World::with(
        r#"{"type": "z", "name": "nz"}, {"name": "na", "disableCheck": true, "disableGC": true, "plugins": [{"type": "a"}]}"#,
    );
    world.add().unwrap();
    world.plugins.take();
    world.run(&world.call(Command::Check)).unwrap();
    assert_eq!(world.plugins.take(), ["CHECK z nz eth0"]);
    let gc = gc_conf(&world, r#"[{"containerID": "c1", "ifname": "eth0"}]"#);
    world.run(&gc).unwrap();
    assert_eq!(world.plugins.take(), ["GC z nz"]);
    // The configuration knows the network no more; its record still says what it wants.
    let other = World::with(r#"{"type": "y", "name": "ny"}"#);
    let mut conf = other.conf.clone();
    conf.set("cniDir", world.cni_dir().display().to_string());
    conf.set("cni.dev/valid-attachments", json(r#"[{"containerID": "c1", "ifname": "eth0"}]"#));
    world.run(&gc.with_conf(conf)).unwrap();
    assert_eq!(world.plugins.take(), ["GC y ny", "GC z nz"]);
}

fn gc_conf(world: &World, valid: &str) -> Call {
    let mut conf = world.conf.clone();
    conf.set("cni.dev/valid-attachments", json(valid));
    let call = call(Command::Gc, &conf);
    Call { container_id: String::new(), netns: String::new(), ifname: String::new(), args: String::new(), ..call }
}

#[test]
fn gc_deletes_what_the_runtime_does_not_know() {
    let world = World::with(r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#);
    let of = |id: &str, netns: &str| Call { container_id: id.into(), netns: netns.into(), ..world.call(Command::Add) };
    world.run(&of("c1", "/run/netns/c1")).unwrap();
    world.run(&of("c2", "/run/netns/c2")).unwrap();
    world.run(&of("c3", "/proc/7/ns/net")).unwrap();
    // Only the cache knows of these.
    world.run(&of("c4", "/run/netns/c4")).unwrap();
    fs::remove_file(world.cni_dir().join("c4")).unwrap();
    world.run(&of("c5", "/run/netns/c5")).unwrap();
    fs::write(world.cni_dir().join("c5"), "").unwrap();
    world.plugins.take();
    let gc = gc_conf(&world, r#"[{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c0", "ifname": "eth0"}]"#);
    world.run(&gc).unwrap();
    let deleted = |id: &str| -> Vec<String> {
        let whole = world.plugins.whole.borrow();
        let of = whole.iter().filter(|c| c.command == Command::Del && c.container_id == id);
        of.map(|c| format!("{} {}", c.ifname, c.netns)).collect()
    };
    assert_eq!(deleted("c1"), [""; 0]);
    assert_eq!(deleted("c2"), ["net1 /run/netns/c2", "eth0 /run/netns/c2"]);
    assert_eq!(deleted("c3"), ["net1 ", "eth0 "], "process 7 may be another by now");
    assert_eq!(deleted("c4").len(), 2);
    assert_eq!(deleted("c5").len(), 2);
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0", "results/nb-c1-net1"]);
    // What plugins are told: of c0, which has no record, what it would have by the configuration.
    let whole = world.plugins.whole.borrow();
    let told: Vec<String> = whole
        .iter()
        .filter(|c| c.command == Command::Gc)
        .map(|c| String::from_utf8(c.conf.get("cni.dev/valid-attachments").unwrap().to_vec()).unwrap())
        .collect();
    assert_eq!(
        told,
        [
            r#"[{"containerID":"c0","ifname":"eth0"},{"containerID":"c1","ifname":"eth0"}]"#,
            r#"[{"containerID":"c0","ifname":"net1"},{"containerID":"c1","ifname":"net1"}]"#
        ]
    );
}

/// Whoever is told too little removes what lives.
#[test]
fn gc_tells_each_network_what_it_has_of_a_container_that_lost_its_record() {
    let world = World::with(r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#);
    let (one, two) = (world.call(Command::Add), Call { container_id: "c2".into(), ..world.call(Command::Add) });
    world.run(&one).unwrap();
    world.run(&two).unwrap();
    // Attached under another configuration: its second network was named otherwise.
    let mut conf = world.conf.clone();
    conf.set(
        "delegates",
        vec![
            json(r#"{"type": "a", "name": "na"}"#),
            json(r#"{"type": "x", "name": "nx"}"#),
            json(r#"{"type": "b", "name": "nb"}"#),
        ],
    );
    world.run(&Call { container_id: "c3".into(), ..world.call(Command::Add) }.with_conf(conf)).unwrap();
    fs::remove_file(world.cni_dir().join("c3")).unwrap();
    world.plugins.take();
    world.plugins.whole.borrow_mut().clear();
    let valid = r#"[{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c3", "ifname": "eth0"}]"#;
    world.run(&gc_conf(&world, valid)).unwrap();
    assert_eq!(told(&world), networks([("na", "c1 eth0, c3 eth0"), ("nb", "c1 net1, c3 net1, c3 net2")]));
    assert!(!world.files().iter().any(|f| f.contains("c2")), "{:?}", world.files());
    assert!(world.files().contains(&"results/nx-c3-net1".to_owned()));
}

/// What each network was told is valid, in the order in which they were asked.
fn told(world: &World) -> Vec<(String, String)> {
    let whole = world.plugins.whole.borrow();
    let gc = whole.iter().filter(|c| c.command == Command::Gc);
    gc.map(|c| {
        let valid = cni::chain::Attachment::list(&c.conf).unwrap().unwrap();
        let valid: Vec<String> = valid.iter().map(|a| format!("{} {}", a.container_id, a.ifname)).collect();
        (c.network().to_owned(), valid.join(", "))
    })
    .collect()
}

fn networks<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(network, valid)| (network.to_owned(), valid.to_owned())).into()
}

/// A record says all that its request has: a network that was configured later has nothing of it.
#[test]
fn gc_tells_a_later_network_nothing_of_a_container_that_has_a_record() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    world.add().unwrap();
    world.plugins.take();
    let mut conf = (*gc_conf(&world, r#"[{"containerID": "c1", "ifname": "eth0"}]"#).conf).clone();
    conf.set("delegates", vec![json(r#"{"type": "a", "name": "na"}"#), json(r#"{"type": "b", "name": "nb"}"#)]);
    world.run(&gc_conf(&world, "[]").with_conf(conf.clone())).unwrap();
    assert_eq!(told(&world), networks([("na", "c1 eth0"), ("nb", "")]));
    // Another request of the container, which has none, may have it.
    world.plugins.take();
    let valid = r#"[{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c1", "ifname": "eth1"}]"#;
    conf.set("cni.dev/valid-attachments", json(valid));
    world.run(&gc_conf(&world, "[]").with_conf(conf)).unwrap();
    assert_eq!(told(&world), networks([("na", "c1 eth0, c1 eth1"), ("nb", "c1 net1")]));
}

/// The cache counts for containers that are valid, and for no other: not for one whose DEL has just failed.
#[test]
fn gc_tells_of_the_cache_what_is_of_valid_containers() {
    let world = World::with(r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#);
    world.run(&Call { container_id: "c2".into(), ..world.call(Command::Add) }).unwrap();
    // Of a position that the configuration does not give any more, and without its record: the cache alone knows of it.
    let mut conf = world.conf.clone();
    let delegates =
        [r#"{"type": "a", "name": "na"}"#, r#"{"type": "x", "name": "nx"}"#, r#"{"type": "b", "name": "nb"}"#];
    conf.set("delegates", delegates.map(json).to_vec());
    world.run(&Call { container_id: "c3".into(), ..world.call(Command::Add) }.with_conf(conf)).unwrap();
    fs::remove_file(world.cni_dir().join("c3")).unwrap();
    world.plugins.take();
    world.plugins.fail("DEL b", 5);
    let error = world.run(&gc_conf(&world, r#"[{"containerID": "c3", "ifname": "eth0"}]"#)).unwrap_err();
    assert!(error.message.contains("c2"), "{error}");
    assert_eq!(told(&world), networks([("na", "c3 eth0"), ("nb", "c3 net1, c3 net2")]));
}

#[test]
fn gc_goes_on_after_a_failure() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    for id in ["c1", "c2"] {
        world.run(&Call { container_id: id.into(), ..world.call(Command::Add) }).unwrap();
    }
    world.plugins.take();
    world.plugins.fail("DEL a", 42);
    let error = world.run(&gc_conf(&world, "[]")).unwrap_err();
    assert_eq!(error.code, Code(42));
    assert!(error.message.contains("c1") && error.message.contains("c2"), "{error}");
    assert!(world.plugins.take().contains(&"GC a na".to_owned()));
    assert!(world.files().contains(&"c1".to_owned()), "still recorded");
    world.plugins.heal();
    world.run(&gc_conf(&world, "[]")).unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn gc_without_a_list_removes_nothing() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    world.add().unwrap();
    world.plugins.take();
    world.run(&world.call(Command::Gc)).unwrap();
    assert!(world.plugins.take().is_empty());
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0"]);
    assert!(world.run(&gc_conf(&world, r#"{"containerID": 1}"#)).unwrap_err().message.contains("valid-attachments"));
}
