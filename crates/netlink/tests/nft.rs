//! nf_tables against a real kernel, looked at with nft(8).
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plexus_netlink::Mac;
use plexus_netlink::nft::{Base, Batch, ChainType, Expressions, Family, Hook, Is, Nft, Policy, Table, Transport};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::Value;
use testkit::{Namespace, have_root, skip_or_fail};

/// A namespace and an nf_tables socket in it.
fn world() -> Option<(Namespace, Nft)> {
    if !have_root() {
        skip_or_fail("netns", "needs root");
        return None;
    }
    if std::process::Command::new("nft").arg("--version").output().is_err() {
        skip_or_fail("netns", "nft(8) is not installed");
        return None;
    }
    let namespace = Namespace::new();
    let nft = namespace.netns().run(Nft::open).expect("enter").expect("nf_tables");
    Some((namespace, nft))
}

/// What nft(8) lists, without handles.
fn ruleset(namespace: &Namespace) -> Vec<Value> {
    let mut all = namespace.json("nft -j list ruleset")["nftables"].as_array().expect("a list").clone();
    all.retain(|o| o.get("metainfo").is_none());
    for object in &mut all {
        for inner in object.as_object_mut().expect("an object").values_mut() {
            inner.as_object_mut().expect("an object").remove("handle");
        }
    }
    all
}

fn prefix(s: &str) -> ipnet::IpNet {
    s.parse().expect("a prefix")
}

const INET: Table<'_> = Table::new(Family::Inet, "ours");
const BRIDGE: Table<'_> = Table::new(Family::Bridge, "frames");

/// Rules of every kind, and the same as nft(8) is given them.
fn every_kind() -> Vec<(Expressions, &'static str)> {
    let e = || Expressions::new(Family::Inet);
    vec![
        (
            e().saddr(Is::Equal, prefix("10.1.2.2/32")).daddr(Is::Not, prefix("10.1.2.0/24")).masquerade(),
            "ip saddr 10.1.2.2 ip daddr != 10.1.2.0/24 masquerade",
        ),
        (
            e().saddr(Is::Equal, prefix("fd00:1::2/128")).daddr(Is::Not, prefix("fd00:1::/64")).masquerade(),
            "ip6 saddr fd00:1::2 ip6 daddr != fd00:1::/64 masquerade",
        ),
        (e().daddr(Is::Equal, prefix("224.0.0.0/4")).return_to_caller(), "ip daddr 224.0.0.0/4 return"),
        (e().daddr(Is::Equal, prefix("ff00::/8")).return_to_caller(), "ip6 daddr ff00::/8 return"),
        (e().daddr(Is::Not, prefix("fd00::/66")).accept(), "ip6 daddr != fd00::/66 accept"),
        (e().saddr(Is::Equal, prefix("10.1.2.128/25")).accept(), "ip saddr 10.1.2.128/25 accept"),
        (e().dport(Is::Equal, Transport::Tcp, 80).counter().drop_packet(), "tcp dport 80 counter drop"),
        (e().dport(Is::Not, Transport::Udp, 53).accept(), "udp dport != 53 accept"),
        (e().mark(Is::Equal, 0x10).iifname(Is::Equal, "eth0").accept(), "meta mark 0x10 iifname \"eth0\" accept"),
        (e().oifname(Is::Not, "lo").jump("other"), "oifname != \"lo\" jump other"),
        (e().l4proto(Is::Equal, 6).accept(), "meta l4proto tcp accept"),
        (e().version(true).goto("other"), "meta nfproto ipv6 goto other"),
    ]
}

/// Both of ours, in one batch.
fn build(nft: &mut Nft) {
    let nat = |hook, priority| Some(Base { chain_type: ChainType::Nat, hook, priority, policy: None });
    let mut batch = Batch::new();
    batch.add_table(INET, Some("a table's comment"));
    batch.add_chain(INET.chain("other"), None, Some("a chain's comment"));
    batch.add_chain(INET.chain("post"), nat(Hook::Postrouting, 100), None);
    batch.add_chain(
        INET.chain("in"),
        Some(Base { chain_type: ChainType::Filter, hook: Hook::Input, priority: -5, policy: Some(Policy::Drop) }),
        None,
    );
    for (i, (expressions, _)) in every_kind().iter().enumerate() {
        batch.add_rule(INET.chain("post"), expressions, Some(&format!("rule {i}")));
    }
    batch.add_table(BRIDGE, None);
    batch.add_chain(BRIDGE.chain("c"), None, None);
    let mac = Mac([0xde, 0xee, 0x20, 0x2f, 0x79, 0x9b]);
    let e = || Expressions::new(Family::Bridge);
    batch.add_rule(BRIDGE.chain("c"), &e().ether_saddr(Is::Equal, mac).return_to_caller(), None);
    batch.add_rule(BRIDGE.chain("c"), &e().saddr(Is::Equal, prefix("1.2.3.4/32")).drop_packet(), None);
    nft.commit(&batch).expect("commit");
}

#[test]
fn rules_are_those_of_nft() {
    let Some((ours, mut nft)) = world() else { return };
    let Some((theirs, mut their_nft)) = world() else { return };
    build(&mut nft);

    let mut text = String::from(
        "table inet ours {\ncomment \"a table's comment\"\nchain other { comment \"a chain's comment\"; }\n\
         chain post { type nat hook postrouting priority 100; }\n\
         chain in { type filter hook input priority -5; policy drop; }\n}\n",
    );
    for (i, (_, rule)) in every_kind().iter().enumerate() {
        text += &format!("add rule inet ours post {rule} comment \"rule {i}\"\n");
    }
    text += "table bridge frames {\nchain c {\nether saddr de:ee:20:2f:79:9b return\nip saddr 1.2.3.4 drop\n}\n}\n";
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("write");
    theirs.sh(&format!("nft -f {}", file.path().display()));

    assert_eq!(ruleset(&ours), ruleset(&theirs));
    assert_eq!(ours.sh("nft list ruleset"), theirs.sh("nft list ruleset"));
    // Not only do they print alike: it is the same bytecode.
    for rules in [nft.rules(INET.chain("post")), their_nft.rules(INET.chain("post"))] {
        let rules = rules.expect("rules");
        assert_eq!(rules.len(), every_kind().len());
        for (rule, (expressions, text)) in rules.iter().zip(every_kind()) {
            assert!(rule.does(&expressions), "{text}");
        }
    }
}

#[test]
fn adding_again_changes_nothing_but_rules() {
    let Some((ns, mut nft)) = world() else { return };
    build(&mut nft);
    let before = ruleset(&ns).len();
    let mut batch = Batch::new();
    batch.add_table(INET, None);
    batch.add_chain(INET.chain("other"), None, None);
    nft.commit(&batch).expect("commit");
    assert_eq!(ruleset(&ns).len(), before);
    let mut batch = Batch::new();
    batch.create_table(INET, None);
    let error = nft.commit(&batch).expect_err("it is there");
    assert!(error.is(Errno::EXIST), "{error}");
}

#[test]
fn order_deletion_and_flushing() {
    let Some((_ns, mut nft)) = world() else { return };
    let chain = INET.chain("c");
    let accept = Expressions::new(Family::Inet).accept();
    let mut batch = Batch::new();
    batch.add_table(INET, None);
    batch.add_chain(chain, None, None);
    batch.add_rule(chain, &accept, Some("b"));
    batch.add_rule(chain, &accept, Some("c"));
    batch.insert_rule(chain, &accept, Some("a"));
    nft.commit(&batch).expect("commit");
    let comments = |nft: &mut Nft| -> Vec<String> {
        nft.rules(chain).expect("rules").into_iter().map(|r| r.comment.expect("a comment")).collect()
    };
    assert_eq!(comments(&mut nft), ["a", "b", "c"]);

    let handle = nft.rules(chain).expect("rules")[1].handle;
    let mut batch = Batch::new();
    batch.delete_rule(chain, handle);
    nft.commit(&batch).expect("commit");
    assert_eq!(comments(&mut nft), ["a", "c"]);
    assert!(nft.commit(&batch).expect_err("gone").is(Errno::NOENT));

    let mut batch = Batch::new();
    batch.flush_chain(chain);
    batch.add_rule(chain, &accept, Some("new"));
    nft.commit(&batch).expect("commit");
    assert_eq!(comments(&mut nft), ["new"]);

    let mut batch = Batch::new();
    batch.flush_chain(chain);
    batch.delete_chain(chain);
    nft.commit(&batch).expect("commit");
    assert!(!nft.has_chain(chain).expect("look"));
    assert_eq!(nft.rules(chain).expect("none"), []);
    assert_eq!(nft.rules(Table::new(Family::Ip6, "no such").chain("c")).expect("none"), []);
    assert!(!nft.has_chain(Table::new(Family::Ip6, "no such").chain("c")).expect("look"));
}

#[test]
fn a_failed_batch_names_its_object_and_leaves_nothing() {
    let Some((ns, mut nft)) = world() else { return };
    let mut batch = Batch::new();
    batch.add_table(INET, None);
    batch.add_chain(INET.chain("c"), None, None);
    batch.add_rule(INET.chain("c"), &Expressions::new(Family::Inet).jump("nowhere"), Some("why"));
    batch.add_rule(INET.chain("nor this"), &Expressions::new(Family::Inet).accept(), None);
    let error = nft.commit(&batch).expect_err("there is no chain \"nowhere\"");
    assert!(error.is(Errno::NOENT), "{error}");
    let text = error.to_string();
    assert!(text.contains("add nftables rule in chain inet ours c (why)"), "{text}");
    assert_eq!(ruleset(&ns), [] as [Value; 0]);

    // The place that the kernel points at is a name.
    let mut batch = Batch::new();
    batch.delete_chain(INET.chain("gone"));
    let text = nft.commit(&batch).expect_err("no such table").to_string();
    assert!(text.contains("(kernel: about \"ours\")"), "{text}");

    // The socket works on.
    build(&mut nft);
    let mut batch = Batch::new();
    batch.delete_chain(INET.chain("other"));
    let error = nft.commit(&batch).expect_err("rules jump to it");
    assert!(error.is(Errno::BUSY), "{error}");
}

/// The kernel then answers the batch's begin and nothing else; who waits for more gets ETIMEDOUT.
#[test]
fn without_the_privilege_a_batch_is_refused_as_a_whole() {
    let Some((ns, mut nft)) = world() else { return };
    let mut batch = Batch::new();
    batch.add_table(INET, None);
    batch.add_chain(INET.chain("c"), None, None);
    let committed = std::thread::scope(|scope| {
        // Capabilities are a thread's.
        let without = scope.spawn(|| {
            let mut sets = capabilities(None).expect("capabilities");
            sets.effective.remove(CapabilitySet::NET_ADMIN);
            set_capabilities(None, sets).expect("fewer capabilities");
            nft.commit(&batch)
        });
        without.join().expect("the thread")
    });
    let error = committed.expect_err("CAP_NET_ADMIN is needed");
    assert!(error.is(Errno::PERM), "{error}");
    assert!(error.to_string().starts_with("failed to add nftables table inet ours: "), "{error}");
    assert_eq!(ruleset(&ns), [] as [Value; 0]);
}

#[test]
fn thousands_of_rules_in_one_batch() {
    let Some((ns, mut nft)) = world() else { return };
    let chain = INET.chain("c");
    let mut batch = Batch::new();
    batch.add_table(INET, None);
    batch.add_chain(chain, None, None);
    for i in 0..5000_u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + i);
        let rule = Expressions::new(Family::Inet).saddr(Is::Equal, ipnet::IpNet::from(std::net::IpAddr::V4(address)));
        batch.add_rule(chain, &rule.masquerade(), Some(&format!("rule {i}")));
    }
    // A masquerade needs a nat chain to be reached from; this one is not, which the kernel accepts.
    nft.commit(&batch).expect("commit");
    let rules = nft.rules(chain).expect("rules");
    assert!(rules.iter().map(|r| r.comment.as_deref().expect("a comment")).eq((0..5000).map(|i| format!("rule {i}"))));
    assert_eq!(ns.sh("nft list chain inet ours c").matches("masquerade").count(), 5000);

    let mut batch = Batch::new();
    for rule in &rules {
        batch.delete_rule(chain, rule.handle);
    }
    // All of them fail after the first of these: thousands of errors do not hide the first.
    batch.delete_rule(chain, u64::MAX);
    let error = nft.commit(&batch).expect_err("no such handle");
    assert!(error.to_string().contains(&format!("{}", u64::MAX)), "{error}");
    assert_eq!(nft.rules(chain).expect("rules").len(), 5000);
}

/// A dump is whole, or it is begun again, while another process keeps changing the ruleset.
#[test]
fn dumps_are_whole_while_others_commit() {
    let Some((ns, mut nft)) = world() else { return };
    let chain = INET.chain("c");
    let accept = Expressions::new(Family::Inet).accept();
    let mut batch = Batch::new();
    batch.add_table(INET, None);
    batch.add_chain(chain, None, None);
    for _ in 0..1000 {
        batch.add_rule(chain, &accept, Some("stays"));
    }
    nft.commit(&batch).expect("commit");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = ns.netns().run(Nft::open).expect("enter").expect("open");
            while !stop.load(Ordering::Relaxed) {
                let mut batch = Batch::new();
                batch.insert_rule(chain, &accept, Some("moves"));
                other.commit(&batch).expect("commit");
                let began = Instant::now();
                let first = other.rules(chain).expect("rules")[0].handle;
                let mut batch = Batch::new();
                batch.delete_rule(chain, first);
                other.commit(&batch).expect("commit");
                // Who changes it in less time than a dump takes, always, leaves no dump whole.
                std::thread::sleep(began.elapsed() * 2);
            }
        });
        // A panic in here would wait for the other thread for ever.
        let dumped = (0..200).try_for_each(|_| {
            let rules = nft.rules(chain).map_err(|e| e.to_string())?;
            let stay = rules.iter().filter(|r| r.comment.as_deref() == Some("stays")).count();
            if stay == 1000 { Ok(()) } else { Err(format!("{stay} rules instead of 1000")) }
        });
        stop.store(true, Ordering::Relaxed);
        assert_eq!(dumped, Ok(()));
    });
}

/// The collector does close: no nfnetlink socket of this namespace stays.
#[test]
fn a_dropped_handle_is_closed() {
    let Some((ns, nft)) = world() else { return };
    drop(nft);
    for _ in 0..50 {
        let mut nft = ns.netns().run(Nft::open).expect("enter").expect("open");
        build(&mut nft);
        let mut batch = Batch::new();
        batch.delete_table(INET);
        batch.delete_table(BRIDGE);
        nft.commit(&batch).expect("commit");
    }
    // Protocol 12 in the second column; the kernel's own socket has port 0 in the third.
    let sockets = || {
        let all = ns.sh("cat /proc/net/netlink");
        let fields = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        all.lines().map(fields).filter(|f| f[1] == "12" && f[2] != "0").count()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while sockets() > 0 {
        assert!(Instant::now() < deadline, "{} sockets are still open", sockets());
        std::thread::sleep(Duration::from_millis(10));
    }
}
