//! Netlink attributes as bytes: writing them, walking them, and whether the kernel's copy of something is what we would write.

pub(super) use crate::attributes::{u16_at, u32_at};

/// `NFNL_SUBSYS_NFTABLES << 8`: the high byte of every nf_tables message type.
const SUBSYSTEM: u16 = 10 << 8;
/// `struct nlmsghdr` and `struct nfgenmsg`.
pub(super) const HEADER: usize = 16 + 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`.
const TYPE: u16 = 0x3fff;

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

/// Flags of a message (include/uapi/linux/netlink.h).
pub(super) mod flag {
    pub(in super::super) const REQUEST: u16 = 0x1;
    pub(in super::super) const ACK: u16 = 0x4;
    pub(in super::super) const DUMP_INTERRUPTED: u16 = 0x10;
    pub(in super::super) const DUMP: u16 = 0x300;
    pub(in super::super) const EXCLUSIVE: u16 = 0x200;
    pub(in super::super) const CREATE: u16 = 0x400;
    pub(in super::super) const APPEND: u16 = 0x800;
}

/// Attributes or messages being written.
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

    /// A whole message.
    pub(super) fn message(&mut self, kind: u16, flags: u16, family: u8, seq: u32, inside: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        // struct nfgenmsg: family, version 0, resource id. The batch's own messages carry the subsystem there.
        let resource = if kind < SUBSYSTEM { SUBSYSTEM >> 8 } else { 0 };
        self.bytes.extend_from_slice(&[family, 0, 0, resource as u8]);
        inside(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
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

/// The attributes in `bytes`: type without flags, whether it is marked as nested, payload. Ends at the first that is malformed.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, bool, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, kind) = (u16_at(rest, 0)?, u16_at(rest, 2)?);
        let length = usize::from(length);
        let payload = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE, kind & NESTED != 0, payload))
    })
}

/// The payload of the first attribute of this type.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, ..)| *k == kind).map(|(.., payload)| payload)
}

/// A string attribute without its NUL.
pub(super) fn text(payload: &[u8]) -> Option<&str> {
    let payload = payload.split(|b| *b == 0).next()?;
    std::str::from_utf8(payload).ok()
}

/// What the kernel dumped has everything that we wrote, with the same values. The kernel may add attributes (defaults, counters), and
/// leaves the "nested" mark out where older code dumps.
pub(super) fn covers(dumped: &[u8], written: &[u8]) -> bool {
    attributes(written).all(|(kind, nested, wanted)| {
        find(dumped, kind).is_some_and(|got| if nested { covers(got, wanted) } else { got == wanted })
    })
}

/// A message as it was received.
pub(super) struct Received<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) seq: u32,
    /// What follows `struct nlmsghdr`.
    pub(super) payload: &'a [u8],
}

/// The messages in one datagram. Ends at the first that is malformed.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let payload = rest.get(16..length)?;
        let message = Received { kind: u16_at(rest, 4)?, flags: u16_at(rest, 6)?, seq: u32_at(rest, 8)?, payload };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}
