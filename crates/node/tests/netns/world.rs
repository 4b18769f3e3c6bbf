//! A host of its own for a test: a network namespace with `eth0` to an "outside" machine, empty `/run` and `/var/lib`, and the binary under
//! every name it is installed by.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use testkit::Namespace;

/// The article's configuration, unchanged.
pub(crate) const ARTICLE: &str = r#"{ "name": "multus-demo", "type": "multus",
  "delegates": [
    { "type": "macvlan", "master": "eth0", "mode": "bridge",
      "ipam": { "type": "host-local", "subnet": "192.168.122.0/24", "rangeStart": "192.168.122.200", "rangeEnd": "192.168.122.216",
                "routes": [ { "dst": "0.0.0.0/0" } ], "gateway": "192.168.122.1" } },
    { "type": "flannel", "masterplugin": true, "delegate": { "isDefaultGateway": true } } ] }"#;

/// What flanneld writes.
const SUBNET_ENV: &str =
    "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

/// A host, and a machine on its network.
pub(crate) struct World {
    pub(crate) host: Namespace,
    pub(crate) outside: Namespace,
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> World {
        let world = World { host: Namespace::new(), outside: Namespace::new(), dir: tempfile::tempdir().unwrap() };
        world.outside.sh("ip link add name uplink type veth peer name eth0");
        let host = world.host.path();
        world.outside.sh(&format!("ip link set dev eth0 netns {}", host.display()));
        for (ns, link) in [(&world.outside, "uplink"), (&world.host, "eth0")] {
            ns.sh("ip link set lo up");
            ns.sh(&format!("ip link set {link} up"));
        }
        world.outside.sh("ip addr add 192.168.122.1/24 dev uplink");
        for dir in ["run/flannel", "lib", "bin"] {
            fs::create_dir_all(world.path(dir)).unwrap();
        }
        fs::write(world.path("run/flannel/subnet.env"), SUBNET_ENV).unwrap();
        for name in
            ["multus", "plexus", "plexus-node", "bridge", "macvlan", "flannel", "host-local", "static", "loopback"]
        {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_plexus-node"), world.path("bin").join(name)).unwrap();
        }
        world
    }

    /// What the host has at `/var/lib`.
    pub(crate) fn lib(&self) -> PathBuf {
        self.path("lib")
    }

    /// The directory of programs, `CNI_PATH`.
    pub(crate) fn bin(&self) -> PathBuf {
        self.path("bin")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program of [`World::bin`] as a runtime would.
    pub(crate) fn call(&self, program: &str, env: &[(&str, &str)], stdin: &str) -> Output {
        self.command(program, &[], env, stdin)
    }

    /// The same with arguments.
    pub(crate) fn command(&self, program: &str, args: &[&str], env: &[(&str, &str)], stdin: &str) -> Output {
        // Mounts of a namespace of its own: what the configuration leaves at its default paths stays here.
        let script = r#"mount --bind "$1/run" /run && mount --bind "$1/lib" /var/lib && shift && exec "$@""#;
        let mut command = self.host.command("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", script, "sh"]);
        command.arg(self.dir.path()).arg(self.bin().join(program)).args(args);
        command.env_remove("CNI_COMMAND").envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not read its stdin closes it: no failure.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// A CNI call for a pod: `(stdout as JSON, stderr)`.
    pub(crate) fn cni(
        &self,
        program: &str,
        command: &str,
        pod: &Pod,
        ifname: &str,
        conf: &str,
    ) -> Result<(Value, String), Value> {
        let (path, netns) = (self.bin(), pod.netns());
        let env = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", pod.id.as_str()),
            ("CNI_NETNS", netns.as_str()),
            ("CNI_IFNAME", ifname),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"),
            ("CNI_PATH", path.to_str().unwrap()),
        ];
        let out = self.call(program, &env, conf);
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        let value = if out.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&out.stdout).unwrap() };
        if out.status.success() { Ok((value, stderr)) } else { Err(value) }
    }

    /// Everything on the host that an attachment could leave behind: links, addresses, routes, rules, files.
    pub(crate) fn everything(&self) -> String {
        let mut all = String::new();
        for line in ["ip -j link", "ip -j addr", "ip -j route show table all", "ip -j rule", "nft -j list ruleset"] {
            let value = without_counters(self.host.json(line));
            all.push_str(&format!("{line}: {value}\n"));
        }
        let mut files = Vec::new();
        list(&self.lib(), &mut files);
        files.sort();
        all + &files.join("\n")
    }
}

/// A pod: a network namespace and a container ID.
pub(crate) struct Pod {
    pub(crate) ns: Namespace,
    pub(crate) id: String,
}

impl Pod {
    pub(crate) fn new(id: &str) -> Pod {
        Pod { ns: Namespace::new(), id: id.to_owned() }
    }

    fn netns(&self) -> String {
        self.ns.path().display().to_string()
    }

    /// `ip -j addr show dev NAME` of the pod.
    pub(crate) fn link(&self, name: &str) -> Value {
        self.ns.json(&format!("ip -j addr show dev {name}"))[0].clone()
    }

    /// Names of its links.
    pub(crate) fn links(&self) -> Vec<String> {
        let all = self.ns.json("ip -j link");
        all.as_array().unwrap().iter().map(|l| l["ifname"].as_str().unwrap().to_owned()).collect()
    }
}

/// Files that hold a lease, a record or a cached result; what stays by design (locks, the last address given out, directories) is not listed.
fn list(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), found);
        } else if name != "lock" && !name.starts_with("last_reserved_ip") {
            found.push(entry.path().display().to_string());
        }
    }
}

/// What changes by itself in `ip -j` is taken out: the bridge, which stays as with the original, notices only after a while that its last
/// port has gone.
fn without_counters(mut value: Value) -> Value {
    match &mut value {
        Value::Array(elements) => {
            // Link-local IPv6 routes come when duplicate address detection is done with, which is any time.
            elements
                .retain(|e| !e["dst"].as_str().is_some_and(|dst| dst.starts_with("fe80:") || dst.starts_with("ff00:")));
            elements.iter_mut().for_each(|e| *e = without_counters(e.take()));
        }
        Value::Object(members) => {
            for key in
                ["valid_life_time", "preferred_life_time", "handle", "expires", "operstate", "flags", "tentative"]
            {
                members.remove(key);
            }
            members.values_mut().for_each(|v| *v = without_counters(v.take()));
        }
        _ => {}
    }
    value
}
