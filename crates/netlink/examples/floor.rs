//! What the kernel's part of one flannel + macvlan attachment costs: the same objects, made by one process over warm sockets, and nothing
//! else. No program that attaches a pod to both networks can be faster than this.
//!
//! `cargo run --release -p plexus-netlink --example floor -- --iterations 200` prints one JSON object with the microseconds of each ADD (9
//! requests), each DEL (the pod's two links in one batch) and, to compare, each removal of the two links one after the other. It works in namespaces of its own and needs root.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net};
use plexus_netlink::{AddressFlags, LinkChange, LinkKind, MacvlanMode, Netns, NewLink, Result, Route, Rtnl, VethPeer};

/// IPV4_DEVCONF_ARP_NOTIFY, which both plugins set.
const ARP_NOTIFY: (u16, u32) = (22, 1);

fn main() {
    let iterations = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => 200,
        [flag, n] if flag == "--iterations" => n.parse().unwrap_or_else(|_| panic!("--iterations takes a number")),
        _ => panic!("usage: floor [--iterations N]"),
    };
    let [add, del, each] = measure(iterations).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{{\"iterations\":{iterations},\"requests\":9,\"add_us\":{add:?},\"del_us\":{del:?},\"del_one_by_one_us\":{each:?}}}"
    );
}

fn measure(iterations: usize) -> Result<[Vec<u64>; 3]> {
    let (host, pod) = (Netns::unshare()?, Netns::unshare()?);
    let (mut host, mut inside) = (host.rtnl()?, pod.rtnl()?);
    let bridge = NewLink { up: true, ..NewLink::new("cni0", LinkKind::Bridge { vlan_filtering: false }) };
    let bridge = host.add_link(&bridge)?.index;
    let peer = VethPeer { name: "outside", mtu: None, mac: None, netns: None };
    let parent = host.add_link(&NewLink { up: true, ..NewLink::new("parent", LinkKind::Veth(peer)) })?.index;
    let outside = host.link("outside")?.index;
    host.change_link(outside, &LinkChange { up: Some(true), ..LinkChange::default() })?;

    let micros = |since: Instant| u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (mut adds, mut dels, mut each) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..iterations {
        let start = Instant::now();
        add(&mut host, &mut inside, &pod, bridge, parent)?;
        adds.push(micros(start));
        let start = Instant::now();
        let removed = inside.delete_links(&["eth0", "net0"])?;
        dels.push(micros(start));
        assert_eq!(removed, 2, "both links were there");

        add(&mut host, &mut inside, &pod, bridge, parent)?;
        let start = Instant::now();
        assert!(inside.delete_link("eth0")? && inside.delete_link("net0")?, "both links were there");
        each.push(micros(start));
    }
    Ok([adds, dels, each])
}

fn add(host: &mut Rtnl, inside: &mut Rtnl, pod: &Netns, bridge: u32, parent: u32) -> Result<()> {
    let gateway = Ipv4Addr::new(10, 244, 1, 1);
    let net = |a, b, c, d, length| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length));
    let up = LinkChange { up: Some(true), ipv4_conf: &[ARP_NOTIFY], ..LinkChange::default() };

    let peer = VethPeer { name: "eth0", mtu: Some(1450), mac: None, netns: Some(pod.as_fd()) };
    let veth = NewLink {
        mtu: Some(1450),
        up: true,
        master: Some(bridge),
        ..NewLink::new("veth0123456789", LinkKind::Veth(peer))
    };
    let eth0 = host.add_link(&veth)?.parent.unwrap_or_default();
    inside.change_link(eth0, &up)?;
    inside.add_address(eth0, net(10, 244, 1, 2, 24), AddressFlags::default())?;
    inside.add_route(&Route::new(net(10, 244, 0, 0, 16), Some(gateway.into()), eth0))?;
    inside.add_route(&Route::new(net(0, 0, 0, 0, 0), Some(gateway.into()), eth0))?;

    let kind = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };
    host.add_link_in(&NewLink { parent: Some(parent), ..NewLink::new("net0", kind) }, pod)?;
    let net0 = inside.link("net0")?.index;
    inside.change_link(net0, &up)?;
    inside.add_address(net0, net(192, 168, 122, 200, 24), AddressFlags::default())
}
