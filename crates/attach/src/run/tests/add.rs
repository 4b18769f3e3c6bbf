//! ADD: the order, what is found before anything runs, and what a failure undoes.

use super::*;

#[test]
fn both_default_routes_stay_where_asked_for() {
    let mut world = World::new();
    world.conf.set("secondaryDefaultRoutes", "keep");
    world.plugins.answer("flannel", FLANNEL);
    world.plugins.answer("macvlan", MACVLAN);
    world.add().unwrap();
    assert!(world.links.routes.borrow().is_empty());
}

#[test]
fn a_route_that_cannot_be_dropped_undoes_the_add() {
    let mut world = World::new();
    world.links.stuck = true;
    world.plugins.answer("flannel", FLANNEL);
    world.plugins.answer("macvlan", MACVLAN);
    assert!(world.add().unwrap_err().message.contains("net0"));
    assert_eq!(world.plugins.take()[2..], ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn everything_is_recorded_before_the_first_delegate_runs() {
    let mut world = World::new();
    let record = world.record();
    world.plugins.before = Some(Box::new(move |call| {
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.contains("multus-demo-0") && text.contains("multus-demo-1"), "{}", call.ifname);
    }));
    world.add().unwrap();
    world.del().unwrap();
    assert_eq!(world.plugins.take().len(), 4);
}

#[test]
fn a_failure_undoes_everything_in_reverse() {
    let undone = [
        ("ADD a", vec!["ADD a na eth0", "DEL a na eth0"]),
        (
            "ADD b2",
            vec![
                "ADD a na eth0",
                "ADD b nb net1",
                "ADD b2 nb net1",
                "DEL b2 nb net1",
                "DEL b nb net1",
                "DEL a na eth0",
            ],
        ),
        (
            "ADD c",
            vec![
                "ADD a na eth0",
                "ADD b nb net1",
                "ADD b2 nb net1",
                "ADD c nc net2",
                "DEL c nc net2",
                "DEL b2 nb net1",
                "DEL b nb net1",
                "DEL a na eth0",
            ],
        ),
    ];
    for (what, calls) in undone {
        let world = World::with(THREE);
        world.plugins.fail(what, 107);
        let error = world.add().unwrap_err();
        assert_eq!(error.code, Code(107), "the delegate's code survives");
        assert!(error.message.contains("network \"n") && error.message.contains(what), "{error}");
        assert_eq!(world.plugins.take(), calls);
        assert_eq!(world.files(), [""; 0], "{what}");
    }
}

#[test]
fn what_cannot_be_undone_stays_recorded() {
    let world = World::with(THREE);
    world.plugins.fail("ADD c", 11);
    world.plugins.fail("DEL b", 12);
    let error = world.add().unwrap_err();
    assert_eq!(error.code, Code(11));
    assert!(error.details.contains("net1") && error.details.contains("no DEL b today"), "{error}");
    let calls = world.plugins.take();
    assert_eq!(calls[4..], ["DEL c nc net2", "DEL b2 nb net1", "DEL b nb net1", "DEL a na eth0"], "never stops early");
    world.plugins.heal();
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL b2 nb net1", "DEL b nb net1"], "only what is left");
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn an_interface_that_exists_is_found_before_anything_runs() {
    let mut world = World::new();
    world.links.present = vec!["lo".into(), "net0".into()];
    let error = world.add().unwrap_err();
    assert!(error.message.contains("net0"), "{error}");
    assert!(world.plugins.take().is_empty());
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn a_network_name_that_the_cache_cannot_hold_is_refused_before_anything_runs() {
    for length in [240, 245, 250, 255, 300] {
        let world = World::with(&format!(
            r#"{{"type": "a", "name": "na"}}, {{"type": "b", "name": "{}"}}"#,
            "n".repeat(length)
        ));
        let add = Call { container_id: "f".repeat(64), ..world.call(Command::Add) };
        let error = world.run(&add).unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG, "{error}");
        assert!(world.plugins.take().is_empty());
        world.run(&Call { command: Command::Del, ..add }).unwrap();
        assert_eq!(world.files(), [""; 0]);
    }
}

#[test]
fn a_missing_plugin_is_found_before_anything_runs() {
    let mut world = World::new();
    world.plugins.missing = vec!["macvlan".into()];
    assert!(world.add().unwrap_err().message.contains("macvlan"));
    assert!(world.plugins.take().is_empty());
    // Nothing of it can be there, so the DEL that follows does not fail for want of the plugin either.
    world.plugins.fail("DEL macvlan", 999);
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL flannel multus-demo-1 eth0"]);
}

#[test]
fn a_result_that_cannot_be_said_in_the_version_undoes_the_add() {
    let world = World::new();
    world.plugins.answer("flannel", r#"{"cniVersion": "1.0.0"}"#);
    let error = world.add().unwrap_err();
    assert!(error.message.contains("0.1.0") && error.message.contains("eth0"), "{error}");
    assert_eq!(world.plugins.take()[2..], ["DEL macvlan multus-demo-0 net0", "DEL flannel multus-demo-1 eth0"]);
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn an_add_that_was_killed_is_undone_by_the_next() {
    let world = World::with(THREE);
    world.add().unwrap();
    world.plugins.take();
    let second = World::with(r#"{"type": "z", "name": "nz"}"#).conf;
    let mut conf = second.clone();
    conf.set("cniDir", world.cni_dir().display().to_string());
    world.run(&call(Command::Add, &conf)).unwrap();
    let calls = world.plugins.take();
    assert_eq!(calls, ["DEL c nc net2", "DEL b2 nb net1", "DEL b nb net1", "DEL a na eth0", "ADD z nz eth0"]);
    assert_eq!(world.files(), ["c1", "results/nz-c1-eth0"]);
}

#[test]
fn nothing_is_attached_before_the_default_network_is_ready() {
    let mut world = World::new();
    let ready = world.dir.path().join("ready");
    world.conf.set("readinessindicatorfile", ready.display().to_string());
    let error = world.add().unwrap_err();
    assert_eq!(error.code, Code::TRY_AGAIN);
    assert!(error.message.contains("ready"), "{error}");
    assert_eq!(world.run(&world.call(Command::Status)).unwrap_err().code, Code::NOT_AVAILABLE);
    assert!(world.plugins.take().is_empty());
    world.del().unwrap();
    assert_eq!(world.plugins.take().len(), 2, "DEL does not wait");
    fs::write(ready, "").unwrap();
    world.add().unwrap();
}
