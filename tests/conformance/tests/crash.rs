//! A process killed at any system call of ADD, or of DEL, then DEL: nothing is left.
//!
//! `strace` kills at the Nth call of a kind, counted in each thread. Taking every kind and every N of a whole run reaches every system call:
//! those that change something all, of the others so many, spread evenly, that a run takes seconds.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use conformance::world::{Reply, call_env, clean_env, run};
use conformance::{Programs, Snapshot, World, samples};
use serde_json::Value;

/// Points at system calls that change nothing outside of the process, at most.
const QUIET_POINTS: usize = 160;

/// System calls that change something that others can see, or wait for somebody who does.
const CHANGING: [&str; 32] = [
    "openat",
    "write",
    "writev",
    "pwrite64",
    "setns",
    "unshare",
    "socket",
    "sendto",
    "sendmsg",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "fsync",
    "fdatasync",
    "ftruncate",
    "clone",
    "clone3",
    "execve",
    "exit",
    "exit_group",
    "futex",
    "flock",
    "fchmod",
    "recvmsg",
    "recvfrom",
];

/// Programs that a call runs (iptables) have system calls of their own, most of them the loader's.
const OF_OTHER_PROGRAMS: usize = 6;

/// Where to kill: at the `when`th call of `kind`.
struct Point {
    kind: String,
    when: usize,
}

struct Crash {
    world: World,
    conf: Vec<u8>,
    program: &'static str,
    before: Snapshot,
}

impl Crash {
    fn new(program: &'static str, conf: &dyn Fn(&World) -> Value) -> Crash {
        let world = World::new();
        samples::host(&world);
        let conf = conf(&world).to_string().into_bytes();
        let mut crash = Crash { world, conf, program, before: Snapshot::default() };
        // What stays by design (the bridge, base chains) is there from the start.
        crash.whole("ADD");
        crash.whole("DEL");
        crash.before = crash.world.snapshot();
        crash
    }

    fn command(&self, verb: &str, strace: &[&str], log: &Path) -> Command {
        let program = Programs::ours().dir.join(self.program);
        let netns = self.world.namespace("pod").path();
        let mut command = if strace.is_empty() {
            self.world.host.command(program)
        } else {
            let mut c = self.world.host.command("strace");
            c.args(["-f", "-qq", "-o"]).arg(log).args(strace).arg("--").arg(program);
            c
        };
        clean_env(&mut command, &call_env(verb, "c0ffee01", &netns));
        command
    }

    fn call(&self, verb: &str, strace: &[&str], log: &Path) -> Reply {
        run(self.command(verb, strace, log), &self.conf)
    }

    fn whole(&self, verb: &str) {
        let reply = self.call(verb, &[], Path::new("/dev/null"));
        assert_eq!(reply.rc, 0, "{verb}: {reply}");
    }

    /// Every system call of a whole run, by thread; the first thread is the main one.
    fn trace(&self, verb: &str, log: &Path) -> Vec<(u32, String)> {
        let reply = self.call(verb, &["-e", "trace=all"], log);
        assert_eq!(reply.rc, 0, "{verb}: {reply}");
        let text = std::fs::read_to_string(log).unwrap();
        let calls = text.lines().filter_map(|line| {
            let (thread, rest) = line.trim().split_once(char::is_whitespace)?;
            let (kind, _) = rest.trim_start().split_once('(')?;
            let is_call = kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            is_call.then(|| (thread.parse().unwrap_or(0), kind.to_owned()))
        });
        calls.collect()
    }
}

fn points(calls: &[(u32, String)]) -> Vec<Point> {
    let main = calls[0].0;
    let programs: BTreeSet<u32> = calls.iter().filter(|(t, k)| *t != main && k == "execve").map(|(t, _)| *t).collect();
    let mut counts: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    for (thread, kind) in calls {
        *counts.entry((kind, *thread)).or_default() += 1;
    }
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for ((kind, thread), n) in counts {
        let n = if programs.contains(&thread) { n.min(OF_OTHER_PROGRAMS) } else { n };
        let most = most.entry(kind).or_default();
        *most = n.max(*most);
    }
    let all = most.into_iter().flat_map(|(kind, n)| (1..=n).map(move |when| Point { kind: kind.to_owned(), when }));
    let (mut points, quiet): (Vec<Point>, Vec<Point>) = all.partition(|p| CHANGING.contains(&p.kind.as_str()));
    let step = quiet.len().div_ceil(QUIET_POINTS).max(1);
    points.extend(quiet.into_iter().step_by(step));
    points
}

fn killed_at_any_point(title: &str, program: &'static str, conf: &dyn Fn(&World) -> Value, verb: &str) {
    if !testkit::have_root() {
        return testkit::skip_or_fail("conformance", "needs root");
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return testkit::skip_or_fail("conformance", "strace is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("strace");
    let mut crash = Crash::new(program, conf);
    if verb == "DEL" {
        crash.whole("ADD");
    }
    let calls = crash.trace(verb, &log);
    if verb == "ADD" {
        crash.whole("DEL");
    }
    let points = points(&calls);
    let (mut tested, mut unreached, mut half_made, mut failed) = (0, 0, 0, Vec::new());
    for Point { kind, when } in &points {
        if verb == "DEL" {
            crash.whole("ADD");
        }
        let inject = format!("inject={kind}:signal=KILL:when={when}");
        let reply = crash.call(verb, &["-e", "trace=all", "-e", &inject], &log);
        let trace = std::fs::read_to_string(&log).unwrap_or_default();
        // A kill that hit a child (iptables) ends the call with an error instead: that counts, too.
        if reply.rc == 0 {
            unreached += 1;
        } else {
            tested += 1;
        }
        if !crash.world.snapshot().left_since(&crash.before, &[]).is_empty() {
            half_made += 1;
        }
        let again = crash.call("DEL", &[], Path::new("/dev/null"));
        let left = crash.world.snapshot().left_since(&crash.before, &[]);
        if again.rc == 0 && left.is_empty() {
            continue;
        }
        let last = trace.lines().rfind(|l| !l.contains("+++")).unwrap_or("").trim();
        failed
            .push(format!("{title} {verb} killed at {kind} {when}, `{last:.160}`: DEL then: {again}; left: {left:?}"));
        // The next point starts in a clean world.
        crash = Crash::new(program, conf);
    }
    println!(
        "{title}, {verb}: {} system calls; killed at {tested} points ({unreached} not reached), {half_made} times with something there before DEL, {} times after",
        calls.len(),
        failed.len()
    );
    assert!(half_made > 10, "{title} {verb}: kills that leave nothing to clean up prove nothing");
    assert!(tested >= 100, "{title} {verb}: only {tested} points");
    assert!(failed.is_empty(), "{} of {tested} points left something:\n{}", failed.len(), failed.join("\n"));
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
