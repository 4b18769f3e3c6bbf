//! What makes a [`Plugin`] a CNI program: environment and stdin in, result or error on stdout, exit code.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use cni::exec::Exec;
use cni::{Call, Code, Command, Error, Invoke, Json, Result, Version};
use netlink::Netns;

use crate::{InProcess, Plugin, Registry, perform};

/// How long a delegate that runs as a program may take: the `dhcp` plugin, the slowest there is, asks for up to 208 seconds.
const DELEGATE_TIMEOUT: Duration = Duration::from_secs(240);

/// A whole CNI program: one call, from the process's environment and stdin to its exit code.
pub fn main(plugin: &dyn Plugin) -> ExitCode {
    let exec = Exec { timeout: DELEGATE_TIMEOUT, prepare: netlink::process::die_with_parent };
    let delegates = Registry::new(InProcess::Auto, &exec);
    let var = |name: &str| std::env::var_os(name);
    run(plugin, var, &mut io::stdin().lock(), &mut Stdout, &mut io::stderr().lock(), &delegates)
}

/// The standard output without the standard library's buffer, which writes what is behind the last line break on its own: the runtime, which waits at
/// the other end, is woken once.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// [`main`] with everything it touches passed in.
pub fn run(
    plugin: &dyn Plugin,
    var: impl Fn(&str) -> Option<OsString>,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    delegates: &dyn Invoke,
) -> ExitCode {
    // Somebody typed the program's name.
    if var("CNI_COMMAND").is_none_or(|c| c.is_empty()) {
        let _ = stderr.write_all(about(plugin).as_bytes());
        return ExitCode::SUCCESS;
    }
    let call = cni::env::call(var, stdin);
    // An error object has the version of the configuration; where that could not be read, ours.
    let version = call.as_ref().ok().and_then(|c| c.version().ok()).unwrap_or(Version::CURRENT);
    let Err(error) = call.and_then(|call| answer(plugin, &call, delegates, stdout)) else { return ExitCode::SUCCESS };
    if print(&error.to_json(version.as_str()), stdout).is_err() {
        // The last resort for a word about what happened.
        let _ = writeln!(stderr, "{}: {error}", plugin.name());
    }
    ExitCode::FAILURE
}

fn about(plugin: &dyn Plugin) -> String {
    let versions: Vec<&str> = plugin.versions().iter().map(|v| v.as_str()).collect();
    format!(
        "CNI {} plugin version {} (Plexus)\nCNI protocol versions supported: {}\n",
        plugin.name(),
        env!("CARGO_PKG_VERSION"),
        versions.join(", ")
    )
}

/// Performs the call and prints what it gave.
fn answer(plugin: &dyn Plugin, call: &Call, delegates: &dyn Invoke, stdout: &mut dyn Write) -> Result<()> {
    if call.command == Command::Version {
        return versions(plugin, stdout).map_err(|e| unprintable(&e));
    }
    let version = call.version_among(plugin.versions())?;
    let _opened = netlink::Pool::new();
    if matches!(call.command, Command::Add | Command::Del) {
        refuse_own_netns(call)?;
    }
    let Some(result) = perform(plugin, call, delegates)? else { return Ok(()) };
    let printed = result.to_json(version).and_then(|json| print(&json, stdout).map_err(|e| unprintable(&e)));
    printed.map_err(|error| {
        // Nobody learns of what was made, so it must not stay.
        match plugin.del(&call.with_command(Command::Del), delegates) {
            Ok(()) => error,
            Err(undo) => error.context(format!("the ADD could not be undone ({undo}), after")),
        }
    })
}

/// The originals find this only after the work is done (and then set the host's `lo` down on DEL).
fn refuse_own_netns(call: &Call) -> Result<()> {
    if call.netns_override || call.netns.is_empty() {
        return Ok(());
    }
    // What cannot be opened is the plugin's to judge: DEL must succeed when the namespace is gone.
    if !Netns::open(&call.netns).is_ok_and(|theirs| theirs.is_current()) {
        return Ok(());
    }
    Err(Error::new(Code::INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same")
        .with_details(format!("{} is the namespace of this process; CNI_NETNS_OVERRIDE=1 permits it", call.netns)))
}

fn versions(plugin: &dyn Plugin, stdout: &mut dyn Write) -> io::Result<()> {
    let supported = plugin.versions().iter().map(|v| Json::from(v.as_str())).collect::<Vec<_>>();
    let mut answer = Json::object();
    answer.set("cniVersion", Version::CURRENT.as_str());
    answer.set("supportedVersions", supported);
    let mut line = answer.to_vec();
    line.push(b'\n');
    stdout.write_all(&line)?;
    stdout.flush()
}

/// As Go prints it: indented by four spaces, no line end.
fn print(json: &Json, stdout: &mut dyn Write) -> io::Result<()> {
    stdout.write_all(&json.to_vec_pretty())?;
    stdout.flush()
}

fn unprintable(e: &io::Error) -> Error {
    Error::new(Code::IO, format!("failed to write the result to stdout: {e}"))
}
