//! Rules of the original bridge plugin and of ours: the same, and each removes the other's.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use crate::world::{At, World};
use cni::Command;
use serde_json::{Value, json};
use testkit::{Namespace, skip_or_fail};

const BACKENDS: [&str; 2] = ["nftables", "iptables"];

/// The directory of the originals; `None`, said, where there are none or they are too old for `ipMasqBackend`.
fn originals() -> Option<PathBuf> {
    let Some(plugins) = std::env::var_os("PLEXUS_GO_PLUGINS").filter(|v| !v.is_empty()).map(PathBuf::from) else {
        skip_or_fail("conformance", "PLEXUS_GO_PLUGINS names no directory with the original plugins");
        return None;
    };
    let version = std::process::Command::new(plugins.join("bridge"))
        .env("CNI_COMMAND", "VERSION")
        .stdin(Stdio::null())
        .output()
        .expect("the original bridge plugin");
    if !String::from_utf8_lossy(&version.stdout).contains("1.1.0") {
        skip_or_fail("originals", "the original bridge plugin is older than ipMasqBackend");
        return None;
    }
    Some(plugins)
}

/// One call to the original on the world's host.
fn original(plugins: &PathBuf, world: &World, command: &str, at: &At<'_>, conf: &Value) {
    let mut child = world
        .host
        .command(plugins.join("bridge"))
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", at.id)
        .env("CNI_NETNS", &at.netns)
        .env("CNI_IFNAME", at.ifname)
        .env("CNI_PATH", plugins)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stdout));
}

fn conf(world: &World, backend: &str, macspoofchk: bool) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "mynet", "type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true,
        "ipMasqBackend": backend, "macspoofchk": macspoofchk,
        "ipam": world.host_local(&["10.1.2.0/24", "fd00:1::/64"], &[]),
    })
}

/// All rules there are: nft(8)'s list of what is not `iptables`'s, and what that saves. Names of veths and MAC addresses differ from ADD to
/// ADD, and handles from kernel to kernel.
fn rules(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for table in ["inet cni_plugins_masquerade", "bridge nat"] {
        let list = String::from_utf8(world.host.run(&format!("nft list table {table}")).stdout).unwrap();
        for line in list.lines() {
            let mut words: Vec<&str> = line.split(' ').collect();
            for i in 1..words.len() {
                if words[i - 1].ends_with("iifname") || words[i - 1] == "saddr" && words[i].matches(':').count() == 5 {
                    words[i] = "...";
                }
            }
            found.push(words.join(" "));
        }
    }
    for program in ["iptables-save", "ip6tables-save"] {
        found.extend(world.host.sh(program).lines().filter(|l| l.starts_with(['-', ':', '*'])).map(str::to_owned));
    }
    found
}

/// Whether a container or its chain is named anywhere.
fn is_gone(rules: &[String]) -> bool {
    !rules.iter().any(|l| l.contains("abc123") || l.contains("CNI-"))
}

#[test]
fn the_rules_are_the_same() {
    let Some(plugins) = originals() else { return };
    for backend in BACKENDS {
        let (Some(theirs), Some(ours)) = (World::new(), World::new()) else { return };
        let (their_pod, our_pod) = (Namespace::new(), Namespace::new());
        original(&plugins, &theirs, "ADD", &At::new("abc123", &their_pod, "eth0"), &conf(&theirs, backend, true));
        ours.add(&At::new("abc123", &our_pod, "eth0"), &conf(&ours, backend, true));
        let (theirs, ours) = (rules(&theirs), rules(&ours));
        assert!(theirs.iter().filter(|l| l.contains("abc123")).count() >= 6, "{theirs:#?}");
        assert_eq!(ours, theirs, "{backend}");
    }
}

/// ADD by one, DEL by the other, also when the container's namespace or interface is gone before DEL by ours.
#[test]
fn each_removes_the_others() {
    let Some(plugins) = originals() else { return };
    for backend in BACKENDS {
        let Some(world) = World::new() else { return };
        let conf = conf(&world, backend, true);
        let pod = Namespace::new();
        let at = At::new("abc123", &pod, "eth0");

        world.add(&at, &conf);
        assert!(!is_gone(&rules(&world)));
        original(&plugins, &world, "DEL", &at, &conf);
        assert!(is_gone(&rules(&world)), "{backend}: {:#?}", rules(&world));

        original(&plugins, &world, "ADD", &at, &conf);
        assert!(!is_gone(&rules(&world)));
        world.del(&at, &conf);
        assert!(is_gone(&rules(&world)), "{backend}: {:#?}", rules(&world));

        original(&plugins, &world, "ADD", &at, &conf);
        pod.sh("ip link del eth0");
        world.del(&at, &conf);
        assert!(is_gone(&rules(&world)), "{backend}, link gone: {:#?}", rules(&world));

        original(&plugins, &world, "ADD", &at, &conf);
        world.del(&at.clone().netns(""), &conf);
        assert!(is_gone(&rules(&world)), "{backend}, no namespace: {:#?}", rules(&world));
        pod.sh("ip link del eth0");

        // Both at once on one host, and garbage collection of what neither owns any more.
        let second = Namespace::new();
        let kept = At::new("kept", &second, "eth0");
        original(&plugins, &world, "ADD", &at, &conf);
        world.add(&kept, &conf);
        let mut gc = conf.clone();
        gc["cniVersion"] = json!("1.1.0");
        gc["cni.dev/valid-attachments"] = json!([{ "containerID": "kept", "ifname": "eth0" }]);
        world.call(Command::Gc, &At::new("", &second, "").netns(""), &gc).unwrap();
        let left = rules(&world);
        let masquerade = |id: &str| left.iter().filter(|l| l.contains(id) && !l.contains("macspoofchk")).count();
        let chain = left.iter().filter(|l| l.starts_with(":CNI-")).count();
        match backend {
            "nftables" => assert_eq!((masquerade("id: abc123"), masquerade("id: kept")), (0, 2), "{left:#?}"),
            _ => assert_eq!((masquerade("\\\"abc123\\\""), masquerade("\\\"kept\\\""), chain), (0, 6, 2), "{left:#?}"),
        }
    }
}
