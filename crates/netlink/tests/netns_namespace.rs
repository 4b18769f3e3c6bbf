//! Namespace handles and sysctls on the real kernel.

use plexus_netlink::{LinkKind, Netns, NewLink, Pool, Rtnl, sysctl};
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

#[test]
fn a_pool_keeps_what_was_opened_and_knows_where_the_thread_is() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let (first, second) = (Namespace::new(), Namespace::new());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pod");
    let show = |namespace: &Namespace| {
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(namespace.path(), &path).unwrap();
    };
    let open = || Netns::open(&path).unwrap();
    let home = Netns::current().unwrap();
    {
        let _pool = Pool::new();
        show(&first);
        let pod = open();
        show(&second);
        assert!(open().is_same(first.netns()), "a path leads where it led first");
        let inside = |netns: &Netns| Netns::current().unwrap().is_same(netns);
        assert!(inside(&home) && !pod.is_current());
        pod.run(|| {
            assert!(inside(&pod) && pod.is_current());
            second.netns().run(|| assert!(inside(second.netns()))).unwrap();
            assert!(inside(&pod) && !home.is_current());
        })
        .unwrap();
        assert!(inside(&home));
        let panicked = std::panic::catch_unwind(|| pod.run(|| panic!("inside")));
        assert!(panicked.is_err() && inside(&home));
        // Sockets too are of the namespace that they are asked for, whoever had them before.
        pod.with_rtnl(|rtnl| rtnl.add_link(&NewLink::new("only-here", LinkKind::Bridge { vlan_filtering: false })))
            .unwrap()
            .unwrap();
        let seen = |rtnl: &mut Rtnl| rtnl.link("only-here").is_ok();
        for _ in 0..2 {
            assert!(pod.with_rtnl(seen).unwrap() && !Netns::with_rtnl_here(seen).unwrap());
            assert!(pod.run(|| Netns::with_rtnl_here(seen).unwrap()).unwrap());
        }
    }
    assert!(open().is_same(second.netns()), "and without a pool where it leads now");
}

#[test]
fn forwarding_is_what_the_kernel_says() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let namespace = Namespace::new();
    for (ipv4, key) in [(true, "net.ipv4.ip_forward"), (false, "net.ipv6.conf.all.forwarding")] {
        for value in ["1", "0"] {
            namespace.sh(&format!("sysctl -w {key}={value}"));
            assert_eq!(
                namespace.netns().with_rtnl(|rtnl| rtnl.forwards(ipv4)).unwrap().unwrap(),
                value == "1",
                "{key}"
            );
        }
    }
}
