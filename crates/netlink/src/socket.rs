//! A netlink socket of any family: requests out, answers in, nothing about what they mean.
//!
//! Messages are put together with [`Socket::push`] and sent together by [`Socket::exchange`], which ends when the kernel has answered each
//! that asked for an answer. The kernel works on them in order and within the sending call, so one call carries out a whole sequence.

pub(crate) mod message;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::{Error, Result};
use message::{Content, Messages, NLM_F_DUMP_INTR};

/// How long the kernel may take to answer once it has worked on a request (it answers before the sending call returns).
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a dump that met a change is read again before giving up.
const DUMPS: usize = 64;

/// Dumps come in pieces of at most this many bytes, and no answer to anything else is longer in practice; one that is makes it grow.
const RECEIVE: usize = 32 * 1024;

/// Why a request failed, before it is known what it was for: [`Refusal::on`] makes an [`Error`] of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error number.
    pub(crate) errno: Errno,
    /// The kernel's words (extended ack); empty where it gave none.
    pub(crate) text: String,
}

impl Refusal {
    /// One that did not come from the kernel.
    pub(crate) fn new(errno: Errno, text: &str) -> Self {
        Refusal { errno, text: text.to_owned() }
    }

    /// The error: what was attempted on which object.
    pub(crate) fn on(self, attempted: &'static str, object: impl Into<String>) -> Error {
        Error { kernel: self.text, ..Error::new(attempted, object, self.errno) }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Refusal { errno, text: String::new() }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
    }
}

/// What the kernel says to one of the messages sent.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// A message: an element of a dump, what was asked for, an echo.
    Message {
        /// Its type (`RTM_NEWLINK`).
        kind: u16,
        /// All behind the netlink header.
        payload: &'a [u8],
    },
    /// The message was not carried out, or the dump ended early.
    Refused(Refusal),
}

/// What else is to be known about an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// A dump met a change while it was read (NLM_F_DUMP_INTR): what it brought may not be consistent.
    pub(crate) interrupted: bool,
    /// An answer did not fit and is lost; there is room for it now. Acknowledgements always fit.
    pub(crate) truncated: bool,
}

/// A netlink socket, connected to the kernel of the namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    /// Sequence number of the last message pushed.
    sequence: u32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Sequence numbers of messages pushed that the kernel will end with an ack, an error or the end of a dump.
    awaited: VecDeque<u32>,
    /// Sequence number of the first message in `outgoing`.
    first: u32,
    /// Length of the longest answer there is room for, in bytes.
    room: usize,
    /// Notifications come too, which answer no message.
    notified: bool,
}

impl Socket {
    /// Opens a socket of a family (`NETLINK_ROUTE`, `NETLINK_NETFILTER`) in the calling thread's namespace.
    ///
    /// # Errors
    /// If the kernel refuses a socket (`EMFILE`, `EPROTONOSUPPORT`).
    pub(crate) fn open(family: isize) -> Result<Socket> {
        let open = || -> Result<netlink_sys::Socket, Refusal> {
            let socket = netlink_sys::Socket::new(family)?;
            socket.set_ext_ack(true)?;
            // Errors need not carry the request back. Since 4.2, as rtnetlink's GET_STRICT_CHK since 4.20: without them we only get more
            // bytes, or dumps that ignore their filter, which is why dumps are filtered here too.
            let _ = socket.set_cap_ack(true);
            if family == NETLINK_ROUTE {
                let _ = socket.set_netlink_get_strict_chk(true);
            }
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(DEADLINE))?;
            // A connected netlink socket receives from its peer only: no process can slip in an answer.
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let inner = open().map_err(|e| e.on("open netlink socket", format!("family {family}")))?;
        let (outgoing, incoming, awaited) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok(Socket { inner, sequence: 0, outgoing, incoming, awaited, first: 1, room: RECEIVE, notified: false })
    }

    /// Adds a message to those that the next [`Socket::exchange`] sends, and returns its sequence number. `body` writes all behind the
    /// netlink header. An answer is waited for if `flags` has NLM_F_ACK or NLM_F_DUMP; NLM_F_REQUEST is added here.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Vec<u8>)) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let start = self.outgoing.len();
        if start == 0 {
            self.first = self.sequence;
        }
        self.outgoing.extend([0; 4]);
        self.outgoing.extend(kind.to_ne_bytes());
        self.outgoing.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.outgoing.extend(self.sequence.to_ne_bytes());
        self.outgoing.extend([0; 4]);
        body(&mut self.outgoing);
        // More than 4 GiB is refused by the kernel as too long (EMSGSIZE) before it could misread this.
        let length = u32::try_from(self.outgoing.len() - start).unwrap_or(u32::MAX);
        self.outgoing[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.outgoing.resize(self.outgoing.len().next_multiple_of(4), 0);
        if flags & NLM_F_ACK != 0 || flags & NLM_F_DUMP == NLM_F_DUMP {
            self.awaited.push_back(self.sequence);
        }
        self.sequence
    }

    /// Sends what was pushed and gives every answer with the sequence number of its message to `on`, until each message that asked for an
    /// answer has had its last. Late answers to earlier exchanges are dropped.
    ///
    /// # Errors
    /// If the exchange itself failed, so that it is unknown what was carried out: nothing could be sent, an answer was lost (`ENOBUFS`) or
    /// did not come (`ETIMEDOUT`). What the kernel refuses goes to `on`.
    pub(crate) fn exchange(&mut self, on: &mut dyn FnMut(u32, Answer<'_>)) -> Result<Exchange, Refusal> {
        let mut on = |sequence, answer: Answer<'_>| {
            on(sequence, answer);
            ControlFlow::Continue(())
        };
        self.exchange_with(Socket::send, &mut on)
    }

    /// As [`Socket::exchange`], for requests of which the kernel does what matters long before it lets go of the sending call: a child process
    /// sends, and the exchange also ends when `on` breaks it. `on` gets the notifications that the socket is subscribed to as well.
    ///
    /// The child outlives the exchange, with nothing open but this socket. It is nobody's to wait for: meant for a process that ends soon itself.
    ///
    /// # Errors
    /// As [`Socket::exchange`].
    pub(crate) fn exchange_by_child(
        &mut self,
        on: &mut dyn FnMut(u32, Answer<'_>) -> ControlFlow<()>,
    ) -> Result<Exchange, Refusal> {
        self.exchange_with(Socket::send_by_child, on)
    }

    fn exchange_with(
        &mut self,
        send: impl FnOnce(&Socket) -> Result<(), Refusal>,
        on: &mut dyn FnMut(u32, Answer<'_>) -> ControlFlow<()>,
    ) -> Result<Exchange, Refusal> {
        let exchanged =
            if self.outgoing.is_empty() { Ok(Exchange::default()) } else { send(self).and_then(|()| self.receive(on)) };
        if matches!(&exchanged, Err(refusal) if refusal.errno == Errno::NOBUFS) {
            self.drain();
        }
        self.outgoing.clear();
        self.awaited.clear();
        exchanged
    }

    /// All objects that a dump brings in messages of type `wanted` and `parse` keeps. Repeated if it met a change.
    ///
    /// # Errors
    /// As [`Socket::exchange`]; the kernel's; `EAGAIN` if it met a change each time.
    pub(crate) fn dump<T>(
        &mut self,
        kind: u16,
        wanted: u16,
        body: impl Fn(&mut Vec<u8>),
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        for _ in 0..DUMPS {
            self.push(kind, NLM_F_DUMP, &body);
            let mut found = Vec::new();
            let mut refused = None;
            let exchange = self.exchange(&mut |_, answer| match answer {
                Answer::Message { kind, payload } if kind == wanted => found.extend(parse(payload)),
                Answer::Message { .. } => {}
                Answer::Refused(refusal) => refused = Some(refusal),
            });
            match (exchange, refused) {
                (Err(refusal), _) if refusal.errno == Errno::NOBUFS => {}
                (Err(refusal), _) => return Err(refusal),
                // The kernel's own word for a dump that met a change, from some of its dumpers.
                (_, Some(refusal)) if refusal.errno == Errno::INTR => {}
                (_, Some(refusal)) => return Err(refusal),
                (Ok(exchange), None) if exchange.interrupted || exchange.truncated => {}
                (Ok(_), None) => return Ok(found),
            }
            std::thread::yield_now();
        }
        Err(Refusal::new(Errno::AGAIN, "it changed each of 64 times while it was read; try again"))
    }

    /// Subscribes to a group of notifications (`RTNLGRP_LINK`), or ends that.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn subscribe(&mut self, group: u32, on: bool) -> Result<(), Refusal> {
        let changed = if on { self.inner.add_membership(group) } else { self.inner.drop_membership(group) };
        self.notified = on;
        Ok(changed?)
    }

    fn send(&self) -> Result<(), Refusal> {
        // The kernel's default buffers hold about 200 kB and 250 acks. Without the privilege to raise them the exchange may fail, as said.
        if self.outgoing.len() > 64 * 1024 {
            let _ = sockopt::set_socket_send_buffer_size_force(&self.inner, self.outgoing.len() * 2);
        }
        if self.awaited.len() > 64 {
            let _ = sockopt::set_socket_recv_buffer_size_force(&self.inner, self.awaited.len() * 2048);
        }
        loop {
            match self.inner.send(&self.outgoing, 0) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Sends in a child process, or in this one where there can be no more processes.
    #[expect(unsafe_code, reason = "fork")]
    fn send_by_child(&self) -> Result<(), Refusal> {
        let socket = self.inner.as_raw_fd();
        // SAFETY: the child, which has one thread whatever this process has, does nothing but the system calls below.
        match unsafe { libc::fork() } {
            // SAFETY: system calls on numbers, and on a buffer that is the child's own copy.
            0 => unsafe {
                // Neither the locks nor the pipes: who reads from a plugin waits until the last descriptor is closed. (Linux 5.9; on older
                // ones they stay open as long as the child runs, some 20 ms.)
                if socket > 0 {
                    libc::syscall(libc::SYS_close_range, 0, socket - 1, 0);
                }
                libc::syscall(libc::SYS_close_range, socket + 1, libc::c_int::MAX, 0);
                libc::send(socket, self.outgoing.as_ptr().cast(), self.outgoing.len(), 0);
                libc::_exit(0)
            },
            -1 => self.send(),
            _ => Ok(()),
        }
    }

    /// Throws away what has come. Until a queue that was full is empty, the kernel drops every answer to this socket (`NETLINK_S_CONGESTED`).
    fn drain(&mut self) {
        // Who is subscribed may get more meanwhile; not for ever.
        for _ in 0..10_000 {
            self.incoming.clear();
            self.incoming.reserve(self.room);
            match self.inner.recv(&mut self.incoming, libc::MSG_DONTWAIT) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }

    fn receive(&mut self, on: &mut dyn FnMut(u32, Answer<'_>) -> ControlFlow<()>) -> Result<Exchange, Refusal> {
        let mut exchange = Exchange::default();
        // An error for a message that asked for no answer (the frame of an nf_tables batch) may be the only one there is for the whole
        // batch: from then on only what is there already is read.
        let mut flags = libc::MSG_TRUNC;
        while !self.awaited.is_empty() {
            self.incoming.clear();
            self.incoming.reserve(self.room);
            let length = match self.inner.recv(&mut self.incoming, flags) {
                Ok(length) => length,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    if flags & libc::MSG_DONTWAIT != 0 {
                        break;
                    }
                    return Err(Refusal::new(Errno::TIMEDOUT, "no answer from the kernel within 10 s"));
                }
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Err(Refusal::new(Errno::NOBUFS, "answers were lost: the socket's receive buffer was full"));
                }
                Err(e) => return Err(e.into()),
            };
            if length > self.incoming.len() {
                exchange.truncated = true;
                self.room = length;
                continue;
            }
            let (first, last) = (self.first, self.sequence);
            for message in Messages(&self.incoming) {
                let message = message?;
                let ours = message.sequence.wrapping_sub(first) <= last.wrapping_sub(first);
                let notification = self.notified && matches!(message.content, Content::Payload(_));
                if !ours && !notification {
                    continue;
                }
                exchange.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                let awaited = self.awaited.iter().position(|s| *s == message.sequence);
                match message.content {
                    Content::Payload(payload) => {
                        if on(message.sequence, Answer::Message { kind: message.kind, payload }).is_break() {
                            return Ok(exchange);
                        }
                        continue;
                    }
                    Content::End(None) => {}
                    Content::End(Some(report)) => {
                        let refusal = report.refusal(&self.outgoing, message.sequence);
                        if on(message.sequence, Answer::Refused(refusal)).is_break() {
                            return Ok(exchange);
                        }
                        if awaited.is_none() {
                            flags |= libc::MSG_DONTWAIT;
                        }
                    }
                    Content::Overrun => {
                        return Err(Refusal::new(Errno::NOBUFS, "answers were lost: the kernel says overrun"));
                    }
                }
                if let Some(at) = awaited {
                    self.awaited.remove(at);
                }
            }
        }
        Ok(exchange)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}
