//! Kernel parameters under /proc/sys, of the calling thread's network namespace.

use std::path::Path;

use rustix::io::Errno;

use crate::{Error, Result};

/// Reads `key` (`net/ipv4/ip_forward`), without the line's end.
///
/// # Errors
/// `ENOENT` if the kernel has no such parameter.
pub fn get(key: &str) -> Result<String> {
    let path = Path::new("/proc/sys").join(key);
    let text = std::fs::read_to_string(&path).map_err(|e| failed("read sysctl", &path, &e))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Writes `value` to `key`.
///
/// # Errors
/// `ENOENT` if the kernel has no such parameter, `EROFS` where /proc/sys is read-only.
pub fn set(key: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(key);
    std::fs::write(&path, value).map_err(|e| failed("write sysctl", &path, &e))
}

fn failed(attempted: &'static str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(attempted, path.display().to_string(), Errno::from_io_error(e).unwrap_or(Errno::IO))
}
