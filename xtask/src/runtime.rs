//! Calling a CNI plugin as a container runtime does: a process with the specification's environment and the configuration on stdin.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// One attachment that a runtime asks for.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    /// CNI_CONTAINERID.
    pub(crate) id: String,
    /// CNI_NETNS.
    pub(crate) netns: PathBuf,
    /// CNI_IFNAME.
    pub(crate) ifname: String,
    /// CNI_ARGS.
    pub(crate) args: String,
}

/// The answer to a call that succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What the plugin printed.
    pub(crate) stdout: String,
    /// What it logged.
    pub(crate) stderr: String,
    /// From before the process was started until it had ended.
    pub(crate) took: Duration,
}

/// Gives `command` the environment of one call and nothing else.
pub(crate) fn environment(command: &mut Command, dir: &Path, verb: &str, attachment: &Attachment) {
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", &attachment.id)
        .env("CNI_NETNS", &attachment.netns)
        .env("CNI_IFNAME", &attachment.ifname)
        .env("CNI_ARGS", &attachment.args)
        .env("CNI_PATH", dir);
}

/// Runs a command with `stdin` and returns its output and how long it took, from before its start to after its end.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn timed(command: &mut Command, stdin: &[u8]) -> Result<(Output, Duration)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A plugin may refuse without reading: what it answers tells.
        let _ = pipe.write_all(stdin);
    }
    let output = child.wait_with_output()?;
    Ok((output, start.elapsed()))
}

/// Calls a plugin of `dir`, which is also its CNI_PATH.
///
/// # Errors
/// With the CNI error that it printed, if it fails.
pub(crate) fn call(dir: &Path, plugin: &str, verb: &str, attachment: &Attachment, conf: &[u8]) -> Result<Answer> {
    let mut command = Command::new(dir.join(plugin));
    environment(&mut command, dir, verb, attachment);
    let (out, took) = timed(&mut command, conf)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    if !out.status.success() {
        bail!("{plugin} {verb} of {} failed ({}): {stdout} {stderr}", attachment.id, out.status);
    }
    Ok(Answer { stdout, stderr, took })
}
