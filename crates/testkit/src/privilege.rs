//! Tests that cannot run here say so; in CI that is a failure.

use std::io::Write;

/// This process may make network namespaces.
#[must_use]
pub fn have_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Reports a test as skipped, with the reason.
///
/// # Panics
/// If `PLEXUS_REQUIRE` names `tier` (comma separated), as CI does for every tier that should run there.
pub fn skip_or_fail(tier: &str, reason: &str) {
    let required = std::env::var("PLEXUS_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|t| t == tier), "tier {tier} must run here, but: {reason}");
    // Straight to the terminal: the test harness would swallow a println of a passing test.
    // Appending: where stderr is a file, opening it to write would empty it.
    if let Ok(mut stderr) = std::fs::OpenOptions::new().append(true).open("/dev/stderr") {
        let _ = stderr.write_all(format!("skipped ({tier}): {reason}\n").as_bytes());
    }
}
