//! The configuration that flannel hands to its delegate.

use std::net::IpAddr;

use cni::{Call, Error, Json, Result};
use ipnet::IpNet;

use super::subnet::Subnet;

/// Builds the delegate's configuration.
///
/// # Errors
/// Code 7 naming the key that must not be there or has the wrong type.
pub(super) fn build(call: &Call, subnet: &Subnet) -> Result<Json> {
    let conf = &call.conf;
    let mut delegate = object(conf, "delegate")?;
    for (key, from) in
        [("name", "the network's own name"), ("ipam", "flannel and the key \"ipam\" beside \"delegate\"")]
    {
        if delegate.get(key).is_some() {
            return Err(Error::config(format!(
                "'delegate' dictionary must not have '{key}' field, it'll be set by flannel from {from}: remove it"
            )));
        }
    }
    let plugin = plugin(call)?.to_owned();
    delegate.set("name", call.network());
    if delegate.get("type").is_none() {
        delegate.set("type", plugin.as_str());
    }
    if delegate.get("ipMasq").is_none() {
        // If flanneld does not, the delegate should.
        delegate.set("ipMasq", !subnet.masquerades);
    }
    if delegate.get("mtu").is_none() {
        delegate.set("mtu", u64::from(subnet.mtu));
    }
    if plugin == "bridge" && delegate.get("isGateway").is_none() {
        delegate.set("isGateway", true);
    }
    if let Some(version) = conf.get("cniVersion").and_then(Json::as_str).filter(|v| !v.is_empty()) {
        delegate.set("cniVersion", version);
    }
    if let Some(runtime) = conf.get("runtimeConfig") {
        delegate.set("runtimeConfig", runtime.clone());
    }
    delegate.set("ipam", ipam(conf, subnet)?);
    Ok(delegate)
}

/// The delegate's type: `delegate.type`, else `bridge`.
///
/// # Errors
/// Code 7 if it is not a string.
pub(super) fn plugin(call: &Call) -> Result<&str> {
    let Some(plugin) = call.conf.get("delegate").and_then(|d| d.get("type")) else { return Ok("bridge") };
    plugin.as_str().ok_or_else(|| Error::config("'delegate' dictionary, if present, must have (string) 'type' field"))
}

/// An object of the configuration; empty where it is absent.
fn object(conf: &Json, key: &str) -> Result<Json> {
    match conf.get(key) {
        None => Ok(Json::object()),
        Some(found) if found.members().is_some() => Ok(found.clone()),
        Some(_) => Err(Error::config(format!("key \"{key}\" must be an object"))),
    }
}

/// The base `ipam` of the configuration with this node's ranges and a route to every flannel network.
fn ipam(conf: &Json, subnet: &Subnet) -> Result<Json> {
    let mut ipam = object(conf, "ipam")?;
    if ipam.get("type").is_none() {
        ipam.set("type", "host-local");
    }
    let nets = [subnet.v4.map(IpNet::from), subnet.v6.map(IpNet::from)];
    let ranges = nets.into_iter().flatten().map(|net| {
        let mut range = Json::object();
        range.set("subnet", net.to_string());
        // One set of one range per family.
        Json::Array(vec![range])
    });
    ipam.set("ranges", ranges.collect::<Vec<_>>());
    let mut routes = match ipam.get("routes") {
        None => Vec::new(),
        Some(Json::Array(routes)) => routes.clone(),
        Some(_) => return Err(Error::config("key \"ipam.routes\" must be a list")),
    };
    for (at, route) in routes.iter().enumerate() {
        check_route(route).map_err(|why| Error::config(format!("key \"ipam.routes[{at}]\": {why}")))?;
    }
    for network in &subnet.networks {
        let mut route = Json::object();
        route.set("dst", network.to_string());
        routes.push(route);
    }
    ipam.set("routes", routes);
    Ok(ipam)
}

fn check_route(route: &Json) -> Result<(), &'static str> {
    let text = |key| route.get(key).map(|v| v.as_str().ok_or("\"dst\" and \"gw\" must be strings")).transpose();
    let dst = text("dst")?.ok_or("\"dst\" is missing")?;
    cni::net::parse(dst).ok_or("\"dst\" is not an address with prefix length")?;
    match text("gw")? {
        Some(gw) if gw.parse::<IpAddr>().is_err() => Err("\"gw\" is not an address"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
