//! How long one ADD and one DEL of host-local take, with nothing and with 20,000 addresses in use, before and behind the cursor.
//!
//! `cargo run --release -p plexus-plugins --example host-local-time`

use std::path::Path;
use std::time::{Duration, Instant};

use cni::{Call, CniResult, Command, Error, Invoke, Json};
use plexus_plugins::{HostLocal, Plugin};

/// host-local has no delegates.
struct Nobody;

impl Invoke for Nobody {
    fn invoke(&self, plugin: &str, _: &Call) -> Result<Option<CniResult>, Error> {
        Err(Error::internal(format!("no delegate {plugin}")))
    }
}

fn call(dir: &Path, id: &str) -> Result<Call, Error> {
    let conf = format!(
        r#"{{"cniVersion": "1.0.0", "name": "net", "ipam": {{"type": "host-local", "subnet": "10.0.0.0/16", "dataDir": "{}"}}}}"#,
        dir.display()
    );
    Ok(Call {
        command: Command::Add,
        container_id: id.into(),
        netns: String::new(),
        ifname: "eth0".into(),
        args: String::new(),
        path: Vec::new(),
        netns_override: false,
        conf: Json::parse(conf.as_bytes())?.into(),
    })
}

/// The n-th address that is given out.
fn ip(n: u32) -> String {
    std::net::Ipv4Addr::from_bits(0x0a00_0002 + n).to_string()
}

/// Fills the network as the Go plugin would have.
fn fill(dir: &Path, used: u32) -> std::io::Result<()> {
    let net = dir.join("net");
    std::fs::create_dir_all(&net)?;
    for n in 0..used {
        std::fs::write(net.join(ip(n)), format!("{n:064x}\r\neth0"))?;
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const ROUNDS: u32 = 200;
    let cases = [
        ("nothing in use", 0, "10.0.0.1".to_owned()),
        ("20,000 in use, all before the cursor", 20_000, ip(19_999)),
        ("20,000 in use, all behind the cursor", 20_000, "10.0.0.1".to_owned()),
    ];
    for (what, used, last) in cases {
        let dir = std::env::temp_dir().join(format!("host-local-time-{}", std::process::id()));
        fill(&dir, used)?;
        let cursor = dir.join("net/last_reserved_ip.0");
        let (mut add, mut del, mut first) = (Vec::new(), Vec::new(), None);
        for n in 0..=ROUNDS {
            std::fs::write(&cursor, &last)?;
            let call = call(&dir, &format!("{n:x}"))?;
            let start = Instant::now();
            HostLocal.add(&call, &Nobody)?;
            let added = start.elapsed();
            HostLocal.del(&call, &Nobody)?;
            let deleted = start.elapsed() - added;
            // The first one reads all files: there is no index yet.
            if first.is_none() {
                first = Some(added);
            } else {
                add.push(added);
                del.push(deleted);
            }
        }
        let (add, del) = (median(add), median(del));
        println!(
            "{what}: ADD {add:?}, DEL {del:?} (medians of {ROUNDS}); the very first ADD, without an index: {first:?}"
        );
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}
