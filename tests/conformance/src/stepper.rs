//! Runs a program system call by system call, and kills it, or a process that it started, at one of them.
//!
//! Owns: a ptrace loop that counts the calls of all threads and of the programs that are run, in the order in which they happen. (strace can
//! inject a signal, too, but counts by thread and by kind: of what a short-lived thread does it cannot reach everything.)

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc::{PTRACE_EVENT_EXEC, PTRACE_EVENT_STOP};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// One system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// By the process itself, not by a program that it runs.
    pub own: bool,
    /// By another thread than the first.
    pub thread: bool,
    /// Its number.
    pub number: i64,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Run {
    /// Exit status; 128 + the signal's number if it was killed.
    pub rc: i32,
    /// How many system calls began, of those that are counted.
    pub count: usize,
    /// All of them, if asked for.
    pub calls: Vec<Call>,
    /// Where it was killed.
    pub killed: Option<Call>,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To see every system call, up to the end of the process; where callers are to be killed, up to the end of those that it started, too.
    Trace(Victim),
    /// To kill somebody when the Nth begins, counted from 1: of all system calls, or, where the caller is the victim, of those of the processes that the
    /// program started. (How often it looks after them while it waits is never the same.)
    Kill(usize, Victim),
}

/// Who is killed at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The process itself, whoever made the call.
    Main,
    /// Who made the call: a process that it started.
    Caller,
}

/// A command that waits at the gate, then becomes `program` with `stdin` from a file and stdout into one.
pub fn gated(mut sh: Command, program: &Path, stdin: &Path, stdout: &Path) -> Command {
    sh.arg("-c").arg(r#"read -r _; exec "$0" <"$1" >"$2" 2>/dev/null"#).arg(program).arg(stdin).arg(stdout);
    sh
}

/// Runs a [`gated`] command.
///
/// # Panics
/// Without the privilege to trace.
#[expect(clippy::zombie_processes, reason = "waited for by the loop, until there is no child left")]
pub fn run(mut command: Command, purpose: Purpose) -> Run {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut gate = child.stdin.take().unwrap();
    let main = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let follow = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    let options = follow | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).unwrap();
    gate.write_all(b"\n").unwrap();
    drop(gate);

    let mut run = Run::default();
    // The gate is a shell; the program begins with the execve that makes it `plexus-node`.
    let mut begun = false;
    let mut inside: HashSet<Pid> = HashSet::new();
    let mut traced: HashSet<Pid> = HashSet::new();
    // The process has ended. One that it started and that outlives it is let go, unless it is to be killed itself: what it still does, it does
    // while the DEL runs.
    let mut over = false;
    let leave = |traced: &HashSet<Pid>| match purpose {
        Purpose::Trace(Victim::Main) | Purpose::Kill(_, Victim::Main) => leave(traced),
        Purpose::Trace(Victim::Caller) | Purpose::Kill(_, Victim::Caller) => false,
    };
    loop {
        // Only this thread's children: other tests have theirs.
        let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Ok(status) => status,
            Err(Errno::ECHILD) => return run,
            Err(Errno::EINTR) => continue,
            Err(e) => panic!("waitpid: {e}"),
        };
        let (pid, signal) = match status {
            WaitStatus::Exited(pid, code) => {
                traced.remove(&pid);
                if pid == main {
                    run.rc = code;
                    over = leave(&traced);
                }
                continue;
            }
            WaitStatus::Signaled(pid, signal, _) => {
                traced.remove(&pid);
                if pid == main {
                    run.rc = 128 + signal as i32;
                    over = leave(&traced);
                }
                continue;
            }
            WaitStatus::PtraceSyscall(pid) if over => (pid, None),
            WaitStatus::PtraceSyscall(pid) => {
                if inside.insert(pid) {
                    enter(&mut run, pid, main, purpose);
                } else {
                    inside.remove(&pid);
                }
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, PTRACE_EVENT_EXEC) => {
                if pid == main && !begun {
                    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
                    begun = program.file_name().is_some_and(|n| n == "plexus-node");
                    // The next stop is the end of this execve.
                    inside.insert(pid);
                }
                (pid, None)
            }
            // A new thread or program, or a stop for job control.
            WaitStatus::PtraceEvent(pid, _, PTRACE_EVENT_STOP) => {
                inside.remove(&pid);
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, _) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => continue,
        };
        traced.insert(pid);
        let onward = match (over, begun) {
            (true, _) => ptrace::detach(pid, signal),
            (false, true) => ptrace::syscall(pid, signal),
            (false, false) => ptrace::cont(pid, signal),
        };
        // It may have been killed meanwhile.
        assert!(matches!(onward, Ok(()) | Err(Errno::ESRCH)), "ptrace: {onward:?}");
    }
}

/// Makes processes stop, for until they do they cannot be let go. They may have ended meanwhile.
fn leave(traced: &HashSet<Pid>) -> bool {
    for pid in traced {
        let _ = ptrace::interrupt(*pid);
    }
    true
}

fn enter(run: &mut Run, pid: Pid, main: Pid, purpose: Purpose) {
    let of = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let group = || of("status").lines().find_map(|l| l.strip_prefix("Tgid:")?.trim().parse().ok()).map(Pid::from_raw);
    if matches!(purpose, Purpose::Kill(_, Victim::Caller)) && (pid == main || group() == Some(main)) {
        return;
    }
    run.count += 1;
    let victim = match purpose {
        Purpose::Trace(_) => None,
        Purpose::Kill(n, victim) if n == run.count => Some(victim),
        Purpose::Kill(..) => return,
    };
    let number = of("syscall").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(-1);
    let group = group();
    let own = group == Some(main);
    let call = Call { own, thread: own && pid != main, number };
    match victim {
        None => run.calls.push(call),
        Some(victim) => {
            run.killed = Some(call);
            kill(if victim == Victim::Main { main } else { group.unwrap_or(pid) }, Signal::SIGKILL).unwrap();
        }
    }
}
