//! The readers of answers against messages written by the library whose parser they replace, and against bytes that nobody wrote; what older
//! kernels are asked for.

use netlink_packet_core::{DefaultNla, Emitable};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, MacVlanMode, State, Stats64,
};
use proptest::prelude::*;
use rustix::io::Errno;

use super::link::numbered;
use crate::socket::Refusal;
use crate::{BridgePort, Link, LinkKind, Mac, MacvlanMode, Netns, NewLink, OperState, Rtnl, VethPeer};

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

/// The kernel that runs this test may be new enough not to need it, so the first refusals are the test's own. (On 6.1 the macvlan that the tests make under a
/// name of the host's needs it.)
#[test]
fn a_name_that_the_host_has_is_asked_for_with_a_number() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let (host, pod) = (Netns::unshare().unwrap(), Netns::unshare().unwrap());
    let mut rtnl = host.rtnl().unwrap();
    let pair = LinkKind::Veth(VethPeer { name: "peer", mtu: None, mac: None, netns: None });
    let parent = rtnl.add_link(&NewLink::new("net1", pair)).unwrap().index;
    let kind = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };
    let new = NewLink { parent: Some(parent), ..NewLink::new("net1", kind) };
    let taken = || Refusal::from(Errno::EXIST);
    let asked = std::cell::RefCell::new(Vec::new());
    let create = |rtnl: &mut Rtnl, index| {
        asked.borrow_mut().push(index);
        match asked.borrow().len() {
            1 => Err(Errno::BUSY.into()),
            2 => Err(taken()),
            _ => rtnl.request(&new.message(Some(&pod), index), netlink_packet_core::NLM_F_CREATE),
        }
    };
    numbered(&mut rtnl, &new, &pod, taken(), create).unwrap();
    let asked = asked.take();
    assert!(asked.len() == 3 && asked.iter().all(|index| *index >= 1024), "{asked:?}");
    assert_eq!(pod.rtnl().unwrap().link("net1").unwrap().index, asked[2]);
    let again = numbered(&mut rtnl, &new, &pod, taken(), |_, _| panic!("the name is taken in the pod"));
    assert_eq!(again.unwrap_err().errno, Errno::EXIST);
}
