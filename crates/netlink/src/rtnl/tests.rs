//! The readers of answers against messages written by the library whose parser they replace, and against bytes that nobody wrote.

use netlink_packet_core::{DefaultNla, Emitable};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, MacVlanMode, State, Stats64,
};
use proptest::prelude::*;

use crate::{BridgePort, Link, Mac, MacvlanMode, OperState};

fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// A link message with everything that [`Link`] has, and some that it has not.
fn link_message() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.flags = LinkFlags::Up | LinkFlags::Promisc;
    message.attributes = vec![
        LinkAttribute::IfName("net1".into()),
        LinkAttribute::TxQueueLen(1000),
        LinkAttribute::OperState(State::LowerLayerDown),
        LinkAttribute::Stats64(Stats64::default()),
        LinkAttribute::Mtu(1450),
        LinkAttribute::Controller(3),
        LinkAttribute::Link(4),
        LinkAttribute::LinkNetNsId(-1),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
        LinkAttribute::IfAlias("an alias".into()),
        // A newer kernel's, of a length that no parser expects.
        LinkAttribute::Other(DefaultNla::new(300, vec![1, 2, 3])),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Passthrough)])),
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![
                InfoBridgePort::HairpinMode(true),
                InfoBridgePort::Isolated(false),
            ])),
        ]),
    ];
    message
}

#[test]
fn a_link_is_read_as_it_was_written() {
    let wanted = Link {
        index: 7,
        name: "net1".into(),
        kind: "macvlan".into(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        mtu: 1450,
        up: true,
        promisc: true,
        allmulti: false,
        loopback: false,
        oper_state: OperState::LowerLayerDown,
        master: Some(3),
        parent: Some(4),
        parent_nsid: Some(-1),
        txqlen: 1000,
        alias: "an alias".into(),
        accept_ra: None,
        macvlan_mode: Some(MacvlanMode::Passthru),
        vlan_filtering: None,
        port: Some(BridgePort { hairpin: Some(true), isolated: Some(false) }),
    };
    assert_eq!(super::link::parse::link(&bytes(&link_message())), Some(wanted));
}

#[test]
fn a_bridge_says_whether_it_filters_vlans() {
    for on in [false, true] {
        let mut message = LinkMessage::default();
        let data = InfoData::Bridge(vec![InfoBridge::VlanFiltering(on)]);
        let info = vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(data)];
        message.attributes.push(LinkAttribute::LinkInfo(info));
        let link = super::link::parse::link(&bytes(&message)).unwrap();
        assert_eq!((link.kind.as_str(), link.vlan_filtering), ("bridge", Some(on)));
    }
}

#[test]
fn an_address_that_failed_detection_is_read_as_such() {
    // Nothing but the flags tells, and only the attribute has room for all of them.
    let mut message = AddressMessage::default();
    message.header.family = netlink_packet_route::AddressFamily::Inet6;
    message.header.prefix_len = 64;
    message.attributes = vec![
        AddressAttribute::Address("fd00::1".parse().unwrap()),
        AddressAttribute::Flags(AddressFlags::Tentative | AddressFlags::Dadfailed),
    ];
    let address = super::address::parse(&bytes(&message)).unwrap();
    assert!(address.tentative && address.dad_failed);
    assert_eq!(address.address.to_string(), "fd00::1/64");
}

/// One netlink message around a payload.
fn framed(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0x02, 0x03, 1, 0, 0, 0, 0, 0, 0, 0], payload].concat()
}

proptest! {
    /// Any bytes, bare and with valid framing around them.
    #[test]
    fn hostile_answers_are_no_panic(payload: Vec<u8>, kind in 0_u16..120) {
        crate::answers::parse(&payload);
        crate::answers::parse(&framed(kind, &payload));
    }

    /// A real message with some bytes changed and its end cut off.
    #[test]
    fn damaged_answers_are_no_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), cut: prop::sample::Index) {
        let mut payload = bytes(&link_message());
        for (at, value) in changes {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        payload.truncate(cut.index(payload.len() + 1));
        crate::answers::parse(&framed(16, &payload));
        crate::answers::parse(&framed(2, &payload));
    }
}
