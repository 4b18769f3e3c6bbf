//! VLANs of bridge ports (RTM_SETLINK, RTM_DELLINK and RTM_GETLINK of family AF_BRIDGE).

use netlink_packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkExtentMask, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::VlanOnPort;
use crate::attributes::{attributes, u16_at, u32_at};
use crate::{Result, Rtnl};

// include/uapi/linux/if_link.h, if_bridge.h
const HEADER: usize = 16;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const PVID: u16 = 1 << 1;
const UNTAGGED: u16 = 1 << 2;
const RANGE_BEGIN: u16 = 1 << 3;
const RANGE_END: u16 = 1 << 4;

impl Rtnl {
    /// Adds VLANs to a bridge port, or to the bridge itself where `index` is the bridge's.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no VLAN filtering.
    pub fn add_port_vlans(&mut self, index: u32, vlans: &[VlanOnPort]) -> Result<()> {
        let message = self.vlan_message(index, vlans)?;
        self.request(&RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|refusal| refusal.on("add VLANs to bridge port", self.name_of(index)))
    }

    /// Removes VLANs from a bridge port.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no VLAN filtering.
    pub fn delete_port_vlans(&mut self, index: u32, vlans: &[VlanOnPort]) -> Result<()> {
        let message = self.vlan_message(index, vlans)?;
        self.request(&RouteNetlinkMessage::DelLink(message), 0)
            .map_err(|refusal| refusal.on("remove VLANs from bridge port", self.name_of(index)))
    }

    /// The VLANs of a bridge port.
    ///
    /// # Errors
    /// If the kernel refuses the dump.
    pub fn port_vlans(&mut self, index: u32) -> Result<Vec<VlanOnPort>> {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        // Compressed: ranges as ranges, not as single VLANs.
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed]));
        let parse = |payload: &[u8]| parse(payload).filter(|(of, _)| *of == index);
        let found = self
            .dump(&RouteNetlinkMessage::GetLink(message), parse)
            .map_err(|refusal| refusal.on("read VLANs of bridge port", self.name_of(index)))?;
        Ok(found.into_iter().flat_map(|(_, vlans)| vlans).collect())
    }

    /// The kernel changes the port's VLANs by default and the bridge's own only where BRIDGE_FLAGS_SELF says so.
    fn vlan_message(&mut self, index: u32, vlans: &[VlanOnPort]) -> Result<LinkMessage> {
        let bridge = self.link_by_index(index)?.kind == "bridge";
        Ok(message(index, vlans, bridge))
    }
}

/// IFLA_AF_SPEC with one IFLA_BRIDGE_VLAN_INFO for a VLAN and two for a range.
fn message(index: u32, vlans: &[VlanOnPort], bridge: bool) -> LinkMessage {
    let mut spec = Vec::with_capacity(vlans.len() + 1);
    if bridge {
        spec.push(AfSpecBridge::Flags(BridgeFlag::LowerDev));
    }
    for vlan in vlans {
        let mut flags = BridgeVlanInfoFlags::empty();
        flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
        flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
        if vlan.first == vlan.last {
            spec.push(AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid: vlan.first }));
        } else {
            let begin = flags | BridgeVlanInfoFlags::RangeBegin;
            let end = flags | BridgeVlanInfoFlags::RangeEnd;
            spec.push(AfSpecBridge::VlanInfo(BridgeVlanInfo { flags: begin, vid: vlan.first }));
            spec.push(AfSpecBridge::VlanInfo(BridgeVlanInfo { flags: end, vid: vlan.last }));
        }
    }
    let mut message = super::by_index(index);
    message.header.interface_family = AddressFamily::Bridge;
    message.attributes.push(LinkAttribute::AfSpecBridge(spec));
    message
}

/// Reads an RTM_NEWLINK of family AF_BRIDGE: the port's index and its VLANs.
pub(crate) fn parse(payload: &[u8]) -> Option<(u32, Vec<VlanOnPort>)> {
    let mut vlans = Vec::new();
    let mut first = None;
    let specs = attributes(payload.get(HEADER..)?).filter(|(kind, _)| *kind == IFLA_AF_SPEC);
    let infos = specs.flat_map(|(_, spec)| attributes(spec)).filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO);
    for (_, info) in infos {
        let (flags, id) = (u16_at(info, 0)?, u16_at(info, 2)?);
        if flags & RANGE_BEGIN != 0 {
            first = Some(id);
            continue;
        }
        let first = first.take().filter(|_| flags & RANGE_END != 0).unwrap_or(id);
        vlans.push(VlanOnPort { first, last: id, pvid: flags & PVID != 0, untagged: flags & UNTAGGED != 0 });
    }
    Some((u32_at(payload, 4)?, vlans))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    fn bytes(message: &LinkMessage) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    /// struct ifinfomsg of family AF_BRIDGE (7) for link 5, then IFLA_AF_SPEC of this length.
    fn header(length: u8) -> Vec<u8> {
        vec![7, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, length, 0, 26, 0]
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn vlans_are_encoded_as_bridge_vlan_add_does() {
        // What `bridge vlan add dev X vid 100 pvid untagged` sends.
        let one = VlanOnPort { first: 100, last: 100, pvid: true, untagged: true };
        let wanted = [header(12), vec![8, 0, 2, 0, 6, 0, 100, 0]].concat();
        assert_eq!(bytes(&message(5, &[one], false)), wanted);
        // `vid 200-300`: a begin and an end.
        let range = VlanOnPort { first: 200, last: 300, pvid: false, untagged: false };
        let wanted = [header(20), vec![8, 0, 2, 0, 8, 0, 200, 0], vec![8, 0, 2, 0, 16, 0, 44, 1]].concat();
        assert_eq!(bytes(&message(5, &[range], false)), wanted);
        // `self`, for the bridge: IFLA_BRIDGE_FLAGS first.
        let wanted = [header(20), vec![6, 0, 0, 0, 2, 0, 0, 0], vec![8, 0, 2, 0, 6, 0, 100, 0]].concat();
        assert_eq!(bytes(&message(5, &[one], true)), wanted);
    }

    #[test]
    fn what_is_sent_reads_back() {
        let vlans = [
            VlanOnPort { first: 1, last: 1, pvid: true, untagged: true },
            VlanOnPort { first: 2, last: 4094, pvid: false, untagged: false },
            VlanOnPort { first: 7, last: 8, pvid: false, untagged: true },
        ];
        assert_eq!(parse(&bytes(&message(9, &vlans, false))), Some((9, vlans.to_vec())));
        assert_eq!(parse(&bytes(&message(9, &vlans, true))), Some((9, vlans.to_vec())));
    }
}
