//! Addresses of links.

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::attributes::{attributes, ip, u8_at, u32_at};
use crate::{Result, Rtnl};

// include/uapi/linux/if_addr.h
const HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// Flags for a new address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressFlags {
    /// IFA_F_NODAD: no duplicate address detection, so never tentative (IPv6; ignored for IPv4).
    pub nodad: bool,
}

/// An address as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub index: u32,
    /// Address with prefix length (IFA_LOCAL before IFA_ADDRESS).
    pub address: IpNet,
    /// Scope: 0 global, 253 link, 254 host.
    pub scope: u8,
    /// Duplicate address detection has not ended (IFA_F_TENTATIVE).
    pub tentative: bool,
    /// Duplicate address detection found another owner (IFA_F_DADFAILED).
    pub dad_failed: bool,
}

impl Rtnl {
    /// Adds an address to a link. IPv4 addresses get the subnet's broadcast address where there is one (up to /30), as with the reference
    /// plugins.
    ///
    /// # Errors
    /// `EEXIST` if the link has it; `EADDRNOTAVAIL`/`EACCES` where IPv6 is disabled on the link.
    pub fn add_address(&mut self, index: u32, address: IpNet, flags: AddressFlags) -> Result<()> {
        let mut message = message(index, Some(address));
        if let IpNet::V4(net) = address
            && net.prefix_len() < 31
        {
            message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
        }
        if flags.nodad && matches!(address, IpNet::V6(_)) {
            let nodad = netlink_packet_route::address::AddressFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(nodad));
        }
        self.request(&RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|refusal| refusal.on("add address", format!("{address} to {}", self.name_of(index))))
    }

    /// Removes an address; false if the link does not have it.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link.
    pub fn delete_address(&mut self, index: u32, address: IpNet) -> Result<bool> {
        let message = message(index, Some(address));
        match self.request(&RouteNetlinkMessage::DelAddress(message), 0) {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.errno == Errno::ADDRNOTAVAIL => Ok(false),
            Err(refusal) => Err(refusal.on("remove address", format!("{address} from {}", self.name_of(index)))),
        }
    }

    /// The addresses of a link, both families, in the kernel's order (one filtered dump per family).
    ///
    /// # Errors
    /// `ENODEV` if there is no such link; an interrupted dump is repeated.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>> {
        let mut all = self.addresses_of_family(index, true)?;
        all.extend(self.addresses_of_family(index, false)?);
        Ok(all)
    }

    /// The IPv4 or the IPv6 addresses of a link, in the kernel's order (one filtered dump).
    ///
    /// # Errors
    /// As [`Rtnl::addresses`].
    pub fn addresses_of_family(&mut self, index: u32, ipv4: bool) -> Result<Vec<Address>> {
        let mut message = message(index, None);
        message.header.family = if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let message = RouteNetlinkMessage::GetAddress(message);
        // Without strict checking (before 4.20) the dump brings every link's.
        let dumped = self.dump(&message, |payload| parse(payload).filter(|address| address.index == index));
        super::empty_if_no_table(dumped).map_err(|refusal| refusal.on("read addresses of", self.name_of(index)))
    }
}

/// The part that all requests have.
fn message(index: u32, address: Option<IpNet>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    if let Some(address) = address {
        message.header.family = super::family(address.addr());
        message.header.prefix_len = address.prefix_len();
        // IFA_LOCAL is the address, IFA_ADDRESS the peer's on a point-to-point link and otherwise the same (IPv6 takes either).
        message.attributes.push(AddressAttribute::Local(address.addr()));
        message.attributes.push(AddressAttribute::Address(address.addr()));
    }
    message
}

/// Reads an RTM_NEWADDR.
pub(crate) fn parse(payload: &[u8]) -> Option<Address> {
    let mut flags = u32::from(u8_at(payload, 2)?);
    let (mut local, mut peer) = (None, None);
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => peer = ip(value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(Address {
        index: u32_at(payload, 4)?,
        address: IpNet::new(local.or(peer)?, u8_at(payload, 1)?).ok()?,
        scope: u8_at(payload, 3)?,
        tentative: flags & IFA_F_TENTATIVE != 0,
        dad_failed: flags & IFA_F_DADFAILED != 0,
    })
}
