//! rtnetlink: one synchronous socket, requests by resource in the files beside.

pub(crate) mod address;
pub(crate) mod link;
pub(crate) mod neighbour;
pub(crate) mod netconf;
pub(crate) mod route;
pub(crate) mod rule;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use netlink_packet_core::{Emitable, NLM_F_ACK};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use crate::Result;
use crate::socket::{Answer, Refusal, Socket};

/// An rtnetlink socket. It talks to the namespace that it was opened in, from whichever thread uses it.
#[derive(Debug)]
pub struct Rtnl {
    socket: Socket,
}

impl Rtnl {
    /// Opens a socket in the calling thread's namespace, with extended acks and strict checking of dump filters.
    ///
    /// # Errors
    /// If the kernel refuses a socket (`EMFILE`, `EAFNOSUPPORT`).
    pub fn open() -> Result<Rtnl> {
        Ok(Rtnl { socket: Socket::open(NETLINK_ROUTE)? })
    }

    /// Adds a request to those that the next exchange sends; an ack is waited for.
    fn push(&mut self, message: &RouteNetlinkMessage, flags: u16) -> u32 {
        self.socket.push(message.message_type(), flags | NLM_F_ACK, |out| emit(message, out))
    }

    /// One request that the kernel carries out or refuses.
    fn request(&mut self, message: &RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        self.ask(message, flags, |_| None::<()>).map(|_| ())
    }

    /// One request with an answer: an object asked for, or the echo of one made. `None` if there was no answer that `parse` could read.
    fn ask<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        flags: u16,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        self.push(message, flags);
        let wanted = kind_of_answer(message);
        let mut found = None;
        let mut refused = None;
        self.socket.exchange(&mut |_, answer| match answer {
            Answer::Message { kind, payload } if kind == wanted => found = parse(payload).or(found.take()),
            Answer::Message { .. } => {}
            Answer::Refused(refusal) => refused = Some(refusal),
        })?;
        refused.map_or(Ok(found), Err)
    }

    /// All objects that a dump brings and `parse` keeps. Repeated if it met a change.
    fn dump<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        self.socket.dump(message.message_type(), kind_of_answer(message), |out| emit(message, out), parse)
    }

    /// The name of a link for an error message; its number if it cannot be had.
    fn name_of(&mut self, index: u32) -> String {
        self.link_by_index(index).map_or_else(|_| format!("link {index}"), |link| link.name)
    }
}

fn emit(message: &RouteNetlinkMessage, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + message.buffer_len(), 0);
    message.emit(&mut out[start..]);
}

/// The type of the messages that describe what a request is about: RTM_NEWx, the first of each four.
fn kind_of_answer(message: &RouteNetlinkMessage) -> u16 {
    message.message_type() & !3
}

/// The family of an address.
fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// No table of this family: IPv6 is not there, or the table has never been used.
fn empty_if_no_table<T>(dumped: Result<Vec<T>, Refusal>) -> Result<Vec<T>, Refusal> {
    match dumped {
        Err(refusal) if [Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::NOENT].contains(&refusal.errno) => Ok(Vec::new()),
        dumped => dumped,
    }
}
