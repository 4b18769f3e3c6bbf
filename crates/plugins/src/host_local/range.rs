//! Ranges of addresses: what a configuration may say, which address comes next.
//!
//! Pure: knows nothing of files. Arithmetic is on the address as a number and never leaves a range, so the ends of the address space are
//! nothing special.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::Deserialize;

use crate::ipam::conf::OptionalIp;

/// A range as configured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RangeConf {
    pub(super) subnet: String,
    pub(super) range_start: OptionalIp,
    pub(super) range_end: OptionalIp,
    pub(super) gateway: OptionalIp,
}

/// A pool: every address from `start` to `end` but `gateway`, all of one subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) subnet: IpNet,
    pub(super) start: IpAddr,
    pub(super) end: IpAddr,
    pub(super) gateway: IpAddr,
}

/// Pools that together give one address; of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RangeSet(pub(super) Vec<Range>);

/// The address as a number.
pub(super) fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The address of `like`'s family with this number; IPv4 takes the low 32 bits.
fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "callers stay within the range, whose ends are of this family"
        )]
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

impl Range {
    /// Fills in what the configuration leaves out, and refuses what cannot work.
    ///
    /// # Errors
    /// In the original's words.
    pub(super) fn new(conf: &RangeConf) -> Result<Range, String> {
        let subnet: IpNet = cni::net::parse(&conf.subnet).ok_or_else(|| {
            format!(
                "\"subnet\": invalid CIDR address: \"{}\" (give an address and a prefix length, 10.1.0.0/16)",
                conf.subnet
            )
        })?;
        if subnet.prefix_len() + 2 > subnet.max_prefix_len() {
            return Err(format!("Network {subnet} too small to allocate from"));
        }
        if subnet.addr().to_canonical() != subnet.addr() {
            return Err(format!("IPNet IP and Mask version mismatch: write {subnet} as an IPv4 network"));
        }
        if subnet.addr() != subnet.network() {
            return Err(format!(
                "Network has host bits set. For a subnet mask of length {} the network address is {}",
                subnet.prefix_len(),
                subnet.network()
            ));
        }
        // A prefix of at most len-2 has at least 4 addresses: these sums stay inside.
        let first = with_bits(subnet.network(), bits(subnet.network()) + 1);
        let last = match subnet {
            IpNet::V4(net) => with_bits(subnet.network(), u128::from(net.broadcast().to_bits()) - 1),
            IpNet::V6(net) => net.broadcast().into(),
        };
        let inside = |key: &str, ip: IpAddr| {
            if subnet.contains(&ip) { Ok(ip) } else { Err(format!("{key} {ip} not in network {subnet}")) }
        };
        let start = conf.range_start.0.map_or(Ok(first), |ip| inside("RangeStart", ip))?;
        let end = conf.range_end.0.map_or(Ok(last), |ip| inside("RangeEnd", ip))?;
        if start > end {
            return Err(format!("RangeStart {start} is after RangeEnd {end} (network {subnet})"));
        }
        Ok(Range { subnet, start, end, gateway: conf.gateway.0.unwrap_or(first) })
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.start.is_ipv4() && self.start <= ip && ip <= self.end
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.start.is_ipv4() == other.start.is_ipv4() && self.start <= other.end && other.start <= self.end
    }
}

impl RangeSet {
    /// A set of the ranges configured.
    ///
    /// # Errors
    /// In the original's words.
    pub(super) fn new(conf: &[RangeConf]) -> Result<RangeSet, String> {
        let ranges = conf.iter().map(Range::new).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = ranges.first() else { return Err("empty range set".into()) };
        if ranges.iter().any(|r| r.start.is_ipv4() != first.start.is_ipv4()) {
            return Err("mixed address families".into());
        }
        for (i, a) in ranges.iter().enumerate() {
            if let Some(b) = ranges[i + 1..].iter().find(|b| a.overlaps(b)) {
                return Err(format!("subnets {a} and {b} overlap"));
            }
        }
        Ok(RangeSet(ranges))
    }

    /// The range that holds `ip`.
    pub(super) fn range_of(&self, ip: IpAddr) -> Option<&Range> {
        self.0.iter().find(|r| r.contains(ip))
    }

    pub(super) fn overlaps(&self, other: &RangeSet) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.overlaps(b)))
    }

    /// Every address that may be given out, once, in the order to try: what follows `last`, over all ranges and round again up to `last`
    /// itself; from the start where `last` is in none of them. Gateways are left out. Lazy: a /64 costs nothing.
    pub(super) fn candidates(&self, last: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, &Range)> {
        let at = last.and_then(|ip| self.0.iter().position(|r| r.contains(ip)).map(|i| (i, bits(ip))));
        let (split, last) = at.unwrap_or((0, 0));
        let whole = |r: &Range| (bits(r.start), bits(r.end));
        let ranges = self.0.iter();
        // The range that holds the cursor comes first with what is behind the cursor, and last with the rest of it.
        let behind =
            self.0.get(split).map(|r| (r, if at.is_some() { (last.saturating_add(1), bits(r.end)) } else { whole(r) }));
        let behind = behind.filter(|(r, _)| at.is_none() || last < bits(r.end));
        let others = ranges.clone().skip(split + 1).chain(ranges.take(split)).map(move |r| (r, whole(r)));
        let before = self.0.get(split).filter(|_| at.is_some()).map(|r| (r, (bits(r.start), last)));
        behind.into_iter().chain(others).chain(before).flat_map(|(range, (from, to))| {
            (from..=to).map(move |n| (with_bits(range.start, n), range)).filter(move |(ip, _)| *ip != range.gateway)
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
