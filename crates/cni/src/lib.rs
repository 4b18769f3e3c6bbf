//! The Container Network Interface specification 1.1.0 (and every version back to 0.1.0), as a library.
//!
//! A plugin begins with [`env::call`]; a runtime with [`load::network`] and [`chain::add`]. The README has both in full.
//!
//! Owns: what a runtime and a plugin say to each other, and what libcni keeps on disk. Knows nothing of kernels, Kubernetes or Plexus.

pub mod args;
pub mod cache;
pub mod chain;
pub mod conf;
pub mod env;
pub mod exec;
pub mod file;
pub mod json;
pub mod load;
pub mod names;
pub mod net;

mod call;
mod error;
mod invoke;
mod result;
mod version;

pub use call::{Call, Command};
pub use error::{Code, Error};
pub use invoke::Invoke;
pub use json::Json;
pub use result::{CniResult, Dns, Interface, IpConfig, Route};
pub use version::Version;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
