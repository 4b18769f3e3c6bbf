//! A rule as the kernel lists it.

use super::batch::USERDATA_COMMENT;
use super::expr::{DATA, ELEMENT, Expressions, IMMEDIATE_DATA, NAME, VERDICT, VERDICT_CHAIN};
use super::wire::{covers, text};
use crate::attributes::{attributes, find};

/// A rule in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its table's name.
    pub table: String,
    /// Its chain's name.
    pub chain: String,
    /// What it is deleted by.
    pub handle: u64,
    /// Its comment, if it has one.
    pub comment: Option<String>,
    /// Its expressions, as the kernel dumps them.
    pub expressions: Vec<u8>,
}

impl Rule {
    /// Reads the payload of an `NFT_MSG_NEWRULE` message.
    pub(super) fn read(payload: &[u8]) -> Option<Rule> {
        let mut rule =
            Rule { table: String::new(), chain: String::new(), handle: 0, comment: None, expressions: Vec::new() };
        // After struct nfgenmsg: NFTA_RULE_TABLE, _CHAIN, _HANDLE, _EXPRESSIONS, _USERDATA.
        for (kind, payload) in attributes(payload.get(4..)?) {
            match kind {
                1 => rule.table = text(payload)?.to_owned(),
                2 => rule.chain = text(payload)?.to_owned(),
                3 => rule.handle = u64::from_be_bytes(payload.try_into().ok()?),
                4 => rule.expressions = payload.to_vec(),
                7 => rule.comment = comment(payload),
                _ => (),
            }
        }
        Some(rule)
    }

    /// The chains that it jumps or goes to.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        attributes(&self.expressions).filter_map(|(_, expression)| {
            if find(expression, NAME).and_then(text) != Some("immediate") {
                return None;
            }
            let verdict = find(find(find(expression, DATA)?, IMMEDIATE_DATA)?, VERDICT)?;
            find(verdict, VERDICT_CHAIN).and_then(text)
        })
    }

    /// It does exactly what these expressions do, in the same order.
    #[must_use]
    pub fn does(&self, expressions: &Expressions) -> bool {
        fn elements(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
            attributes(bytes).filter(|(kind, _)| *kind == ELEMENT).map(|(_, payload)| payload)
        }
        let written = &expressions.wire.bytes;
        elements(&self.expressions).count() == elements(written).count()
            && elements(&self.expressions).zip(elements(written)).all(|(dumped, written)| covers(dumped, written))
    }
}

/// The comment in a rule's user data: type, length, value, one after the other.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let (value, next) = rest.split_at_checked(usize::from(*length))?;
        if *kind == USERDATA_COMMENT {
            let value = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        data = next;
    }
    None
}
