//! The macvlan plugin in real network namespaces, looked at with `ip` and `tcpdump`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::world::{At, World, addresses, link, names};
use cni::{CniResult, Code, Command, Error, Version};
use serde_json::{Value, json};
use testkit::Namespace;

fn conf(version: &str, more: Value) -> Value {
    let mut conf = json!({ "cniVersion": version, "name": "maclan", "type": "macvlan", "master": "up0" });
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conf
}

/// A parent `up0` in `netns`, whose other end is the network outside.
fn parent(netns: &Namespace) -> Namespace {
    let outside = Namespace::new();
    netns.sh(&format!("ip link add up0 type veth peer name out0 netns {}", outside.path().display()));
    netns.sh("ip link set up0 up");
    outside.sh("ip link set out0 up");
    outside
}

fn gone(world: &World, pod: &Namespace) {
    assert_eq!(names(&pod.json("ip -j link")), ["lo"]);
    assert_eq!(world.leases(), Vec::<String>::new());
}

#[test]
fn layer_3_of_every_version() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    for version in Version::ALL {
        let pod = Namespace::new();
        let at = At::new("c1", &pod, "net1");
        let conf = conf(
            version.as_str(),
            json!({ "ipam": world.host_local(&["10.1.2.0/24", "fd00::/64"], &["0.0.0.0/0", "10.9.0.0/16"]) }),
        );
        if version >= Version::V1_1_0 {
            world.call(Command::Status, &at, &conf).unwrap();
        }
        let result = world.add(&at, &conf);
        let [container] = &result.interfaces[..] else { panic!("{result:?}") };
        let there = link(&pod, "net1");
        assert_eq!(
            (&there["linkinfo"]["info_kind"], &there["linkinfo"]["info_data"]["mode"]),
            (&json!("macvlan"), &json!("bridge"))
        );
        assert_eq!((container.name.as_str(), json!(container.mac)), ("net1", there["address"].clone()));
        assert_eq!(container.sandbox, at.netns.to_str().unwrap());
        assert_eq!(container.mtu, (version >= Version::V1_1_0).then_some(1500));
        assert!(result.ips.iter().all(|ip| ip.interface == Some(0)));
        let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
        assert_eq!((ips.len(), addresses(&pod, "net1")), (2, ips));
        let tentative = pod.json("ip -j -6 addr show dev net1 scope global tentative");
        assert!(
            tentative.as_array().unwrap().iter().all(|l| l["addr_info"].as_array().is_none_or(Vec::is_empty)),
            "{tentative}"
        );
        assert!(pod.sh("ip route").contains("default via 10.1.2.1 dev net1"));
        for key in ["ipv4/conf/net1/arp_notify", "ipv6/conf/net1/ndisc_notify", "ipv6/conf/net1/keep_addr_on_down"] {
            assert_eq!(pod.sh(&format!("cat /proc/sys/net/{key}")).trim(), "1", "{key}");
        }
        if version.has_check() {
            world.check(&at, &conf, &result).unwrap();
        }
        world.del(&at, &conf);
        gone(&world, &pod);
        world.del(&at, &conf);
    }
}

#[test]
fn layer_2() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    for version in Version::ALL {
        let pod = Namespace::new();
        let at = At::new("c1", &pod, "net1");
        let conf = conf(version.as_str(), json!({ "ipam": {} }));
        if version < Version::V0_3_0 {
            let error = world.add_fails(&at, &pod, &conf, &|_, _| None);
            assert_eq!(error.message, "cannot convert: no valid IP addresses");
            continue;
        }
        let result = world.add(&at, &conf);
        assert!(link(&pod, "net1")["flags"].as_array().unwrap().contains(&json!("UP")));
        assert!(addresses(&pod, "net1").is_empty());
        if version.has_check() {
            world.check(&at, &conf, &result).unwrap();
        }
        world.del(&at, &conf);
        gone(&world, &pod);
    }
}

#[test]
fn pods_and_outside_reach_each_other_and_are_announced() {
    let Some(world) = World::new() else { return };
    let outside = parent(&world.host);
    outside.sh("ip addr add 10.1.2.100/24 dev out0");
    outside.sh("ip addr add fd00::100/64 dev out0 nodad");
    let mut capture = outside
        .command("tcpdump")
        .args(["-l", "-n", "-i", "out0", "arp or icmp6"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // tcpdump says "listening on" when it does.
    let mut said = BufReader::new(capture.stderr.take().unwrap()).lines();
    said.find(|line| line.as_ref().unwrap().contains("listening on")).unwrap().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let out = BufReader::new(capture.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));

    let pods = [Namespace::new(), Namespace::new()];
    let conf = conf("1.0.0", json!({ "ipam": world.host_local(&["10.1.2.0/24", "fd00::/64"], &[]) }));
    let results: Vec<CniResult> =
        pods.iter().zip(["a", "b"]).map(|(pod, id)| world.add(&At::new(id, pod, "net1"), &conf)).collect();
    let mut missing = vec![
        "Request who-has 10.1.2.2 tell 10.1.2.2,".to_owned(),
        "Request who-has 10.1.2.3 tell 10.1.2.3,".to_owned(),
        "neighbor advertisement, tgt is fd00::2,".to_owned(),
        "neighbor advertisement, tgt is fd00::3,".to_owned(),
    ];
    let mut seen = String::new();
    while !missing.is_empty() {
        let line = lines.recv_timeout(std::time::Duration::from_secs(20));
        let line = line.unwrap_or_else(|_| panic!("not announced: {missing:?}; seen:\n{seen}"));
        missing.retain(|wanted| !line.contains(wanted.as_str()));
        seen += &(line + "\n");
    }
    capture.kill().unwrap();
    capture.wait().unwrap();
    for ip in &results[1].ips {
        pods[0].sh(&format!("ping -c1 -W2 {}", ip.address.addr()));
        outside.sh(&format!("ping -c1 -W2 {}", ip.address.addr()));
    }
}

#[test]
fn modes_mtu_and_queue() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    for mode in ["bridge", "private", "vepa"] {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "net1");
        let conf = conf("1.1.0", json!({ "mode": mode, "mtu": 1400, "bcqueuelen": 500 }));
        let result = world.add(&at, &conf);
        let there = link(&pod, "net1");
        assert_eq!((&there["linkinfo"]["info_data"]["mode"], &there["mtu"]), (&json!(mode), &json!(1400)));
        let details = pod.sh("ip -d link show net1");
        assert!(details.contains("bcqueuelen 500"), "{details}");
        assert_eq!(result.interfaces[0].mtu, Some(1400));
        world.check(&at, &conf, &result).unwrap();
        let mut other = conf.clone();
        other["mode"] = json!(if mode == "bridge" { "vepa" } else { "bridge" });
        assert!(world.check(&at, &other, &result).unwrap_err().message.contains("mode"));
        world.del(&at, &conf);
    }
    // passthru: one interface, with the parent's MAC address whatever is asked for.
    let pod = Namespace::new();
    let conf = conf("1.1.0", json!({ "mode": "passthru", "mac": "02:00:00:00:00:09" }));
    let result = world.add(&At::new("c", &pod, "net1"), &conf);
    assert_eq!(link(&world.host, "up0")["address"], result.interfaces[0].mac);
    assert_eq!(link(&pod, "net1")["address"], result.interfaces[0].mac);
}

#[test]
fn mac_precedence() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    let own = json!({ "mac": "c2:11:22:33:44:55" });
    let runtime = json!({ "mac": "c2:11:22:33:44:55", "runtimeConfig": { "mac": "c2:11:22:33:44:77" } });
    for (args, more, expected) in [
        ("", own.clone(), "c2:11:22:33:44:55"),
        ("IgnoreUnknown=true;K8S=x;MAC=c2:11:22:33:44:66", own, "c2:11:22:33:44:66"),
        ("MAC=c2:11:22:33:44:66", runtime, "c2:11:22:33:44:77"),
    ] {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "net1").args(args);
        let conf = conf("1.0.0", more);
        assert_eq!(world.add(&at, &conf).interfaces[0].mac, expected);
        assert_eq!(link(&pod, "net1")["address"], expected);
        world.del(&at, &conf);
    }
}

#[test]
fn the_master_of_the_default_route() {
    let Some(world) = World::new() else { return };
    let outside = parent(&world.host);
    let pod = Namespace::new();
    let at = At::new("c", &pod, "net1");
    let mut conf = conf("1.1.0", json!({}));
    conf.as_object_mut().unwrap().remove("master");
    let error = world.add_fails(&at, &pod, &conf, &|_, _| None);
    assert!(error.message.contains("no default route interface found on the host"), "{error}");
    assert_eq!(world.call(Command::Status, &at, &conf).unwrap_err().code, Code::NOT_AVAILABLE);
    world.host.sh("ip addr add 192.0.2.1/24 dev up0");
    world.host.sh("ip route add default via 192.0.2.2");
    world.call(Command::Status, &at, &conf).unwrap();
    let result = world.add(&at, &conf);
    world.check(&at, &conf, &result).unwrap();
    assert_eq!(link(&pod, "net1")["link_index"], link(&world.host, "up0")["ifindex"]);
    // DEL needs neither route nor master.
    drop(outside);
    let _ = world.host.run("ip link del up0");
    world.del(&at, &conf);
}

#[test]
fn master_in_the_container() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    let _outside = parent(&pod);
    let at = At::new("c", &pod, "net1");
    let conf = conf("1.1.0", json!({ "linkInContainer": true, "ipam": world.host_local(&["10.1.2.0/24"], &[]) }));
    world.call(Command::Status, &at, &conf).unwrap();
    let result = world.add(&at, &conf);
    assert_eq!(link(&pod, "net1")["link"], "up0");
    assert_eq!(addresses(&pod, "net1"), ["10.1.2.2/24"]);
    world.check(&at, &conf, &result).unwrap();
    world.del(&at, &conf);
    assert_eq!(names(&pod.json("ip -j link")), ["lo", "up0"]);
    pod.sh("ip addr add 192.0.2.1/24 dev up0");
    pod.sh("ip route add default via 192.0.2.2");
    let mut unnamed = conf.clone();
    unnamed.as_object_mut().unwrap().remove("master");
    world.add(&at, &unnamed);
    assert_eq!(link(&pod, "net1")["link"], "up0");
    // Without linkInContainer the name is looked for on the host.
    let mut on_host = conf.clone();
    on_host["linkInContainer"] = json!(false);
    let error = world.add_fails(&At::new("d", &pod, "net2"), &pod, &on_host, &|_, _| None);
    assert!(error.message.contains("\"up0\" does not exist on the host"), "{error}");
}

#[test]
fn a_name_that_the_host_has_is_free_in_the_container() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    world.host.sh("ip link add net1 type veth peer name x");
    let pod = Namespace::new();
    let at = At::new("c", &pod, "net1");
    world.add(&at, &conf("1.0.0", json!({})));
    let error = world.add_fails(&At::new("d", &pod, "net1"), &pod, &conf("1.0.0", json!({})), &|_, _| None);
    assert!(error.message.contains("\"net1\" already exists in the container"), "{error}");
}

#[test]
fn dns_of_configuration_or_ipam() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    std::fs::write(world.path("resolv.conf"), "nameserver 192.0.2.3\n").unwrap();
    let mut ipam = world.host_local(&["10.1.2.0/24"], &[]);
    ipam["resolvConf"] = json!(world.path("resolv.conf"));
    for (more, expected) in
        [(json!({}), "192.0.2.3"), (json!({ "dns": { "nameservers": ["192.0.2.9"] } }), "192.0.2.9")]
    {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "net1");
        let mut conf = conf("1.0.0", more);
        conf["ipam"] = ipam.clone();
        assert_eq!(world.add(&at, &conf).dns.nameservers, [expected]);
        world.del(&at, &conf);
    }
}

#[test]
fn every_failure_is_undone() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    let pod = Namespace::new();
    let at = At::new("c", &pod, "net1");
    let good = conf("1.1.0", json!({ "ipam": world.host_local(&["10.1.2.0/24"], &[]) }));
    let with = |more: Value| {
        let mut conf = good.clone();
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        conf
    };
    let error = world.add_fails(&at, &pod, &good, &|p, c| {
        (p == "host-local" && c.command == Command::Add).then(|| Err(Error::new(Code(111), "no addresses")))
    });
    assert_eq!(error.code, Code(111));
    let error =
        world.add_fails(&at, &pod, &good, &|p, c| (p == "host-local" && c.command == Command::Add).then_some(Ok(None)));
    assert_eq!(error.message, "IPAM plugin returned missing IP config");
    for (more, code, text) in [
        (json!({ "master": "nothere" }), 999, "Link not found: master \"nothere\" does not exist on the host"),
        (json!({ "master": "a/b" }), 7, "master"),
        (json!({ "mode": "nonsense" }), 7, "unknown macvlan mode: \"nonsense\""),
        (json!({ "mtu": 1501 }), 7, "invalid MTU 1501, must be [0, master MTU(1500)]"),
        (json!({ "mtu": -1 }), 7, "mtu"),
        (json!({ "mac": "zz" }), 7, "mac"),
        (json!({ "bcqueuelen": -1 }), 6, "bcqueuelen"),
        (json!({ "mtu": 1000, "ipam": world.host_local(&["fd00::/64"], &[]) }), 7, "1280"),
        (
            json!({ "ipam": { "type": "host-local", "dataDir": world.path("ipam"), "subnet": "10.1.2.0/24",
                "routes": [{ "dst": "10.9.0.0/16", "gw": "192.0.2.1" }] } }),
            999,
            "is in no network of the interface",
        ),
    ] {
        let error = world.add_fails(&at, &pod, &with(more.clone()), &|_, _| None);
        assert!(error.code == Code(code) && error.message.contains(text), "{more}: {error:?}");
    }
    let result = world.add(&at, &good);
    world.add_fails(&at, &pod, &good, &|_, _| None);
    world.check(&at, &good, &result).unwrap();
}

#[test]
fn status_looks_at_the_master() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    let pod = Namespace::new();
    let at = At::new("", &pod, "");
    world.call(Command::Status, &at, &conf("1.1.0", json!({}))).unwrap();
    world.host.sh("ip link set up0 down");
    let error = world.call(Command::Status, &at, &conf("1.1.0", json!({}))).unwrap_err();
    assert!(error.code == Code::NOT_AVAILABLE && error.message.contains("ip link set up0 up"), "{error:?}");
    let error = world.call(Command::Status, &at, &conf("1.1.0", json!({ "master": "gone" }))).unwrap_err();
    assert!(error.code == Code::NOT_AVAILABLE && error.message.contains("\"gone\" does not exist"), "{error:?}");
}

#[test]
fn a_master_by_its_alternative_name() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    world.host.sh("ip link property add dev up0 altname enP65539p0s2f1np1");
    let pod = Namespace::new();
    let at = At::new("c", &pod, "net1");
    let conf = conf("1.0.0", json!({ "master": "enP65539p0s2f1np1" }));
    let result = world.add(&at, &conf);
    world.check(&at, &conf, &result).unwrap();
    assert_eq!(pod.json("ip -j -d link show net1")[0]["linkinfo"]["info_kind"], "macvlan");
}

#[test]
fn check_finds_what_changed() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    let conf = conf("1.0.0", json!({ "ipam": world.host_local(&["10.1.2.0/24"], &["10.9.0.0/16"]) }));
    for (command, expected) in [
        ("ip addr flush dev net1", "does not have the address 10.1.2."),
        ("ip link set net1 address 02:00:00:00:00:01", "MAC address"),
        ("ip route del 10.9.0.0/16", "no route to 10.9.0.0/16"),
        ("ip link del net1", "is missing"),
    ] {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "net1");
        let result = world.add(&at, &conf);
        world.check(&at, &conf, &result).unwrap();
        pod.sh(command);
        let error = world.check(&at, &conf, &result).unwrap_err();
        assert!(error.message.contains(expected), "{command}: {error}");
        world.del(&at, &conf);
    }
    let pod = Namespace::new();
    let at = At::new("c", &pod, "net1");
    pod.sh("ip link add net1 type bridge");
    let mut result = CniResult::empty(Version::V1_0_0);
    result.interfaces.push(cni::Interface {
        name: "net1".into(),
        sandbox: at.netns.to_str().unwrap().into(),
        ..cni::Interface::default()
    });
    let error = world
        .check(&at, &json!({ "cniVersion": "1.0.0", "name": "n", "type": "macvlan", "master": "up0" }), &result)
        .unwrap_err();
    assert!(error.message.contains("not of type macvlan"), "{error}");
}

#[test]
fn del_without_namespace_frees_addresses() {
    let Some(world) = World::new() else { return };
    let _outside = parent(&world.host);
    let conf = conf("1.0.0", json!({ "ipam": world.host_local(&["10.1.2.0/24"], &[]) }));
    for netns in ["".to_owned(), world.path("gone").to_str().unwrap().to_owned()] {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "net1");
        world.add(&at, &conf);
        world.del(&at.clone().netns(&netns), &conf);
        assert_eq!(world.leases().len(), 0);
    }
}
