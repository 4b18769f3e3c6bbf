//! What a pod asks of one network, as the network's plugins understand it: capability arguments, `CNI_ARGS`, `args.cni`, default route.

use std::net::IpAddr;

use cni::conf::NetworkList;
use cni::{Error, Json, Result};

use crate::devices::Device;
use crate::select::{Bandwidth, PortMapping, Selection};

/// Plugins that take a MAC address neither as a capability nor from `CNI_ARGS` (reference plugins 1.9).
const WITHOUT_MAC: [&str; 13] = [
    "ipvlan",
    "vlan",
    "ptp",
    "host-device",
    "dummy",
    "loopback",
    "flannel",
    "passthru",
    "portmap",
    "bandwidth",
    "firewall",
    "sbr",
    "vrf",
];
/// IPAM plugins that take no address from outside.
const WITHOUT_IPS: [&str; 1] = ["dhcp"];

/// A pod's wishes for one network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The interface's name.
    pub interface: Option<String>,
    /// Addresses.
    pub ips: Vec<String>,
    /// MAC address.
    pub mac: Option<String>,
    /// Gateways of the pod's default route; empty: this network's own are dropped.
    pub default_route: Option<Vec<IpAddr>>,
    /// Metric of that route.
    pub default_route_metric: Option<u32>,
    /// Over the definition's `args.cni`.
    pub(crate) cni_args: Option<Json>,
    /// The device that was allocated to the pod for this network.
    pub(crate) device: Option<Device>,
    /// The device that the annotation names; one that was allocated counts more.
    device_id: Option<String>,
    infiniband_guid: Option<String>,
    port_mappings: Vec<PortMapping>,
    bandwidth: Option<Bandwidth>,
}

impl Request {
    pub(crate) fn new(selection: &Selection) -> Request {
        let mut cni_args = selection.cni_args.clone();
        if let Some(claim) = &selection.ipam_claim_reference {
            cni_args.get_or_insert_with(Json::object).set("ipam-claim-reference", claim.as_str());
        }
        Request {
            interface: selection.interface.clone(),
            ips: selection.ips.clone(),
            mac: selection.mac.clone(),
            default_route: selection.default_route.clone(),
            default_route_metric: selection.default_route_metric,
            cni_args,
            device_id: selection.device_id.clone(),
            device: None,
            infiniband_guid: selection.infiniband_guid.clone(),
            port_mappings: selection.port_mappings.clone(),
            bandwidth: selection.bandwidth.clone(),
        }
    }

    /// Every wish can be heard by a plugin of the network (specification v1.3, section 4.1.2: otherwise the attachment must fail).
    ///
    /// # Errors
    /// Names the key and what the definition lacks.
    pub(crate) fn check(&self, list: &NetworkList) -> Result<()> {
        let declared = |capability: &str| list.plugins.iter().any(|p| p.capabilities().contains(&capability));
        let ipam = |p: &cni::conf::PluginConf| {
            p.conf.get("ipam").and_then(|i| i.get("type")).and_then(Json::as_str).map(str::to_owned)
        };
        // Addresses and MAC go into CNI_ARGS too, which plugins read without declaring anything.
        let reads_ips =
            list.plugins.iter().filter_map(ipam).any(|t| !t.is_empty() && !WITHOUT_IPS.contains(&t.as_str()));
        let reads_mac = list.plugins.iter().any(|p| !WITHOUT_MAC.contains(&p.plugin_type.as_str()));
        for (key, capability, asked, heard) in [
            ("portMappings", "portMappings", !self.port_mappings.is_empty(), false),
            ("bandwidth", "bandwidth", self.bandwidth.is_some(), false),
            ("infiniband-guid", "infinibandGUID", self.infiniband_guid.is_some(), false),
            ("ips", "ips", !self.ips.is_empty(), reads_ips),
            ("mac", "mac", self.mac.is_some(), reads_mac),
        ] {
            if asked && !heard && !declared(capability) {
                return Err(Error::config(format!(
                    "key \"{key}\" is asked for, but no plugin of network \"{}\" declares the capability \"{capability}\": \
                     add \"capabilities\": {{\"{capability}\": true}} to the plugin that has it, or remove the key",
                    list.name
                )));
            }
        }
        Ok(())
    }

    /// The runtime's capability arguments (`base`) with this request's over them.
    pub(crate) fn capability_args(&self, base: Json) -> Json {
        let mut args = if base.members().is_some() { base } else { Json::object() };
        if !self.port_mappings.is_empty() {
            args.set("portMappings", self.port_mappings.iter().map(port_mapping).collect::<Vec<_>>());
        }
        if let Some(rates) = &self.bandwidth {
            args.set("bandwidth", bandwidth(rates));
        }
        if !self.ips.is_empty() {
            args.set("ips", self.ips.iter().map(|ip| Json::from(ip.as_str())).collect::<Vec<_>>());
        }
        let device = self.device.as_ref().map(|d| &d.id).or(self.device_id.as_ref());
        for (key, value) in
            [("mac", self.mac.as_ref()), ("infinibandGUID", self.infiniband_guid.as_ref()), ("deviceID", device)]
        {
            if let Some(value) = value {
                args.set(key, value.as_str());
            }
        }
        if args.members().is_some_and(<[_]>::is_empty) { Json::Null } else { args }
    }

    /// The pairs for `CNI_ARGS`, as Multus adds them.
    pub(crate) fn args(&self) -> impl Iterator<Item = (String, String)> {
        let mac = self.mac.clone().map(|mac| ("MAC".to_owned(), mac));
        let ips = (!self.ips.is_empty()).then(|| ("IP".to_owned(), self.ips.join(",")));
        mac.into_iter().chain(ips)
    }
}

fn port_mapping(mapping: &PortMapping) -> Json {
    let mut object = Json::object();
    object.set("hostPort", u64::from(mapping.host_port));
    object.set("containerPort", u64::from(mapping.container_port));
    // The portmap plugin knows lower case only.
    object.set("protocol", mapping.protocol.as_deref().unwrap_or("tcp").to_ascii_lowercase());
    if let Some(ip) = mapping.host_ip.as_deref().filter(|ip| !ip.is_empty()) {
        object.set("hostIP", ip);
    }
    object
}

fn bandwidth(rates: &Bandwidth) -> Json {
    let mut object = Json::object();
    for (key, value) in [
        ("ingressRate", rates.ingress_rate),
        ("ingressBurst", rates.ingress_burst),
        ("egressRate", rates.egress_rate),
        ("egressBurst", rates.egress_burst),
    ] {
        if let Some(value) = value {
            object.set(key, value);
        }
    }
    object
}
