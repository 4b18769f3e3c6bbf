//! host-local killed at every system call of ADD, DEL and GC: a DEL afterwards leaves nothing of the container, and nothing of others is lost.
//!
//! This program is the plugin too, without a test harness around it, so that strace counts the plugin's system calls and no others.

extern crate plexus_plugins as plugins;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use plugins::{HostLocal, skel};
use serde_json::{Value, json};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    if std::env::var_os("CNI_COMMAND").is_some() {
        return skel::main(&HostLocal);
    }
    if let Err(why) = Command::new("strace").arg("-V").output() {
        testkit::skip_or_fail("netns", &format!("strace cannot be run: {why}"));
        return ExitCode::SUCCESS;
    }
    // In the words of the harness, which whoever counts tests understands.
    match kill_everywhere() {
        Ok(kills) => {
            println!("test host_local_killed_at_{kills}_system_calls ... ok\n");
            println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("test host_local_killed ... FAILED\n{why}\n");
            println!("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
            ExitCode::FAILURE
        }
    }
}

/// What is there before the call that is killed.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// No directory.
    Nothing,
    /// Other containers' reservations, made by us: the index is there and right.
    Indexed,
    /// Other containers' reservations, made by the Go plugin: no index.
    Foreign,
}

fn kill_everywhere() -> Result<usize> {
    let mut kills = 0;
    for before in [Before::Nothing, Before::Indexed, Before::Foreign] {
        for (command, added) in [("ADD", false), ("DEL", true), ("GC", true)] {
            let trace = {
                let world = World::new(before, added)?;
                let file = world.path("trace");
                let traced = ["strace", "-qq", "-e", "signal=none", "-o", &file];
                let output = world.plugin(&traced, command, "victim")?;
                if !output.status.success() {
                    return Err(format!("{command}: {}", String::from_utf8_lossy(&output.stdout)).into());
                }
                fs::read_to_string(file)?
            };
            let mut count = BTreeMap::<&str, usize>::new();
            let mut touched = false;
            for (name, arguments) in trace.lines().filter_map(|line| line.split_once('(')) {
                let nth = count.entry(name).or_default();
                *nth += 1;
                // Before it opens the network's directory, the program is the same as one that was never started.
                touched |= arguments.contains("/net\"");
                if !touched {
                    continue;
                }
                let world = World::new(before, added)?;
                let inject = format!("inject={name}:signal=KILL:when={nth}");
                let killed = ["strace", "-qq", "-o", "/dev/null", "-e", &inject];
                let output = world.plugin(&killed, command, "victim")?;
                if output.status.success() {
                    // The end of the process cannot be killed any more.
                    if name == "exit_group" {
                        continue;
                    }
                    return Err(format!("{before:?} {command}: not killed at {name} number {nth}").into());
                }
                kills += 1;
                world.verify().map_err(|e| format!("{before:?} {command} killed at {name} number {nth}: {e}"))?;
            }
        }
    }
    if kills < 100 { Err(format!("killed {kills} times only").into()) } else { Ok(kills) }
}

struct World {
    dir: tempfile::TempDir,
    others: Vec<&'static str>,
}

impl World {
    fn new(before: Before, added: bool) -> Result<World> {
        let others = if matches!(before, Before::Nothing) { vec![] } else { vec!["a", "b"] };
        let world = World { dir: tempfile::tempdir()?, others };
        for id in &world.others {
            world.ok("ADD", id)?;
        }
        if added {
            world.ok("ADD", "victim")?;
        }
        if matches!(before, Before::Foreign) {
            fs::remove_file(world.dir.path().join("net/.plexus-index"))?;
        }
        Ok(world)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn conf(&self) -> Value {
        let valid: Vec<Value> = self.others.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
        json!({"cniVersion": "1.1.0", "name": "net", "cni.dev/valid-attachments": valid,
            "ipam": {"type": "host-local", "dataDir": self.dir.path(), "ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "2001:db8::/64"}]]}})
    }

    /// Runs this program as the plugin, behind the words of `prefix`.
    fn plugin(&self, prefix: &[&str], command: &str, id: &str) -> Result<Output> {
        let me = std::env::current_exe()?;
        let mut words = prefix.iter().map(Into::into).chain([me.into_os_string()]);
        let mut child = Command::new(words.next().ok_or("no program")?);
        child.args(words).env("CNI_COMMAND", command).env("CNI_CONTAINERID", id).env("CNI_IFNAME", "eth0");
        child.env("CNI_NETNS", "/some/where").env("CNI_PATH", "/some/bin");
        let conf = self.path("conf");
        fs::write(&conf, self.conf().to_string())?;
        child.stdin(fs::File::open(conf)?).stderr(Stdio::null());
        Ok(child.output()?)
    }

    fn ok(&self, command: &str, id: &str) -> Result<String> {
        let output = self.plugin(&[], command, id)?;
        let stdout = String::from_utf8(output.stdout)?;
        if output.status.success() { Ok(stdout) } else { Err(format!("{command} of {id}: {stdout}").into()) }
    }

    /// DEL of the container whose call was killed; then nothing of it is there, and everything of the others.
    fn verify(&self) -> Result<()> {
        self.ok("DEL", "victim")?;
        let net = self.dir.path().join("net");
        let mut owners = Vec::new();
        for (name, text) in read_all(&net)? {
            match name.as_str() {
                "lock" | ".plexus-index" => {}
                _ if text.is_empty() => return Err(format!("{name} is empty").into()),
                "last_reserved_ip.0" | "last_reserved_ip.1" => {
                    text.parse::<std::net::IpAddr>().map_err(|e| format!("{name} holds {text:?}: {e}"))?;
                }
                _ => {
                    name.parse::<std::net::IpAddr>().map_err(|_| format!("{name} was left behind"))?;
                    owners.push(text);
                }
            }
        }
        let mut expected: Vec<String> =
            self.others.iter().flat_map(|id| [format!("{id}\r\neth0"), format!("{id}\r\neth0")]).collect();
        owners.sort();
        expected.sort();
        if owners != expected {
            return Err(format!("reservations of {owners:?} instead of {expected:?}").into());
        }
        // The index says the same: everybody is found, and nobody gets another's address.
        for id in &self.others {
            self.ok("CHECK", id)?;
        }
        for id in ["late", "later"] {
            self.ok("ADD", id)?;
        }
        let all = read_all(&net)?;
        let ips: BTreeSet<&String> = all.keys().filter(|name| name.parse::<std::net::IpAddr>().is_ok()).collect();
        if ips.len() != 2 * (self.others.len() + 2) {
            return Err(format!("addresses in use: {ips:?}").into());
        }
        Ok(())
    }
}

fn read_all(dir: &Path) -> Result<BTreeMap<String, String>> {
    if !dir.exists() {
        return Ok(BTreeMap::new());
    }
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry?;
        let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
        Ok((entry.file_name().to_string_lossy().into_owned(), text))
    };
    fs::read_dir(dir)?.map(read).collect()
}
