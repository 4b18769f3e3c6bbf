//! libcni's cache: what was attached, with which configuration, and with which result.
//!
//! One file per attachment, byte for byte as libcni writes it, so that either can read the other's. Unlike libcni's it is never half there:
//! it appears whole. It is not synced: a runtime that must survive the machine's end keeps its own record.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use plexus_cni::cache::Cache;
//! use plexus_cni::chain::Runtime;
//! use plexus_cni::{CniResult, Version};
//!
//! let cache = Cache::new(dir.path());
//! let runtime = Runtime::new("f00", "/run/netns/a", "eth0");
//! cache.write("office", b"{}", &runtime, &CniResult::empty(Version::V1_0_0))?;
//! assert_eq!(cache.attachments(Some("f00"))?[0].ifname, "eth0");
//! assert!(cache.result("office", "f00", "eth0", Version::V0_4_0)?.is_some());
//! cache.remove("office", "f00", "eth0")?;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::chain::Runtime;
use crate::file::{self, Durability};
use crate::json::{Sorted, from_json};
use crate::{CniResult, Code, Error, Json, Result, Version};

#[cfg(test)]
mod tests;

/// What marks a file of this format.
const KIND: &str = "cniCacheV1";

/// The longest file that is read, in bytes: a configuration in base64, capability arguments and a result.
const LIMIT: u64 = 16 << 20;

/// A libcni cache directory: `<dir>/results/<network>-<container>-<interface>`, one file per attachment.
#[derive(Clone, Debug)]
pub struct Cache {
    results: PathBuf,
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

/// The file as libcni writes it: fields in this order, objects with sorted keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    kind: &'a str,
    container_id: &'a str,
    config: String,
    if_name: &'a str,
    network_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    netns: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cni_args: &'a [(String, String)],
    #[serde(skip_serializing_if = "empty")]
    capability_args: Sorted<'a>,
    result: Sorted<'a>,
}

fn empty(args: &Sorted<'_>) -> bool {
    args.0.members().is_none_or(<[_]>::is_empty)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Read {
    kind: String,
    container_id: String,
    config: String,
    if_name: String,
    network_name: String,
    netns: String,
    cni_args: Vec<(String, String)>,
    capability_args: Option<Json>,
    result: Option<Json>,
}

impl Cache {
    /// The cache in `dir` (libcni's default is `/var/lib/cni`). Nothing is made before the first write.
    #[must_use]
    pub fn new(dir: impl AsRef<Path>) -> Cache {
        Cache { results: dir.as_ref().join("results") }
    }

    /// The file of an attachment.
    ///
    /// # Errors
    /// If a part is empty or would lead out of the directory.
    pub fn path(&self, network: &str, container_id: &str, ifname: &str) -> Result<PathBuf> {
        let parts = [network, container_id, ifname];
        if parts.iter().any(|p| p.is_empty() || p.contains(['/', '\0'])) {
            return Err(Error::internal(format!(
                "cache file path requires network name ({network:?}), container ID ({container_id:?}), and interface name ({ifname:?}), \
                 none with a path separator"
            )));
        }
        Ok(self.results.join(parts.join("-")))
    }

    /// Writes an attachment's file, in place of an earlier one.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub fn write(&self, network: &str, config: &[u8], runtime: &Runtime, result: &CniResult) -> Result<()> {
        let path = self.path(network, &runtime.container_id, &runtime.ifname)?;
        let result = result.to_json(result.version)?;
        let written = Written {
            kind: KIND,
            container_id: &runtime.container_id,
            config: BASE64.encode(config),
            if_name: &runtime.ifname,
            network_name: network,
            netns: &runtime.netns,
            cni_args: &runtime.args,
            capability_args: Sorted(&runtime.capability_args),
            result: Sorted(&result),
        };
        let bytes = serde_json::to_string(&written).map_err(|e| Error::internal(format!("cache file: {e}")))?;
        let bytes = escape(bytes);
        if !self.results.exists() {
            file::create_directory(&self.results, 0o700)?;
        }
        // Nearly always there is none yet, and then this is half the work.
        if file::create_exclusive(&path, bytes.as_bytes(), 0o600, Durability::Cached)? {
            return Ok(());
        }
        file::write_atomic(&path, bytes.as_bytes(), 0o600, Durability::Cached)
    }

    /// The entry of an attachment; `None` if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read, is empty, or is not a cache file of this form; the message names it.
    pub fn entry(&self, network: &str, container_id: &str, ifname: &str) -> Result<Option<Entry>> {
        let path = self.path(network, container_id, ifname)?;
        let Some(document) = document(&path)? else { return Ok(None) };
        match entry(&document).map_err(|e| in_file(e, &path))? {
            Some(entry) => Ok(Some(entry)),
            None => Err(in_file(Error::new(Code::DECODE, format!("it is not of the kind {KIND}")), &path)),
        }
    }

    /// The result of an attachment, converted to `version`; `None` if there is no file. Reads files of older libcni as well (the bare result).
    ///
    /// # Errors
    /// If the file cannot be read, is empty, or its result cannot be converted; the message names it. Code 11 if it cannot be read now, and may be
    /// whole.
    pub fn result(
        &self,
        network: &str,
        container_id: &str,
        ifname: &str,
        version: Version,
    ) -> Result<Option<CniResult>> {
        let path = self.path(network, container_id, ifname)?;
        let Some(document) = document(&path)? else { return Ok(None) };
        // Whatever is not a cache file of this form is taken for a bare result, as libcni does.
        let result = entry(&document).ok().flatten().map_or(document, |entry| entry.result);
        let result = CniResult::from_json(&result, Version::V0_1_0).map_err(|e| in_file(e, &path))?;
        let converted = result.convert(version).map_err(|e| {
            let attempted = format!("failed to convert cached result to config version \"{version}\"");
            in_file(e.context(attempted), &path)
        })?;
        Ok(Some(converted))
    }

    /// Removes an attachment's file and what a killed writer may have left beside it; succeeds if there is nothing.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub fn remove(&self, network: &str, container_id: &str, ifname: &str) -> Result<()> {
        file::remove(&self.path(network, container_id, ifname)?, Durability::Cached).map(|_| ())
    }

    /// All cached attachments, of one container if given, sorted by file name. Files that are not cache files are passed over.
    ///
    /// # Errors
    /// If the directory is there but cannot be read; code 11 if a file cannot be read now (no descriptors or memory left, a disk that fails): a GC
    /// that did not know of its attachment would free what it has.
    pub fn attachments(&self, container_id: Option<&str>) -> Result<Vec<Entry>> {
        let wanted = |e: &Entry| {
            container_id.is_none_or(|id| e.container_id == id) && !e.ifname.is_empty() && !e.network.is_empty()
        };
        let mut found = Vec::new();
        for path in self.files(container_id)? {
            let bytes = match file::read(&path, LIMIT) {
                Ok(bytes) => bytes.unwrap_or_default(),
                Err(_) if file::is_other(&path, LIMIT) => continue,
                Err(e) => return Err(in_file(file::not_now(e), &path)),
            };
            let read = Json::parse(&bytes).ok().and_then(|document| entry(&document).ok().flatten());
            found.extend(read.filter(wanted));
        }
        Ok(found)
    }

    /// Removes the files of a container that are empty. They lost their content with the machine's power, and say nothing of any attachment.
    ///
    /// # Errors
    /// Code 5 naming the file, or the directory if it is there but cannot be read.
    pub fn remove_empty(&self, container_id: &str) -> Result<()> {
        for path in self.files(Some(container_id))? {
            if path.metadata().is_ok_and(|m| m.is_file() && m.len() == 0) {
                file::remove(&path, Durability::Cached)?;
            }
        }
        Ok(())
    }

    /// The files that may be of this container, or all, sorted. A name alone is ambiguous (parts may hold "-"), but it spares reading most files
    /// of others.
    fn files(&self, container_id: Option<&str>) -> Result<Vec<PathBuf>> {
        let failed = |e: io::Error| {
            Error::new(Code::IO, format!("failed to read the cache directory \"{}\": {e}", self.results.display()))
        };
        let entries = match self.results.read_dir() {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let part = container_id.map(|id| format!("-{id}-"));
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if part.as_ref().is_none_or(|part| name.contains(part)) && !name.starts_with('.') {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }
}

/// A file's content; `None` if there is no file.
fn document(path: &Path) -> Result<Option<Json>> {
    let bytes = file::read(path, LIMIT).map_err(|e| if file::is_other(path, LIMIT) { e } else { file::not_now(e) })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let document = Json::parse(&bytes).map_err(|e| Error::new(Code::DECODE, e.to_string()));
    document.map(Some).map_err(|e| in_file(e, path))
}

/// The entry in a document; `None` if the document is something else.
fn entry(document: &Json) -> Result<Option<Entry>> {
    let decode = |what: String| Error::new(Code::DECODE, what);
    let read: Read = from_json(document).map_err(|e| decode(e.to_string()))?;
    if read.kind != KIND {
        return Ok(None);
    }
    Ok(Some(Entry {
        network: read.network_name,
        container_id: read.container_id,
        ifname: read.if_name,
        netns: read.netns,
        config: BASE64.decode(read.config).map_err(|e| decode(format!("key \"config\": {e}")))?,
        args: read.cni_args,
        capability_args: read.capability_args.unwrap_or(Json::Null),
        result: read.result.unwrap_or(Json::Null),
    }))
}

fn in_file(e: Error, path: &Path) -> Error {
    e.context(format!("cached result \"{}\"", path.display()))
}

/// Go writes these characters, which in JSON stand in strings only, so that the text can be put into HTML.
fn escape(json: String) -> String {
    const SPECIAL: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];
    if !json.contains(SPECIAL) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if SPECIAL.contains(&c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}
