//! The kernel: links, addresses, routes, rules, neighbours, nf_tables, network namespaces, sysctls.
//!
//! Owns: every request to the kernel about the network that Plexus makes, and the only `unsafe` code of the workspace. All sockets are synchronous: a
//! request is written and its answer read on the same thread. A socket belongs to the network namespace that it was opened in.

#[doc(hidden)]
pub mod answers;
mod attributes;
mod error;
mod mac;
mod netns;
pub mod nft;
mod pool;
pub mod process;
mod rtnl;
mod socket;
pub mod sysctl;

pub use error::{Error, Result};
pub use mac::Mac;
pub use netns::Netns;
pub use pool::Pool;
pub use rtnl::Rtnl;
pub use rtnl::address::{Address, AddressFlags};
pub use rtnl::link::{BridgePort, Link, LinkChange, LinkKind, MacvlanMode, NewLink, OperState, VethPeer, VlanOnPort};
pub use rtnl::neighbour::Neighbour;
pub use rtnl::route::{NextHop, Route};
pub use rtnl::rule::Rule;
