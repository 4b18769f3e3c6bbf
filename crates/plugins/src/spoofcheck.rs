//! `macspoofchk`: a container's frames carry its own MAC address or are dropped where they enter the bridge.
//!
//! Owns: in `table bridge nat`, the attachment's two chains and the jump to them. Names, rules and comments are those of the reference
//! plugins (`pkg/link/spoofcheck.go` there); each change is one transaction.

use cni::{Code, Error, Result};
use netlink::Mac;
use netlink::nft::{Base, Chain, ChainType, Expressions, Family, Hook, Is, Nft, Policy, Table};

use crate::kernel;
use crate::masquerade::{change, in_nf_tables};

const TABLE: Table<'_> = Table::new(Family::Bridge, "nat");
const PREROUTING: Chain<'_> = TABLE.chain("PREROUTING");

/// What an attachment's objects are called.
struct Names {
    iface: String,
    mac: String,
    comment: String,
}

impl Names {
    fn new(container_id: &str, ifname: &str) -> Names {
        let iface = format!("cni-br-iface-{container_id}-{ifname}");
        Names { mac: format!("{iface}-mac"), iface, comment: format!("macspoofchk-{container_id}-{ifname}") }
    }
}

/// The longest name of a chain, in bytes (`NFT_CHAIN_MAXNAMELEN` without the final zero).
const LONGEST: usize = 255;

/// The names of the attachment's chains are names for the kernel. To be asked before anything is made.
///
/// # Errors
/// Code 4: the container ID is too long.
pub fn validate(container_id: &str, ifname: &str) -> Result<()> {
    let length = Names::new(container_id, ifname).mac.len();
    if length <= LONGEST {
        return Ok(());
    }
    let message = format!(
        "the container ID is too long for \"macspoofchk\": with it the name of an nftables chain has {length} bytes, and {LONGEST} is the most"
    );
    Err(Error::new(Code::INVALID_ENVIRONMENT, message)
        .with_details("use shorter container IDs, or leave out \"macspoofchk\""))
}

/// Lets in from `host_veth` only what has the source address `mac`. In the calling thread's network namespace; what an earlier attempt
/// left is replaced.
///
/// # Errors
/// If `mac` is not a MAC address; what the kernel refused.
pub fn setup(host_veth: &str, mac: &str, container_id: &str, ifname: &str) -> Result<()> {
    let mac: Mac = mac.parse().map_err(|e| Error::internal(format!("failed to set up the MAC spoof check: {e}")))?;
    let names = Names::new(container_id, ifname);
    let (iface, only_mac) = (TABLE.chain(&names.iface), TABLE.chain(&names.mac));
    let comment = Some(names.comment.as_str());
    let rule = || Expressions::new(Family::Bridge);
    let made = Nft::open().and_then(|mut nft| {
        change(&mut nft, |nft, batch| {
            // Jumps of an earlier attempt are there only if its chain is.
            let stale = if nft.has_chain(iface)? { nft.rules(PREROUTING)? } else { Vec::new() };
            batch.add_table(TABLE, None);
            let base = Base {
                chain_type: ChainType::Filter,
                hook: Hook::Prerouting,
                priority: -300,
                policy: Some(Policy::Accept),
            };
            batch.add_chain(PREROUTING, Some(base), None);
            batch.add_chain(iface, None, None);
            batch.add_chain(only_mac, None, None);
            batch.flush_chain(iface);
            batch.flush_chain(only_mac);
            for rule in stale.iter().filter(|r| r.comment.as_deref() == comment) {
                batch.delete_rule(PREROUTING, rule.handle);
            }
            batch.add_rule(PREROUTING, &rule().iifname(Is::Equal, host_veth).jump(iface.name), comment);
            batch.add_rule(iface, &rule().jump(only_mac.name), comment);
            batch.add_rule(only_mac, &rule().ether_saddr(Is::Equal, mac).return_to_caller(), comment);
            batch.add_rule(only_mac, &rule().drop_packet(), comment);
            Ok(())
        })
    });
    made.map_err(|e| kernel(e).context("failed to set up the MAC spoof check"))
}

/// Removes an attachment's chains and the jump to them; table and base chain stay. Success if there are none.
///
/// # Errors
/// What the kernel refused to remove.
pub fn teardown(container_id: &str, ifname: &str) -> Result<()> {
    // What has no name was never made. The kernel answers with an error, not with "there is none".
    if validate(container_id, ifname).is_err() {
        return Ok(());
    }
    let names = Names::new(container_id, ifname);
    let removed = in_nf_tables(|nft, batch| {
        // The jump first: a chain that is jumped to cannot be deleted, nor one whose rules jump.
        for rule in nft.rules(PREROUTING)? {
            if rule.targets().any(|t| t == names.iface) {
                batch.delete_rule(PREROUTING, rule.handle);
            }
        }
        for name in [&names.iface, &names.mac] {
            let chain = TABLE.chain(name);
            if nft.has_chain(chain)? {
                batch.flush_chain(chain);
                batch.delete_chain(chain);
            }
        }
        Ok(())
    });
    removed.map_err(|e| {
        e.context(format_args!("failed to remove the MAC spoof check of {ifname} of container {container_id}"))
    })
}
