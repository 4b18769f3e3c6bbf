//! The demo's world: inside a mount and a network namespace of our own, a host with eth0, and another machine on eth0's network.
//!
//! Everything hangs on the process's namespaces: when the last process in them ends, however it ends, the kernel removes it all.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::shell::sh;

/// Name of the host's namespace (this process's own) and of the other machine's.
pub(crate) const HOST: &str = "host";
pub(crate) const OUTSIDE: &str = "outside";

/// Folders in which state is kept; each is a private, empty one here.
pub(crate) const STATE: &[&str] = &["/run", "/var/lib"];

/// flanneld's note to the flannel plugin, as flanneld writes it for the article's node.
const SUBNET_ENV: &str =
    "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

/// Covers the state folders with empty ones. The caller's mount namespace must be its own.
///
/// # Errors
/// If a mount fails.
pub(crate) fn private_state() -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("make mounts private")?;
    for folder in STATE {
        mount("tmpfs", *folder, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)
            .with_context(|| format!("cover {folder}"))?;
    }
    Ok(())
}

/// Makes the host and the outside machine.
///
/// # Errors
/// With the command that failed.
pub(crate) fn make() -> Result<()> {
    private_state()?;
    std::fs::create_dir_all("/run/flannel")?;
    std::fs::write("/run/flannel/subnet.env", SUBNET_ENV)?;
    sh(&format!("ip netns attach {HOST} {}", std::process::id()))?;
    sh(&format!("ip netns add {OUTSIDE}"))?;
    sh("ip link set lo up")?;
    sh(&format!("ip link add eth0 type veth peer name eth0 netns {OUTSIDE}"))?;
    // A link-local address would come by itself a while later, between two looks at what there is.
    sh("ip link set eth0 addrgenmode none")?;
    sh("ip addr add 192.168.122.10/24 dev eth0")?;
    sh("ip link set eth0 up")?;
    for command in ["link set lo up", "addr add 192.168.122.1/24 dev eth0", "link set eth0 up"] {
        sh(&format!("ip -n {OUTSIDE} {command}"))?;
    }
    sh("ip route add default via 192.168.122.1")?;
    Ok(())
}

/// Makes a pod's network namespace, as a runtime does before it calls CNI.
///
/// # Errors
/// With the command that failed.
pub(crate) fn add_pod(name: &str) -> Result<()> {
    sh(&format!("ip netns add {name}"))?;
    Ok(())
}

/// Removes it, as a runtime does after DEL.
///
/// # Errors
/// With the command that failed.
pub(crate) fn remove_pod(name: &str) -> Result<()> {
    sh(&format!("ip netns del {name}"))?;
    Ok(())
}

/// Identities of the network namespaces that exist here, as lsns and /proc show them.
///
/// # Errors
/// If one cannot be looked at.
pub(crate) fn namespaces() -> Result<Vec<u64>> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new("/run/netns"))? {
        found.push(std::fs::metadata(entry?.path())?.ino());
    }
    Ok(found)
}
