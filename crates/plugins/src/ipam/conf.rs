//! Pieces of configuration that IPAM plugins share, read as the originals read them.
//!
//! Owns: addresses as text (`""` is "not given", IPv4 in IPv6 clothes is IPv4), and addresses that a runtime asks for. Routes are read as those
//! of a result are.

use std::net::IpAddr;
use std::str::FromStr;

use cni::{Code, Error, Result};
use serde::de::{Deserialize, Deserializer, Error as _};

/// An address in a configuration; empty text is as good as absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OptionalIp(pub(crate) Option<IpAddr>);

impl<'de> Deserialize<'de> for OptionalIp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(OptionalIp(None));
        }
        match IpAddr::from_str(&text) {
            Ok(ip) => Ok(OptionalIp(Some(ip.to_canonical()))),
            Err(_) => Err(D::Error::custom(format!("invalid IP address: {text}"))),
        }
    }
}

/// An address that a runtime asks for: the prefix length may be there and does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestedIp(pub(crate) IpAddr);

impl FromStr for RequestedIp {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let ip = if s.contains('/') { cni::net::parse(s).map(|n| n.addr()) } else { s.parse().ok() };
        ip.map(|ip: IpAddr| RequestedIp(ip.to_canonical())).ok_or_else(|| format!("invalid IP address {s}"))
    }
}

impl<'de> Deserialize<'de> for RequestedIp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Versions before 0.3.0 can say one address of each family.
///
/// # Errors
/// In the originals' words, if there are more.
pub(crate) fn fits_version<'a>(version: &str, addresses: impl Iterator<Item = &'a IpAddr>) -> Result<()> {
    let (mut v4, mut v6) = (0, 0);
    addresses.for_each(|a| if a.is_ipv4() { v4 += 1 } else { v6 += 1 });
    let old = ["", "0.1.0", "0.2.0"].contains(&version);
    if old && (v4 > 1 || v6 > 1) {
        let message = format!("CNI version {version} does not support more than 1 address per family");
        return Err(Error::new(Code::INVALID_CONFIG, message).with_details("set \"cniVersion\" to 0.3.0 or later"));
    }
    Ok(())
}
