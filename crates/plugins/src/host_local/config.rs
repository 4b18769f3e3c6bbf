//! The configuration of host-local: what DEL needs of it, and all of it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::{Call, Code, Dns, Error, Json, Result, Route};
use serde::Deserialize;

use super::range::{RangeConf, RangeSet};
use crate::ipam::conf::{OptionalIp, RequestedIp, fits_version};

/// Where reservations are kept unless `dataDir` says otherwise.
const DATA_DIR: &str = "/var/lib/cni/networks";

/// What an ADD needs to know.
#[derive(Debug)]
pub(super) struct Config {
    /// One address of each.
    pub(super) sets: Vec<RangeSet>,
    /// Addresses that the runtime asks for, each once, in the order CNI_ARGS, `args`, capability.
    pub(super) requested: Vec<IpAddr>,
    pub(super) routes: Vec<Route>,
    pub(super) dns: Dns,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NetConf {
    ipam: Option<IpamConf>,
    runtime_config: RuntimeConf,
    args: ArgsConf,
    capabilities: CapabilitiesConf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IpamConf {
    subnet: String,
    range_start: OptionalIp,
    range_end: OptionalIp,
    gateway: OptionalIp,
    ranges: Vec<Vec<RangeConf>>,
    routes: Vec<Route>,
    resolv_conf: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RuntimeConf {
    ip_ranges: Vec<Vec<RangeConf>>,
    ips: Vec<RequestedIp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgsConf {
    cni: CniArgs,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CniArgs {
    ips: Vec<RequestedIp>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CapabilitiesConf {
    ip_ranges: bool,
}

/// The network's directory: all that DEL, CHECK and GC need, so that a mistake elsewhere in the configuration does not keep addresses from
/// being given back.
///
/// # Errors
/// Code 7 for a network name that is no plain file name, 6 for a `dataDir` that is not a string.
pub(super) fn directory(call: &Call) -> Result<PathBuf> {
    let name = call.network();
    cni::names::network(name)?;
    Ok(data_dir(&call.conf)?.join(name))
}

/// The directory of all networks' directories.
///
/// # Errors
/// Code 6 for a `dataDir` that is not a string.
pub(super) fn data_dir(conf: &Json) -> Result<&Path> {
    match conf.get("ipam").and_then(|ipam| ipam.get("dataDir")) {
        None => Ok(Path::new(DATA_DIR)),
        Some(Json::String(dir)) if dir.is_empty() => Ok(Path::new(DATA_DIR)),
        Some(Json::String(dir)) if !dir.contains('\0') => Ok(Path::new(dir)),
        Some(_) => Err(Error::new(Code::DECODE, "key \"ipam.dataDir\": must be a string, the path of a directory")),
    }
}

impl Config {
    /// The whole configuration.
    ///
    /// # Errors
    /// Code 4 for CNI_ARGS, 6 for a value of the wrong type, 7 for values that cannot work, in the original's words.
    pub(super) fn load(call: &Call) -> Result<Config> {
        let net: NetConf = cni::json::from_json(&call.conf)?;
        let Some(ipam) = net.ipam else { return Err(Error::config("IPAM config missing 'ipam' key")) };
        let mut requested: Vec<IpAddr> = Vec::new();
        let args = cni::args::load(&call.args, &["IP"])?;
        // Several where a pod asks for one of each family: the meta-plugin joins them, as static reads them.
        let from_args = args.get("IP").filter(|ips| !ips.is_empty()).into_iter().flat_map(|ips| ips.split(','));
        let from_args = from_args.map(|ip| ip.trim().parse::<RequestedIp>()).collect::<Result<Vec<_>, _>>();
        let from_args = from_args.map_err(|e| Error::new(Code::INVALID_ENVIRONMENT, format!("CNI_ARGS: IP: {e}")))?;
        for RequestedIp(ip) in from_args.into_iter().chain(net.args.cni.ips).chain(net.runtime_config.ips) {
            if !requested.contains(&ip) {
                requested.push(ip);
            }
        }
        // The runtime's ranges come first, then the old form's single one: the order numbers the files last_reserved_ip.N.
        let mut configured = net.runtime_config.ip_ranges;
        if !ipam.subnet.is_empty() {
            configured.push(vec![RangeConf {
                subnet: ipam.subnet,
                range_start: ipam.range_start,
                range_end: ipam.range_end,
                gateway: ipam.gateway,
            }]);
        }
        configured.extend(ipam.ranges);
        let sets = range_sets(&configured)?;
        // A network whose ranges come from the runtime has none when its status is asked for.
        if sets.is_empty() && !(call.command == cni::Command::Status && net.capabilities.ip_ranges) {
            return Err(Error::config("no IP ranges specified")
                .with_details("set \"ipam\": {\"subnet\": ...} or \"ranges\": [[{\"subnet\": ...}]]"));
        }
        let version = call.conf.get("cniVersion").and_then(Json::as_str).unwrap_or_default();
        fits_version(version, sets.iter().filter_map(|s| s.0.first()).map(|r| &r.start))?;
        let dns = if ipam.resolv_conf.is_empty() { Dns::default() } else { resolv_conf(&ipam.resolv_conf)? };
        Ok(Config { sets, requested, routes: ipam.routes, dns })
    }
}

fn range_sets(configured: &[Vec<RangeConf>]) -> Result<Vec<RangeSet>> {
    let mut sets = Vec::with_capacity(configured.len());
    for (i, set) in configured.iter().enumerate() {
        sets.push(RangeSet::new(set).map_err(|e| Error::config(format!("invalid range set {i}: {e}")))?);
    }
    for (i, a) in sets.iter().enumerate() {
        if let Some(j) = (i + 1..sets.len()).find(|j| a.overlaps(&sets[*j])) {
            return Err(Error::config(format!("range set {i} overlaps with {j}")));
        }
    }
    Ok(sets)
}

/// Name resolution as a resolv.conf(5) file says it.
fn resolv_conf(path: &str) -> Result<Dns> {
    let failed = |why: &str| Error::new(Code::IO, format!("key \"ipam.resolvConf\": failed to read \"{path}\": {why}"));
    let bytes = cni::file::read(path.as_ref(), 1 << 20)?.ok_or_else(|| failed("no such file or directory"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| failed("it is not UTF-8 text"))?;
    Ok(parse_resolv_conf(text))
}

fn parse_resolv_conf(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
        let all = || std::iter::once(value).chain(words).map(str::to_owned);
        match key {
            "nameserver" => dns.nameservers.push(value.to_owned()),
            "domain" => value.clone_into(&mut dns.domain),
            "search" => dns.search.extend(all()),
            "options" => dns.options.extend(all()),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_current() {
        let section = testkit::Document::open("configuration.md").section("### host-local");
        let mut known = testkit::keys::<NetConf>();
        // Read apart, for DEL.
        known.insert("ipam.dataDir".to_owned(), Vec::new());
        assert_eq!(section.differences(&known), [""; 0]);
    }
}
