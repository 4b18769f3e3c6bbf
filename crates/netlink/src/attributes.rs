//! Reading netlink attributes: only those that are asked for, each on its own, so that an attribute of an unknown kind or length (a newer
//! kernel's, or hostile bytes) costs that one attribute and never the answer.
//!
//! Requests are built with the message types of `netlink-packet-route`. Its parser is not used for answers, since it refuses a whole message
//! for one attribute it cannot read.

/// `NLA_F_NESTED`: the value is attributes.
pub(crate) const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`.
pub(crate) const KIND: u16 = 0x3fff;

/// The attributes in `bytes` with their kinds as they are marked, up to the first malformed one.
pub(crate) fn marked(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The attributes in `bytes` with their kinds (without flags), up to the first malformed one.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    marked(bytes).map(|(kind, value)| (kind & KIND, value))
}

/// The value of the first attribute of this kind.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// The first byte.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// A number in the machine's byte order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// A number in the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// A string with or without the NUL at its end; bytes that are not UTF-8 are replaced.
pub(crate) fn string(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// An address, of the family that its length says.
pub(crate) fn ip(value: &[u8]) -> Option<std::net::IpAddr> {
    match value.len() {
        4 => Some(<[u8; 4]>::try_from(value).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(value).ok()?.into()),
        _ => None,
    }
}
