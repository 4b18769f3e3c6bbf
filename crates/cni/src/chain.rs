//! A network's plugins in their order: ADD, DEL, CHECK, GC and STATUS as libcni does them.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use plexus_cni::cache::Cache;
//! use plexus_cni::chain::{self, Runtime};
//! use plexus_cni::conf::NetworkList;
//! use plexus_cni::{Call, CniResult, Command, Invoke};
//!
//! /// Stands for the programs that `exec::Exec` would run.
//! struct Plugins;
//!
//! impl Invoke for Plugins {
//!     fn invoke(&self, plugin: &str, call: &Call) -> plexus_cni::Result<Option<CniResult>> {
//!         println!("{} {plugin} {}", call.command.as_str(), call.ifname);
//!         Ok((call.command == Command::Add).then(|| CniResult::empty(plexus_cni::Version::V1_1_0)))
//!     }
//! }
//!
//! let list = NetworkList::parse(br#"{"cniVersion": "1.1.0", "name": "office", "plugins": [{"type": "a"}, {"type": "b"}]}"#)?;
//! let cache = Cache::new(dir.path());
//! let runtime = Runtime::new("f00", "/run/netns/a", "eth0");
//! chain::add(&list, &runtime, &Plugins, &cache)?; // a, b
//! chain::check(&list, &runtime, &Plugins, &cache)?; // a, b
//! chain::del(&list, &runtime, &Plugins, &cache)?; // b, a
//! # Ok(())
//! # }
//! ```

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Deserialize;

use crate::cache::Cache;
use crate::conf::{NetworkList, PluginConf};
use crate::json::from_json;
use crate::{Call, CniResult, Code, Command, Error, Invoke, Json, Result, Version, args, names};

#[cfg(test)]
mod tests;

/// What a runtime says about one attachment: the parameters of one invocation, without the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// The container.
    pub container_id: String,
    /// Path of its network namespace; empty on DEL if it is gone.
    pub netns: String,
    /// Name of the interface in it.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// Capability arguments: an object, or `null` for none.
    pub capability_args: Json,
    /// Where plugins are searched.
    pub path: Vec<PathBuf>,
    /// `CNI_NETNS_OVERRIDE`: a plugin's own namespace may be the container's.
    pub netns_override: bool,
}

impl Runtime {
    /// An attachment without arguments and without a search path.
    pub fn new(container_id: impl Into<String>, netns: impl Into<String>, ifname: impl Into<String>) -> Runtime {
        Runtime {
            container_id: container_id.into(),
            netns: netns.into(),
            ifname: ifname.into(),
            args: Vec::new(),
            capability_args: Json::Null,
            path: Vec::new(),
            netns_override: false,
        }
    }

    /// The call that one plugin gets.
    #[must_use]
    pub fn call(&self, command: Command, conf: Json) -> Call {
        Call {
            command,
            container_id: self.container_id.clone(),
            netns: self.netns.clone(),
            ifname: self.ifname.clone(),
            args: args::join(&self.args),
            path: self.path.clone(),
            netns_override: self.netns_override,
            conf: conf.into(),
        }
    }
}

/// The specification's key for what a GC is to leave alone.
const VALID_ATTACHMENTS: &str = "cni.dev/valid-attachments";

/// The specification's text had this name for a while (cni#1101).
const DRAFT_ATTACHMENTS: &str = "cni.dev/attachments";

/// An attachment that a GC is to leave alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct Attachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface in it.
    pub ifname: String,
}

impl Attachment {
    /// As it stands in `cni.dev/valid-attachments`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut object = Json::object();
        object.set("containerID", self.container_id.as_str());
        object.set("ifname", self.ifname.as_str());
        object
    }

    /// The list that a GC's configuration has, under the specification's key or the one that its text had for a while (cni#1101); `None`
    /// if it has none, or `null`: then nothing is known, and nothing is to be removed.
    ///
    /// # Errors
    /// Code 6 if it is not a list of objects with both keys: half a list would let living attachments be removed.
    pub fn list(conf: &Json) -> Result<Option<Vec<Attachment>>> {
        let given = |key: &'static str| conf.get(key).filter(|list| **list != Json::Null).map(|list| (key, list));
        let Some((key, list)) = given(VALID_ATTACHMENTS).or_else(|| given(DRAFT_ATTACHMENTS)) else {
            return Ok(None);
        };
        from_json(list).map(Some).map_err(|e| Error::new(Code::DECODE, format!("key \"{key}\": {e}")))
    }
}

/// ADD: every plugin in order, each with the result of the one before. The last result is cached and returned.
///
/// # Errors
/// The first plugin's error, with `plugin type="X" name="Y" failed (add): ` in front; its code is kept. Nothing is undone: call [`del`].
pub fn add(list: &NetworkList, runtime: &Runtime, invoke: &dyn Invoke, cache: &Cache) -> Result<CniResult> {
    add_then(list, runtime, invoke, cache, Ok)
}

/// [`add`] with something to be done when every plugin has run: `then` gets the last result, and what it returns is cached and returned.
///
/// # Errors
/// As [`add`], and those of `then`.
pub fn add_then(
    list: &NetworkList,
    runtime: &Runtime,
    invoke: &dyn Invoke,
    cache: &Cache,
    then: impl FnOnce(CniResult) -> Result<CniResult>,
) -> Result<CniResult> {
    names::container_id(&runtime.container_id)?;
    names::network(&list.name)?;
    names::interface(&runtime.ifname)?;
    names::attachment(&list.name, &runtime.container_id, &runtime.ifname)?;
    let mut result: Option<CniResult> = None;
    for plugin in &list.plugins {
        let conf = plugin.request(list, result.as_ref(), &runtime.capability_args);
        let added = conf.and_then(|conf| invoke.invoke(&plugin.plugin_type, &runtime.call(Command::Add, conf)));
        let added = added.map_err(|e| e.context(format!("plugin {} failed (add)", describe(plugin))))?;
        // A plugin that returned nothing returned an empty result.
        result = Some(added.unwrap_or_else(|| CniResult::empty(list.version)));
    }
    let result = result.ok_or_else(|| {
        Error::config(format!("network \"{}\" has no plugins", list.name)).with_details("list one under \"plugins\"")
    })?;
    let result = then(result)?;
    let cached = cache.write(&list.name, &list.bytes, runtime, &result);
    cached.map_err(|e| e.context(format!("failed to set network \"{}\" cached result", list.name)))?;
    Ok(result)
}

/// DEL: every plugin in reverse order, with the cached result from 0.4.0 on; then the cache file is removed. A cached result that is damaged or cannot
/// be converted is removed, and DEL goes on without.
///
/// # Errors
/// Code 11 if the cached result cannot be read now (no descriptors or memory left, a disk that fails).
/// The first plugin's error stops the chain and keeps the cache file; the runtime should try again.
pub fn del(list: &NetworkList, runtime: &Runtime, invoke: &dyn Invoke, cache: &Cache) -> Result<()> {
    let (name, id, ifname) = (list.name.as_str(), runtime.container_id.as_str(), runtime.ifname.as_str());
    // Without one of these there can be no cache file; the plugins say what is wrong.
    let cacheable = cache.path(name, id, ifname).is_ok();
    let mut prev = None;
    if cacheable && list.version >= Version::V0_4_0 {
        match cache.result(name, id, ifname, list.version) {
            Ok(result) => prev = result,
            // Plugins that know by it what to undo (firewall, portmap) would undo nothing, and say that it is done.
            Err(e) if e.code == Code::TRY_AGAIN => return Err(e),
            Err(e) => {
                tracing::warn!("DEL goes on without the result of ADD: {e}");
                // It would only be found broken again.
                let _ = cache.remove(name, id, ifname);
            }
        }
    }
    for plugin in list.plugins.iter().rev() {
        let conf = plugin.request(list, prev.as_ref(), &runtime.capability_args);
        conf.and_then(|conf| invoke.invoke(&plugin.plugin_type, &runtime.call(Command::Del, conf)))
            .map_err(|e| e.context(format!("plugin {} failed (delete)", describe(plugin))))?;
    }
    if cacheable { cache.remove(name, id, ifname) } else { Ok(()) }
}

/// CHECK: every plugin in order, with the cached result.
///
/// # Errors
/// Below 0.4.0; if the cached result cannot be read; the first plugin's error.
pub fn check(list: &NetworkList, runtime: &Runtime, invoke: &dyn Invoke, cache: &Cache) -> Result<()> {
    if !list.version.has_check() {
        let message = format!("configuration version \"{}\" does not support the CHECK command", list.cni_version);
        return Err(Error::new(Code::INCOMPATIBLE_VERSION, message));
    }
    if list.disable_check {
        return Ok(());
    }
    let prev = cache
        .result(&list.name, &runtime.container_id, &runtime.ifname, list.version)
        .map_err(|e| e.context(format!("failed to get network \"{}\" cached result", list.name)))?;
    for plugin in &list.plugins {
        let conf = plugin.request(list, prev.as_ref(), &runtime.capability_args);
        conf.and_then(|conf| invoke.invoke(&plugin.plugin_type, &runtime.call(Command::Check, conf)))
            .map_err(|e| e.context(format!("plugin {} failed (check)", describe(plugin))))?;
    }
    Ok(())
}

/// GC: DEL for every cached attachment of the network that is not in `valid`, then, from 1.1.0 on, GC of every plugin with the list. Does
/// nothing if the network says `disableGC`.
///
/// Without `valid` no attachment is deleted, and plugins are told no list. (libcni deletes all of the network's then; here a caller who knows
/// nothing deletes nothing.)
///
/// # Errors
/// All errors met; the code is the first one's.
pub fn gc(
    list: &NetworkList,
    valid: Option<&[Attachment]>,
    path: &[PathBuf],
    invoke: &dyn Invoke,
    cache: &Cache,
) -> Result<()> {
    if list.disable_gc {
        return Ok(());
    }
    let mut errors = Vec::new();
    if let Some(valid) = valid {
        delete_stale(list, valid, path, invoke, cache, &mut errors);
    }
    if list.version.has_gc_and_status() {
        let valid = valid.map(|valid| Json::Array(valid.iter().map(Attachment::to_json).collect()));
        for plugin in &list.plugins {
            let request = plugin.request(list, None, &Json::Null).map(|mut conf| {
                if let Some(valid) = &valid {
                    conf.set(VALID_ATTACHMENTS, valid.clone());
                    conf.set(DRAFT_ATTACHMENTS, valid.clone());
                }
                conf
            });
            let call = |conf| network_call(Command::Gc, path, conf);
            let done = request.and_then(|conf| invoke.invoke(&plugin.plugin_type, &call(conf)));
            errors.extend(done.err().map(|e| e.context(format!("failed to GC plugin {}", plugin.plugin_type))));
        }
    }
    Error::join(errors)
}

/// The namespace that an attachment was made in, as far as a later process may use it: a path below /proc names a process, and its number may
/// be another's by now.
#[must_use]
pub fn lasting_netns(netns: &str) -> &str {
    if netns.starts_with("/proc/") { "" } else { netns }
}

fn delete_stale(
    list: &NetworkList,
    valid: &[Attachment],
    path: &[PathBuf],
    invoke: &dyn Invoke,
    cache: &Cache,
    errors: &mut Vec<Error>,
) {
    let valid: HashSet<(&str, &str)> = valid.iter().map(|a| (a.container_id.as_str(), a.ifname.as_str())).collect();
    let cached = match cache.attachments(None) {
        Ok(cached) => cached,
        Err(e) => return errors.push(e),
    };
    for entry in cached {
        if entry.network != list.name || valid.contains(&(entry.container_id.as_str(), entry.ifname.as_str())) {
            continue;
        }
        let attempted = format!("failed to delete stale attachment {} {}", entry.container_id, entry.ifname);
        let stale = Runtime {
            container_id: entry.container_id,
            netns: lasting_netns(&entry.netns).to_owned(),
            ifname: entry.ifname,
            args: entry.args,
            capability_args: entry.capability_args,
            path: path.to_vec(),
            netns_override: false,
        };
        errors.extend(del(list, &stale, invoke, cache).err().map(|e| e.context(attempted)));
    }
}

/// STATUS: every plugin in order; succeeds below 1.1.0, where there is no such command.
///
/// # Errors
/// The first plugin's error as it is, so that its code survives.
pub fn status(list: &NetworkList, path: &[PathBuf], invoke: &dyn Invoke) -> Result<()> {
    if !list.version.has_gc_and_status() {
        return Ok(());
    }
    for plugin in &list.plugins {
        let conf = plugin.request(list, None, &Json::Null)?;
        invoke.invoke(&plugin.plugin_type, &network_call(Command::Status, path, conf))?;
    }
    Ok(())
}

/// A call that is about a network, not about an attachment.
fn network_call(command: Command, path: &[PathBuf], conf: Json) -> Call {
    Runtime { path: path.to_vec(), ..Runtime::new("", "", "") }.call(command, conf)
}

/// As libcni names a plugin in errors.
fn describe(plugin: &PluginConf) -> String {
    let name = plugin.name();
    let name = if name.is_empty() { String::new() } else { format!(" name={name:?}") };
    format!("type={:?}{name}", plugin.plugin_type)
}
