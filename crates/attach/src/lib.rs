//! The meta-plugin: several networks for one container.
//!
//! Owns: which networks a container gets and under which interface names ([`plan`]), what is on disk about it ([`record`]), performing it in
//! order and undoing it in reverse ([`perform`]). Pure logic: plugins are run through [`Delegates`], the container's links are reached
//! through [`PodLinks`]; only record files are touched directly.

pub mod cluster;
pub mod config;
pub mod default_route;
pub mod devices;
pub mod gc;
pub mod perform;
pub mod plan;
pub mod pod;
pub mod record;
pub mod select;
pub mod status;

mod default_network;
mod ports;
mod run;

pub use config::Config;
pub use plan::{Attachment, Plan};
pub use ports::{Delegates, PodLinks};
pub use run::{Attach, Readiness};

#[cfg(test)]
mod testing;
