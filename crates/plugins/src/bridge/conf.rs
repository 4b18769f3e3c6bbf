//! The bridge plugin's configuration, read and validated.

use std::collections::BTreeSet;

use cni::json::from_json;
use cni::{Call, Dns, Error, Json, Result};
use netlink::{Mac, VlanOnPort};
use serde::Deserialize;

use crate::dns::RawDns;
use crate::{interface, ipam};

/// The keys as they stand in the document.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    bridge: Option<String>,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: String,
    mtu: i64,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: i64,
    vlan_trunk: Option<Vec<Trunk>>,
    preserve_default_vlan: bool,
    macspoofchk: bool,
    enabledad: bool,
    disable_container_interface: bool,
    port_isolation: bool,
    dns: Option<RawDns>,
    args: RawArgs,
    runtime_config: RawMac,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trunk {
    #[serde(rename = "minID")]
    min: Option<i64>,
    #[serde(rename = "maxID")]
    max: Option<i64>,
    id: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawArgs {
    cni: RawMac,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMac {
    mac: String,
}

/// A valid configuration.
#[derive(Debug)]
pub(super) struct Conf {
    pub(super) bridge: String,
    /// The bridge has the gateway's address, and the host forwards.
    pub(super) gateway: bool,
    /// The container's default route leads to it.
    pub(super) default_gateway: bool,
    pub(super) force_address: bool,
    pub(super) masquerade: bool,
    pub(super) masquerade_backend: String,
    /// In bytes; the kernel's default where absent.
    pub(super) mtu: Option<u32>,
    pub(super) hairpin: bool,
    pub(super) promisc: bool,
    pub(super) vlans: Vlans,
    pub(super) spoof_check: bool,
    pub(super) dad: bool,
    /// The container's interface stays down.
    pub(super) disable_container_interface: bool,
    pub(super) isolated: bool,
    /// The configuration's own name resolution, if it has any.
    pub(super) dns: Option<Dns>,
    pub(super) mac: Option<Mac>,
    /// There is an IPAM plugin.
    pub(super) layer3: bool,
}

/// What the port of a container has to do with VLANs.
#[derive(Debug, Default)]
pub(super) struct Vlans {
    /// The bridge filters by VLAN.
    pub(super) filtering: bool,
    /// The port's own VLAN, untagged; 0 for none.
    pub(super) access: u16,
    /// Everything that is to be on the port.
    pub(super) on_port: Vec<VlanOnPort>,
    /// The bridge's default VLAN stays on the port.
    pub(super) preserve_default: bool,
}

impl Conf {
    /// Reads the configuration of an ADD or a CHECK.
    ///
    /// # Errors
    /// Code 6 or 7 naming the key; code 4 for `CNI_ARGS`.
    pub(super) fn read(call: &Call) -> Result<Conf> {
        let raw: Raw = from_json(&call.conf)?;
        let bridge = raw.bridge.unwrap_or_else(|| "cni0".to_owned());
        interface::valid_name("bridge", &bridge)?;
        if raw.hairpin_mode && raw.promisc_mode {
            return Err(Error::config("cannot set hairpin mode and promiscuous mode at the same time"));
        }
        let layer3 = ipam::delegate(call)?.is_some();
        if layer3 && raw.disable_container_interface {
            return Err(Error::config(
                "cannot use IPAM when DisableContainerInterface flag is set: leave out \"ipam\" or \"disableContainerInterface\"",
            ));
        }
        let gateway = raw.is_gateway || raw.is_default_gateway;
        let vlans = vlans(raw.vlan, raw.vlan_trunk.as_deref(), raw.preserve_default_vlan)?;
        if gateway && layer3 && vlans.access != 0 {
            interface::valid_name("bridge", &gateway_name(&bridge, vlans.access)).map_err(|e| {
                e.context(format_args!(
                    "the gateway of VLAN {} needs an interface of its own; shorten the bridge's name",
                    vlans.access
                ))
            })?;
        }
        Ok(Conf {
            gateway,
            default_gateway: raw.is_default_gateway,
            force_address: raw.force_address,
            masquerade: raw.ip_masq,
            masquerade_backend: raw.ip_masq_backend,
            mtu: interface::mtu(raw.mtu)?,
            hairpin: raw.hairpin_mode,
            promisc: raw.promisc_mode,
            vlans,
            spoof_check: raw.macspoofchk,
            dad: raw.enabledad,
            disable_container_interface: raw.disable_container_interface,
            isolated: raw.port_isolation,
            dns: raw.dns.and_then(RawDns::set),
            mac: requested_mac(call, &raw.runtime_config.mac, &raw.args.cni.mac)?,
            layer3,
            bridge,
        })
    }
}

/// The name of the link that has the gateway's address in a VLAN: the reference's.
pub(super) fn gateway_name(bridge: &str, vlan: u16) -> String {
    format!("{bridge}.{vlan}")
}

/// `runtimeConfig.mac` before `args.cni.mac` before `MAC` of `CNI_ARGS`.
fn requested_mac(call: &Call, runtime_config: &str, args: &str) -> Result<Option<Mac>> {
    let environment = cni::args::load(&call.args, &["MAC"])?;
    let candidates = [
        ("runtimeConfig.mac", runtime_config),
        ("args.cni.mac", args),
        ("MAC of CNI_ARGS", environment.get("MAC").unwrap_or_default()),
    ];
    let chosen = candidates.into_iter().find(|(_, value)| !value.is_empty());
    chosen.map(|(key, value)| interface::mac(key, value)).transpose()
}

/// What `vlan`, `vlanTrunk` and `preserveDefaultVlan` mean for the port.
pub(super) fn vlans(vlan: i64, trunk: Option<&[Trunk]>, preserve_default: bool) -> Result<Vlans> {
    let access = u16::try_from(vlan)
        .ok()
        .filter(|v| *v <= 4094)
        .ok_or_else(|| Error::config(format!("invalid VLAN ID {vlan} (must be between 0 and 4094)")))?;
    let mut tagged = BTreeSet::new();
    for item in trunk.unwrap_or_default() {
        match (item.min, item.max) {
            (Some(min), Some(max)) => {
                let (first, last) = (trunk_id("minID", min)?, trunk_id("maxID", max)?);
                if first > last {
                    return Err(Error::config(format!("vlanTrunk: minID {first} is greater than maxID {last}")));
                }
                tagged.extend(first..=last);
            }
            (None, Some(_)) => {
                return Err(Error::config(
                    "vlanTrunk: minID and maxID should be configured simultaneously, minID is missing",
                ));
            }
            (Some(_), None) => {
                return Err(Error::config(
                    "vlanTrunk: minID and maxID should be configured simultaneously, maxID is missing",
                ));
            }
            (None, None) => {}
        }
        if let Some(id) = item.id {
            tagged.insert(trunk_id("id", id)?);
        }
    }
    // A trunk without VLAN of its own has 1 as its native VLAN.
    let native = if access == 0 && !tagged.is_empty() { 1 } else { access };
    tagged.remove(&native);
    let mut on_port = Vec::new();
    if native != 0 {
        on_port.push(VlanOnPort { first: native, last: native, pvid: true, untagged: true });
    }
    on_port.extend(ranges(&tagged));
    Ok(Vlans { filtering: access != 0 || trunk.is_some(), access, on_port, preserve_default })
}

fn trunk_id(key: &str, value: i64) -> Result<u16> {
    u16::try_from(value).ok().filter(|v| (1..=4094).contains(v)).ok_or_else(|| {
        Error::config(format!("vlanTrunk: incorrect trunk {key} parameter {value} (must be between 1 and 4094)"))
    })
}

/// Consecutive VLANs as one range each.
fn ranges(ids: &BTreeSet<u16>) -> Vec<VlanOnPort> {
    let mut ranges: Vec<VlanOnPort> = Vec::new();
    for &id in ids {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == id => range.last = id,
            _ => ranges.push(VlanOnPort { first: id, last: id, pvid: false, untagged: false }),
        }
    }
    ranges
}

/// The truth of a key, wherever a whole configuration cannot be asked for: a DEL must not fail for a key that it does not need.
pub(super) fn flag(call: &Call, key: &str) -> bool {
    matches!(call.conf.get(key), Some(Json::Bool(true)))
}

#[cfg(test)]
mod tests;
