//! For tests: network namespaces and what independent tools say about them.
//!
//! Owns: private namespaces that vanish with the test, running `ip`, `nft` and plugins inside them; what registers with a kubelet. Nothing
//! here is shipped.

pub mod kubelet;
mod netns;
mod privilege;

pub use netns::Namespace;
pub use privilege::{have_root, skip_or_fail};
