use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

const CONTAINER: &str = "cnitool-a145bc1ace582bff43bd";

/// Written by cnitool 1.3.0 (libcni) around a plugin that printed these results.
const OFFICE: &str = include_str!("../../tests/libcni-cache/office-cnitool-a145bc1ace582bff43bd-eth0");
const OLD: &str = include_str!("../../tests/libcni-cache/old-cnitool-a145bc1ace582bff43bd-eth0");
const OLDEST: &str = include_str!("../../tests/libcni-cache/oldest-cnitool-a145bc1ace582bff43bd-net1");

fn cache() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    (dir, cache)
}

/// A cache with this content of one file.
fn with(network: &str, container_id: &str, ifname: &str, content: &[u8]) -> (tempfile::TempDir, Cache) {
    let (dir, cache) = cache();
    let path = cache.path(network, container_id, ifname).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    (dir, cache)
}

#[test]
fn libcnis_own_files_are_read_and_written_byte_for_byte() {
    for (file, network, ifname, version) in
        [(OFFICE, "office", "eth0", "1.1.0"), (OLD, "old", "eth0", "0.4.0"), (OLDEST, "oldest", "net1", "0.1.0")]
    {
        let (_dir, cache) = with(network, CONTAINER, ifname, file.as_bytes());
        let entry = cache.entry(network, CONTAINER, ifname).unwrap().unwrap();
        assert_eq!(
            (entry.network.as_str(), entry.container_id.as_str(), entry.ifname.as_str()),
            (network, CONTAINER, ifname)
        );
        assert_eq!(entry.netns, "/run/netns/a");
        let result = cache.result(network, CONTAINER, ifname, version.parse().unwrap()).unwrap().unwrap();

        let runtime = Runtime {
            args: entry.args.clone(),
            capability_args: entry.capability_args.clone(),
            ..Runtime::new(CONTAINER, &entry.netns, ifname)
        };
        cache.write(network, &entry.config, &runtime, &result).unwrap();
        let path = cache.path(network, CONTAINER, ifname).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), file);
    }
}

#[test]
fn what_stands_in_libcnis_file() {
    let (_dir, cache) = with("office", CONTAINER, "eth0", OFFICE.as_bytes());
    let entry = cache.entry("office", CONTAINER, "eth0").unwrap().unwrap();
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(entry.args, [pair("IgnoreUnknown", "1"), pair("K8S_POD_NAME", "a<b")]);
    assert!(crate::conf::NetworkList::parse(&entry.config).is_ok());
    assert_eq!(entry.capability_args.get("zeta").unwrap().to_vec(), b"[1,2.5,10000000000]");
    // To a version of another family.
    let old = cache.result("office", CONTAINER, "eth0", Version::V0_2_0).unwrap().unwrap();
    assert_eq!((old.version, old.ips.len(), old.interfaces.len()), (Version::V0_2_0, 2, 0));
}

#[test]
fn bare_results_of_older_libcni() {
    let bare = br#"{"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.0.0.1/24"}]}"#;
    for content in [&bare[..], br#"{"kind": "x", "cniVersion": "0.3.1", "ips": [{"address": "10.0.0.1/24"}]}"#] {
        let (_dir, cache) = with("n", "c", "i", content);
        let result = cache.result("n", "c", "i", Version::V1_0_0).unwrap().unwrap();
        assert_eq!((result.version, result.ips.len()), (Version::V1_0_0, 1));
        assert!(cache.entry("n", "c", "i").unwrap_err().message.contains("n-c-i"));
        assert_eq!(cache.attachments(None).unwrap(), []);
    }
}

#[test]
fn broken_files_are_errors_that_name_them() {
    for content in [
        &b""[..],
        b"{",
        b"\0\0\0\0",
        b"\xff",
        b"[]",
        br#"{"kind": "cniCacheV1", "result": {"ips": 1}}"#,
        br#"{"kind": "cniCacheV1", "result": {"cniVersion": "7.0.0"}}"#,
    ] {
        let (_dir, cache) = with("n", "c", "i", content);
        let error = cache.result("n", "c", "i", Version::V1_0_0).unwrap_err();
        assert!(error.message.contains("/results/n-c-i\""), "{error}");
    }
    let (_dir, cache) = with("n", "c", "i", br#"{"kind": "cniCacheV1", "config": "*"}"#);
    assert!(cache.entry("n", "c", "i").unwrap_err().message.contains("config"));
    // A result that cannot be said in the configuration's version.
    let (_dir, cache) = with("n", "c", "i", br#"{"kind": "cniCacheV1", "result": {"cniVersion": "1.0.0"}}"#);
    let error = cache.result("n", "c", "i", Version::V0_2_0).unwrap_err();
    assert!(error.message.contains("failed to convert cached result to config version \"0.2.0\""), "{error}");
}

#[test]
fn no_file_is_no_error() {
    let (_dir, cache) = cache();
    assert_eq!(cache.result("n", "c", "i", Version::V1_0_0).unwrap(), None);
    assert_eq!(cache.entry("n", "c", "i").unwrap(), None);
    assert_eq!(cache.attachments(None).unwrap(), []);
    cache.remove("n", "c", "i").unwrap();
}

#[test]
fn names_do_not_lead_out_of_the_directory() {
    let (_dir, cache) = cache();
    for (network, id, ifname) in
        [("", "c", "i"), ("n", "", "i"), ("n", "c", ""), ("../n", "c", "i"), ("n", "c/..", "i"), ("n", "c", "\0")]
    {
        assert!(cache.path(network, id, ifname).is_err());
        let runtime = Runtime::new(id, "", ifname);
        assert!(cache.write(network, b"", &runtime, &CniResult::empty(Version::V1_0_0)).is_err());
    }
}

#[test]
fn files_are_private_and_leave_nothing_beside_them() {
    let (dir, cache) = cache();
    let runtime = Runtime::new("c", "", "i");
    cache.write("n", b"{}", &runtime, &CniResult::empty(Version::V1_0_0)).unwrap();
    let path = cache.path("n", "c", "i").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read_dir(dir.path().join("results")).unwrap().count(), 1);
    assert!(!fs::read_to_string(&path).unwrap().contains("netns"));

    // What a killed writer leaves is passed over, and goes with the attachment.
    fs::copy(&path, file::temporary(&path)).unwrap();
    assert_eq!(cache.attachments(None).unwrap().len(), 1);
    cache.remove("n", "c", "i").unwrap();
    assert_eq!(fs::read_dir(dir.path().join("results")).unwrap().count(), 0);
}

#[test]
fn attachments_of_one_container() {
    let (dir, cache) = cache();
    // The names of these are the same up to the last part: "a-b-c-eth0".
    for (network, id, ifname) in [("a", "b-c", "eth0"), ("a-b", "c", "eth0"), ("z", "c", "net1"), ("a", "c", "net2")] {
        cache.write(network, b"", &Runtime::new(id, "", ifname), &CniResult::empty(Version::V1_0_0)).unwrap();
    }
    fs::write(dir.path().join("results/x-c-y"), "").unwrap();
    let found: Vec<_> = cache.attachments(Some("c")).unwrap().into_iter().map(|e| (e.network, e.ifname)).collect();
    let expected = [("a-b", "eth0"), ("a", "net2"), ("z", "net1")].map(|(n, i)| (n.to_owned(), i.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn what_a_power_loss_emptied_can_be_removed() {
    let (dir, cache) = cache();
    cache.write("a", b"", &Runtime::new("c", "", "eth0"), &CniResult::empty(Version::V1_0_0)).unwrap();
    for name in ["a-c-net1", "b-c-d-net1", "a-other-net1", "a-c2-net1"] {
        fs::write(dir.path().join("results").join(name), "").unwrap();
    }
    cache.remove_empty("c").unwrap();
    let left = fs::read_dir(dir.path().join("results")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut left: Vec<String> = left.collect();
    left.sort();
    // "b-c-d-net1" may be c's or d's: says nothing either way.
    assert_eq!(left, ["a-c-eth0", "a-c2-net1", "a-other-net1"]);
    Cache::new(dir.path().join("nowhere")).remove_empty("c").unwrap();
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        names in ("[a-z.-]{1,9}", "[a-z.-]{1,9}", "[^/\0]{1,9}"), netns in ".*", config in prop::collection::vec(any::<u8>(), 0..99),
        args in prop::collection::vec((".*", ".*"), 0..3), value in ".*",
    ) {
        let (_dir, cache) = cache();
        let (network, id, ifname) = &names;
        let mut capability_args = Json::object();
        capability_args.set("mac", value);
        let runtime = Runtime { args, capability_args, ..Runtime::new(id, &netns, ifname) };
        cache.write(network, &config, &runtime, &CniResult::empty(Version::V1_1_0)).unwrap();
        let entry = cache.entry(network, id, ifname).unwrap().unwrap();
        prop_assert_eq!((&entry.network, &entry.container_id, &entry.ifname, &entry.netns), (network, id, ifname, &netns));
        prop_assert_eq!((entry.config, entry.args, entry.capability_args), (config, runtime.args, runtime.capability_args));
    }

    #[test]
    fn any_content_is_an_entry_or_an_error(content in prop::collection::vec(any::<u8>(), 0..99)) {
        let (_dir, cache) = with("n", "c", "i", &content);
        let _ = cache.entry("n", "c", "i");
        let _ = cache.result("n", "c", "i", Version::V0_2_0);
        let _ = cache.attachments(None);
    }
}

/// A defect that there was: GC did not know of the attachment, and told plugins that it was not valid.
#[test]
fn a_file_that_cannot_be_read_now_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    let path = cache.path("net", "c1", "eth0").unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // What can never be one.
    std::fs::create_dir(cache.path("net", "c1", "eth1").unwrap()).unwrap();
    assert_eq!(cache.attachments(None).unwrap().len(), 0);
    // A regular file whose first page nobody has: EIO.
    std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
    for container in [None, Some("c1")] {
        let error = cache.attachments(container).unwrap_err();
        assert_eq!(error.code, Code::TRY_AGAIN, "{error}");
        for said in [path.display().to_string(), "os error 5".to_owned(), "try again".to_owned()] {
            assert!(error.message.contains(&said), "{said}: {error}");
        }
    }
    assert_eq!(cache.attachments(Some("c2")).unwrap().len(), 0, "it is not of this container");
}
