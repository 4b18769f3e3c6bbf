//! The result of ADD: one type with everything of 1.1.0, read from and written as any version.
//!
//! ```
//! use plexus_cni::{CniResult, Json, Version};
//!
//! let old = Json::parse(br#"{"ip4": {"ip": "10.1.2.3/24", "routes": [{"dst": "0.0.0.0/0"}]}}"#)?;
//! let result = CniResult::from_json(&old, Version::V0_2_0)?;
//! assert!(result.routes[0].is_default());
//! let new = Json::parse(br#"{"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24"}], "routes": [{"dst": "0.0.0.0/0"}]}"#)?;
//! assert_eq!(result.to_json(Version::V1_1_0)?, new);
//! # Ok::<(), plexus_cni::Error>(())
//! ```

mod wire;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Version;
use wire::{WireIp, WireRoute};

/// What an ADD made. Holds everything that version 1.1.0 can say; [`CniResult::to_json`] writes it as any version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniResult {
    /// The version that it was read as, or is to be written as.
    pub version: Version,
    /// Interfaces, in the order that [`IpConfig::interface`] counts.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<IpConfig>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Name resolution.
    pub dns: Dns,
}

fn zero(mtu: &Option<u64>) -> bool {
    matches!(mtu, None | Some(0))
}

/// An interface made or used by an ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address, as text; empty where it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// MTU in bytes (1.1.0).
    #[serde(skip_serializing_if = "zero")]
    pub mtu: Option<u64>,
    /// The namespace's path; empty for an interface of the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// Path of a socket that stands for the interface (1.1.0).
    #[serde(rename = "socketPath", skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// PCI address (1.1.0).
    #[serde(rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address of the container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WireIp")]
pub struct IpConfig {
    /// Index into [`CniResult::interfaces`]; IPAM plugins give none, and whoever writes -1 means none. It may be too large: the plugin that
    /// uses it has to look.
    pub interface: Option<usize>,
    /// Address with the prefix length of its subnet; host bits kept.
    pub address: IpNet,
    /// The subnet's gateway.
    pub gateway: Option<IpAddr>,
}

/// A route of the container. Reads and writes itself as it stands in `routes` of a result or a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireRoute", into = "WireRoute")]
pub struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; without one, the gateway of an address of the same family is meant.
    pub gw: Option<IpAddr>,
    /// MTU in bytes (1.1.0).
    pub mtu: Option<u32>,
    /// Advertised MSS in bytes (1.1.0).
    pub advmss: Option<u32>,
    /// Metric; the kernel's default where absent (1.1.0).
    pub priority: Option<u32>,
    /// Routing table; main where absent (1.1.0).
    pub table: Option<u32>,
    /// Scope as in `ip route`: 0 global, 253 link, 254 host (1.1.0).
    pub scope: Option<u8>,
}

/// Name resolution, as far as CNI knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Servers, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Route {
    /// A route with nothing but destination and next hop.
    #[must_use]
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Route { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }

    /// It is a default route.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.dst.prefix_len() == 0
    }

    /// It belongs into the main table (254, `RT_TABLE_MAIN` in include/uapi/linux/rtnetlink.h), which the kernel takes 0 and none for too.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.table.is_none_or(|table| table == 0 || table == 254)
    }
}

impl Dns {
    /// Nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

impl CniResult {
    /// A result without anything in it.
    #[must_use]
    pub fn empty(version: Version) -> Self {
        CniResult { version, interfaces: Vec::new(), ips: Vec::new(), routes: Vec::new(), dns: Dns::default() }
    }
}
