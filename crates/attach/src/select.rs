//! Which networks a pod asks for: the annotations `k8s.v1.cni.cncf.io/networks` and `v1.multus-cni.io/default-network` as values.
//!
//! Owns: both forms of the annotation (NPWG multi-network specification v1.3, section 4.1), the validation of every key, and the messages
//! that say which element and key is wrong. What the networks are is looked up elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::json::{self, from_json};
use cni::{Error, Json, Result};
use serde::Deserialize;

/// The annotation with a pod's additional networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation that replaces a pod's default network.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// One network that a pod asks for (a "network selection element").
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Name of the NetworkAttachmentDefinition.
    pub name: String,
    /// Its namespace; the pod's where the annotation has none.
    pub namespace: String,
    /// The interface's name in the pod; chosen by position where absent.
    pub interface: Option<String>,
    /// Addresses asked for, with or without prefix length, as written.
    pub ips: Vec<String>,
    /// MAC address asked for, as written.
    pub mac: Option<String>,
    /// InfiniBand GUID asked for, as written.
    pub infiniband_guid: Option<String>,
    /// Ports of the host that lead to the pod.
    pub port_mappings: Vec<PortMapping>,
    /// Rates.
    pub bandwidth: Option<Bandwidth>,
    /// Merged over the definition's `args.cni`.
    pub cni_args: Option<Json>,
    /// Gateways of the pod's default route over this network; an empty list means that this network's own default routes are dropped.
    pub default_route: Option<Vec<IpAddr>>,
    /// Metric of that default route (a key of Plexus).
    pub default_route_metric: Option<u32>,
    /// A device, where none was allocated for the network.
    pub device_id: Option<String>,
    /// Name of an IPAMClaim whose address the IPAM plugin shall use.
    pub ipam_claim_reference: Option<String>,
}

/// One port of the host that leads to the pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port on the host, 1 to 65535.
    pub host_port: u16,
    /// Port in the pod, 1 to 65535.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`, in any case; tcp where absent.
    #[serde(default)]
    pub protocol: Option<String>,
    /// Address of the host; all where absent.
    #[serde(default, rename = "hostIP")]
    pub host_ip: Option<String>,
}

/// Rates in bits per second and bursts in bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Bandwidth {
    /// To the pod.
    pub ingress_rate: Option<u64>,
    /// To the pod.
    pub ingress_burst: Option<u64>,
    /// From the pod.
    pub egress_rate: Option<u64>,
    /// From the pod.
    pub egress_burst: Option<u64>,
}

/// An element as it is written.
#[derive(Deserialize)]
struct Element {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
    interface: Option<String>,
    /// Multus's older name of `interface`.
    #[serde(rename = "interfaceRequest")]
    interface_request: Option<String>,
    ips: Option<Vec<String>>,
    mac: Option<String>,
    #[serde(rename = "infiniband-guid")]
    infiniband_guid: Option<String>,
    #[serde(rename = "portMappings")]
    port_mappings: Option<Vec<PortMapping>>,
    bandwidth: Option<Bandwidth>,
    #[serde(rename = "cni-args")]
    cni_args: Option<Json>,
    #[serde(rename = "default-route")]
    default_route: Option<Vec<String>>,
    #[serde(rename = "default-route-metric")]
    default_route_metric: Option<u32>,
    #[serde(rename = "deviceID")]
    device_id: Option<String>,
    #[serde(rename = "ipam-claim-reference")]
    ipam_claim_reference: Option<String>,
}

/// Reads an annotation's value; `pod_namespace` is where names without a namespace are.
///
/// An absent or empty annotation asks for nothing.
///
/// # Errors
/// Code 7, naming the annotation, the element, the key, and what would be right.
pub fn parse(annotation: &str, value: &str, pod_namespace: &str) -> Result<Vec<Selection>> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(Vec::new());
    }
    // Multus takes a value for JSON if any of these is anywhere in it.
    let elements = if value.contains(['[', '{', '"']) { json_form(value) } else { short_form(value) };
    let elements = elements.map_err(|what| Error::config(format!("annotation {annotation}: {what}")))?;
    let selections = elements.into_iter().enumerate().map(|(at, element)| {
        let name = element.name.clone();
        element
            .check(pod_namespace)
            .map_err(|what| Error::config(format!("annotation {annotation}: element {} (\"{name}\"): {what}", at + 1)))
    });
    let selections = selections.collect::<Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    for interface in selections.iter().filter_map(|s| s.interface.as_deref()) {
        if !names.insert(interface) {
            let what = format!("interface \"{interface}\" is asked for twice; give each network a name of its own");
            return Err(Error::config(format!("annotation {annotation}: {what}")));
        }
    }
    Ok(selections)
}

/// `[{"name": ..}, ..]`.
fn json_form(value: &str) -> Result<Vec<Element>, String> {
    let tree = Json::parse(value.as_bytes()).map_err(|e| format!("not valid JSON: {e}"))?;
    let elements = tree.elements().ok_or("must be a JSON list of objects: [{\"name\": \"..\"}]")?;
    let read = |(at, element): (usize, &Json)| match element {
        Json::Object(_) => from_json(element).map_err(|e: json::Error| format!("element {}: {e}", at + 1)),
        _ => Err(format!("element {}: must be an object: {{\"name\": \"..\"}}", at + 1)),
    };
    elements.iter().enumerate().map(read).collect()
}

/// `name`, `namespace/name`, `name@interface`, separated by commas.
fn short_form(value: &str) -> Result<Vec<Element>, String> {
    value.split(',').map(str::trim).map(short_element).collect()
}

fn short_element(item: &str) -> Result<Element, String> {
    let wrong = || format!("\"{item}\" is not [namespace/]name[@interface]");
    let (path, interface) = match item.split_once('@') {
        Some((_, interface)) if interface.contains(['@', '/']) => return Err(wrong()),
        Some((path, interface)) => (path.trim(), Some(interface.trim().to_owned())),
        None => (item, None),
    };
    let (namespace, name) = match path.split_once('/') {
        Some((_, name)) if name.contains('/') => return Err(wrong()),
        Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
        None => (None, path.to_owned()),
    };
    if name.is_empty() {
        return Err(format!("{}; is there a comma too many?", wrong()));
    }
    Ok(Element {
        name,
        namespace,
        interface,
        interface_request: None,
        ips: None,
        mac: None,
        infiniband_guid: None,
        port_mappings: None,
        bandwidth: None,
        cni_args: None,
        default_route: None,
        default_route_metric: None,
        device_id: None,
        ipam_claim_reference: None,
    })
}

impl Element {
    /// The element as a selection, every key checked.
    fn check(self, pod_namespace: &str) -> Result<Selection, String> {
        // The specification wants DNS-1123 names; a definition's name may hold dots (a subdomain), a namespace's may not (a label).
        if !is_subdomain(&self.name) {
            return Err(format!("key \"name\": \"{}\" is not the name of a NetworkAttachmentDefinition", self.name));
        }
        let namespace = given(self.namespace).unwrap_or_else(|| pod_namespace.to_owned());
        if !is_label(&namespace) {
            return Err(format!("key \"namespace\": \"{namespace}\" is not the name of a namespace"));
        }
        let interface = given(self.interface).or(given(self.interface_request));
        if let Some(name) = &interface {
            check_interface(name)?;
        }
        let ips = self.ips.unwrap_or_default();
        for (at, ip) in ips.iter().enumerate() {
            if ip.parse::<IpAddr>().is_err() && cni::net::parse(ip).is_none() {
                return Err(format!("key \"ips[{at}]\": \"{ip}\" is not an address (10.1.2.3 or 10.1.2.3/24)"));
            }
        }
        let mac = given(self.mac);
        if let Some(mac) = mac.as_deref().filter(|m| !is_hardware_address(m, 6)) {
            return Err(format!("key \"mac\": \"{mac}\" is not a MAC address of 6 bytes (02:11:22:33:44:55)"));
        }
        let guid = given(self.infiniband_guid);
        if let Some(guid) = guid.as_deref().filter(|g| !is_hardware_address(g, 8)) {
            return Err(format!(
                "key \"infiniband-guid\": \"{guid}\" is not a GUID of 8 bytes (02:11:22:33:44:55:66:77)"
            ));
        }
        let port_mappings = self.port_mappings.unwrap_or_default();
        for (at, mapping) in port_mappings.iter().enumerate() {
            mapping.check().map_err(|what| format!("key \"portMappings[{at}]{what}"))?;
        }
        if let Some(bandwidth) = &self.bandwidth {
            bandwidth.check()?;
        }
        if self.cni_args.as_ref().is_some_and(|a| a.members().is_none()) {
            return Err("key \"cni-args\": must be an object".to_owned());
        }
        let default_route = self.default_route.map(gateways).transpose()?;
        if self.default_route_metric.is_some() && default_route.as_ref().is_none_or(Vec::is_empty) {
            return Err("key \"default-route-metric\": needs a gateway in \"default-route\"".to_owned());
        }
        let ipam_claim_reference = given(self.ipam_claim_reference);
        // Specification v1.3: one of the two decides the address, both together decide nothing.
        if ipam_claim_reference.is_some() && !ips.is_empty() {
            return Err("keys \"ips\" and \"ipam-claim-reference\" exclude each other: remove one".to_owned());
        }
        Ok(Selection {
            name: self.name,
            namespace,
            interface,
            ips,
            mac,
            infiniband_guid: guid,
            port_mappings,
            bandwidth: self.bandwidth,
            cni_args: self.cni_args,
            default_route,
            default_route_metric: self.default_route_metric,
            device_id: given(self.device_id),
            ipam_claim_reference,
        })
    }
}

/// Go's zero value: an empty string is as good as none.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

fn gateways(list: Vec<String>) -> Result<Vec<IpAddr>, String> {
    let read = |(at, text): (usize, String)| {
        let ip: IpAddr =
            text.parse().map_err(|_| format!("key \"default-route[{at}]\": \"{text}\" is not an IP address"))?;
        // IPv4 written as IPv6 (`::ffff:10.0.0.1`) is IPv4, as everywhere.
        Ok(ip.to_canonical())
    };
    list.into_iter().enumerate().map(read).collect()
}

impl PortMapping {
    fn check(&self) -> Result<(), String> {
        if self.host_port == 0 {
            return Err(".hostPort\": 0 is not a port (1 to 65535)".to_owned());
        }
        if self.container_port == 0 {
            return Err(".containerPort\": 0 is not a port (1 to 65535)".to_owned());
        }
        let protocol = self.protocol.as_deref().unwrap_or("tcp");
        if !["tcp", "udp", "sctp"].iter().any(|p| protocol.eq_ignore_ascii_case(p)) {
            return Err(format!(".protocol\": \"{protocol}\" is none of TCP, UDP, SCTP"));
        }
        match self.host_ip.as_deref() {
            Some(ip) if !ip.is_empty() && ip.parse::<IpAddr>().is_err() => {
                Err(format!(".hostIP\": \"{ip}\" is not an IP address"))
            }
            _ => Ok(()),
        }
    }
}

impl Bandwidth {
    fn check(&self) -> Result<(), String> {
        let pairs =
            [("ingress", self.ingress_rate, self.ingress_burst), ("egress", self.egress_rate, self.egress_burst)];
        for (way, rate, burst) in pairs {
            match (rate, burst) {
                (Some(0), _) => {
                    return Err(format!(
                        "key \"bandwidth.{way}Rate\": 0 lets nothing through; leave it out for no limit"
                    ));
                }
                (_, Some(0)) => return Err(format!("key \"bandwidth.{way}Burst\": 0 lets nothing through")),
                (None, Some(_)) => return Err(format!("key \"bandwidth.{way}Burst\": needs \"{way}Rate\" beside it")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A DNS-1123 label: at most 63 of a-z, 0-9 and `-`, not at the ends.
fn is_label(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(|b| edge(b) || *b == b'-')
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
}

/// A DNS-1123 subdomain: labels joined by dots, at most 253 bytes.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// What the kernel (dev_valid_name) and the CNI specification allow.
fn check_interface(name: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("key \"interface\": \"{name}\" {what}"));
    match name {
        "." | ".." => wrong("is not a name"),
        "lo" => wrong("is the pod's loopback; choose another name"),
        _ if name.len() > 15 => wrong("has more than 15 bytes"),
        _ if cni::names::interface(name).is_err() => wrong("holds a slash, a colon, a zero byte or white space"),
        _ => Ok(()),
    }
}

/// Groups of two hex digits joined by colons or dashes, or of four joined by dots (what Go's ParseMAC reads), `length` bytes in all.
fn is_hardware_address(text: &str, length: usize) -> bool {
    let (separator, width) = match text {
        t if t.contains('.') => ('.', 4),
        t if t.contains('-') => ('-', 2),
        _ => (':', 2),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    groups.len() * width == length * 2
        && groups.iter().all(|g| g.len() == width && g.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests;
