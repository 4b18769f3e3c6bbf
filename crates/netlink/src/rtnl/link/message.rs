//! Writing requests for links: what is made or changed, as the kernel's attributes.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{DefaultNla, NLA_F_NESTED};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind,
    InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use rustix::io::Errno;

use super::{BridgePort, LinkChange, LinkKind, MacvlanMode, NewLink, VethPeer};
use crate::Netns;
use crate::socket::Refusal;

/// The longest name (IFNAMSIZ without the NUL); longer ones are alternative names.
const LONGEST_NAME: usize = 15;

// include/uapi/linux/if_link.h, for what the message crate has no type for.
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INET_CONF: u16 = 1;

/// What a veth uses, unless somebody runs `ethtool -L` on it. Without a word the kernel makes a queue for each possible CPU (since Linux 5.13), with a
/// directory in sysfs for each, and takes all but one of them away again (drivers/net/veth.c, veth_init_queues).
const ONE_QUEUE: [LinkAttribute; 2] = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];

impl LinkKind<'_> {
    /// What its creation is called in errors.
    pub(super) fn creation(&self) -> &'static str {
        match self {
            LinkKind::Bridge { .. } => "create bridge",
            LinkKind::Veth(_) => "create veth pair",
            LinkKind::Macvlan { .. } => "create macvlan",
            LinkKind::Dummy => "create dummy",
        }
    }

    /// IFLA_LINKINFO.
    fn info(&self) -> Vec<LinkInfo> {
        let (kind, data) = match self {
            LinkKind::Bridge { vlan_filtering } => {
                let data = vlan_filtering.then(|| InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)]));
                (InfoKind::Bridge, data)
            }
            LinkKind::Veth(peer) => (InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer.message())))),
            LinkKind::Macvlan { mode, bc_queue_len } => {
                let mode = match mode {
                    MacvlanMode::Private => MacVlanMode::Private,
                    MacvlanMode::Vepa => MacVlanMode::Vepa,
                    MacvlanMode::Bridge => MacVlanMode::Bridge,
                    MacvlanMode::Passthru => MacVlanMode::Passthrough,
                };
                let queue = bc_queue_len.map(InfoMacVlan::BcQueueLen);
                let data = std::iter::once(InfoMacVlan::Mode(mode)).chain(queue).collect();
                (InfoKind::MacVlan, Some(InfoData::MacVlan(data)))
            }
            LinkKind::Dummy => (InfoKind::Dummy, None),
        };
        std::iter::once(LinkInfo::Kind(kind)).chain(data.map(LinkInfo::Data)).collect()
    }
}

impl VethPeer<'_> {
    /// VETH_INFO_PEER: a link message within the message.
    fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        let attributes = &mut message.attributes;
        attributes.push(LinkAttribute::IfName(self.name.to_owned()));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        attributes.extend(self.netns.map(|netns| LinkAttribute::NetNsFd(netns.as_raw_fd())));
        attributes.extend(ONE_QUEUE);
        message
    }
}

impl NewLink<'_> {
    /// The whole request. The kernel chooses the link's index where `index` is 0.
    pub(in crate::rtnl) fn message(&self, netns: Option<&Netns>, index: u32) -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if self.up {
            set_flag(&mut message, LinkFlags::Up, true);
        }
        let attributes = &mut message.attributes;
        attributes.push(LinkAttribute::IfName(self.name.to_owned()));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        attributes.extend(self.master.map(LinkAttribute::Controller));
        attributes.extend(self.parent.map(LinkAttribute::Link));
        attributes.extend(netns.map(|netns| LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd())));
        if matches!(self.kind, LinkKind::Veth(_)) {
            attributes.extend(ONE_QUEUE);
        }
        attributes.push(LinkAttribute::LinkInfo(self.kind.info()));
        RouteNetlinkMessage::NewLink(message)
    }

    /// What it is called in errors.
    pub(super) fn object(&self) -> String {
        match &self.kind {
            LinkKind::Veth(peer) => format!("{} with peer {}", self.name, peer.name),
            _ => self.name.to_owned(),
        }
    }

    /// The names are names: the kernel cuts one at a NUL byte and takes `%d` as a pattern, and would make a link of another name.
    pub(super) fn check_names(&self) -> Result<(), Refusal> {
        check_name(self.name)?;
        match &self.kind {
            LinkKind::Veth(peer) => check_name(peer.name),
            _ => Ok(()),
        }
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let bad = |c: char| c == '/' || c == ':' || c == '%' || c == '\0' || c.is_ascii_whitespace();
    if name.is_empty() || name.len() > LONGEST_NAME || name == "." || name == ".." || name.contains(bad) {
        let text = format!("{name:?} is not a link name: 1 to {LONGEST_NAME} bytes without '/', ':', '%' and blanks");
        return Err(Refusal::new(Errno::INVAL, &text));
    }
    Ok(())
}

impl LinkChange<'_> {
    /// The request, without what says which link.
    pub(super) fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        let flags =
            [(LinkFlags::Up, self.up), (LinkFlags::Promisc, self.promisc), (LinkFlags::Allmulti, self.allmulti)];
        for (flag, value) in flags {
            if let Some(value) = value {
                set_flag(&mut message, flag, value);
            }
        }
        let attributes = &mut message.attributes;
        attributes.extend(self.name.map(|name| LinkAttribute::IfName(name.to_owned())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        attributes.extend(self.master.map(LinkAttribute::Controller));
        attributes.extend(self.txqlen.map(LinkAttribute::TxQueueLen));
        attributes.extend(self.alias.map(|alias| LinkAttribute::IfAlias(alias.to_owned())));
        attributes.extend(self.netns.map(|netns| LinkAttribute::NetNsFd(netns.as_raw_fd())));
        if !self.ipv4_conf.is_empty() {
            // The crate's type for this leaves out settings that are 0.
            let mut conf = Vec::with_capacity(self.ipv4_conf.len() * 8);
            for (setting, value) in self.ipv4_conf {
                conf.extend(8_u16.to_ne_bytes());
                conf.extend(setting.to_ne_bytes());
                conf.extend(value.to_ne_bytes());
            }
            let conf = DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, conf);
            attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::Other(conf)])]));
        }
        message
    }
}

impl BridgePort {
    /// The request that changes the port's settings (IFLA_INFO_SLAVE_DATA).
    pub(super) fn message(&self, index: u32) -> LinkMessage {
        let hairpin = self.hairpin.map(InfoBridgePort::HairpinMode);
        let settings = hairpin.into_iter().chain(self.isolated.map(InfoBridgePort::Isolated)).collect();
        let data = LinkInfo::PortData(InfoPortData::BridgePort(settings));
        let mut message = by_index(index);
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(InfoPortKind::Bridge), data]));
        message
    }
}

/// A request about the link with this index.
pub(super) fn by_index(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

/// A request about the link with this name, an alternative name where it is too long for a name.
pub(super) fn by_name(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(if name.len() <= LONGEST_NAME {
        LinkAttribute::IfName(name.to_owned())
    } else {
        LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, [name.as_bytes(), &[0]].concat()))
    });
    message
}

fn set_flag(message: &mut LinkMessage, flag: LinkFlags, value: bool) {
    message.header.change_mask |= flag;
    message.header.flags.set(flag, value);
}
