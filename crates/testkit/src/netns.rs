//! A network namespace that lives as long as its handle and has no name anywhere in the file system.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use netlink::Netns;

/// A fresh network namespace with `lo` down. It vanishes with the handle and everything started in it.
#[derive(Debug)]
pub struct Namespace {
    netns: Netns,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Panics
    /// Without the privilege to; tests ask [`crate::have_root`] first.
    #[must_use]
    pub fn new() -> Self {
        Namespace { netns: Netns::unshare().expect("a new network namespace") }
    }

    /// The handle for our own code.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// A path that other processes can open while this one lives: what goes into `CNI_NETNS`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.netns.path().to_owned()
    }

    /// A command that will run inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs a command line (split at spaces) inside and returns its output.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        self.command(program).args(words).output().expect("nsenter")
    }

    /// Runs a command line inside and returns what it printed.
    ///
    /// # Panics
    /// If it fails, with its error output.
    pub fn sh(&self, line: &str) -> String {
        let out = self.run(line);
        assert!(
            out.status.success(),
            "{line}: {}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Runs `ip -j WHAT` (or any other tool that prints JSON) inside.
    ///
    /// # Panics
    /// If it fails or prints something else than JSON; nothing at all is an empty array.
    pub fn json(&self, line: &str) -> serde_json::Value {
        let out = self.sh(line);
        if out.trim().is_empty() {
            return serde_json::Value::Array(Vec::new());
        }
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{line}: {e}: {out}"))
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Namespace::new()
    }
}
