//! Network configurations: a list of plugins with a name, and one plugin's part of it.
//!
//! ```
//! use plexus_cni::{Json, conf::NetworkList};
//!
//! let list = NetworkList::parse(
//!     br#"{"cniVersions": ["0.4.0", "1.1.0", "9.9.9"], "name": "office", "plugins": [
//!             {"type": "bridge", "ipam": {"type": "host-local"}},
//!             {"type": "portmap", "capabilities": {"portMappings": true}}]}"#,
//! )?;
//! assert_eq!(list.cni_version, "1.1.0");
//! let arguments = Json::parse(br#"{"portMappings": [], "bandwidth": {}}"#)?;
//! let request = list.plugins[1].request(&list, None, &arguments)?;
//! assert_eq!(request.get("runtimeConfig"), Some(&Json::parse(br#"{"portMappings": []}"#)?));
//! # Ok::<(), plexus_cni::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::json::from_json;
use crate::{CniResult, Code, Error, Json, Result, Version};

#[cfg(test)]
mod tests;

/// A network: what a `.conflist` file holds, drop-in plugins added by [`crate::load`].
#[derive(Clone, Debug)]
pub struct NetworkList {
    /// The network's name.
    pub name: String,
    /// The version chosen from `cniVersion` and `cniVersions`.
    pub version: Version,
    /// The same as it goes to plugins; empty where the configuration has none (which means 0.1.0).
    pub cni_version: String,
    /// CHECK succeeds without asking any plugin.
    pub disable_check: bool,
    /// GC does nothing.
    pub disable_gc: bool,
    /// The drop-in directory is not looked at.
    pub load_only_inlined_plugins: bool,
    /// The plugins in the order of ADD. Empty if all of them are to come from the drop-in directory.
    pub plugins: Vec<PluginConf>,
    /// The list as it was read; libcni's cache keeps it.
    pub bytes: Vec<u8>,
}

/// One plugin's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConf {
    /// Which plugin: `type`, never empty.
    pub plugin_type: String,
    /// The whole object. Shared between plan, record and calls.
    pub conf: Arc<Json>,
}

impl NetworkList {
    /// Reads a list (an object with `plugins`).
    ///
    /// # Errors
    /// Code 6 or 7 naming the key; code 1 for a version that is not spoken.
    pub fn parse(bytes: &[u8]) -> Result<NetworkList> {
        let document = document(bytes)?;
        let name = text(&document, "name")?.ok_or_else(|| invalid("no name"))?.to_owned();
        let cni_version = select_version(&document)?;
        let load_only_inlined_plugins = boolean(&document, "loadOnlyInlinedPlugins")?;
        let plugins = match document.get("plugins") {
            None if load_only_inlined_plugins => {
                return Err(invalid("`loadOnlyInlinedPlugins` is true, and no 'plugins' key"));
            }
            None => Vec::new(),
            Some(Json::Array(plugins)) if plugins.is_empty() => return Err(invalid("no plugins in list")),
            Some(Json::Array(plugins)) => {
                let plugin = |(i, conf): (usize, &Json)| {
                    PluginConf::new(conf.clone()).map_err(|e| e.context(format!("failed to parse plugin config {i}")))
                };
                plugins.iter().enumerate().map(plugin).collect::<Result<_>>()?
            }
            Some(_) => return Err(wrong_type("plugins", "a list of objects")),
        };
        Ok(NetworkList {
            name,
            version: cni_version.parse()?,
            cni_version,
            disable_check: boolean(&document, "disableCheck")?,
            disable_gc: boolean(&document, "disableGC")?,
            load_only_inlined_plugins,
            plugins,
            bytes: bytes.to_vec(),
        })
    }

    /// Reads the configuration of one plugin (the `.conf` form before 1.0.0) as a list of one. The drop-in directory does not belong to this
    /// form. A missing name is left to [`crate::chain::add`] to refuse.
    ///
    /// # Errors
    /// As [`NetworkList::parse`].
    pub fn from_single(bytes: &[u8]) -> Result<NetworkList> {
        let plugin = PluginConf::new(document(bytes)?)?;
        let cni_version = text(&plugin.conf, "cniVersion")?.unwrap_or_default().to_owned();
        Ok(NetworkList {
            name: plugin.name().to_owned(),
            version: cni_version.parse()?,
            cni_version,
            disable_check: false,
            disable_gc: false,
            load_only_inlined_plugins: true,
            plugins: vec![plugin],
            bytes: bytes.to_vec(),
        })
    }
}

/// What libcni itself reads of a plugin's object; all else is the plugin's. Most of it is read for its type only: a wrong one is an error of
/// the configuration, found before any plugin runs.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Known {
    #[serde(rename = "cniVersion")]
    cni_version: String,
    name: String,
    #[serde(rename = "type")]
    plugin_type: String,
    capabilities: std::collections::BTreeMap<String, bool>,
    ipam: Ipam,
    dns: crate::Dns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    #[serde(rename = "type")]
    plugin_type: String,
}

impl PluginConf {
    /// Takes a plugin's object.
    ///
    /// # Errors
    /// Code 7 without `type`; code 6 if a key that libcni reads has the wrong type.
    pub fn new(conf: Json) -> Result<PluginConf> {
        let known: Known =
            from_json(&conf).map_err(|e| Error::new(Code::DECODE, format!("error parsing configuration: {e}")))?;
        if known.plugin_type.is_empty() {
            return Err(Error::config("error parsing configuration: missing 'type'"));
        }
        Ok(PluginConf { plugin_type: known.plugin_type, conf: conf.into() })
    }

    /// The plugin's own `name`; empty if it has none, as in a list.
    #[must_use]
    pub fn name(&self) -> &str {
        self.conf.get("name").and_then(Json::as_str).unwrap_or_default()
    }

    /// The capabilities that are set to true, in their order.
    #[must_use]
    pub fn capabilities(&self) -> Vec<&str> {
        let members = self.conf.get("capabilities").and_then(Json::members).unwrap_or_default();
        // Keys of a map, unlike those of a struct, are told apart by case in Go; the last duplicate wins.
        let mut seen = BTreeSet::new();
        let last = members.iter().rev().filter(|(key, v)| *v != Json::Null && seen.insert(key.as_str()));
        let mut enabled: Vec<&str> =
            last.filter(|(_, v)| *v == Json::Bool(true)).map(|(key, _)| key.as_str()).collect();
        enabled.reverse();
        enabled
    }

    /// What the plugin gets on stdin: its configuration with `name`, `cniVersion`, `prevResult` and, from the capability arguments that its
    /// `capabilities` ask for, `runtimeConfig`. As in libcni `capabilities` stays, and a `runtimeConfig` written by hand stays if there is
    /// nothing to put in its place.
    ///
    /// # Errors
    /// If the previous result cannot be written as its own version.
    pub fn request(&self, list: &NetworkList, prev: Option<&CniResult>, capability_args: &Json) -> Result<Json> {
        let mut conf = (*self.conf).clone();
        conf.set("name", list.name.as_str());
        conf.set("cniVersion", list.cni_version.as_str());
        if let Some(prev) = prev {
            conf.set("prevResult", prev.to_json(prev.version)?);
        }
        // The last duplicate wins here too.
        let arguments: BTreeMap<&str, &Json> =
            capability_args.members().unwrap_or_default().iter().map(|(key, value)| (key.as_str(), value)).collect();
        let capabilities = if arguments.is_empty() { Vec::new() } else { self.capabilities() };
        let asked = capabilities.into_iter().filter_map(|c| Some((c.to_owned(), (*arguments.get(c)?).clone())));
        let runtime_config: Vec<(String, Json)> = asked.collect();
        if !runtime_config.is_empty() {
            conf.set("runtimeConfig", Json::Object(runtime_config));
        }
        Ok(conf)
    }
}

fn document(bytes: &[u8]) -> Result<Json> {
    let document =
        Json::parse(bytes).map_err(|e| Error::new(Code::DECODE, format!("error parsing configuration: {e}")))?;
    if document.members().is_none() {
        return Err(Error::new(Code::DECODE, "error parsing configuration: it is not a JSON object"));
    }
    Ok(document)
}

fn invalid(what: &str) -> Error {
    Error::config(format!("error parsing configuration list: {what}"))
}

fn wrong_type(key: &str, expected: &str) -> Error {
    Error::new(Code::DECODE, format!("error parsing configuration list: key \"{key}\" is not {expected}"))
}

fn text<'a>(document: &'a Json, key: &str) -> Result<Option<&'a str>> {
    let value = document.get(key);
    value.map(|v| v.as_str().ok_or_else(|| wrong_type(key, "a string"))).transpose()
}

/// Some tools write the three switches as strings.
fn boolean(document: &Json, key: &str) -> Result<bool> {
    match document.get(key) {
        None => Ok(false),
        Some(Json::Bool(b)) => Ok(*b),
        Some(Json::String(s)) if s.eq_ignore_ascii_case("true") => Ok(true),
        Some(Json::String(s)) if s.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(wrong_type(key, "true or false")),
    }
}

/// The newest of `cniVersions` and `cniVersion` that is not newer than what is spoken here. Without `cniVersions`, or if nothing of it is
/// left, `cniVersion` as it stands.
fn select_version(document: &Json) -> Result<String> {
    let single = text(document, "cniVersion")?.unwrap_or_default();
    let Some(versions) = document.get("cniVersions") else { return Ok(single.to_owned()) };
    let versions = versions.elements().ok_or_else(|| wrong_type("cniVersions", "a list of strings"))?;
    let mut candidates = Vec::new();
    for version in versions {
        candidates.push(version.as_str().ok_or_else(|| wrong_type("cniVersions", "a list of strings"))?);
    }
    if !single.is_empty() {
        candidates.push(single);
    }
    let newest_spoken = numbers(Version::CURRENT.as_str())?;
    let mut best = None;
    for version in candidates {
        let order = (numbers(version)?, version.parse::<Version>().is_ok());
        if order.0 <= newest_spoken && best.is_none_or(|(o, _)| order >= o) {
            best = Some((order, version));
        }
    }
    Ok(best.map_or(single, |(_, version)| version).to_owned())
}

/// Major, minor, patch; missing ones are 0, and the empty version is 0.1.0.
fn numbers(version: &str) -> Result<[u64; 3]> {
    let mut numbers = [0, 1, 0];
    if version.is_empty() {
        return Ok(numbers);
    }
    numbers = [0; 3];
    let parts: Vec<&str> = version.split('.').collect();
    let parsed =
        parts.len() <= 3 && numbers.iter_mut().zip(&parts).all(|(n, part)| part.parse().map(|v| *n = v).is_ok());
    parsed.then_some(numbers).ok_or_else(|| {
        Error::config(format!(
            "error parsing configuration list: invalid version {version:?} in cniVersions or cniVersion"
        ))
    })
}
