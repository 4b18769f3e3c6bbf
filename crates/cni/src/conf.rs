//! Network configurations: a list of plugins with a name, and one plugin's part of it.

use crate::Error;
use crate::{CniResult, Json, Result, Version};

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
    /// The whole object.
    pub conf: Json,
}

impl NetworkList {
    /// Reads a list (an object with `plugins`).
    ///
    /// # Errors
    /// Code 6 or 7 naming the key; code 1 for a version that is not spoken.
    pub fn parse(bytes: &[u8]) -> Result<NetworkList> {
        let _ = bytes;
        Err(Error::internal("reading configurations is being written"))
    }

    /// Reads the configuration of one plugin (the `.conf` form before 1.0.0) as a list of one.
    ///
    /// # Errors
    /// As [`NetworkList::parse`].
    pub fn from_single(bytes: &[u8]) -> Result<NetworkList> {
        NetworkList::parse(bytes)
    }
}

impl PluginConf {
    /// Takes a plugin's object.
    ///
    /// # Errors
    /// Code 7 without `type`; code 6 if a key that libcni reads has the wrong type.
    pub fn new(conf: Json) -> Result<PluginConf> {
        Ok(PluginConf { plugin_type: String::new(), conf })
    }

    /// What the plugin gets on stdin: its configuration with `name`, `cniVersion`, `prevResult` and, from the capability arguments that its
    /// `capabilities` ask for, `runtimeConfig`.
    ///
    /// # Errors
    /// If the previous result cannot be written as its own version.
    pub fn request(&self, list: &NetworkList, prev: Option<&CniResult>, capability_args: &Json) -> Result<Json> {
        let _ = (list, prev, capability_args);
        Ok(self.conf.clone())
    }
}
