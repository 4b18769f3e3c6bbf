//! nf_tables: the ruleset of a network namespace, changed in batches and read rule by rule.
//!
//! Owns: the nfnetlink socket, commits and dumps. What goes into a batch is written by the files beside: `batch` (tables, chains, rules),
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

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

pub use batch::{Base, Batch, COMMENT_MAX, ChainType, Hook, Policy};
pub use expr::{Expressions, Is, Transport};
pub use rule::Rule;

use crate::{Error, Result};
use batch::Step;
use wire::{Writer, flag, message};

/// `NLMSG_ERROR`, `NLMSG_DONE`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_ACK_TLVS`; `NLMSGERR_ATTR_MSG`, `NLMSGERR_ATTR_OFFS`.
const ACK_TLVS: u16 = 0x200;
const ACK_MESSAGE: u16 = 1;
const ACK_OFFSET: u16 = 2;
/// The kernel fills dumps up to 32 KiB a datagram.
const RECEIVE: usize = 32 * 1024;
/// The send buffer that every socket has (net.core.wmem_default is 208 KiB; skb overhead counts too).
const SEND: usize = 96 * 1024;
/// How often a dump is begun anew when another process changes the ruleset meanwhile.
const DUMPS: usize = 64;

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
    /// The last sequence number used.
    seq: u32,
    buffer: Vec<u8>,
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
        let open = || -> std::io::Result<Socket> {
            let socket = Socket::new(NETLINK_NETFILTER)?;
            // Reasons in words, and errors without a copy of the request. Both only inform.
            let _ = socket.set_ext_ack(true);
            let _ = socket.set_cap_ack(true);
            Ok(socket)
        };
        let socket = open()
            .map_err(|e| Error::new("open", "an nf_tables socket", Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        Ok(Nft { socket, collector: None, seq: 0, buffer: Vec::new() })
    }

    /// Makes the changes of a batch: all of them, or on an error none.
    ///
    /// # Errors
    /// Of the first message that failed, with its object. `ENOENT`: a table, chain or rule is missing; `EEXIST`; `EBUSY`: something still
    /// refers to a chain to be deleted; `EPERM` without `CAP_NET_ADMIN` in the namespace; `EINVAL` also for names with a NUL.
    pub fn commit(&mut self, batch: &Batch) -> Result<()> {
        let Some(last) = batch.steps.last() else { return Ok(()) };
        if let Some(step) = batch.steps.iter().find(|s| s.invalid) {
            return Err(failed(step, Errno::INVAL, "name too long or with a NUL byte".into()));
        }
        let first = self.seq.wrapping_add(1);
        let count = u32::try_from(batch.steps.len()).unwrap_or(u32::MAX);
        let end = first.wrapping_add(count).wrapping_add(1);
        self.seq = end;

        let mut request =
            Writer { bytes: Vec::with_capacity(batch.wire.bytes.len() + 2 * wire::HEADER), invalid: false };
        request.message(message::BATCH_BEGIN, 0, 0, first, |_| ());
        request.bytes.extend_from_slice(&batch.wire.bytes);
        let mut seq = first;
        for step in &batch.steps {
            seq = seq.wrapping_add(1);
            let at = wire::HEADER + step.start + 8;
            request.bytes[at..at + 4].copy_from_slice(&seq.to_ne_bytes());
        }
        // Errors come unasked; an ack of the last message says that the batch was gone through. One ack per message could overflow the
        // receive buffer. Acks of the batch's end are newer (Linux 6.10).
        request.bytes[wire::HEADER + last.start + 6] |= flag::ACK as u8;
        request.message(message::BATCH_END, 0, 0, end, |_| ());
        self.send(&request.bytes).map_err(|e| failed(last, e, String::new()))?;

        let mut error: Option<(usize, Error)> = None;
        let mut done = false;
        self.receive(|received| {
            if received.kind != NLMSG_ERROR {
                return;
            }
            // The batch's begin stands for the whole: a commit that failed, EPERM, a kernel without nf_tables. What belongs to no message
            // of this batch is a leftover.
            let index = match received.seq.wrapping_sub(first) {
                0 => 0,
                n if n <= count => n as usize - 1,
                _ => return,
            };
            let step = &batch.steps[index];
            match errno(received.payload) {
                None => done = true,
                Some(errno) => {
                    let begin = wire::HEADER + step.start;
                    let kernel =
                        if received.seq == first { String::new() } else { words(&received, &request.bytes[begin..]) };
                    // Later failures follow from the first.
                    if error.as_ref().is_none_or(|(first, _)| index < *first) {
                        error = Some((index, failed(step, errno, kernel)));
                    }
                }
            }
        })
        .map_err(|e| failed(last, e, "its answer could not be read".into()))?;
        match error {
            Some((_, error)) => Err(error),
            None if done => Ok(()),
            None => Err(failed(last, Errno::IO, "no answer".into())),
        }
    }

    /// The rules of a chain in their order; none if the chain or its table is not there.
    ///
    /// # Errors
    /// `EPERM`; `EOPNOTSUPP` from a kernel without nf_tables; `EINTR` if others change the ruleset so often that it cannot be read in one piece.
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
        let error = |e, kernel| Error { kernel, ..Error::new("look for nftables", chain.to_string(), e) };
        let mut request = Writer::default();
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        request.message(message::GETCHAIN, 0, chain.table.family as u8, seq, |w| {
            w.string(1, chain.table.name);
            w.string(3, chain.name);
        });
        self.send(&request.bytes).map_err(|e| error(e, String::new()))?;
        let mut answer = Err(error(Errno::IO, "no answer".into()));
        self.receive(|received| {
            if received.seq != seq {
                return;
            }
            answer = match received.kind {
                message::NEWCHAIN => Ok(true),
                NLMSG_ERROR => match unread(received.payload) {
                    Errno::NOENT => Ok(false),
                    e => Err(error(e, words(&received, &request.bytes))),
                },
                _ => return,
            };
        })
        .map_err(|e| error(e, String::new()))?;
        answer
    }

    fn dump_rules(&mut self, table: Table<'_>, chain: Option<&str>) -> Result<Vec<Rule>> {
        let error = |e, kernel| Error { kernel, ..Error::new("list the rules of nftables", table.to_string(), e) };
        for _ in 0..DUMPS {
            let mut request = Writer::default();
            self.seq = self.seq.wrapping_add(1);
            let seq = self.seq;
            request.message(message::GETRULE, flag::DUMP, table.family as u8, seq, |w| {
                w.string(1, table.name);
                if let Some(chain) = chain {
                    w.string(2, chain);
                }
            });
            self.send(&request.bytes).map_err(|e| error(e, String::new()))?;
            let (mut rules, mut end, mut torn) = (Vec::new(), None, false);
            self.receive(|received| {
                if received.seq != seq {
                    return;
                }
                torn |= received.flags & flag::DUMP_INTERRUPTED != 0;
                match received.kind {
                    message::NEWRULE => rules.extend(Rule::read(received.payload)),
                    NLMSG_DONE => end = Some(Ok(())),
                    NLMSG_ERROR => {
                        end = Some(Err(error(unread(received.payload), words(&received, &request.bytes))));
                    }
                    _ => (),
                }
            })
            .map_err(|e| error(e, String::new()))?;
            match end {
                Some(Err(e)) if e.is(Errno::NOENT) => return Ok(Vec::new()),
                Some(Err(e)) if e.is(Errno::INTR) => (),
                Some(Err(e)) => return Err(e),
                Some(Ok(())) if !torn => {
                    // Kernels before 4.15 do not filter by chain.
                    rules.retain(|r| r.table == table.name && chain.is_none_or(|c| r.chain == c));
                    return Ok(rules);
                }
                Some(Ok(())) => (),
                None => return Err(error(Errno::IO, "no answer".into())),
            }
            std::thread::yield_now();
        }
        Err(error(Errno::INTR, "it keeps changing while it is read".into()))
    }

    fn send(&mut self, request: &[u8]) -> Result<(), Errno> {
        if request.len() > SEND {
            rustix::net::sockopt::set_socket_send_buffer_size_force(&self.socket, request.len() * 2)?;
        }
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, request, SendFlags::empty())).map(drop)
    }

    /// Hands out all messages there are. nfnetlink works while the request is being sent, and a dump goes on while its last part is being
    /// read, so whatever is to come is there already: this never waits.
    fn receive(&mut self, mut each: impl FnMut(wire::Received<'_>)) -> Result<(), Errno> {
        self.buffer.resize(RECEIVE, 0);
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        loop {
            match rustix::net::recv(&self.socket, self.buffer.as_mut_slice(), flags) {
                // With MSG_TRUNC the second number is the datagram's length.
                Ok((_, length)) if length > self.buffer.len() => return Err(Errno::MSGSIZE),
                Ok((_, length)) => wire::messages(&self.buffer[..length]).for_each(&mut each),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => (),
                Err(e) => return Err(e),
            }
        }
    }
}

/// For fuzzing: the readers of nf_tables' answers, fed with any bytes.
pub(crate) fn read_any(bytes: &[u8]) {
    let whole = wire::Received { kind: NLMSG_ERROR, flags: ACK_TLVS, seq: 0, payload: bytes };
    let written = Expressions::new(Family::Ip).masquerade();
    for received in wire::messages(bytes).chain([whole]) {
        let _ = (unread(received.payload), words(&received, bytes));
        if let Some(rule) = Rule::read(received.payload) {
            let _ = (rule.targets().count(), rule.does(&written));
        }
    }
}

fn failed(step: &Step, errno: Errno, kernel: String) -> Error {
    Error { kernel, ..Error::new(step.attempted, step.object.clone(), errno) }
}

/// The error in the payload of `NLMSG_ERROR`; `None` is an ack.
fn errno(payload: &[u8]) -> Option<Errno> {
    match wire::u32_at(payload, 0).map(|e| e.cast_signed().saturating_neg()) {
        Some(0) => None,
        Some(known @ 1..4096) => Some(Errno::from_raw_os_error(known)),
        _ => Some(Errno::IO),
    }
}

/// The error number in the refusal of a read. nfnetlink says `EINVAL` where nf_tables is not there to read from, but `EOPNOTSUPP` to a
/// batch; here it is the same.
fn unread(payload: &[u8]) -> Errno {
    match errno(payload) {
        Some(Errno::INVAL) => Errno::OPNOTSUPP,
        Some(errno) => errno,
        None => Errno::IO,
    }
}

/// What the extended ack says about a refused message: the kernel's text, or else the name that it points at (nf_tables gives no text for
/// a missing table or chain, only the place of its name).
fn words(received: &wire::Received<'_>, request: &[u8]) -> String {
    if received.flags & ACK_TLVS == 0 {
        return String::new();
    }
    // The error number and the header of the refused message, no more of it (NETLINK_CAP_ACK).
    let acks = received.payload.get(4 + 16..).unwrap_or_default();
    if let Some(text) = wire::find(acks, ACK_MESSAGE).and_then(wire::text) {
        return text.to_owned();
    }
    let offset = wire::find(acks, ACK_OFFSET).and_then(|o| wire::u32_at(o, 0));
    let named = offset.and_then(|o| request.get(o as usize..)).and_then(|rest| wire::attributes(rest).next());
    match named.and_then(|(.., payload)| payload.strip_suffix(&[0])).map(std::str::from_utf8) {
        Some(Ok(name)) if !name.is_empty() && name.chars().all(|c| !c.is_control()) => format!("about \"{name}\""),
        _ => String::new(),
    }
}
