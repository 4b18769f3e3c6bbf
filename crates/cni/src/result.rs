//! The result of ADD: one type with everything of 1.1.0, read from and written as any version.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::json::from_json;
use crate::{Code, Error, Json, Result, Version};

/// What an ADD made. Holds everything that version 1.1.0 can say; [`CniResult::to_json`] writes it as any version.
#[derive(Clone, Debug, PartialEq)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// Index into [`CniResult::interfaces`]; IPAM plugins give none.
    pub interface: Option<usize>,
    /// Address with the prefix length of its subnet; host bits kept.
    pub address: IpNet,
    /// The subnet's gateway.
    pub gateway: Option<IpAddr>,
}

/// A route of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; without one, the gateway of an address of the same family is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// MTU in bytes (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Advertised MSS in bytes (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Metric; the kernel's default where absent (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table; main where absent (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope as in `ip route`: 0 global, 253 link, 254 host (1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// `ips[]` on the wire, 0.3.0 and later.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireIp {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<i64>,
    address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
}

/// `routes[]` on the wire, all versions.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireRoute {
    dst: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    gw: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advmss: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
}

/// `ip4` and `ip6` on the wire, 0.1.0 and 0.2.0.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireFamily {
    ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<WireRoute>,
}

/// A result of any version on the wire.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(rename = "cniVersion")]
    cni_version: String,
    interfaces: Vec<Interface>,
    ips: Vec<WireIp>,
    routes: Vec<WireRoute>,
    ip4: Option<WireFamily>,
    ip6: Option<WireFamily>,
    dns: Dns,
}

fn parse_ip(key: &str, text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| decode(key, text, "an IP address"))
}

fn parse_net(key: &str, text: &str) -> Result<IpNet> {
    text.parse().map_err(|_| decode(key, text, "an address with prefix length (10.1.2.3/24)"))
}

fn decode(key: &str, text: &str, expected: &str) -> Error {
    Error::new(Code::DECODE, format!("result: key \"{key}\": \"{text}\" is not {expected}"))
}

impl WireRoute {
    fn read(self) -> Result<Route> {
        Ok(Route {
            dst: parse_net("routes.dst", &self.dst)?,
            gw: parse_ip("routes.gw", &self.gw)?,
            mtu: self.mtu,
            advmss: self.advmss,
            priority: self.priority,
            table: self.table,
            scope: self.scope,
        })
    }

    fn write(route: &Route) -> Self {
        WireRoute {
            dst: route.dst.to_string(),
            gw: text(route.gw),
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table,
            scope: route.scope,
        }
    }
}

fn text(address: Option<IpAddr>) -> String {
    address.map(|a| a.to_string()).unwrap_or_default()
}

impl CniResult {
    /// Reads a result of any version. One without `cniVersion` is taken as `fallback` (the configuration's version), as libcni does.
    ///
    /// # Errors
    /// Code 6 naming the key that cannot be read; code 1 for an unknown version.
    pub fn from_json(json: &Json, fallback: Version) -> Result<CniResult> {
        let wire: Wire =
            from_json(json).map_err(|e| Error::new(Code::DECODE, format!("failed to read the result: {e}")))?;
        let version = if wire.cni_version.is_empty() {
            fallback
        } else {
            wire.cni_version.parse().map_err(|_| {
                Error::new(
                    Code::INCOMPATIBLE_VERSION,
                    format!("unsupported CNI result version \"{}\"", wire.cni_version),
                )
            })?
        };
        let mut result = CniResult { interfaces: wire.interfaces, dns: wire.dns, ..CniResult::empty(version) };
        if version < Version::V0_3_0 {
            for family in [wire.ip4, wire.ip6].into_iter().flatten() {
                result.ips.push(IpConfig {
                    interface: None,
                    address: parse_net("ip", &family.ip)?,
                    gateway: parse_ip("gateway", &family.gateway)?,
                });
                for route in family.routes {
                    result.routes.push(route.read()?);
                }
            }
            return Ok(result);
        }
        for ip in wire.ips {
            result.ips.push(IpConfig {
                // The originals' readers cope with -1 for "none", so this one does.
                interface: ip.interface.and_then(|i| usize::try_from(i).ok()),
                address: parse_net("ips.address", &ip.address)?,
                gateway: parse_ip("ips.gateway", &ip.gateway)?,
            });
        }
        result.routes = wire.routes.into_iter().map(WireRoute::read).collect::<Result<_>>()?;
        Ok(result)
    }

    /// Writes the result as `version`.
    ///
    /// # Errors
    /// If 0.1.0 or 0.2.0 is asked for and there is no address (these versions cannot say it).
    pub fn to_json(&self, version: Version) -> Result<Json> {
        let mut object = Json::object();
        object.set("cniVersion", version.as_str());
        if version < Version::V0_3_0 {
            self.write_families(&mut object)?;
            object.set("dns", Json::from_value(&self.dns)?);
            return Ok(object);
        }
        let mut interfaces = self.interfaces.clone();
        if version < Version::V1_0_0 {
            for interface in &mut interfaces {
                interface.mtu = None;
                interface.socket_path.clear();
                interface.pci_id.clear();
            }
        }
        let ips: Vec<WireIp> = self
            .ips
            .iter()
            .map(|ip| WireIp {
                version: (version < Version::V1_0_0)
                    .then(|| if ip.address.addr().is_ipv4() { "4" } else { "6" }.to_owned()),
                interface: ip.interface.and_then(|i| i64::try_from(i).ok()),
                address: ip.address.to_string(),
                gateway: text(ip.gateway),
            })
            .collect();
        let routes: Vec<WireRoute> = self.routes.iter().map(WireRoute::write).collect();
        if !interfaces.is_empty() {
            object.set("interfaces", Json::from_value(&interfaces)?);
        }
        if !ips.is_empty() {
            object.set("ips", Json::from_value(&ips)?);
        }
        if !routes.is_empty() {
            object.set("routes", Json::from_value(&routes)?);
        }
        // Below 1.0.0 the originals print an empty object.
        if version < Version::V1_0_0 || !self.dns.is_empty() {
            object.set("dns", Json::from_value(&self.dns)?);
        }
        Ok(object)
    }

    /// 0.1.0 and 0.2.0 hold the first address of each family, and that family's routes (destination and next hop only).
    fn write_families(&self, object: &mut Json) -> Result<()> {
        let mut any = false;
        for (key, v4) in [("ip4", true), ("ip6", false)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.addr().is_ipv4() == v4) else { continue };
            any = true;
            let routes = self.routes.iter().filter(|r| r.dst.addr().is_ipv4() == v4);
            let family = WireFamily {
                ip: ip.address.to_string(),
                gateway: text(ip.gateway),
                routes: routes.map(|r| WireRoute::write(&Route::new(r.dst, r.gw))).collect(),
            };
            object.set(key, Json::from_value(&family)?);
        }
        if any { Ok(()) } else { Err(Error::internal("cannot convert: no valid IP addresses")) }
    }
}
