//! Parameters of a network namespace that the kernel tells over netlink too. (It takes them through /proc/sys only.)

use netlink_packet_core::NLM_F_ACK;
use rustix::io::Errno;

use crate::attributes::{find, u32_at};
use crate::socket::{Answer, Refusal};
use crate::{Result, Rtnl};

// include/uapi/linux/rtnetlink.h, include/uapi/linux/netconf.h
const RTM_NEWNETCONF: u16 = 80;
const RTM_GETNETCONF: u16 = 82;
const HEADER: usize = 4;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_IFINDEX_ALL: i32 = -1;

impl Rtnl {
    /// Whether packets of this family are forwarded: `net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`. Over a socket that is open already, where
    /// /proc/sys would first make an entry of the file.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no such family.
    pub fn forwards(&mut self, ipv4: bool) -> Result<bool> {
        let family = if ipv4 { libc::AF_INET } else { libc::AF_INET6 };
        self.socket.push(RTM_GETNETCONF, NLM_F_ACK, |out| {
            // Both fit: a family and the length of one attribute.
            out.extend([family as u8, 0, 0, 0]);
            out.extend(8u16.to_ne_bytes());
            out.extend(NETCONFA_IFINDEX.to_ne_bytes());
            out.extend(NETCONFA_IFINDEX_ALL.to_ne_bytes());
        });
        let mut forwarding = None;
        let mut refused = None;
        let exchanged = self.socket.exchange(&mut |_, answer| match answer {
            Answer::Message { kind: RTM_NEWNETCONF, payload } => {
                let value = payload.get(HEADER..).and_then(|attributes| find(attributes, NETCONFA_FORWARDING));
                forwarding = value.and_then(|value| u32_at(value, 0));
            }
            Answer::Message { .. } => {}
            Answer::Refused(refusal) => refused = Some(refusal),
        });
        let told = exchanged.and_then(|_| match refused {
            Some(refusal) => Err(refusal),
            None => forwarding.ok_or_else(|| Refusal::new(Errno::NODATA, "the answer does not say")),
        });
        let key = if ipv4 { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
        told.map(|forwarding| forwarding != 0).map_err(|refusal| refusal.on("read sysctl", key))
    }
}
