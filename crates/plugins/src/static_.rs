//! `static`: the addresses that the configuration, the runtime or CNI_ARGS names. Keeps nothing.

use std::net::IpAddr;

use cni::{Call, CniResult, Code, Dns, Error, Invoke, IpConfig, Json, Result, Route, Version};
use ipnet::IpNet;
use serde::Deserialize;

use crate::Plugin;
use crate::ipam::conf::{OptionalIp, fits_version};

/// The plugin of type `static`.
#[derive(Debug)]
pub struct Static;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NetConf {
    ipam: Option<IpamConf>,
    runtime_config: Ips,
    args: ArgsConf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IpamConf {
    addresses: Vec<AddressConf>,
    routes: Vec<Route>,
    dns: Dns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AddressConf {
    address: String,
    gateway: OptionalIp,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgsConf {
    cni: Ips,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ips {
    ips: Vec<String>,
}

/// What an ADD gives.
struct Config {
    ips: Vec<IpConfig>,
    routes: Vec<Route>,
    dns: Dns,
}

impl Plugin for Static {
    fn name(&self) -> &'static str {
        "static"
    }

    fn validate(&self, call: &Call) -> Result<()> {
        Config::load(call).map(drop)
    }

    fn add(&self, call: &Call, _delegates: &dyn Invoke) -> Result<CniResult> {
        let config = Config::load(call)?;
        let version = call.version()?;
        if version < Version::V0_3_0 && config.ips.is_empty() {
            return Err(Error::internal("cannot convert: no valid IP addresses").with_details(
                "results before 0.3.0 need an address: set \"ipam.addresses\", or a newer \"cniVersion\"",
            ));
        }
        let mut result = CniResult::empty(version);
        result.ips = config.ips;
        result.routes = config.routes;
        result.dns = config.dns;
        Ok(result)
    }

    fn del(&self, _call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        Ok(())
    }

    fn check(&self, call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        let config = Config::load(call)?;
        let Some(prev) = call.prev_result()? else { return Err(Error::config("Required prevResult missing")) };
        for ip in &config.ips {
            let address = ip.address.addr();
            let Some(gateway) = ip.gateway else { continue };
            let Some(found) = prev.ips.iter().find(|p| p.address.addr() == address) else { continue };
            if found.gateway != Some(gateway) {
                return Err(Error::internal(format!(
                    "static: Failed to match addr {address} on interface {}",
                    call.ifname
                ))
                .with_details(format!("its gateway is to be {gateway}, prevResult says {:?}", found.gateway)));
            }
        }
        Ok(())
    }

    fn status(&self, call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        Config::load(call).map(|_| ())
    }
}

impl Config {
    /// Addresses of the configuration and CNI_ARGS; in their place those of `args`, in their place those of the capability.
    fn load(call: &Call) -> Result<Config> {
        let net: NetConf = cni::json::from_json(&call.conf)?;
        let Some(ipam) = net.ipam else { return Err(Error::config("IPAM config missing 'ipam' key")) };
        let mut ips = Vec::with_capacity(ipam.addresses.len());
        let given = [net.args.cni.ips, net.runtime_config.ips];
        // What is replaced below need not make sense (the original's order).
        let replaced = given.iter().any(|given| !given.is_empty());
        for conf in ipam.addresses.iter().filter(|_| !replaced) {
            let expected =
                || format!("the 'address' field is expected to be in CIDR notation, got: '{}'", conf.address);
            ips.push(ip_config(&conf.address, conf.gateway.0).ok_or_else(|| Error::config(expected()))?);
        }
        from_cni_args(&call.args, &mut ips)?;
        for given in given.iter().filter(|given| !given.is_empty()) {
            ips.clear();
            for text in given {
                let expected = || format!("an entry in the 'ips' field is NOT in CIDR notation, got: '{text}'");
                ips.push(ip_config(text, None).ok_or_else(|| Error::config(expected()))?);
            }
        }
        let version = call.conf.get("cniVersion").and_then(Json::as_str).unwrap_or_default();
        let addresses: Vec<IpAddr> = ips.iter().map(|ip| ip.address.addr()).collect();
        fits_version(version, addresses.iter())?;
        Ok(Config { ips, routes: ipam.routes, dns: ipam.dns })
    }
}

/// `IP=a/l,b/l` adds addresses; `GATEWAY=g1,g2` sets the gateway of every address whose subnet holds it.
fn from_cni_args(raw: &str, ips: &mut Vec<IpConfig>) -> Result<()> {
    let invalid = |message: String| Error::new(Code::INVALID_ENVIRONMENT, message).with_details("in CNI_ARGS");
    let args = cni::args::load(raw, &["IP", "GATEWAY"])?;
    let list = |key| args.get(key).filter(|v| !v.is_empty()).into_iter().flat_map(|v| v.split(',')).map(str::trim);
    for text in list("IP") {
        let expected = || format!("the 'ip' field is expected to be in CIDR notation, got: '{text}'");
        ips.push(ip_config(text, None).ok_or_else(|| invalid(expected()))?);
    }
    for text in list("GATEWAY") {
        let gateway: IpAddr = text.parse().map_err(|_| invalid(format!("invalid gateway address: {text}")))?;
        let gateway = gateway.to_canonical();
        for ip in ips.iter_mut().filter(|ip| ip.address.contains(&gateway)) {
            ip.gateway = Some(gateway);
        }
    }
    Ok(())
}

/// An address with its prefix length; `None` if it is not one. IPv4 in IPv6 clothes becomes IPv4 where the prefix length allows it.
fn ip_config(text: &str, gateway: Option<IpAddr>) -> Option<IpConfig> {
    let address = cni::net::parse(text)?;
    let canonical = address.addr().to_canonical();
    let address = if canonical == address.addr() {
        address
    } else {
        IpNet::new(canonical, address.prefix_len().checked_sub(96)?).ok()?
    };
    Some(IpConfig { interface: None, address, gateway })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_current() {
        let section = testkit::Document::open("configuration.md").section("### static");
        let known = testkit::keys::<NetConf>();
        assert_eq!(section.differences(&known), [""; 0]);
    }
}
