//! The bridge plugin in real network namespaces, looked at with `ip` and `bridge`.

use crate::world::{At, World, addresses, link, names, with_prev};
use cni::{CniResult, Code, Command, Error, Version};
use serde_json::{Value, json};
use testkit::Namespace;

fn conf(version: &str, more: Value) -> Value {
    let mut conf = json!({ "cniVersion": version, "name": "testnet", "type": "bridge", "bridge": "br0" });
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conf
}

fn default_routes(netns: &Namespace) -> Vec<String> {
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        let routes = netns.json(&format!("ip -j {family} route"));
        let routes = routes.as_array().unwrap().iter().filter(|r| r["dst"] == "default");
        found.extend(routes.map(|r| r["gateway"].as_str().unwrap_or("none").to_owned()));
    }
    found
}

#[test]
fn layer_3_of_every_address_case_and_version() {
    let Some(world) = World::new() else { return };
    let cases: [(&[&str], &[&str]); 4] = [
        (&["10.1.2.0/24"], &["10.1.2.1/24"]),
        (&["2001:db8::/64"], &["2001:db8::1/64"]),
        (&["192.168.0.0/24", "fd00::/64"], &["192.168.0.1/24", "fd00::1/64"]),
        (&["192.168.1.0/24", "fd01::/64", "fd02::/64"], &["192.168.1.1/24", "fd01::1/64", "fd02::1/64"]),
    ];
    for version in Version::ALL {
        for (number, (subnets, gateways)) in cases.into_iter().enumerate() {
            let pod = Namespace::new();
            let bridge = format!("br{number}");
            let at = At::new("c1", &pod, "eth0");
            let name = format!("net{number}");
            let conf = conf(
                version.as_str(),
                json!({ "name": name, "bridge": bridge, "isDefaultGateway": true, "ipam": world.host_local(subnets, &[]) }),
            );
            if version < Version::V0_3_0 && subnets.len() > 2 {
                let error = world.add_fails(&at, &pod, &conf, &|_, _| None);
                assert!(error.message.contains("does not support more than 1 address per family"), "{error}");
                continue;
            }
            if version >= Version::V1_1_0 {
                world.call(Command::Status, &at, &conf).unwrap();
            }
            let result = world.add(&at, &conf);
            assert_eq!(result.version, version);
            // The bridge, the host's end, the container.
            let [br, host, container] = &result.interfaces[..] else { panic!("{:?}", result.interfaces) };
            assert_eq!((br.name.as_str(), br.sandbox.as_str()), (bridge.as_str(), ""));
            let br_link = link(&world.host, &bridge);
            assert_eq!(br.mac, br_link["address"]);
            assert!(br_link["flags"].as_array().unwrap().contains(&json!("UP")));
            assert_eq!(br_link["promiscuity"], 0);
            assert!(host.name.starts_with("veth") && host.name.len() == 12, "{host:?}");
            let host_link = link(&world.host, &host.name);
            assert_eq!((&host_link["address"], &host_link["master"]), (&json!(host.mac), &json!(bridge)));
            assert_ne!(host.mac, br.mac);
            assert_eq!((container.name.as_str(), container.sandbox.as_str()), ("eth0", at.netns.to_str().unwrap()));
            let eth0 = link(&pod, "eth0");
            assert_eq!((&eth0["address"], &eth0["operstate"]), (&json!(container.mac), &json!("UP")));
            let mtu = (version >= Version::V1_1_0).then_some(1500);
            assert_eq!((br.mtu, host.mtu, container.mtu), (mtu, mtu, mtu));
            // Addresses, in the container and on the bridge.
            let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
            assert_eq!(ips.len(), subnets.len());
            assert!(result.ips.iter().all(|ip| ip.interface == Some(2)));
            let mut there = addresses(&pod, "eth0");
            there.sort();
            let mut wanted = ips.clone();
            wanted.sort();
            assert_eq!(there, wanted);
            let mut on_bridge = addresses(&world.host, &bridge);
            on_bridge.sort();
            let mut gateways: Vec<String> = gateways.iter().map(|g| (*g).to_owned()).collect();
            gateways.sort();
            assert_eq!(on_bridge, gateways);
            let families = usize::from(subnets.iter().any(|s| s.contains('.')))
                + usize::from(subnets.iter().any(|s| s.contains(':')));
            assert_eq!(default_routes(&pod).len(), families);
            // No IPv6 address waits for duplicate address detection.
            let tentative = pod.json("ip -j -6 addr show dev eth0 scope global tentative");
            assert!(
                tentative.as_array().unwrap().iter().all(|l| l["addr_info"].as_array().is_none_or(Vec::is_empty)),
                "{tentative}"
            );
            let text = serde_json::to_value(result.to_json(version).unwrap()).unwrap();
            assert_eq!(text.get("interfaces").is_some(), version >= Version::V0_3_0);
            if version.has_check() {
                world.check(&at, &conf, &result).unwrap();
            }
            let first = if subnets[0].contains('.') { "ping -c1 -W2" } else { "ping -6 -c1 -W2" };
            pod.sh(&format!("{first} {}", gateways_of(&result)));

            world.del(&at, &conf);
            assert!(names(&pod.json("ip -j link")) == ["lo"]);
            assert_eq!(world.ports(), ["lo"]);
            assert_eq!(world.leases(), Vec::<String>::new());
            world.del(&at, &conf);
            world.host.sh(&format!("ip link del {bridge}"));
        }
    }
    for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        assert_eq!(world.host.sh(&format!("cat /proc/sys/{key}")).trim(), "1", "{key}");
    }
}

fn gateways_of(result: &CniResult) -> String {
    result.ips[0].gateway.unwrap().to_string()
}

#[test]
fn layer_2() {
    let Some(world) = World::new() else { return };
    for version in Version::ALL {
        for more in [json!({ "ipam": {} }), json!({})] {
            let pod = Namespace::new();
            let at = At::new("c1", &pod, "eth0");
            let conf = conf(version.as_str(), more);
            if version < Version::V0_3_0 {
                let error = world.add_fails(&at, &pod, &conf, &|_, _| None);
                assert_eq!(error.message, "cannot convert: no valid IP addresses");
                continue;
            }
            let result = world.add(&at, &conf);
            assert_eq!((result.interfaces.len(), result.ips.len()), (3, 0));
            assert_eq!(link(&pod, "eth0")["operstate"], "UP");
            assert!(addresses(&pod, "eth0").is_empty());
            if version.has_check() {
                world.check(&at, &conf, &result).unwrap();
            }
            world.del(&at, &conf);
            assert_eq!(world.ports(), ["lo"]);
        }
    }
}

#[test]
fn two_pods_and_the_host_reach_each_other() {
    let Some(world) = World::new() else { return };
    let pods = [Namespace::new(), Namespace::new()];
    let conf = conf(
        "1.1.0",
        json!({ "isDefaultGateway": true, "mtu": 1400, "ipam": world.host_local(&["10.1.2.0/24", "fd00::/64"], &[]) }),
    );
    let results: Vec<CniResult> =
        pods.iter().zip(["a", "b"]).map(|(pod, id)| world.add(&At::new(id, pod, "eth0"), &conf)).collect();
    for ip in &results[1].ips {
        let address = ip.address.addr();
        pods[0].sh(&format!("ping -c1 -W2 {address}"));
        world.host.sh(&format!("ping -c1 -W2 {address}"));
    }
    assert_eq!(link(&pods[0], "eth0")["mtu"], 1400);
    assert_eq!(link(&world.host, "br0")["mtu"], 1400);
    assert_eq!(results[0].interfaces.iter().map(|i| i.mtu).collect::<Vec<_>>(), [Some(1400); 3]);
    // The bridge's MAC address is its own, whatever comes and goes.
    assert_eq!(results[0].interfaces[0].mac, results[1].interfaces[0].mac);
    world.del(&At::new("a", &pods[0], "eth0"), &conf);
    assert_eq!(link(&world.host, "br0")["address"], results[0].interfaces[0].mac);
    world.check(&At::new("b", &pods[1], "eth0"), &conf, &results[1]).unwrap();
}

#[test]
fn mac_precedence() {
    let Some(world) = World::new() else { return };
    let environment = "IgnoreUnknown=1;K8S_POD_NAME=x;MAC=c2:11:22:33:44:55";
    let cases = [
        (json!({}), "c2:11:22:33:44:55"),
        (json!({ "args": { "cni": { "mac": "C2-11-22-33-44-66" } } }), "c2:11:22:33:44:66"),
        (
            json!({ "args": { "cni": { "mac": "c2:11:22:33:44:66" } }, "RuntimeConfig": { "mac": "c2:11:22:33:44:77" } }),
            "c2:11:22:33:44:77",
        ),
    ];
    for (more, expected) in cases {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "eth0").args(environment);
        let conf = conf("1.0.0", more);
        let result = world.add(&at, &conf);
        assert_eq!(result.interfaces[2].mac, expected);
        assert_eq!(link(&pod, "eth0")["address"], expected);
        world.del(&at, &conf);
    }
    let pod = Namespace::new();
    for (args, more, code, text) in [
        ("FOO=BAR", json!({}), Code::INVALID_ENVIRONMENT, "FOO"),
        ("MAC=nonsense", json!({}), Code::INVALID_CONFIG, "MAC of CNI_ARGS"),
        ("", json!({ "runtimeConfig": { "mac": "12:34" } }), Code::INVALID_CONFIG, "runtimeConfig.mac"),
    ] {
        let error = world.add_fails(&At::new("c", &pod, "eth0").args(args), &pod, &conf("1.0.0", more), &|_, _| None);
        assert!(error.code == code && error.to_string().contains(text), "{error:?}");
    }
}

#[test]
fn port_settings() {
    let Some(world) = World::new() else { return };
    for (more, hairpin, isolated) in [
        (json!({}), false, false),
        (json!({ "hairpinMode": true }), true, false),
        (json!({ "portIsolation": true }), false, true),
        (json!({ "hairpinMode": true, "portIsolation": true }), true, true),
    ] {
        let pod = Namespace::new();
        let result = world.add(&At::new("c", &pod, "eth0"), &conf("1.0.0", more));
        let host = &result.interfaces[1].name;
        let port = &link(&world.host, host)["linkinfo"]["info_slave_data"];
        assert_eq!((&port["hairpin"], &port["isolated"]), (&json!(hairpin), &json!(isolated)));
        assert_eq!(world.host.sh(&format!("cat /proc/sys/net/ipv6/conf/{host}/accept_ra")).trim(), "0");
    }
    assert_eq!(world.host.sh("cat /proc/sys/net/ipv6/conf/br0/accept_ra").trim(), "0");
}

#[test]
fn promiscuous_bridge() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    let at = At::new("c", &pod, "eth0");
    let on = conf("1.0.0", json!({ "promiscMode": true }));
    let result = world.add(&at, &on);
    assert_eq!(link(&world.host, "br0")["promiscuity"], 1);
    world.check(&at, &on, &result).unwrap();
    // Another plugin's wish for it is no error.
    world.check(&at, &conf("1.0.0", json!({})), &result).unwrap();
    world.host.sh("ip link set br0 promisc off");
    let error = world.check(&at, &on, &result).unwrap_err();
    assert!(error.message.contains("promiscuous"), "{error}");
}

#[test]
fn disabled_container_interface() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    let at = At::new("c", &pod, "eth0");
    let result = world.add(&at, &conf("1.0.0", json!({ "disableContainerInterface": true })));
    assert_eq!(result.interfaces.len(), 3);
    let eth0 = link(&pod, "eth0");
    assert!(!eth0["flags"].as_array().unwrap().contains(&json!("UP")), "{eth0}");
    world.del(&at, &conf("1.0.0", json!({})));
    let both =
        conf("1.0.0", json!({ "disableContainerInterface": true, "ipam": world.host_local(&["10.1.2.0/24"], &[]) }));
    let error = world.add_fails(&at, &pod, &both, &|_, _| None);
    assert_eq!(error.code, Code::INVALID_CONFIG);
}

/// A bridge that somebody else made and whose last port has gone has no MAC address of its own, and the one of our port was not known yet.
#[test]
fn a_bridge_whose_last_port_has_gone_becomes_a_gateway() {
    let Some(world) = World::new() else { return };
    for step in ["add br0 type bridge", "add x master br0 type veth peer name y", "del x"] {
        world.host.sh(&format!("ip link {step}"));
    }
    assert_eq!(link(&world.host, "br0")["address"], "00:00:00:00:00:00", "the test is about nothing");
    let pods = [Namespace::new(), Namespace::new()];
    let conf = conf("1.0.0", json!({ "isGateway": true, "ipam": world.host_local(&["10.1.2.0/24"], &[]) }));
    let first = world.add(&At::new("c", &pods[0], "eth0"), &conf);
    assert_eq!(link(&world.host, "br0")["address"], first.interfaces[0].mac);
    assert_eq!(first.interfaces[0].mac, first.interfaces[1].mac, "its first port's");
    world.add(&At::new("d", &pods[1], "eth0"), &conf);
    assert_eq!(link(&world.host, "br0")["address"], first.interfaces[0].mac, "pinned");
}

#[test]
fn existing_bridge_is_kept() {
    let Some(world) = World::new() else { return };
    world.host.sh("ip link add br0 type bridge");
    let before = link(&world.host, "br0");
    let pod = Namespace::new();
    let conf = conf("1.0.0", json!({ "isGateway": true, "ipam": world.host_local(&["10.1.2.0/24"], &[]) }));
    let result = world.add(&At::new("c", &pod, "eth0"), &conf);
    let after = link(&world.host, "br0");
    assert_eq!(before["ifindex"], after["ifindex"]);
    assert_eq!(after["address"], result.interfaces[0].mac);
    assert!(after["flags"].as_array().unwrap().contains(&json!("UP")));
    // From now on it is pinned.
    let second = Namespace::new();
    world.add(&At::new("d", &second, "eth0"), &conf);
    assert_eq!(link(&world.host, "br0")["address"], result.interfaces[0].mac);
    let other = Namespace::new();
    world.host.sh("ip link add notabridge type veth peer name x");
    let error = world.add_fails(
        &At::new("e", &other, "eth0"),
        &other,
        &json!({ "cniVersion": "1.1.0", "name": "n", "type": "bridge", "bridge": "notabridge" }),
        &|_, _| None,
    );
    assert!(error.message.contains("already exists but is not a bridge"), "{error}");
    let status = world
        .call(
            Command::Status,
            &At::new("e", &other, "eth0"),
            &json!({ "cniVersion": "1.1.0", "name": "n", "type": "bridge", "bridge": "notabridge" }),
        )
        .unwrap_err();
    assert_eq!(status.code, Code::NOT_AVAILABLE);
}

#[test]
fn the_bridges_address() {
    let Some(world) = World::new() else { return };
    let with = |name: &str, subnets: &[&str], force: bool| {
        conf(
            "1.0.0",
            json!({ "name": name, "isGateway": true, "forceAddress": force, "ipam": world.host_local(subnets, &[]) }),
        )
    };
    let pods: Vec<Namespace> = (0..6).map(|_| Namespace::new()).collect();
    let at = |i: usize| At::new("c", &pods[i], "eth0");
    world.add(&at(0), &with("a", &["10.1.2.0/24", "2001:db8:1::/64"], false));
    let error = world.add_fails(&at(1), &pods[1], &with("b", &["10.1.3.0/24"], false), &|_, _| None);
    assert!(error.message.contains("\"br0\" already has an IP address different from 10.1.3.1/24"), "{error}");
    let error = world.add_fails(&at(1), &pods[1], &with("c", &["2001:db8:1::/80"], false), &|_, _| None);
    assert!(error.message.contains("already has an IP address different"), "{error}");
    // IPv6 networks that do not overlap stand side by side.
    world.add(&at(2), &with("d", &["2001:db8:2::/64"], false));
    let mut there = addresses(&world.host, "br0");
    there.sort();
    assert_eq!(there, ["10.1.2.1/24", "2001:db8:1::1/64", "2001:db8:2::1/64"]);
    world.add(&at(3), &with("e", &["10.1.3.0/24", "2001:db8:1::/80"], true));
    let mut there = addresses(&world.host, "br0");
    there.sort();
    assert_eq!(there, ["10.1.3.1/24", "2001:db8:1::1/80", "2001:db8:2::1/64"]);
}

#[test]
fn routes_of_the_ipam_plugin() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    let at = At::new("c", &pod, "eth0");
    let mut ipam = world.host_local(&["10.1.2.0/24"], &[]);
    // A default route without next hop beside isDefaultGateway is one route, not an error.
    ipam["routes"] = json!([
        { "dst": "0.0.0.0/0" },
        { "dst": "10.9.0.0/16", "gw": "10.1.2.7", "mtu": 1300, "advmss": 1200, "priority": 50 },
        { "dst": "10.8.0.0/16", "table": 77 },
        { "dst": "10.5.0.0/16", "table": 0 },
        { "dst": "10.7.0.0/16", "gw": "10.1.2.7" },
        { "dst": "10.7.0.0/16", "gw": "10.1.2.7" },
        { "dst": "10.6.0.0/16", "gw": "10.1.2.3" },
        { "dst": "10.6.0.0/16", "gw": "10.1.2.4", "priority": 9 },
    ]);
    let conf = conf("1.1.0", json!({ "isDefaultGateway": true, "ipam": ipam }));
    let result = world.add(&at, &conf);
    let routes = pod.json("ip -j route show table all type unicast");
    let find = |dst: &str| -> Vec<&Value> { routes.as_array().unwrap().iter().filter(|r| r["dst"] == dst).collect() };
    assert_eq!(find("default").len(), 1);
    assert_eq!(find("default")[0]["gateway"], "10.1.2.1");
    let nine = find("10.9.0.0/16");
    assert_eq!((&nine[0]["gateway"], &nine[0]["metric"]), (&json!("10.1.2.7"), &json!(50)));
    let metrics = pod.sh("ip route show 10.9.0.0/16");
    assert!(metrics.contains("mtu 1300") && metrics.contains("advmss 1200"), "{metrics}");
    assert_eq!(find("10.8.0.0/16")[0]["table"].to_string().trim_matches('"'), "77");
    assert!(pod.sh("ip route show").contains("10.5.0.0/16"), "table 0 is the main one");
    assert_eq!((find("10.7.0.0/16").len(), find("10.6.0.0/16").len()), (1, 2));
    world.check(&at, &conf, &result).unwrap();
    pod.sh("ip route del 10.9.0.0/16");
    let error = world.check(&at, &conf, &result).unwrap_err();
    assert!(error.message.contains("10.9.0.0/16"), "{error}");
}

#[test]
fn dns_of_configuration_or_ipam() {
    let Some(world) = World::new() else { return };
    std::fs::write(world.path("resolv.conf"), "nameserver 192.0.2.3\n").unwrap();
    let mut ipam = world.host_local(&["10.1.2.0/24"], &[]);
    ipam["resolvConf"] = json!(world.path("resolv.conf"));
    for (more, expected) in [
        (json!({}), vec!["192.0.2.3"]),
        (json!({ "dns": { "nameservers": ["192.0.2.9"] } }), vec!["192.0.2.9"]),
        (json!({ "dns": { "nameservers": [] } }), vec![]),
        (json!({ "dns": {} }), vec!["192.0.2.3"]),
    ] {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "eth0");
        let mut conf = conf("1.0.0", more);
        conf["ipam"] = ipam.clone();
        assert_eq!(world.add(&at, &conf).dns.nameservers, expected);
        world.del(&at, &conf);
    }
}

#[test]
fn check_finds_what_changed() {
    let Some(world) = World::new() else { return };
    let conf = conf(
        "1.0.0",
        json!({ "isDefaultGateway": true, "ipam": world.host_local(&["10.1.2.0/24"], &["10.9.0.0/16"]) }),
    );
    let breaks: [(&str, &str, &str); 6] = [
        ("pod", "ip addr flush dev eth0", "does not have the address 10.1.2."),
        ("pod", "ip link set eth0 address 02:00:00:00:00:01", "MAC address"),
        ("pod", "ip route del 10.9.0.0/16", "no route to 10.9.0.0/16"),
        // Down first: kernels before 6.2 do not rename a link that is up.
        ("pod", "ip link set eth0 down; ip link set eth0 name eth9", "is missing"),
        ("host", "ip link set VETH nomaster", "not a port of bridge"),
        ("host", "ip link set br0 address 02:00:00:00:00:02", "MAC address"),
    ];
    for (place, command, expected) in breaks {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "eth0");
        let result = world.add(&at, &conf);
        world.check(&at, &conf, &result).unwrap();
        let command = command.replace("VETH", &result.interfaces[1].name);
        let place = if place == "pod" { &pod } else { &world.host };
        for line in command.split("; ") {
            place.sh(line);
        }
        let error = world.check(&at, &conf, &result).unwrap_err();
        assert!(error.message.contains(expected), "{command}: {error}");
        world.del(&at, &conf);
        let _ = world.host.run("ip link del br0");
    }
    let pod = Namespace::new();
    let error = world.call(Command::Check, &At::new("c", &pod, "eth0"), &conf).unwrap_err();
    assert!(!error.message.is_empty());
}

#[test]
fn every_failure_is_undone() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    let at = At::new("c", &pod, "eth0");
    let base = |more: Value| {
        let mut conf = conf("1.0.0", json!({ "isGateway": true, "ipam": world.host_local(&["10.1.2.0/24"], &[]) }));
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        conf
    };
    let is_add = |plugin: &str, call: &cni::Call| plugin == "host-local" && call.command == Command::Add;
    // The IPAM plugin fails; gives nothing; gives what the kernel will not take.
    let error = world.add_fails(&at, &pod, &base(json!({})), &|p, c| {
        is_add(p, c).then(|| Err(Error::new(Code(111), "no addresses")))
    });
    assert_eq!((error.code, error.message.as_str()), (Code(111), "no addresses"));
    let error = world.add_fails(&at, &pod, &base(json!({})), &|p, c| {
        is_add(p, c).then(|| Ok(Some(CniResult::empty(Version::V1_0_0))))
    });
    assert_eq!(error.message, "IPAM plugin returned missing IP config");
    let unreachable = json!({ "ipam": { "type": "host-local", "dataDir": world.path("ipam"), "subnet": "10.1.2.0/24",
        "routes": [{ "dst": "10.9.0.0/16", "gw": "192.0.2.1" }] } });
    let error = world.add_fails(&at, &pod, &base(unreachable), &|_, _| None);
    assert!(
        error.message.contains("10.9.0.0/16") && error.message.contains("is in no network of the interface"),
        "{error}"
    );
    // The bridge's address conflicts.
    world.host.sh("ip addr flush dev br0");
    world.host.sh("ip addr add 192.0.2.1/24 dev br0");
    world.add_fails(&at, &pod, &base(json!({})), &|_, _| None);
    world.host.sh("ip addr flush dev br0");
    // The name is taken: whoever has it keeps it.
    let taken = Namespace::new();
    taken.sh("ip link add eth0 type veth peer name x");
    let error = world.add_fails(&At::new("c", &taken, "eth0"), &taken, &base(json!({})), &|_, _| None);
    assert!(error.message.contains("already exists"), "{error}");
    // No such namespace; not one.
    let gone = world.path("gone");
    let error = world.add_fails(&at.clone().netns(&gone), &pod, &base(json!({})), &|_, _| None);
    assert!(error.message.contains("failed to open netns"), "{error}");
    std::fs::write(&gone, "").unwrap();
    let error = world.add_fails(&at.clone().netns(&gone), &pod, &base(json!({})), &|_, _| None);
    assert!(error.message.contains("not a network namespace"), "{error}");
    // IPv6 on a link that is too small for it.
    let small = json!({ "mtu": 1000, "ipam": world.host_local(&["fd00::/64"], &[]) });
    let error = world.add_fails(&at, &pod, &base(small), &|_, _| None);
    assert!(error.message.contains("1280"), "{error}");
    // And now it works.
    let result = world.add(&at, &base(json!({})));
    // A second ADD of the same attachment fails and leaves the first as it was.
    world.add_fails(&at, &pod, &base(json!({})), &|_, _| None);
    world.check(&at, &base(json!({})), &result).unwrap();
}

#[test]
fn bad_configurations() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    let at = At::new("c", &pod, "eth0");
    for (more, code, text) in [
        (json!({ "hairpinMode": true, "promiscMode": true }), 7, "cannot set hairpin mode and promiscuous mode"),
        (json!({ "vlan": 4095 }), 7, "invalid VLAN ID 4095"),
        (json!({ "vlan": -1 }), 7, "invalid VLAN ID -1"),
        (json!({ "vlanTrunk": [{ "minID": 5 }] }), 7, "maxID is missing"),
        (json!({ "mtu": "1500" }), 6, "mtu"),
        (json!({ "mtu": -5 }), 7, "mtu"),
        (json!({ "mtu": 9_999_999_999_i64 }), 7, "mtu"),
        (json!({ "bridge": "../etc" }), 7, "bridge"),
        (json!({ "bridge": "sixteen-bytes-xx" }), 7, "bridge"),
        (json!({ "bridge": "" }), 7, "bridge"),
        (json!({ "isGateway": "yes" }), 6, "isGateway"),
        (json!({ "ipam": 5 }), 6, "ipam"),
        (json!({ "ipam": { "type": 5 } }), 6, "ipam.type"),
        (json!({ "dns": { "nameservers": "x" } }), 6, "dns.nameservers"),
        (
            json!({ "vlan": 100, "bridge": "twelve-bytes", "isGateway": true, "ipam": { "type": "host-local" } }),
            7,
            "twelve-bytes.100",
        ),
    ] {
        let error = world.add_fails(&at, &pod, &conf("1.1.0", more.clone()), &|_, _| None);
        assert!(error.code == Code(code) && error.message.contains(text), "{more}: {error:?}");
    }
    assert_eq!(world.links(), ["lo"], "nothing was touched");
}

#[test]
fn del_without_namespace_frees_addresses() {
    let Some(world) = World::new() else { return };
    let conf = conf("1.0.0", json!({ "ipam": world.host_local(&["10.1.2.0/24"], &[]) }));
    for netns in ["".to_owned(), world.path("gone").to_str().unwrap().to_owned()] {
        let pod = Namespace::new();
        let at = At::new("c", &pod, "eth0");
        world.add(&at, &conf);
        assert_eq!(world.leases().len(), 1);
        world.del(&at.clone().netns(&netns), &conf);
        assert_eq!(world.leases().len(), 0);
    }
    // What is not a namespace is an error, and the addresses are freed all the same.
    let pod = Namespace::new();
    let at = At::new("c", &pod, "eth0");
    world.add(&at, &conf);
    std::fs::write(world.path("file"), "").unwrap();
    let error = world.call(Command::Del, &at.clone().netns(world.path("file")), &conf).unwrap_err();
    assert!(error.message.contains("unknown FS magic"), "{error}");
    assert_eq!(world.leases().len(), 0);
    // Never added; and with a configuration of which DEL needs little.
    let other = Namespace::new();
    world.del(&At::new("never", &other, "eth0"), &conf);
    let mut bad = conf.clone();
    bad["vlan"] = json!(9999);
    world.del(&At::new("never", &other, "eth0").args("FOO=BAR"), &bad);
}

#[test]
fn vlans() {
    let Some(world) = World::new() else { return };
    if !world.host.run("ip link add probe type bridge vlan_filtering 1").status.success() {
        testkit::skip_or_fail("kernel", "the kernel has no CONFIG_BRIDGE_VLAN_FILTERING");
        return;
    }
    let vlans = |port: &str| -> Vec<(u64, u64, String)> {
        let found = world.host.json(&format!("bridge -j -compressvlans vlan show dev {port}"));
        let found = found[0]["vlans"].as_array().cloned().unwrap_or_default();
        // Absent, or empty for a range.
        let flags = |v: &Value| Value::from(v["flags"].as_array().cloned().unwrap_or_default()).to_string();
        let id = |v: &Value| v["vlan"].as_u64().unwrap();
        found.iter().map(|v| (id(v), v["vlanEnd"].as_u64().unwrap_or(id(v)), flags(v))).collect()
    };
    let own = "[\"PVID\",\"Egress Untagged\"]";
    for (more, expected) in [
        (json!({ "vlan": 100 }), vec![(100, 100, own)]),
        (
            json!({ "vlanTrunk": [{ "id": 101 }, { "minID": 200, "maxID": 202 }] }),
            vec![(1, 1, own), (101, 101, "[]"), (200, 202, "[]")],
        ),
        (json!({ "vlan": 100, "vlanTrunk": [{ "id": 101 }] }), vec![(100, 100, own), (101, 101, "[]")]),
        (json!({ "vlan": 100, "preserveDefaultVlan": true }), vec![(1, 1, "[\"Egress Untagged\"]"), (100, 100, own)]),
    ] {
        let pod = Namespace::new();
        let result = world.add(&At::new("c", &pod, "eth0"), &conf("1.0.0", more.clone()));
        let there = vlans(&result.interfaces[1].name);
        let there: Vec<(u64, u64, &str)> = there.iter().map(|(a, b, f)| (*a, *b, f.as_str())).collect();
        assert_eq!(there, expected, "{more}");
    }
    let pods = [Namespace::new(), Namespace::new()];
    let conf = conf(
        "1.0.0",
        json!({ "vlan": 100, "isDefaultGateway": true, "ipam": world.host_local(&["10.1.2.0/24"], &[]) }),
    );
    for (pod, id) in pods.iter().zip(["a", "b"]) {
        let at = At::new(id, pod, "eth0");
        let result = world.add(&at, &conf);
        assert_eq!(result.interfaces[3].name, "br0.100");
        assert_eq!(addresses(&world.host, "br0.100"), ["10.1.2.1/24"]);
        world.check(&at, &conf, &result).unwrap();
        pod.sh("ping -c1 -W2 10.1.2.1");
    }
    // As an ADD leaves it that was killed when it had made the gateway's pair: down, its port in the bridge's default VLAN.
    let third = Namespace::new();
    for unfinished in ["", "ip link set gwport nomaster"] {
        world.host.sh("ip link del br0.100");
        world.host.sh("ip link add gwport up master br0 type veth peer name br0.100");
        assert_eq!(vlans("gwport"), [(1, 1, own.to_owned())]);
        if !unfinished.is_empty() {
            world.host.sh(unfinished);
        }
        let at = At::new("c", &third, "eth0");
        world.add(&at, &conf);
        assert_eq!(vlans("gwport"), [(100, 100, own.to_owned())]);
        third.sh("ping -c1 -W2 10.1.2.1");
        world.del(&at, &conf);
    }
}

/// What holds the gateway's name is nothing that can be its link.
#[test]
fn a_vlan_gateway_without_a_port() {
    let Some(world) = World::new() else { return };
    world.host.sh("ip link add br0 type bridge");
    let pod = Namespace::new();
    let away = Namespace::new();
    world.host.sh(&format!("ip link add br0.100 type veth peer name x netns {}", away.path().display()));
    let conf = conf(
        "1.0.0",
        json!({ "vlan": 100, "isDefaultGateway": true, "ipam": world.host_local(&["10.1.2.0/24"], &[]) }),
    );
    if !world.host.run("ip link add probe type bridge vlan_filtering 1").status.success() {
        testkit::skip_or_fail("kernel", "the kernel has no CONFIG_BRIDGE_VLAN_FILTERING");
        return;
    }
    world.host.sh("ip link set br0 type bridge vlan_filtering 1");
    let error = world.add_fails(&At::new("c", &pod, "eth0"), &pod, &conf, &|_, _| None);
    assert!(error.message.contains("ip link del br0.100"), "{error}");
}

/// The bridge stays when an ADD fails, so it is not made for a configuration of IPAM that cannot work.
#[test]
fn no_bridge_for_an_impossible_ipam() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    for (ipam, text) in [
        (json!({ "type": "host-local", "dataDir": world.path("ipam"), "subnet": "10.1.2.0/99" }), "10.1.2.0/99"),
        (json!({ "type": "host-local", "dataDir": world.path("ipam") }), "no IP ranges"),
        (json!({ "type": "static", "addresses": [{ "address": "10.1.2.3" }] }), "10.1.2.3"),
    ] {
        let error =
            world.add_fails(&At::new("c", &pod, "eth0"), &pod, &conf("1.0.0", json!({ "ipam": ipam })), &|_, _| None);
        assert!(error.message.contains(text), "{error}");
        assert_eq!(world.links(), ["lo"], "{error}");
    }
}

#[test]
fn fifty_pods_at_once_on_a_bridge_that_nobody_made() {
    let Some(world) = World::new() else { return };
    let pods: Vec<Namespace> = (0..50).map(|_| Namespace::new()).collect();
    let ids: Vec<String> = (0..50).map(|i| format!("c{i}")).collect();
    let conf = conf("1.1.0", json!({ "isDefaultGateway": true, "ipam": world.host_local(&["10.1.0.0/24"], &[]) }));
    let results: Vec<CniResult> = std::thread::scope(|scope| {
        let threads: Vec<_> = pods
            .iter()
            .zip(&ids)
            .map(|(pod, id)| {
                let (world, conf) = (&world, &conf);
                scope.spawn(move || world.add(&At::new(id, pod, "eth0"), conf))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut unique: Vec<String> = results.iter().map(|r| r.ips[0].address.to_string()).collect();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), 50);
    assert_eq!(addresses(&world.host, "br0"), ["10.1.0.1/24"]);
    for (at, result) in pods.iter().zip(&ids).map(|(pod, id)| At::new(id, pod, "eth0")).zip(&results) {
        let mut conf = conf.clone();
        conf["cniVersion"] = json!("1.1.0");
        world.call(Command::Check, &at, &with_prev(&conf, result)).unwrap();
        world.del(&at, &conf);
    }
    assert_eq!((world.ports(), world.leases()), (vec!["lo".to_owned()], vec![]));
}

#[test]
fn masquerade_and_spoof_rules_come_and_go_with_the_attachment() {
    let Some(world) = World::new() else { return };
    let conf = conf(
        "1.1.0",
        json!({ "isGateway": true, "ipMasq": true, "ipMasqBackend": "nftables", "macspoofchk": true,
            "ipam": world.host_local(&["10.1.2.0/24", "fd00::/64"], &[]) }),
    );
    let rules = || -> Vec<String> {
        let rules = world.host.sh("nft list ruleset");
        rules
            .lines()
            .filter(|l| l.contains("masquerade comment") || l.contains("cni-br-iface-c1"))
            .map(str::to_owned)
            .collect()
    };
    for link_first in [false, true] {
        let pod = Namespace::new();
        let at = At::new("c1", &pod, "eth0");
        let result = world.add(&at, &conf);
        let there = rules();
        assert!(there.iter().any(|r| r.contains(&format!("ip saddr {}", result.ips[0].address.addr()))), "{there:?}");
        assert!(
            there.iter().any(|r| r.contains(&format!("iifname \"{}\" jump", result.interfaces[1].name))),
            "{there:?}"
        );
        world.check(&at, &conf, &result).unwrap();
        if link_first {
            // The original loses its rules here: it reads the addresses from the link.
            pod.sh("ip link del eth0");
        }
        world.del(&at, &conf);
        assert_eq!(rules(), Vec::<String>::new());
    }
    // A failed ADD leaves no rule.
    let pod = Namespace::new();
    let at = At::new("c1", &pod, "eth0");
    world.add_fails(&at, &pod, &conf, &|p, c| {
        (p == "host-local" && c.command == Command::Add).then(|| Err(Error::new(Code(111), "no addresses")))
    });
    assert_eq!(rules(), Vec::<String>::new());
    let mut unknown = conf.clone();
    unknown["ipMasqBackend"] = json!("pf");
    let error = world.add_fails(&at, &pod, &unknown, &|_, _| None);
    assert!(error.message.contains("pf"), "{error}");
    assert_eq!(world.call(Command::Status, &at, &unknown).unwrap_err().code, Code::NOT_AVAILABLE);
    // GC removes the rules of what is not valid any more, and leaves the others.
    let (one, two) = (Namespace::new(), Namespace::new());
    world.add(&At::new("c1", &one, "eth0"), &conf);
    let kept = world.add(&At::new("c2", &two, "eth0"), &conf);
    let mut gc = conf.clone();
    gc["cni.dev/valid-attachments"] = json!([{ "containerID": "c2", "ifname": "eth0" }]);
    world.call(Command::Gc, &At::new("", &two, "").netns(""), &gc).unwrap();
    let left: Vec<String> = kept.ips.iter().map(|ip| ip.address.addr().to_string()).collect();
    let mut leases = world.leases();
    leases.sort();
    assert_eq!(leases, left);
    let there: Vec<String> = rules().into_iter().filter(|r| r.contains("masquerade comment")).collect();
    assert!(there.len() == 2 && there.iter().all(|r| r.contains("id: c2")), "{there:?}");
}

#[test]
fn duplicate_address_detection_where_it_is_asked_for() {
    let Some(world) = World::new() else { return };
    let conf = |detect: bool| {
        conf(
            "1.0.0",
            json!({ "enabledad": detect, "ipam": { "type": "static", "addresses": [{ "address": "fd00::5/64", "gateway": "fd00::1" }] } }),
        )
    };
    let (one, two) = (Namespace::new(), Namespace::new());
    let at = At::new("a", &one, "eth0");
    world.add(&at, &conf(true));
    assert_eq!(one.sh("cat /proc/sys/net/ipv6/conf/eth0/accept_dad").trim(), "1");
    let tentative = one.json("ip -j -6 addr show dev eth0 tentative");
    assert!(tentative.as_array().unwrap().iter().all(|l| l["addr_info"].as_array().is_none_or(Vec::is_empty)));
    // The other pod has the address: found, said, undone.
    let error = world.add_fails(&At::new("b", &two, "eth0"), &two, &conf(true), &|_, _| None);
    assert!(error.message.contains("fd00::5/64 is in use by another host"), "{error}");
    // Without detection IPAM is believed.
    world.add(&At::new("b", &two, "eth0"), &conf(false));
    assert_eq!(two.sh("cat /proc/sys/net/ipv6/conf/eth0/accept_dad").trim(), "0");
}

#[test]
fn ipv6_where_it_was_switched_off() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    for key in ["all", "default", "lo"] {
        let set = format!("echo 1 > /proc/sys/net/ipv6/conf/{key}/disable_ipv6");
        assert!(pod.command("sh").args(["-c", &set]).status().unwrap().success());
    }
    let conf = conf("1.0.0", json!({ "isDefaultGateway": true, "ipam": world.host_local(&["fd00::/64"], &[]) }));
    let result = world.add(&At::new("c", &pod, "eth0"), &conf);
    assert_eq!(addresses(&pod, "eth0"), [result.ips[0].address.to_string()]);
    assert_eq!(pod.sh("cat /proc/sys/net/ipv6/conf/lo/disable_ipv6").trim(), "0");
    assert_eq!(pod.sh("cat /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down").trim(), "1");
    // Addresses and thus the attachment survive the link going down and up.
    pod.sh("ip link set eth0 down");
    pod.sh("ip link set eth0 up");
    assert_eq!(addresses(&pod, "eth0"), [result.ips[0].address.to_string()]);
}
