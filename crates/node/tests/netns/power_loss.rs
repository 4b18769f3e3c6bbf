//! What a power loss leaves of attachments on a real ext4: the filesystem lives in an image, and a copy of the image is what the disk had when
//! the power went. Links, addresses and the runtime's `/run` are gone with it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::{ARTICLE, Pod, World};
use testkit::{have_root, skip_or_fail};

/// flannel, and a network whose addresses come from a program, which may keep them on another machine.
const ELSEWHERE: &str = r#"{ "name": "multus-demo", "type": "multus", "delegates": [
    { "type": "flannel", "name": "cbr0", "delegate": { "isDefaultGateway": true } },
    { "type": "macvlan", "name": "far", "master": "eth0", "ipam": { "type": "remote" } } ] }"#;

/// Its program: an address for every ADD; it notes its DELs.
const REMOTE: &str = r#"#!/bin/sh
[ "$CNI_COMMAND" = DEL ] && echo "$CNI_CONTAINERID $CNI_IFNAME" >> /run/remote-dels
[ "$CNI_COMMAND" = ADD ] && echo '{ "cniVersion": "0.4.0", "ips": [ { "version": "4", "address": "10.77.0.9/24" } ] }'
exit 0
"#;

/// A world whose `/var/lib` is an ext4 of its own, mounted for the time of one script.
struct Disk {
    world: World,
    image: std::path::PathBuf,
}

impl Disk {
    /// On an empty filesystem, or on what a power loss has left in `image`.
    fn new(image: &Path) -> Disk {
        let world = World::new();
        let remote = world.bin().join("remote");
        fs::write(&remote, REMOTE).unwrap();
        fs::set_permissions(&remote, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Disk { world, image: image.to_owned() }
    }

    /// Runs a script with the filesystem mounted. It finds the functions `add CONTAINER NETNS` and `del CONTAINER` (in a namespace that is gone),
    /// and `power_loss FILE`, which copies what the disk has now. Returns what it printed.
    fn run(&self, conf: &str, script: &str, arguments: &[&str]) -> String {
        let lib = self.world.lib();
        let functions = r#"
            set -eu
            mount -t ext4 -o loop "$1" "$2"; mount --bind "$2" /var/lib; mount --bind "$2/../run" /run
            bin=$3 conf=$4 image=$1; shift 4
            export CNI_IFNAME=eth0 CNI_PATH=$bin
            call() { CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=$3 "$bin/multus" < "$conf" > /run/answer || { cat /run/answer; exit 1; }; }
            add() { call ADD "$1" "$2"; }
            del() { call DEL "$1" /run/netns/gone; }
            power_loss() { cp --sparse=always "$image" "$1"; }
        "#;
        let conf_file = lib.join("../run/conf");
        fs::write(&conf_file, conf).unwrap();
        let mut command = self.world.host.command("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", &format!("{functions}{script}"), "sh"]);
        command.arg(&self.image).arg(&lib).arg(self.world.bin()).arg(&conf_file).args(arguments);
        let out = command.env_remove("CNI_COMMAND").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(out.status.success(), "{script}: {}{}", text(&out.stdout), text(&out.stderr));
        text(&out.stdout)
    }
}

/// A new filesystem with a journal; `None` where none can be mounted.
fn filesystem(dir: &Path) -> Option<std::path::PathBuf> {
    if !have_root() {
        skip_or_fail("netns", "needs root");
        return None;
    }
    let image = dir.join("image");
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).output().unwrap();
    assert!(made.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&made.stderr));
    let mount = "mount -o loop \"$1\" /mnt";
    let mounted =
        Command::new("unshare").args(["--mount", "--", "sh", "-c", mount, "sh"]).arg(&image).output().unwrap();
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
        skip_or_fail("netns", &format!("no filesystem in a file can be mounted: {why}"));
        return None;
    }
    Some(image)
}

/// What an attachment left, with sizes; what stays by design is not listed.
const LEFT: &str = r#"
    mkdir -p /var/lib/cni; cd /var/lib/cni && find . -type f ! -name lock ! -name 'last_reserved_ip*' ! -name .plexus-index -printf '%p %s\n'
"#;

#[test]
fn nothing_outlives_a_record_that_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let Some(image) = filesystem(dir.path()) else { return };
    let disk = Disk::new(&image);
    let pods = [Pod::new("p1"), Pod::new("p2"), Pod::new("p3")];
    let netns = pods.each_ref().map(|p| p.ns.path().display().to_string());
    let at = |name: &str| dir.path().join(name).display().to_string();
    // The power goes before anything is on the disk; when the directories are, but not the files' content (another program's fsync commits
    // the journal); when p1 is and p2 is half there; when everything is.
    let moments = ["nothing", "names", "half", "all"].map(at);
    let script = r#"
        add p1 "$1"; power_loss "$4"
        echo > /var/lib/other; sync /var/lib/other; power_loss "$5"
        sync -f /var/lib; add p2 "$2"; echo > /var/lib/other; sync /var/lib/other; power_loss "$6"
        add p3 "$3"; sync -f /var/lib; power_loss "$7"
    "#;
    let arguments: Vec<&str> = netns.iter().chain(&moments).map(String::as_str).collect();
    disk.run(ARTICLE, script, &arguments);

    for moment in &moments {
        let after = Disk::new(Path::new(moment));
        // The runtime deletes what it knew of; nothing stays, and the addresses are free again: a range of 17 serves 17 pods.
        let left = after.run(ARTICLE, &format!("del p1; del p2; del p3; {LEFT}"), &[]);
        let leases = left.lines().filter(|l| !l.ends_with(" 0")).collect::<Vec<_>>();
        assert!(leases.is_empty(), "{moment}: {left}");
        assert!(left.lines().all(|l| l.contains("/networks/")), "{moment}: {left}");
        let script = r#"touch /run/n; for i in $(seq 17); do unshare --net=/run/n true; add "full$i" /run/n; umount /run/n; done"#;
        after.run(ARTICLE, script, &[]);
    }
}

#[test]
fn a_record_of_what_is_kept_elsewhere_is_on_the_disk_when_the_add_returns() {
    let dir = tempfile::tempdir().unwrap();
    let Some(image) = filesystem(dir.path()) else { return };
    let disk = Disk::new(&image);
    let pod = Pod::new("p1");
    let lost = dir.path().join("lost").display().to_string();
    disk.run(ELSEWHERE, r#"add p1 "$1"; power_loss "$2""#, &[&pod.ns.path().display().to_string(), &lost]);

    let after = Disk::new(Path::new(&lost));
    // Even by a configuration that knows nothing of that network any more.
    let script = format!("del p1; cat /run/remote-dels; {LEFT}");
    let said = after.run(
        r#"{ "name": "multus-demo", "type": "multus", "delegates": [ { "type": "loopback", "name": "lo" } ] }"#,
        &script,
        &[],
    );
    assert_eq!(said.lines().next(), Some("p1 net1"), "{said}");
    assert!(!said.contains("multus/p1"), "{said}");
}
