//! The flannel plugin over bridge and host-local in real network namespaces.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::world::{At, World, addresses, link, names};
use cni::{Code, Command, Error};
use serde_json::{Value, json};
use testkit::Namespace;

const V4: &str = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
const V6: &str =
    "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
const DUAL: &str = "FLANNEL_NETWORK=10.244.0.0/16,192.168.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_IPV6_NETWORK=fc00::/48\n\
    FLANNEL_IPV6_SUBNET=fc00::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

fn conf(world: &World, more: Value) -> Value {
    let mut conf = json!({
        "cniVersion": "0.3.1", "name": "cbr0", "type": "flannel",
        "subnetFile": world.path("subnet.env"), "dataDir": world.path("flannel"),
        "ipam": { "dataDir": world.path("ipam") },
        "delegate": { "hairpinMode": true, "isDefaultGateway": true },
    });
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conf
}

fn subnet(world: &World, text: &str) {
    std::fs::write(world.path("subnet.env"), text).unwrap();
}

/// A host with flanneld's file, and a pod.
fn node() -> Option<(World, Namespace)> {
    let world = World::new()?;
    subnet(&world, V4);
    Some((world, Namespace::new()))
}

/// Names in the directory of stored configurations.
fn stored(world: &World) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(world.path("flannel"))
        .into_iter()
        .flatten()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    found
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn lifecycle_of_the_manifest() {
    let Some((world, pod)) = node() else { return };
    let at = At::new("pod1", &pod, "eth0");
    let conf = conf(&world, json!({}));
    let result = world.add(&at, &conf);
    assert_eq!(result.interfaces.len(), 3);
    assert_eq!(result.ips.len(), 1);
    // What the original writes, byte for byte, and whose it is.
    let ipam = world.path("ipam");
    let expected = format!(
        "{{\"cniVersion\":\"0.3.1\",\"hairpinMode\":true,\"ipMasq\":false,\"ipam\":{{\"dataDir\":\"{}\",\"ranges\":[[{{\"subnet\":\"10.244.1.0/24\"}}]],\
         \"routes\":[{{\"dst\":\"10.244.0.0/16\"}}],\"type\":\"host-local\"}},\"isDefaultGateway\":true,\"isGateway\":true,\"mtu\":1450,\
         \"name\":\"cbr0\",\"plexusInterface\":\"eth0\",\"type\":\"bridge\"}}",
        ipam.display()
    );
    assert_eq!(std::fs::read_to_string(world.path("flannel/pod1")).unwrap(), expected);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(world.path("flannel/pod1")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(addresses(&pod, "eth0"), ["10.244.1.2/24"]);
    assert_eq!(addresses(&world.host, "cni0"), ["10.244.1.1/24"]);
    assert_eq!(link(&pod, "eth0")["mtu"], 1450);
    let routes = pod.sh("ip route");
    assert!(routes.contains("default via 10.244.1.1") && routes.contains("10.244.0.0/16 via 10.244.1.1"), "{routes}");
    pod.sh("ping -c1 -W2 10.244.1.1");

    world.del(&at, &conf);
    assert_eq!((names(&pod.json("ip -j link")), world.ports()), (vec!["lo".to_owned()], vec!["lo".to_owned()]));
    assert_eq!((stored(&world), world.leases()), (vec![], vec![]));
    world.del(&at, &conf);
    std::fs::remove_file(world.path("subnet.env")).unwrap();
    world.del(&at, &conf);
}

#[test]
fn address_families() {
    let Some(world) = World::new() else { return };
    for (text, ips) in [(V4, 1), (V6, 1), (DUAL, 2)] {
        subnet(&world, text);
        let pod = Namespace::new();
        let at = At::new("pod1", &pod, "eth0");
        let conf = conf(&world, json!({}));
        let result = world.add(&at, &conf);
        assert_eq!(result.ips.len(), ips);
        if text == DUAL {
            let delegate = read(world.path("flannel/pod1"));
            assert_eq!(
                delegate["ipam"]["ranges"],
                json!([[{ "subnet": "10.244.1.0/24" }], [{ "subnet": "fc00::/64" }]])
            );
            assert_eq!(
                delegate["ipam"]["routes"],
                json!([{ "dst": "10.244.0.0/16" }, { "dst": "192.168.0.0/16" }, { "dst": "fc00::/48" }])
            );
        }
        world.del(&at, &conf);
        assert_eq!((stored(&world), world.leases()), (vec![], vec![]));
        world.host.sh("ip link del cni0");
    }
}

#[test]
fn del_works_without_subnet_env_and_without_the_file() {
    let Some(world) = World::new() else { return };
    let conf = conf(&world, json!({}));
    let pod = Namespace::new();
    let at = At::new("pod1", &pod, "eth0");
    let files: [&dyn Fn(); 4] = [
        &|| std::fs::remove_file(world.path("subnet.env")).unwrap(),
        &|| std::fs::remove_file(world.path("flannel/pod1")).unwrap(),
        &|| std::fs::write(world.path("flannel/pod1"), "").unwrap(),
        &|| std::fs::write(world.path("flannel/pod1"), "{\"name\":").unwrap(),
    ];
    for break_it in files {
        subnet(&world, V4);
        world.add(&at, &conf);
        break_it();
        world.del(&at, &conf);
        assert_eq!(names(&pod.json("ip -j link")), ["lo"]);
        assert_eq!((stored(&world), world.leases()), (vec![], vec![]));
    }
    // A corrupt file and nothing to make it up from is an error, and nothing is forgotten.
    subnet(&world, V4);
    world.add(&at, &conf);
    std::fs::write(world.path("flannel/pod1"), "not json").unwrap();
    std::fs::remove_file(world.path("subnet.env")).unwrap();
    let error = world.call(Command::Del, &at, &conf).unwrap_err();
    assert!(error.message.contains("flannel/pod1") && error.message.contains("subnet.env"), "{error}");
    assert_eq!(stored(&world), ["pod1"]);
    subnet(&world, V4);
    world.del(&at, &conf);
    assert_eq!((stored(&world), world.leases()), (vec![], vec![]));
}

#[test]
fn two_attachments_of_one_pod() {
    let Some(world) = World::new() else { return };
    subnet(&world, V4);
    let first = conf(&world, json!({}));
    let mut other = conf(&world, json!({ "name": "other", "delegate": { "bridge": "br1" } }));
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let pod = Namespace::new();
        // Of one network twice, and of another.
        other["subnetFile"] = json!(world.path("other.env"));
        std::fs::write(world.path("other.env"), V4.replace("10.244", "10.245")).unwrap();
        let calls = [
            (At::new("pod1", &pod, "eth0"), &first),
            (At::new("pod1", &pod, "net1"), &first),
            (At::new("pod1", &pod, "net2"), &other),
        ];
        let results: Vec<_> = calls[..1].iter().chain(&calls[2..]).map(|(at, conf)| world.add(at, conf)).collect();
        assert_eq!(stored(&world), ["pod1", "pod1:net2"]);
        assert_eq!(addresses(&pod, "net2").len(), 1);
        drop(results);
        std::fs::remove_file(world.path("other.env")).unwrap();
        for at in order {
            // One that was never added is deleted as well, and takes nothing with it.
            world.del(&calls[at].0, calls[at].1);
        }
        assert_eq!(names(&pod.json("ip -j link")), ["lo"]);
        assert_eq!((stored(&world), world.leases()), (vec![], vec![]));
    }
}

#[test]
fn every_verb_reaches_the_delegate() {
    let Some((world, pod)) = node() else { return };
    let at = At::new("pod1", &pod, "eth0");
    let mut conf = conf(&world, json!({ "cniVersion": "1.1.0", "runtimeConfig": { "mac": "02:00:00:00:00:07" } }));
    let result = world.add(&at, &conf);
    assert_eq!(link(&pod, "eth0")["address"], "02:00:00:00:00:07");
    world.check(&at, &conf, &result).unwrap();
    pod.sh("ip addr flush dev eth0");
    let error = world.check(&at, &conf, &result).unwrap_err();
    assert!(error.message.contains("does not have the address"), "{error}");

    conf["runtimeConfig"] = json!({ "mac": "02:00:00:00:00:08" });
    conf["cni.dev/valid-attachments"] = json!([{ "containerID": "other", "ifname": "eth0" }]);
    for command in [Command::Gc, Command::Status, Command::Del] {
        let seen = Mutex::new(Vec::new());
        world
            .call_with(command, &at, &conf, &|plugin, call| {
                if plugin == "bridge" {
                    seen.lock().unwrap().push((call.command, call.conf.clone()));
                }
                None
            })
            .unwrap();
        let seen = seen.into_inner().unwrap();
        let [(got, delegate)] = &seen[..] else { panic!("{command:?}: {seen:?}") };
        assert_eq!(*got, command);
        let text = String::from_utf8(delegate.to_vec()).unwrap();
        assert!(text.contains("02:00:00:00:00:08"), "{text}");
        assert_eq!(text.contains("valid-attachments"), command == Command::Gc);
        if command == Command::Gc {
            assert!(stored(&world).is_empty(), "the file of an attachment that is not valid");
        }
    }
    assert_eq!(names(&pod.json("ip -j link")), ["lo"]);
}

/// A runtime may repeat a DEL: it takes nothing from the container's other attachment.
#[test]
fn repeated_del_of_the_second_attachment() {
    let Some((world, pod)) = node() else { return };
    let conf = conf(&world, json!({}));
    let (first, second) = (At::new("pod1", &pod, "eth0"), At::new("pod1", &pod, "net1"));
    // The same network; other addresses, since two routes to the same place would meet in the container.
    let mut other = conf.clone();
    other["subnetFile"] = json!(world.path("other.env"));
    other["delegate"] = json!({ "bridge": "br1" });
    std::fs::write(world.path("other.env"), V4.replace("10.244", "10.245")).unwrap();
    world.add(&first, &conf);
    world.add(&second, &other);
    assert_eq!(stored(&world), ["pod1", "pod1:net1"]);
    world.del(&second, &other);
    world.del(&second, &other);
    assert_eq!(stored(&world), ["pod1"]);
    // The first one's is used, whatever has become of subnet.env.
    std::fs::remove_file(world.path("subnet.env")).unwrap();
    world.del(&second, &other);
    world.del(&first, &conf);
    assert_eq!((stored(&world), world.leases()), (vec![], vec![]));
    assert_eq!(names(&pod.json("ip -j link")), ["lo"]);
}

/// The delegate sees nothing of what the file has beside its configuration.
#[test]
fn the_stored_configuration_is_the_one_of_add() {
    let Some((world, pod)) = node() else { return };
    let at = At::new("pod1", &pod, "eth0");
    let conf = conf(&world, json!({}));
    let seen = Mutex::new(Vec::new());
    for command in [Command::Add, Command::Del] {
        let note = |plugin: &str, call: &cni::Call| {
            if plugin == "bridge" {
                seen.lock().unwrap().push(call.conf.to_vec_sorted());
            }
            None
        };
        world.call_with(command, &at, &conf, &note).unwrap();
    }
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() == 2 && seen[0] == seen[1], "{seen:?}");
}

/// ADD killed, ADD again without a DEL in between: one DEL is enough.
#[test]
fn an_add_that_was_killed_and_repeated() {
    let Some((world, pod)) = node() else { return };
    let conf = conf(&world, json!({}));
    let at = At::new("pod1", &pod, "eth0");
    world.add(&at, &conf);
    let file = std::fs::read(world.path("flannel/pod1")).unwrap();
    world.del(&at, &conf);
    // All that the killed ADD has come to.
    std::fs::write(world.path("flannel/pod1"), file).unwrap();
    world.add(&at, &conf);
    world.del(&at, &conf);
    assert_eq!((stored(&world), world.leases()), (vec![], vec![]));
}

/// The original's file has no interface in it: it is whoever's asks, as the original takes it.
#[test]
fn a_file_of_the_original() {
    let Some((world, pod)) = node() else { return };
    let conf = conf(&world, json!({}));
    let at = At::new("pod1", &pod, "eth0");
    world.add(&at, &conf);
    let mut theirs = read(world.path("flannel/pod1"));
    assert_eq!(theirs.as_object_mut().unwrap().remove("plexusInterface"), Some(json!("eth0")));
    std::fs::write(world.path("flannel/pod1"), theirs.to_string()).unwrap();
    std::fs::remove_file(world.path("subnet.env")).unwrap();
    world.del(&at, &conf);
    assert_eq!((stored(&world), world.leases()), (vec![], vec![]));
    assert_eq!(names(&pod.json("ip -j link")), ["lo"]);
}

/// `subnetFile` leads to a pipe: an error, not a wait for whoever may write into it.
#[test]
fn a_pipe_for_subnet_env() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    assert!(world.host.run(&format!("mkfifo {}", world.path("subnet.env").display())).status.success());
    let error = world.add_fails(&At::new("pod1", &pod, "eth0"), &pod, &conf(&world, json!({})), &|_, _| None);
    assert!(error.message.contains("subnet.env") && error.message.contains("not a regular file"), "{error}");
}

#[test]
fn status_without_a_usable_subnet_env() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    let at = At::new("", &pod, "");
    let conf = conf(&world, json!({ "cniVersion": "1.1.0" }));
    let error = world.call(Command::Status, &at, &conf).unwrap_err();
    assert!(error.code == Code::NOT_AVAILABLE && error.message.contains("check the flannel pod"), "{error:?}");
    subnet(&world, "FLANNEL_NETWORK=10.244.0.0/16\n");
    let error = world.call(Command::Status, &at, &conf).unwrap_err();
    assert!(error.code == Code::NOT_AVAILABLE && error.message.contains("FLANNEL_SUBNET"), "{error:?}");
    subnet(&world, V4);
    world.call(Command::Status, &at, &conf).unwrap();
}

#[test]
fn failures_leave_nothing() {
    let Some(world) = World::new() else { return };
    let pod = Namespace::new();
    let at = At::new("pod1", &pod, "eth0");
    let error = world.add_fails(&at, &pod, &conf(&world, json!({})), &|_, _| None);
    assert!(error.code == Code::TRY_AGAIN && error.message.contains("subnet.env"), "{error:?}");
    subnet(&world, V4);
    for (more, text) in [
        (json!({ "delegate": { "type": 5 } }), "'type' field"),
        (json!({ "delegate": { "name": "x" } }), "'name' field"),
        (json!({ "delegate": { "ipam": {} } }), "'ipam' field"),
        (json!({ "delegate": [] }), "delegate"),
        (json!({ "ipam": { "routes": 5 } }), "ipam.routes"),
        (json!({ "ipam": { "routes": [{ "dst": "x" }] } }), "ipam.routes[0]"),
        (json!({ "subnetFile": 5 }), "subnetFile"),
    ] {
        let error = world.add_fails(&at, &pod, &conf(&world, more.clone()), &|_, _| None);
        assert!(error.message.contains(text), "{more}: {error}");
    }
    let error = world.add_fails(&at, &pod, &conf(&world, json!({})), &|plugin, call| {
        (plugin == "host-local" && call.command == Command::Add).then(|| Err(Error::new(Code(111), "no addresses")))
    });
    assert_eq!(error.code, Code(111));
    assert_eq!(stored(&world), Vec::<String>::new());
    // The same attachment twice: the second fails and takes nothing from the first.
    let result = world.add(&at, &conf(&world, json!({ "cniVersion": "1.0.0" })));
    world.add_fails(&at, &pod, &conf(&world, json!({ "cniVersion": "1.0.0" })), &|_, _| None);
    assert_eq!(stored(&world), ["pod1"]);
    world.check(&at, &conf(&world, json!({ "cniVersion": "1.0.0" })), &result).unwrap();
}

#[test]
fn another_delegate() {
    let Some((world, pod)) = node() else { return };
    world.host.sh("ip link add up0 type veth peer name out0");
    world.host.sh("ip link set up0 up");
    let at = At::new("pod1", &pod, "eth0");
    let conf = conf(&world, json!({ "delegate": { "type": "macvlan", "master": "up0" } }));
    world.add(&at, &conf);
    let there = link(&pod, "eth0");
    assert_eq!((&there["linkinfo"]["info_kind"], &there["mtu"]), (&json!("macvlan"), &json!(1450)));
    assert!(read(world.path("flannel/pod1")).get("isGateway").is_none());
    world.del(&at, &conf);
    assert_eq!(names(&pod.json("ip -j link")), ["lo"]);
}
