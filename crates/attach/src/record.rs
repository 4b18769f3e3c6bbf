//! What a container has, on disk: `<cniDir>/<container>`, written before anything is attached and removed when everything is gone.
//!
//! Owns: finding, reading and writing records. The format is [`multus`]'s.

mod multus;

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use cni::cache::Cache;
use cni::conf::NetworkList;
use cni::file::{self, Durability};
use cni::{Code, Error, Result, names};

use crate::Attachment;

/// A record larger than this is not one.
const MAX_SIZE: u64 = 32 << 20;

/// libcni's cache is a directory of this name among the records.
const RESULTS: &str = "results";

/// The directory of records.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
}

/// One recorded attachment.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The interface that the runtime asked for when this was attached: which DEL it belongs to.
    pub request: String,
    /// The network namespace it was attached in; empty where Multus wrote the record.
    pub netns: String,
    /// What was attached.
    pub attachment: Attachment,
}

/// What is recorded of a container.
#[derive(Clone, Debug)]
pub struct Record {
    path: PathBuf,
    /// There is a file.
    pub found: bool,
    /// The attachments, in the order in which they were made.
    pub entries: Vec<Entry>,
    /// What of the file could not be read.
    pub problems: Vec<String>,
}

impl Records {
    /// The records in `dir`. Nothing is made before the first write.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Records {
        Records { dir: dir.into() }
    }

    /// The record of a container. One that is missing or cannot be read is no error: see [`Record::found`] and [`Record::problems`].
    ///
    /// `cache` tells which interface the runtime had asked for where Multus wrote the record, which does not say; `request` is what it asks
    /// for now.
    ///
    /// # Errors
    /// Code 4 if `container` cannot be the name of a record.
    pub fn read(&self, container: &str, request: &str, cache: &Cache) -> Result<Record> {
        names::container_id(container)?;
        if container == RESULTS {
            let message =
                format!("container ID \"{container}\" cannot be used: it is the name of the cache's directory");
            return Err(Error::new(Code::INVALID_ENVIRONMENT, message));
        }
        let path = self.dir.join(container);
        let mut record = Record { path, found: true, entries: Vec::new(), problems: Vec::new() };
        match read_file(&record.path) {
            Ok(bytes) => {
                let default_ifname = |network: &str| default_ifname(cache, container, network, request);
                (record.entries, record.problems) = parse(&bytes, default_ifname);
            }
            Err(e) if e.kind() == ErrorKind::NotFound => record.found = false,
            Err(e) => record.problems.push(e.to_string()),
        }
        for problem in &record.problems {
            tracing::warn!("record {}: {problem}: working from the cache and the configuration", record.path.display());
        }
        Ok(record)
    }

    /// The containers that have a record.
    ///
    /// # Errors
    /// Code 5 if the directory is there but cannot be read.
    pub fn containers(&self) -> Result<Vec<String>> {
        let failed = |e: std::io::Error| {
            Error::new(Code::IO, format!("failed to list the records in {}: {e}", self.dir.display()))
        };
        let entries = match self.dir.read_dir() {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut containers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let is_file = entry.file_type().is_ok_and(|t| t.is_file());
            let name = entry.file_name().into_string().unwrap_or_default();
            if is_file && names::container_id(&name).is_ok() {
                containers.push(name);
            }
        }
        containers.sort();
        Ok(containers)
    }
}

/// Reads a record's bytes: the entries that can be read, and why the others cannot. `default_ifname` tells which interface the runtime had
/// asked for, given the default network's name; it is asked only where Multus wrote the record.
#[must_use]
pub fn parse(bytes: &[u8], default_ifname: impl Fn(&str) -> String) -> (Vec<Entry>, Vec<String>) {
    multus::read(bytes, default_ifname)
}

impl Record {
    /// Writes the record; one without entries is removed, with what a killed writer left beside it.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub fn save(&self) -> Result<()> {
        if self.entries.is_empty() {
            // A record that comes back after a power loss only repeats a DEL.
            return file::remove(&self.path, Durability::Cached).map(|_| ());
        }
        if let Some(dir) = self.path.parent().filter(|d| !d.is_dir()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|e| Error::new(Code::IO, format!("failed to create directory {}: {e}", dir.display())))?;
        }
        let bytes = multus::write(&self.entries)?;
        // A new file costs one sync, a replaced one two.
        if !self.found && file::create_exclusive(&self.path, &bytes, 0o600, Durability::Synced)? {
            return Ok(());
        }
        file::write_atomic(&self.path, &bytes, 0o600, Durability::Synced)
    }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(std::io::Error::new(ErrorKind::InvalidData, format!("larger than {MAX_SIZE} bytes")));
    }
    Ok(bytes)
}

/// The interface that Multus gave the default network: what the cache says, `request` where it says that or nothing.
fn default_ifname(cache: &Cache, container: &str, network: &str, request: &str) -> String {
    let cached = cache.attachments(Some(container)).unwrap_or_default();
    let mut names = cached.into_iter().filter(|e| e.network == network).map(|e| e.ifname);
    let mut first = None;
    if names.by_ref().inspect(|n| _ = first.get_or_insert(n.clone())).any(|n| n == request) {
        return request.to_owned();
    }
    first.unwrap_or_else(|| request.to_owned())
}

/// The list as one document: with the plugins of drop-in files, which its bytes lack.
///
/// # Errors
/// None in practice.
pub(crate) fn whole(list: &NetworkList) -> cni::Json {
    let mut object = cni::Json::object();
    object.set("cniVersion", list.cni_version.as_str());
    object.set("name", list.name.as_str());
    if list.disable_check {
        object.set("disableCheck", true);
    }
    if list.disable_gc {
        object.set("disableGC", true);
    }
    object.set("loadOnlyInlinedPlugins", true);
    object.set("plugins", list.plugins.iter().map(|p| p.conf.clone()).collect::<Vec<_>>());
    object
}

#[cfg(test)]
mod tests;
