//! A node that is a directory: what the installer sees of it, and what becomes of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A primary network with capabilities.
pub(crate) const PRIMARY: &str = r#"{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [
  {"type": "flannel", "delegate": {"isDefaultGateway": true}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;

/// The article's configuration, as the README has it.
pub(crate) fn article() -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let start = readme.find("{ \"name\": \"multus-demo\"").unwrap();
    let end = start + readme[start..].find("```").unwrap();
    format!("{}\n", readme[start..end].trim_end())
}

pub(crate) struct Node {
    dir: tempfile::TempDir,
}

/// All that is to be the same after an uninstall, by path: type, mode, owner, inode, modification time, content. Directories by mode and owner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<String, (u32, u32, u64, i64, i64, String)>);

impl Snapshot {
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        let names = self.0.keys().filter_map(|p| p.strip_prefix(dir)?.strip_prefix('/'));
        names.filter(|n| !n.contains('/')).map(str::to_owned).collect()
    }
}

pub(crate) struct Ran(Output);

/// A file in a message: its text if it is short, otherwise its length and a hash.
fn digest(content: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    match std::str::from_utf8(content) {
        Ok(text) if text.len() < 10_000 => text.to_owned(),
        _ => {
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            format!("{} bytes, {:x}", content.len(), hasher.finish())
        }
    }
}

impl Ran {
    pub(crate) fn ready(&self) {
        assert!(self.0.status.success(), "{}", self.said());
    }

    pub(crate) fn not_ready(&self) -> String {
        assert!(self.0.status.code().is_some_and(|c| c != 0), "{}", self.said());
        self.said()
    }

    fn said(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }
}

impl Node {
    pub(crate) fn new() -> Node {
        let node = Node { dir: tempfile::tempdir().unwrap() };
        for dir in ["etc/cni/net.d", "opt/cni/bin"] {
            fs::create_dir_all(node.path(dir)).unwrap();
        }
        node.write("account/token", "token-1");
        node.write("account/ca.crt", "ca-1");
        node
    }

    /// A path of the node, as it is seen from here. The service account and given configurations are beside.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        let beside = path.starts_with("account") || path.starts_with("given") || path == "status";
        if beside { self.dir.path().join(path) } else { self.dir.path().join("host").join(path) }
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).unwrap()
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        self.path(path).symlink_metadata().unwrap().mode() & 0o7777
    }

    pub(crate) fn generated(&self) -> Value {
        serde_json::from_slice(&self.read("etc/cni/net.d/00-multus.conflist")).unwrap()
    }

    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        let entries = self.path(dir).read_dir().unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut all = BTreeMap::new();
        let top = self.dir.path().join("host");
        let mut todo = vec![top.clone()];
        while let Some(dir) = todo.pop() {
            for entry in dir.read_dir().unwrap() {
                let path = entry.unwrap().path();
                let m = path.symlink_metadata().unwrap();
                let (id, content) = if m.is_dir() {
                    todo.push(path.clone());
                    ((0, 0, 0), String::new())
                } else if m.is_symlink() {
                    let to = fs::read_link(&path).unwrap();
                    ((m.ino(), m.mtime(), m.mtime_nsec()), to.to_str().unwrap().to_owned())
                } else {
                    ((m.ino(), m.mtime(), m.mtime_nsec()), digest(&fs::read(&path).unwrap()))
                };
                let name = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
                all.insert(name, (m.mode(), m.uid(), id.0, id.1, id.2, content));
            }
        }
        Snapshot(all)
    }

    /// `plexus-node ARGS`, told where this node's directories are.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_plexus-node")), args)
    }

    pub(crate) fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().stdin(Stdio::null());
        let option = |name: &str, path: &str| format!("--{name}={}", self.path(path).display());
        if args[0] != "probe" {
            command.args([option("cni-bin-dir", "opt/cni/bin"), option("cni-conf-dir", "etc/cni/net.d")]);
        }
        if args[0] == "install" {
            command.args([option("host-prefix", ""), option("service-account-dir", "account")]);
            command.env("KUBERNETES_SERVICE_HOST", "10.96.0.1").env("KUBERNETES_SERVICE_PORT", "443");
        }
        if args[0] != "uninstall" || args.contains(&"--wait") {
            command.arg(option("status-file", "status"));
        }
        command
    }

    /// `install --once` in a pod.
    pub(crate) fn install(&self, options: &[&str]) -> Ran {
        Ran(self.command(&[&["install", "--once"], options].concat()).output().unwrap())
    }

    /// `install --once` on the node itself.
    pub(crate) fn install_outside(&self, options: &[&str]) -> Ran {
        Ran(self.command(&[&["install", "--once"], options].concat()).env_clear().output().unwrap())
    }

    pub(crate) fn uninstall(&self) {
        Ran(self.command(&["uninstall"]).output().unwrap()).ready();
    }
}
