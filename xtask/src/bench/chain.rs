//! What is compared: ways to attach one pod to flannel and macvlan, each with the same configuration of the two networks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use netlink::Netns;
use rustix::mount::mount_bind;
use serde_json::{Value, json};
use testkit::Namespace;

use super::floor::Floor;
use crate::runtime::{self, Attachment};

/// One way.
#[derive(Clone, Debug)]
pub(crate) enum Chain {
    /// The kernel's part alone.
    Floor,
    /// A meta-plugin (`multus`, ours or the original) with both networks as static delegates. Name, directory.
    Meta(&'static str, PathBuf),
    /// The Go plugins executed one after the other, without any meta-plugin. Name, directory.
    InOrder(&'static str, PathBuf),
}

/// A pod to attach. Its namespace is a file below /run/netns, as runtimes have it, and no descriptor of the harness: a new process begins with a copy
/// of its parent's descriptors, and a thousand of them would be measured with every call.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Unique in the run.
    pub(crate) number: u32,
    /// Its network namespace.
    pub(crate) netns: PathBuf,
}

impl Pod {
    /// A new pod with lo up, as the runtime's loopback call leaves it.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub(crate) fn new(number: u32) -> Result<Pod> {
        let namespace = Namespace::new();
        namespace.sh("ip link set lo up");
        let netns = Path::new(NETNS).join(format!("bench-{number:08}"));
        File::create(&netns).with_context(|| format!("cannot make {}", netns.display()))?;
        mount_bind(namespace.path(), &netns).with_context(|| format!("cannot mount {}", netns.display()))?;
        Ok(Pod { number, netns })
    }

    fn attachment(&self, ifname: &str) -> Attachment {
        let number = self.number;
        Attachment {
            id: format!("bench-{number:08}"),
            netns: self.netns.clone(),
            ifname: ifname.into(),
            args: format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=bench-{number}"),
        }
    }
}

/// Where the pods' namespaces are.
pub(crate) const NETNS: &str = "/run/netns";

/// A step for one pod: plugin, attachment, configuration.
pub(crate) type Call = (&'static str, Attachment, Vec<u8>);

/// One call of one plugin: plugin, interface, configuration.
type Step = (&'static str, &'static str, Vec<u8>);

impl Chain {
    /// Its name in tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Chain::Floor => "kernel floor",
            Chain::Meta(name, _) | Chain::InOrder(name, _) => name,
        }
    }

    /// The calls that make up an ADD, with the directory of their plugins; none for the floor, which is not a process.
    fn steps(&self) -> (Vec<Step>, &Path) {
        match self {
            Chain::Floor => (Vec::new(), Path::new("")),
            Chain::Meta(_, dir) => (vec![("multus", "eth0", meta())], dir),
            Chain::InOrder(_, dir) if dir.join("flannel").exists() => (
                vec![
                    ("flannel", "eth0", flannel().to_string().into()),
                    ("macvlan", "net1", macvlan().to_string().into()),
                ],
                dir,
            ),
            // Debian's package has no flannel: its work is then the harness's, which is to the package's advantage.
            Chain::InOrder(_, dir) => (
                vec![
                    ("bridge", "eth0", bridge().to_string().into()),
                    ("macvlan", "net1", macvlan().to_string().into()),
                ],
                dir,
            ),
        }
    }

    /// Attaches `pod`; the time is that of the plugins' processes, start to end.
    ///
    /// # Errors
    /// With the plugin's error.
    pub(crate) fn add(&self, floor: &mut Floor, pod: &Pod) -> Result<Duration> {
        if matches!(self, Chain::Floor) {
            floor.add(&Netns::open(&pod.netns)?, pod.number)
        } else {
            self.call("ADD", pod)
        }
    }

    /// Detaches it.
    ///
    /// # Errors
    /// With the plugin's error.
    pub(crate) fn del(&self, floor: &mut Floor, pod: &Pod) -> Result<Duration> {
        if matches!(self, Chain::Floor) { floor.del(&Netns::open(&pod.netns)?) } else { self.call("DEL", pod) }
    }

    /// Runs the plugins of one verb: DEL in the reverse order.
    ///
    /// # Errors
    /// With the plugin's error.
    pub(crate) fn call(&self, verb: &str, pod: &Pod) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        let (calls, dir) = self.calls(verb, pod);
        for (plugin, attachment, conf) in calls {
            sum += runtime::call(dir, plugin, verb, &attachment, &conf)?.took;
        }
        Ok(sum)
    }

    /// The calls of one verb, and the directory of their plugins.
    pub(crate) fn calls(&self, verb: &str, pod: &Pod) -> (Vec<Call>, &Path) {
        let (mut steps, dir) = self.steps();
        if verb == "DEL" {
            steps.reverse();
        }
        (steps.into_iter().map(|(plugin, ifname, conf)| (plugin, pod.attachment(ifname), conf)).collect(), dir)
    }
}

fn flannel() -> Value {
    json!({ "cniVersion": "0.3.1", "name": "flannel-net", "type": "flannel", "delegate": { "isDefaultGateway": true } })
}

/// What flannel makes of the above.
fn bridge() -> Value {
    json!({ "cniVersion": "0.3.1", "name": "flannel-net", "type": "bridge", "mtu": 1450, "ipMasq": false, "isGateway": true,
        "isDefaultGateway": true, "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.244.0.0/17" }]],
        "routes": [{ "dst": super::world::FLANNEL_NETWORK }] } })
}

fn macvlan() -> Value {
    json!({ "cniVersion": "0.3.1", "name": "macvlan-net", "type": "macvlan", "master": super::world::PARENT, "mode": "bridge",
        "ipam": { "type": "host-local", "subnet": "10.99.0.0/16" } })
}

fn meta() -> Vec<u8> {
    let conf = json!({ "cniVersion": "0.3.1", "name": "bench", "type": "multus", "delegates": [flannel(), macvlan()] });
    conf.to_string().into()
}
