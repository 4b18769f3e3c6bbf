//! Records that are damaged, or that cannot be read now.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use super::*;

#[test]
fn del_with_a_damaged_record_takes_cache_and_configuration() {
    for damage in ["", "[]", "[{\"Bytes\"", "\u{0}\u{0}\u{0}", "[null]"] {
        let world = World::with(THREE);
        world.add().unwrap();
        world.plugins.take();
        fs::write(world.record(), damage).unwrap();
        // The configuration has changed: what is in the cache is deleted all the same, and as it was.
        let mut conf = json(r#"{"name": "m", "cniVersion": "1.1.0", "delegates": [{"type": "a", "name": "na"}]}"#);
        conf.set("cniDir", world.cni_dir().display().to_string());
        world.run(&call(Command::Del, &conf)).unwrap();
        let mut calls = world.plugins.take();
        assert_eq!(calls.pop().as_deref(), Some("DEL a na eth0"), "the default network last");
        calls.sort();
        assert_eq!(calls, ["DEL b nb net1", "DEL b2 nb net1", "DEL c nc net2"], "{damage:?}");
        assert_eq!(world.files(), [""; 0], "{damage:?}");
    }
}

#[test]
fn a_damaged_record_without_cache_takes_the_configuration() {
    let world = World::with(THREE);
    fs::create_dir_all(world.cni_dir()).unwrap();
    fs::write(world.record(), "").unwrap();
    world.del().unwrap();
    assert_eq!(world.plugins.take(), ["DEL c nc net2", "DEL b2 nb net1", "DEL b nb net1", "DEL a na eth0"]);
    assert_eq!(world.files(), [""; 0]);
    // Nor can the configuration be read: an error, and the record stays.
    fs::write(world.record(), "").unwrap();
    let mut conf = json(r#"{"name": "m", "clusterNetwork": "/nonexistent/x.conflist"}"#);
    conf.set("cniDir", world.cni_dir().display().to_string());
    assert!(world.run(&call(Command::Del, &conf)).unwrap_err().message.contains("record"));
    assert_eq!(world.files(), ["c1"]);
    // Without a record nothing was attached, so there is nothing to delete.
    fs::remove_file(world.record()).unwrap();
    world.run(&call(Command::Del, &conf)).unwrap();
}

/// It may be whole, and what it names is still there: nothing is attached or detached on a guess.
#[test]
fn nothing_is_done_without_a_record_that_cannot_be_read_now() {
    let world = World::with(THREE);
    world.add().unwrap();
    world.plugins.take();
    fs::remove_file(world.record()).unwrap();
    // A regular file whose first page nobody has: EIO.
    std::os::unix::fs::symlink("/proc/self/mem", world.record()).unwrap();
    let files = world.files();
    let eth1 = Call { ifname: "eth1".into(), ..world.call(Command::Add) };
    for call in [world.call(Command::Del), eth1, world.call(Command::Check)] {
        let error = world.run(&call).unwrap_err();
        assert_eq!(error.code, Code::TRY_AGAIN, "{:?}: {error}", call.command);
        assert!(world.plugins.take().is_empty(), "{:?}", call.command);
    }
    assert_eq!(world.files(), files);
}

/// Multus does not record the arguments, the cache has them: without its port mappings portmap would remove nothing, and the cache would go.
#[test]
fn nothing_is_done_with_a_record_of_multus_beside_a_cache_that_cannot_be_read_now() {
    let world = World::with(r#"{"type": "a", "name": "na"}, {"type": "portmap", "name": "p"}"#);
    world.add().unwrap();
    world.plugins.take();
    let single = |plugin: &str, name: &str| {
        let bytes = BASE64.encode(format!(r#"{{"cniVersion":"0.3.1","name":"{name}","type":"{plugin}"}}"#));
        format!(r#"{{"Conf":{{"name":"{name}","type":"{plugin}"}},"ConfList":{{}},"Name":"{name}","Bytes":"{bytes}"}}"#)
    };
    fs::write(world.record(), format!("[{},{}]", single("a", "na"), single("portmap", "p"))).unwrap();
    let cached = world.record().with_file_name("results").join("p-c1-net1");
    fs::rename(&cached, world.dir.path().join("aside")).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", &cached).unwrap();
    assert_eq!(world.del().unwrap_err().code, Code::TRY_AGAIN);
    assert_eq!(world.plugins.take(), [""; 0]);
    fs::rename(world.dir.path().join("aside"), &cached).unwrap();
    world.del().unwrap();
    assert_eq!(world.files(), [""; 0]);
}

/// A power loss leaves names without content: of a network, too, that the configuration does not have any more.
#[test]
fn del_of_what_a_power_loss_emptied_leaves_no_file() {
    let world = World::with(THREE);
    world.add().unwrap();
    let results = world.record().with_file_name("results");
    fs::write(results.join("gone-c1-net9"), "").unwrap();
    fs::write(world.record(), "").unwrap();
    for file in fs::read_dir(&results).unwrap() {
        fs::write(file.unwrap().path(), "").unwrap();
    }
    world.del().unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn a_damaged_record_does_not_make_a_living_attachment_an_earlier_add() {
    for damage in ["", "[{\"Bytes\"", "[null]"] {
        let world = World::with(r#"{"type": "a", "name": "na"}"#);
        world.add().unwrap();
        fs::write(world.record(), damage).unwrap();
        world.plugins.take();
        let eth1 = |command| Call { ifname: "eth1".into(), ..world.call(command) };
        world.run(&eth1(Command::Add)).unwrap();
        assert_eq!(world.plugins.take(), ["ADD a na eth1"], "eth0 is in use");
        // And it is recorded again: each DEL removes its own.
        world.run(&eth1(Command::Del)).unwrap();
        assert_eq!(world.plugins.take(), ["DEL a na eth1"]);
        assert_eq!(world.files(), ["c1", "results/na-c1-eth0"]);
        world.del().unwrap();
        assert_eq!(world.plugins.take(), ["DEL a na eth0"]);
        assert!(world.plugins.whole.borrow().is_empty());
        assert_eq!(world.files(), [""; 0]);
    }
}

#[test]
fn a_damaged_record_does_not_make_one_requests_networks_anothers() {
    let both = World::with(r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#);
    both.add().unwrap();
    fs::write(both.record(), "").unwrap();
    let mut conf = both.conf.clone();
    conf.set("delegates", vec![json(r#"{"type": "a", "name": "na"}"#)]);
    let eth1 = |command| Call { ifname: "eth1".into(), ..both.call(command) }.with_conf(conf.clone());
    both.run(&eth1(Command::Add)).unwrap();
    both.plugins.take();
    both.run(&eth1(Command::Del)).unwrap();
    assert_eq!(both.plugins.take(), ["DEL a na eth1"]);
    both.del().unwrap();
    assert_eq!(both.plugins.take(), ["DEL b nb net1", "DEL a na eth0"]);
    assert_eq!(both.files(), [""; 0]);
}
