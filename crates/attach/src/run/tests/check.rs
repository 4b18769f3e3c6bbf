//! CHECK and STATUS: every network is asked.

use super::*;

#[test]
fn check_asks_every_attachment() {
    let world = World::with(THREE);
    world.add().unwrap();
    world.plugins.take();
    world.run(&world.call(Command::Check)).unwrap();
    assert_eq!(world.plugins.take(), ["CHECK a na eth0", "CHECK b nb net1", "CHECK b2 nb net1", "CHECK c nc net2"]);
    world.plugins.fail("CHECK a", 3);
    world.plugins.fail("CHECK c", 4);
    let error = world.run(&world.call(Command::Check)).unwrap_err();
    assert_eq!(error.code, Code(3));
    assert!(error.message.contains("eth0") && error.message.contains("net2"), "{error}");
}

#[test]
fn check_passes_over_networks_without_it() {
    let world = World::with(r#"{"type": "a", "name": "na", "cniVersion": "0.3.1"}, {"type": "b", "name": "nb"}"#);
    world.add().unwrap();
    world.plugins.take();
    world.run(&world.call(Command::Check)).unwrap();
    assert_eq!(world.plugins.take(), ["CHECK b nb net1"]);
}

#[test]
fn status_asks_every_network() {
    let world = World::with(THREE);
    world.run(&world.call(Command::Status)).unwrap();
    assert_eq!(
        world.plugins.take(),
        ["STATUS a na", "STATUS b nb", "STATUS b2 nb", "STATUS c nc"]
            .map(|s| s.to_owned() + " eth0")
            .map(|s| s.replace(" eth0", ""))
    );
    world.plugins.fail("STATUS c", 51);
    assert_eq!(world.run(&world.call(Command::Status)).unwrap_err().code, Code(51));
    let mut conf = world.conf.clone();
    conf.set("clusterNetwork", "/nonexistent/x.conflist");
    assert_eq!(world.run(&call(Command::Status, &conf)).unwrap_err().code, Code::NOT_AVAILABLE);
}
