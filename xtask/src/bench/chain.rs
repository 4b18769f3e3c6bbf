//! What is compared: ways to attach one pod to flannel and macvlan, each with the same configuration of the two networks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use netlink::Netns;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::{Value, json};
use testkit::Namespace;

use super::floor::Floor;
use super::world::Share;
use crate::runtime::{self, Attachment};

/// One way, on a bridge, a subnet and host-local directories of its own: on a node there is one implementation, and none finds at every call that
/// another has changed the files that it knows.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// In tables.
    pub(crate) name: &'static str,
    /// Its part of the world.
    pub(crate) share: Share,
    /// How.
    pub(crate) kind: Kind,
}

/// How a pod is attached.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// By the kernel's part alone.
    Floor,
    /// By a meta-plugin (`multus`, ours or the original) in this directory, with both networks as static delegates.
    Meta(PathBuf),
    /// By the Go plugins in this directory, executed one after the other, without any meta-plugin.
    InOrder(PathBuf),
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

    /// The end of the pod, and of what it still has.
    ///
    /// # Errors
    /// If its file cannot be removed.
    pub(crate) fn remove(self) -> Result<()> {
        let failed = || format!("cannot remove {}", self.netns.display());
        unmount(&self.netns, UnmountFlags::DETACH).with_context(failed)?;
        std::fs::remove_file(&self.netns).with_context(failed)
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
    /// The calls that make up an ADD, with the directory of their plugins; none for the floor, which is not a process.
    fn steps(&self) -> (Vec<Step>, &Path) {
        let share = &self.share;
        match &self.kind {
            Kind::Floor => (Vec::new(), Path::new("")),
            Kind::Meta(dir) => (vec![("multus", "eth0", meta(share))], dir),
            Kind::InOrder(dir) if dir.join("flannel").exists() => (
                vec![
                    ("flannel", "eth0", flannel(share).to_string().into()),
                    ("macvlan", "net1", macvlan(share).to_string().into()),
                ],
                dir,
            ),
            // Debian's package has no flannel: its work is then the harness's, which is to the package's advantage.
            Kind::InOrder(dir) => (
                vec![
                    ("bridge", "eth0", bridge(share).to_string().into()),
                    ("macvlan", "net1", macvlan(share).to_string().into()),
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
        if matches!(self.kind, Kind::Floor) {
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
        if matches!(self.kind, Kind::Floor) { floor.del(&Netns::open(&pod.netns)?) } else { self.call("DEL", pod) }
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

fn flannel(share: &Share) -> Value {
    json!({ "cniVersion": "0.3.1", "name": share.name("flannel"), "type": "flannel", "subnetFile": share.subnet_file(),
        "delegate": { "isDefaultGateway": true, "bridge": share.bridge() } })
}

/// What flannel makes of the above.
fn bridge(share: &Share) -> Value {
    json!({ "cniVersion": "0.3.1", "name": share.name("flannel"), "type": "bridge", "mtu": 1450, "ipMasq": false, "isGateway": true,
        "isDefaultGateway": true, "bridge": share.bridge(), "ipam": { "type": "host-local",
        "ranges": [[{ "subnet": share.flannel_subnet() }]], "routes": [{ "dst": share.flannel_network() }] } })
}

fn macvlan(share: &Share) -> Value {
    json!({ "cniVersion": "0.3.1", "name": share.name("macvlan"), "type": "macvlan", "master": super::world::PARENT, "mode": "bridge",
        "ipam": { "type": "host-local", "subnet": share.macvlan_network() } })
}

fn meta(share: &Share) -> Vec<u8> {
    let delegates = [flannel(share), macvlan(share)];
    let conf = json!({ "cniVersion": "0.3.1", "name": "bench", "type": "multus", "delegates": delegates });
    conf.to_string().into()
}
