//! Addresses of links.

use ipnet::IpNet;

use crate::{Result, Rtnl};

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
    /// Adds an address to a link. IPv4 addresses get the subnet's broadcast address, as the reference plugins do not set one: none.
    ///
    /// # Errors
    /// `EEXIST` if the link has it; `EADDRNOTAVAIL`/`EACCES` where IPv6 is disabled on the link.
    pub fn add_address(&mut self, _index: u32, _address: IpNet, _flags: AddressFlags) -> Result<()> {
        todo!()
    }

    /// Removes an address; false if the link does not have it.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link.
    pub fn delete_address(&mut self, _index: u32, _address: IpNet) -> Result<bool> {
        todo!()
    }

    /// The addresses of a link, both families, in the kernel's order (one filtered dump per family).
    ///
    /// # Errors
    /// If the kernel refuses; an interrupted dump is repeated.
    pub fn addresses(&mut self, _index: u32) -> Result<Vec<Address>> {
        todo!()
    }
}
