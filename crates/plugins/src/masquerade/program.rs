//! Running a program for a bounded time, in the calling thread's network namespace. It does not outlive this process.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cni::{Code, Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};

/// A program that waits 10 s for its lock and then works has ended by now.
const LIMIT: Duration = Duration::from_secs(25);

/// What a program did.
pub(super) struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub(super) code: Option<i32>,
    /// The same in words.
    pub(super) status: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A program of this name is in `PATH`.
pub(super) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    std::env::split_paths(&path).any(|dir| rustix::fs::access(dir.join(program), rustix::fs::Access::EXEC_OK).is_ok())
}

/// Runs it with these arguments and this input.
pub(super) fn run(program: &str, arguments: &[&str], input: &str) -> Result<Output> {
    let io = |e: std::io::Error| Error::new(Code::IO, format!("failed to run {program}: {e}"));
    // Files in memory, not pipes: neither side ever waits for the other.
    let file = || memfd_create("plexus", MemfdFlags::CLOEXEC).map(File::from).map_err(|e| io(e.into()));
    let (mut stdin, mut stdout, mut stderr) = (file()?, file()?, file()?);
    stdin.write_all(input.as_bytes()).and_then(|()| stdin.rewind()).map_err(io)?;
    let mut command = Command::new(program);
    // It would go on changing the ruleset after a kill of this process, and after the DEL that follows.
    let mut child = netlink::process::die_with_parent(&mut command)
        .args(arguments)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout.try_clone().map_err(io)?))
        .stderr(Stdio::from(stderr.try_clone().map_err(io)?))
        .spawn()
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::internal(format!(
                "failed to locate {program}: install it, or set ipMasqBackend to \"nftables\", which needs no program"
            )),
            _ => io(e),
        })?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(io)? {
            break status;
        }
        let waited = started.elapsed();
        if waited > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(
                Code::TRY_AGAIN,
                format!("{program} {} did not end within {} s and was killed", arguments.join(" "), LIMIT.as_secs()),
            ));
        }
        // A twentieth of what it took so far: waiting neither spins nor adds to what it costs.
        std::thread::sleep((waited / 20).clamp(Duration::from_micros(100), Duration::from_millis(20)));
    };
    let text = |file: &mut File| -> Result<String> {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(io)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Output {
        code: status.code(),
        status: status.to_string(),
        stdout: text(&mut stdout)?,
        stderr: text(&mut stderr)?,
    })
}
