//! What one read of a netlink socket brings: messages, and the kernel's refusals with its extended acks.

use rustix::io::Errno;

use super::Refusal;
use crate::attributes::{attributes, string, u16_at, u32_at};

/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

// include/uapi/linux/netlink.h
pub(super) const NLMSG_NOOP: u16 = 1;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLMSG_OVERRUN: u16 = 4;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(super) const NLM_F_CAPPED: u16 = 0x100;
pub(super) const NLM_F_ACK_TLVS: u16 = 0x200;
pub(super) const NLMSGERR_ATTR_MSG: u16 = 1;
pub(super) const NLMSGERR_ATTR_OFFS: u16 = 2;
pub(super) const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;

/// One message of what was received.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) content: Content<'a>,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    Payload(&'a [u8]),
    /// An ack or the end of a dump; with an error, its report.
    End(Option<Report<'a>>),
    Overrun,
}

/// An error with its extended ack.
#[derive(Debug)]
pub(super) struct Report<'a> {
    errno: i32,
    extended: &'a [u8],
}

impl Report<'_> {
    /// Reads the extended ack. The offset of the attribute at fault is looked up in the request: nf_tables gives no text for a missing
    /// table or chain, only the place of its name.
    pub(super) fn refusal(&self, sent: &[u8], sequence: u32) -> Refusal {
        let errno = if self.errno < 4096 { Errno::from_raw_os_error(self.errno) } else { Errno::PROTO };
        let mut refusal = Refusal { errno, text: String::new() };
        let mut more = String::new();
        for (kind, value) in attributes(self.extended) {
            match kind {
                NLMSGERR_ATTR_MSG => refusal.text = string(value),
                NLMSGERR_ATTR_OFFS => {
                    let Some(offset) = u32_at(value, 0) else { continue };
                    let sent = sent_message(sent, sequence).and_then(|m| m.get(offset as usize..));
                    more = match sent.and_then(|rest| attributes(rest).next()) {
                        Some((_, value)) if is_name(value) => format!("about \"{}\"", string(value)),
                        Some((kind, _)) => format!("attribute {kind} at byte {offset} of the request"),
                        None => format!("byte {offset} of the request"),
                    };
                }
                NLMSGERR_ATTR_MISS_TYPE => {
                    more = format!("attribute {} is missing", u32_at(value, 0).unwrap_or_default());
                }
                _ => {}
            }
        }
        if !more.is_empty() {
            let separator = if refusal.text.is_empty() { "" } else { "; " };
            refusal.text = format!("{}{separator}{more}", refusal.text);
        }
        refusal
    }
}

/// A string of two characters or more with its NUL. A small number is one character and zeros in rtnetlink's byte order, the machine's,
/// and begins with zeros in nf_tables'.
fn is_name(value: &[u8]) -> bool {
    match value {
        [name @ .., 0] => name.len() > 1 && std::str::from_utf8(name).is_ok_and(|n| n.chars().all(|c| !c.is_control())),
        _ => false,
    }
}

/// The message with this sequence number among those sent.
fn sent_message(sent: &[u8], sequence: u32) -> Option<&[u8]> {
    let mut rest = sent;
    loop {
        let length = u32_at(rest, 0)? as usize;
        let message = rest.get(..length)?;
        if u32_at(message, 8)? == sequence {
            return Some(message);
        }
        rest = rest.get(length.next_multiple_of(4).max(HEADER)..)?;
    }
}

/// The messages in what one read brought.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let Some((message, rest)) = split(self.0) else {
                self.0 = &[];
                return Some(Err(Refusal::new(Errno::BADMSG, "malformed netlink answer")));
            };
            self.0 = rest;
            if message.kind != NLMSG_NOOP {
                return Some(Ok(message));
            }
        }
    }
}

/// The first message and what follows it.
fn split(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let payload = bytes.get(HEADER..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    let (kind, flags, sequence) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?, u32_at(bytes, 8)?);
    let content = match kind {
        NLMSG_ERROR | NLMSG_DONE => {
            // An empty NLMSG_DONE is a success.
            let code = if payload.is_empty() && kind == NLMSG_DONE { 0 } else { u32_at(payload, 0)?.cast_signed() };
            let report =
                || Report { errno: code.checked_neg().unwrap_or(i32::MAX), extended: extended(kind, flags, payload) };
            Content::End((code < 0).then(report))
        }
        NLMSG_OVERRUN => Content::Overrun,
        _ => Content::Payload(payload),
    };
    Some((Message { kind, flags, sequence, content }, rest))
}

/// The attributes of an extended ack: behind the error number and, in NLMSG_ERROR, behind the request's header, or the whole request unless
/// it was capped.
fn extended(kind: u16, flags: u16, payload: &[u8]) -> &[u8] {
    if flags & NLM_F_ACK_TLVS == 0 {
        return &[];
    }
    let request = match kind {
        NLMSG_DONE => 0,
        _ if flags & NLM_F_CAPPED != 0 => HEADER,
        _ => (u32_at(payload, 4).unwrap_or_default() as usize).next_multiple_of(4).max(HEADER),
    };
    payload.get(4 + request..).unwrap_or_default()
}

/// For fuzzing: the payloads of the messages in what one read brought; the extended acks are read too, as answers to no request.
pub(crate) fn payloads(bytes: &[u8]) -> Vec<&[u8]> {
    let contents = Messages(bytes).map_while(|message| Some(message.ok()?.content));
    contents
        .filter_map(|content| match content {
            Content::Payload(payload) => Some(payload),
            Content::End(Some(report)) => {
                let _ = report.refusal(bytes, 1);
                None
            }
            Content::End(None) | Content::Overrun => None,
        })
        .collect()
}
