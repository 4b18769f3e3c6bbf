//! Files that are there whole or not at all, whenever the process is killed.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use plexus_cni::file::{self, Durability};
//!
//! let reservation = dir.path().join("10.1.2.3");
//! assert!(file::create_exclusive(&reservation, b"container f00", 0o600, Durability::Synced)?);
//! assert!(!file::create_exclusive(&reservation, b"container bar", 0o600, Durability::Synced)?);
//! assert_eq!(file::read(&reservation, 1_000)?.as_deref(), Some(&b"container f00"[..]));
//! assert!(file::remove(&reservation, Durability::Cached)?);
//! # Ok(())
//! # }
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::{Code, Error, Result};

#[cfg(test)]
mod tests;

/// The longest name, in bytes, of a file that can be written here: the kernel's `NAME_MAX` without what [`temporary`] puts around it.
pub const NAME_LIMIT: usize = 255 - ".".len() - ".tmp".len();

/// What a write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however it comes; not the machine's.
    Cached,
    /// The machine's end as well: the file and its directory entry are synced before the call returns.
    Synced,
}

/// The temporary file that [`write_atomic`] uses for `path`: beside it, always the same, so that a later [`remove`] finds what a killed
/// writer left. Two writers of one file must not run at the same time: whoever shares a file holds a lock.
#[must_use]
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

/// Writes `bytes` to `path` in place of what is there, with the permissions `mode` (of which the umask may take some).
///
/// # Errors
/// Code 5 naming the file; nothing is left behind and the old file stays.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<()> {
    let temp = temporary(path);
    let written = write_temporary(&temp, bytes, mode, durability).and_then(|()| fs::rename(&temp, path));
    if let Err(e) = written {
        let _ = fs::remove_file(&temp);
        return Err(failed("write", path, &e));
    }
    sync_directory(path, durability)
}

fn write_temporary(temp: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).custom_flags(no_follow).open(temp)?;
    finish(&mut file, bytes, durability)
}

fn finish(file: &mut File, bytes: &[u8], durability: Durability) -> io::Result<()> {
    file.write_all(bytes)?;
    if durability == Durability::Synced { file.sync_data() } else { Ok(()) }
}

/// Creates `path` with `bytes` if there is no such file. `false` if there is one; it is not touched.
///
/// The file appears whole: a killed process leaves neither an empty nor a temporary file, where the filesystem has `O_TMPFILE`. Elsewhere a
/// temporary file may stay; [`remove`] finds it.
///
/// # Errors
/// Code 5 naming the file; nothing is left behind.
pub fn create_exclusive(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<bool> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let created = match rustix::fs::open(dir, flags, Mode::from_raw_mode(mode)) {
        Ok(fd) => {
            let mut file = File::from(fd);
            let linked = file.write_all(bytes).and_then(|()| link_open(&file, path));
            // Synced after it was linked, the name goes with it: link count and directory entry are one transaction of the filesystem
            // (ext4, XFS, btrfs, f2fs), so one sync does what takes two for a renamed file.
            linked.and_then(|()| if durability == Durability::Synced { file.sync_all() } else { Ok(()) })
        }
        // Filesystems without O_TMPFILE say one of these (open(2)).
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            let linked = create_linked(path, bytes, mode, durability);
            if linked.is_ok() {
                sync_directory(path, durability)?;
            }
            linked
        }
        Err(e) => Err(e.into()),
    };
    match created {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(failed("create", path, &e)),
    }
}

/// Syncs a file that was written as [`Durability::Cached`], and its directory entry, after the fact.
///
/// # Errors
/// Code 5 naming the file.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| failed("sync", path, &e))?;
    sync_directory(path, Durability::Synced)
}

/// [`create_exclusive`] without `O_TMPFILE`: whole beside, then linked.
fn create_linked(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let temp = temporary(path);
    let linked = write_temporary(&temp, bytes, mode, durability).and_then(|()| fs::hard_link(&temp, path));
    let _ = fs::remove_file(&temp);
    linked
}

/// Gives an open file without a name its name. Without the right to do it by descriptor (open(2), `O_TMPFILE`), by /proc.
fn link_open(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    match rustix::fs::linkat(file, "", CWD, path, AtFlags::EMPTY_PATH) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::PERM) => {
            let by_fd = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, by_fd, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(Into::into)
        }
        other => other.map_err(Into::into),
    }
}

/// Removes `path` and the temporary file that a killed writer may have left. `false` if there was no such file.
///
/// # Errors
/// Code 5 naming the file.
pub fn remove(path: &Path, durability: Durability) -> Result<bool> {
    let mut found = false;
    for name in [temporary(path).as_path(), path] {
        match fs::remove_file(name) {
            Ok(()) => found = name == path,
            Err(e) if is_missing(&e) => {}
            // A read-only filesystem refuses to remove even what is not there.
            Err(e)
                if e.kind() == io::ErrorKind::ReadOnlyFilesystem
                    && name.symlink_metadata().is_err_and(|e| is_missing(&e)) => {}
            Err(e) => return Err(failed("remove", name, &e)),
        }
    }
    if found {
        sync_directory(path, durability)?;
    }
    Ok(found)
}

/// The content of `path`; `None` if there is no such file. Never waits: a pipe in its place is an error.
///
/// # Errors
/// Code 5 naming the file, also if it is longer than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let read = (|| {
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let kind = metadata.file_type();
        // A device is what somebody means who writes /dev/null.
        if !kind.is_file() && !kind.is_char_device() {
            return Err(io::Error::other(if kind.is_dir() { "is a directory" } else { "not a regular file" }));
        }
        // With room for all of it, and a little for finding the end, one read takes it; the standard library would begin with 32 bytes, and double.
        bytes.try_reserve(usize::try_from(metadata.len().min(limit)).unwrap_or_default().saturating_add(32))?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)
    })();
    match read {
        Ok(n) if n as u64 > limit => {
            Err(Error::new(Code::IO, format!("failed to read \"{}\": longer than {limit} bytes", path.display())))
        }
        Ok(_) => Ok(Some(bytes)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(failed("read", path, &e)),
    }
}

/// What is at `path` can never be [`read`] with this `limit`: it is no regular file, or too long. Any other failure to read may pass (no descriptors, no
/// memory, a disk that fails), and says nothing about the content.
#[must_use]
pub fn is_other(path: &Path, limit: u64) -> bool {
    path.metadata().is_ok_and(|m| !m.is_file() || m.len() > limit)
}

/// The error of a [`read`] of what may be whole, for callers that do nothing without it: code 11, and what to do.
#[must_use]
pub fn not_now(e: Error) -> Error {
    let remedy =
        "try again when this node has open files and memory left, and look at its disk (dmesg) if that does not help";
    Error { code: Code::TRY_AGAIN, message: format!("{}; {remedy}", e.message), ..e }
}

/// Makes a directory and its parents, the last one with the permissions `mode`; succeeds if it is there.
///
/// # Errors
/// Code 5 naming the directory.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|e| failed("create the directory", path, &e))
}

/// There is no such file; nor can there be one of a name that is too long.
fn is_missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
}

fn sync_directory(path: &Path, durability: Durability) -> Result<()> {
    if durability == Durability::Cached {
        return Ok(());
    }
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| failed("sync the directory", dir, &e))
}

fn failed(attempted: &str, path: &Path, e: &io::Error) -> Error {
    Error::new(Code::IO, format!("failed to {attempted} \"{}\": {e}", path.display()))
}
