//! What a container has, on disk: `<cniDir>/<container>`, written before anything is attached and removed when everything is gone.
//!
//! Owns: finding, reading and writing records. The format is `multus`'s.

mod multus;

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cni::cache::Cache;
use cni::conf::NetworkList;
use cni::file::{self, Durability};
use cni::{Code, Error, Result, names};

use crate::Attachment;

/// A record larger than this is not one.
const MAX_SIZE: u64 = 32 << 20;

/// libcni's cache is a directory of this name among the records.
const RESULTS: &str = "results";

/// How long a change of a record waits for those of other calls. Each takes a few milliseconds, most of it the disk's.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two attempts to get the lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(1);

/// The directory of records.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
    lock_timeout: Duration,
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
        Records { dir: dir.into(), lock_timeout: LOCK_TIMEOUT }
    }

    /// The record of a container. One that is missing or damaged is no error: see [`Record::found`] and [`Record::problems`].
    ///
    /// `cache` tells which interface the runtime had asked for where Multus wrote the record, which does not say; `request` is what it asks
    /// for now.
    ///
    /// # Errors
    /// Code 4 if `container` cannot be the name of a record; code 11 if there is one that cannot be read now, which says nothing of what is in
    /// it.
    pub fn read(&self, container: &str, request: &str, cache: &Cache) -> Result<Record> {
        let path = self.path(container)?;
        let record = Records::read_path(&path, container, request, cache)?;
        for problem in &record.problems {
            tracing::warn!("record {}: {problem}: working from the cache and the configuration", path.display());
        }
        Ok(record)
    }

    /// Changes a record: reads what is there now, lets `change` change it, and writes it; one without entries is removed, with what a killed
    /// writer left beside it. Other changes of the directory's records wait meanwhile, so that none is lost where a runtime makes several
    /// calls for one container at the same time. A record that was not there before is written with the durability `new`; one that replaces
    /// another is always synced, or a power loss could take both.
    ///
    /// # Errors
    /// As [`Records::read`]; code 5 naming the file; code 11 if others hold the lock all the time.
    pub fn update(
        &self,
        container: &str,
        request: &str,
        cache: &Cache,
        new: Durability,
        change: impl Fn(&mut Vec<Entry>),
    ) -> Result<()> {
        let path = self.path(container)?;
        let mut lock = self.lock()?;
        if lock.is_none() {
            let mut entries = Vec::new();
            change(&mut entries);
            if entries.is_empty() {
                return Ok(());
            }
            file::create_directory(&self.dir, 0o700)?;
            lock = self.lock()?;
        }
        let Record { found, mut entries, .. } = Records::read_path(&path, container, request, cache)?;
        change(&mut entries);
        let saved = save(&path, found, &entries, new);
        drop(lock);
        saved
    }

    /// A record that is written now outlives all that is written into these directories later, without being synced: they are on its own
    /// filesystem, which makes changes last in the order in which they were made (docs/decisions/0005).
    #[must_use]
    pub fn outlive(&self, dirs: &[PathBuf]) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        // One that is not there yet will be made where its parent is.
        let device = |dir: &Path| dir.ancestors().find_map(|d| d.metadata().ok()).map(|m| m.dev());
        let own = device(&self.dir);
        dirs.iter().all(|dir| device(dir) == own)
    }

    /// Syncs a container's record on a thread of its own, so that the disk works while the delegates do.
    ///
    /// # Errors
    /// Code 4 if `container` cannot be the name of a record.
    pub fn sync(&self, container: &str) -> Result<Syncing> {
        let path = self.path(container)?;
        let sync = {
            let path = path.clone();
            move || file::sync(&path)
        };
        Ok(match std::thread::Builder::new().name("sync".into()).spawn(sync) {
            Ok(thread) => Syncing::Thread(thread),
            Err(_) => Syncing::Done(file::sync(&path)),
        })
    }

    fn path(&self, container: &str) -> Result<PathBuf> {
        names::container_id(container)?;
        if container == RESULTS {
            let message =
                format!("container ID \"{container}\" cannot be used: it is the name of the cache's directory");
            return Err(Error::new(Code::INVALID_ENVIRONMENT, message));
        }
        Ok(self.dir.join(container))
    }

    /// The lock on the directory itself: there is no file to leave behind, and it ends with the process. `None` if there is no directory.
    fn lock(&self) -> Result<Option<File>> {
        let dir = match File::open(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| self.not_locked(&e))?,
        };
        self.obtain(|| dir.try_lock())?;
        Ok(Some(dir))
    }

    /// Attempts until it goes well, fails, or took too long.
    fn obtain(&self, attempt: impl Fn() -> std::result::Result<(), TryLockError>) -> Result<()> {
        let deadline = Instant::now() + self.lock_timeout;
        loop {
            match attempt() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    let message = format!(
                        "the directory of records {} is locked by another process for {} s: find it (lslocks), or try again",
                        self.dir.display(),
                        self.lock_timeout.as_secs()
                    );
                    return Err(Error::new(Code::TRY_AGAIN, message));
                }
                Err(TryLockError::Error(e)) => return Err(self.not_locked(&e)),
            }
        }
    }

    fn not_locked(&self, e: &std::io::Error) -> Error {
        Error::new(Code::IO, format!("failed to lock the directory of records {}: {e}", self.dir.display()))
    }

    fn read_path(path: &Path, container: &str, request: &str, cache: &Cache) -> Result<Record> {
        let mut record = Record { found: true, entries: Vec::new(), problems: Vec::new() };
        // Never waits: a pipe in the place of a record is damage like any other.
        match file::read(path, MAX_SIZE) {
            Ok(Some(bytes)) => {
                let default_ifname = |network: &str| default_ifname(cache, container, network, request);
                (record.entries, record.problems) = parse(&bytes, default_ifname);
            }
            Ok(None) => record.found = false,
            Err(e) if file::is_other(path, MAX_SIZE) => record.problems.push(e.to_string()),
            // Too many open files, no memory, a disk that fails: the record may be whole, and what it names would be lost with it.
            Err(e) => {
                let message = format!(
                    "{}: it is the record of what the container has, and nothing is changed without",
                    e.message
                );
                return Err(file::not_now(Error { message, ..e }));
            }
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
pub fn parse(bytes: &[u8], default_ifname: impl Fn(&str) -> Result<String>) -> (Vec<Entry>, Vec<String>) {
    multus::read(bytes, default_ifname)
}

/// A record that is being synced.
#[derive(Debug)]
pub enum Syncing {
    /// By a thread.
    Thread(JoinHandle<Result<()>>),
    /// It was done at once, for want of a thread.
    Done(Result<()>),
}

impl Syncing {
    /// Waits for the disk.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub fn wait(self) -> Result<()> {
        match self {
            Syncing::Thread(thread) => {
                thread.join().unwrap_or_else(|_| Err(Error::internal("the thread that syncs the record ended early")))
            }
            Syncing::Done(done) => done,
        }
    }
}

/// Writes a record under the lock; one without entries is removed.
fn save(path: &Path, found: bool, entries: &[Entry], new: Durability) -> Result<()> {
    if entries.is_empty() {
        // A record that comes back after a power loss only repeats a DEL.
        return file::remove(path, Durability::Cached).map(|_| ());
    }
    let bytes = multus::write(entries)?;
    // A new file costs one sync, a replaced one two.
    if !found && file::create_exclusive(path, &bytes, 0o600, new)? {
        return Ok(());
    }
    file::write_atomic(path, &bytes, 0o600, Durability::Synced)
}

/// The interface that Multus gave the default network: what the cache says, `request` where it says that or nothing.
///
/// # Errors
/// If a cache file cannot be read now: it may be the one that says.
fn default_ifname(cache: &Cache, container: &str, network: &str, request: &str) -> Result<String> {
    let cached = cache.attachments(Some(container))?;
    let mut names = cached.into_iter().filter(|e| e.network == network).map(|e| e.ifname);
    let mut first = None;
    if names.by_ref().inspect(|n| _ = first.get_or_insert(n.clone())).any(|n| n == request) {
        return Ok(request.to_owned());
    }
    Ok(first.unwrap_or_else(|| request.to_owned()))
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
    object.set("plugins", list.plugins.iter().map(|p| (*p.conf).clone()).collect::<Vec<_>>());
    object
}

#[cfg(test)]
mod tests;
