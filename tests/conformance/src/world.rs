//! A host, its pods and a directory for state: what one case runs in.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::Namespace;

use crate::pattern::Bindings;

/// A fresh world. It vanishes with the handle.
#[derive(Debug)]
pub struct World {
    /// The host's namespace: plugins run here.
    pub host: Namespace,
    pods: BTreeMap<String, Namespace>,
    dir: tempfile::TempDir,
    /// `${dir}`, `${netns}`, `${netns2}` and what a case remembers.
    pub vars: Bindings,
}

/// What a program said.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Exit code; 128 + the signal's number if it was killed.
    pub rc: i32,
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its error output.
    pub stderr: Vec<u8>,
}

impl Reply {
    /// The output as JSON; the error quotes what it is instead.
    ///
    /// # Errors
    /// If it is not one JSON document.
    pub fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.stdout).map_err(|e| format!("stdout is not one JSON document ({e}): {self}"))
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |b: &[u8]| String::from_utf8_lossy(b).split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "rc {} stdout `{:.700}` stderr `{:.300}`", self.rc, short(&self.stdout), short(&self.stderr))
    }
}

impl World {
    /// A host with `lo` up, one pod (`pod`), an empty directory.
    pub fn new() -> World {
        let dir = tempfile::Builder::new().prefix("plexus-conformance-").tempdir().unwrap();
        let vars = Bindings::from([("dir".to_owned(), dir.path().display().to_string())]);
        let mut world = World { host: Namespace::new(), pods: BTreeMap::new(), dir, vars };
        world.host.sh("ip link set lo up");
        world.add_pod("pod");
        world
    }

    /// Another pod; its path is `${netns}` for `pod`, `${netns2}` for `pod2` and so on.
    pub fn add_pod(&mut self, name: &str) -> &Namespace {
        let pod = Namespace::new();
        self.vars.insert(name.replacen("pod", "netns", 1), pod.path().display().to_string());
        self.pods.entry(name.to_owned()).or_insert(pod)
    }

    /// `host` or a pod.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn namespace(&self, name: &str) -> &Namespace {
        if name == "host" { &self.host } else { self.pods.get(name).unwrap_or_else(|| panic!("no namespace {name}")) }
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        self.pods.iter().map(|(name, netns)| (name.as_str(), netns))
    }

    /// The directory for state.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What exists now.
    pub fn snapshot(&self) -> crate::Snapshot {
        crate::Snapshot::take(std::iter::once(("host", &self.host)).chain(self.pods()), self.dir())
    }

    /// A command that runs on the host.
    pub fn command(&self, program: &Path, env: &BTreeMap<String, String>) -> Command {
        let mut command = self.host.command(program);
        clean_env(&mut command, env);
        command
    }
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}

/// Nothing of this process's environment but PATH (plugins run iptables) reaches a plugin.
pub fn clean_env(command: &mut Command, env: &BTreeMap<String, String>) {
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").envs(env);
}

/// Runs a command with `stdin` and takes what it says.
pub fn run(mut command: Command, stdin: &[u8]) -> Reply {
    use std::os::unix::process::ExitStatusExt;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_owned();
    // It may end without reading everything: a broken pipe is not the harness's failure.
    let feeder = std::thread::spawn(move || pipe.write_all(&stdin));
    let out = child.wait_with_output().unwrap();
    let _ = feeder.join().unwrap();
    let rc = out.status.code().or_else(|| out.status.signal().map(|s| 128 + s)).unwrap_or(-1);
    Reply { rc, stdout: out.stdout, stderr: out.stderr }
}

/// The environment of a call for `pod`'s namespace.
#[must_use]
pub fn call_env(command: &str, id: &str, netns: &Path) -> BTreeMap<String, String> {
    let pairs = [
        ("CNI_COMMAND", command.to_owned()),
        ("CNI_CONTAINERID", id.to_owned()),
        ("CNI_NETNS", netns.display().to_string()),
        ("CNI_IFNAME", "eth0".to_owned()),
        ("CNI_PATH", crate::Programs::ours().dir.display().to_string()),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}
