//! The files that keep delegates' configurations from ADD to DEL.
//!
//! `<dataDir>/<containerID>`, as the original has it. The original keeps one per container, so there a second attachment overwrites the
//! first's; here it gets `<dataDir>/<containerID>:<ifname>`, which is no container's name because none has a colon.

use std::path::{Path, PathBuf};

use cni::file::{self, Durability};
use cni::{Call, Code, Error, Json, Result};

use super::path;

/// The longest file that is read, in bytes: the longest configuration of a call.
const LIMIT: u64 = cni::env::STDIN_LIMIT;

/// Losing a file in a crash of the machine leaks nothing: a DEL without it makes it up from `subnet.env`.
const DURABILITY: Durability = Durability::Cached;

/// Where one attachment's configuration may be.
pub(super) struct Files {
    dir: PathBuf,
    /// The original's place.
    shared: PathBuf,
    /// The place of a second attachment.
    own: PathBuf,
}

/// What is stored for an attachment.
pub(super) enum Stored {
    /// Its delegate's configuration.
    Found { path: PathBuf, conf: Json },
    /// A file that cannot be understood.
    Corrupt { path: PathBuf, why: String },
    /// Nothing.
    Missing,
}

impl Files {
    pub(super) fn of(call: &Call) -> Result<Files> {
        let dir = path(call, "dataDir", "/var/lib/cni/flannel")?;
        if call.container_id.is_empty() || call.container_id.contains('/') || call.ifname.contains('/') {
            return Err(Error::new(Code::INVALID_ENVIRONMENT, "container ID and interface name must not have \"/\""));
        }
        let shared = dir.join(&call.container_id);
        let own = dir.join(format!("{}:{}", call.container_id, call.ifname));
        Ok(Files { dir, shared, own })
    }

    /// Stores `conf`. The path, if it was not there before.
    pub(super) fn write(&self, conf: &Json) -> Result<Option<PathBuf>> {
        let bytes = conf.to_vec();
        file::create_directory(&self.dir, 0o700)?;
        for path in [&self.shared, &self.own] {
            if file::create_exclusive(path, &bytes, 0o600, DURABILITY)? {
                return Ok(Some(path.clone()));
            }
        }
        file::write_atomic(&self.own, &bytes, 0o600, DURABILITY)?;
        Ok(None)
    }

    /// What is stored for this attachment. The shared file may be another network's.
    pub(super) fn read(&self, call: &Call) -> Result<Stored> {
        for path in [&self.own, &self.shared] {
            let Some(bytes) = file::read(path, LIMIT)? else { continue };
            let path = path.clone();
            return Ok(match parse(&bytes) {
                Ok(conf) if network(&conf) != call.network() => continue,
                Ok(conf) => Stored::Found { path, conf },
                Err(why) => Stored::Corrupt { path, why },
            });
        }
        Ok(Stored::Missing)
    }

    /// Removes what a killed ADD may have left of a file that it did not finish.
    pub(super) fn clean(&self) -> Result<()> {
        for path in [&self.own, &self.shared] {
            file::remove(&file::temporary(path), DURABILITY)?;
        }
        Ok(())
    }
}

/// Removes one file.
pub(super) fn remove(path: &Path) -> Result<()> {
    file::remove(path, DURABILITY).map(drop)
}

/// GC: removes the files of this network's attachments that are not valid. Without a list of valid ones nothing is.
pub(super) fn collect(call: &Call) -> Result<()> {
    let valid = call.conf.get("cni.dev/valid-attachments").or_else(|| call.conf.get("cni.dev/attachments"));
    let Some(valid) = valid.and_then(Json::elements) else { return Ok(()) };
    let text = |attachment: &Json, key: &str| attachment.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let valid: Vec<(String, String)> = valid.iter().map(|a| (text(a, "containerID"), text(a, "ifname"))).collect();
    let dir = path(call, "dataDir", "/var/lib/cni/flannel")?;
    let Ok(entries) = std::fs::read_dir(&dir) else { return Ok(()) };
    for entry in entries.filter_map(std::io::Result::ok) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kept = match name.split_once(':') {
            Some((container, ifname)) => valid.iter().any(|(c, i)| c == container && i == ifname),
            None => valid.iter().any(|(c, _)| *c == name),
        };
        // A file of another network, or one that is none of ours, stays.
        let ours = |bytes: &[u8]| parse(bytes).is_ok_and(|conf| network(&conf) == call.network());
        if !kept && file::read(&entry.path(), LIMIT).is_ok_and(|b| b.is_some_and(|b| ours(&b))) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<Json, String> {
    let conf = Json::parse(bytes).map_err(|e| e.to_string())?;
    match conf.get("type").map(Json::as_str) {
        Some(Some(_)) => Ok(conf),
        _ => Err("it has no \"type\"".into()),
    }
}

fn network(conf: &Json) -> &str {
    conf.get("name").and_then(Json::as_str).unwrap_or_default()
}
