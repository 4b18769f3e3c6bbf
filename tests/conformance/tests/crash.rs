//! A process killed at any system call of ADD, or of DEL, then DEL: nothing is left.
//!
//! `strace` kills at the Nth system call: at every one of a short run, at 120 spread evenly over a long one. Its counts are kept for each
//! thread, so what other threads and programs do is reached by killing at the Nth call of one kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use conformance::world::{Reply, call_env, clean_env, run};
use conformance::{Programs, Snapshot, World, samples};
use serde_json::Value;

/// Points over the main thread's run; those in other threads come on top.
const POINTS: usize = 120;

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
    let run = calls.iter().filter(|(thread, _)| *thread == main).count();
    let step = (run as f64 / POINTS as f64).max(1.0);
    let spread = (0..POINTS.min(run)).map(|i| Point { kind: "all".to_owned(), when: (i as f64 * step) as usize + 1 });
    // Other threads and programs: at every call of a kind that changes something.
    let mut most: BTreeMap<&str, BTreeMap<u32, usize>> = BTreeMap::new();
    for (thread, kind) in calls.iter().filter(|(thread, _)| *thread != main) {
        *most.entry(kind).or_default().entry(*thread).or_default() += 1;
    }
    let changing = [
        "openat", "write", "setns", "unshare", "socket", "sendto", "sendmsg", "rename", "unlink", "clone", "clone3",
        "execve", "exit", "exit_group", "futex", "flock", "close",
    ];
    let others = changing.into_iter().flat_map(|kind| {
        let n = most.get(kind).and_then(|t| t.values().max().copied()).unwrap_or(0);
        (1..=n.min(6)).map(move |when| Point { kind: kind.to_owned(), when })
    });
    spread.chain(others).collect()
}

fn killed_at_any_point(title: &str, program: &'static str, conf: &dyn Fn(&World) -> Value, verb: &str) {
    if !testkit::have_root() {
        return testkit::skip_or_fail("crash", "needs root");
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return testkit::skip_or_fail("crash", "strace is not installed");
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
    let (mut tested, mut unreached, mut failed) = (0, 0, Vec::new());
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
        let again = crash.call("DEL", &[], Path::new("/dev/null"));
        let left = crash.world.snapshot().left_since(&crash.before, &[]);
        if again.rc == 0 && left.is_empty() {
            continue;
        }
        let last = trace.lines().filter(|l| !l.contains("+++")).next_back().unwrap_or("").trim();
        failed.push(format!("{title} {verb} killed at {kind} {when}, `{last:.160}`: DEL then: {again}; left: {left:?}"));
        // The next point starts in a clean world.
        crash = Crash::new(program, conf);
    }
    println!("{title}, {verb}: {} system calls; killed at {tested} points ({unreached} not reached), {} left something", calls.len(), failed.len());
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
