//! host-local: results, and its directory, which the Go plugin must find as its own would be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use plugins::HostLocal;
use serde_json::{Value, json};

use crate::call::{Program, VERSIONS, addresses, gateways, routes};

/// A data directory that goes away with the test.
struct Data(tempfile::TempDir);

impl Data {
    fn new() -> Self {
        Data(tempfile::tempdir().unwrap())
    }

    /// A configuration of network `mynet` whose `ipam` has these keys as well.
    fn conf(&self, version: &str, ipam: Value) -> Value {
        let mut ipam = ipam;
        ipam["type"] = "host-local".into();
        ipam["dataDir"] = self.0.path().to_str().unwrap().into();
        json!({"cniVersion": version, "name": "mynet", "type": "ipvlan", "master": "foo0", "ipam": ipam})
    }

    fn network(&self) -> PathBuf {
        self.0.path().join("mynet")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.network().join(name)).unwrap()
    }

    fn write(&self, name: &str, content: &str) {
        fs::create_dir_all(self.network()).unwrap();
        fs::write(self.network().join(name), content).unwrap();
    }

    /// Everything there but the lock and the index.
    fn files(&self) -> Vec<String> {
        files(&self.network())
    }
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "lock" && name != ".plexus-index");
    names.sort();
    names
}

fn host_local() -> Program {
    Program::new(&HostLocal)
}

fn container(id: &str) -> Program {
    host_local().with("CNI_CONTAINERID", id)
}

#[test]
fn two_ranges_with_routes_and_name_servers() {
    for version in VERSIONS {
        let data = Data::new();
        let resolv = data.0.path().join("resolv.conf");
        fs::write(&resolv, "nameserver 192.0.2.3\n").unwrap();
        let conf = data.conf(
            version,
            json!({
                "resolvConf": resolv,
                "ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.2.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "192.168.0.0/16", "gw": "1.1.1.1"},
                           {"dst": "2001:db8:2::/64", "gw": "2001:db8:3::1"}],
            }),
        );
        let result = host_local().add(&conf);
        assert_eq!(addresses(&result), ["10.1.2.2/24", "2001:db8:1::2/64"], "{version}");
        assert_eq!(gateways(&result), ["10.1.2.1", "2001:db8:1::1"]);
        let mut got = routes(&result);
        got.sort();
        assert_eq!(got, ["0.0.0.0/0", "192.168.0.0/16 1.1.1.1", "2001:db8:2::/64 2001:db8:3::1", "::/0"]);
        assert_eq!(result["dns"], json!({"nameservers": ["192.0.2.3"]}));
        assert!(result.get("interfaces").is_none());

        assert_eq!(data.read("10.1.2.2"), "dummy\r\neth0");
        assert_eq!(data.read("2001:db8:1::2"), "dummy\r\neth0");
        assert_eq!(data.read("last_reserved_ip.0"), "10.1.2.2");
        assert_eq!(data.read("last_reserved_ip.1"), "2001:db8:1::2");
        let mode = fs::metadata(data.network().join("10.1.2.2")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        if version >= "0.4.0" {
            host_local().ok("CHECK", &conf);
        }
        host_local().ok("DEL", &conf);
        assert_eq!(data.files(), ["last_reserved_ip.0", "last_reserved_ip.1"]);
        if version >= "0.4.0" {
            let (code, message) = host_local().error("CHECK", &conf);
            assert_eq!((code, message.as_str()), (999, "host-local: Failed to find address added by container dummy"));
        }
    }
}

#[test]
fn two_interfaces_of_one_container() {
    for version in VERSIONS {
        let data = Data::new();
        let conf = data.conf(version, json!({"subnet": "10.1.2.0/24"}));
        let (first, second) = (host_local(), host_local().with("CNI_IFNAME", "eth1"));
        assert_eq!(addresses(&first.add(&conf)), ["10.1.2.2/24"]);
        assert_eq!(addresses(&second.add(&conf)), ["10.1.2.3/24"]);
        first.ok("DEL", &conf);
        assert_eq!(data.files(), ["10.1.2.3", "last_reserved_ip.0"]);
        assert_eq!(data.read("10.1.2.3"), "dummy\r\neth1");
        second.ok("DEL", &conf);
        assert_eq!(data.files(), ["last_reserved_ip.0"]);
    }
}

#[test]
fn a_repeated_add_is_refused_and_changes_nothing() {
    for version in VERSIONS {
        let data = Data::new();
        let conf = data.conf(version, json!({"subnet": "10.1.2.0/24"}));
        host_local().add(&conf);
        let expected =
            "failed to allocate for range 0: 10.1.2.2 has been allocated to dummy, duplicate allocation is not allowed";
        assert_eq!(host_local().error("ADD", &conf), (999, expected.to_owned()));
        assert_eq!(data.files(), ["10.1.2.2", "last_reserved_ip.0"]);
        assert_eq!(data.read("last_reserved_ip.0"), "10.1.2.2");
    }
}

#[test]
fn a_failure_in_a_later_set_keeps_what_the_container_has() {
    let data = Data::new();
    let second = data.conf("1.0.0", json!({"ranges": [[{"subnet": "10.2.0.0/24"}]]}));
    host_local().add(&second);
    // Set 0 is free, set 1 has an address of this container: the original gives that address up here.
    let both = data.conf("1.0.0", json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}));
    let (_, message) = host_local().error("ADD", &both);
    assert!(message.contains("10.2.0.2 has been allocated to dummy"), "{message}");
    assert_eq!(data.files(), ["10.2.0.2", "last_reserved_ip.0"]);
    assert_eq!(data.read("last_reserved_ip.0"), "10.2.0.2");
}

#[test]
fn a_failed_request_does_not_move_the_round_on() {
    let data = Data::new();
    let conf = data.conf("1.0.0", json!({"subnet": "10.1.2.0/24"}));
    let foreign = data.conf("1.0.0", json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.9.0.0/30"}]]}));
    container("a").add(&conf);
    container("x").add(&foreign);
    assert_eq!(data.read("last_reserved_ip.0"), "10.1.2.3");
    let (_, message) = container("b").with("CNI_ARGS", "IP=192.0.2.99").error("ADD", &conf);
    assert_eq!(message, "failed to allocate all requested IPs: 192.0.2.99");
    let (_, message) = container("b").error("ADD", &foreign);
    assert_eq!(message, "failed to allocate for range 1: no IP addresses available in range set: 10.9.0.1-10.9.0.2");
    assert_eq!(addresses(&container("c").add(&conf)), ["10.1.2.4/24"]);
}

#[test]
fn files_of_old_versions_and_with_white_space_are_understood() {
    for version in VERSIONS {
        for content in ["dummy", "dummy\n", " dummy\t\r\n", "dummy\r\neth0\n"] {
            let data = Data::new();
            let conf = data.conf(version, json!({"subnet": "10.1.2.0/24"}));
            data.write("10.1.2.77", content);
            data.write("10.1.2.78", "dummy2");
            let (_, message) = host_local().error("ADD", &conf);
            assert!(message.contains("10.1.2.77 has been allocated to dummy"), "{content:?}: {message}");
            host_local().ok("DEL", &conf);
            assert_eq!(data.files(), ["10.1.2.78"], "{content:?}");
        }
    }
}

#[test]
fn the_old_form_is_released_only_where_there_is_no_new_one() {
    let data = Data::new();
    let conf = data.conf("1.0.0", json!({"subnet": "10.1.2.0/24"}));
    data.write("10.1.2.77", "dummy");
    data.write("10.1.2.78", "dummy\r\neth0");
    host_local().ok("DEL", &conf);
    assert_eq!(data.files(), ["10.1.2.77"]);
    host_local().ok("DEL", &conf);
    assert_eq!(data.files(), [""; 0]);
}

#[test]
fn del_of_what_was_never_there() {
    for version in VERSIONS {
        let data = Data::new();
        let conf = data.conf(version, json!({"subnet": "10.1.2.0/24"}));
        host_local().ok("DEL", &conf);
        assert!(!data.network().exists(), "DEL makes no directory");
        container("other").add(&conf);
        host_local().ok("DEL", &conf);
        assert_eq!(data.files(), ["10.1.2.2", "last_reserved_ip.0"]);
    }
}

#[test]
fn del_works_whatever_else_is_wrong_in_the_configuration() {
    for broken in [
        json!({"subnet": "10.1.2.0/31"}),
        json!({"subnet": 5}),
        json!({}),
        json!({"ranges": [[]]}),
        json!({"ranges": "x"}),
        json!({"subnet": "10.1.2.0/24", "rangeStart": "2001:db8::1"}),
        json!({"subnet": "10.1.2.0/24", "routes": [{"dst": "nowhere"}]}),
        json!({"subnet": "10.1.2.0/24", "resolvConf": "/does/not/exist"}),
    ] {
        let data = Data::new();
        host_local().add(&data.conf("1.0.0", json!({"subnet": "10.1.2.0/24"})));
        let conf = data.conf("1.0.0", broken);
        let program = host_local().with("CNI_ARGS", "IP=nonsense").with("CNI_NETNS", "");
        program.ok("DEL", &conf);
        assert_eq!(data.files(), ["last_reserved_ip.0"], "{conf}");
    }
}

#[test]
fn requested_addresses() {
    for version in VERSIONS {
        let data = Data::new();
        let conf = data.conf(
            version,
            json!({"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.3.0/24"}], [{"subnet": "2001:db8::/64"}]]}),
        );
        let by_args = host_local().with("CNI_ARGS", "IP=10.1.3.88");
        assert_eq!(addresses(&by_args.add(&conf)), ["10.1.3.88/24", "2001:db8::2/64"]);
        // One of each family, as the meta-plugin joins what a pod asks for.
        let two = container("two").with("CNI_ARGS", "IP=10.1.3.77/24,2001:db8::77");
        assert_eq!(addresses(&two.add(&conf)), ["10.1.3.77/24", "2001:db8::77/64"]);
        let mut both = conf.clone();
        both["args"] = json!({"cni": {"ips": ["10.1.2.88", "2001:db8::999"]}});
        assert_eq!(addresses(&container("b").add(&both)), ["10.1.2.88/24", "2001:db8::999/64"]);
        let mut capability = conf.clone();
        capability["runtimeConfig"] = json!({"ips": ["10.1.2.89/30"]});
        assert_eq!(addresses(&container("c").add(&capability))[0], "10.1.2.89/24");

        let (code, message) = container("d").error("ADD", &both);
        assert_eq!(code, 999);
        assert!(message.contains("requested IP address 10.1.2.88 is not available in range set"), "{message}");
        let mut outside = conf.clone();
        outside["args"] = json!({"cni": {"ips": ["10.1.2.90", "10.1.2.91"]}});
        let (_, message) = container("d").error("ADD", &outside);
        assert_eq!(message, "failed to allocate all requested IPs: 10.1.2.91");
        assert!(!data.files().contains(&"10.1.2.90".to_owned()));
    }
}

#[test]
fn ranges_from_the_runtime_come_first() {
    let data = Data::new();
    let mut conf = data.conf("1.0.0", json!({"subnet": "10.1.2.0/24", "ranges": [[{"subnet": "10.5.0.0/24"}]]}));
    conf["RuntimeConfig"] = json!({"IPRanges": [[{"Subnet": "10.7.0.0/16", "RangeStart": "10.7.1.1"}]]});
    assert_eq!(addresses(&host_local().add(&conf)), ["10.7.1.1/16", "10.1.2.2/24", "10.5.0.2/24"]);
    assert_eq!(data.read("last_reserved_ip.0"), "10.7.1.1");
}

#[test]
fn invalid_configurations() {
    let data = Data::new();
    let cases = [
        (json!({}), 7, "no IP ranges specified"),
        (json!({"ranges": []}), 7, "no IP ranges specified"),
        (json!({"ranges": [[]]}), 7, "invalid range set 0: empty range set"),
        (json!({"subnet": "10.0.0.0/31"}), 7, "invalid range set 0: Network 10.0.0.0/31 too small to allocate from"),
        (
            json!({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.0/16"}]]}),
            7,
            "range set 0 overlaps with 1",
        ),
        (
            json!({"ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "::/64"}]]}),
            7,
            "invalid range set 0: mixed address families",
        ),
        (
            json!({"subnet": "10.0.0.0/24", "gateway": "10.0.0"}),
            6,
            "failed to read the network configuration: key \"ipam.gateway\": invalid IP address: 10.0.0",
        ),
    ];
    for (ipam, code, message) in cases {
        assert_eq!(host_local().error("ADD", &data.conf("1.0.0", ipam)), (code, message.to_owned()));
    }
    let none = json!({"cniVersion": "1.0.0", "name": "mynet", "type": "x"});
    assert_eq!(host_local().error("ADD", &none), (7, "IPAM config missing 'ipam' key".into()));
    let two = data.conf("0.2.0", json!({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.1.0.0/24"}]]}));
    let message = "CNI version 0.2.0 does not support more than 1 address per family";
    assert_eq!(host_local().error("ADD", &two), (7, message.into()));
    let missing = data.conf("1.0.0", json!({"subnet": "10.0.0.0/24", "resolvConf": "/does/not/exist"}));
    let (code, message) = host_local().error("ADD", &missing);
    assert!(code == 5 && message.contains("\"/does/not/exist\""), "{message}");
    let conf = data.conf("1.0.0", json!({"subnet": "10.0.0.0/24"}));
    for (args, code) in [("IP=nowhere", 4), ("FOO=bar", 4)] {
        assert_eq!(host_local().with("CNI_ARGS", args).error("ADD", &conf).0, code, "{args}");
    }
    host_local().with("CNI_ARGS", "FOO=bar;IgnoreUnknown=1").add(&conf);
    host_local().ok("DEL", &conf);
    assert_eq!(data.files(), ["last_reserved_ip.0"]);
    // Absent in the originals' sense: null and empty text.
    let lenient = json!({"subnet": "10.0.0.0/24", "gateway": "", "rangeStart": null, "ranges": null, "resolvConf": ""});
    assert_eq!(gateways(&host_local().add(&data.conf("1.0.0", lenient))), ["10.0.0.1"]);
}

#[test]
fn names_that_would_leave_the_data_directory() {
    let data = Data::new();
    for name in ["../x", "a/b", "..", ".", "", "a\0b", "/etc"] {
        for command in ["ADD", "DEL", "CHECK"] {
            let mut conf = data.conf("1.0.0", json!({"subnet": "10.0.0.0/24"}));
            conf["name"] = name.into();
            assert_eq!(host_local().error(command, &conf).0, 7, "{command} {name:?}");
        }
    }
    assert_eq!(files(data.0.path()), [""; 0]);
}

#[test]
fn garbage_in_the_directory_is_worked_around() {
    let data = Data::new();
    let conf = data.conf("1.0.0", json!({"subnet": "10.1.2.0/24"}));
    data.write("10.1.2.2", "");
    data.write("10.1.2.3", "\u{fffd}");
    fs::write(data.network().join("10.1.2.4"), [0xff, 0xfe]).unwrap();
    fs::create_dir(data.network().join("10.1.2.5")).unwrap();
    data.write("last_reserved_ip.0", "nonsense");
    data.write("README", "dummy\r\neth0");
    data.write(".10.1.2.9.tmp", "dummy\r\neth0");
    // The empty reservation is of a process killed while it wrote it: its address is free. The others have owners, if strange ones.
    assert_eq!(addresses(&host_local().add(&conf)), ["10.1.2.2/24"]);
    assert_eq!(addresses(&container("b").add(&conf)), ["10.1.2.6/24"]);
    host_local().ok("DEL", &conf);
    container("b").ok("DEL", &conf);
    assert_eq!(data.files(), ["10.1.2.3", "10.1.2.4", "10.1.2.5", "README", "last_reserved_ip.0"]);
}

#[test]
fn changes_by_others_are_seen() {
    let data = Data::new();
    let conf = data.conf("1.0.0", json!({"subnet": "10.1.2.0/24"}));
    container("a").add(&conf);
    // As the Go plugin does it.
    data.write("10.1.2.3", "foreign\r\neth0");
    data.write("last_reserved_ip.0", "10.1.2.3");
    assert_eq!(addresses(&container("b").add(&conf)), ["10.1.2.4/24"]);
    container("foreign").ok("CHECK", &conf);
    container("foreign").ok("DEL", &conf);
    assert_eq!(data.files(), ["10.1.2.2", "10.1.2.4", "last_reserved_ip.0"]);
    fs::remove_file(data.network().join("10.1.2.2")).unwrap();
    assert_eq!(container("a").error("CHECK", &conf).0, 999);
    data.write("last_reserved_ip.0", "10.1.2.1");
    assert_eq!(addresses(&container("c").add(&conf)), ["10.1.2.2/24"]);
}

#[test]
fn gc_removes_what_no_attachment_owns() {
    let data = Data::new();
    let conf = data.conf("1.1.0", json!({"subnet": "10.1.2.0/24"}));
    container("a").add(&conf);
    container("b").add(&conf);
    container("b").with("CNI_IFNAME", "net1").add(&conf);
    data.write("10.1.2.77", "a");
    data.write("10.1.2.78", "gone");
    data.write("10.1.2.79", "");
    // Without a list nothing is known to be invalid.
    host_local().ok("GC", &conf);
    let all = ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.77", "10.1.2.78", "10.1.2.79", "last_reserved_ip.0"];
    assert_eq!(data.files(), all);
    let with = |key: &str, list: Value| {
        let mut conf = conf.clone();
        conf[key] = list;
        conf
    };
    let valid = json!([{"containerID": "a", "ifname": "eth0"}, {"containerID": "b", "ifname": "net1"}]);
    host_local().ok("GC", &with("cni.dev/valid-attachments", valid));
    assert_eq!(data.files(), ["10.1.2.2", "10.1.2.4", "10.1.2.77", "last_reserved_ip.0"]);
    assert_eq!(host_local().error("GC", &with("cni.dev/valid-attachments", json!("all"))).0, 6);
    host_local().ok("GC", &with("cni.dev/attachments", json!([{"containerID": "a", "ifname": "eth0"}])));
    assert_eq!(data.files(), ["10.1.2.2", "10.1.2.77", "last_reserved_ip.0"]);
    // Ranges do not matter.
    let mut broken = with("cni.dev/valid-attachments", json!([]));
    broken["ipam"]["subnet"] = "10.0.0.0/32".into();
    host_local().ok("GC", &broken);
    assert_eq!(data.files(), ["last_reserved_ip.0"]);
    // After it, the index is right.
    assert_eq!(addresses(&container("z").add(&conf)), ["10.1.2.5/24"]);
}

#[test]
fn status() {
    let data = Data::new();
    host_local().ok("STATUS", &data.conf("1.1.0", json!({"subnet": "10.1.2.0/24"})));
    assert!(!data.network().exists());
    assert_eq!(host_local().error("STATUS", &data.conf("1.1.0", json!({"subnet": "10.1.2.0/32"}))).0, 7);
    assert_eq!(host_local().error("STATUS", &data.conf("1.1.0", json!({}))).0, 7);
    let mut from_runtime = data.conf("1.1.0", json!({}));
    from_runtime["capabilities"] = json!({"ipRanges": true});
    host_local().ok("STATUS", &from_runtime);
    let mut readonly = data.conf("1.1.0", json!({"subnet": "10.1.2.0/24"}));
    readonly["ipam"]["dataDir"] = "/proc/sys/net".into();
    let (code, message) = host_local().error("STATUS", &readonly);
    assert_eq!(code, 50, "{message}");
    assert!(message.contains("/proc/sys/net"), "{message}");
}

#[test]
fn resolv_conf_with_everything() {
    let data = Data::new();
    let resolv = data.0.path().join("resolv.conf");
    let text = "# comment\n; another\n\nnameserver 192.0.2.0\n\tnameserver  192.0.2.1 \ndomain example.com\ndomain example.net\n\
                search a.example b.example\noptions four five\noptions six\nnameserver\nsortlist x\n";
    fs::write(&resolv, text).unwrap();
    let result = host_local().add(&data.conf("1.0.0", json!({"subnet": "10.1.2.0/24", "resolvConf": resolv})));
    let expected = json!({"nameservers": ["192.0.2.0", "192.0.2.1"], "domain": "example.net",
        "search": ["a.example", "b.example"], "options": ["four", "five", "six"]});
    assert_eq!(result["dns"], expected);
}

#[test]
fn a_range_as_large_as_there_are() {
    let data = Data::new();
    let conf = data.conf("1.0.0", json!({"ranges": [[{"subnet": "::/0"}], [{"subnet": "0.0.0.0/0", "rangeStart": "255.255.255.255", "rangeEnd": "255.255.255.255"}]]}));
    assert_eq!(addresses(&host_local().add(&conf)), ["::2/0", "255.255.255.255/0"]);
    let (_, message) = container("b").error("ADD", &conf);
    assert_eq!(
        message,
        "failed to allocate for range 1: no IP addresses available in range set: 255.255.255.255-255.255.255.255"
    );
    assert_eq!(data.read("last_reserved_ip.0"), "::2");
}

/// Runs `f`, which is to end; it is given ten seconds.
fn ends<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(f()));
    receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap()
}

/// A pipe in the place of a file: a resolv.conf, a reservation, the lock, the last address.
#[test]
fn pipes_are_not_waited_for() {
    let pipe = |path: &Path| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
    };
    let data = Data::new();
    let resolv = data.0.path().join("resolv.conf");
    pipe(&resolv);
    let conf = data.conf("1.0.0", json!({"subnet": "10.1.2.0/24", "resolvConf": resolv}));
    let (code, message) = ends(move || host_local().error("ADD", &conf));
    assert!(code == 5 && message.contains("not a regular file"), "{code} {message}");
    for name in ["10.1.2.2", "lock", "last_reserved_ip.0"] {
        let data = Data::new();
        pipe(&data.network().join(name));
        let conf = data.conf("1.0.0", json!({"subnet": "10.1.2.0/24"}));
        let address = ends(move || {
            let address = addresses(&host_local().add(&conf));
            host_local().ok("DEL", &conf);
            address
        });
        // Whatever it is, it is somebody's.
        assert_eq!(address, [if name == "10.1.2.2" { "10.1.2.3/24" } else { "10.1.2.2/24" }]);
        assert!(data.network().join(name).exists());
    }
}

/// Somebody who does not take the lock gives an address back within the same tick of the clock as the last use of the index, so that the
/// directory's time shows nothing of it.
#[test]
fn an_address_given_back_behind_the_index() {
    let data = Data::new();
    let conf = data.conf("1.0.0", json!({"subnet": "10.1.2.0/29", "rangeStart": "10.1.2.2", "rangeEnd": "10.1.2.3"}));
    for id in ["a", "b"] {
        container(id).add(&conf);
    }
    assert!(container("c").error("ADD", &conf).1.contains("no IP addresses available"));
    let dir = fs::File::open(data.network()).unwrap();
    let before = dir.metadata().unwrap().modified().unwrap();
    fs::remove_file(data.network().join("10.1.2.3")).unwrap();
    dir.set_modified(before).unwrap();
    assert_eq!(addresses(&container("c").add(&conf)), ["10.1.2.3/29"]);
}
