//! Is the installer alive, is the node ready: one small file, written at each pass and read by `plexus-node probe`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cni::Result;
use cni::file::{self, Durability};

/// An installer that has not made a pass for so long hangs.
const STALE: Duration = Duration::from_secs(30);
const LIMIT: u64 = 64 * 1024;
const READY: &str = "ready";

/// Asks the installer that runs in this container: is the node ready? Exit code 0 or 1, and the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct Probe {
    /// Ask only whether the installer is alive.
    #[arg(long)]
    live: bool,
    /// Where `install` writes its status.
    #[arg(long, value_name = "FILE", default_value = super::options::STATUS_FILE)]
    status_file: PathBuf,
}

/// # Errors
/// If the file cannot be written.
pub(super) fn write(path: &Path, problem: Option<&str>) -> Result<()> {
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
            Ok(None) => return no(&format!("no installer is running: {path} is not there")),
            Err(e) => return no(&e.to_string()),
        };
        // A time in the future is a clock that was set.
        let age = self.status_file.metadata().and_then(|m| m.modified()).map(|m| m.elapsed().unwrap_or_default());
        match age {
            Ok(age) if age > STALE => no(&format!("the installer hangs: its last pass was {} s ago", age.as_secs())),
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
