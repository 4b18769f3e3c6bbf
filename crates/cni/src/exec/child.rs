//! One child process from start to end: feeds stdin, gathers stdout and stderr, all at once and with a deadline.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Exec;
use crate::{Code, Error, Result};

/// More than this on stdout is no result; the plugin is killed.
const STDOUT_LIMIT: usize = 4 << 20;

/// What is kept of stderr; the rest is read and dropped.
const STDERR_LIMIT: usize = 16 << 10;

/// How long a program that is being written ("text file busy") is waited for.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs `program` with these variables set (or, with `None`, removed).
///
/// # Errors
/// If it cannot be started, takes longer than it may or prints too much. It has ended then, and its children with it.
pub(super) fn run(
    exec: &Exec,
    program: &Path,
    stdin: &[u8],
    variables: Vec<(&str, Option<OsString>)>,
) -> Result<Output> {
    let timeout = exec.timeout;
    let started = Instant::now();
    let mut command = Command::new(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    (exec.prepare)(&mut command);
    let child = start(&mut command, program, started, timeout.min(BUSY_LIMIT))?;
    let mut guard = Guard { child, ended: false };
    let failed = |e: io::Error| Error::new(Code::IO, format!("failed to run \"{}\": {e}", program.display()));
    let mut gathered = Gathered::default();
    match gather(&mut guard.child, stdin, &mut gathered, started, timeout).map_err(failed)? {
        End::Exited => {}
        End::TimedOut => {
            return Err(Error::internal(format!(
                "\"{}\" did not end within {timeout:?} and was killed with its children",
                program.display()
            ))
            .with_details(format!("stderr: {}", String::from_utf8_lossy(&gathered.stderr).trim_end())));
        }
        End::TooMuch => {
            return Err(Error::internal(format!(
                "\"{}\" printed more than {STDOUT_LIMIT} bytes and was killed",
                program.display()
            )));
        }
    }
    let status = guard.child.wait().map_err(failed)?;
    guard.ended = true;
    Ok(Output { status, stdout: gathered.stdout, stderr: gathered.stderr })
}

/// A program that is just being copied into place cannot be executed until its writer has closed it (execve(2), `ETXTBSY`).
fn start(command: &mut Command, program: &Path, started: Instant, limit: Duration) -> Result<Child> {
    let mut pause = Duration::from_millis(10);
    loop {
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy => {
                if started.elapsed() + pause > limit {
                    return Err(Error::new(
                        Code::TRY_AGAIN,
                        format!("failed to execute \"{}\" for {limit:?}: {e}", program.display()),
                    )
                    .with_details(
                        "the program is open for writing: replace programs by renaming, not by overwriting",
                    ));
                }
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(e) => {
                let error = Error::internal(format!("failed to execute \"{}\": {e}", program.display()));
                return Err(match e.kind() {
                    io::ErrorKind::PermissionDenied => error.with_details("make it executable: chmod +x"),
                    io::ErrorKind::NotFound => error.with_details("its interpreter or dynamic loader is missing"),
                    _ => error,
                });
            }
        }
    }
}

/// Ends the child and its children if the run is left early.
struct Guard {
    child: Child,
    ended: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ended {
            // The child is not waited for yet, so its number is still its own.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[derive(Default)]
struct Gathered {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

enum End {
    Exited,
    TimedOut,
    TooMuch,
}

fn gather(
    child: &mut Child,
    input: &[u8],
    gathered: &mut Gathered,
    started: Instant,
    timeout: Duration,
) -> io::Result<End> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut stdin = child.stdin.take().filter(|_| !input.is_empty());
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    for pipe in [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)] {
        pipe.map_or(Ok(()), |pipe| rustix::io::ioctl_fionbio(pipe, true))?;
    }
    let mut unwritten = input;
    loop {
        let Some(left) = timeout.checked_sub(started.elapsed()) else { return Ok(End::TimedOut) };
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        fds.extend(stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        fds.extend(stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let exited = !fds[0].revents().is_empty();
        drop(fds);
        feed(&mut stdin, &mut unwritten);
        // After the exit one more reading gets what the program itself wrote. Its background children may keep the pipes open for ever.
        drain(&mut stdout, &mut gathered.stdout, STDOUT_LIMIT + 1)?;
        drain(&mut stderr, &mut gathered.stderr, STDERR_LIMIT)?;
        if gathered.stdout.len() > STDOUT_LIMIT {
            return Ok(End::TooMuch);
        }
        if exited {
            return Ok(End::Exited);
        }
    }
}

/// Writes what the pipe takes. A program need not read all of it: one that closes its stdin is left alone.
fn feed(stdin: &mut Option<ChildStdin>, unwritten: &mut &[u8]) {
    let Some(pipe) = stdin else { return };
    loop {
        match pipe.write(unwritten) {
            Ok(n) => *unwritten = &unwritten[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => *unwritten = &[],
        }
        if unwritten.is_empty() {
            *stdin = None;
            return;
        }
    }
}

/// Reads what is there, keeps the first `limit` bytes, and closes the pipe at its end.
fn drain(pipe: &mut Option<impl Read>, kept: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    let Some(open) = pipe else { return Ok(()) };
    let mut buffer = [0; 16 << 10];
    loop {
        match open.read(&mut buffer) {
            Ok(0) => {
                *pipe = None;
                return Ok(());
            }
            Ok(n) => {
                kept.extend_from_slice(&buffer[..n.min(limit - kept.len())]);
                if kept.len() == limit {
                    return Ok(());
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}
