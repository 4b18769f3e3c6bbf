//! Policy routing rules.

use ipnet::IpNet;

use crate::{Result, Rtnl};

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

impl Rtnl {
    /// Adds a rule.
    ///
    /// # Errors
    /// `EEXIST` if the same rule is there.
    pub fn add_rule(&mut self, _rule: &Rule) -> Result<()> {
        todo!()
    }

    /// Removes one rule that matches; false if none does.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete_rule(&mut self, _rule: &Rule) -> Result<bool> {
        todo!()
    }

    /// All rules of both families (a dump), the kernel's own three included.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn rules(&mut self) -> Result<Vec<Rule>> {
        todo!()
    }
}
