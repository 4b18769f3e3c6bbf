//! Kubernetes: definitions, pods, status, events. The only crate that names kube.
//!
//! Owns: the NetworkAttachmentDefinition CRD and the client behind [`attach::cluster::Cluster`]: who we are, deadlines, which failures are
//! worth another try. Decides nothing about networks.

mod access;
mod client;
mod connection;
mod definition;
mod devices;
mod event;
mod node;
mod object;
mod remedy;
mod retry;
#[cfg(test)]
mod testing;

pub use access::Credentials;
pub use client::Api;
pub use definition::{NetworkAttachmentDefinition, NetworkAttachmentDefinitionSpec, crd};
pub use devices::Kubelet;
pub use node::Node;
