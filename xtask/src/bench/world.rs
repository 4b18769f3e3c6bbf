//! Where the benchmark runs: namespaces of its own, with a disk, a parent interface, and each chain's share of it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

use super::chain::NETNS;
use crate::shell::{capture, sh};

/// Of the disk, in bytes; most of it is never written.
const DISK_SIZE: u64 = 4 << 30;

/// The host's interface to the network of the macvlans.
pub(crate) const PARENT: &str = "eth0";

/// What one of the chains has for itself, by its number (below 50).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share(pub(crate) u8);

impl Share {
    /// The name of its network of this kind.
    pub(crate) fn name(self, kind: &str) -> String {
        format!("{kind}-{}", self.0)
    }

    /// Its bridge.
    pub(crate) fn bridge(self) -> String {
        format!("cni{}", self.0)
    }

    /// The file in which flannel's daemon would say what follows.
    pub(crate) fn subnet_file(self) -> String {
        format!("/run/flannel/subnet-{}.env", self.0)
    }

    /// The flannel network of all nodes.
    pub(crate) fn flannel_network(self) -> String {
        format!("10.{}.0.0/16", 200 + self.0)
    }

    /// This node's part of it.
    pub(crate) fn flannel_subnet(self) -> String {
        format!("10.{}.0.0/17", 200 + self.0)
    }

    /// The bridge's address in it.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 200 + self.0, 0, 1)
    }

    /// The network of its macvlans.
    pub(crate) fn macvlan_network(self) -> String {
        format!("10.{}.0.0/16", 100 + self.0)
    }

    /// Writes its file.
    ///
    /// # Errors
    /// Naming the file.
    pub(crate) fn write(self) -> Result<()> {
        let (network, gateway, file) = (self.flannel_network(), self.gateway(), self.subnet_file());
        let subnet =
            format!("FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={gateway}/17\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n");
        std::fs::write(&file, subnet).with_context(|| format!("cannot write {file}"))
    }
}
/// A disk as a node has it: ext4 as `mkfs.ext4` makes it, with a journal, in a file in `folder`. New for each run, so that it does not matter what
/// happened on the machine's own before: ext4 without a journal looks, for each file that it creates, at all inodes that were deleted in the last minutes
/// (fs/ext4/ialloc.c, recently_deleted), and takes three times as long after some hundred pods.
///
/// # Errors
/// If it cannot be made.
pub(crate) fn disk(folder: &Path) -> Result<PathBuf> {
    let disk = folder.join("disk");
    std::fs::File::create(&disk)
        .and_then(|file| file.set_len(DISK_SIZE))
        .with_context(|| format!("cannot make {}", disk.display()))?;
    capture(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk))?;
    Ok(disk)
}

/// Makes the world. The caller's mount and network namespaces must be its own.
///
/// # Errors
/// With the step that failed.
pub(crate) fn make(disk: &Path, state: &Path) -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("make mounts private")?;
    capture(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(disk).arg(state))?;
    for folder in ["/run", "/var/lib"] {
        let ours = state.join(folder.trim_start_matches('/').replace('/', "-"));
        std::fs::create_dir_all(&ours).with_context(|| format!("cannot make {}", ours.display()))?;
        mount_bind(&ours, folder).with_context(|| format!("cover {folder}"))?;
    }
    std::fs::create_dir_all("/run/flannel")?;
    std::fs::create_dir_all(NETNS)?;
    sh("ip link set lo up")?;
    // The wire to the parent's network ends in nobody's namespace but ours: nothing answers, nothing is needed.
    sh(&format!("ip link add {PARENT} type veth peer name wire"))?;
    sh(&format!("ip link set {PARENT} up"))?;
    sh("ip link set wire up")?;
    Ok(())
}
