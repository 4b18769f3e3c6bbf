//! DEL where `/var/lib` cannot be written: a disk that failed and was mounted anew, an image under repair.

use std::process::Output;

use crate::world::{ARTICLE, Pod, World};
use testkit::{have_root, skip_or_fail};

/// DEL of the article's configuration while `/var/lib` is read-only.
fn del(world: &World, pod: &Pod) -> Output {
    let lib = world.lib();
    let script = r#"
        set -eu
        mount --bind "$1/../run" /run; mount --bind "$1" /var/lib; mount -o remount,bind,ro /var/lib
        if touch /var/lib/written 2>/dev/null; then echo 'it can be written'; exit 1; fi
        printf %s "$3" | exec "$2/multus"
    "#;
    let mut command = world.host.command("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", script, "sh"]);
    command.arg(&lib).arg(world.bin()).arg(ARTICLE);
    command.env("CNI_COMMAND", "DEL").env("CNI_CONTAINERID", &pod.id).env("CNI_NETNS", pod.ns.path());
    command.env("CNI_IFNAME", "eth0").env("CNI_PATH", world.bin()).output().unwrap()
}

/// A defect that there was: a container that never had anything could not be deleted, for ever.
#[test]
fn what_has_nothing_is_deleted_and_what_has_something_is_not_forgotten() {
    if !have_root() {
        return skip_or_fail("netns", "needs root");
    }
    let world = World::new();
    let (with, without) = (Pod::new("ro-with"), Pod::new("ro-without"));
    // Not even the directories.
    let never = del(&world, &without);
    assert!(never.status.success(), "{}", String::from_utf8_lossy(&never.stdout));
    world.cni("multus", "ADD", &with, "eth0", ARTICLE).unwrap();
    let nothing = del(&world, &without);
    assert!(nothing.status.success(), "{}", String::from_utf8_lossy(&nothing.stdout));
    let refused = del(&world, &with);
    let said = String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && said.contains("Read-only file system"), "{said}");
    assert!(world.lib().join("cni/multus/ro-with").exists(), "and it stays recorded");
    world.cni("multus", "DEL", &with, "eth0", ARTICLE).unwrap();
    assert!(!world.everything().contains("ro-with"), "{}", world.everything());
}
