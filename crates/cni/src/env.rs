//! A call from outside: the environment and stdin of a process that a runtime started.
//!
//! ```
//! use std::ffi::OsString;
//! use plexus_cni::{Command, env};
//!
//! // In a plugin: `env::call(|name| std::env::var_os(name), &mut std::io::stdin())`.
//! let var = |name: &str| match name {
//!     "CNI_COMMAND" => Some(OsString::from("STATUS")),
//!     "CNI_PATH" => Some(OsString::from("/opt/cni/bin")),
//!     _ => None,
//! };
//! let call = env::call(var, &mut &br#"{"cniVersion": "1.1.0", "name": "office", "type": "bridge"}"#[..])?;
//! assert_eq!((call.command, call.network()), (Command::Status, "office"));
//!
//! let error = env::call(|_| None, &mut std::io::empty()).unwrap_err();
//! assert_eq!(error.message, "required env variables [CNI_COMMAND] missing");
//! # Ok::<(), plexus_cni::Error>(())
//! ```

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

use crate::{Call, Code, Command, Error, Json, Result, Version, names};

#[cfg(test)]
mod tests;

/// The longest configuration that is read from stdin, in bytes.
pub const STDIN_LIMIT: u64 = 1_000_000;

/// Reads and validates one call. `var` gives an environment variable, as [`std::env::var_os`] does.
///
/// stdin is not read for VERSION. Whether the plugin speaks the version is asked with [`Call::version_among`].
///
/// # Errors
/// Those of the specification: code 4 for the environment (all missing variables in one error), 5 if stdin cannot be read or is longer than
/// [`STDIN_LIMIT`], 6 if it is not JSON, 7 for the network's name, 1 for a version that is not spoken or does not have the command.
pub fn call(var: impl Fn(&str) -> Option<OsString>, stdin: &mut dyn Read) -> Result<Call> {
    let mut env = Environment { var, missing: Vec::new() };
    let command = env.command()?;
    // Which variables a command needs; the others it may have. The order is that of the message.
    let attachment = matches!(command, Some(Command::Add | Command::Del | Command::Check));
    let other = matches!(command, Some(Command::Gc | Command::Status));
    let container_id = env.text("CNI_CONTAINERID", attachment)?;
    if attachment && !container_id.is_empty() {
        names::container_id(&container_id).map_err(|e| e.context("CNI_CONTAINERID"))?;
    }
    let netns = env.text("CNI_NETNS", matches!(command, Some(Command::Add | Command::Check)))?;
    let ifname = env.text("CNI_IFNAME", attachment)?;
    if attachment && !ifname.is_empty() {
        names::interface(&ifname).map_err(|e| e.context("CNI_IFNAME"))?;
    }
    let args = env.text("CNI_ARGS", false)?;
    let path = env.path(attachment || other);
    let netns_override = env.text("CNI_NETNS_OVERRIDE", false)?;
    let (Some(command), true) = (command, env.missing.is_empty()) else {
        let message = format!("required env variables [{}] missing", env.missing.join(","));
        return Err(Error::new(Code::INVALID_ENVIRONMENT, message));
    };
    let conf = if command == Command::Version { Json::object() } else { configuration(stdin, command)? };
    let given = |value: String| if attachment { value } else { String::new() };
    Ok(Call {
        command,
        container_id: given(container_id),
        netns: given(netns),
        ifname: given(ifname),
        args: given(args),
        path,
        netns_override: netns_override == "1" || netns_override.eq_ignore_ascii_case("true"),
        conf: conf.into(),
    })
}

struct Environment<F> {
    var: F,
    missing: Vec<&'static str>,
}

impl<F: Fn(&str) -> Option<OsString>> Environment<F> {
    /// A variable's text; an empty one is as good as none.
    fn text(&mut self, name: &'static str, required: bool) -> Result<String> {
        let value = (self.var)(name).unwrap_or_default();
        if value.is_empty() && required {
            self.missing.push(name);
        }
        value.into_string().map_err(|raw| {
            Error::new(Code::INVALID_ENVIRONMENT, format!("{name} is not UTF-8")).with_details(format!("{raw:?}"))
        })
    }

    fn command(&mut self) -> Result<Option<Command>> {
        let text = self.text("CNI_COMMAND", true)?;
        if text.is_empty() {
            return Ok(None);
        }
        Command::ALL.into_iter().find(|c| c.as_str() == text).map(Some).ok_or_else(|| {
            let known = Command::ALL.map(Command::as_str).join(", ");
            Error::new(Code::INVALID_ENVIRONMENT, format!("unknown CNI_COMMAND: {text}"))
                .with_details(format!("known: {known}"))
        })
    }

    /// Directories need not be UTF-8. An empty one would mean the working directory, from which no plugin is to be run.
    fn path(&mut self, required: bool) -> Vec<PathBuf> {
        let value = (self.var)("CNI_PATH").unwrap_or_default();
        if value.is_empty() && required {
            self.missing.push("CNI_PATH");
        }
        std::env::split_paths(&value).filter(|dir| !dir.as_os_str().is_empty()).collect()
    }
}

fn configuration(stdin: &mut dyn Read, command: Command) -> Result<Json> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too long" from "just fits".
    let read = stdin.take(STDIN_LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::new(Code::IO, format!("error reading from stdin: {e}")))?;
    if bytes.len() as u64 > STDIN_LIMIT {
        let message = format!("error reading from stdin: the network configuration is longer than {STDIN_LIMIT} bytes");
        return Err(Error::new(Code::IO, message));
    }
    let decode =
        |what: String| Error::new(Code::DECODE, format!("error reading the network configuration from stdin: {what}"));
    let conf = Json::parse(&bytes).map_err(|e| decode(e.to_string()))?;
    if conf.members().is_none() {
        return Err(decode("it is not a JSON object".to_owned()));
    }
    let text = |key: &str| match conf.get(key) {
        None => Ok(""),
        Some(Json::String(s)) => Ok(s.as_str()),
        Some(_) => Err(decode(format!("key \"{key}\" is not a string"))),
    };
    names::network(text("name")?)?;
    let version: Version = text("cniVersion")?.parse()?;
    let allowed = match command {
        Command::Check => version.has_check(),
        Command::Gc | Command::Status => version.has_gc_and_status(),
        Command::Add | Command::Del | Command::Version => true,
    };
    if allowed {
        return Ok(conf);
    }
    let since = if command == Command::Check { Version::V0_4_0 } else { Version::V1_1_0 };
    Err(Error::new(Code::INCOMPATIBLE_VERSION, format!("config version does not allow {}", command.as_str()))
        .with_details(format!(
            "the configuration's cniVersion is {version}; {} exists since {since}",
            command.as_str()
        )))
}
