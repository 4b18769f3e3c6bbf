//! Which addresses an ADD gets. Pure: what is taken, and where the last round ended, come from outside.

use std::net::IpAddr;

use cni::{Error, Result};
use ipnet::IpNet;

use super::config::Config;
use super::range::{Range, RangeSet};

/// What is known of the addresses of a network.
pub(super) trait Taken {
    /// Somebody has the address.
    fn contains(&self, ip: IpAddr) -> bool;
    /// The address last given out of range set `set`.
    fn last(&self, set: usize) -> Option<IpAddr>;
}

/// An address to reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// With its subnet's prefix length.
    pub(super) address: IpNet,
    pub(super) gateway: IpAddr,
}

/// One address of each range set: the one asked for, or the next one free.
///
/// # Errors
/// In the original's words, if one cannot be had, or an address asked for is of no set.
pub(super) fn choose(config: &Config, taken: &dyn Taken, owned: &[IpAddr], container_id: &str) -> Result<Vec<Choice>> {
    let mut requested = config.requested.clone();
    let mut choices = Vec::with_capacity(config.sets.len());
    for (i, set) in config.sets.iter().enumerate() {
        let wanted = requested.iter().position(|ip| set.range_of(*ip).is_some()).map(|at| requested.remove(at));
        let chosen = match wanted {
            Some(ip) => exactly(ip, set, taken),
            None => next(i, set, taken, owned, container_id),
        };
        let (ip, range) = chosen.map_err(|e| Error::internal(format!("failed to allocate for range {i}: {e}")))?;
        let address = IpNet::new(ip, range.subnet.prefix_len()).map_err(|e| Error::internal(e.to_string()))?;
        choices.push(Choice { address, gateway: range.gateway });
    }
    if requested.is_empty() {
        return Ok(choices);
    }
    let rest: Vec<String> = requested.iter().map(IpAddr::to_string).collect();
    let sets: Vec<String> = config.sets.iter().map(RangeSet::to_string).collect();
    Err(Error::internal(format!("failed to allocate all requested IPs: {}", rest.join(" ")))
        .with_details(format!("one address of each of these can be had: {}", sets.join("; "))))
}

fn exactly<'a>(ip: IpAddr, set: &'a RangeSet, taken: &dyn Taken) -> Result<(IpAddr, &'a Range), String> {
    let range = set.range_of(ip).ok_or_else(|| format!("{ip} not in range set {set}"))?;
    if ip == range.gateway {
        return Err(format!("requested ip {ip} is subnet's gateway"));
    }
    if taken.contains(ip) {
        return Err(format!("requested IP address {ip} is not available in range set {set}"));
    }
    Ok((ip, range))
}

fn next<'a>(
    i: usize,
    set: &'a RangeSet,
    taken: &dyn Taken,
    owned: &[IpAddr],
    container_id: &str,
) -> Result<(IpAddr, &'a Range), String> {
    if let Some(ip) = owned.iter().find(|ip| set.range_of(**ip).is_some()) {
        return Err(format!("{ip} has been allocated to {container_id}, duplicate allocation is not allowed"));
    }
    let mut candidates = set.candidates(taken.last(i));
    candidates
        .find(|(ip, _)| !taken.contains(*ip))
        .ok_or_else(|| format!("no IP addresses available in range set: {set}"))
}

#[cfg(test)]
mod tests;
