//! A result in 1.1.0 form as the other versions write it: the cases say each expectation once.
//!
//! Owns: an independent reading of the specification's conversions (not the code under test).

use serde_json::{Map, Value, json};

/// All versions, oldest first.
pub const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The place of a version in [`VERSIONS`].
///
/// # Panics
/// If it is none.
#[must_use]
pub fn rank(version: &str) -> usize {
    VERSIONS.iter().position(|v| *v == version).unwrap_or_else(|| panic!("unknown version {version}"))
}

/// What the originals print for this result in `version`.
#[must_use]
pub fn downgrade(result: &Value, version: &str) -> Value {
    let empty = Vec::new();
    let list = |key: &str| result.get(key).and_then(Value::as_array).unwrap_or(&empty).clone();
    let mut out = Map::new();
    out.insert("cniVersion".into(), version.into());
    let dns = result.get("dns").cloned();
    if rank(version) >= rank("1.0.0") {
        for key in ["interfaces", "ips", "routes", "dns"] {
            if let Some(value) = result.get(key) {
                out.insert(key.into(), value.clone());
            }
        }
        return Value::Object(out);
    }
    out.insert("dns".into(), dns.unwrap_or_else(|| json!({})));
    if rank(version) >= rank("0.3.0") {
        for key in ["interfaces", "routes"] {
            if let Some(value) = result.get(key) {
                out.insert(key.into(), value.clone());
            }
        }
        let with_version = |mut ip: Value| {
            ip["version"] = if is_v6(ip["address"].as_str().unwrap_or("")) { "6" } else { "4" }.into();
            ip
        };
        if result.get("ips").is_some() {
            out.insert("ips".into(), list("ips").into_iter().map(with_version).collect());
        }
        return Value::Object(out);
    }
    for (key, v6) in [("ip4", false), ("ip6", true)] {
        let Some(ip) = list("ips").into_iter().find(|ip| is_v6(ip["address"].as_str().unwrap_or("")) == v6) else {
            continue;
        };
        let mut family = Map::from_iter([("ip".to_owned(), ip["address"].clone())]);
        if let Some(gateway) = ip.get("gateway") {
            family.insert("gateway".into(), gateway.clone());
        }
        let routes = list("routes").into_iter().filter(|r| is_v6(r["dst"].as_str().unwrap_or("")) == v6);
        let routes: Vec<Value> = routes
            .map(|r| {
                let kept = ["dst", "gw"].into_iter().filter_map(|k| Some((k.to_owned(), r.get(k)?.clone())));
                Value::Object(kept.collect())
            })
            .collect();
        if !routes.is_empty() {
            family.insert("routes".into(), routes.into());
        }
        out.insert(key.into(), Value::Object(family));
    }
    Value::Object(out)
}

fn is_v6(address: &str) -> bool {
    address.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_all_versions() {
        let result = json!({"interfaces": [{"name": "eth0"}], "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 0},
            {"address": "fd00::2/64"}], "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": 9}, {"dst": "::/0"}]});
        assert_eq!(
            downgrade(&result, "0.2.0"),
            json!({"cniVersion": "0.2.0", "dns": {},
                "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]},
                "ip6": {"ip": "fd00::2/64", "routes": [{"dst": "::/0"}]}})
        );
        let middle = downgrade(&result, "0.4.0");
        assert_eq!((&middle["ips"][0]["version"], &middle["ips"][1]["version"]), (&json!("4"), &json!("6")));
        assert_eq!((&middle["dns"], &middle["routes"]), (&json!({}), &result["routes"]));
        let newest = downgrade(&result, "1.1.0");
        assert_eq!((newest.get("dns"), &newest["ips"]), (None, &result["ips"]));
    }
}
