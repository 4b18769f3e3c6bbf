use super::*;
use proptest::prelude::*;

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

fn conf(subnet: &str, start: &str, end: &str, gateway: &str) -> RangeConf {
    let optional = |s: &str| OptionalIp((!s.is_empty()).then(|| ip(s)));
    RangeConf {
        subnet: subnet.into(),
        range_start: optional(start),
        range_end: optional(end),
        gateway: optional(gateway),
    }
}

fn range(subnet: &str, start: &str, end: &str) -> Range {
    Range::new(&conf(subnet, start, end, "")).unwrap()
}

#[test]
fn defaults() {
    for (subnet, start, end, gateway) in [
        ("192.0.2.0/24", "192.0.2.1", "192.0.2.254", "192.0.2.1"),
        ("192.0.2.0/30", "192.0.2.1", "192.0.2.2", "192.0.2.1"),
        ("192.0.0.0/22", "192.0.0.1", "192.0.3.254", "192.0.0.1"),
        ("0.0.0.0/0", "0.0.0.1", "255.255.255.254", "0.0.0.1"),
        ("255.255.255.252/30", "255.255.255.253", "255.255.255.254", "255.255.255.253"),
        ("2001:db8:1::/64", "2001:db8:1::1", "2001:db8:1::ffff:ffff:ffff:ffff", "2001:db8:1::1"),
        ("2001:db8::/126", "2001:db8::1", "2001:db8::3", "2001:db8::1"),
        ("::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1"),
    ] {
        let r = range(subnet, "", "");
        assert_eq!((r.start, r.end, r.gateway), (ip(start), ip(end), ip(gateway)), "{subnet}");
    }
}

#[test]
fn what_cannot_work_is_refused() {
    for (conf, message) in [
        (conf("10.0.0.0/31", "", "", ""), "Network 10.0.0.0/31 too small to allocate from"),
        (conf("10.0.0.0/32", "", "", ""), "Network 10.0.0.0/32 too small to allocate from"),
        (conf("2001:db8::/127", "", "", ""), "Network 2001:db8::/127 too small to allocate from"),
        (
            conf("192.0.2.12/24", "", "", ""),
            "Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0",
        ),
        (conf("192.0.2.0/24", "192.0.3.1", "", ""), "RangeStart 192.0.3.1 not in network 192.0.2.0/24"),
        (conf("192.0.2.0/24", "", "192.0.4.0", ""), "RangeEnd 192.0.4.0 not in network 192.0.2.0/24"),
        (conf("192.0.2.0/24", "2001:db8::1", "", ""), "RangeStart 2001:db8::1 not in network 192.0.2.0/24"),
        (
            conf("192.0.2.0/24", "192.0.2.50", "192.0.2.40", ""),
            "RangeStart 192.0.2.50 is after RangeEnd 192.0.2.40 (network 192.0.2.0/24)",
        ),
        // The original walks out of the subnet here.
        (
            conf("192.0.2.0/24", "192.0.2.255", "", ""),
            "RangeStart 192.0.2.255 is after RangeEnd 192.0.2.254 (network 192.0.2.0/24)",
        ),
    ] {
        assert_eq!(Range::new(&conf).unwrap_err(), message);
    }
    for subnet in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1", "::ffff:10.0.0.0/120"] {
        assert!(Range::new(&conf(subnet, "", "", "")).is_err(), "{subnet}");
    }
}

#[test]
fn sets_are_of_one_family_and_do_not_overlap() {
    let error = |confs: &[RangeConf]| RangeSet::new(confs).unwrap_err();
    assert_eq!(error(&[]), "empty range set");
    assert_eq!(error(&[conf("10.0.0.0/24", "", "", ""), conf("2001:db8::/64", "", "", "")]), "mixed address families");
    let overlapping = [
        // The same; one within the other; over its start; over its end; sharing one address.
        ("10.0.0.1", "10.0.0.9", "10.0.0.1", "10.0.0.9"),
        ("10.0.0.1", "10.0.0.9", "10.0.0.3", "10.0.0.4"),
        ("10.0.0.5", "10.0.0.9", "10.0.0.1", "10.0.0.6"),
        ("10.0.0.1", "10.0.0.6", "10.0.0.5", "10.0.0.9"),
        ("10.0.0.1", "10.0.0.5", "10.0.0.5", "10.0.0.9"),
    ];
    for (a, b, c, d) in overlapping {
        let confs = [conf("10.0.0.0/24", a, b, ""), conf("10.0.0.0/24", c, d, "")];
        assert_eq!(error(&confs), format!("subnets {a}-{b} and {c}-{d} overlap"));
    }
    let apart = [conf("10.0.0.0/24", "10.0.0.1", "10.0.0.5", ""), conf("10.0.0.0/24", "10.0.0.6", "10.0.0.9", "")];
    let set = RangeSet::new(&apart).unwrap();
    assert_eq!(set.to_string(), "10.0.0.1-10.0.0.5,10.0.0.6-10.0.0.9");
    assert_eq!(set.range_of(ip("10.0.0.6")).unwrap().start, ip("10.0.0.6"));
    assert_eq!(set.range_of(ip("10.0.0.10")), None);
    assert_eq!(set.range_of(ip("::a00:6")), None);
}

fn order(set: &RangeSet, last: Option<&str>) -> Vec<String> {
    set.candidates(last.map(ip)).map(|(ip, _)| ip.to_string()).collect()
}

#[test]
fn the_round_goes_on_behind_the_last_address() {
    let set = RangeSet(vec![range("10.0.0.0/30", "", ""), range("10.9.0.0/29", "10.9.0.2", "10.9.0.4")]);
    assert_eq!(order(&set, None), ["10.0.0.2", "10.9.0.2", "10.9.0.3", "10.9.0.4"]);
    assert_eq!(order(&set, Some("10.0.0.1")), ["10.0.0.2", "10.9.0.2", "10.9.0.3", "10.9.0.4"]);
    assert_eq!(order(&set, Some("10.0.0.2")), ["10.9.0.2", "10.9.0.3", "10.9.0.4", "10.0.0.2"]);
    assert_eq!(order(&set, Some("10.9.0.3")), ["10.9.0.4", "10.0.0.2", "10.9.0.2", "10.9.0.3"]);
    assert_eq!(order(&set, Some("10.9.0.4")), ["10.0.0.2", "10.9.0.2", "10.9.0.3", "10.9.0.4"]);
    // Of another configuration: as if there were none.
    assert_eq!(order(&set, Some("172.16.0.1")), order(&set, None));
    assert_eq!(order(&set, Some("::a00:2")), order(&set, None));
}

#[test]
fn the_ends_of_the_address_space_are_nothing_special() {
    let set = RangeSet(vec![range("255.255.255.252/30", "255.255.255.252", "255.255.255.255")]);
    assert_eq!(order(&set, Some("255.255.255.255")), ["255.255.255.252", "255.255.255.254", "255.255.255.255"]);
    let set = RangeSet(vec![range("0.0.0.0/30", "0.0.0.0", "0.0.0.3")]);
    assert_eq!(order(&set, Some("0.0.0.2")), ["0.0.0.3", "0.0.0.0", "0.0.0.2"]);
    let top = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:";
    let set = RangeSet(vec![range(&format!("{top}fffc/126"), "", "")]);
    assert_eq!(order(&set, Some(&format!("{top}ffff"))), [format!("{top}fffe"), format!("{top}ffff")]);
    let set = RangeSet(vec![range("::/126", "::", "::3")]);
    assert_eq!(order(&set, Some("::")), ["::2", "::3", "::"]);
}

#[test]
fn a_huge_range_is_walked_lazily() {
    let set = RangeSet(vec![range("2001:db8::/64", "", ""), range("::/2", "", "")]);
    let first: Vec<_> = set.candidates(None).take(2).map(|(ip, _)| ip.to_string()).collect();
    assert_eq!(first, ["2001:db8::2", "2001:db8::3"]);
    let last = ip("2001:db8::ffff:ffff:ffff:ffff");
    assert_eq!(set.candidates(Some(last)).next().map(|(ip, _)| ip), Some(ip("::2")));
    let all = RangeSet(vec![range("0.0.0.0/0", "", "")]);
    assert_eq!(all.candidates(None).next().map(|(ip, _)| ip), Some(ip("0.0.0.2")));
}

/// Up to three ranges of one family that do not overlap, short enough to write down, anywhere: at the ends of the address space too.
fn sets() -> impl Strategy<Value = RangeSet> {
    let anywhere = |max: u128| prop_oneof![Just(0), Just(max - 60), 0..=max - 60];
    let base =
        any::<bool>().prop_flat_map(move |v4| (Just(v4), anywhere(if v4 { u32::MAX.into() } else { u128::MAX })));
    let pieces = prop::collection::vec((0u128..4, 0u128..16, 0u128..20), 1..4);
    (base, pieces, any::<bool>()).prop_map(|((v4, base), pieces, swap)| {
        let any = |n: u128| {
            if v4 { with_bits(ip("::").to_canonical().min(ip("0.0.0.0")), n) } else { with_bits(ip("::"), n) }
        };
        let mut at = base;
        let mut ranges: Vec<Range> = Vec::new();
        for (gap, length, gateway) in pieces {
            let (start, end) = (at + gap, at + gap + length);
            let subnet = if v4 { "0.0.0.0/0" } else { "::/0" };
            let gateway = any((start + gateway).min(if v4 { u32::MAX.into() } else { u128::MAX }));
            ranges.push(Range { subnet: subnet.parse().unwrap(), start: any(start), end: any(end), gateway });
            at = end + 1;
        }
        if swap {
            ranges.reverse();
        }
        RangeSet(ranges)
    })
}

proptest! {
    /// The order to try is the list of all addresses, turned so that it begins behind the last one given out.
    #[test]
    fn candidates_are_the_whole_set_once_in_turn(set in sets(), last in 0usize..80) {
        let mut all: Vec<(IpAddr, &Range)> = Vec::new();
        for r in &set.0 {
            all.extend((bits(r.start)..=bits(r.end)).map(|n| (with_bits(r.start, n), r)));
        }
        let last = all.get(last).map(|(ip, _)| *ip);
        if let Some(last) = last {
            let at = all.iter().position(|(ip, _)| *ip == last).unwrap();
            all.rotate_left(at + 1);
        }
        all.retain(|(ip, r)| *ip != r.gateway);
        let got: Vec<(IpAddr, &Range)> = set.candidates(last).collect();
        prop_assert_eq!(got, all);
    }

    /// Whatever is configured is refused or gives a range within its subnet; nothing panics.
    #[test]
    fn a_range_stays_in_its_subnet(
        address in any::<IpAddr>(), length in 0u8..=128, start in any::<Option<IpAddr>>(), end in any::<Option<IpAddr>>(),
        near in any::<bool>(), offsets in (0u128..8, 0u128..8),
    ) {
        let Ok(net) = IpNet::new(address, length) else { return Ok(()) };
        let net = net.trunc();
        let (start, end) = if near {
            let at = |n: u128| with_bits(net.addr(), bits(net.addr()).saturating_add(n));
            (Some(at(offsets.0)), Some(at(offsets.1)))
        } else {
            (start.map(|ip| ip.to_canonical()), end.map(|ip| ip.to_canonical()))
        };
        let conf = RangeConf {
            subnet: net.to_string(), range_start: OptionalIp(start), range_end: OptionalIp(end), gateway: OptionalIp(None),
        };
        let Ok(range) = Range::new(&conf) else { return Ok(()) };
        prop_assert!(net.contains(&range.start) && net.contains(&range.end) && range.start <= range.end);
        prop_assert!(range.contains(range.start) && range.contains(range.end));
        for (ip, _) in RangeSet(vec![range.clone()]).candidates(Some(range.end)).take(3) {
            prop_assert!(range.contains(ip));
        }
    }

    /// File names: the text of an IPv6 address is what Go writes, which never has a dotted part but for IPv4 itself.
    #[test]
    fn addresses_are_written_as_go_writes_them(ip in any::<std::net::Ipv6Addr>(), low in any::<u32>()) {
        for ip in [ip, Ipv6Addr::from_bits(low.into())] {
            let ip = IpAddr::from(ip).to_canonical();
            prop_assert!(ip.is_ipv4() || !ip.to_string().contains('.'), "{}", ip);
        }
    }
}
