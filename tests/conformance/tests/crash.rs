//! A process killed at any system call of ADD, or of DEL, then DEL: nothing is left.
//!
//! Killed is at every system call that changes something or waits for somebody who does, and at so many of the others, spread evenly, that
//! the tests take a minute or two; in the scenarios that are `sampled`, at some of the former too. `PLEXUS_CRASH=all` kills at every one.
//! Where the process starts others (programs, the child that removes links), those are killed as well.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use conformance::stepper::{self, Call, Purpose, Run, Victim};
use conformance::world::{Reply, call_env, clean_env, run};
use conformance::{Programs, Snapshot, World, samples};
use serde_json::{Value, json};

/// Points at system calls that change nothing, at most.
const QUIET_POINTS: usize = 120;

/// Points of a scenario that is sampled, at most, and as many more at quiet calls as a third of these.
const SAMPLED_POINTS: usize = 60;

/// System calls that change something that others can see, or wait for somebody who does.
const CHANGING: [(&str, i64); 26] = [
    ("write", libc::SYS_write),
    ("writev", libc::SYS_writev),
    ("pwrite64", libc::SYS_pwrite64),
    ("openat", libc::SYS_openat),
    ("setns", libc::SYS_setns),
    ("sendto", libc::SYS_sendto),
    ("sendmsg", libc::SYS_sendmsg),
    ("recvfrom", libc::SYS_recvfrom),
    ("recvmsg", libc::SYS_recvmsg),
    ("renameat", libc::SYS_renameat),
    ("renameat2", libc::SYS_renameat2),
    ("linkat", libc::SYS_linkat),
    ("unlinkat", libc::SYS_unlinkat),
    ("mkdirat", libc::SYS_mkdirat),
    ("fsync", libc::SYS_fsync),
    ("fdatasync", libc::SYS_fdatasync),
    ("ftruncate", libc::SYS_ftruncate),
    ("flock", libc::SYS_flock),
    ("fchmod", libc::SYS_fchmod),
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("execve", libc::SYS_execve),
    ("wait4", libc::SYS_wait4),
    ("waitid", libc::SYS_waitid),
    ("exit", libc::SYS_exit),
    ("exit_group", libc::SYS_exit_group),
];

/// Their older forms, where the architecture has them.
#[cfg(target_arch = "x86_64")]
const OLD: [(&str, i64); 6] = [
    ("rename", libc::SYS_rename),
    ("link", libc::SYS_link),
    ("unlink", libc::SYS_unlink),
    ("mkdir", libc::SYS_mkdir),
    ("rmdir", libc::SYS_rmdir),
    ("vfork", libc::SYS_vfork),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: [(&str, i64); 0] = [];

fn name(call: Call) -> Option<&'static str> {
    CHANGING.iter().chain(&OLD).find(|(_, n)| *n == call.number).map(|(name, _)| *name)
}

/// What is called, and who is killed meanwhile.
#[derive(Clone, Copy)]
struct Scenario {
    program: &'static str,
    conf: fn(&World) -> Value,
    /// CNI_IFNAME of the requests for one container. The last is killed; what the others have must stay until their own DEL.
    requests: &'static [&'static str],
    sampled: bool,
    victim: Victim,
}

const fn calls(program: &'static str, conf: fn(&World) -> Value) -> Scenario {
    Scenario { program, conf, requests: &["eth0"], sampled: false, victim: Victim::Main }
}

impl Scenario {
    /// At some of the changing system calls only.
    const fn sampled(self) -> Scenario {
        Scenario { sampled: true, ..self }
    }

    /// Not the process is killed, but one that it started, at its own system calls.
    const fn its_children(self) -> Scenario {
        Scenario { victim: Victim::Caller, ..self }
    }

    /// The container has `eth0` already.
    const fn a_second_time(self) -> Scenario {
        Scenario { requests: &["eth0", "eth1"], ..self }
    }

    /// The numbers of the system calls to kill at.
    fn points(&self, calls: &[Call]) -> Vec<usize> {
        let children = self.victim == Victim::Caller;
        let counted = calls.iter().filter(|call| !(children && call.own));
        let numbered = counted.enumerate().map(|(i, call)| (i + 1, *call));
        if std::env::var_os("PLEXUS_CRASH").is_some_and(|v| v == "all") {
            return numbered.map(|(n, _)| n).collect();
        }
        // A program that we run (iptables) opens its libraries: nothing of ours.
        let loud = |call: Call| name(call).is_some_and(|name| call.own || !["openat", "write"].contains(&name));
        let (loud, quiet): (Vec<_>, Vec<_>) = numbered.partition(|(_, call)| loud(*call));
        let spread = |of: Vec<(usize, Call)>, most: usize| {
            let step = of.len().div_ceil(most.max(1)).max(1);
            of.into_iter().step_by(step).take(most).map(|(n, _)| n)
        };
        let (most, most_quiet) = match (self.sampled, children) {
            (false, false) => (usize::MAX, QUIET_POINTS),
            (false, true) => (usize::MAX, 0),
            (true, false) => (SAMPLED_POINTS, SAMPLED_POINTS / 3),
            (true, true) => (SAMPLED_POINTS, 0),
        };
        spread(loud, most).chain(spread(quiet, most_quiet)).collect()
    }
}

struct Crash {
    world: World,
    conf: PathBuf,
    scenario: Scenario,
    before: Snapshot,
}

impl Crash {
    fn new(scenario: Scenario) -> Crash {
        let world = World::new();
        samples::host(&world);
        let path = world.dir().join("conf");
        std::fs::write(&path, (scenario.conf)(&world).to_string()).unwrap();
        std::fs::write(world.dir().join("out"), "").unwrap();
        let mut crash = Crash { world, conf: path, scenario, before: Snapshot::default() };
        // What stays by design (the bridge, base chains) is there from the start.
        crash.whole("ADD", scenario.requests);
        crash.whole("DEL", scenario.requests);
        crash.before = crash.world.snapshot();
        crash
    }

    fn env(&self, verb: &str, ifname: &str) -> BTreeMap<String, String> {
        let mut env = call_env(verb, "c0ffee01", &self.world.namespace("pod").path());
        env.insert("CNI_IFNAME".to_owned(), ifname.to_owned());
        env
    }

    fn program(&self) -> PathBuf {
        Programs::ours().dir.join(self.scenario.program)
    }

    fn call(&self, verb: &str, ifname: &str) -> Reply {
        let stdin = std::fs::read(&self.conf).unwrap();
        run(self.world.command(&self.program(), &self.env(verb, ifname)), &stdin)
    }

    fn whole(&self, verb: &str, requests: &[&str]) {
        for ifname in requests {
            let reply = self.call(verb, ifname);
            assert_eq!(reply.rc, 0, "{verb} {ifname}: {reply}");
        }
    }

    fn step(&self, verb: &str, ifname: &str, purpose: Purpose) -> Run {
        let sh = self.world.host.command("sh");
        let mut command = stepper::gated(sh, &self.program(), &self.conf, &self.world.dir().join("out"));
        clean_env(&mut command, &self.env(verb, ifname));
        stepper::run(command, purpose)
    }
}

fn killed_at_any_point(title: &str, scenario: Scenario, verb: &str) {
    if !testkit::have_root() {
        return testkit::skip_or_fail("conformance", "needs root");
    }
    let Some((last, others)) = scenario.requests.split_last() else { return };
    let mut crash = Crash::new(scenario);
    crash.whole("ADD", others);
    if verb == "DEL" {
        crash.whole("ADD", &[last]);
    }
    let whole = crash.step(verb, last, Purpose::Trace(scenario.victim));
    assert_eq!(whole.rc, 0, "{verb} under the stepper");
    if verb == "ADD" {
        crash.whole("DEL", &[last]);
    }
    crash.whole("DEL", others);
    let points = scenario.points(&whole.calls);
    let (mut killed, mut half_made, mut failed) = (0, 0, Vec::new());
    for point in &points {
        crash.whole("ADD", others);
        let around = crash.world.snapshot();
        if verb == "DEL" {
            crash.whole("ADD", &[last]);
        }
        let run = crash.step(verb, last, Purpose::Kill(*point, scenario.victim));
        killed += usize::from(run.killed.is_some());
        half_made += usize::from(!crash.world.snapshot().left_since(&around, &[]).is_empty());
        let mut replies = vec![crash.call("DEL", last)];
        let after = crash.world.snapshot();
        let (mut left, lost) = (after.left_since(&around, &[]), around.left_since(&after, &[]));
        replies.extend(others.iter().map(|other| crash.call("DEL", other)));
        left.extend(crash.world.snapshot().left_since(&crash.before, &[]));
        if replies.iter().all(|reply| reply.rc == 0) && left.is_empty() && lost.is_empty() {
            continue;
        }
        let at = run.killed.map_or("nothing".to_owned(), |c| {
            let by = if c.thread {
                ", in another thread"
            } else if c.own {
                ""
            } else {
                ", by a program it ran"
            };
            format!("{} (number {}){by}", name(c).unwrap_or("a quiet call"), c.number)
        });
        let said = replies.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        failed.push(format!(
            "{title} {verb} killed at system call {point}, {at}: DEL then: {said}; left: {left:?}; lost: {lost:?}"
        ));
        // The next point starts in a clean world.
        crash = Crash::new(scenario);
    }
    let threads = whole.calls.iter().filter(|c| c.thread).count();
    let children = whole.calls.iter().filter(|c| !c.own).count();
    println!(
        "{title}, {verb}: {} system calls ({threads} in other threads, {children} in other processes); killed at {killed} of them, \
         {half_made} times with something there before DEL, {} times after",
        whole.calls.len(),
        failed.len()
    );
    // Threads run as they like: a late point may not be reached.
    let least = if scenario.sampled { points.len() * 9 / 10 } else { points.len().min(100) };
    assert!(killed >= least.max(1), "{title} {verb}: only {killed} points");
    // An ADD undoes what a plugin's program that was killed has left; nothing is there then.
    let enough = scenario.victim == Victim::Caller || half_made * 10 > killed;
    assert!(enough, "{title} {verb}: kills that leave nothing to clean up prove nothing");
    assert!(failed.is_empty(), "{} of {killed} points left something:\n{}", failed.len(), failed.join("\n"));
}

macro_rules! crashes {
    ($($name:ident: $scenario:expr;)*) => { $(
        mod $name {
            use super::*;
            const SCENARIO: Scenario = $scenario;
            #[test]
            fn add() { killed_at_any_point(stringify!($name), SCENARIO, "ADD"); }
            #[test]
            fn del() { killed_at_any_point(stringify!($name), SCENARIO, "DEL"); }
        }
    )* };
}

crashes! {
    flannel_and_macvlan: calls("multus", samples::article);
    bridge_nftables: calls("bridge", |world| samples::bridge(world, "nftables"));
    bridge_iptables: calls("bridge", |world| samples::bridge(world, "iptables"));
    bridge_spoof_checked: calls("bridge", samples::spoof_checked).sampled();
    bridge_dual_stack: calls("bridge", samples::dual_stack).sampled();
    chain_of_two: calls("multus", samples::chain).sampled();
    second_request: calls("multus", samples::chain).sampled().a_second_time();
    delegates_executed: calls("multus", samples::executed).sampled();
    children_of_delegates_executed: calls("multus", samples::executed).sampled().its_children();
    children_of_bridge_iptables: calls("bridge", |world| samples::bridge(world, "iptables")).sampled().its_children();
}

/// The child that a DEL's removal of links is left to (`docs/decisions/0004`). An ADD has none.
#[test]
fn child_that_removes_links() {
    killed_at_any_point("child_that_removes_links", calls("multus", samples::article).its_children(), "DEL");
}

/// Defect: a plugin's program went on when the ADD that had started it was killed, and made things after the DEL.
#[test]
fn a_program_ends_with_the_add_that_started_it() {
    let world = World::new();
    let dir = world.dir().display();
    let slow = format!(
        "#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\nexec 3<>{dir}/gate\n: >{dir}/begun\nread -r _ <&3\n: >{dir}/late\n"
    );
    let program = world.dir().join("slow");
    std::fs::write(&program, slow).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let gate = world.dir().join("gate");
    world.host.sh(&format!("mkfifo {}", gate.display()));
    let conf = json!({
        "cniVersion": "1.1.0", "name": "late", "type": "multus", "cniDir": format!("{dir}/multus"), "binDir": world.dir(),
        "delegates": [{ "cniVersion": "1.1.0", "name": "slow", "type": "slow" }] });
    let conf = conf.to_string();
    let multus = Programs::ours().dir.join("multus");
    let command = |verb| world.command(&multus, &call_env(verb, "c0ffee01", &world.namespace("pod").path()));

    let mut add = command("ADD").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(conf.as_bytes()).unwrap();
    let soon = |done: &dyn Fn() -> bool| {
        (0..1000).any(|_| {
            done() || {
                std::thread::sleep(Duration::from_millis(10));
                false
            }
        })
    };
    assert!(soon(&|| world.dir().join("begun").exists()), "the delegate was never started");
    add.kill().unwrap();
    add.wait().unwrap();
    let del = run(command("DEL"), conf.as_bytes());
    assert_eq!(del.rc, 0, "{del}");
    // Only the delegate has the gate open: without it there is nobody to write to.
    let open_gate = || OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&gate);
    let gone = soon(&|| open_gate().is_err_and(|e| e.raw_os_error() == Some(libc::ENXIO)));
    if !gone {
        open_gate().unwrap().write_all(b"\n").unwrap();
        assert!(soon(&|| world.dir().join("late").exists()));
    }
    assert!(gone, "the delegate went on after the DEL");
}
