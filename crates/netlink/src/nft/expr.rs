//! The expressions of a rule: what it looks at and what it does. Bytecode as nft(8) makes it, so that nft(8) prints it back.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Family;
use super::wire::Writer;
use crate::Mac;

/// `NFTA_LIST_ELEM`, and in an element `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
pub(super) const ELEMENT: u16 = 1;
pub(super) const NAME: u16 = 1;
pub(super) const DATA: u16 = 2;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`, and in a verdict its code and chain; `NFTA_IMMEDIATE_DATA`.
const VALUE: u16 = 1;
pub(super) const VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
pub(super) const VERDICT_CHAIN: u16 = 2;
pub(super) const IMMEDIATE_DATA: u16 = 2;
/// `NFT_REG_VERDICT`, `NFT_REG_1`.
const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;
/// `enum nft_meta_keys`.
const META_PROTOCOL: u32 = 1;
const META_MARK: u32 = 3;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
/// `enum nft_payload_bases`.
const LINK_HEADER: u32 = 0;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// Interface names fill 16 bytes (IFNAMSIZ), the last of them NUL.
const IFNAMSIZ: usize = 16;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// `==` (`NFT_CMP_EQ`).
    Equal = 0,
    /// `!=` (`NFT_CMP_NEQ`).
    Not = 1,
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
    /// SCTP.
    Sctp = 132,
}

/// A rule's expressions in order: matches first, then statements. A packet that fails a match leaves the rule.
#[derive(Clone, Debug)]
pub struct Expressions {
    family: Family,
    pub(super) wire: Writer,
    /// The network and transport protocols already matched: nft(8) writes each such check once, in front of the first match that needs it.
    network: Option<Network>,
    transport: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Network {
    V4,
    V6,
}

impl Expressions {
    /// No expressions yet, for a rule in a table of this family.
    #[must_use]
    pub fn new(family: Family) -> Self {
        Expressions { family, wire: Writer::default(), network: None, transport: None }
    }

    /// `meta iifname`: the interface the packet came in by.
    #[must_use]
    pub fn iifname(self, is: Is, name: &str) -> Self {
        self.ifname(META_IIFNAME, is, name)
    }

    /// `meta oifname`: the interface it leaves by.
    #[must_use]
    pub fn oifname(self, is: Is, name: &str) -> Self {
        self.ifname(META_OIFNAME, is, name)
    }

    /// `meta mark`.
    #[must_use]
    pub fn mark(mut self, is: Is, mark: u32) -> Self {
        self.meta(META_MARK);
        self.compare(is, &mark.to_ne_bytes());
        self
    }

    /// `meta l4proto`.
    #[must_use]
    pub fn l4proto(mut self, is: Is, protocol: u8) -> Self {
        self.meta(META_L4PROTO);
        self.compare(is, &[protocol]);
        if is == Is::Equal {
            self.transport = Some(protocol);
        }
        self
    }

    /// `meta nfproto` (`meta protocol` in tables of link-layer families): IPv4, or IPv6.
    #[must_use]
    pub fn version(mut self, v6: bool) -> Self {
        self.network(if v6 { Network::V6 } else { Network::V4 });
        self
    }

    /// `ip saddr`, `ip6 saddr`: the source address lies in this prefix.
    #[must_use]
    pub fn saddr(self, is: Is, prefix: IpNet) -> Self {
        self.address(is, prefix, 12, 8)
    }

    /// `ip daddr`, `ip6 daddr`: the destination address lies in this prefix.
    #[must_use]
    pub fn daddr(self, is: Is, prefix: IpNet) -> Self {
        self.address(is, prefix, 16, 24)
    }

    /// `ether saddr`: the source MAC address.
    #[must_use]
    pub fn ether_saddr(mut self, is: Is, mac: Mac) -> Self {
        self.payload(LINK_HEADER, 6, 6);
        self.compare(is, &mac.0);
        self
    }

    /// `tcp dport`, `udp dport`: the destination port.
    #[must_use]
    pub fn dport(mut self, is: Is, protocol: Transport, port: u16) -> Self {
        if self.transport != Some(protocol as u8) {
            self = self.l4proto(Is::Equal, protocol as u8);
        }
        self.payload(TRANSPORT_HEADER, 2, 2);
        self.compare(is, &port.to_be_bytes());
        self
    }

    /// `counter`: counts packets and bytes that come this far.
    #[must_use]
    pub fn counter(mut self) -> Self {
        self.push("counter", |_| ());
        self
    }

    /// `masquerade`: the source address becomes that of the outgoing interface.
    #[must_use]
    pub fn masquerade(mut self) -> Self {
        self.push("masq", |_| ());
        self
    }

    /// `accept`.
    #[must_use]
    pub fn accept(self) -> Self {
        self.verdict(1, None)
    }

    /// `drop`.
    #[must_use]
    pub fn drop_packet(self) -> Self {
        self.verdict(0, None)
    }

    /// `return`: on with the rule after the jump that led here, or with the base chain's policy.
    #[must_use]
    pub fn return_to_caller(self) -> Self {
        self.verdict(-5, None)
    }

    /// `jump`: the rules of `chain`, then back.
    #[must_use]
    pub fn jump(self, chain: &str) -> Self {
        self.verdict(-3, Some(chain))
    }

    /// `goto`: the rules of `chain`, not back.
    #[must_use]
    pub fn goto(self, chain: &str) -> Self {
        self.verdict(-4, Some(chain))
    }

    fn push(&mut self, name: &str, data: impl FnOnce(&mut Writer)) {
        self.wire.nest(ELEMENT, |w| {
            w.string(NAME, name);
            w.nest(DATA, data);
        });
    }

    fn meta(&mut self, key: u32) {
        // NFTA_META_DREG, NFTA_META_KEY in nft(8)'s order.
        self.push("meta", |w| {
            w.be32(2, key);
            w.be32(1, REGISTER);
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32) {
        // NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN.
        self.push("payload", |w| {
            w.be32(1, REGISTER);
            w.be32(2, base);
            w.be32(3, offset);
            w.be32(4, length);
        });
    }

    fn compare(&mut self, is: Is, value: &[u8]) {
        // NFTA_CMP_SREG, _OP, _DATA.
        self.push("cmp", |w| {
            w.be32(1, REGISTER);
            w.be32(2, is as u32);
            w.nest(3, |w| w.attribute(VALUE, value));
        });
    }

    fn and(&mut self, mask: &[u8]) {
        // NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR.
        self.push("bitwise", |w| {
            w.be32(1, REGISTER);
            w.be32(2, REGISTER);
            w.be32(3, mask.len() as u32);
            w.nest(4, |w| w.attribute(VALUE, mask));
            w.nest(5, |w| w.attribute(VALUE, &vec![0; mask.len()]));
        });
    }

    fn verdict(mut self, code: i32, chain: Option<&str>) -> Self {
        // NFTA_IMMEDIATE_DREG, _DATA.
        self.push("immediate", |w| {
            w.be32(1, REGISTER_VERDICT);
            w.nest(IMMEDIATE_DATA, |w| {
                w.nest(VERDICT, |w| {
                    w.be32(VERDICT_CODE, code.cast_unsigned());
                    if let Some(chain) = chain {
                        w.string(VERDICT_CHAIN, chain);
                    }
                });
            });
        });
        self
    }

    fn ifname(mut self, key: u32, is: Is, name: &str) -> Self {
        let mut padded = [0; IFNAMSIZ];
        match padded[..IFNAMSIZ - 1].get_mut(..name.len()) {
            Some(place) if !name.contains('\0') => place.copy_from_slice(name.as_bytes()),
            _ => self.wire.invalid = true,
        }
        self.meta(key);
        self.compare(is, &padded);
        self
    }

    /// An address field at `v4` or `v6` bytes into the network header. As nft(8) does it, a prefix of whole bytes is a shorter load, any
    /// other one a mask.
    fn address(mut self, is: Is, prefix: IpNet, v4: u32, v6: u32) -> Self {
        let (network, offset) = if prefix.addr().is_ipv4() { (Network::V4, v4) } else { (Network::V6, v6) };
        self.network(network);
        let octets = |ip| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let value = octets(prefix.network());
        let bits = usize::from(prefix.prefix_len());
        let length = if bits > 0 && bits.is_multiple_of(8) { bits / 8 } else { value.len() };
        self.payload(NETWORK_HEADER, offset, length as u32);
        if length * 8 != bits {
            self.and(&octets(prefix.netmask()));
        }
        self.compare(is, &value[..length]);
        self
    }

    /// The check of the network protocol that the families with several of them need in front of an address match.
    fn network(&mut self, network: Network) {
        if self.network.replace(network) == Some(network) {
            return;
        }
        match self.family {
            Family::Ip | Family::Ip6 => (),
            Family::Inet => {
                self.meta(META_NFPROTO);
                // NFPROTO_IPV4, NFPROTO_IPV6.
                self.compare(Is::Equal, &[if network == Network::V4 { 2 } else { 10 }]);
            }
            Family::Bridge | Family::Netdev => {
                self.meta(META_PROTOCOL);
                // ETH_P_IP, ETH_P_IPV6.
                let ethertype: u16 = if network == Network::V4 { 0x0800 } else { 0x86dd };
                self.compare(Is::Equal, &ethertype.to_be_bytes());
            }
        }
    }
}
