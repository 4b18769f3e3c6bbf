//! nf_tables: the ruleset of a network namespace, changed in batches and read rule by rule.
//!
//! Owns: commits and dumps. What goes into a batch is written by the files beside: `batch` (tables, chains, rules),
//! `expr` (what a rule does), `wire` (bytes). No `nft` program is involved; what is written here is what nft(8) writes.
//!
//! Sets, maps, `fib`, `ct` and `dnat` are further expressions and messages of the same make.

mod batch;
mod close;
mod expr;
mod rule;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use netlink_packet_core::NLM_F_ACK;
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

pub use batch::{Base, Batch, COMMENT_MAX, ChainType, Hook, Policy};
pub use expr::{Expressions, Is, Transport};
pub use rule::Rule;

use crate::Result;
use crate::socket::{Answer, Refusal, Socket};
use wire::{FRAME, Writer, message};

/// The family of a table (`NFPROTO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// Ingress and egress of one device.
    Netdev = 5,
    /// Bridged frames.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Netdev => "netdev",
            Family::Bridge => "bridge",
            Family::Ip6 => "ip6",
        })
    }
}

/// A table, by family and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table<'a> {
    /// Its family.
    pub family: Family,
    /// Its name, up to 255 bytes.
    pub name: &'a str,
}

impl<'a> Table<'a> {
    /// The table of this family and name.
    #[must_use]
    pub const fn new(family: Family, name: &'a str) -> Self {
        Table { family, name }
    }

    /// A chain of this table.
    #[must_use]
    pub const fn chain(self, name: &'a str) -> Chain<'a> {
        Chain { table: self, name }
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {}", self.family, self.name)
    }
}

/// A chain, by table and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chain<'a> {
    /// The table it is in.
    pub table: Table<'a>,
    /// Its name, up to 255 bytes.
    pub name: &'a str,
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {} {} {}", self.table.family, self.table.name, self.name)
    }
}

/// An open nf_tables socket. It talks to the namespace that it was opened in, from whichever thread uses it.
///
/// A request costs microseconds; closing can cost more. The kernel frees what a batch deleted in the background, after an RCU grace
/// period, and closing *any* nfnetlink socket of the namespace waits for that (`nft_rcv_nl_event` in net/netfilter/nf_tables_api.c):
/// about 16 ms, on whoever closes, holding the lock that commits take. Batches that only add leave nothing to free. So a daemon opens
/// one socket and keeps it, batches avoid deleting what they would write again, and dropping an `Nft` lets the kernel close the socket
/// in the background where it can (see `close`), so that neither this thread nor the end of the process waits.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
    /// Set when it is dropped, and dropped after `socket`: fields go in the order of their declaration.
    collector: Option<OwnedFd>,
}

impl Drop for Nft {
    fn drop(&mut self) {
        self.collector = close::in_background(self.socket.as_fd());
    }
}

impl Nft {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` from a kernel without nfnetlink; `EMFILE`.
    pub fn open() -> Result<Nft> {
        Ok(Nft { socket: Socket::open(NETLINK_NETFILTER)?, collector: None })
    }

    /// Makes the changes of a batch: all of them, or on an error none.
    ///
    /// # Errors
    /// Of the first message that failed, with its object. `ENOENT`: a table, chain or rule is missing; `EEXIST`; `EBUSY`: something still
    /// refers to a chain to be deleted; `EPERM` without `CAP_NET_ADMIN` in the namespace; `EINVAL` also for names with a NUL.
    pub fn commit(&mut self, batch: &Batch) -> Result<()> {
        let Some((last, others)) = batch.steps.split_last() else { return Ok(()) };
        if let Some(step) = batch.steps.iter().find(|s| s.message.invalid) {
            let refusal = Refusal::new(Errno::INVAL, "name too long or with a NUL byte");
            return Err(refusal.on(step.attempted, step.object.as_str()));
        }
        let first = self.socket.push(message::BATCH_BEGIN, 0, |out| out.extend(FRAME));
        for step in others {
            self.socket.push(step.kind, step.flags, |out| out.extend(&step.message.bytes));
        }
        // Errors come unasked; an ack of the last message says that the batch was gone through. One ack per message could overflow the
        // receive buffer. Acks of the batch's end are newer (Linux 6.10).
        self.socket.push(last.kind, last.flags | NLM_F_ACK, |out| out.extend(&last.message.bytes));
        self.socket.push(message::BATCH_END, 0, |out| out.extend(FRAME));

        let mut failed: Option<(usize, Refusal)> = None;
        let exchanged = self.socket.exchange(&mut |sequence, answer| {
            let Answer::Refused(refusal) = answer else { return };
            // The batch's begin stands for the whole: a commit that failed, EPERM, a kernel without nf_tables.
            let at = (sequence.wrapping_sub(first) as usize).saturating_sub(1).min(others.len());
            // Later failures follow from the first.
            if failed.as_ref().is_none_or(|(first, _)| at < *first) {
                failed = Some((at, refusal));
            }
        });
        let (at, refusal) = match (failed, exchanged) {
            (Some(failed), _) => failed,
            (None, Err(refusal)) => (others.len(), refusal),
            (None, Ok(_)) => return Ok(()),
        };
        let step = &batch.steps[at];
        Err(refusal.on(step.attempted, step.object.as_str()))
    }

    /// The rules of a chain in their order; none if the chain or its table is not there.
    ///
    /// # Errors
    /// `EPERM`; `EOPNOTSUPP` from a kernel without nf_tables; `EAGAIN` if others change the ruleset so often that it cannot be read in one piece.
    pub fn rules(&mut self, chain: Chain<'_>) -> Result<Vec<Rule>> {
        self.dump_rules(chain.table, Some(chain.name))
    }

    /// The rules of all chains of a table; none if it is not there.
    ///
    /// # Errors
    /// As [`Nft::rules`].
    pub fn table_rules(&mut self, table: Table<'_>) -> Result<Vec<Rule>> {
        self.dump_rules(table, None)
    }

    /// The chain is there.
    ///
    /// # Errors
    /// `EPERM`; `EOPNOTSUPP` from a kernel without nf_tables.
    pub fn has_chain(&mut self, chain: Chain<'_>) -> Result<bool> {
        let request = Writer::message(chain.table.family, |w| {
            w.string(1, chain.table.name);
            w.string(3, chain.name);
        });
        self.socket.push(message::GETCHAIN, NLM_F_ACK, |out| out.extend(&request.bytes));
        let mut refused = None;
        let exchanged = self.socket.exchange(&mut |_, answer| {
            if let Answer::Refused(refusal) = answer {
                refused = Some(refusal);
            }
        });
        match exchanged.map_or_else(Some, |_| refused) {
            None => Ok(true),
            Some(refusal) if refusal.errno == Errno::NOENT => Ok(false),
            Some(refusal) => Err(unread(refusal).on("look for nftables", chain.to_string())),
        }
    }

    fn dump_rules(&mut self, table: Table<'_>, chain: Option<&str>) -> Result<Vec<Rule>> {
        let request = Writer::message(table.family, |w| {
            w.string(1, table.name);
            if let Some(chain) = chain {
                w.string(2, chain);
            }
        });
        // Kernels before 4.15 do not filter by chain.
        let wanted = |rule: &Rule| rule.table == table.name && chain.is_none_or(|c| rule.chain == c);
        let dumped = self.socket.dump(
            message::GETRULE,
            message::NEWRULE,
            |out| out.extend(&request.bytes),
            |payload| Rule::read(payload).filter(wanted),
        );
        match dumped {
            Err(refusal) if refusal.errno == Errno::NOENT => Ok(Vec::new()),
            dumped => dumped.map_err(|e| unread(e).on("list the rules of nftables", table.to_string())),
        }
    }
}

/// nfnetlink says `EINVAL` where nf_tables is not there to read from, but `EOPNOTSUPP` to a batch; here it is the same.
fn unread(mut refusal: Refusal) -> Refusal {
    if refusal.errno == Errno::INVAL {
        refusal.errno = Errno::OPNOTSUPP;
    }
    refusal
}

/// For fuzzing: the reader of rules, fed with any bytes.
pub(crate) fn read_any(bytes: &[u8]) {
    if let Some(rule) = Rule::read(bytes) {
        let _ = (rule.targets().count(), rule.does(&Expressions::new(Family::Ip).masquerade()));
    }
}
