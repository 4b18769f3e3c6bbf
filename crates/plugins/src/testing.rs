//! For the unit tests of this crate: calls and results, from what a test is about and nothing else.

use std::fmt::Display;

use cni::{Call, CniResult, Command, IpConfig, Json, Route, Version};

/// An ADD of container `id`, interface `eth0`, in no namespace.
pub(crate) fn call(conf: impl Display) -> Call {
    Call {
        command: Command::Add,
        container_id: "id".into(),
        netns: String::new(),
        ifname: "eth0".into(),
        args: String::new(),
        path: Vec::new(),
        netns_override: false,
        conf: Json::parse(conf.to_string().as_bytes()).unwrap().into(),
    }
}

/// A result with these addresses of the interface at this place, and their gateways; and these routes.
pub(crate) fn result(
    interface: Option<usize>,
    ips: &[(&str, Option<&str>)],
    routes: &[(&str, Option<&str>)],
) -> CniResult {
    let gateway = |of: Option<&str>| of.map(|g| g.parse().unwrap());
    let ip = |(address, via): &(&str, Option<&str>)| IpConfig {
        interface,
        address: address.parse().unwrap(),
        gateway: gateway(*via),
    };
    let mut result = CniResult::empty(Version::V1_1_0);
    result.ips = ips.iter().map(ip).collect();
    result.routes = routes.iter().map(|(dst, via)| Route::new(dst.parse().unwrap(), gateway(*via))).collect();
    result
}
