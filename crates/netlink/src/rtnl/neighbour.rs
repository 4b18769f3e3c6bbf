//! Neighbours: ARP and NDP entries, bridge forwarding entries.

use std::net::IpAddr;

use crate::{Mac, Result, Rtnl};

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
    /// Puts an entry in place of one for the same address, or adds it.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link.
    pub fn replace_neighbour(&mut self, _neighbour: &Neighbour) -> Result<()> {
        todo!()
    }

    /// Removes an entry; false if there is none.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete_neighbour(&mut self, _index: u32, _address: IpAddr) -> Result<bool> {
        todo!()
    }

    /// The entries of a link (a dump).
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn neighbours(&mut self, _index: u32) -> Result<Vec<Neighbour>> {
        todo!()
    }
}
