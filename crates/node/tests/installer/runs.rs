//! The installer while it runs: what it follows by itself, its probes, its end, and being killed anywhere.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::node::{Node, PRIMARY};

/// Waits for what happens within seconds; a minute is for machines that are busy.
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Installer(Child);

impl Installer {
    fn start(node: &Node, options: &[&str]) -> Installer {
        Installer::run(node, &[&["install"], options].concat())
    }

    fn run(node: &Node, args: &[&str]) -> Installer {
        Installer(node.command(args).stderr(Stdio::null()).spawn().unwrap())
    }

    fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Installer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn probe(node: &Node, live: bool) -> (bool, String) {
    let args: &[&str] = if live { &["probe", "--live"] } else { &["probe"] };
    let out = node.command(args).output().unwrap();
    (out.status.success(), String::from_utf8(out.stdout).unwrap())
}

fn network(node: &Node) -> Option<String> {
    let text = fs::read(node.path("etc/cni/net.d/00-multus.conflist")).ok()?;
    let conf: serde_json::Value = serde_json::from_slice(&text).unwrap();
    Some(conf["plugins"][0]["clusterNetwork"].as_str().unwrap().to_owned())
}

#[test]
fn it_waits_for_a_primary_follows_it_and_tells_probes() {
    let node = Node::new();
    let before = node.names("etc/cni/net.d");
    assert!(probe(&node, true).1.contains("nothing is running"));
    let installer = Installer::start(&node, &[]);
    until("it lives", || probe(&node, true) == (true, "alive\n".to_owned()));
    let (ready, said) = probe(&node, false);
    assert!(!ready && said.contains("no primary network"), "{said}");

    node.write("etc/cni/net.d/20-flannel.conflist", PRIMARY);
    until("ready", || probe(&node, false) == (true, "ready\n".to_owned()));
    assert_eq!(network(&node).as_deref(), Some("/etc/cni/net.d/20-flannel.conflist"));
    fs::rename(node.path("etc/cni/net.d/20-flannel.conflist"), node.path("etc/cni/net.d/10-flannel.conflist")).unwrap();
    until("renamed", || network(&node).as_deref() == Some("/etc/cni/net.d/10-flannel.conflist"));
    node.write("etc/cni/net.d/05-other.conflist", PRIMARY);
    until("a better one", || network(&node).as_deref() == Some("/etc/cni/net.d/05-other.conflist"));
    node.write("etc/cni/net.d/05-other.conflist", "{");
    until("broken", || probe(&node, false).1.contains("05-other.conflist cannot be used"));
    assert_eq!(network(&node).as_deref(), Some("/etc/cni/net.d/05-other.conflist"), "never empty, never none");
    fs::remove_file(node.path("etc/cni/net.d/05-other.conflist")).unwrap();
    until("the next one", || network(&node).as_deref() == Some("/etc/cni/net.d/10-flannel.conflist"));

    // Somebody else's cleaning up.
    fs::remove_file(node.path("etc/cni/net.d/00-multus.conflist")).unwrap();
    until("ours is back", || network(&node).is_some());
    fs::remove_file(node.path("opt/cni/bin/multus")).unwrap();
    until("a name is back", || node.path("opt/cni/bin/multus").exists());
    // A copy through the link, over the program.
    let program = fs::read(env!("CARGO_BIN_EXE_plexus-node")).unwrap();
    fs::remove_file(node.path("opt/cni/bin/plexus-node")).unwrap();
    node.write("opt/cni/bin/plexus-node", "another plugin");
    until("the program is back", || {
        node.read("opt/cni/bin/plexus-node") == program && node.mode("opt/cni/bin/plexus-node") == 0o755
    });
    node.write("account/token", "rotated");
    until("the new token", || node.text("etc/cni/net.d/multus.d/multus.kubeconfig").contains("rotated"));

    installer.end();
    assert!(network(&node).is_some(), "pods need it while the installer is replaced");
    assert!(!probe(&node, true).0);
    node.uninstall();
    fs::remove_file(node.path("etc/cni/net.d/10-flannel.conflist")).unwrap();
    assert_eq!(node.names("etc/cni/net.d"), before);
    assert!(node.names("opt/cni/bin").is_empty());
}

#[test]
fn at_its_end_it_takes_the_configuration_with_it_if_it_is_told_to() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    node.write("etc/cni/net.d/00-multus.conf", "Multus's own");
    let before = node.snapshot();
    let installer = Installer::start(&node, &["--cleanup-config-on-exit", "--rename-conf-file"]);
    until("ready", || probe(&node, false).0);
    assert!(!node.path("etc/cni/net.d/10-flannel.conflist").exists());
    installer.end();
    let names: Vec<String> = node.names("etc/cni/net.d").into_iter().filter(|n| !n.starts_with('.')).collect();
    assert_eq!(names, ["00-multus.conf", "10-flannel.conflist", "multus.d"]);
    assert!(node.path("opt/cni/bin/multus").exists(), "programs stay for pods that are deleted later");
    node.uninstall();
    assert_eq!(node.snapshot(), before);
}

/// The installer's pod may end after its DaemonSet was deleted and the one that uninstalls has begun.
#[test]
fn an_uninstall_that_waits_outlives_an_installer() {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    let before = node.snapshot();
    node.install(&[]).ready();
    let uninstaller = Installer::run(&node, &["uninstall", "--wait"]);
    // Forgotten last of all.
    let list = node.path("etc/cni/net.d/.plexus-installed");
    until("uninstalled", || !list.exists());
    node.install(&[]).ready();
    until("uninstalled again", || !list.exists());
    until("it is ready", || probe(&node, false).0);
    uninstaller.end();
    assert_eq!(node.snapshot(), before);
}

#[test]
fn an_installer_that_hangs_is_found_out() {
    let node = Node::new();
    node.write("status", "ready\n");
    assert!(probe(&node, false).0);
    let old = std::time::SystemTime::now() - Duration::from_secs(61);
    fs::File::open(node.path("status")).unwrap().set_modified(old).unwrap();
    let (alive, said) = probe(&node, true);
    assert!(!alive && said.contains("hangs"), "{said}");
    assert!(!probe(&node, false).0);
}

/// System calls by which something changes on disk. A kill comes before the call: what an openat created is seen by the one that follows.
const CHANGES: &str = "mkdir,rename,link,linkat,symlink,unlink,rmdir,write,chmod,fchmod,copy_file_range,sendfile";

/// Runs the program under strace, which kills it at its nth call of one kind. `false`: it had ended before.
fn killed_at(node: &Node, args: &[&str], call: &str, n: usize) -> bool {
    let inner = node.command(args);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
    command.arg(format!("inject={call}:signal=KILL:when={n}")).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(k, v)| Some((k, v?)))).env("PATH", "/usr/bin:/bin");
    let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.signal() == Some(9) || status.code() == Some(128 + 9)
}

/// A node with something under every name that is replaced.
fn full_node() -> Node {
    let node = Node::new();
    node.write("etc/cni/net.d/10-flannel.conflist", PRIMARY);
    node.write("etc/cni/net.d/00-multus.conf", r#"{"type": "multus-shim"}"#);
    node.write("etc/cni/net.d/00-multus.conflist", "before");
    node.write("etc/cni/net.d/multus.d/multus.kubeconfig", "before");
    node.write("opt/cni/bin/multus", "before");
    node.write("opt/cni/bin/plexus-node", "before");
    node
}

#[test]
fn killed_anywhere_it_can_be_run_again_and_undone() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    const INSTALL: [&str; 3] = ["install", "--once", "--rename-conf-file"];
    let mut kills = 0;
    for call in CHANGES.split(',') {
        for n in 1.. {
            // Undone at once.
            let node = full_node();
            let before = node.snapshot();
            if !killed_at(&node, &INSTALL, call, n) {
                break;
            }
            kills += 1;
            node.uninstall();
            assert_eq!(node.snapshot(), before, "install killed at {call} {n}, uninstalled");

            // Run again, then undone, which is killed as well.
            killed_at(&node, &INSTALL, call, n);
            let again = node.install(&["--rename-conf-file"]);
            again.ready();
            assert!(network(&node).is_some());
            killed_at(&node, &["uninstall"], call, n);
            node.uninstall();
            assert_eq!(node.snapshot(), before, "install and uninstall killed at {call} {n}");
        }
    }
    assert!(kills > 30, "only {kills} kills");
}
