//! Links: creating one complete in a single request, looking, changing, removing in batches.

use std::os::fd::BorrowedFd;

use crate::{Mac, Netns, Result, Rtnl};

/// A link to be made: everything here goes into the request that creates it.
#[derive(Debug)]
pub struct NewLink<'a> {
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// What it is.
    pub kind: LinkKind<'a>,
    /// MTU in bytes; the kernel's default where absent.
    pub mtu: Option<u32>,
    /// Its MAC address; random where absent.
    pub mac: Option<Mac>,
    /// Administratively up from the start.
    pub up: bool,
    /// Index of the bridge (or bond, VRF) that it is a port of.
    pub master: Option<u32>,
    /// Index of the lower link (macvlan, ipvlan, vlan), in the socket's namespace.
    pub parent: Option<u32>,
}

impl<'a> NewLink<'a> {
    /// A link that is down, with the kernel's defaults.
    #[must_use]
    pub fn new(name: &'a str, kind: LinkKind<'a>) -> Self {
        NewLink { name, kind, mtu: None, mac: None, up: false, master: None, parent: None }
    }
}

/// What a new link is.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkKind<'a> {
    /// A bridge.
    Bridge {
        /// VLAN-aware from the start (needs CONFIG_BRIDGE_VLAN_FILTERING).
        vlan_filtering: bool,
    },
    /// One end of a pair; the other is described here.
    Veth(VethPeer<'a>),
    /// A macvlan; [`NewLink::parent`] is required.
    Macvlan {
        /// How its siblings are reached.
        mode: MacvlanMode,
        /// Length of the queue for broadcasts (IFLA_MACVLAN_BC_QUEUE_LEN); the kernel's default where absent.
        bc_queue_len: Option<u32>,
    },
    /// A dummy.
    Dummy,
}

/// The other end of a veth pair. It cannot be created up (the kernel answers ENOTCONN).
#[derive(Debug)]
pub struct VethPeer<'a> {
    /// Its name.
    pub name: &'a str,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Its MAC address; random where absent.
    pub mac: Option<Mac>,
    /// The namespace it is created in; the socket's where absent.
    pub netns: Option<BorrowedFd<'a>>,
}

/// Modes of macvlan (include/uapi/linux/if_link.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub enum MacvlanMode {
    Private,
    Vepa,
    Bridge,
    Passthru,
}

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind (`bridge`, `veth`, `macvlan`...); empty for physical links and lo.
    pub kind: String,
    /// MAC address; absent for links without one.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// IFF_UP.
    pub up: bool,
    /// IFF_PROMISC as set by an administrator or a plugin (IFLA_PROMISCUITY > 0 counts bridges' own use too and is not this).
    pub promisc: bool,
    /// IFF_ALLMULTI.
    pub allmulti: bool,
    /// IFF_LOOPBACK.
    pub loopback: bool,
    /// Operational state (RFC 2863).
    pub oper_state: OperState,
    /// Index of the bridge, bond or VRF above.
    pub master: Option<u32>,
    /// IFLA_LINK: for macvlan, ipvlan and vlan the lower link, for veth the peer; an index in the namespace that `parent_nsid` names.
    pub parent: Option<u32>,
    /// IFLA_LINK_NETNSID: the other link is in another namespace.
    pub parent_nsid: Option<i32>,
    /// Transmit queue length in packets.
    pub txqlen: u32,
    /// Alias (IFLA_IFALIAS).
    pub alias: String,
    /// Mode, if it is a macvlan.
    pub macvlan_mode: Option<MacvlanMode>,
    /// VLAN filtering, if it is a bridge.
    pub vlan_filtering: Option<bool>,
    /// Bridge port settings, if its master is a bridge.
    pub port: Option<BridgePort>,
}

/// Operational state (RFC 2863, include/uapi/linux/if.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum OperState {
    Unknown,
    NotPresent,
    Down,
    LowerLayerDown,
    Testing,
    Dormant,
    Up,
}

/// Settings of a bridge port. `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgePort {
    /// Frames may go back out of the port they came in.
    pub hairpin: Option<bool>,
    /// No traffic to other isolated ports.
    pub isolated: Option<bool>,
}

/// A VLAN, or a range of them, on a bridge port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanOnPort {
    /// First VLAN id.
    pub first: u16,
    /// Last VLAN id; the same as `first` for one VLAN.
    pub last: u16,
    /// Untagged frames from the port belong to it.
    pub pvid: bool,
    /// Its frames leave the port untagged.
    pub untagged: bool,
}

/// Changes to a link, made in one request. `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct LinkChange<'a> {
    /// Up or down.
    pub up: Option<bool>,
    /// A new name.
    pub name: Option<&'a str>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// MAC address.
    pub mac: Option<Mac>,
    /// Port of this bridge; `Some(0)` takes it off its bridge.
    pub master: Option<u32>,
    /// Promiscuous.
    pub promisc: Option<bool>,
    /// All multicast.
    pub allmulti: Option<bool>,
    /// Transmit queue length in packets.
    pub txqlen: Option<u32>,
    /// Alias; empty removes it.
    pub alias: Option<&'a str>,
    /// Moves it to this namespace.
    pub netns: Option<BorrowedFd<'a>>,
    /// IPv4 device settings by number (`IPV4_DEVCONF_*`, include/uapi/linux/ip.h), set by IFLA_AF_SPEC, so that the caller need not enter
    /// the namespace to write a sysctl. The kernel applies them after `up`.
    pub ipv4_conf: &'a [(u16, u32)],
}

impl Rtnl {
    /// Creates a link in the socket's namespace and returns it: the kernel echoes the new link with the acknowledgement (NLM_F_ECHO), so
    /// there is no second request.
    ///
    /// # Errors
    /// `EEXIST` if the name (or the peer's, in its namespace) is taken, `EOPNOTSUPP` if the kernel lacks the kind.
    pub fn add_link(&mut self, _new: &NewLink<'_>) -> Result<Link> {
        todo!()
    }

    /// Creates a link directly in another namespace, under its final name; the parent is looked up in the socket's. The kernel does not
    /// echo across namespaces: ask a socket of `netns` for the link where its index is needed.
    ///
    /// # Errors
    /// As [`Rtnl::add_link`]; the name is checked against those in `netns`.
    pub fn add_link_in(&mut self, _new: &NewLink<'_>, _netns: &Netns) -> Result<()> {
        todo!()
    }

    /// The link named `name`.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn link(&mut self, _name: &str) -> Result<Link> {
        todo!()
    }

    /// The link with this index.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn link_by_index(&mut self, _index: u32) -> Result<Link> {
        todo!()
    }

    /// All links (a dump).
    ///
    /// # Errors
    /// If the kernel refuses; an interrupted dump is repeated.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        todo!()
    }

    /// Changes a link.
    ///
    /// # Errors
    /// `ENODEV` if there is none with this index.
    pub fn change_link(&mut self, _index: u32, _change: &LinkChange<'_>) -> Result<()> {
        todo!()
    }

    /// Changes settings of a bridge port (IFLA_PROTINFO, AF_BRIDGE).
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the link is not a port.
    pub fn change_port(&mut self, _index: u32, _port: &BridgePort) -> Result<()> {
        todo!()
    }

    /// Adds VLANs to a bridge port, or to the bridge itself where `index` is the bridge's.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no VLAN filtering.
    pub fn add_port_vlans(&mut self, _index: u32, _vlans: &[VlanOnPort]) -> Result<()> {
        todo!()
    }

    /// Removes VLANs from a bridge port.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no VLAN filtering.
    pub fn delete_port_vlans(&mut self, _index: u32, _vlans: &[VlanOnPort]) -> Result<()> {
        todo!()
    }

    /// The VLANs of a bridge port.
    ///
    /// # Errors
    /// If the kernel refuses the dump.
    pub fn port_vlans(&mut self, _index: u32) -> Result<Vec<VlanOnPort>> {
        todo!()
    }

    /// Removes the link named `name`; false if there was none.
    ///
    /// # Errors
    /// `EBUSY`, `EOPNOTSUPP` (physical links cannot be removed).
    pub fn delete_link(&mut self, _name: &str) -> Result<bool> {
        todo!()
    }

    /// Removes several links with one RTM_DELLINK that names a group (one RCU wait for all of them instead of one each); missing ones are
    /// no error. The number of links removed.
    ///
    /// # Errors
    /// If a link cannot be put into the group or the group cannot be removed.
    pub fn delete_links(&mut self, _names: &[&str]) -> Result<usize> {
        todo!()
    }
}
