//! libcni's cache: what was attached, with which configuration, and with which result.

use std::path::PathBuf;

use crate::chain::Runtime;
use crate::{CniResult, Error, Json, Result, Version};

/// A libcni cache directory: `<dir>/results/<network>-<container>-<interface>`, one file per attachment.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// One cached attachment.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The network's name.
    pub network: String,
    /// The container.
    pub container_id: String,
    /// The interface.
    pub ifname: String,
    /// Path of the network namespace; empty where none was known.
    pub netns: String,
    /// The network list's bytes.
    pub config: Vec<u8>,
    /// `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// Capability arguments; `null` for none.
    pub capability_args: Json,
    /// The result as it stands there; `null` for none.
    pub result: Json,
}

impl Cache {
    /// The cache in `dir` (libcni's default is `/var/lib/cni`). Nothing is made before the first write.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Cache {
        Cache { dir: dir.into() }
    }

    /// The file of an attachment.
    ///
    /// # Errors
    /// If a part is empty or would lead out of the directory.
    pub fn path(&self, network: &str, container_id: &str, ifname: &str) -> Result<PathBuf> {
        Ok(self.dir.join("results").join(format!("{network}-{container_id}-{ifname}")))
    }

    /// Writes an attachment's file, in place of an earlier one.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub fn write(&self, network: &str, config: &[u8], runtime: &Runtime, result: &CniResult) -> Result<()> {
        let _ = (network, config, runtime, result);
        Err(Error::internal("the cache is being written"))
    }

    /// The entry of an attachment; `None` if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read, is empty, or is not a cache file of this attachment; the message names it.
    pub fn entry(&self, network: &str, container_id: &str, ifname: &str) -> Result<Option<Entry>> {
        let _ = (network, container_id, ifname);
        Err(Error::internal("the cache is being written"))
    }

    /// The result of an attachment, converted to `version`; `None` if there is no file. Reads files of older libcni as well (the bare result).
    ///
    /// # Errors
    /// If the file cannot be read, is empty, or its result cannot be converted; the message names it.
    pub fn result(
        &self,
        network: &str,
        container_id: &str,
        ifname: &str,
        version: Version,
    ) -> Result<Option<CniResult>> {
        let _ = (network, container_id, ifname, version);
        Err(Error::internal("the cache is being written"))
    }

    /// Removes an attachment's file and what a killed writer may have left beside it; succeeds if there is nothing.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub fn remove(&self, network: &str, container_id: &str, ifname: &str) -> Result<()> {
        let _ = (network, container_id, ifname);
        Err(Error::internal("the cache is being written"))
    }

    /// All cached attachments, of one container if given, sorted by file name. Files that are not cache files are passed over.
    ///
    /// # Errors
    /// If the directory is there but cannot be read.
    pub fn attachments(&self, container_id: Option<&str>) -> Result<Vec<Entry>> {
        let _ = container_id;
        Err(Error::internal("the cache is being written"))
    }
}
