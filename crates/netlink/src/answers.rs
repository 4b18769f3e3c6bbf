//! For fuzzing: every reader of the kernel's answers, fed with any bytes.

use crate::rtnl::{address, link, neighbour, route, rule};
use crate::{nft, socket::message};

/// Reads `bytes` as one read of a netlink socket would be, and each message in it as every kind of object. Reads the whole of `bytes` as
/// each kind of object, too, so that a fuzzer need not find the framing first.
pub fn parse(bytes: &[u8]) {
    let payloads = message::payloads(bytes);
    for payload in payloads.into_iter().chain([bytes]) {
        let _ = link::parse::link(payload);
        let _ = link::vlan::parse(payload);
        let _ = address::parse(payload);
        let _ = route::parse(payload);
        let _ = rule::parse(payload);
        let _ = neighbour::parse(payload);
        nft::read_any(payload);
    }
}
