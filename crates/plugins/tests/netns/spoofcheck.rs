//! The rules against forged MAC addresses in real network namespaces, looked at with nft(8).

use plexus_plugins::spoofcheck;
use testkit::{Namespace, have_root, skip_or_fail};

fn host() -> Option<Namespace> {
    if !have_root() {
        skip_or_fail("netns", "network namespaces need root");
        return None;
    }
    if std::process::Command::new("nft").arg("--version").output().is_err() {
        skip_or_fail("netns", "nft is not installed");
        return None;
    }
    Some(Namespace::new())
}

fn setup(host: &Namespace, veth: &str, mac: &str, id: &str) -> cni::Result<()> {
    host.netns().run(|| spoofcheck::setup(veth, mac, id, "eth0")).unwrap()
}

fn teardown(host: &Namespace, id: &str) {
    host.netns().run(|| spoofcheck::teardown(id, "eth0")).unwrap().unwrap();
}

const MAC: &str = "de:ee:20:2f:79:9b";

#[test]
fn rules_come_and_go() {
    let Some(host) = host() else { return };
    setup(&host, "veth0", MAC, "abc123").unwrap();
    let comment = "comment \"macspoofchk-abc123-eth0\"";
    let rules = |veth: &str| {
        format!(
            "table bridge nat {{
\tchain PREROUTING {{
\t\ttype filter hook prerouting priority dstnat; policy accept;
\t\tiifname \"{veth}\" jump cni-br-iface-abc123-eth0 {comment}
\t}}

\tchain cni-br-iface-abc123-eth0 {{
\t\tjump cni-br-iface-abc123-eth0-mac {comment}
\t}}

\tchain cni-br-iface-abc123-eth0-mac {{
\t\tether saddr {MAC} return {comment}
\t\tdrop {comment}
\t}}
}}
"
        )
    };
    assert_eq!(host.sh("nft list ruleset"), rules("veth0"));
    // Another attempt replaces what an earlier one left, its jump from a veth that is gone included.
    setup(&host, "veth1", MAC, "abc123").unwrap();
    assert_eq!(host.sh("nft list ruleset"), rules("veth1"));

    setup(&host, "veth2", MAC, "other").unwrap();
    for _ in 0..2 {
        teardown(&host, "abc123");
        let left = host.sh("nft list ruleset");
        assert!(!left.contains("abc123") && left.matches("macspoofchk-other-eth0").count() == 4, "{left}");
    }
    teardown(&host, "other");
    let left = host.sh("nft list ruleset");
    assert!(left.contains("PREROUTING") && !left.contains("cni-br-iface"), "{left}");
}

#[test]
fn teardown_on_a_host_without_rules_makes_none() {
    let Some(host) = host() else { return };
    teardown(&host, "abc123");
    assert_eq!(host.sh("nft list ruleset"), "");
}

/// What kills between the original's several nft runs leave.
#[test]
fn half_made_rules_go() {
    let Some(host) = host() else { return };
    let steps = [
        "nft add table bridge nat",
        "nft add chain bridge nat PREROUTING { type filter hook prerouting priority -300 ; policy accept ; }",
        "nft add chain bridge nat cni-br-iface-abc123-eth0",
        "nft add chain bridge nat cni-br-iface-abc123-eth0-mac",
        "nft add rule bridge nat PREROUTING iifname veth0 jump cni-br-iface-abc123-eth0",
        "nft add rule bridge nat cni-br-iface-abc123-eth0 jump cni-br-iface-abc123-eth0-mac",
    ];
    for killed_after in 0..=steps.len() {
        steps[..killed_after].iter().for_each(|step| drop(host.sh(step)));
        teardown(&host, "abc123");
        let left = host.sh("nft list ruleset");
        assert!(!left.contains("cni-br-iface"), "after {killed_after}: {left}");
    }
}

#[test]
fn many_at_once() {
    let Some(host) = host() else { return };
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let host = &host;
            scope.spawn(move || {
                for round in 0..10 {
                    let id = format!("{thread}-{round}");
                    setup(host, &format!("veth{thread}"), MAC, &id).unwrap();
                    if round != 0 {
                        teardown(host, &id);
                    }
                }
            });
        }
    });
    let left = host.sh("nft list ruleset");
    assert_eq!(left.matches("chain cni-br-iface-").count(), 12 * 2, "{left}");
    assert_eq!(left.matches("iifname").count(), 12, "{left}");
}

#[test]
fn what_is_no_mac_address_is_refused() {
    let Some(host) = host() else { return };
    for bad in ["", "de:ee:20:2f:79", "any", "de:ee:20:2f:79:9b:00:00"] {
        let error = setup(&host, "veth0", bad, "abc123").unwrap_err();
        assert!(error.message.contains("MAC"), "{error}");
    }
    assert_eq!(host.sh("nft list ruleset"), "");
}

#[test]
fn forged_frames_are_dropped() {
    let Some(host) = host() else { return };
    let pods = [Namespace::new(), Namespace::new()];
    host.sh("ip link add br0 type bridge");
    host.sh("ip link set br0 up");
    for (i, pod) in pods.iter().enumerate() {
        host.sh(&format!("ip link add veth{i} type veth peer name eth0 netns {}", pod.path().display()));
        host.sh(&format!("ip link set veth{i} master br0 up"));
        pod.sh(&format!("ip link set eth0 address 02:00:00:00:00:0{i} up"));
        pod.sh(&format!("ip addr add 10.1.2.{}/24 dev eth0", i + 1));
    }
    let ping = || pods[0].run("ping -c1 -W1 10.1.2.2").status.success();
    // A port forwards once the kernel's workers have told the bridge of its carrier, and they may be busy with others' links.
    let reaches = || (0..20).any(|_| ping());
    setup(&host, "veth0", "02:00:00:00:00:00", "abc123").unwrap();
    assert!(reaches());
    pods[0].sh("ip link set eth0 address 02:00:00:00:00:aa");
    assert!(!ping());
    teardown(&host, "abc123");
    assert!(reaches());
}

/// A defect that there was: the ADD failed with everything made, and no DEL after it ever succeeded.
#[test]
fn a_container_whose_chains_would_have_names_too_long_is_refused_and_deleted() {
    let Some(host) = host() else { return };
    // 13 for the prefix, 5 for the interface, 4 for the suffix.
    let longest = "c".repeat(255 - 22);
    spoofcheck::validate(&longest, "eth0").unwrap();
    setup(&host, "veth0", MAC, &longest).unwrap();
    teardown(&host, &longest);
    assert!(!host.sh("nft list ruleset").contains("ccc"));
    let error = spoofcheck::validate(&format!("{longest}c"), "eth0").unwrap_err();
    assert!(error.message.contains("256 bytes") && error.details.contains("macspoofchk"), "{error}");
    teardown(&host, &format!("{longest}c"));
}
