//! Where the programs are, and who plays which part.
//!
//! Owns: finding the originals (`PLEXUS_GO_PLUGINS`, `PLEXUS_MULTUS`: set by `cargo xtask test`) and ours (`PLEXUS_NODE`, or built here),
//! and a directory of symbolic links under plugin names to ours.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::wire;

/// Who runs a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The Go original.
    Original,
    /// Ours under the plugin's name.
    Ours,
    /// Ours within our meta-plugin, as its only delegate.
    InProcess,
    /// Our meta-plugin, which executes the Go originals (`"inProcess": "never"`).
    Executing,
}

/// Who performs ADD, and who everything after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// ADD.
    pub add: Side,
    /// Every other command.
    pub rest: Side,
}

impl Cast {
    /// Everything by one side.
    #[must_use]
    pub const fn all(side: Side) -> Cast {
        Cast { add: side, rest: side }
    }
}

/// Names that ours answers to.
pub const NAMES: [&str; 7] = ["bridge", "macvlan", "loopback", "host-local", "static", "flannel", "multus"];

/// The programs of one side.
#[derive(Debug)]
pub struct Programs {
    /// A `CNI_PATH`.
    pub dir: PathBuf,
    /// Versions of the specification each program speaks, as it says itself; without an entry it is not there.
    pub versions: BTreeMap<String, Vec<String>>,
    _links: Option<tempfile::TempDir>,
}

impl Programs {
    /// The Go originals, if this run has them.
    pub fn originals() -> Option<&'static Programs> {
        static FOUND: OnceLock<Option<Programs>> = OnceLock::new();
        FOUND
            .get_or_init(|| {
                let plugins = PathBuf::from(std::env::var_os("PLEXUS_GO_PLUGINS").filter(|v| !v.is_empty())?);
                let links = tempfile::tempdir().unwrap();
                for name in NAMES.iter().filter(|n| **n != "multus") {
                    let program = plugins.join(name);
                    if program.exists() {
                        std::os::unix::fs::symlink(program, links.path().join(name)).unwrap();
                    }
                }
                if let Some(multus) = std::env::var_os("PLEXUS_MULTUS").filter(|v| !v.is_empty()) {
                    std::os::unix::fs::symlink(multus, links.path().join("multus")).unwrap();
                }
                Some(Programs::with(links))
            })
            .as_ref()
    }

    /// Ours: symbolic links to the node binary.
    pub fn ours() -> &'static Programs {
        static BUILT: OnceLock<Programs> = OnceLock::new();
        BUILT.get_or_init(|| {
            let node = node_binary();
            let links = tempfile::tempdir().unwrap();
            for name in NAMES {
                std::os::unix::fs::symlink(&node, links.path().join(name)).unwrap();
            }
            Programs::with(links)
        })
    }

    fn with(links: tempfile::TempDir) -> Programs {
        let dir = links.path().to_owned();
        let ask = |name: &str| Some((name.to_owned(), versions(&dir.join(name))?));
        let versions = NAMES.iter().filter_map(|n| ask(n)).collect();
        Programs { dir, versions, _links: Some(links) }
    }

    /// These are Debian's 1.1.1, from before the specification's 1.1.0.
    #[must_use]
    pub fn are_old(&self) -> bool {
        self.speaks("bridge", "1.1.0").is_err()
    }

    /// The program speaks this version; the error is why not.
    ///
    /// # Errors
    /// If it is not there or does not.
    pub fn speaks(&self, program: &str, version: &str) -> Result<(), String> {
        match self.versions.get(program) {
            None => Err(format!("there is no {program}")),
            // A version that the specification does not know is what the case is about.
            Some(all) if !wire::VERSIONS.contains(&version) || all.iter().any(|v| v == version) => Ok(()),
            Some(_) => Err(format!("this {program} does not speak {version}")),
        }
    }
}

/// The node binary: the one that is given, else built now in the profile of this test.
fn node_binary() -> PathBuf {
    if let Some(given) = std::env::var_os("PLEXUS_NODE").filter(|v| !v.is_empty()) {
        return PathBuf::from(given).canonicalize().expect("PLEXUS_NODE");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "-q", "-p", "plexus-node", "--message-format=json-render-diagnostics"])
        .current_dir(root)
        .output()
        .expect("cargo build -p plexus-node");
    assert!(built.status.success(), "cargo build -p plexus-node: {}", String::from_utf8_lossy(&built.stderr));
    let artifacts = String::from_utf8_lossy(&built.stdout).into_owned();
    let mut executables = artifacts.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    let node = executables.rfind(|e| e.file_name() == Some(OsStr::new("plexus-node")));
    node.expect("cargo said where it put plexus-node")
}

/// What the program answers to VERSION.
fn versions(program: &Path) -> Option<Vec<String>> {
    let mut ask = Command::new(program);
    ask.env("CNI_COMMAND", "VERSION").stdin(std::process::Stdio::null());
    let answer: serde_json::Value = serde_json::from_slice(&ask.output().ok()?.stdout).ok()?;
    let all = answer["supportedVersions"].as_array()?.iter();
    Some(all.filter_map(|v| v.as_str().map(ToOwned::to_owned)).collect())
}
