//! Plugins as programs: finding one, running it, reading what it says.
//!
//! A program gets a process group of its own, so that a timeout ends its children as well. What it leaves running on purpose (a daemon) is
//! not waited for. Whether it outlives a caller that is killed is up to [`Exec::prepare`].
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::os::unix::fs::PermissionsExt as _;
//! # let dir = tempfile::tempdir()?;
//! # let bin = dir.path().to_path_buf();
//! use std::time::Duration;
//! use plexus_cni::chain::Runtime;
//! use plexus_cni::{Command, Invoke as _, Json, exec::Exec};
//!
//! std::fs::write(bin.join("hello"), r#"#!/bin/sh
//! echo '{"ips": [{"address": "10.1.2.3/24"}]}'
//! "#)?;
//! std::fs::set_permissions(bin.join("hello"), std::fs::Permissions::from_mode(0o755))?;
//!
//! let runtime = Runtime { path: vec![bin], ..Runtime::new("f00", "/run/netns/a", "eth0") };
//! let conf = Json::parse(br#"{"cniVersion": "1.0.0", "name": "office", "type": "hello"}"#)?;
//! let exec = Exec::new(Duration::from_secs(60));
//! let result = exec.invoke("hello", &runtime.call(Command::Add, conf))?.ok_or("no result")?;
//! assert_eq!(result.ips[0].address.to_string(), "10.1.2.3/24");
//! # Ok(())
//! # }
//! ```

mod child;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus};
use std::time::Duration;

use serde::Deserialize;

use crate::json::from_json;
use crate::{Call, CniResult, Code, Command, Error, Invoke, Json, Result, Version};

/// Runs plugins as programs found in the call's `CNI_PATH`, with this process's environment and the call's variables.
#[derive(Clone, Copy, Debug)]
pub struct Exec {
    /// How long one plugin may take; then it is killed with its children.
    pub timeout: Duration,
    /// Called before a program is started, for what only the caller can ask of the system (Linux: that the program ends with its caller).
    pub prepare: fn(&mut process::Command) -> &mut process::Command,
}

/// The program of a plugin: the first regular file of that name in `path`.
///
/// # Errors
/// If the name is empty or has a path separator, or there is no such file; the message has the directories.
pub fn find(plugin: &str, path: &[PathBuf]) -> Result<PathBuf> {
    if plugin.is_empty() {
        return Err(Error::config("no plugin name provided"));
    }
    if plugin.contains(['/', '\0']) {
        return Err(Error::config(format!("invalid plugin name: {plugin}"))
            .with_details("the \"type\" of a plugin is a file name, without directories"));
    }
    if path.is_empty() {
        return Err(Error::internal("no paths provided").with_details("set CNI_PATH to the directories of the plugins"));
    }
    path.iter().map(|dir| dir.join(plugin)).find(|program| program.is_file()).ok_or_else(|| {
        let dirs: Vec<_> = path.iter().map(|dir| dir.display().to_string()).collect();
        Error::internal(format!("failed to find plugin \"{plugin}\" in path [{}]", dirs.join(" ")))
            .with_details("install the plugin there, or correct \"type\" in the network configuration")
    })
}

/// What VERSION answers.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Versions {
    cni_version: String,
    supported_versions: Vec<String>,
}

/// An error object on stdout. Details of any type are taken: they are only shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    code: u32,
    msg: String,
    details: Option<Json>,
}

impl Exec {
    /// Programs that may take this long; nothing else is asked of the system.
    #[must_use]
    pub fn new(timeout: Duration) -> Exec {
        Exec { timeout, prepare: |command| command }
    }

    /// The versions a program says it speaks, in its own order; they may be unknown here.
    ///
    /// # Errors
    /// If it cannot be run or does not answer.
    pub fn versions(&self, program: &Path) -> Result<Vec<String>> {
        // Plugins built on old libraries want the variables to be there.
        let variables = environment(Command::Version, ["", "dummy", "dummy", ""], OsString::from("dummy"), false);
        let stdin = format!("{{\"cniVersion\":\"{}\"}}", Version::CURRENT);
        let output = match self.run(program, stdin.as_bytes(), variables) {
            // Before 0.2.0 there was no such command.
            Err(e) if e.message == "unknown CNI_COMMAND: VERSION" => return Ok(vec!["0.1.0".to_owned()]),
            other => other?,
        };
        let decode = |what: &str| {
            Error::new(Code::DECODE, format!("\"{}\" VERSION: decoding version info: {what}", program.display()))
        };
        let answer: Versions =
            Json::parse(&output).and_then(|json| from_json(&json)).map_err(|e| decode(&e.to_string()))?;
        match (answer.cni_version.as_str(), answer.supported_versions) {
            ("", _) => Err(decode("missing field cniVersion")),
            // 0.2.0 had the command, but not the list.
            ("0.2.0", list) if list.is_empty() => Ok(vec!["0.1.0".to_owned(), "0.2.0".to_owned()]),
            (_, list) if list.is_empty() => Err(decode("missing field supportedVersions")),
            (_, list) => Ok(list),
        }
    }

    /// Runs a program to its end. Its stdout, if it succeeded.
    fn run(&self, program: &Path, stdin: &[u8], variables: Vec<(&str, Option<OsString>)>) -> Result<Vec<u8>> {
        let output = child::run(self, program, stdin, variables)?;
        if !output.status.success() {
            return Err(failure(program, output.status, &output.stdout, &output.stderr));
        }
        if !output.stderr.is_empty() {
            let program = program.display();
            tracing::info!(
                "plugin \"{program}\" wrote to stderr: {}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        Ok(output.stdout)
    }
}

impl Invoke for Exec {
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>> {
        let program = find(plugin, &call.path)?;
        let attachment = [call.container_id.as_str(), &call.netns, &call.ifname, &call.args];
        let path = call.path.iter().map(|dir| dir.as_os_str()).collect::<Vec<_>>().join(std::ffi::OsStr::new(":"));
        let variables = environment(call.command, attachment, path, call.netns_override);
        let stdout = self.run(&program, &call.conf.to_vec(), variables)?;
        if call.command != Command::Add {
            return Ok(None);
        }
        let json = Json::parse(&stdout).map_err(|e| {
            Error::new(Code::DECODE, format!("\"{}\" ADD: failed to read the result: {e}", program.display()))
                .with_details(format!("it printed {}", quoted(&stdout)))
        })?;
        let result = CniResult::from_json(&json, call.version()?);
        result.map(Some).map_err(|e| e.context(format!("\"{}\" ADD", program.display())))
    }

    fn validate(&self, plugin: &str, call: &Call) -> Result<()> {
        find(plugin, &call.path).map(drop)
    }
}

/// The variables of a call: container, namespace, interface and arguments, in this order.
fn environment(
    command: Command,
    [id, netns, ifname, args]: [&str; 4],
    path: OsString,
    netns_override: bool,
) -> Vec<(&'static str, Option<OsString>)> {
    vec![
        ("CNI_COMMAND", Some(command.as_str().into())),
        ("CNI_CONTAINERID", Some(id.into())),
        ("CNI_NETNS", Some(netns.into())),
        ("CNI_IFNAME", Some(ifname.into())),
        ("CNI_ARGS", Some(args.into())),
        ("CNI_PATH", Some(path)),
        // Not to be inherited: it is this call's or no one's.
        ("CNI_NETNS_OVERRIDE", netns_override.then(|| "1".into())),
    ]
}

/// What a program that failed has to say: its error object, else its stderr, else how it ended.
fn failure(program: &Path, status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Error {
    let stderr_text = String::from_utf8_lossy(stderr);
    let stderr_text = stderr_text.trim_end();
    let whose = format!("\"{}\"", program.display());
    let object = Json::parse(stdout).and_then(|json| from_json::<Failure>(&json));
    let error = match object {
        Ok(Failure { code, msg, details }) if code != 0 || !msg.is_empty() => {
            let details = match details {
                None => String::new(),
                Some(Json::String(text)) => text,
                Some(other) => String::from_utf8_lossy(&other.to_vec()).into_owned(),
            };
            let msg = if msg.is_empty() { format!("{whose} failed with no error message: {status}") } else { msg };
            // 0 is no code for an error.
            let code = if code == 0 { Code::INTERNAL } else { Code(code) };
            Error::new(code, msg).with_details(details)
        }
        _ if stdout.is_empty() && stderr.is_empty() => {
            Error::internal(format!("netplugin failed with no error message: {whose}: {status}"))
        }
        _ if stdout.is_empty() => Error::internal(format!("netplugin failed: {}: {whose}: {status}", quoted(stderr))),
        Ok(_) => Error::internal(format!(
            "netplugin failed with no error message: {whose}: {status}, it printed {}",
            quoted(stdout)
        )),
        Err(e) => Error::internal(format!(
            "netplugin failed but error parsing its diagnostic message {}: {e}: {whose}: {status}",
            quoted(stdout)
        )),
    };
    if stderr_text.is_empty() {
        return error;
    }
    let separator = if error.details.is_empty() { "" } else { "; " };
    let details = format!("{}{separator}stderr: {stderr_text}", error.details);
    error.with_details(details)
}

/// The beginning of what a program printed.
fn quoted(bytes: &[u8]) -> String {
    const LIMIT: usize = 1000;
    let cut = if bytes.len() > LIMIT { "..." } else { "" };
    format!("{:?}{cut}", String::from_utf8_lossy(&bytes[..bytes.len().min(LIMIT)]))
}
