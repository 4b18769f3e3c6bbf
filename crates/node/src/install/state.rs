//! What was there before: remembered for every file that the installer makes, replaces or sets aside, so that all of it can be undone.
//!
//! What a name stood for is kept as a second hard link beside it, `.NAME.plexus-before`: the same file, with its bytes, owner, times and
//! everything else, put back by one rename. A hidden file without a configuration's extension is nothing to a runtime. The list of names is
//! in `.plexus-installed` of the configuration directory; it is written before anything is touched, so a killed installer can be run
//! again or undone.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cni::file::{self, Durability};
use cni::{Code, Error, Result};
use serde::{Deserialize, Serialize};

const FILE: &str = ".plexus-installed";
const LIMIT: u64 = 1_000_000;

/// The two directories of a node that are changed, as this process sees them.
#[derive(Clone, Debug)]
pub(super) struct Directories {
    pub(super) bin: PathBuf,
    pub(super) conf: PathBuf,
}

/// A directory of [`Directories`] and a name in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) enum Place {
    /// In the configuration directory.
    Conf(String),
    /// In the directory of CNI plugins.
    Bin(String),
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        match place {
            Place::Conf(name) => format!("conf/{name}"),
            Place::Bin(name) => format!("bin/{name}"),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Place, String> {
        // The list is root's, but a path out of the directories is nothing to follow.
        let place = match text.split_once('/') {
            Some(("conf", name)) => Place::Conf(name.to_owned()),
            Some(("bin", name)) => Place::Bin(name.to_owned()),
            _ => return Err(format!("{text:?} is neither conf/... nor bin/...")),
        };
        let safe = text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if safe { Ok(place) } else { Err(format!("{text:?} leaves its directory")) }
    }
}

/// What a name stood for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Before {
    Absent,
    /// A file or symbolic link; it is at [`backup`] unless nothing has happened to it yet.
    File,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct List {
    before: BTreeMap<Place, Before>,
    /// Primary networks that were renamed to `NAME.old`.
    renamed: Vec<String>,
}

/// What was there before, on disk and in memory.
#[derive(Debug)]
pub(super) struct State {
    directories: Directories,
    list: List,
}

impl State {
    /// # Errors
    /// If the list cannot be read; without it nothing may be replaced.
    pub(super) fn load(directories: &Directories) -> Result<State> {
        let path = directories.conf.join(FILE);
        let list = match file::read(&path, LIMIT)? {
            None => List::default(),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Error::new(
                    Code::DECODE,
                    format!(
                        "{}: {e}; it says what was installed. Files named .*.plexus-before beside what was replaced are the originals: put them \
                         back by hand, then remove it",
                        path.display()
                    ),
                )
            })?,
        };
        Ok(State { directories: directories.clone(), list })
    }

    /// Nothing is installed.
    pub(super) fn is_empty(&self) -> bool {
        self.list.before.is_empty() && self.list.renamed.is_empty()
    }

    pub(super) fn path(&self, place: &Place) -> PathBuf {
        match place {
            Place::Conf(name) => self.directories.conf.join(name),
            Place::Bin(name) => self.directories.bin.join(name),
        }
    }

    /// Everything that is remembered.
    pub(super) fn places(&self) -> Vec<Place> {
        self.list.before.keys().cloned().collect()
    }

    pub(super) fn renamed(&self) -> &[String] {
        &self.list.renamed
    }

    /// Remembers what `place` stands for; to be called before it is changed. The first time counts.
    ///
    /// # Errors
    /// If it cannot be kept; then nothing may be changed.
    pub(super) fn remember(&mut self, place: &Place) -> Result<()> {
        let path = self.path(place);
        let found = look(&path)?;
        let known = self.list.before.get(place).copied();
        let before = known.unwrap_or(if found.is_some() { Before::File } else { Before::Absent });
        if known.is_none() {
            self.list.before.insert(place.clone(), before);
            self.save()?;
        }
        let Some(found) = found.filter(|found| before == Before::File && !found.is_dir()) else { return Ok(()) };
        let backup = backup(&path);
        match look(&backup)? {
            // Kept before, unless that was for an earlier installation that was ended by hand.
            Some(kept) if known.is_some() || same(&kept, &found) => Ok(()),
            kept => {
                if kept.is_some() {
                    fs::remove_file(&backup).map_err(|e| failed("remove", &backup, &e))?;
                }
                // Not followed: a symbolic link is kept as one.
                fs::hard_link(&path, &backup).map_err(|e| failed("keep a second link of", &path, &e))
            }
        }
    }

    /// Puts back what `place` stood for and forgets it; to be followed by [`State::save`]. What `is_ours` does not recognise was put there by
    /// somebody else meanwhile, and stays.
    ///
    /// # Errors
    /// If it cannot be put back; it stays remembered.
    pub(super) fn restore(&mut self, place: &Place, is_ours: impl Fn(&Path) -> bool) -> Result<()> {
        let Some(before) = self.list.before.get(place).copied() else { return Ok(()) };
        let path = self.path(place);
        let found = look(&path)?;
        let foreign = found.as_ref().is_some_and(|f| !f.is_dir()) && !is_ours(&path);
        let backup = backup(&path);
        let kept = look(&backup)?;
        if foreign && (before == Before::Absent || kept.is_some()) {
            tracing::warn!("{} is not what was installed there: left as it is", path.display());
        }
        match (before, kept) {
            (Before::Absent, _) if found.as_ref().is_some_and(Metadata::is_dir) => remove_if_empty(&path)?,
            (Before::Absent, _) if foreign => {}
            (Before::Absent, _) => {
                file::remove(&path, Durability::Synced)?;
            }
            // It was never replaced.
            (Before::File, None) => {}
            (Before::File, Some(_)) if foreign => {
                fs::remove_file(&backup).map_err(|e| failed("remove", &backup, &e))?;
            }
            (Before::File, Some(kept)) => {
                fs::rename(&backup, &path).map_err(|e| failed("put back", &path, &e))?;
                // rename(2) does nothing where both names are one file: it was not replaced yet.
                if found.is_some_and(|f| same(&f, &kept)) {
                    fs::remove_file(&backup).map_err(|e| failed("remove", &backup, &e))?;
                }
            }
        }
        gone_is_fine(fs::remove_file(file::temporary(&path))).map_err(|e| failed("remove", &path, &e))?;
        self.list.before.remove(place);
        Ok(())
    }

    /// Gives the primary network's file `name` its second name, `<name>.old`, which is returned. The first is to be removed by
    /// [`State::drop_name`] when nothing needs it any more.
    ///
    /// # Errors
    /// If there is an `<name>.old` already that is not of our making.
    pub(super) fn add_name(&mut self, name: &str) -> Result<String> {
        let old = format!("{name}.old");
        let (path, old_path) = (self.directories.conf.join(name), self.directories.conf.join(&old));
        if !self.list.renamed.iter().any(|n| n == name) {
            if look(&old_path)?.is_some() {
                return Err(Error::config(format!(
                    "--rename-conf-file: {} is there already; move it away",
                    old_path.display()
                )));
            }
            self.list.renamed.push(name.to_owned());
            self.save()?;
        }
        let link = || -> io::Result<()> {
            let temporary = file::temporary(&old_path);
            gone_is_fine(fs::remove_file(&temporary))?;
            fs::hard_link(&path, &temporary)?;
            fs::rename(&temporary, &old_path)?;
            // Nothing was renamed if it was the same file.
            gone_is_fine(fs::remove_file(&temporary))
        };
        link().map_err(|e| failed("rename", &path, &e))?;
        Ok(old)
    }

    /// Ends a renaming: the name that a runtime would find is gone.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(super) fn drop_name(&self, name: &str) -> Result<()> {
        let path = self.directories.conf.join(name);
        gone_is_fine(fs::remove_file(&path)).map_err(|e| failed("remove", &path, &e))
    }

    /// Gives renamed primary networks their names back, unless there is something new under it.
    ///
    /// # Errors
    /// If one cannot be renamed.
    pub(super) fn undo_renames(&mut self) -> Result<()> {
        if self.list.renamed.is_empty() {
            return Ok(());
        }
        for name in self.list.renamed.clone() {
            let (path, old) = (self.directories.conf.join(&name), self.directories.conf.join(format!("{name}.old")));
            let undone = match (look(&path)?, look(&old)?) {
                (_, None) => Ok(()),
                (None, Some(_)) => fs::rename(&old, &path),
                (Some(_), Some(_)) => fs::remove_file(&old),
            };
            undone.map_err(|e| failed("give its name back to", &old, &e))?;
            let _ = fs::remove_file(file::temporary(&old));
            self.list.renamed.retain(|n| *n != name);
        }
        self.save()
    }

    /// Writes the list; removes it when it is empty.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn save(&self) -> Result<()> {
        let path = self.directories.conf.join(FILE);
        if self.is_empty() {
            return file::remove(&path, Durability::Synced).map(|_| ());
        }
        let mut bytes = serde_json::to_vec_pretty(&self.list).map_err(|e| Error::internal(e.to_string()))?;
        bytes.push(b'\n');
        file::write_atomic(&path, &bytes, 0o600, Durability::Synced)
    }
}

/// The second name of what was there before.
pub(super) fn backup(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".plexus-before");
    path.with_file_name(name)
}

/// What is at the path, links not followed.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(found)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(failed("look at", path, &e)),
    }
}

fn same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn remove_if_empty(directory: &Path) -> Result<()> {
    match fs::remove_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
            tracing::warn!("{} is not empty: left as it is", directory.display());
            Ok(())
        }
        removed => gone_is_fine(removed).map_err(|e| failed("remove", directory, &e)),
    }
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

pub(super) fn failed(attempted: &str, path: &Path, e: &io::Error) -> Error {
    Error::new(Code::IO, format!("failed to {attempted} {}: {e}", path.display()))
}
