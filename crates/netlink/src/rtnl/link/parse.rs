//! Reading an RTM_NEWLINK: of its hundred attributes those that [`Link`] has.

use super::{BridgePort, Link, MacvlanMode, OperState};
use crate::Mac;
use crate::attributes::{attributes, find, string, u8_at, u32_at};

// include/uapi/linux/if_link.h
const HEADER: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET6_CONF: u16 = 2;
/// DEVCONF_ACCEPT_RA (include/uapi/linux/ipv6.h), a place in an array of 32-bit numbers.
const ACCEPT_RA: usize = 3 * 4;

/// The link itself, not its part in a bridge (AF_BRIDGE), is one of these.
pub(crate) fn is_one_of(payload: &[u8], names: &[&str]) -> bool {
    u8_at(payload, 0) == Some(0) && link(payload).is_some_and(|link| names.contains(&link.name.as_str()))
}

/// Reads an RTM_NEWLINK of any family but AF_BRIDGE's.
pub(crate) fn link(payload: &[u8]) -> Option<Link> {
    let flags = u32_at(payload, 8)?.cast_signed();
    let mut link = Link {
        index: u32_at(payload, 4)?,
        name: String::new(),
        kind: String::new(),
        mac: None,
        mtu: 0,
        up: flags & libc::IFF_UP != 0,
        promisc: flags & libc::IFF_PROMISC != 0,
        allmulti: flags & libc::IFF_ALLMULTI != 0,
        loopback: flags & libc::IFF_LOOPBACK != 0,
        oper_state: OperState::Unknown,
        master: None,
        parent: None,
        parent_nsid: None,
        txqlen: 0,
        alias: String::new(),
        accept_ra: None,
        macvlan_mode: None,
        vlan_filtering: None,
        port: None,
    };
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
            IFLA_IFNAME => link.name = string(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_LINK => link.parent = u32_at(value, 0).filter(|index| *index != 0),
            IFLA_MASTER => link.master = u32_at(value, 0).filter(|index| *index != 0),
            IFLA_TXQLEN => link.txqlen = u32_at(value, 0)?,
            IFLA_OPERSTATE => link.oper_state = oper_state(u8_at(value, 0)?),
            IFLA_LINKINFO => info(&mut link, value),
            IFLA_IFALIAS => link.alias = string(value),
            IFLA_AF_SPEC => link.accept_ra = accept_ra(value),
            IFLA_LINK_NETNSID => link.parent_nsid = u32_at(value, 0).map(u32::cast_signed),
            _ => {}
        }
    }
    Some(link)
}

/// IFLA_LINKINFO. The kind comes first, but nothing promises it.
fn info(link: &mut Link, value: &[u8]) {
    let text = |kind| find(value, kind).map(string).unwrap_or_default();
    link.kind = text(IFLA_INFO_KIND);
    let data = find(value, IFLA_INFO_DATA).unwrap_or_default();
    match link.kind.as_str() {
        "macvlan" | "macvtap" => link.macvlan_mode = find(data, IFLA_MACVLAN_MODE).and_then(macvlan_mode),
        "bridge" => link.vlan_filtering = find(data, IFLA_BR_VLAN_FILTERING).and_then(flag),
        _ => {}
    }
    if text(IFLA_INFO_SLAVE_KIND) == "bridge" {
        let data = find(value, IFLA_INFO_SLAVE_DATA).unwrap_or_default();
        link.port = Some(BridgePort {
            hairpin: find(data, IFLA_BRPORT_MODE).and_then(flag),
            isolated: find(data, IFLA_BRPORT_ISOLATED).and_then(flag),
        });
    }
}

/// IFLA_AF_SPEC: by address family.
fn accept_ra(value: &[u8]) -> Option<u32> {
    let inet6 = find(value, libc::AF_INET6.try_into().ok()?)?;
    u32_at(find(inet6, IFLA_INET6_CONF)?, ACCEPT_RA)
}

fn flag(value: &[u8]) -> Option<bool> {
    u8_at(value, 0).map(|byte| byte != 0)
}

fn macvlan_mode(value: &[u8]) -> Option<MacvlanMode> {
    match u32_at(value, 0)? {
        1 => Some(MacvlanMode::Private),
        2 => Some(MacvlanMode::Vepa),
        4 => Some(MacvlanMode::Bridge),
        8 => Some(MacvlanMode::Passthru),
        _ => None,
    }
}

fn oper_state(value: u8) -> OperState {
    match value {
        1 => OperState::NotPresent,
        2 => OperState::Down,
        3 => OperState::LowerLayerDown,
        4 => OperState::Testing,
        5 => OperState::Dormant,
        6 => OperState::Up,
        _ => OperState::Unknown,
    }
}
