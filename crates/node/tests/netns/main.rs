//! The built binary, under every name, on a host of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod article;
mod itself;
mod power_loss;
mod read_only;
mod world;
