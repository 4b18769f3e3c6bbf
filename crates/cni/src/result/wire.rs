//! Results as JSON of each version, and what is lost on the way from one to another.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::{CniResult, Dns, Interface, IpConfig, Route};
use crate::json::from_json;
use crate::{Code, Error, Json, Result, Version, net};

/// `ips[]`, 0.3.0 and later. Below 1.0.0 it has the address's family as text.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WireIp {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<i64>,
    address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
}

/// `routes[]`, all versions: the originals have one type for all, so that keys of 1.1.0 appear in older results as well.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WireRoute {
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

/// `ip4` and `ip6`, 0.1.0 and 0.2.0.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireFamily {
    ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    gateway: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
}

/// A result of any version.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(rename = "cniVersion")]
    cni_version: String,
    interfaces: Vec<Interface>,
    ips: Vec<IpConfig>,
    routes: Vec<Route>,
    ip4: Option<WireFamily>,
    ip6: Option<WireFamily>,
    dns: Dns,
}

/// IPv4 written as IPv6 (`::ffff:10.0.0.1`) is IPv4, as in Go.
fn read_ip(key: &str, text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| format!("{key} {text:?} is not an IP address"))?;
    Ok(Some(address.to_canonical()))
}

fn read_net(key: &str, text: &str) -> Result<IpNet, String> {
    let net: IpNet =
        net::parse(text).ok_or_else(|| format!("{key} {text:?} is not an address with prefix length (10.1.2.3/24)"))?;
    if let (IpAddr::V4(v4), Some(length)) = (net.addr().to_canonical(), net.prefix_len().checked_sub(96))
        && net.addr().is_ipv6()
    {
        return Ipv4Net::new(v4, length).map(IpNet::V4).map_err(|e| format!("{key} {text:?}: {e}"));
    }
    Ok(net)
}

fn write_ip(address: Option<IpAddr>) -> String {
    address.map(|a| a.to_string()).unwrap_or_default()
}

impl TryFrom<WireIp> for IpConfig {
    type Error = String;

    fn try_from(wire: WireIp) -> Result<Self, String> {
        Ok(IpConfig {
            // Some plugins write -1 for "none".
            interface: wire.interface.and_then(|i| usize::try_from(i).ok()),
            address: read_net("address", &wire.address)?,
            gateway: read_ip("gateway", &wire.gateway)?,
        })
    }
}

impl TryFrom<WireRoute> for Route {
    type Error = String;

    fn try_from(wire: WireRoute) -> Result<Self, String> {
        // Go's type has no "unset" for these three: 0 is that. Table and scope are pointers there.
        let set = |n: Option<u32>| n.filter(|n| *n != 0);
        Ok(Route {
            dst: read_net("dst", &wire.dst)?,
            gw: read_ip("gw", &wire.gw)?,
            mtu: set(wire.mtu),
            advmss: set(wire.advmss),
            priority: set(wire.priority),
            table: wire.table,
            scope: wire.scope,
        })
    }
}

impl From<Route> for WireRoute {
    fn from(route: Route) -> Self {
        WireRoute {
            dst: route.dst.to_string(),
            gw: write_ip(route.gw),
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table,
            scope: route.scope,
        }
    }
}

impl CniResult {
    /// Reads a result of any version. One without `cniVersion` is taken as `fallback` (the configuration's version), as libcni does; `null`
    /// is an empty result.
    ///
    /// # Errors
    /// Code 6 naming the key that cannot be read; code 1 for an unknown version.
    pub fn from_json(json: &Json, fallback: Version) -> Result<CniResult> {
        let decode = |what: String| Error::new(Code::DECODE, format!("failed to read the result: {what}"));
        let wire: Wire = from_json(json).map_err(|e| decode(e.to_string()))?;
        let version = if wire.cni_version.is_empty() {
            fallback
        } else {
            wire.cni_version.parse().map_err(|e: Error| Error {
                message: format!("unsupported CNI result version \"{}\"", wire.cni_version),
                ..e
            })?
        };
        let mut result = CniResult { dns: wire.dns, ..CniResult::empty(version) };
        if version >= Version::V0_3_0 {
            return Ok(CniResult { interfaces: wire.interfaces, ips: wire.ips, routes: wire.routes, ..result });
        }
        for (key, family) in [("ip4", wire.ip4), ("ip6", wire.ip6)] {
            let Some(family) = family else { continue };
            let in_key = |e: String| decode(format!("key \"{key}\": {e}"));
            result.ips.push(IpConfig {
                interface: None,
                address: read_net("ip", &family.ip).map_err(in_key)?,
                gateway: read_ip("gateway", &family.gateway).map_err(in_key)?,
            });
            result.routes.extend(family.routes);
        }
        Ok(result)
    }

    /// The result as `version` has it; what that version cannot say is dropped.
    ///
    /// # Errors
    /// If 0.1.0 or 0.2.0 is asked for and there is no address (these versions cannot say it).
    pub fn convert(&self, version: Version) -> Result<CniResult> {
        CniResult::from_json(&self.to_json(version)?, version)
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
        if !self.interfaces.is_empty() {
            let interfaces: Vec<_> = self.interfaces.iter().map(|i| write_interface(i, version)).collect();
            object.set("interfaces", Json::from_value(&interfaces)?);
        }
        if !self.ips.is_empty() {
            let ips: Vec<_> = self.ips.iter().map(|ip| write_address(ip, version)).collect();
            object.set("ips", Json::from_value(&ips)?);
        }
        if !self.routes.is_empty() {
            object.set("routes", Json::from_value(&self.routes)?);
        }
        // Below 1.0.0 the originals print an empty object.
        if version < Version::V1_0_0 || !self.dns.is_empty() {
            object.set("dns", Json::from_value(&self.dns)?);
        }
        Ok(object)
    }

    /// 0.1.0 and 0.2.0 hold the first address of each family, and the routes of the families that have one (destination and next hop only).
    fn write_families(&self, object: &mut Json) -> Result<()> {
        for (key, v4) in [("ip4", true), ("ip6", false)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.addr().is_ipv4() == v4) else { continue };
            let routes = self.routes.iter().filter(|r| r.dst.addr().is_ipv4() == v4);
            let family = WireFamily {
                ip: ip.address.to_string(),
                gateway: write_ip(ip.gateway),
                routes: routes.map(|r| Route::new(r.dst, r.gw)).collect(),
            };
            object.set(key, Json::from_value(&family)?);
        }
        // What was read as one of these versions goes out as it came in, even if it says nothing.
        let came_in_so = self.version < Version::V0_3_0 && self.interfaces.is_empty();
        if self.ips.is_empty() && !came_in_so {
            return Err(Error::internal("cannot convert: no valid IP addresses").with_details(
                "results before 0.3.0 need an address: set a newer cniVersion in the network configuration",
            ));
        }
        Ok(())
    }
}

fn write_interface(interface: &Interface, version: Version) -> Interface {
    if version >= Version::V1_0_0 {
        return interface.clone();
    }
    Interface { mtu: None, socket_path: String::new(), pci_id: String::new(), ..interface.clone() }
}

fn write_address(ip: &IpConfig, version: Version) -> WireIp {
    let family = if ip.address.addr().is_ipv4() { "4" } else { "6" };
    WireIp {
        version: (version < Version::V1_0_0).then(|| family.to_owned()),
        interface: ip.interface.and_then(|i| i64::try_from(i).ok()),
        address: ip.address.to_string(),
        gateway: write_ip(ip.gateway),
    }
}
