//! Links: creating one complete in a single request, looking, changing, removing in batches.

use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rustix::io::Errno;

use crate::socket::{Answer, Refusal};
use crate::{Mac, Netns, Result, Rtnl};
use message::{by_index, by_name, check_name};

mod message;
pub(crate) mod parse;
pub(crate) mod vlan;

/// include/uapi/linux/rtnetlink.h
const RTM_DELLINK: u16 = 17;
const RTNLGRP_LINK: u32 = 1;

/// The link group that [`Rtnl::delete_links`] gathers links in ("Plxs"): nobody else's, and not 0, which all links are in.
const DOOMED: u32 = 0x506c_7873;

/// How many numbers are tried for a link whose name another link has in the socket's namespace.
const NUMBERS: u32 = 16;

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
    /// IPv6 router advertisements are heeded (`accept_ra`: 0 no, 1 unless it forwards, 2 always); absent where the link has no IPv6.
    pub accept_ra: Option<u32>,
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

/// Older kernels (6.1 for one) look for the name of a link that is to be made in another namespace in the socket's namespace as well, unless the
/// request has an index: then they look for that (`__rtnl_newlink` in net/core/rtnetlink.c). So a name that is free in `netns` is tried again
/// with numbers that hardly any link has in either.
pub(super) fn numbered(
    rtnl: &mut Rtnl,
    new: &NewLink<'_>,
    netns: &Netns,
    mut taken: Refusal,
    create: impl Fn(&mut Rtnl, u32) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for _ in 0..NUMBERS {
        if netns.with_rtnl(|inside| inside.link(new.name).is_ok()).unwrap_or(true) {
            break;
        }
        let [.., high, low] = Mac::random().0;
        match create(rtnl, 1024 + u32::from(u16::from_be_bytes([high, low]))) {
            // The number of a link in the socket's namespace, or in `netns`.
            Err(refusal) if [Errno::EXIST, Errno::BUSY].contains(&refusal.errno) => taken = refusal,
            other => return other,
        }
    }
    Err(taken)
}

impl Rtnl {
    /// Creates a link in the socket's namespace and returns it: the kernel echoes the new link with the acknowledgement (NLM_F_ECHO, since
    /// Linux 6.2), so there is no second request but on older ones. What the echo was too early for is [`NewLink`]'s: `master` is set, but
    /// `port` is absent and `oper_state` may change at any moment.
    ///
    /// # Errors
    /// `EEXIST` if the name (or the peer's, in its namespace) is taken, `EOPNOTSUPP` if the kernel lacks the kind, `EINVAL` for a name that
    /// is none.
    pub fn add_link(&mut self, new: &NewLink<'_>) -> Result<Link> {
        let failed = |refusal: Refusal| refusal.on(new.kind.creation(), new.object());
        new.check_names().map_err(failed)?;
        // The peer is not echoed, but the request that makes it may say more than one link.
        let named = |payload: &[u8]| parse::link(payload).filter(|link| link.name == new.name);
        let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO;
        let echoed = self.ask(&new.message(None, 0), flags, named).map_err(failed)?;
        match echoed {
            Some(link) => Ok(Link { master: new.master.or(link.master), ..link }),
            None => self.link(new.name),
        }
    }

    /// Creates a link directly in another namespace, under its final name; the parent is looked up in the socket's. The kernel does not
    /// echo across namespaces: ask a socket of `netns` for the link where its index is needed.
    ///
    /// # Errors
    /// As [`Rtnl::add_link`]; the name is checked against those in `netns`.
    pub fn add_link_in(&mut self, new: &NewLink<'_>, netns: &Netns) -> Result<()> {
        let create = |rtnl: &mut Rtnl, index| rtnl.request(&new.message(Some(netns), index), NLM_F_CREATE | NLM_F_EXCL);
        let created = new.check_names().and_then(|()| match create(self, 0) {
            Err(taken) if taken.errno == Errno::EXIST => numbered(self, new, netns, taken, create),
            other => other,
        });
        created.map_err(|refusal| {
            refusal.on(new.kind.creation(), format!("{} in {}", new.object(), netns.path().display()))
        })
    }

    /// The link named `name`, which may be an alternative name.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        self.get(by_name(name)).map_err(|refusal| refusal.on("find link", name))
    }

    /// The link with this index.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn link_by_index(&mut self, index: u32) -> Result<Link> {
        self.get(by_index(index)).map_err(|refusal| refusal.on("find link", format!("number {index}")))
    }

    fn get(&mut self, mut message: LinkMessage) -> Result<Link, Refusal> {
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let message = RouteNetlinkMessage::GetLink(message);
        // A link with hundreds of virtual functions may not fit the first time.
        let found = match self.ask(&message, 0, parse::link)? {
            None => self.ask(&message, 0, parse::link)?,
            found => found,
        };
        found.ok_or_else(|| Refusal::new(Errno::NODEV, "the kernel's answer has no link"))
    }

    /// All links (a dump).
    ///
    /// # Errors
    /// If the kernel refuses; an interrupted dump is repeated.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.dump(&RouteNetlinkMessage::GetLink(message), parse::link)
            .map_err(|refusal| refusal.on("read links of", "the network namespace"))
    }

    /// Changes a link, all in one request. The kernel applies it thing by thing: what it did before one it refuses stays done.
    ///
    /// # Errors
    /// `ENODEV` if there is none with this index.
    pub fn change_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<()> {
        let mut message = change.message();
        message.header.index = index;
        let name = change.name.map_or(Ok(()), check_name);
        name.and_then(|()| self.request(&RouteNetlinkMessage::SetLink(message), 0)).map_err(|refusal| {
            let name = self.name_of(index);
            refusal.on("change link", change.name.map_or(name.clone(), |new| format!("{name} (to {new})")))
        })
    }

    /// Changes settings of a bridge port (IFLA_INFO_SLAVE_DATA).
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the link is not a port of a bridge.
    pub fn change_port(&mut self, index: u32, port: &BridgePort) -> Result<()> {
        if *port == BridgePort::default() {
            return Ok(());
        }
        let message = port.message(index);
        self.request(&RouteNetlinkMessage::NewLink(message), 0)
            .map_err(|refusal| refusal.on("change bridge port", self.name_of(index)))
    }

    /// Removes the link named `name`; false if there was none.
    ///
    /// # Errors
    /// `EBUSY`, `EOPNOTSUPP` (physical links cannot be removed).
    pub fn delete_link(&mut self, name: &str) -> Result<bool> {
        match self.request(&RouteNetlinkMessage::DelLink(by_name(name)), 0) {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.errno == Errno::NODEV => Ok(false),
            Err(refusal) => Err(refusal.on("remove link", name)),
        }
    }

    /// Removes several links with one RTM_DELLINK that names a group (one RCU wait for all of them instead of one each); missing ones are
    /// no error. The number of links removed.
    ///
    /// # Errors
    /// The first link that could not be removed; the others are removed. Such a link is in group 0 afterwards, whichever it was in.
    pub fn delete_links(&mut self, names: &[&str]) -> Result<usize> {
        if let &[name] = names {
            return self.delete_link(name).map(usize::from);
        }
        let names = unique(names);
        let mut removal = self.push_group_removal(&names);
        let exchanged = self.socket.exchange(&mut |sequence, answer| {
            if let Answer::Refused(refusal) = answer {
                removal.refused(sequence, refusal);
            }
        });
        self.removed(&names, removal.gathered, exchanged.map(|_| removal.failed))
    }

    /// As [`Rtnl::delete_links`], but returns when the links are gone from their namespaces, with their peers, addresses and routes, and does not
    /// wait until the kernel has let go of their memory (`rcu_barrier` in `netdev_run_todo`: 10 to 20 ms, in which nothing can be seen of
    /// them any more). A child process does, which ends by itself; so this is for a process that ends soon.
    ///
    /// # Errors
    /// As [`Rtnl::delete_links`].
    pub fn delete_links_early(&mut self, names: &[&str]) -> Result<usize> {
        let names = unique(names);
        if let Err(refusal) = self.socket.subscribe(RTNLGRP_LINK, true) {
            return Err(refusal.on("watch links of", "the network namespace"));
        }
        let mut removal = self.push_group_removal(&names);
        let mut gone = 0;
        let exchanged = self.socket.exchange_by_child(&mut |sequence, answer| {
            match answer {
                Answer::Message { kind: RTM_DELLINK, payload } => {
                    gone += usize::from(parse::is_one_of(payload, &names))
                }
                Answer::Message { .. } => {}
                Answer::Refused(refusal) => removal.refused(sequence, refusal),
            }
            // The group is removed after every link of it was gathered, so by now all are counted.
            if gone > 0 && gone == removal.gathered { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let _ = self.socket.subscribe(RTNLGRP_LINK, false);
        self.removed(&names, removal.gathered, exchanged.map(|_| removal.failed))
    }

    /// All in one exchange: each into the group, then the group away. The kernel removes no link of a group if one cannot be removed.
    fn push_group_removal(&mut self, names: &[&str]) -> Removal {
        for name in names {
            let mut message = by_name(name);
            message.attributes.push(LinkAttribute::Group(DOOMED));
            self.push(&RouteNetlinkMessage::SetLink(message), 0);
        }
        let mut group = LinkMessage::default();
        group.attributes.push(LinkAttribute::Group(DOOMED));
        let last = self.push(&RouteNetlinkMessage::DelLink(group), 0);
        Removal { last, gathered: names.len(), failed: None }
    }

    /// What came of it: `gathered` links were there, and the removal of the group ended so.
    fn removed(
        &mut self,
        names: &[&str],
        gathered: usize,
        exchanged: Result<Option<Refusal>, Refusal>,
    ) -> Result<usize> {
        match (exchanged, gathered) {
            (Ok(None), gathered) => Ok(gathered),
            // None of them was there, so neither was the group.
            (Ok(Some(refusal)), 0) if refusal.errno == Errno::NODEV => Ok(0),
            // Another process did the same in this namespace at the same time, and its removal of the group took ours along.
            (Ok(Some(refusal)), gathered) if refusal.errno == Errno::NODEV => self.delete_each(names).map(|_| gathered),
            _ => self.delete_each(names),
        }
    }

    /// What is left to do when the batch failed: one by one, so that one that cannot go keeps no other.
    fn delete_each(&mut self, names: &[&str]) -> Result<usize> {
        let mut removed = 0;
        let mut failed = None;
        for name in names {
            match self.delete_link(name) {
                Ok(true) => removed += 1,
                Ok(false) => {}
                Err(error) => {
                    // It stays, so it leaves the group that is to go: for group 0, where all links begin.
                    let mut message = by_name(name);
                    message.attributes.push(LinkAttribute::Group(0));
                    let _ = self.request(&RouteNetlinkMessage::SetLink(message), 0);
                    failed = failed.or(Some(error));
                }
            }
        }
        failed.map_or(Ok(removed), Err)
    }
}

/// What is known of the removal of a group while the answers come.
struct Removal {
    /// Sequence number of the removal itself; those before it gather the links.
    last: u32,
    /// Links in the group.
    gathered: usize,
    /// Why not all is done; that a link was not there is no reason.
    failed: Option<Refusal>,
}

impl Removal {
    fn refused(&mut self, sequence: u32, refusal: Refusal) {
        if sequence == self.last {
            // What kept a link out of the group says more than that the group is empty, which would pass for success.
            self.failed = self.failed.take().or(Some(refusal));
            return;
        }
        self.gathered -= 1;
        if refusal.errno != Errno::NODEV {
            self.failed = Some(refusal);
        }
    }
}

/// The names without repetitions.
fn unique<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut unique = Vec::with_capacity(names.len());
    for name in names {
        if !unique.contains(name) {
            unique.push(*name);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_could_not_be_gathered_is_no_link_that_was_not_there() {
        let mut removal = Removal { last: 3, gathered: 2, failed: None };
        for (sequence, errno) in [(1, Errno::PERM), (2, Errno::NODEV), (3, Errno::NODEV)] {
            removal.refused(sequence, errno.into());
        }
        assert_eq!((removal.gathered, removal.failed), (0, Some(Errno::PERM.into())));
    }
}
