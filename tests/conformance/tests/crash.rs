//! A process killed at any system call of ADD, or of DEL, then DEL: nothing is left.
//!
//! Killed is at every system call that changes something or waits for somebody who does, and at so many of the others, spread evenly, that
//! the tests take a minute. `PLEXUS_CRASH=all` kills at every one.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed unwrap is a failed test")]

use std::path::PathBuf;

use conformance::stepper::{self, Call, Purpose, Run};
use conformance::world::{Reply, call_env, clean_env, run};
use conformance::{Programs, Snapshot, World, samples};
use serde_json::Value;

/// Points at system calls that change nothing, at most.
const QUIET_POINTS: usize = 120;

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

struct Crash {
    world: World,
    conf: PathBuf,
    program: &'static str,
    before: Snapshot,
}

impl Crash {
    fn new(program: &'static str, conf: &dyn Fn(&World) -> Value) -> Crash {
        let world = World::new();
        samples::host(&world);
        let path = world.dir().join("conf");
        std::fs::write(&path, conf(&world).to_string()).unwrap();
        std::fs::write(world.dir().join("out"), "").unwrap();
        let mut crash = Crash { world, conf: path, program, before: Snapshot::default() };
        // What stays by design (the bridge, base chains) is there from the start.
        crash.whole("ADD");
        crash.whole("DEL");
        crash.before = crash.world.snapshot();
        crash
    }

    fn call(&self, verb: &str) -> Reply {
        let env = call_env(verb, "c0ffee01", &self.world.namespace("pod").path());
        run(self.world.command(&Programs::ours().dir.join(self.program), &env), &std::fs::read(&self.conf).unwrap())
    }

    fn whole(&self, verb: &str) {
        let reply = self.call(verb);
        assert_eq!(reply.rc, 0, "{verb}: {reply}");
    }

    fn step(&self, verb: &str, purpose: Purpose) -> Run {
        let program = Programs::ours().dir.join(self.program);
        let sh = self.world.host.command("sh");
        let mut command = stepper::gated(sh, &program, &self.conf, &self.world.dir().join("out"));
        clean_env(&mut command, &call_env(verb, "c0ffee01", &self.world.namespace("pod").path()));
        stepper::run(command, purpose)
    }

    fn left(&self) -> Vec<String> {
        self.world.snapshot().left_since(&self.before, &[])
    }
}

/// The numbers of the system calls to kill at.
fn points(calls: &[Call]) -> Vec<usize> {
    let numbered = || calls.iter().enumerate().map(|(i, call)| (i + 1, *call));
    if std::env::var_os("PLEXUS_CRASH").is_some_and(|v| v == "all") {
        return numbered().map(|(n, _)| n).collect();
    }
    // A program that we run (iptables) opens its libraries: nothing of ours.
    let loud = |call: Call| name(call).is_some_and(|name| call.own || !["openat", "write"].contains(&name));
    let (mut points, quiet): (Vec<_>, Vec<_>) = numbered().partition(|(_, call)| loud(*call));
    let step = quiet.len().div_ceil(QUIET_POINTS).max(1);
    points.extend(quiet.into_iter().step_by(step));
    points.into_iter().map(|(n, _)| n).collect()
}

fn killed_at_any_point(title: &str, program: &'static str, conf: &dyn Fn(&World) -> Value, verb: &str) {
    if !testkit::have_root() {
        return testkit::skip_or_fail("conformance", "needs root");
    }
    let mut crash = Crash::new(program, conf);
    if verb == "DEL" {
        crash.whole("ADD");
    }
    let whole = crash.step(verb, Purpose::Trace);
    assert_eq!(whole.rc, 0, "{verb} under the stepper");
    if verb == "ADD" {
        crash.whole("DEL");
    }
    let (mut killed, mut half_made, mut failed) = (0, 0, Vec::new());
    for point in points(&whole.calls) {
        if verb == "DEL" {
            crash.whole("ADD");
        }
        let run = crash.step(verb, Purpose::Kill(point));
        killed += usize::from(run.rc == 128 + libc::SIGKILL);
        half_made += usize::from(!crash.left().is_empty());
        let again = crash.call("DEL");
        let left = crash.left();
        if again.rc == 0 && left.is_empty() {
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
        failed.push(format!("{title} {verb} killed at system call {point}, {at}: DEL then: {again}; left: {left:?}"));
        // The next point starts in a clean world.
        crash = Crash::new(program, conf);
    }
    let threads = whole.calls.iter().filter(|c| c.thread).count();
    println!(
        "{title}, {verb}: {} system calls ({threads} in other threads); killed at {killed} of them, \
         {half_made} times with something there before DEL, {} times after",
        whole.calls.len(),
        failed.len()
    );
    assert!(killed >= whole.calls.len().min(100), "{title} {verb}: only {killed} points");
    assert!(half_made > 10, "{title} {verb}: kills that leave nothing to clean up prove nothing");
    assert!(failed.is_empty(), "{} of {killed} points left something:\n{}", failed.len(), failed.join("\n"));
}

macro_rules! crashes {
    ($($name:ident: $program:literal, $conf:expr;)*) => { $(
        mod $name {
            #[test]
            fn add() { super::killed_at_any_point(stringify!($name), $program, &$conf, "ADD"); }
            #[test]
            fn del() { super::killed_at_any_point(stringify!($name), $program, &$conf, "DEL"); }
        }
    )* };
}

crashes! {
    flannel_and_macvlan: "multus", conformance::samples::article;
    bridge_nftables: "bridge", |w: &conformance::World| conformance::samples::bridge(w, "nftables");
    bridge_iptables: "bridge", |w: &conformance::World| conformance::samples::bridge(w, "iptables");
}
