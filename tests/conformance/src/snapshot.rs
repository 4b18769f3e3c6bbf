//! What exists in a world: links, addresses, rules, files. Two snapshots show what an attachment left behind.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use testkit::Namespace;

/// Everything that could be left behind, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at namespaces (each with its name in reports) and below a directory.
    pub fn take<'a>(namespaces: impl IntoIterator<Item = (&'a str, &'a Namespace)>, dir: &Path) -> Snapshot {
        let mut all = Snapshot::default();
        for (name, netns) in namespaces {
            all.links(name, netns);
            all.rules(name, netns);
        }
        all.files(dir, dir);
        all
    }

    /// What is here and was not in `before`; a line that contains one of `stays` is meant to stay, as are host-local's lock and its record
    /// of the last address.
    #[must_use]
    pub fn left_since(&self, before: &Snapshot, stays: &[String]) -> Vec<String> {
        let by_design =
            |line: &str| line.starts_with("file ") && (line.ends_with("/lock") || line.contains("/last_reserved_ip."));
        let left = self.lines.difference(&before.lines).filter(|line| !by_design(line));
        left.filter(|line| !stays.iter().any(|s| line.contains(s.as_str()))).cloned().collect()
    }

    fn links(&mut self, name: &str, netns: &Namespace) {
        for link in netns.json("ip -j -d address").as_array().into_iter().flatten() {
            let ifname = link["ifname"].as_str().unwrap_or("?");
            let kind = link["linkinfo"]["info_kind"].as_str().unwrap_or("");
            self.lines.insert(format!("{name}: link {ifname} {kind}"));
            for address in link["addr_info"].as_array().into_iter().flatten() {
                // Link-local addresses come and go with the link.
                if address["scope"] != "link" {
                    self.lines.insert(format!("{name}: address {} on {ifname}", address["local"]));
                }
            }
        }
        for family in ["-4", "-6"] {
            for rule in netns.json(&format!("ip {family} -j rule")).as_array().into_iter().flatten() {
                self.lines.insert(format!("{name}: ip {family} rule {rule}"));
            }
        }
    }

    /// nft rules and chains; iptables rules are among them where iptables works through nf_tables. Base chains, and what the nft backend of
    /// masquerading keeps for the next attachment, stay by design.
    fn rules(&mut self, name: &str, netns: &Namespace) {
        const MASQUERADE: &str = "cni_plugins_masquerade";
        let ruleset = netns.json("nft -j list ruleset");
        for object in ruleset["nftables"].as_array().into_iter().flatten() {
            if let Some(rule) = object.get("rule")
                && !(rule["table"] == MASQUERADE && rule["chain"] == "postrouting")
            {
                let mut rule = rule.clone();
                rule["handle"] = Value::Null;
                uncount(&mut rule);
                self.lines.insert(format!("{name}: nft rule {rule}"));
            }
            if let Some(chain) = object.get("chain")
                && chain.get("hook").is_none()
                && chain["table"] != MASQUERADE
            {
                self.lines.insert(format!("{name}: nft chain {} {}", chain["table"], chain["name"]));
            }
        }
    }

    fn files(&mut self, root: &Path, dir: &Path) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.files(root, &path);
            } else {
                let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                self.lines.insert(format!("file {shown}"));
            }
        }
    }
}

/// Packet counters change by themselves.
fn uncount(value: &mut Value) {
    match value {
        Value::Object(o) => {
            if let Some(counter) = o.get_mut("counter") {
                *counter = Value::Null;
            }
            o.values_mut().for_each(uncount);
        }
        Value::Array(a) => a.iter_mut().for_each(uncount),
        _ => {}
    }
}
