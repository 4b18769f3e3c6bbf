//! The kernel floor: the objects of one flannel+macvlan attachment, made by this process over sockets that are already open, and nothing
//! else. No configuration, no address management, no file, no process.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use netlink::{AddressFlags, LinkChange, LinkKind, MacvlanMode, Netns, NewLink, Route, Rtnl, VethPeer};

use super::world::{self, Share};

/// Sockets and indices that a long-lived process would have at hand.
#[derive(Debug)]
pub(crate) struct Floor {
    host: Rtnl,
    share: Share,
    bridge: u32,
    parent: u32,
}

impl Floor {
    /// Opens the host's socket; bridge and parent must exist.
    ///
    /// # Errors
    /// If they do not.
    pub(crate) fn new(share: Share) -> Result<Floor> {
        let mut host = Rtnl::open()?;
        let bridge = host.link(&share.bridge())?.index;
        let parent = host.link(world::PARENT)?.index;
        Ok(Floor { host, share, bridge, parent })
    }

    /// Makes the objects in `pod` and returns how long the kernel took.
    ///
    /// # Errors
    /// With the request that was refused.
    pub(crate) fn add(&mut self, pod: &Netns, number: u32) -> Result<Duration> {
        let mut inside = pod.rtnl()?;
        let name = format!("floor{number}");
        let gateway = self.share.gateway();
        let address = |first: u32, prefix| ipnet::IpNet::new(Ipv4Addr::from_bits(first + number).into(), prefix);
        let eth0_address = address(gateway.to_bits(), 17)?;
        let net1: ipnet::Ipv4Net = self.share.macvlan_network().parse()?;
        let net1_address = address(net1.network().to_bits(), 16)?;
        let everywhere: ipnet::IpNet = "0.0.0.0/0".parse()?;
        let flannel: ipnet::IpNet = self.share.flannel_network().parse()?;
        let gateway = IpAddr::V4(gateway);

        let start = Instant::now();
        let peer = VethPeer { name: "eth0", mtu: Some(1450), mac: None, netns: Some(pod.as_fd()) };
        self.host.add_link(&NewLink {
            mtu: Some(1450),
            up: true,
            master: Some(self.bridge),
            ..NewLink::new(&name, LinkKind::Veth(peer))
        })?;
        let eth0 = inside.link("eth0")?.index;
        inside.change_link(eth0, &LinkChange { up: Some(true), ..LinkChange::default() })?;
        inside.add_address(eth0, eth0_address, AddressFlags::default())?;
        inside.add_route(&Route::new(everywhere, Some(gateway), eth0))?;
        inside.add_route(&Route::new(flannel, Some(gateway), eth0))?;
        let kind = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };
        self.host.add_link_in(&NewLink { up: true, parent: Some(self.parent), ..NewLink::new("net1", kind) }, pod)?;
        let net1 = inside.link("net1")?.index;
        inside.add_address(net1, net1_address, AddressFlags::default())?;
        Ok(start.elapsed())
    }

    /// Removes the pod's two links in one batch and returns how long the kernel took.
    ///
    /// # Errors
    /// With the request that was refused, or if a link was missing.
    pub(crate) fn del(&mut self, pod: &Netns) -> Result<Duration> {
        let mut inside = pod.rtnl()?;
        let start = Instant::now();
        let removed = inside.delete_links(&["eth0", "net1"])?;
        let took = start.elapsed();
        anyhow::ensure!(removed == 2, "the floor removed {removed} links instead of 2");
        Ok(took)
    }
}
