//! What there is: links, addresses, routes, rules, namespaces, mounts, files, nf_tables; taken before and after, and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::shell::sh;

/// Kind of thing -> the things, each as a line that independent tools print.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Snapshot(BTreeMap<String, BTreeSet<String>>);

impl Snapshot {
    /// Looks at the calling process's namespaces, and at the files below `folders`.
    ///
    /// # Errors
    /// If `ip` or `nft` fails.
    pub(crate) fn take(folders: &[&str]) -> Result<Snapshot> {
        let lines = |text: String| -> BTreeSet<String> {
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
        };
        // `ip -j` for names alone: flags and counters of a link may change while it stays.
        let links: Vec<serde_json::Value> = serde_json::from_str(&sh("ip -j link")?).context("ip -j link")?;
        let links = links.iter().filter_map(|l| l["ifname"].as_str()).map(str::to_owned).collect();
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").context("mountinfo")?;
        let mounts = mounts.lines().filter_map(|l| l.split(' ').nth(4)).map(str::to_owned).collect();
        let mut files = BTreeSet::new();
        for folder in folders {
            walk(Path::new(folder), &mut files)?;
        }
        let mut all = BTreeMap::new();
        all.insert("links".into(), links);
        all.insert("addresses".into(), lines(addresses()?));
        // "linkdown" comes and goes with the carrier, the route stays.
        let routes = sh("ip route show table all")? + &sh("ip -6 route show table all")?;
        all.insert("routes".into(), lines(routes.replace(" linkdown", "")));
        all.insert("rules".into(), lines(sh("ip rule")? + &sh("ip -6 rule")?));
        all.insert("network namespaces".into(), lines(sh("ip netns")?));
        all.insert("mounts".into(), mounts);
        all.insert("files".into(), files);
        all.insert("nf_tables rules".into(), lines(sh("nft list ruleset")?));
        Ok(Snapshot(all))
    }

    /// How many of each kind there are, for one line of text.
    pub(crate) fn count(&self) -> String {
        self.0.iter().map(|(kind, things)| format!("{} {kind}", things.len())).collect::<Vec<_>>().join(", ")
    }

    /// What is in `later` and not here, or the reverse: kind, sign, thing.
    pub(crate) fn differences(&self, later: &Snapshot) -> Vec<(String, char, String)> {
        let none = BTreeSet::new();
        let mut found = Vec::new();
        for (kind, before) in &self.0 {
            let after = later.0.get(kind).unwrap_or(&none);
            found.extend(after.difference(before).map(|t| (kind.clone(), '+', t.clone())));
            found.extend(before.difference(after).map(|t| (kind.clone(), '-', t.clone())));
        }
        found
    }
}

/// One line per address, without lifetimes.
fn addresses() -> Result<String> {
    let links: Vec<serde_json::Value> = serde_json::from_str(&sh("ip -j addr")?).context("ip -j addr")?;
    let mut lines = String::new();
    for link in &links {
        for address in link["addr_info"].as_array().into_iter().flatten() {
            let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
            lines += &format!("{} {}/{}\n", text(&link["ifname"]), text(&address["local"]), address["prefixlen"]);
        }
    }
    Ok(lines)
}

fn walk(folder: &Path, files: &mut BTreeSet<String>) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("cannot list {}", folder.display())),
    };
    for entry in entries {
        let entry = entry?;
        let path: PathBuf = entry.path();
        files.insert(path.display().to_string());
        if entry.file_type()?.is_dir() {
            walk(&path, files)?;
        }
    }
    Ok(())
}
