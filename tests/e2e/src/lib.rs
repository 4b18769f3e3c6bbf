//! What the suite on a real Kubernetes stands on: the cluster, a namespace per test, access to nodes, diagnostics of what fails.
//!
//! Objects are made with `kubectl`, as a user makes them, and looked at through the API. The tests are in `tests/suite/`, a file per feature.

mod api;
mod diagnose;
mod nodes;
mod outside;
mod recorder;
mod run;
mod test;
mod yaml;

pub use nodes::{Configured, Nodes};
pub use outside::get;
pub use recorder::Recorder;
pub use run::{output, run};
pub use test::Test;
pub use yaml::{Pod, definition};

use std::time::{Duration, Instant};

/// How long something that should happen may take: this machine may be busy with other things. No test is about time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks `look` until it has an answer.
///
/// # Panics
/// If it has none within [`PATIENCE`]; with the last reason why not.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, look)
}

/// Asks `look` until it has an answer.
///
/// # Panics
/// If it has none within `patience`; with the last reason why not.
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + patience;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if Instant::now() > end => panic!("{what}: not within {patience:?}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(300)),
        }
    }
}
