use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use proptest::prelude::*;

use super::wire::{covers, text};
use super::*;
use crate::attributes::{attributes, find};

const TABLE: Table<'_> = Table::new(Family::Inet, "t");

/// A batch's bytes as words in the host's order of a little-endian machine.
fn hex(bytes: &[u8]) -> String {
    bytes.chunks(4).map(|w| w.iter().map(|b| format!("{b:02x}")).collect::<String>()).collect::<Vec<_>>().join(" ")
}

#[test]
#[cfg(target_endian = "little")]
fn a_rule_is_these_bytes() {
    let mut batch = Batch::new();
    batch.add_rule(TABLE.chain("c"), &Expressions::new(Family::Inet).drop_packet(), Some("x"));
    // nfgenmsg (NFPROTO_INET), table, chain, expressions, user data: what `nft --debug=mnl add rule inet t c drop comment x` prints.
    let expected = [
        "01000000",
        "06000100 74000000 06000200 63000000",
        "34000480 30000180 0e000100 696d6d65 64696174 65000000",
        "1c000280 08000100 00000000 10000280 0c000280 08000100 00000000",
        "08000700 00027800",
    ];
    let step = &batch.steps[0];
    assert_eq!((step.kind, step.flags), (0x0a06, NLM_F_CREATE | NLM_F_APPEND));
    assert_eq!(hex(&step.message.bytes), expected.join(" "));
}

#[test]
fn prefixes_of_whole_bytes_are_short_loads_and_others_are_masked() {
    let names = |prefix: &str| {
        let e = Expressions::new(Family::Ip).daddr(Is::Equal, prefix.parse().expect("a prefix"));
        let names =
            attributes(&e.wire.bytes).map(|(_, e)| find(e, expr::NAME).and_then(text).expect("a name").to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    for whole in ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "fd00::/8", "fd00::1/128", "fd00:1::/64"] {
        assert_eq!(names(whole), "payload cmp", "{whole}");
    }
    for masked in ["224.0.0.0/4", "10.1.2.0/25", "0.0.0.0/0", "fd00::/66", "::/0"] {
        assert_eq!(names(masked), "payload bitwise cmp", "{masked}");
    }
}

#[test]
fn the_protocol_is_checked_once_where_the_family_needs_it() {
    let names = |family| {
        let prefix = "10.1.2.0/24".parse().expect("a prefix");
        let e = Expressions::new(family).saddr(Is::Equal, prefix).daddr(Is::Not, prefix).dport(
            Is::Equal,
            Transport::Udp,
            53,
        );
        attributes(&e.wire.bytes)
            .filter_map(|(_, e)| find(e, expr::NAME).and_then(text))
            .filter(|n| *n == "meta")
            .count()
    };
    assert_eq!((names(Family::Ip), names(Family::Inet), names(Family::Bridge)), (1, 2, 2));
}

#[test]
fn what_the_kernel_would_cut_is_refused() {
    let nul = Expressions::new(Family::Inet).jump("a\0b");
    let long = Expressions::new(Family::Inet).iifname(Is::Equal, "sixteen-letters-");
    for bad in [nul, long] {
        let mut batch = Batch::new();
        batch.add_rule(TABLE.chain("c"), &bad, None);
        assert!(batch.steps[0].message.invalid);
    }
    let mut batch = Batch::new();
    batch.add_table(Table::new(Family::Inet, &"x".repeat(70_000)), None);
    assert!(batch.steps[0].message.invalid);
}

#[test]
fn comments_are_cut_at_a_character() {
    let mut batch = Batch::new();
    batch.add_rule(TABLE.chain("c"), &Expressions::new(Family::Inet).accept(), Some(&"ä".repeat(100)));
    let rule = Rule::read(&batch.steps[0].message.bytes).expect("a rule");
    assert_eq!(rule.comment.as_deref(), Some("ä".repeat(64).as_str()));
    let odd = format!("x{}", "ä".repeat(100));
    batch.add_rule(TABLE.chain("c"), &Expressions::new(Family::Inet).accept(), Some(&odd));
    let rule = Rule::read(&batch.steps[1].message.bytes).expect("a rule");
    assert_eq!(rule.comment.map(|c| c.len()), Some(127));
}

#[test]
fn a_written_rule_reads_back() {
    let mut batch = Batch::new();
    let does = Expressions::new(Family::Bridge).iifname(Is::Equal, "veth0").jump("other");
    batch.add_rule(TABLE.chain("c"), &does, Some("why"));
    let rule = Rule::read(&batch.steps[0].message.bytes).expect("a rule");
    assert_eq!((rule.table.as_str(), rule.chain.as_str(), rule.comment.as_deref()), ("t", "c", Some("why")));
    assert_eq!(rule.targets().collect::<Vec<_>>(), ["other"]);
    assert!(rule.does(&does));
    assert!(!rule.does(&Expressions::new(Family::Bridge).iifname(Is::Equal, "veth1").jump("other")));
    assert!(!rule.does(&Expressions::new(Family::Bridge).jump("other")));
}

proptest! {
    #[test]
    fn hostile_answers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_any(&bytes);
        let _ = covers(&bytes, &bytes);
    }

    /// The same with the shape of attributes, so that the walk gets somewhere.
    #[test]
    fn torn_rules_never_panic(cut in 0_usize..400, flip in 0_usize..400, to in any::<u8>()) {
        let mut batch = Batch::new();
        let does = Expressions::new(Family::Inet).saddr(Is::Equal, "fd00::1/128".parse().expect("a prefix")).jump("other");
        batch.add_rule(TABLE.chain("c"), &does, Some("why"));
        let mut bytes = batch.steps.remove(0).message.bytes;
        if let Some(byte) = bytes.get_mut(flip) {
            *byte = to;
        }
        bytes.truncate(cut);
        if let Some(rule) = Rule::read(&bytes) {
            let _ = rule.targets().count();
            let _ = rule.does(&does);
        }
    }
}
