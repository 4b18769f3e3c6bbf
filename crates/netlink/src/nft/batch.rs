//! A batch: changes to the ruleset that the kernel makes all together or not at all.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use super::expr::Expressions;
use super::wire::{Writer, message};
use super::{Chain, Table};

/// A string in an object's user data is preceded by type and length in one byte each; the comment is type 0 of tables, chains and rules
/// alike (libnftnl, `NFTNL_UDATA_*_COMMENT`).
pub(super) const USERDATA_COMMENT: u8 = 0;
/// nft(8) takes comments up to this many bytes.
pub const COMMENT_MAX: usize = 128;

/// Where a base chain hooks into the kernel (`enum nf_inet_hooks`; the bridge's hooks have the same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting = 0,
    /// To this host.
    Input = 1,
    /// Through this host.
    Forward = 2,
    /// From this host.
    Output = 3,
    /// After routing.
    Postrouting = 4,
}

/// What a base chain is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainType {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
    /// `route`.
    Route,
}

/// What happens to a packet that comes to the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is dropped.
    Drop = 0,
    /// It goes on.
    Accept = 1,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// `type`.
    pub chain_type: ChainType,
    /// `hook`.
    pub hook: Hook,
    /// `priority`: lower runs earlier.
    pub priority: i32,
    /// `policy`; `None` leaves that of an existing chain alone and is `accept` for a new one.
    pub policy: Option<Policy>,
}

/// Changes to be made together. Objects that exist already are left as they are, unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) steps: Vec<Step>,
}

/// One message of a batch: what it does, to what.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) attempted: &'static str,
    pub(super) object: String,
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) message: Writer,
}

impl Batch {
    /// Nothing to do yet.
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    /// Nothing to do: committing it is no request at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds a table if it is not there; the comment is that of a new one.
    pub fn add_table(&mut self, table: Table<'_>, comment: Option<&str>) {
        self.table(table, 0, comment);
    }

    /// Adds a table; `EEXIST` if it is there.
    pub fn create_table(&mut self, table: Table<'_>, comment: Option<&str>) {
        self.table(table, NLM_F_EXCL, comment);
    }

    fn table(&mut self, table: Table<'_>, flags: u16, comment: Option<&str>) {
        self.step("add nftables", table.to_string(), message::NEWTABLE, NLM_F_CREATE | flags, table, |w| {
            w.string(1, table.name);
            if let Some(comment) = comment {
                w.attribute(6, &userdata(comment));
            }
        });
    }

    /// Deletes a table with everything in it; `ENOENT` if it is not there.
    pub fn delete_table(&mut self, table: Table<'_>) {
        self.step("delete nftables", table.to_string(), message::DELTABLE, 0, table, |w| w.string(1, table.name));
    }

    /// Adds a chain if it is not there; `None` makes a regular one. `EEXIST` if a base chain of that name hooks elsewhere.
    pub fn add_chain(&mut self, chain: Chain<'_>, base: Option<Base>, comment: Option<&str>) {
        self.step("add nftables", chain.to_string(), message::NEWCHAIN, NLM_F_CREATE, chain.table, |w| {
            w.string(1, chain.table.name);
            w.string(3, chain.name);
            if let Some(base) = base {
                w.nest(4, |w| {
                    w.be32(1, base.hook as u32);
                    w.be32(2, base.priority.cast_unsigned());
                });
                if let Some(policy) = base.policy {
                    w.be32(5, policy as u32);
                }
                let name = match base.chain_type {
                    ChainType::Filter => "filter",
                    ChainType::Nat => "nat",
                    ChainType::Route => "route",
                };
                w.string(7, name);
            }
            if let Some(comment) = comment {
                w.attribute(12, &userdata(comment));
            }
        });
    }

    /// Deletes a chain, which must have no rules and nothing that jumps to it (`EBUSY`); `ENOENT` if it is not there.
    pub fn delete_chain(&mut self, chain: Chain<'_>) {
        self.step("delete nftables", chain.to_string(), message::DELCHAIN, 0, chain.table, |w| {
            w.string(1, chain.table.name);
            w.string(3, chain.name);
        });
    }

    /// Deletes all rules of a chain, those that came before in this batch included. Closing the socket waits for what is deleted
    /// (see [`super::Nft`]); where there is nothing to delete, nothing waits.
    pub fn flush_chain(&mut self, chain: Chain<'_>) {
        self.step("flush nftables", chain.to_string(), message::DELRULE, 0, chain.table, |w| {
            w.string(1, chain.table.name);
            w.string(2, chain.name);
        });
    }

    /// Adds a rule at the end of a chain. A comment over [`COMMENT_MAX`] bytes is cut.
    pub fn add_rule(&mut self, chain: Chain<'_>, expressions: &Expressions, comment: Option<&str>) {
        self.rule(chain, NLM_F_APPEND, expressions, comment);
    }

    /// Adds a rule at the start of a chain.
    pub fn insert_rule(&mut self, chain: Chain<'_>, expressions: &Expressions, comment: Option<&str>) {
        self.rule(chain, 0, expressions, comment);
    }

    fn rule(&mut self, chain: Chain<'_>, flags: u16, expressions: &Expressions, comment: Option<&str>) {
        let object = match comment {
            Some(comment) => format!("in {chain} ({comment})"),
            None => format!("in {chain}"),
        };
        self.step("add nftables rule", object, message::NEWRULE, NLM_F_CREATE | flags, chain.table, |w| {
            w.string(1, chain.table.name);
            w.string(2, chain.name);
            w.invalid |= expressions.wire.invalid;
            w.nest(4, |w| w.bytes.extend_from_slice(&expressions.wire.bytes));
            if let Some(comment) = comment {
                w.attribute(7, &userdata(comment));
            }
        });
    }

    /// Deletes a rule; `ENOENT` if it is not there.
    pub fn delete_rule(&mut self, chain: Chain<'_>, handle: u64) {
        let object = format!("{handle} in {chain}");
        self.step("delete nftables rule", object, message::DELRULE, 0, chain.table, |w| {
            w.string(1, chain.table.name);
            w.string(2, chain.name);
            w.be64(3, handle);
        });
    }

    fn step(
        &mut self,
        attempted: &'static str,
        object: String,
        kind: u16,
        flags: u16,
        table: Table<'_>,
        inside: impl FnOnce(&mut Writer),
    ) {
        self.steps.push(Step { attempted, object, kind, flags, message: Writer::message(table.family, inside) });
    }
}

/// A comment as user data, cut at a character's boundary if it is too long.
fn userdata(comment: &str) -> Vec<u8> {
    let comment = &comment[..comment.floor_char_boundary(COMMENT_MAX)];
    let mut data = vec![USERDATA_COMMENT, comment.len() as u8 + 1];
    data.extend_from_slice(comment.as_bytes());
    data.push(0);
    data
}
