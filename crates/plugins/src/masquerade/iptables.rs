//! The iptables backend, by running the programs: chain `CNI-<hash>` in table nat of each address family.
//!
//! What is missing goes in with one `iptables-restore`, which like a batch does all or nothing: there is no moment at which a kill leaves
//! a half-made chain. Legacy tables are removed the same way; those in nf_tables by `iptables_nft`.

use cni::{Error, Result};
use ipnet::IpNet;

use super::program::{self, Output};
use super::{Masquerade, names};

/// Seconds that a program waits for the lock of the legacy tables.
const WAIT: &str = "10";
/// How often rules are worked out anew because another process changed them meanwhile.
const ATTEMPTS: usize = 4;

/// The programs of one address family.
#[derive(Clone, Copy)]
struct Family {
    iptables: &'static str,
    restore: &'static str,
    /// The same with legacy tables, where both kinds are installed.
    legacy: [&'static str; 2],
    /// Lists the legacy tables of the namespace; absent from kernels without them.
    names: &'static str,
    multicast: &'static str,
}

const V4: Family = Family {
    iptables: "iptables",
    restore: "iptables-restore",
    legacy: ["iptables-legacy", "iptables-legacy-restore"],
    names: "/proc/thread-self/net/ip_tables_names",
    multicast: "224.0.0.0/4",
};
const V6: Family = Family {
    iptables: "ip6tables",
    restore: "ip6tables-restore",
    legacy: ["ip6tables-legacy", "ip6tables-legacy-restore"],
    names: "/proc/thread-self/net/ip6_tables_names",
    multicast: "ff00::/8",
};

/// Makes the rules for these addresses that are not there yet.
pub(super) fn setup(of: &Masquerade<'_>, addresses: &[IpNet]) -> Result<()> {
    for family in [V4, V6] {
        let addresses: Vec<IpNet> =
            addresses.iter().copied().filter(|a| a.addr().is_ipv4() == (family.iptables == V4.iptables)).collect();
        if !addresses.is_empty() {
            setup_family(family, of, &addresses)?;
        }
    }
    Ok(())
}

fn setup_family(family: Family, of: &Masquerade<'_>, addresses: &[IpNet]) -> Result<()> {
    let chain = names::chain(of.network, of.container_id);
    let comment = names::iptables_comment(of.network, of.container_id);
    // Chain, matches, target, in the originals' order.
    let mut rules: Vec<(&str, Vec<String>, &str)> = Vec::new();
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    for address in addresses {
        rules.push((&chain, words(&["-d", &address.to_string()]), "ACCEPT"));
        rules.push((&chain, words(&["!", "-d", family.multicast]), "MASQUERADE"));
        rules.push(("POSTROUTING", words(&["-s", &address.addr().to_string()]), &chain));
    }
    let mut seen = Vec::new();
    rules.retain(|rule| {
        let first = !seen.contains(rule);
        seen.push(rule.clone());
        first
    });
    for attempt in 1.. {
        let exists = list(family.iptables, &chain)?.is_some();
        let mut input = String::from("*nat\n");
        if !exists {
            input += &format!("-N {chain}\n");
        }
        for (to, matches, target) in &rules {
            // Without its chain there is none of its rules.
            if exists {
                let mut check = words(&["-t", "nat", "-C", to]);
                check.extend(matches.iter().cloned());
                check.extend(words(&["-j", target, "-m", "comment", "--comment", &comment, "--wait", WAIT]));
                let check: Vec<&str> = check.iter().map(String::as_str).collect();
                if program::run(family.iptables, &check, "")?.code == Some(0) {
                    continue;
                }
            }
            let matches = matches.join(" ");
            input += &format!("-A {to} {matches} -j {target} -m comment --comment {}\n", argument(&comment));
        }
        let output = restore(family.restore, &(input + "COMMIT\n"))?;
        match output.code {
            Some(0) => break,
            // Another process made or removed the chain meanwhile, or changed the table while we did.
            _ if attempt < ATTEMPTS => (),
            _ => return Err(refused(family.restore, &output)),
        }
    }
    Ok(())
}

/// Removes the chain, its rules and the jumps to it from the legacy tables.
pub(super) fn remove_legacy(chain: &str) -> Result<()> {
    in_legacy(|iptables, restore| match list(iptables, chain)? {
        None => Ok(()),
        Some(_) => remove(iptables, restore, chain),
    })
}

/// Removes the masquerade chains of `network` that are stale from the legacy tables.
pub(super) fn remove_others_legacy(network: &str, stale: impl Fn(&str) -> bool) -> Result<()> {
    // As `iptables -S` prints it: quotes escaped.
    let comment = argument(&names::iptables_comment_of(network));
    let comment = comment.trim_end_matches('"');
    in_legacy(|iptables, restore| {
        let Some(all) = list(iptables, "")? else { return Ok(()) };
        let mut chains: Vec<&str> = all
            .lines()
            .filter(|line| line.contains(comment))
            .filter_map(|line| line.strip_prefix("-A ")?.split(' ').next())
            .filter(|chain| names::is_chain(chain) && stale(chain))
            .collect();
        chains.sort_unstable();
        chains.dedup();
        chains.into_iter().try_for_each(|chain| remove(iptables, restore, chain))
    })
}

fn remove(iptables: &str, restore_program: &str, chain: &str) -> Result<()> {
    let jump = format!(" -j {chain}");
    for attempt in 1.. {
        let mut input = String::from("*nat\n");
        for line in list(iptables, "POSTROUTING")?.unwrap_or_default().lines().filter(|l| l.ends_with(&jump)) {
            if let Some(rule) = line.strip_prefix("-A ") {
                input += &format!("-D {rule}\n");
            }
        }
        let output = restore(restore_program, &format!("{input}-F {chain}\n-X {chain}\nCOMMIT\n"))?;
        match output.code {
            Some(0) => break,
            // Another process removes the same.
            _ if list(iptables, chain)?.is_none() => break,
            _ if attempt < ATTEMPTS => (),
            _ => return Err(refused(restore_program, &output)),
        }
    }
    Ok(())
}

/// Runs `with` (list program, restore program) for each address family that has a legacy table nat. Without the programs nothing of ours
/// can be in it.
fn in_legacy(with: impl Fn(&str, &str) -> Result<()>) -> Result<()> {
    let mut done = Ok(());
    for family in [V4, V6] {
        let names = std::fs::read_to_string(family.names).unwrap_or_default();
        if !names.lines().any(|name| name == "nat") {
            continue;
        }
        let [iptables, restore] =
            if program::exists(family.legacy[0]) { family.legacy } else { [family.iptables, family.restore] };
        if program::exists(iptables) {
            done = crate::every([done, with(iptables, restore)]);
        }
    }
    done
}

/// What `-S` prints for a chain of table nat, or for all; `None` if there is no such chain.
fn list(iptables: &str, chain: &str) -> Result<Option<String>> {
    let mut arguments = vec!["-t", "nat", "-S"];
    arguments.extend((!chain.is_empty()).then_some(chain));
    arguments.extend(["--wait", WAIT]);
    let output = program::run(iptables, &arguments, "")?;
    match output.code {
        Some(0) => Ok(Some(output.stdout)),
        // 1: "No chain/target/match by that name", in other words in the nf_tables variant. The rest is lock, rights, usage.
        Some(1) => Ok(None),
        _ => Err(refused(iptables, &output)),
    }
}

fn restore(program: &str, input: &str) -> Result<Output> {
    program::run(program, &["--noflush", "--wait", WAIT], input)
}

fn refused(program: &str, output: &Output) -> Error {
    let said = if output.stderr.trim().is_empty() { output.stdout.trim() } else { output.stderr.trim() };
    Error::internal(format!("{program} failed ({}): {said}", output.status))
}

/// An argument as `iptables-save` writes and `iptables-restore` reads it.
fn argument(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
