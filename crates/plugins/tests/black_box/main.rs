//! Plugins as a runtime sees them: environment and stdin in, stdout and exit code out, and what files and kernel say afterwards.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

extern crate plexus_plugins as plugins;

mod call;
mod host_local;
mod loopback;
mod parallel;
mod skel;
mod static_;
