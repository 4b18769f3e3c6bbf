//! Running other programs: what was run is part of every error.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// A command line split at spaces: for programs and arguments without any inside.
pub(crate) fn words(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Runs a command line and returns what it printed; anything but success is an error with its error output.
pub(crate) fn sh(line: &str) -> Result<String> {
    capture(&mut words(line))
}

/// Runs a command and returns what it printed; anything but success is an error with its error output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run: {shown}"))?;
    succeeded(&shown, &out)?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs a command whose output the user sees as it comes.
pub(crate) fn watch(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot run: {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// An error unless the program succeeded.
pub(crate) fn succeeded(shown: &str, out: &Output) -> Result<()> {
    if !out.status.success() {
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        bail!("{shown}: {}\n{}{}", out.status, said(&out.stdout), said(&out.stderr));
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let args = command.get_args().map(|a| a.to_string_lossy().into_owned());
    std::iter::once(command.get_program().to_string_lossy().into_owned()).chain(args).collect::<Vec<_>>().join(" ")
}
