//! Kernel parameters under /proc/sys, of the calling thread's network namespace.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use crate::{Error, Result};

/// Reads `key` (`net/ipv4/ip_forward`), without the line's end.
///
/// # Errors
/// `ENOENT` if the kernel has no such parameter; `EINVAL` if `key` leads out of /proc/sys.
pub fn get(key: &str) -> Result<String> {
    let path = path("read sysctl", key)?;
    // No parameter of the network is longer, and one read brings all of it: the kernel writes it anew for each read from the start.
    let mut value = [0; 4096];
    let length = File::open(&path).and_then(|mut file| file.read(&mut value));
    let length = length.map_err(|e| failed("read sysctl", &path, &e))?;
    Ok(String::from_utf8_lossy(&value[..length]).trim_end_matches('\n').to_owned())
}

/// Writes `value` to `key`.
///
/// # Errors
/// `ENOENT` if the kernel has no such parameter, `EROFS` where /proc/sys is read-only; `EINVAL` if `key` leads out of /proc/sys or the
/// kernel does not take the value.
pub fn set(key: &str, value: &str) -> Result<()> {
    let path = path("write sysctl", key)?;
    // Not std::fs::write: the kernel answers EACCES to creating a parameter that it lacks, and ENOENT to opening it.
    let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|e| failed("write sysctl", &path, &e))
}

/// Keys come from configuration files and link names: `..` and absolute paths must not reach other files.
fn path(attempted: &'static str, key: &str) -> Result<PathBuf> {
    let plain = |part| matches!(part, Component::Normal(_));
    if key.is_empty() || key.contains('\0') || !Path::new(key).components().all(plain) {
        return Err(Error::new(attempted, format!("{key:?} (not the name of a kernel parameter)"), Errno::INVAL));
    }
    Ok(Path::new("/proc/sys").join(key))
}

fn failed(attempted: &'static str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(attempted, path.display().to_string(), Errno::from_io_error(e).unwrap_or(Errno::IO))
}
