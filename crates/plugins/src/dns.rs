//! The key `dns` of bridge and macvlan: whether it is set at all, since what it says replaces the IPAM plugin's.

use cni::Dns;
use serde::Deserialize;

/// As it is written. An empty list is a setting, as the reference has it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawDns {
    nameservers: Option<Vec<String>>,
    domain: String,
    search: Option<Vec<String>>,
    options: Option<Vec<String>>,
}

impl RawDns {
    /// What is set; none if nothing is.
    pub(crate) fn set(self) -> Option<Dns> {
        let set =
            self.nameservers.is_some() || self.search.is_some() || self.options.is_some() || !self.domain.is_empty();
        set.then(|| Dns {
            nameservers: self.nameservers.unwrap_or_default(),
            domain: self.domain,
            search: self.search.unwrap_or_default(),
            options: self.options.unwrap_or_default(),
        })
    }
}
