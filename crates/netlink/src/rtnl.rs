//! rtnetlink: one synchronous socket, requests by resource in the files beside.

pub(crate) mod address;
pub(crate) mod link;
pub(crate) mod neighbour;
pub(crate) mod route;
pub(crate) mod rule;

use crate::Result;

/// An rtnetlink socket. It talks to the namespace that it was opened in, from whichever thread uses it.
#[derive(Debug)]
pub struct Rtnl {}

impl Rtnl {
    /// Opens a socket in the calling thread's namespace, with extended acks and strict checking of dump filters.
    ///
    /// # Errors
    /// If the kernel refuses a socket (`EMFILE`, `EAFNOSUPPORT`).
    pub fn open() -> Result<Rtnl> {
        todo!()
    }
}
