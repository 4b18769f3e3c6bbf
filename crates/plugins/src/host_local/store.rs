//! A network's directory of reservations, as the Go plugin keeps it: one file per address, named by it, holding its owner; a lock; the last
//! address given out of each range set.
//!
//! Owns: every file operation of host-local. Whatever happens to this process, a file here is whole or not there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use cni::file::{Durability, create_directory, create_exclusive};
use cni::{Code, Error, Result};

use super::index::{Change, Index, Owner, UNKNOWN, owner};

/// How long another process may hold a network's lock. An ADD or DEL holds it for less than a millisecond; the Go plugin, with tens of
/// thousands of addresses, for a second.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// More than this no reservation holds: a container id and an interface name.
const RESERVATION_LIMIT: u64 = 64 << 10;

/// A pipe in the place of a file is an error, not a wait for its other end.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// The reservations of one network, locked.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    dir: File,
    index: Index,
    /// All files have been read since the store was opened.
    scanned: bool,
    /// Unlocks when it is closed.
    _lock: File,
}

/// What came of an attempt to reserve.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// All of them.
    All,
    /// None: this one is taken, which the index did not know. It has been read anew.
    Taken(IpAddr),
}

impl Store {
    /// Opens and locks the reservations of a network; `None` if there are none and `create` does not ask for them.
    ///
    /// # Errors
    /// Code 5 naming the file; 11 if the lock cannot be had in a minute.
    pub(super) fn open(path: &Path, create: bool) -> Result<Option<Store>> {
        let dir = match open_directory(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && create => {
                create_directory(path, 0o755)?;
                open_directory(path)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other,
        };
        let dir = dir.map_err(|e| failed("open the directory", path, &e))?;
        let lock = lock(&path.join("lock"), LOCK_WAIT)?;
        let mut store = Store { path: path.to_owned(), index: Index::new(path, []), scanned: false, dir, _lock: lock };
        match Index::load(path, &store.dir) {
            Some(index) => store.index = index,
            None => store.read_all()?,
        }
        Ok(Some(store))
    }

    /// What is known is from the index, not from the files themselves.
    pub(super) fn is_from_index(&self) -> bool {
        !self.scanned
    }

    /// Somebody has the address.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.index.contains(ip)
    }

    /// The addresses whose reservation says exactly `key`, in ascending order. A file that lost its content with the machine's power says
    /// nothing; whose it is stands in the index, where that has outlived it.
    pub(super) fn owned_by(&self, key: &str) -> Vec<IpAddr> {
        let mut ips = self.index.owned_by(owner(key.as_bytes()));
        let says = |text: Vec<u8>| text.is_empty() || text == key.as_bytes();
        ips.retain(|ip| read(&self.path.join(ip.to_string())).is_ok_and(says));
        ips
    }

    /// The address last given out of range set `set`, as far as it is known.
    pub(super) fn last(&self, set: usize) -> Option<IpAddr> {
        let path = self.last_path(set);
        match read(&path) {
            Ok(text) => {
                std::str::from_utf8(&text).ok().and_then(|t| t.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical())
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "unreadable; addresses are given out from the range's start");
                None
            }
        }
    }

    fn last_path(&self, set: usize) -> PathBuf {
        self.path.join(format!("last_reserved_ip.{set}"))
    }

    /// Reserves an address of each range set for `key`: all or none.
    ///
    /// # Errors
    /// Code 5 naming the file.
    pub(super) fn reserve(&mut self, key: &str, ips: &[IpAddr]) -> Result<Reserved> {
        for (i, ip) in ips.iter().enumerate() {
            let path = self.path.join(ip.to_string());
            // Not synced, as the original does not: a container does not survive what would lose the file.
            let created = create_exclusive(&path, key.as_bytes(), 0o600, Durability::Cached);
            if !matches!(created, Ok(true)) {
                let undone = ips[..i].iter().map(|ip| self.remove(*ip)).fold(Ok(()), Result::and);
                self.read_all()?;
                created?;
                return undone.map(|()| Reserved::Taken(*ip));
            }
        }
        for (set, ip) in ips.iter().enumerate() {
            if let Err(error) = self.set_last(set, *ip) {
                tracing::warn!(path = %self.last_path(set).display(), %error, "could not be written; the next address may be an earlier one");
            }
        }
        let owner = owner(key.as_bytes());
        self.commit(&ips.iter().map(|ip| Change::Reserved(*ip, owner)).collect::<Vec<_>>());
        Ok(Reserved::All)
    }

    /// In place: a kill in between leaves another address there, never an empty or a temporary file. (`10.0.0.99` of which `10.0.0.1` has
    /// been written reads `10.0.0.19`: the round goes on from there.)
    fn set_last(&self, set: usize, ip: IpAddr) -> Result<()> {
        let path = self.last_path(set);
        let text = ip.to_string();
        let file = match File::options().write(true).custom_flags(NONBLOCK).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return create_exclusive(&path, text.as_bytes(), 0o600, Durability::Cached).map(|_| ());
            }
            other => other.map_err(|e| failed("open", &path, &e))?,
        };
        let length = text.len() as u64;
        let cut = || if file.metadata()?.len() == length { Ok(()) } else { file.set_len(length) };
        file.write_all_at(text.as_bytes(), 0).and_then(|()| cut()).map_err(|e| failed("write", &path, &e))
    }

    /// Gives addresses back; goes on where one cannot be.
    ///
    /// # Errors
    /// Code 5 naming the last file that could not be removed.
    pub(super) fn release(&mut self, ips: &[IpAddr]) -> Result<()> {
        let mut outcome = Ok(());
        let mut released = Vec::with_capacity(ips.len());
        for ip in ips {
            match self.remove(*ip) {
                Ok(()) => released.push(Change::Released(*ip)),
                Err(e) => outcome = Err(e),
            }
        }
        self.commit(&released);
        outcome
    }

    /// Gives back every reservation whose owner `keep` does not know. Reads all files: whatever the index says, none is missed.
    ///
    /// # Errors
    /// As [`Store::release`].
    pub(super) fn release_unless(&mut self, keep: impl Fn(&str) -> bool) -> Result<()> {
        self.read_all()?;
        let mut stale = Vec::new();
        for ip in self.index.all().into_keys() {
            let path = self.path.join(ip.to_string());
            match read(&path) {
                Ok(text) if std::str::from_utf8(&text).is_ok_and(&keep) => {}
                Ok(_) => stale.push(ip),
                Err(error) => tracing::warn!(path = %path.display(), %error, "unreadable reservation; it is kept"),
            }
        }
        self.release(&stale)
    }

    /// Makes the index anew.
    ///
    /// # Errors
    /// Code 5 naming the directory.
    pub(super) fn read_all(&mut self) -> Result<()> {
        self.scanned = true;
        self.index = Index::new(&self.path, scan(&self.path)?);
        self.commit(&[]);
        Ok(())
    }

    fn remove(&self, ip: IpAddr) -> Result<()> {
        let path = self.path.join(ip.to_string());
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove the reservation", &path, &e)),
            _ => Ok(()),
        }
    }

    /// Without an index the next one reads all files: slower, not wrong.
    fn commit(&mut self, changes: &[Change]) {
        if let Err(error) = self.index.commit(&self.dir, changes) {
            tracing::warn!(path = %self.path.display(), %error, "the index of reservations could not be written");
        }
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    let directory = rustix::fs::OFlags::DIRECTORY.bits().cast_signed();
    File::options().read(true).custom_flags(directory).open(path)
}

/// Takes the lock that the Go plugin takes (flock(2) on a file named `lock`).
fn lock(path: &Path, wait: Duration) -> Result<File> {
    // Readable and created as the original does; write permission is not needed, and `create` would ask for it.
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let flags = flags | rustix::fs::OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::from_raw_mode(0o750));
    let file = File::from(file.map_err(|e| failed("open the lock", path, &e.into()))?);
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(fs::TryLockError::WouldBlock) => {}
        Err(fs::TryLockError::Error(e)) => return Err(failed("lock", path, &e)),
    }
    // flock(2) has no deadline, so a thread waits; should it get the lock too late, closing the file gives it back.
    let (sender, receiver) = mpsc::sync_channel(1);
    let waiting = move || {
        let locked = file.lock().map(|()| file);
        let _ = sender.send(locked);
    };
    let thread = std::thread::Builder::new().name("host-local lock".into()).stack_size(64 << 10).spawn(waiting);
    thread.map_err(|e| failed("wait for the lock", path, &e))?;
    match receiver.recv_timeout(wait) {
        Ok(locked) => locked.map_err(|e| failed("lock", path, &e)),
        Err(_) => Err(Error::new(
            Code::TRY_AGAIN,
            format!("another process has held \"{}\" for {} seconds", path.display(), wait.as_secs()),
        )
        .with_details("find it with lslocks(8)")),
    }
}

/// All reservations, by reading every file. Removes what processes killed half-way left: under the lock, an empty reservation has nobody
/// who is about to write it.
fn scan(dir: &Path) -> Result<Vec<(IpAddr, Owner)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| failed("read the directory", dir, &e))? {
        let entry = entry.map_err(|e| failed("read the directory", dir, &e))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = entry.path();
        if let Some(ip) = name.strip_prefix('.').and_then(|n| n.strip_suffix(".tmp")) {
            if ip.parse::<IpAddr>().is_ok() || ip.starts_with("last_reserved_ip.") {
                let _ = fs::remove_file(&path);
            }
            continue;
        }
        let Ok(ip) = name.parse::<IpAddr>() else { continue };
        // Another spelling than the one that is written is nobody's reservation.
        if ip.to_string() != name {
            continue;
        }
        match read(&path) {
            Ok(text) if text.is_empty() => {
                tracing::warn!(path = %path.display(), "removing an empty reservation, left by a process killed while writing it");
                fs::remove_file(&path).map_err(|e| failed("remove the empty reservation", &path, &e))?;
            }
            Ok(text) => found.push((ip, owner(&text))),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "unreadable reservation; its address is left alone");
                found.push((ip, UNKNOWN));
            }
        }
    }
    Ok(found)
}

/// A file's text without the white space around it, which the Go plugin does not mind.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    let file = File::options().read(true).custom_flags(NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    file.take(RESERVATION_LIMIT).read_to_end(&mut bytes)?;
    Ok(match std::str::from_utf8(&bytes) {
        Ok(text) => text.trim().as_bytes().to_vec(),
        Err(_) => bytes.trim_ascii().to_vec(),
    })
}

fn failed(attempted: &str, path: &Path, e: &io::Error) -> Error {
    Error::new(Code::IO, format!("host-local: failed to {attempted} \"{}\": {e}", path.display()))
}

#[cfg(test)]
mod tests;
