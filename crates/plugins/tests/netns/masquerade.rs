//! Masquerade rules in real network namespaces, looked at with nft(8) and `iptables-save`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use ipnet::IpNet;
use plexus_plugins::Attachment;
use plexus_plugins::masquerade::Masquerade;
use testkit::{Namespace, have_root, skip_or_fail};

const ID: &str = "abc123";

fn of<'a>(network: &'a str, container_id: &'a str, backend: Option<&'a str>) -> Masquerade<'a> {
    Masquerade { network, container_id, ifname: "eth0", backend }
}

fn addresses(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

/// A host with the tools that look at it.
fn host(tools: &[&str]) -> Option<Namespace> {
    if !have_root() {
        skip_or_fail("netns", "network namespaces need root");
        return None;
    }
    for tool in tools {
        if Command::new(tool).arg("--version").output().is_err() {
            skip_or_fail("netns", &format!("{tool} is not installed"));
            return None;
        }
    }
    Some(Namespace::new())
}

/// Runs in the host's namespace.
fn on<T: Send>(host: &Namespace, f: impl FnOnce() -> T + Send) -> T {
    host.netns().run(f).unwrap()
}

/// `nft list table`, without the table's handle; empty if it is not there.
fn table(host: &Namespace) -> String {
    let out = host.run("nft list table inet cni_plugins_masquerade");
    String::from_utf8(out.stdout).unwrap()
}

/// The comments of the rules in the chain of addresses.
fn comments(host: &Namespace) -> Vec<String> {
    let all = host.json("nft -j list chain inet cni_plugins_masquerade masq_checks");
    let rules = all["nftables"].as_array().unwrap().iter().filter_map(|o| o["rule"]["comment"].as_str());
    rules.map(str::to_owned).collect()
}

/// What `iptables-save` and `ip6tables-save` print of table nat's rules and own chains, with these programs.
fn saved(host: &Namespace, suffix: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for program in ["iptables", "ip6tables"] {
        let all = host.sh(&format!("{program}{suffix}-save -t nat"));
        let own = |l: &&str| l.starts_with("-A") || l.starts_with(":CNI-");
        lines.extend(all.lines().filter(own).map(str::to_owned));
    }
    lines
}

const BASE: &str = "\
\tchain postrouting {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tip daddr 224.0.0.0/4 return
\t\tip6 daddr ff00::/8 return
\t\tgoto masq_checks
\t}
";

#[test]
fn nftables_rules_come_and_go() {
    let Some(host) = host(&["nft"]) else { return };
    let network = of("mynet", ID, None);
    let other = of("mynet", "other", Some("nftables"));
    on(&host, || network.setup(&addresses(&["10.1.2.2/24", "fd00:1::2/64"])).unwrap());
    let comment = "d23676b4f2d9fe04-ebce0e3dd4dafae3, net: mynet, if: eth0, id: abc123";
    let expected = format!(
        "table inet cni_plugins_masquerade {{
\tcomment \"Masquerading for plugins from github.com/containernetworking/plugins\"
\tchain masq_checks {{
\t\tcomment \"Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet\"
\t\tip saddr 10.1.2.2 ip daddr != 10.1.2.0/24 masquerade comment \"{comment}\"
\t\tip6 saddr fd00:1::2 ip6 daddr != fd00:1::/64 masquerade comment \"{comment}\"
\t}}

{BASE}}}
"
    );
    assert_eq!(table(&host), expected);
    // Again, and with the addresses of another attempt.
    let handles = host.sh("nft -a list ruleset");
    on(&host, || network.setup(&addresses(&["10.1.2.2/24", "fd00:1::2/64"])).unwrap());
    assert_eq!(host.sh("nft -a list ruleset"), handles);
    on(&host, || network.setup(&addresses(&["10.1.2.3/24"])).unwrap());
    assert!(table(&host).contains("ip saddr 10.1.2.3 ip daddr != 10.1.2.0/24 masquerade"));
    assert_eq!(comments(&host), [comment]);

    on(&host, || other.setup(&addresses(&["10.1.2.4/24"])).unwrap());
    assert_eq!(comments(&host).len(), 2);
    for _ in 0..2 {
        on(&host, || network.teardown().unwrap());
        assert_eq!(comments(&host).len(), 1);
        assert!(comments(&host)[0].contains("id: other"));
    }
    on(&host, || other.teardown().unwrap());
    assert!(table(&host).contains(BASE), "the table and its base chain stay, as with the originals");
    assert_eq!(comments(&host), [] as [String; 0]);
}

#[test]
fn a_damaged_base_is_repaired() {
    let Some(host) = host(&["nft"]) else { return };
    for damage in [
        "nft flush chain inet cni_plugins_masquerade postrouting",
        "nft add rule inet cni_plugins_masquerade postrouting accept",
        "nft delete chain inet cni_plugins_masquerade postrouting",
        "nft flush table inet cni_plugins_masquerade",
        "nft delete table inet cni_plugins_masquerade",
    ] {
        on(&host, || of("mynet", ID, None).setup(&addresses(&["10.1.2.2/24"])).unwrap());
        host.sh(damage);
        on(&host, || of("mynet", ID, None).setup(&addresses(&["10.1.2.2/24"])).unwrap());
        assert!(table(&host).contains(BASE), "{damage}: {}", table(&host));
        assert_eq!(comments(&host).len(), 1, "{damage}");
    }
}

#[test]
fn nothing_to_tear_down_is_fine_and_makes_nothing() {
    let Some(host) = host(&["nft"]) else { return };
    on(&host, || of("mynet", ID, None).teardown().unwrap());
    on(&host, || Masquerade::gc("mynet", &[]).unwrap());
    assert_eq!(host.sh("nft list ruleset"), "");
}

#[test]
fn an_unknown_backend_is_refused_but_torn_down() {
    let Some(host) = host(&["nft"]) else { return };
    let unknown = of("mynet", ID, Some("pf"));
    let error = unknown.validate().unwrap_err();
    assert!(error.message.contains("unknown ipmasq backend \"pf\""), "{error}");
    on(&host, || unknown.setup(&addresses(&["10.1.2.2/24"])).unwrap_err());
    on(&host, || of("mynet", ID, None).setup(&addresses(&["10.1.2.2/24"])).unwrap());
    on(&host, || unknown.teardown().unwrap());
    assert_eq!(comments(&host), [] as [String; 0]);
}

/// Only what leaves the network is masqueraded: the outside, which has no way back, answers the host's address.
#[test]
fn packets_leave_with_the_hosts_address() {
    let Some(host) = host(&["nft", "ping"]) else { return };
    let (pod, outside) = (Namespace::new(), Namespace::new());
    host.sh(&format!("ip link add p0 type veth peer name eth0 netns {}", pod.path().display()));
    host.sh(&format!("ip link add o0 type veth peer name eth0 netns {}", outside.path().display()));
    for line in ["addr add 10.1.2.1/24 dev p0", "addr add 198.51.100.1/24 dev o0", "link set p0 up", "link set o0 up"] {
        host.sh(&format!("ip {line}"));
    }
    host.sh("sysctl -qw net.ipv4.ip_forward=1");
    for (ns, address) in [(&pod, "10.1.2.2/24"), (&outside, "198.51.100.2/24")] {
        ns.sh("ip link set eth0 up");
        ns.sh(&format!("ip addr add {address} dev eth0"));
    }
    pod.sh("ip route add default via 10.1.2.1");
    let ping = |to: &str| pod.run(&format!("ping -c1 -W1 {to}")).status.success();
    assert!(ping("10.1.2.1"));
    assert!(!ping("198.51.100.2"), "the outside has no route to the pod");
    let network = of("mynet", ID, None);
    on(&host, || network.setup(&addresses(&["10.1.2.2/24"])).unwrap());
    assert!(ping("198.51.100.2"));
    on(&host, || network.teardown().unwrap());
    assert!(!ping("198.51.100.2"));
}

#[test]
fn many_at_once() {
    let Some(host) = host(&["nft"]) else { return };
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let host = &host;
            scope.spawn(move || {
                on(host, || {
                    for round in 0..20 {
                        let id = format!("{thread}-{round}");
                        let address = addresses(&[&format!("10.{thread}.{round}.2/24")]);
                        of("mynet", &id, None).setup(&address).unwrap();
                        if round % 4 != 0 {
                            of("mynet", &id, None).teardown().unwrap();
                        }
                    }
                });
            });
        }
    });
    assert_eq!(comments(&host).len(), 16 * 5);
    assert!(table(&host).contains(BASE), "one set of base rules");
}

#[test]
fn garbage_is_what_no_valid_attachment_owns() {
    let Some(host) = host(&["nft", "iptables", "ip6tables"]) else { return };
    let both = addresses(&["10.1.2.2/24", "fd00:1::2/64"]);
    on(&host, || {
        for backend in [None, Some("iptables")] {
            for (network, id) in [("mynet", "a"), ("mynet", "b"), ("mynet2", "a")] {
                of(network, id, backend).setup(&both).unwrap();
            }
        }
        let valid = [Attachment { container_id: "b".into(), ifname: "eth0".into() }];
        Masquerade::gc("mynet", &valid).unwrap();
    });
    let left = comments(&host);
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(left.iter().all(|c| c.contains("net: mynet, if: eth0, id: b") || c.contains("net: mynet2,")), "{left:?}");
    let left = saved(&host, "");
    assert!(!left.iter().any(|l| l.contains("name: \\\"mynet\\\" id: \\\"a\\\"")), "{left:?}");
    // Two containers, two families; a chain, two rules and a jump each.
    assert_eq!(left.len(), 2 * 2 * 4, "{left:?}");
}

/// Everything about the `iptables` programs, with those first in `PATH`.
fn with_iptables(suffix: &str) {
    let programs = ["iptables", "ip6tables"].map(|p| format!("{p}{suffix}"));
    let Some(host) = host(&[&programs[0], &programs[1], "nft"]) else { return };
    let network = of("mynet", ID, Some("iptables"));
    let set = ["10.1.2.2/24", "fd00:1::2/64"];
    let chain = "CNI-70a29d9dc18bc4d652ea5d59";
    let comment = "-m comment --comment \"name: \\\"mynet\\\" id: \\\"abc123\\\"\"";
    let expected = |v4: &[&str], v6: &[&str]| -> Vec<String> {
        let mut lines = Vec::new();
        for (addresses, subnet, multicast, bits) in
            [(v4, "10.1.2.0/24", "224.0.0.0/4", 32), (v6, "fd00:1::/64", "ff00::/8", 128)]
        {
            if addresses.is_empty() {
                continue;
            }
            lines.push(format!(":{chain} - [0:0]"));
            lines.extend(addresses.iter().map(|a| format!("-A POSTROUTING -s {a}/{bits} {comment} -j {chain}")));
            lines.push(format!("-A {chain} -d {subnet} {comment} -j ACCEPT"));
            lines.push(format!("-A {chain} ! -d {multicast} {comment} -j MASQUERADE"));
        }
        lines
    };
    on(&host, || network.setup(&addresses(&set)).unwrap());
    assert_eq!(saved(&host, suffix), expected(&["10.1.2.2"], &["fd00:1::2"]));
    // Again changes nothing; a second attachment to the network shares the chain.
    on(&host, || network.setup(&addresses(&set)).unwrap());
    assert_eq!(saved(&host, suffix), expected(&["10.1.2.2"], &["fd00:1::2"]));
    on(&host, || Masquerade { ifname: "net1", ..network }.setup(&addresses(&["10.1.2.3/24"])).unwrap());
    let all = saved(&host, suffix);
    assert_eq!(all.iter().filter(|l| l.starts_with("-A POSTROUTING -s 10.1.2.")).count(), 2, "{all:?}");
    assert_eq!(all.iter().filter(|l| l.contains("10.1.2.0/24")).count(), 2 - 1, "{all:?}");
    // Others' rules stay.
    host.sh(&format!("{} -t nat -A POSTROUTING -s 192.0.2.1 -j ACCEPT", programs[0]));
    on(&host, || of("mynet", "other", Some("iptables")).setup(&addresses(&["10.1.2.9/24"])).unwrap());
    let before = saved(&host, suffix).len();
    for _ in 0..2 {
        on(&host, || network.teardown().unwrap());
        let left = saved(&host, suffix);
        // Gone: two chains, two rules in each, three jumps.
        assert_eq!(left.len(), before - 2 - 4 - 3, "{left:?}");
        assert!(!left.iter().any(|l| l.contains(chain)), "{left:?}");
    }
    on(&host, || of("mynet", "other", None).teardown().unwrap());
    assert_eq!(saved(&host, suffix), ["-A POSTROUTING -s 192.0.2.1/32 -j ACCEPT"]);

    // Whatever the originals leave when they are killed: after each of their invocations.
    let name = "name: \"mynet\" id: \"abc123\"";
    let steps: [&[&str]; 4] = [
        &["-N", chain],
        &["-A", chain, "-d", "10.1.2.2/24", "-j", "ACCEPT", "-m", "comment", "--comment", name],
        &["-A", chain, "!", "-d", "224.0.0.0/4", "-j", "MASQUERADE", "-m", "comment", "--comment", name],
        &["-A", "POSTROUTING", "-s", "10.1.2.2", "-j", chain, "-m", "comment", "--comment", name],
    ];
    for killed_after in 1..=steps.len() {
        for step in &steps[..killed_after] {
            let out = host.command(&programs[0]).args(["-t", "nat"]).args(*step).output().unwrap();
            assert!(out.status.success(), "{out:?}");
        }
        // An ADD that begins anew completes it.
        if killed_after % 2 == 0 {
            on(&host, || network.setup(&addresses(&["10.1.2.2/24"])).unwrap());
            let expected: Vec<String> = expected(&["10.1.2.2"], &[]);
            let rules = saved(&host, suffix);
            assert!(expected.iter().all(|l| rules.contains(l)) && rules.len() == expected.len() + 1, "{rules:?}");
        }
        on(&host, || network.teardown().unwrap());
        assert_eq!(saved(&host, suffix), ["-A POSTROUTING -s 192.0.2.1/32 -j ACCEPT"], "after {killed_after} steps");
    }
    // Garbage collection finds it by its comments.
    on(&host, || network.setup(&addresses(&set)).unwrap());
    on(&host, || of("mynet", "kept", Some("iptables")).setup(&addresses(&["10.1.2.7/24"])).unwrap());
    let valid = [Attachment { container_id: "kept".into(), ifname: "eth0".into() }];
    on(&host, || Masquerade::gc("mynet", &valid).unwrap());
    let left = saved(&host, suffix);
    assert_eq!(left.len(), 1 + 4, "{left:?}");
    assert!(!left.iter().any(|l| l.contains(chain)), "{left:?}");
}

#[test]
fn iptables_in_nf_tables() {
    in_path(&[("iptables", "iptables-nft"), ("ip6tables", "ip6tables-nft")], "masquerade::inner_iptables_in_nf_tables");
}

#[test]
#[ignore = "run by iptables_in_nf_tables with another PATH"]
fn inner_iptables_in_nf_tables() {
    with_iptables("-nft");
}

#[test]
fn iptables_in_legacy_tables() {
    let legacy = Command::new("unshare").args(["--net", "iptables-legacy", "-t", "nat", "-S"]).output();
    if !legacy.is_ok_and(|o| o.status.success()) {
        return skip_or_fail("legacy", "no iptables-legacy, or a kernel without its tables");
    }
    in_path(
        &[("iptables", "iptables-legacy"), ("ip6tables", "ip6tables-legacy")],
        "masquerade::inner_iptables_in_legacy_tables",
    );
}

#[test]
#[ignore = "run by iptables_in_legacy_tables with another PATH"]
fn inner_iptables_in_legacy_tables() {
    with_iptables("-legacy");
}

/// Rules that an `iptables` in nf_tables made go without it: only programs that fail are in `PATH`.
#[test]
fn teardown_starts_no_program() {
    let Some(host) = host(&["nft", "iptables-nft", "ip6tables-nft"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("ran");
    let script = format!("#!/bin/sh\necho \"$0 $*\" >> {}\nexit 3\n", log.display());
    for program in
        ["iptables", "iptables-legacy", "iptables-restore", "ip6tables", "ip6tables-legacy", "ip6tables-restore"]
    {
        let path = directory.path().join(program);
        std::fs::write(&path, &script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let name = "name: \"mynet\" id: \"abc123\"";
    let chain = "CNI-70a29d9dc18bc4d652ea5d59";
    for arguments in [
        &["-N", chain] as &[&str],
        &["-A", chain, "-d", "10.1.2.2/24", "-j", "ACCEPT", "-m", "comment", "--comment", name],
        &["-A", "POSTROUTING", "-s", "10.1.2.2", "-j", chain, "-m", "comment", "--comment", name],
    ] {
        assert!(host.command("iptables-nft").args(["-t", "nat"]).args(arguments).status().unwrap().success());
    }
    inner("masquerade::inner_teardown", directory.path(), &host);
    assert!(!log.exists(), "{}", std::fs::read_to_string(&log).unwrap());
    assert_eq!(saved(&host, "-nft"), [] as [String; 0]);
    // Where `iptables` has to run and cannot, the error says so.
    let out = inner_output("masquerade::inner_setup_fails", directory.path(), &host);
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{text}");
    assert!(log.exists());
}

#[test]
#[ignore = "run by teardown_starts_no_program with another PATH, in its namespace"]
fn inner_teardown() {
    of("mynet", ID, None).teardown().unwrap();
}

#[test]
#[ignore = "run by teardown_starts_no_program with another PATH, in its namespace"]
fn inner_setup_fails() {
    let error = of("mynet", ID, Some("iptables")).setup(&addresses(&["10.1.2.2/24"])).unwrap_err();
    assert!(error.message.contains("iptables failed (exit status: 3)"), "{error}");
}

/// Runs an ignored test of this binary with these programs first in `PATH`, under these names.
fn in_path(programs: &[(&str, &str)], test: &str) {
    let directory = tempfile::tempdir().unwrap();
    for (name, program) in programs {
        for suffix in ["", "-restore"] {
            let Some(found) = find(&format!("{program}{suffix}")) else {
                return skip_or_fail("netns", &format!("{program}{suffix} is not installed"));
            };
            symlink(found, directory.path().join(format!("{name}{suffix}"))).unwrap();
        }
    }
    let mut path = directory.path().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let this = std::env::current_exe().unwrap();
    let out = Command::new(this).args(["--exact", "--ignored", test]).env("PATH", path).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}

fn find(program: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join(program)).find(|p| p.exists())
}

/// Runs an ignored test of this binary in the host's namespace with only `directory` in `PATH`.
fn inner_output(test: &str, directory: &Path, host: &Namespace) -> std::process::Output {
    let mut command = host.command("env");
    command.arg(format!("PATH={}", directory.display())).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", test]).output().unwrap()
}

fn inner(test: &str, directory: &Path, host: &Namespace) {
    let out = inner_output(test, directory, host);
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}
