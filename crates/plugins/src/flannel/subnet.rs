//! `subnet.env`: what flanneld tells of this node's share of the network.

use std::path::Path;

use cni::{Code, Error, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The longest file that is read, in bytes; flanneld writes less than 300.
const LIMIT: u64 = 64 * 1024;

/// The file's content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    /// The whole network: of every family, and several where flanneld knows several.
    pub(super) networks: Vec<IpNet>,
    /// This node's part, IPv4.
    pub(super) v4: Option<Ipv4Net>,
    /// This node's part, IPv6.
    pub(super) v6: Option<Ipv6Net>,
    /// MTU of the containers' interfaces in bytes.
    pub(super) mtu: u32,
    /// flanneld masquerades itself.
    pub(super) masquerades: bool,
}

impl Subnet {
    /// Reads the file.
    ///
    /// # Errors
    /// Code 11 (try again later: flanneld writes the file when it is ready) if it is missing, 999 if it cannot be understood, each with the
    /// remedy.
    pub(super) fn read(path: &Path) -> Result<Subnet> {
        let shown = path.display();
        let Some(bytes) = cni::file::read(path, LIMIT)? else {
            return Err(Error::new(
                Code::TRY_AGAIN,
                format!(
                    "failed to load flannel 'subnet.env' file: open {shown}: no such file or directory. flanneld writes it when it is ready: \
                     check the flannel pod of this node (kubectl -n kube-flannel logs ...), or set \"subnetFile\""
                ),
            ));
        };
        let wrong = |why: String| {
            Error::internal(format!(
                "failed to load flannel 'subnet.env' file {shown}: {why}; restart flanneld to have it written again"
            ))
        };
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text".into()))?;
        parse(&text).map_err(wrong)
    }
}

pub(super) fn parse(text: &str) -> Result<Subnet, String> {
    let mut networks: Vec<IpNet> = Vec::new();
    let (mut v4, mut v6, mut mtu, mut masquerades) = (None, None, None, None);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (line, None),
        };
        if !matches!(
            key,
            "FLANNEL_NETWORK"
                | "FLANNEL_SUBNET"
                | "FLANNEL_IPV6_NETWORK"
                | "FLANNEL_IPV6_SUBNET"
                | "FLANNEL_MTU"
                | "FLANNEL_IPMASQ"
        ) {
            continue;
        }
        let bad = |what: &str| format!("line {}: {line:?}: {what}", number + 1);
        let value = value.ok_or_else(|| bad("\"=\" is missing"))?;
        let net = |text: &str| cni::net::parse(text).ok_or_else(|| bad("not an address with prefix length"));
        match key {
            "FLANNEL_NETWORK" | "FLANNEL_IPV6_NETWORK" => {
                for part in value.split(',') {
                    let network = net(part)?.trunc();
                    if matches!(network, IpNet::V4(_)) != (key == "FLANNEL_NETWORK") {
                        return Err(bad("of the wrong address family"));
                    }
                    if !networks.contains(&network) {
                        networks.push(network);
                    }
                }
            }
            "FLANNEL_SUBNET" => match net(value)?.trunc() {
                IpNet::V4(subnet) => v4 = Some(subnet),
                IpNet::V6(_) => return Err(bad("of the wrong address family")),
            },
            "FLANNEL_IPV6_SUBNET" => match net(value)?.trunc() {
                IpNet::V6(subnet) => v6 = Some(subnet),
                IpNet::V4(_) => return Err(bad("of the wrong address family")),
            },
            "FLANNEL_MTU" => mtu = Some(value.parse().map_err(|_| bad("not a number of bytes"))?),
            _ => masquerades = Some(value == "true"),
        }
    }
    let mut missing = Vec::new();
    if networks.is_empty() {
        missing.push("FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK");
    }
    if v4.is_none() && v6.is_none() {
        missing.push("FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET");
    }
    match (mtu, masquerades) {
        (Some(mtu), Some(masquerades)) if missing.is_empty() => Ok(Subnet { networks, v4, v6, mtu, masquerades }),
        _ => {
            missing.extend(mtu.is_none().then_some("FLANNEL_MTU"));
            missing.extend(masquerades.is_none().then_some("FLANNEL_IPMASQ"));
            Err(format!("it is missing {}", missing.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests;
