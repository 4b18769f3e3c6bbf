//! Network configurations in files: by name from a directory, one file, and the drop-in directory of a network.

use std::path::Path;

use crate::conf::NetworkList;
use crate::{Error, Result};

/// The first network named `name` in `dir`: `*.conflist` files by file name, then `*.conf` and `*.json` (one plugin each). `None` if there is
/// none, or no directory.
///
/// # Errors
/// Any file before it that cannot be read; the message names the file.
pub fn network(dir: &Path, name: &str) -> Result<Option<NetworkList>> {
    let _ = (dir, name);
    Err(Error::internal("loading configurations is being written"))
}

/// The network in one file: a list (`.conflist`, or any other with `plugins`), or one plugin's configuration. Unless the list says
/// `loadOnlyInlinedPlugins`, the plugins in `<directory of the file>/<name of the network>/*.conf` follow its own.
///
/// # Errors
/// If it cannot be read or has no plugin at all.
pub fn file(path: &Path) -> Result<NetworkList> {
    let _ = path;
    Err(Error::internal("loading configurations is being written"))
}
