//! Rules that an nf_tables-based `iptables` made: they live in `table ip nat` and `table ip6 nat`, so they are removed there, in the same
//! transaction as everything else and without starting `iptables`. It keeps no state of its own beside these tables.

use netlink::Result;
use netlink::nft::{Batch, Family, Nft, Rule, Table};

use super::names;

const TABLES: [Table<'_>; 2] = [Table::new(Family::Ip, "nat"), Table::new(Family::Ip6, "nat")];
const POSTROUTING: &str = "POSTROUTING";

/// Adds to `batch` the removal of this chain, with its rules and the jumps to it, where it is there.
pub(super) fn remove(nft: &mut Nft, batch: &mut Batch, name: &str) -> Result<()> {
    for table in TABLES {
        if nft.has_chain(table.chain(name))? {
            let jumps = nft.rules(table.chain(POSTROUTING))?;
            remove_chain(batch, table, name, &jumps);
        }
    }
    Ok(())
}

/// Adds to `batch` the removal of the masquerade chains of `network` that are stale.
pub(super) fn remove_others(
    nft: &mut Nft,
    batch: &mut Batch,
    network: &str,
    stale: impl Fn(&str) -> bool,
) -> Result<()> {
    let comment = names::iptables_comment_of(network);
    for table in TABLES {
        let rules = nft.table_rules(table)?;
        let mut chains: Vec<&str> = rules
            .iter()
            .filter(|r| names::is_chain(&r.chain) && has_comment(r, &comment) && stale(&r.chain))
            .map(|r| r.chain.as_str())
            .collect();
        chains.sort_unstable();
        chains.dedup();
        for chain in chains {
            remove_chain(batch, table, chain, &rules);
        }
    }
    Ok(())
}

fn remove_chain(batch: &mut Batch, table: Table<'_>, name: &str, rules: &[Rule]) {
    for rule in rules {
        if rule.chain == POSTROUTING && rule.targets().any(|t| t == name) {
            batch.delete_rule(table.chain(POSTROUTING), rule.handle);
        }
    }
    batch.flush_chain(table.chain(name));
    batch.delete_chain(table.chain(name));
}

/// The rule's comment begins like this. `iptables` keeps comments in the private data of an expression (`struct xt_comment_info`), or, as
/// nft(8) does, with the rule.
fn has_comment(rule: &Rule, comment: &str) -> bool {
    let within = |bytes: &[u8]| bytes.windows(comment.len()).any(|w| w == comment.as_bytes());
    rule.comment.as_ref().is_some_and(|c| c.starts_with(comment)) || within(&rule.expressions)
}
