//! The nftables backend: table `inet cni_plugins_masquerade`.

use ipnet::IpNet;
use netlink::Result;
use netlink::nft::{Base, Batch, Chain, ChainType, Expressions, Family, Hook, Is, Nft, Rule, Table};

use super::{Masquerade, names};

const TABLE: Table<'_> = Table::new(Family::Inet, "cni_plugins_masquerade");
const CHECKS: Chain<'_> = TABLE.chain("masq_checks");
const POSTROUTING: Chain<'_> = TABLE.chain("postrouting");

/// The rules of the base chain: multicast stays as it is, all else is for the other chain.
fn base_rules() -> Vec<Expressions> {
    let multicast = [([224, 0, 0, 0].into(), 4), ([0xff00_u16, 0, 0, 0, 0, 0, 0, 0].into(), 8)];
    let mut rules: Vec<Expressions> = multicast
        .into_iter()
        .filter_map(|(address, length)| IpNet::new(address, length).ok())
        .map(|prefix| Expressions::new(Family::Inet).daddr(Is::Equal, prefix).return_to_caller())
        .collect();
    rules.push(Expressions::new(Family::Inet).goto(CHECKS.name));
    rules
}

/// The rule for one address: what it sends to elsewhere than its network is masqueraded.
fn rule(address: IpNet) -> Expressions {
    Expressions::new(Family::Inet)
        .saddr(Is::Equal, IpNet::from(address.addr()))
        .daddr(Is::Not, address.trunc())
        .masquerade()
}

fn are(found: &[&Rule], wanted: &[Expressions]) -> bool {
    found.len() == wanted.len() && found.iter().zip(wanted).all(|(rule, wanted)| rule.does(wanted))
}

/// Adds to `batch` what is missing. The originals write the base chain anew each time; here that is done only if it is not as it should
/// be, since deleting rules is what makes closing a socket slow.
pub(super) fn add(nft: &mut Nft, batch: &mut Batch, of: &Masquerade<'_>, addresses: &[IpNet]) -> Result<()> {
    let rules = nft.table_rules(TABLE)?;
    let of_chain = |chain: Chain<'_>| -> Vec<&Rule> { rules.iter().filter(|r| r.chain == chain.name).collect() };
    let base = base_rules();
    if !are(&of_chain(POSTROUTING), &base) {
        batch.add_table(TABLE, Some("Masquerading for plugins from github.com/containernetworking/plugins"));
        let why = "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet";
        batch.add_chain(CHECKS, None, Some(why));
        let hook = Base { chain_type: ChainType::Nat, hook: Hook::Postrouting, priority: 100, policy: None };
        batch.add_chain(POSTROUTING, Some(hook), None);
        // Also what another process added since we looked: whoever is last leaves one set of rules.
        batch.flush_chain(POSTROUTING);
        for rule in &base {
            batch.add_rule(POSTROUTING, rule, None);
        }
    }
    let instance = names::instance(of);
    let mut own = of_chain(CHECKS);
    own.retain(|r| r.comment.as_ref().is_some_and(|c| c.starts_with(&instance)));
    let wanted: Vec<Expressions> = addresses.iter().map(|a| rule(*a)).collect();
    if !are(&own, &wanted) {
        for stale in own {
            batch.delete_rule(CHECKS, stale.handle);
        }
        for rule in &wanted {
            batch.add_rule(CHECKS, rule, Some(&names::comment(of)));
        }
    }
    Ok(())
}

/// Adds to `batch` the removal of the rules with such comments. Table and chains stay, as with the originals.
pub(super) fn remove(nft: &mut Nft, batch: &mut Batch, comment: impl Fn(&str) -> bool) -> Result<()> {
    for rule in nft.rules(CHECKS)? {
        if rule.comment.as_deref().is_some_and(&comment) {
            batch.delete_rule(CHECKS, rule.handle);
        }
    }
    Ok(())
}
