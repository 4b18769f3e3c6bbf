//! What exists in a world: links, addresses, rules, files. Two snapshots show what an attachment left behind.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use testkit::Namespace;

/// Our host-local's index, which the originals do not have (`docs/compatibility.md`, `host-local-index`).
pub const INDEX: &str = ".plexus-index";

/// What is looked at in a namespace.
const LOOK: &str =
    "ip -j -d address; echo ----; ip -4 -j rule; echo ----; ip -6 -j rule; echo ----; nft -j list ruleset";

/// Everything that could be left behind, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at namespaces (each with its name in reports) and below a directory.
    ///
    /// # Panics
    /// If a tool is missing or prints something else than JSON.
    pub fn take<'a>(namespaces: impl IntoIterator<Item = (&'a str, &'a Namespace)>, dir: &Path) -> Snapshot {
        let mut all = Snapshot::default();
        for (name, netns) in namespaces {
            // One shell for all tools: a case takes two snapshots, and there are hundreds of cases.
            let out = netns.command("sh").arg("-ec").arg(LOOK).output().unwrap();
            assert!(out.status.success(), "{LOOK}: {}", String::from_utf8_lossy(&out.stderr));
            let text = String::from_utf8_lossy(&out.stdout);
            let mut parts = text.split("----\n").map(|part| match part.trim() {
                "" => Value::Array(Vec::new()),
                json => serde_json::from_str(json).unwrap_or_else(|e| panic!("{LOOK}: {e}: {json}")),
            });
            let mut next = || parts.next().unwrap_or_default();
            all.links(name, &next());
            for family in ["IPv4", "IPv6"] {
                for rule in next().as_array().into_iter().flatten() {
                    all.lines.insert(format!("{name}: {family} rule {rule}"));
                }
            }
            all.rules(name, &next());
        }
        all.files(dir, dir);
        all
    }

    /// What is here and was not in `before`; a line that contains one of `stays` is meant to stay, as are host-local's lock and its record
    /// of the last address.
    #[must_use]
    pub fn left_since(&self, before: &Snapshot, stays: &[String]) -> Vec<String> {
        let by_design = |line: &str| {
            let name = line.rsplit('/').next().unwrap_or("");
            line.starts_with("file ") && (name == "lock" || name == INDEX || name.starts_with("last_reserved_ip."))
        };
        let left = self.lines.difference(&before.lines).filter(|line| !by_design(line));
        left.filter(|line| !stays.iter().any(|s| line.contains(s.as_str()))).cloned().collect()
    }

    fn links(&mut self, name: &str, links: &Value) {
        for link in links.as_array().into_iter().flatten() {
            let ifname = link["ifname"].as_str().unwrap_or("?");
            let kind = link["linkinfo"]["info_kind"].as_str().unwrap_or("");
            self.lines.insert(format!("{name}: link {ifname} {kind}"));
            for address in link["addr_info"].as_array().into_iter().flatten() {
                // Link-local addresses come and go with the link; 127.0.0.1 stays on a lo that is down again.
                if address["scope"] == "global" {
                    self.lines.insert(format!("{name}: address {} on {ifname}", address["local"]));
                }
            }
        }
    }

    /// nft rules and chains; iptables rules are among them where iptables works through nf_tables. Base chains, and what the nft backend of
    /// masquerading keeps for the next attachment, stay by design.
    fn rules(&mut self, name: &str, ruleset: &Value) {
        const MASQUERADE: &str = "cni_plugins_masquerade";
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
