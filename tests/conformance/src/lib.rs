//! Plugins from outside: run as a runtime runs them, looked at with independent tools.
//!
//! Owns: the cases (`cases/*.json`), how one is run on any side ([`Side`]: the Go originals, ours as programs, ours in process), and the
//! snapshot of a world that finds what an attachment left behind. Nothing here links the code under test.
#![expect(clippy::unwrap_used, reason = "a test harness: a failed unwrap is a failed test")]

pub mod case;
pub mod pattern;
pub mod program;
pub mod run;
pub mod samples;
pub mod snapshot;
pub mod stepper;
pub mod wire;
pub mod world;

pub use program::{Cast, Programs, Side};
pub use snapshot::Snapshot;
pub use world::World;
