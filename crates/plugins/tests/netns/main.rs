//! Plugins in real network namespaces, looked at with the tools that people use.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bridge;
mod flannel;
mod interop_masquerade;
mod macvlan;
mod masquerade;
mod spoofcheck;
mod world;
