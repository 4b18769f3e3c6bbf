//! A plugin whose own delegate is the meta-plugin, which runs that plugin: it must not go round.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::world::{Pod, World};
use testkit::{have_root, skip_or_fail};

/// A defect that there was: a definition of a tenant's could start thousands of processes in a second.
#[test]
fn a_call_by_its_own_delegate_is_refused_and_leaves_nothing() {
    if !have_root() {
        return skip_or_fail("netns", "needs root");
    }
    let world = World::new();
    // It stands for every plugin that runs another one; it goes round three times, not for ever.
    let round = world.bin().join("round");
    let script = format!(
        "#!/bin/sh\n[ \"$((ROUND += 1))\" -le 3 ] || exec echo '{{\"code\": 100, \"msg\": \"three times round\"}}'\nexport ROUND\nexec {}/multus\n",
        world.bin().display()
    );
    fs::write(&round, script).unwrap();
    fs::set_permissions(&round, fs::Permissions::from_mode(0o755)).unwrap();
    let conf = r#"{"cniVersion": "1.0.0", "name": "m", "type": "multus", "delegates": [{"type": "round", "name": "n", "delegates": [
        {"type": "round", "name": "n", "delegates": [{"type": "round", "name": "n", "delegates": [{"type": "loopback"}]}]}]}]}"#;
    let (before, pod) = (world.everything(), Pod::new("c1"));
    let error = world.cni("multus", "ADD", &pod, "eth0", conf).unwrap_err();
    assert_eq!(error["code"], 7, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("call itself without end"), "{error}");
    assert_eq!(world.everything(), before, "the ADD was undone, by a DEL of the same plugin");
    world.cni("multus", "DEL", &pod, "eth0", conf).unwrap();
}
