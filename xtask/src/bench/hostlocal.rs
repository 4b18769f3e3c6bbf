//! host-local alone, with an empty range and with 20,000 addresses in use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::stats::{Spread, round};
use crate::runtime::{self, Attachment};

/// Addresses in use in the full case.
pub(crate) const MANY: u32 = 20_000;
/// 10.64.0.0, the subnet's first address.
const BASE: u32 = 0x0a40_0000;

/// Times of one program with a number of addresses in use.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct HostLocal {
    /// Whose.
    pub(crate) program: String,
    /// Addresses in use before each ADD.
    pub(crate) in_use: u32,
    /// The first ADD in a directory that another program filled, in milliseconds.
    pub(crate) first_add: f64,
    /// ADD.
    pub(crate) add: Spread,
    /// DEL.
    pub(crate) del: Spread,
}

/// Measures each program (name, directory), interleaved, each round an ADD and its DEL; `netns` is any other namespace.
///
/// # Errors
/// If a call fails.
pub(crate) fn measure(
    programs: &[(&str, PathBuf)],
    state: &Path,
    netns: &Path,
    rounds: usize,
) -> Result<Vec<HostLocal>> {
    let cases = [0, MANY];
    // A directory for each program: what one of them remembers of its own, the other would make it forget.
    let folder = |p: usize, in_use: u32| state.join(format!("host-local-{p}-{in_use}"));
    for (p, in_use) in (0..programs.len()).flat_map(|p| cases.map(|c| (p, c))) {
        fill(&folder(p, in_use).join("hl"), in_use)?;
    }
    let mut times = vec![(Vec::new(), Vec::new()); programs.len() * cases.len()];
    for round in 0..rounds {
        for (p, (_, dir)) in programs.iter().enumerate() {
            for (c, in_use) in cases.iter().enumerate() {
                let (adds, dels): &mut (Vec<Duration>, Vec<Duration>) = &mut times[p * cases.len() + c];
                let data = folder(p, *in_use);
                let conf = serde_json::json!({ "cniVersion": "0.3.1", "name": "hl", "type": "bridge",
                    "ipam": { "type": "host-local", "subnet": "10.64.0.0/16", "dataDir": data } });
                let attachment = Attachment {
                    id: format!("round-{round}-{p}"),
                    netns: netns.into(),
                    ifname: "eth0".into(),
                    args: "IgnoreUnknown=1".into(),
                };
                let conf = conf.to_string();
                adds.push(runtime::call(dir, "host-local", "ADD", &attachment, conf.as_bytes())?.took);
                dels.push(runtime::call(dir, "host-local", "DEL", &attachment, conf.as_bytes())?.took);
            }
        }
    }
    let named = programs.iter().flat_map(|(name, _)| cases.iter().map(move |in_use| (*name, *in_use)));
    let rows = named.zip(&times).map(|((program, in_use), (adds, dels))| HostLocal {
        program: program.into(),
        in_use,
        first_add: adds.first().map_or(0.0, |t| round(t.as_secs_f64() * 1e3)),
        add: Spread::of(adds),
        del: Spread::of(dels),
    });
    Ok(rows.collect())
}

/// A range directory as host-local leaves it after giving out `in_use` addresses one after the other.
fn fill(folder: &Path, in_use: u32) -> Result<()> {
    fs::create_dir_all(folder)?;
    // .1 is the gateway's.
    for number in 2..in_use + 2 {
        let address = std::net::Ipv4Addr::from_bits(BASE + number).to_string();
        fs::write(folder.join(&address), format!("someone-{number}\r\neth0"))?;
        if number == in_use + 1 {
            fs::write(folder.join("last_reserved_ip.0"), address)?;
        }
    }
    Ok(())
}
