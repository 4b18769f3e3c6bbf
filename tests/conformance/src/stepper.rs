//! Runs a program system call by system call, and kills it at one of them.
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
    /// How many system calls began.
    pub count: usize,
    /// All of them, if asked for.
    pub calls: Vec<Call>,
    /// Where it was killed.
    pub killed: Option<Call>,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To see every system call.
    Trace,
    /// To kill it when the Nth begins; counted from 1.
    Kill(usize),
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
    // The process has been killed. A program that it ran and that outlives it is let go: what it still does, it does while the DEL runs.
    let mut over = false;
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
                }
                continue;
            }
            WaitStatus::Signaled(pid, signal, _) => {
                traced.remove(&pid);
                if pid == main {
                    run.rc = 128 + signal as i32;
                    over = true;
                    for other in &traced {
                        // Until it stops it cannot be let go. It may have ended meanwhile.
                        let _ = ptrace::interrupt(*other);
                    }
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

fn enter(run: &mut Run, pid: Pid, main: Pid, purpose: Purpose) {
    run.count += 1;
    let here = purpose == Purpose::Kill(run.count);
    if !here && purpose != Purpose::Trace {
        return;
    }
    let of = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let number = of("syscall").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(-1);
    let group = of("status").lines().find_map(|l| l.strip_prefix("Tgid:")?.trim().parse::<i32>().ok());
    let own = group == Some(main.as_raw());
    let call = Call { own, thread: own && pid != main, number };
    if purpose == Purpose::Trace {
        run.calls.push(call);
    }
    if here {
        run.killed = Some(call);
        // Whoever made the call: it is our process that dies; where it has ended, the child that it left to remove links.
        if kill(main, Signal::SIGKILL) == Err(Errno::ESRCH) {
            kill(pid, Signal::SIGKILL).unwrap();
        }
    }
}
