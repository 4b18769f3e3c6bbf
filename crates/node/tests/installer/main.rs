//! The installer as a program, on nodes that are directories, and the manifests that start it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "kubernetes")] // what they start is the image's binary
mod manifests;
mod node;
mod once;
mod runs;
