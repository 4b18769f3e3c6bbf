//! The annotation `k8s.v1.cni.cncf.io/network-status`: what a pod's networks became, for people and for other programs.
//!
//! Owns: turning results into entries (NPWG specification v1.3, section 5; Multus's keys and order beside it). Every network has an entry,
//! also one whose plugin made no interface.

use std::net::IpAddr;

use cni::{CniResult, Interface, Json};

/// One attached network.
#[derive(Clone, Debug)]
pub struct Attached<'a> {
    /// `namespace/name` of the definition, or the CNI network's name where there is none.
    pub name: &'a str,
    /// The interface that was asked for or chosen.
    pub ifname: &'a str,
    /// What its plugins returned.
    pub result: &'a CniResult,
    /// It is the pod's default network.
    pub default: bool,
    /// The pod's annotation asked for its default route over these gateways.
    pub default_route: &'a [IpAddr],
    /// What a device plugin or a CNI plugin says of the device.
    pub device_info: Option<&'a Json>,
}

/// The annotation's value, indented as Multus does.
#[must_use]
pub fn network_status(networks: &[Attached<'_>]) -> String {
    let entries = Json::Array(networks.iter().flat_map(entries).collect());
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, format);
    // Writing a tree with string keys into a Vec cannot fail, and it is UTF-8.
    let _ = serde::Serialize::serialize(&entries, &mut serializer);
    String::from_utf8(text).unwrap_or_default()
}

/// The entries of one network: one, or one for each interface in the pod where a plugin made several.
fn entries(network: &Attached<'_>) -> Vec<Json> {
    let result = network.result;
    let in_pod: Vec<(usize, &Interface)> =
        result.interfaces.iter().enumerate().filter(|(_, i)| !i.sandbox.is_empty()).collect();
    match in_pod.as_slice() {
        [] => vec![entry(network, None, &all_ips(result), network.default)],
        [(_, only)] => vec![entry(network, Some(only), &all_ips(result), network.default)],
        [.., (last, _)] => {
            // The pod's default interface is the one whose address has a gateway; the first where none has.
            let with_gateway = result.ips.iter().find(|ip| ip.gateway.is_some()).and_then(|ip| ip.interface);
            let default = with_gateway.filter(|at| in_pod.iter().any(|(i, _)| i == at)).unwrap_or(in_pod[0].0);
            let of = |at: usize| {
                let ips = result.ips.iter().filter(move |ip| ip.interface.unwrap_or(*last) == at);
                ips.map(|ip| ip.address.addr().to_string()).collect::<Vec<_>>()
            };
            let made =
                in_pod.iter().map(|(at, i)| entry(network, Some(i), &of(*at), network.default && *at == default));
            made.collect()
        }
    }
}

fn all_ips(result: &CniResult) -> Vec<String> {
    result.ips.iter().map(|ip| ip.address.addr().to_string()).collect()
}

fn entry(network: &Attached<'_>, interface: Option<&Interface>, ips: &[String], default: bool) -> Json {
    let mut entry = Json::object();
    let texts = |list: &[String]| Json::Array(list.iter().map(|t| Json::from(t.as_str())).collect());
    entry.set("name", network.name);
    entry.set("interface", interface.map_or(network.ifname, |i| i.name.as_str()));
    if !ips.is_empty() {
        entry.set("ips", texts(ips));
    }
    if let Some(interface) = interface {
        if !interface.mac.is_empty() {
            entry.set("mac", interface.mac.as_str());
        }
        if let Some(mtu) = interface.mtu.filter(|mtu| *mtu > 0) {
            entry.set("mtu", mtu);
        }
    }
    if default {
        entry.set("default", true);
    }
    entry.set("dns", Json::from_value(&network.result.dns).unwrap_or(Json::object()));
    if let Some(info) = network.device_info {
        entry.set("device-info", info.clone());
    }
    let gateways: Vec<String> = network
        .result
        .routes
        .iter()
        .filter(|route| route.is_default())
        .filter_map(|route| route.gw)
        .map(|gateway| gateway.to_string())
        .collect();
    if !gateways.is_empty() {
        entry.set("gateway", texts(&gateways));
    }
    if !network.default_route.is_empty() {
        let asked: Vec<String> = network.default_route.iter().map(IpAddr::to_string).collect();
        entry.set("default-route", texts(&asked));
    }
    entry
}

#[cfg(test)]
mod tests {
    use cni::Version;

    use super::*;

    fn status(result: serde_json::Value, default: bool, default_route: &[IpAddr]) -> serde_json::Value {
        let result = CniResult::from_json(&Json::from(result), Version::CURRENT).unwrap();
        let attached =
            Attached { name: "blue/n", ifname: "net1", result: &result, default, default_route, device_info: None };
        serde_json::from_str(&network_status(&[attached])).unwrap()
    }

    #[test]
    fn one_interface_as_multus_writes_it() {
        let got = status(
            serde_json::json!({"cniVersion": "1.0.0",
                "interfaces": [{"name": "cni0"}, {"name": "vethx"}, {"name": "eth0", "mac": "8e:31:0c:aa:10:02", "sandbox": "/n"}],
                "ips": [{"address": "10.244.1.7/24", "gateway": "10.244.1.1", "interface": 2}],
                "routes": [{"dst": "10.244.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]}),
            true,
            &[],
        );
        let expected = serde_json::json!([{"name": "blue/n", "interface": "eth0", "ips": ["10.244.1.7"], "mac": "8e:31:0c:aa:10:02",
            "default": true, "dns": {}, "gateway": ["10.244.1.1"]}]);
        assert_eq!(got, expected);
    }

    #[test]
    fn no_interface_has_an_entry_too() {
        let got = status(serde_json::json!({"cniVersion": "1.0.0"}), false, &[]);
        assert_eq!(got, serde_json::json!([{"name": "blue/n", "interface": "net1", "dns": {}}]));
    }

    #[test]
    fn a_default_route_without_gateway_is_not_a_gateway() {
        let got = status(serde_json::json!({"cniVersion": "1.0.0", "routes": [{"dst": "0.0.0.0/0"}]}), false, &[]);
        assert!(got[0].get("gateway").is_none());
    }

    #[test]
    fn several_interfaces_in_the_pod() {
        let got = status(
            serde_json::json!({"cniVersion": "1.1.0",
                "interfaces": [{"name": "a", "sandbox": "/n"}, {"name": "b", "sandbox": "/n", "mtu": 1400}, {"name": "host"}],
                "ips": [{"address": "10.0.0.1/24", "interface": 0}, {"address": "10.0.1.1/24", "gateway": "10.0.1.254", "interface": 1},
                        {"address": "10.0.2.1/24"}]}),
            true,
            &["10.0.1.254".parse().unwrap()],
        );
        let expected = serde_json::json!([
            {"name": "blue/n", "interface": "a", "ips": ["10.0.0.1"], "dns": {}, "default-route": ["10.0.1.254"]},
            {"name": "blue/n", "interface": "b", "ips": ["10.0.1.1", "10.0.2.1"], "mtu": 1400, "default": true, "dns": {}, "default-route": ["10.0.1.254"]}]);
        assert_eq!(got, expected);
    }
}
