//! Is a program that runs until it is told to end alive, is its work done: one small file, written again and again, and read by
//! `plexus-node probe`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cni::Result;
use cni::file::{self, Durability};

/// Where a container's program tells its probes how it is.
pub(crate) const STATUS_FILE: &str = "/run/plexus/status";
/// A program that has not written for so long hangs.
const STALE: Duration = Duration::from_secs(60);
const LIMIT: u64 = 64 * 1024;
const READY: &str = "ready";

/// Asks the program that runs in this container (install, host-gw): is the node ready? Exit code 0 or 1, and the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct Probe {
    /// Ask only whether it is alive.
    #[arg(long)]
    live: bool,
    /// Where it writes its status.
    #[arg(long, value_name = "FILE", default_value = STATUS_FILE)]
    status_file: PathBuf,
}

/// Says that all is well, or what is not.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(path: &Path, problem: Option<&str>) -> Result<()> {
    if let Some(dir) = path.parent() {
        file::create_directory(dir, 0o755)?;
    }
    let mut text: String = problem.unwrap_or(READY).chars().take(4_000).collect();
    text.push('\n');
    file::write_atomic(path, text.as_bytes(), 0o644, Durability::Cached)
}

impl Probe {
    pub(crate) fn run(&self) -> ExitCode {
        let path = self.status_file.display();
        let text = match file::read(&self.status_file, LIMIT) {
            Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).trim().to_owned(),
            Ok(None) => return no(&format!("nothing is running: {path} is not there")),
            Err(e) => return no(&e.to_string()),
        };
        // A time in the future is a clock that was set.
        let age = self.status_file.metadata().and_then(|m| m.modified()).map(|m| m.elapsed().unwrap_or_default());
        match age {
            Ok(age) if age > STALE => no(&format!("it hangs: the last sign of life was {} s ago", age.as_secs())),
            Err(e) => no(&format!("{path}: {e}")),
            Ok(_) if self.live => yes("alive"),
            Ok(_) if text == READY => yes(READY),
            Ok(_) => no(&text),
        }
    }
}

fn yes(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

fn no(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::FAILURE
}
