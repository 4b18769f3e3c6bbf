//! For tests: network namespaces and what independent tools say about them.
//!
//! Owns: private namespaces that vanish with the test, running `ip`, `nft` and plugins inside them; what registers with a kubelet; what
//! documents say, and what the code reads. Nothing here is shipped.

pub mod document;
mod keys;
pub mod kubelet;
mod netns;
mod privilege;

pub use document::Document;
pub use keys::keys;
pub use netns::Namespace;
pub use privilege::{have_root, skip_or_fail};
