//! The programs: this one under its own name, and a symbolic link to it for each of its other names.
//!
//! With links an upgrade is one rename: no call ever finds some names new and others old, and none "text file busy".

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use cni::file;
use cni::{Error, Result};

use super::state::{Place, State, failed};

/// This program's own name.
pub(super) const PROGRAM: &str = "plexus-node";
/// The meta-plugin's names.
const META: [&str; 2] = ["multus", "plexus"];
const MODE: u32 = 0o755;

/// What the program's file looked like when it was last found right.
#[derive(Debug, Default)]
pub(super) struct Seen(Option<(u64, u64, u64, i64, i64, u32)>);

/// The names to install, of which reference plugins only those that are missing.
pub(super) fn places(state: &State, reference_plugins: bool) -> Vec<Place> {
    let reference = plugins::Registry::names().filter(|name| {
        let path = state.path(&Place::Bin((*name).to_owned()));
        reference_plugins && (path.symlink_metadata().is_err() || is_ours(&path))
    });
    [PROGRAM].into_iter().chain(META).chain(reference).map(|name| Place::Bin(name.to_owned())).collect()
}

/// Installs what is missing or different. `seen` saves reading the program's file each time.
///
/// # Errors
/// Names the file.
pub(super) fn install(state: &mut State, places: &[Place], seen: &mut Seen) -> Result<()> {
    for place in places {
        let path = state.path(place);
        if *place == Place::Bin(PROGRAM.to_owned()) {
            install_program(state, place, &path, seen)?;
        } else if fs::read_link(&path).is_ok_and(|to| to == Path::new(PROGRAM)) {
            // A link from before us, or ours.
        } else {
            state.remember(place)?;
            link(&path).map_err(|e| failed("install", &path, &e))?;
            tracing::info!("installed {} -> {PROGRAM}", path.display());
        }
    }
    Ok(())
}

/// Is the file what this module puts there?
pub(super) fn is_ours(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n == PROGRAM) || fs::read_link(path).is_ok_and(|to| to == Path::new(PROGRAM))
}

fn install_program(state: &mut State, place: &Place, path: &Path, seen: &mut Seen) -> Result<()> {
    let identity = |m: &Metadata| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.mode());
    let now = || path.symlink_metadata().ok().filter(Metadata::is_file).as_ref().map(identity);
    if seen.0.is_some() && seen.0 == now() {
        return Ok(());
    }
    let source: PathBuf =
        std::env::current_exe().map_err(|e| Error::internal(format!("failed to find this program: {e}")))?;
    let executable = path.metadata().is_ok_and(|m| m.permissions().mode() & 0o111 == 0o111);
    if !executable || !same_content(&source, path).map_err(|e| failed("compare", path, &e))? {
        state.remember(place)?;
        copy(&source, path).map_err(|e| failed("install", path, &e))?;
        tracing::info!("installed {} {}", path.display(), env!("CARGO_PKG_VERSION"));
    }
    seen.0 = now();
    Ok(())
}

/// Copies beside the target, then renames: a running program is not written to.
///
/// In one write: ext4 and XFS keep in memory what comes together in pages of up to 2 MiB, and the program's start maps such a page at once instead
/// of in 32 pieces (docs/performance.md).
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    let temporary = file::temporary(target);
    let write = || {
        remove(&temporary)?;
        let mut to = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
        to.write_all(&fs::read(source)?)?;
        to.set_permissions(fs::Permissions::from_mode(MODE))?;
        to.sync_all()?;
        fs::rename(&temporary, target)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

fn link(path: &Path) -> io::Result<()> {
    let temporary = file::temporary(path);
    remove(&temporary)?;
    symlink(PROGRAM, &temporary)?;
    fs::rename(&temporary, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let mut a = File::open(a)?;
    let mut b = match File::open(b) {
        Ok(b) => b,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut x, mut y) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let n = a.read(&mut x)?;
        if n == 0 {
            return Ok(true);
        }
        if b.read_exact(&mut y[..n]).is_err() || x[..n] != y[..n] {
            return Ok(false);
        }
    }
}
