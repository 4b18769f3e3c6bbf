//! `flannel`: configures another plugin (bridge) with this node's share of the flannel network.
//!
//! Owns: the delegate's configuration and the file that keeps it for DEL. Beside it: `subnet` (what flanneld says), `delegate` (what it
//! means), `stored` (the file).

mod delegate;
mod stored;
mod subnet;

use std::path::PathBuf;

use cni::{Call, CniResult, Code, Command, Error, Invoke, Json, Result};

use crate::{Plugin, Registry, every};
use stored::{Files, Stored};
use subnet::Subnet;

/// The plugin.
#[derive(Debug)]
pub struct Flannel;

impl Plugin for Flannel {
    fn name(&self) -> &'static str {
        "flannel"
    }

    fn owns_interface(&self, call: &Call) -> bool {
        // A stored configuration has the same type: it was made from this one.
        let plugin = delegate::plugin(call).ok().filter(|plugin| *plugin != self.name());
        plugin.and_then(Registry::find).is_some_and(|plugin| plugin.owns_interface(call))
    }

    fn state_dirs(&self, conf: &Json) -> Vec<PathBuf> {
        let own = stored::dir(conf).ok();
        // Its delegate's addresses come from host-local where nothing else is named.
        own.into_iter().chain(crate::HostLocal.state_dirs(conf)).collect()
    }

    fn add(&self, call: &Call, delegates: &dyn Invoke) -> Result<CniResult> {
        let conf = build(call)?;
        let plugin = delegate::plugin(call)?;
        // Kept before the delegate runs, so that a DEL after a kill at any point finds it.
        let written = Files::of(call)?.write(&conf)?;
        match delegates.invoke(plugin, &call.with_conf(conf)) {
            Ok(Some(result)) => Ok(result),
            Ok(None) => Ok(CniResult::empty(call.version()?)),
            Err(error) => {
                if let Some(path) = written
                    && let Err(error) = stored::remove(&path)
                {
                    tracing::warn!(%error, "a failed ADD could not remove the delegate's configuration; the runtime's DEL will try again");
                }
                Err(error)
            }
        }
    }

    fn del(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let files = Files::of(call)?;
        let stored = files.read()?;
        let conf = match &stored {
            Stored::Found { conf, .. } => conf.clone(),
            Stored::Missing => match build(call) {
                Ok(conf) => conf,
                Err(error) => {
                    // As the original: ADD writes the file first, so nothing was added, or DEL has been here.
                    tracing::debug!(%error, "nothing is stored of this attachment, and nothing to make it up from: taken as deleted");
                    return files.clean();
                }
            },
            Stored::Corrupt { path, why } => {
                tracing::warn!(path = %path.display(), why, "the delegate's stored configuration is corrupt: made up from subnet.env");
                build(call).map_err(|e| {
                    e.context(format_args!(
                        "the delegate's configuration in \"{}\" is corrupt ({why}) and cannot be made up",
                        path.display()
                    ))
                })?
            }
        };
        invoke(call, conf, delegates)?;
        match stored {
            Stored::Found { path, .. } | Stored::Corrupt { path, .. } => stored::remove(&path),
            Stored::Missing => files.clean(),
        }
    }

    fn check(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let mut conf = match Files::of(call)?.read()? {
            Stored::Found { conf, .. } => conf,
            Stored::Missing | Stored::Corrupt { .. } => build(call)?,
        };
        if let Some(prev) = call.conf.get("prevResult") {
            conf.set("prevResult", prev.clone());
        }
        invoke(call, conf, delegates)
    }

    fn status(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let conf = build(call).map_err(|e| match e.code {
            Code::TRY_AGAIN | Code::INTERNAL | Code::IO => Error { code: Code::NOT_AVAILABLE, ..e },
            _ => e,
        })?;
        invoke(call, conf, delegates)
    }

    fn gc(&self, call: &Call, delegates: &dyn Invoke) -> Result<()> {
        let forward = || {
            let mut conf = build(call)?;
            for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
                if let Some(valid) = call.conf.get(key) {
                    conf.set(key, valid.clone());
                }
            }
            invoke(call, conf, delegates)
        };
        // The files last, and only when the delegate has let go of what they describe.
        forward().and_then(|()| every([stored::collect(call)]))
    }
}

/// For fuzzing: the readers of flannel's files.
pub(crate) fn read_any(bytes: &[u8]) {
    stored::read_any(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = subnet::parse(text);
    }
}

/// The delegate's configuration from this node's subnet file.
fn build(call: &Call) -> Result<Json> {
    let path = path(&call.conf, "subnetFile", "/run/flannel/subnet.env")?;
    let subnet = Subnet::read(&path)?;
    delegate::build(call, &subnet)
}

/// Performs the call on the delegate that `conf` names, with the runtime's capabilities of now.
fn invoke(call: &Call, mut conf: Json, delegates: &dyn Invoke) -> Result<()> {
    if let Some(runtime) = call.conf.get("runtimeConfig") {
        conf.set("runtimeConfig", runtime.clone());
    }
    let plugin = conf.get("type").and_then(Json::as_str).unwrap_or("bridge").to_owned();
    debug_assert_ne!(call.command, Command::Add, "ADD reads a result");
    delegates.invoke(&plugin, &call.with_conf(conf)).map(|_| ())
}

/// A path of the configuration.
fn path(conf: &Json, key: &str, default: &str) -> Result<PathBuf> {
    match conf.get(key) {
        None => Ok(PathBuf::from(default)),
        Some(Json::String(path)) if path.is_empty() => Ok(PathBuf::from(default)),
        Some(Json::String(path)) => Ok(PathBuf::from(path)),
        Some(_) => Err(Error::new(Code::DECODE, format!("key \"{key}\" must be a string (a path)"))),
    }
}
