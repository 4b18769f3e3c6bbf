//! Neighbours: ARP and NDP entries.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rustix::io::Errno;

use crate::attributes::{attributes, ip, u8_at, u16_at, u32_at};
use crate::socket::Refusal;
use crate::{Mac, Result, Rtnl};

// include/uapi/linux/neighbour.h
const HEADER: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;

/// An entry of the ARP or NDP table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link's index.
    pub index: u32,
    /// Address on the link.
    pub address: IpAddr,
    /// MAC address; absent while unresolved.
    pub mac: Option<Mac>,
    /// NUD_PERMANENT.
    pub permanent: bool,
}

impl Rtnl {
    /// Puts an entry in place of one for the same address, or adds it; one that is not permanent counts as reachable until it ages.
    ///
    /// # Errors
    /// `EINVAL` without a MAC address; `ENODEV` if there is no such link.
    pub fn replace_neighbour(&mut self, neighbour: &Neighbour) -> Result<()> {
        let mut message = message(neighbour.index, neighbour.address);
        message.header.state = if neighbour.permanent { NeighbourState::Permanent } else { NeighbourState::Reachable };
        let mac = neighbour.mac.ok_or_else(|| Refusal::new(Errno::INVAL, "an entry needs a MAC address"));
        mac.and_then(|mac| {
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
            self.request(&RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        })
        .map_err(|refusal| {
            let name = self.name_of(neighbour.index);
            refusal.on("set neighbour", format!("{} on {name}", neighbour.address))
        })
    }

    /// Removes an entry; false if there is none.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete_neighbour(&mut self, index: u32, address: IpAddr) -> Result<bool> {
        match self.request(&RouteNetlinkMessage::DelNeighbour(message(index, address)), 0) {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.errno == Errno::NOENT => Ok(false),
            Err(refusal) => Err(refusal.on("remove neighbour", format!("{address} on {}", self.name_of(index)))),
        }
    }

    /// The entries of a link (a dump), without those of addresses that need no resolving (multicast, loopback), as `ip neigh` does.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link.
    pub fn neighbours(&mut self, index: u32) -> Result<Vec<Neighbour>> {
        let mut message = NeighbourMessage::default();
        message.attributes.push(NeighbourAttribute::IfIndex(index));
        // Without strict checking (before 4.20) the kernel still filters, but links it does not know bring everything.
        let wanted = |payload: &[u8]| parse(payload).filter(|neighbour| neighbour.index == index);
        self.dump(&RouteNetlinkMessage::GetNeighbour(message), wanted)
            .map_err(|refusal| refusal.on("read neighbours of", self.name_of(index)))
    }
}

/// The part that all requests for one entry have.
fn message(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    message.header.family = super::family(address);
    message.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    message
}

/// Reads an RTM_NEWNEIGH of an IP family that is not NUD_NOARP.
pub(crate) fn parse(payload: &[u8]) -> Option<Neighbour> {
    // A bridge's forwarding entries (AF_BRIDGE) have no address and fall out below.
    u8_at(payload, 0).filter(|family| [libc::AF_INET, libc::AF_INET6].contains(&i32::from(*family)))?;
    let state = u16_at(payload, 8).filter(|state| state & NUD_NOARP == 0)?;
    let (mut address, mut mac) = (None, None);
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            NDA_DST => address = ip(value),
            NDA_LLADDR => mac = value.try_into().ok().map(Mac),
            _ => {}
        }
    }
    Some(Neighbour { index: u32_at(payload, 4)?, address: address?, mac, permanent: state & NUD_PERMANENT != 0 })
}
