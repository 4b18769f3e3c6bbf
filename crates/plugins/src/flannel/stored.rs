//! The files that keep delegates' configurations from ADD to DEL.
//!
//! `<dataDir>/<containerID>`, as the original has it. The original keeps one per container, so there a second attachment overwrites the
//! first's; here it gets `<dataDir>/<containerID>:<ifname>`, which is no container's name because none has a colon. Whose the file without
//! an interface in its name is, is said in it: a second DEL of one attachment must not take another's. The original passes the key on to
//! its delegate, which ignores it; its own files have no such key and are whoever's asks.

use std::path::{Path, PathBuf};

use cni::file::{self, Durability};
use cni::{Call, Code, Error, Json, Result};

use super::path;
use crate::Attachment;

/// The longest file that is read, in bytes: the longest configuration of a call.
const LIMIT: u64 = cni::env::STDIN_LIMIT;

/// Losing a file in a crash of the machine leaks nothing: a DEL without it makes it up from `subnet.env`.
const DURABILITY: Durability = Durability::Cached;

/// The key that says which interface a stored configuration is of.
const INTERFACE: &str = "plexusInterface";

/// Where one attachment's configuration may be.
pub(super) struct Files<'a> {
    call: &'a Call,
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

impl<'a> Files<'a> {
    pub(super) fn of(call: &'a Call) -> Result<Self> {
        let dir = dir(&call.conf)?;
        if call.container_id.is_empty() || call.container_id.contains('/') || call.ifname.contains('/') {
            return Err(Error::new(Code::INVALID_ENVIRONMENT, "container ID and interface name must not have \"/\""));
        }
        let shared = dir.join(&call.container_id);
        let own = dir.join(format!("{}:{}", call.container_id, call.ifname));
        Ok(Files { call, dir, shared, own })
    }

    /// Stores `conf`. The path, if it was not there before.
    pub(super) fn write(&self, conf: &Json) -> Result<Option<PathBuf>> {
        let mut conf = conf.clone();
        conf.set(INTERFACE, self.call.ifname.as_str());
        // As Go writes it, so that the file is the same as the original's.
        let bytes = conf.to_vec_sorted();
        file::create_directory(&self.dir, 0o700)?;
        if file::create_exclusive(&self.shared, &bytes, 0o600, DURABILITY)? {
            return Ok(Some(self.shared.clone()));
        }
        // Of an ADD that was killed, and no DEL after it.
        let again = |content: &Content| content.interface.is_some() && self.is_mine(content);
        if file::read(&self.shared, LIMIT)?.is_some_and(|bytes| parse(&bytes).is_ok_and(|content| again(&content))) {
            return file::write_atomic(&self.shared, &bytes, 0o600, DURABILITY).map(|()| None);
        }
        if file::create_exclusive(&self.own, &bytes, 0o600, DURABILITY)? {
            return Ok(Some(self.own.clone()));
        }
        file::write_atomic(&self.own, &bytes, 0o600, DURABILITY).map(|()| None)
    }

    fn is_mine(&self, content: &Content) -> bool {
        network(&content.conf) == self.call.network()
            && content.interface.as_ref().is_none_or(|interface| *interface == self.call.ifname)
    }

    /// What is stored for this attachment. The shared file may be another network's or another interface's.
    pub(super) fn read(&self) -> Result<Stored> {
        for path in [&self.own, &self.shared] {
            let Some(bytes) = file::read(path, LIMIT)? else { continue };
            let path = path.clone();
            return Ok(match parse(&bytes) {
                Ok(content) if !self.is_mine(&content) => continue,
                Ok(Content { conf, .. }) => Stored::Found { path, conf },
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

/// Where the files are.
pub(super) fn dir(conf: &Json) -> Result<PathBuf> {
    path(conf, "dataDir", "/var/lib/cni/flannel")
}

/// Removes one file.
pub(super) fn remove(path: &Path) -> Result<()> {
    file::remove(path, DURABILITY).map(drop)
}

/// GC: removes the files of this network's attachments that are not valid. Without a list of valid ones nothing is.
pub(super) fn collect(call: &Call) -> Result<()> {
    let Some(valid) = Attachment::list(&call.conf)? else { return Ok(()) };
    let dir = dir(&call.conf)?;
    let Ok(entries) = std::fs::read_dir(&dir) else { return Ok(()) };
    for entry in entries.filter_map(std::io::Result::ok) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A file of another network, or one that is none of ours, stays.
        let Ok(Some(bytes)) = file::read(&entry.path(), LIMIT) else { continue };
        let Ok(content) = parse(&bytes) else { continue };
        let (container, interface) = match name.split_once(':') {
            Some((container, interface)) => (container, Some(interface)),
            None => (name.as_str(), content.interface.as_deref()),
        };
        let kept = valid
            .iter()
            .any(|v| v.container_id == container && interface.is_none_or(|interface| v.ifname == interface));
        if !kept && network(&content.conf) == call.network() {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// A stored file.
#[derive(Debug, PartialEq)]
struct Content {
    /// The delegate's configuration.
    conf: Json,
    /// The interface that it is of, if the file says.
    interface: Option<String>,
}

fn parse(bytes: &[u8]) -> Result<Content, String> {
    let mut conf = Json::parse(bytes).map_err(|e| e.to_string())?;
    if !matches!(conf.get("type").map(Json::as_str), Some(Some(_))) {
        return Err("it has no \"type\"".into());
    }
    let interface = conf.get(INTERFACE).and_then(Json::as_str).map(str::to_owned);
    conf.remove(INTERFACE);
    Ok(Content { conf, interface })
}

/// For fuzzing.
pub(super) fn read_any(bytes: &[u8]) {
    if let Ok(content) = parse(bytes) {
        network(&content.conf);
    }
}

fn network(conf: &Json) -> &str {
    conf.get("name").and_then(Json::as_str).unwrap_or_default()
}
