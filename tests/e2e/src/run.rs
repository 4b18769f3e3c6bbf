//! Running programs; what was run is part of every error.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a command with `stdin` and returns its output, whatever its status.
///
/// # Panics
/// If it cannot be run.
pub fn output(command: &mut Command, stdin: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    if let Some(mut pipe) = child.stdin.take() {
        // A program may end without reading: its status tells.
        let _ = pipe.write_all(stdin.as_bytes());
    }
    child.wait_with_output().unwrap_or_else(|e| panic!("cannot wait for {command:?}: {e}"))
}

/// Runs a command with `stdin` and returns what it printed.
///
/// # Errors
/// With what it said, if it fails.
pub fn run(command: &mut Command, stdin: &str) -> Result<String, String> {
    let out = output(command, stdin);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if out.status.success() {
        return Ok(text(&out.stdout));
    }
    Err(format!("{command:?}: {}\n{}{}", out.status, text(&out.stdout), text(&out.stderr)))
}
