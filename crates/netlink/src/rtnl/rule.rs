//! Policy routing rules.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::attributes::{attributes, ip, string, u8_at, u32_at};
use crate::{Result, Rtnl};

// include/uapi/linux/fib_rules.h
const HEADER: usize = 12;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FR_ACT_TO_TBL: u8 = 1;

/// A rule: packets that match use a table. `None` means the kernel's default when adding and "any" when deleting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// IPv6 (for rules without addresses).
    pub ipv6: bool,
    /// Source prefix.
    pub from: Option<IpNet>,
    /// Destination prefix.
    pub to: Option<IpNet>,
    /// Name of the incoming link.
    pub iif: Option<String>,
    /// Firewall mark.
    pub mark: Option<u32>,
    /// Table to look up.
    pub table: u32,
    /// Priority; chosen by the kernel where absent.
    pub priority: Option<u32>,
}

impl Rule {
    /// The family, from its addresses where it has some.
    fn family(&self) -> AddressFamily {
        match self.from.or(self.to) {
            Some(net) => super::family(net.addr()),
            None if self.ipv6 => AddressFamily::Inet6,
            None => AddressFamily::Inet,
        }
    }

    /// The request, the same for adding and removing.
    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        let header = &mut message.header;
        header.family = self.family();
        header.action = RuleAction::ToTable;
        header.src_len = self.from.map_or(0, |net| net.prefix_len());
        header.dst_len = self.to.map_or(0, |net| net.prefix_len());
        let attributes = &mut message.attributes;
        attributes.push(RuleAttribute::Table(self.table));
        // The kernel wants no address with a prefix of length 0.
        let address = |net: Option<IpNet>| net.filter(|net| net.prefix_len() > 0).map(|net| net.addr());
        attributes.extend(address(self.from).map(RuleAttribute::Source));
        attributes.extend(address(self.to).map(RuleAttribute::Destination));
        attributes.extend(self.iif.clone().map(RuleAttribute::Iifname));
        attributes.extend(self.mark.map(RuleAttribute::FwMark));
        attributes.extend(self.priority.map(RuleAttribute::Priority));
        message
    }
}

impl fmt::Display for Rule {
    /// As `ip rule` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(priority) = self.priority {
            write!(f, "{priority}: ")?;
        }
        match self.from {
            Some(from) => write!(f, "from {from}")?,
            None => f.write_str(if self.family() == AddressFamily::Inet6 { "IPv6 from all" } else { "from all" })?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(mark) = self.mark {
            write!(f, " fwmark {mark:#x}")?;
        }
        write!(f, " lookup {}", self.table)
    }
}

impl Rtnl {
    /// Adds a rule.
    ///
    /// # Errors
    /// `EEXIST` if the same rule is there.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<()> {
        self.request(&RouteNetlinkMessage::NewRule(rule.message()), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|refusal| refusal.on("add rule", rule.to_string()))
    }

    /// Removes one rule that matches; false if none does.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete_rule(&mut self, rule: &Rule) -> Result<bool> {
        match self.request(&RouteNetlinkMessage::DelRule(rule.message()), 0) {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.errno == Errno::NOENT => Ok(false),
            Err(refusal) => Err(refusal.on("remove rule", rule.to_string())),
        }
    }

    /// All rules that lead to a table, of both families (a dump), the kernel's own included.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn rules(&mut self) -> Result<Vec<Rule>> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let dumped = self.dump(&RouteNetlinkMessage::GetRule(message), parse);
            let found = super::empty_if_no_table(dumped).map_err(|refusal| refusal.on("read", "routing rules"))?;
            all.extend(found);
        }
        Ok(all)
    }
}

/// Reads an RTM_NEWRULE that leads to a table.
pub(crate) fn parse(payload: &[u8]) -> Option<Rule> {
    if u8_at(payload, 7)? != FR_ACT_TO_TBL {
        return None;
    }
    let ipv6 = match i32::from(u8_at(payload, 0)?) {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ => return None,
    };
    let any = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let (mut from, mut to) = (any, any);
    // The kernel leaves out a priority of 0, the local table's.
    let mut rule = Rule {
        ipv6,
        from: None,
        to: None,
        iif: None,
        mark: None,
        table: u32::from(u8_at(payload, 4)?),
        priority: Some(0),
    };
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            FRA_SRC => from = ip(value)?,
            FRA_DST => to = ip(value)?,
            FRA_IIFNAME => rule.iif = Some(string(value)),
            FRA_PRIORITY => rule.priority = u32_at(value, 0),
            FRA_FWMARK => rule.mark = u32_at(value, 0),
            FRA_TABLE => rule.table = u32_at(value, 0)?,
            _ => {}
        }
    }
    let net = |address, length| IpNet::new(address, length).ok();
    rule.from = net(from, u8_at(payload, 2)?).filter(|net| net.prefix_len() > 0);
    rule.to = net(to, u8_at(payload, 1)?).filter(|net| net.prefix_len() > 0);
    Some(rule)
}
