//! DEL: from the record, in reverse, and only what is gone is forgotten.

use super::*;

#[test]
fn del_never_stops_early_and_forgets_only_what_is_gone() {
    let world = World::with(THREE);
    world.add().unwrap();
    world.plugins.take();
    world.plugins.fail("DEL c", 5);
    world.plugins.fail("DEL a", 6);
    let error = world.del().unwrap_err();
    assert_eq!(error.code, Code(5), "the first one's");
    assert!(
        error.message.contains("net2") && error.message.contains("eth0") && !error.message.contains("net1"),
        "{error}"
    );
    assert_eq!(world.plugins.take(), ["DEL c nc net2", "DEL b2 nb net1", "DEL b nb net1", "DEL a na eth0"]);
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0", "results/nc-c1-net2"]);
    world.plugins.heal();
    // The configuration may be another by now.
    let other = World::with(r#"{"type": "z", "name": "nz"}"#).conf;
    let mut conf = other.clone();
    conf.set("cniDir", world.cni_dir().display().to_string());
    world.run(&call(Command::Del, &conf)).unwrap();
    assert_eq!(world.plugins.take(), ["DEL c nc net2", "DEL a na eth0"]);
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn del_repeats_the_arguments_of_add() {
    let mut world = World::with(r#"{"type": "portmap", "name": "p", "capabilities": {"portMappings": true}}"#);
    let mut conf = world.conf.clone();
    conf.set("runtimeConfig", json(r#"{"portMappings": [{"hostPort": 80}], "bandwidth": {}}"#));
    std::mem::swap(&mut world.conf, &mut conf);
    world.add().unwrap();
    world.plugins.take();
    // A runtime that has forgotten.
    let mut del = call(Command::Del, &conf);
    del.args = String::new();
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let look = seen.clone();
    world.plugins.before = Some(Box::new(move |call| look.borrow_mut().push(call.clone())));
    world.run(&del).unwrap();
    let call = &seen.borrow()[0];
    assert!(call.conf.get("runtimeConfig").unwrap().get("portMappings").is_some());
    assert!(call.args.contains("K8S_POD_NAME=web") && call.args.contains("COLOUR=blue"), "{}", call.args);
}

#[test]
fn del_without_a_record_takes_the_configuration() {
    let world = World::new();
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    world.add().unwrap();
    fs::remove_file(world.record()).unwrap();
    world.plugins.take();
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    assert_eq!(world.files(), [""; 0]);
    world.del().unwrap();
    assert_eq!(world.plugins.take().len(), 2, "again and again");
}

#[test]
fn what_a_killed_process_left_goes_with_del() {
    let world = World::new();
    fs::create_dir_all(world.cni_dir().join("results")).unwrap();
    for left in [".c1.tmp", "results/.multus-demo-0-c1-net0.tmp", "results/.multus-demo-1-c1-eth0.tmp"] {
        fs::write(world.cni_dir().join(left), "half").unwrap();
    }
    world.del().unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn del_after_a_refused_add_leaves_the_interface_that_was_there() {
    let mut world = World::with(THREE);
    world.plugins.owning = ["a", "b", "b2", "c"].map(String::from).into();
    world.links.present = vec!["lo".into(), "net1".into()];
    world.add().unwrap_err();
    world.del().unwrap();
    assert!(world.links.removed.borrow().is_empty());
    let told: Vec<String> = world.plugins.whole.borrow().iter().map(|c| c.netns.clone()).collect();
    assert_eq!(told, [""; 4], "addresses and rules go, links are not looked at");
    // What the cache knows was made here, though its record is gone.
    world.plugins.take();
    world.links.present.clear();
    world.add().unwrap();
    fs::remove_file(world.record()).unwrap();
    world.plugins.take();
    world.del().unwrap();
    assert_eq!(world.links.removed.borrow().concat().len(), 3);
    assert!(world.plugins.whole.borrow().iter().all(|c| c.netns == "/run/netns/c1"));
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn interfaces_go_in_one_batch_where_plugins_own_them() {
    let mut world = World::with(&format!(r#"{THREE}, {{"type": "d", "name": "nd"}}"#));
    world.plugins.owning = ["a", "c", "d"].map(String::from).into();
    world.add().unwrap();
    world.del().unwrap();
    // b is not sure of its interface, so a is alone behind it and needs no batch.
    assert_eq!(*world.links.removed.borrow(), [["net3", "net2"]]);
    assert_eq!(world.plugins.take()[5..].len(), 5, "every delegate is asked all the same");

    world.links.removed.borrow_mut().clear();
    world.plugins.owning.push("b".into());
    world.plugins.owning.push("b2".into());
    world.links.stuck = true;
    world.add().unwrap();
    world.del().unwrap();
    assert_eq!(*world.links.removed.borrow(), [["net3", "net2", "net1", "eth0"]], "a failed batch is not a failed DEL");

    world.links.removed.borrow_mut().clear();
    let del = Call { netns: String::new(), ..world.call(Command::Del) };
    world.run(&del).unwrap();
    assert!(world.links.removed.borrow().is_empty(), "the namespace is gone");
}

#[test]
fn what_multus_attached_is_deleted() {
    use base64::Engine as _;
    let world = World::new();
    let b = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    fs::create_dir_all(world.cni_dir()).unwrap();
    let record = format!(
        r#"[{{"Conf":{{"name":"cbr0","type":"flannel"}},"Name":"cbr0","Bytes":"{}"}},
            {{"ConfList":{{"name":"storage","plugins":[{{"type":"macvlan"}}]}},"Name":"default/storage","Bytes":"{}"}}]"#,
        b(r#"{"name":"cbr0","type":"flannel","cniVersion":"0.3.1","capabilities":{"portMappings":true}}"#),
        b(r#"{"name":"storage","cniVersion":"0.4.0","plugins":[{"type":"macvlan"}]}"#),
    );
    fs::write(world.record(), record).unwrap();
    let mut conf = world.conf.clone();
    conf.set("runtimeConfig", json(r#"{"portMappings": [{"hostPort": 80}]}"#));
    world.run(&call(Command::Del, &conf)).unwrap();
    let whole = world.plugins.whole.take();
    assert_eq!(world.plugins.take(), ["DEL macvlan storage net1", "DEL flannel cbr0 eth0"]);
    assert!(whole[1].conf.get("runtimeConfig").is_some(), "Multus does not record it, the runtime repeats it");
    assert!(whole[1].args.contains("K8S_POD_NAME=web"));
    assert_eq!(world.files(), [""; 0]);
}

/// A defect that there was: sbr fails without a namespace, so no DEL after an undone ADD ever succeeded, and no plugin before it was asked.
#[test]
fn a_plugin_that_fails_where_nothing_is_recorded_does_not_hold_the_pod() {
    let world =
        World::with(r#"{"name": "n", "plugins": [{"type": "a"}, {"type": "sbr"}]}, {"name": "m", "type": "b"}"#);
    world.plugins.fail("DEL sbr", 999);
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL b m net1", "DEL sbr n eth0", "DEL a n eth0"]);
    // What passes is worth another DEL, and so is a disk that cannot be read: there may be an address.
    for code in [Code::TRY_AGAIN, Code::IO] {
        world.plugins.fail("DEL a", code.0);
        assert_eq!(world.del().unwrap_err().code, code);
        assert_eq!(world.plugins.take().len(), 3);
    }
    // What is recorded is another matter: it was made.
    world.plugins.heal();
    world.add().unwrap();
    world.plugins.fail("DEL sbr", 999);
    world.del().unwrap_err();
    assert!(world.record().exists());
}
