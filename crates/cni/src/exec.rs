//! Plugins as programs: finding one, running it, reading what it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Call, CniResult, Error, Invoke, Result};

/// Runs plugins as programs found in the call's `CNI_PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Exec {
    /// How long one plugin may take; then it is killed with its children.
    pub timeout: Duration,
}

/// The program of a plugin: the first regular file of that name in `path`.
///
/// # Errors
/// If the name is empty or has a path separator, or there is no such file; the message has the directories.
pub fn find(plugin: &str, path: &[PathBuf]) -> Result<PathBuf> {
    let _ = (plugin, path);
    Err(Error::internal("running programs is being written"))
}

impl Exec {
    /// The versions a program says it speaks, oldest first as it lists them; they may be unknown here.
    ///
    /// # Errors
    /// If it cannot be run or does not answer.
    pub fn versions(&self, program: &Path) -> Result<Vec<String>> {
        let _ = program;
        Err(Error::internal("running programs is being written"))
    }
}

impl Invoke for Exec {
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>> {
        find(plugin, &call.path).map(|_| None)
    }
}
