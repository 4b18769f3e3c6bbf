//! nf_tables' messages as bytes: writing them, and whether the kernel's copy of something is what we would write.

use super::Family;
use crate::attributes::{KIND, NESTED, find, marked};

/// `NFNL_SUBSYS_NFTABLES << 8`: the high byte of every nf_tables message type.
const SUBSYSTEM: u16 = 10 << 8;

/// Message types (include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h).
pub(super) mod message {
    pub(in super::super) const BATCH_BEGIN: u16 = 0x10;
    pub(in super::super) const BATCH_END: u16 = 0x11;
    pub(in super::super) const NEWTABLE: u16 = super::SUBSYSTEM;
    pub(in super::super) const DELTABLE: u16 = super::SUBSYSTEM | 2;
    pub(in super::super) const NEWCHAIN: u16 = super::SUBSYSTEM | 3;
    pub(in super::super) const GETCHAIN: u16 = super::SUBSYSTEM | 4;
    pub(in super::super) const DELCHAIN: u16 = super::SUBSYSTEM | 5;
    pub(in super::super) const NEWRULE: u16 = super::SUBSYSTEM | 6;
    pub(in super::super) const GETRULE: u16 = super::SUBSYSTEM | 7;
    pub(in super::super) const DELRULE: u16 = super::SUBSYSTEM | 8;
}

/// What the messages have that a batch begins and ends with, all behind the netlink header: a `struct nfgenmsg` with the subsystem.
pub(super) const FRAME: [u8; 4] = [0, 0, 0, (SUBSYSTEM >> 8) as u8];

/// Attributes being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    /// Something was written that the kernel would silently cut: a NUL in a name, an attribute over 64 KiB.
    pub(super) invalid: bool,
}

impl Writer {
    /// One attribute.
    pub(super) fn attribute(&mut self, kind: u16, payload: &[u8]) {
        self.header(kind, payload.len() + 4);
        self.bytes.extend_from_slice(payload);
        self.pad();
    }

    /// A NUL-terminated string.
    pub(super) fn string(&mut self, kind: u16, value: &str) {
        self.invalid |= value.contains('\0');
        self.header(kind, value.len() + 5);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    /// A number in network byte order, as nf_tables wants all of them.
    pub(super) fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// The same in 64 bits.
    pub(super) fn be64(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute made of attributes.
    pub(super) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.header(kind | NESTED, 4);
        inside(self);
        let length = self.bytes.len() - start;
        self.set_length(start, length);
    }

    /// All of a message behind the netlink header: `struct nfgenmsg` (family, version 0, resource id 0), then attributes.
    pub(super) fn message(family: Family, inside: impl FnOnce(&mut Writer)) -> Writer {
        let mut message = Writer { bytes: vec![family as u8, 0, 0, 0], invalid: false };
        inside(&mut message);
        message
    }

    fn header(&mut self, kind: u16, length: usize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.set_length(start, length);
    }

    fn set_length(&mut self, start: usize, length: usize) {
        let length = u16::try_from(length).unwrap_or_else(|_| {
            self.invalid = true;
            u16::MAX
        });
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A string attribute without its NUL.
pub(super) fn text(payload: &[u8]) -> Option<&str> {
    let payload = payload.split(|b| *b == 0).next()?;
    std::str::from_utf8(payload).ok()
}

/// What the kernel dumped has everything that we wrote, with the same values. The kernel may add attributes (defaults, counters), and
/// leaves the "nested" mark out where older code dumps.
pub(super) fn covers(dumped: &[u8], written: &[u8]) -> bool {
    marked(written).all(|(kind, wanted)| {
        find(dumped, kind & KIND)
            .is_some_and(|got| if kind & NESTED != 0 { covers(got, wanted) } else { got == wanted })
    })
}
