//! Namespace handles and sysctls on the real kernel.

use plexus_netlink::{Netns, sysctl};
use rustix::io::Errno;
use testkit::Namespace;

#[test]
fn what_is_no_network_namespace_is_refused() {
    for path in ["/proc/version", "/proc/self/ns/mnt", "/dev/null", "/", "/etc/hostname"] {
        let error = Netns::open(path).unwrap_err();
        assert!(error.is(Errno::INVAL) || error.is(Errno::NOENT), "{error}");
        assert!(error.to_string().starts_with(&format!("failed to open network namespace {path}: ")), "{error}");
    }
    assert!(Netns::open("/proc/self/ns/nothing").unwrap_err().is(Errno::NOENT));
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    assert!(Netns::open(&fifo).unwrap_err().is(Errno::INVAL), "and it does not wait for a writer");
    assert!(Netns::open("/proc/self/ns/net").unwrap().is_same(&Netns::current().unwrap()));
}

#[test]
fn code_runs_inside_and_the_caller_stays_outside() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let before = Netns::current().unwrap();
    assert!(!before.is_same(namespace.netns()));
    let inside = namespace.netns().run(|| Netns::current().unwrap()).unwrap();
    assert!(inside.is_same(namespace.netns()));
    assert!(before.is_same(&Netns::current().unwrap()));
    let panicked = std::panic::catch_unwind(|| namespace.netns().run(|| panic!("inside")));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"inside"));
    assert!(before.is_same(&Netns::current().unwrap()));
    let fresh = Netns::unshare().unwrap();
    assert!(!fresh.is_same(&before) && !fresh.is_same(namespace.netns()));
    assert_eq!(fresh.rtnl().unwrap().links().unwrap().len(), 1);
}

#[test]
fn sysctls_are_those_of_the_namespace() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    let key = "net/ipv4/conf/all/arp_notify";
    namespace
        .netns()
        .run(|| {
            assert_eq!(sysctl::get(key).unwrap(), "0");
            sysctl::set(key, "1").unwrap();
            assert_eq!(sysctl::get(key).unwrap(), "1");
            let error = sysctl::set("net/ipv4/conf/nothing/arp_notify", "1").unwrap_err();
            assert!(error.is(Errno::NOENT), "{error}");
            assert!(sysctl::get("net/ipv4/conf/nothing/arp_notify").unwrap_err().is(Errno::NOENT));
            let error = sysctl::set(key, "not a number").unwrap_err();
            assert!(error.is(Errno::INVAL) && error.object == "/proc/sys/net/ipv4/conf/all/arp_notify", "{error}");
        })
        .unwrap();
    assert_eq!(namespace.sh("sysctl -n net.ipv4.conf.all.arp_notify"), "1\n");
}

#[test]
fn keys_that_lead_elsewhere_are_refused() {
    for key in ["", "/etc/hostname", "../../etc/hostname", "net/../../version", "net/ipv4\0", "."] {
        assert!(sysctl::get(key).unwrap_err().is(Errno::INVAL), "{key:?}");
        assert!(sysctl::set(key, "x").unwrap_err().is(Errno::INVAL), "{key:?}");
    }
}
