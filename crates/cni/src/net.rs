//! Addresses with prefix length as text: what is one, and what is not.
//!
//! ```
//! assert!(plexus_cni::net::parse("10.1.2.3/24").is_some());
//! // 10 for some programs, 8 for those that take it for octal: an address that two can read differently is none, as in Go.
//! assert!(plexus_cni::net::parse("010.1.2.3/24").is_none());
//! ```

use std::net::IpAddr;

use ipnet::IpNet;

/// An address with a prefix length (`10.1.2.3/24`), host bits kept; `None` if `text` is not one. Stricter than `IpNet`'s own reading, which
/// takes parts with leading zeros.
#[must_use]
pub fn parse(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let net: IpNet = text.parse().ok()?;
    // The second reading tells whether the prefix length is one; both have to mean the same address.
    (net.addr() == address && !length.is_empty()).then_some(net)
}
