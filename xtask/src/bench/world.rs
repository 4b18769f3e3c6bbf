//! Where the benchmark runs: namespaces of its own, with state folders on the real disk, a parent interface and flannel's file.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

use super::chain::NETNS;
use crate::shell::sh;

/// Names of the host's links.
pub(crate) const BRIDGE: &str = "cni0";
pub(crate) const PARENT: &str = "eth0";
/// The flannel network and the bridge's address in it.
pub(crate) const FLANNEL_NETWORK: &str = "10.244.0.0/16";
pub(crate) const GATEWAY: &str = "10.244.0.1";
/// First addresses of the floor's pods: 10.244.64.0 and 10.99.128.0, far from where host-local begins.
pub(crate) const FLOOR_FLANNEL: u32 = 0x0af4_4000;
pub(crate) const FLOOR_MACVLAN: u32 = 0x0a63_8000;

/// Makes it. The caller's mount and network namespaces must be its own. `state` is a folder on a real disk.
///
/// # Errors
/// With the step that failed.
pub(crate) fn make(state: &Path) -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("make mounts private")?;
    for folder in ["/run", "/var/lib"] {
        let ours = state.join(folder.trim_start_matches('/').replace('/', "-"));
        std::fs::create_dir_all(&ours).with_context(|| format!("cannot make {}", ours.display()))?;
        mount_bind(&ours, folder).with_context(|| format!("cover {folder}"))?;
    }
    std::fs::create_dir_all("/run/flannel")?;
    std::fs::create_dir_all(NETNS)?;
    let subnet = format!(
        "FLANNEL_NETWORK={FLANNEL_NETWORK}\nFLANNEL_SUBNET={GATEWAY}/17\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
    );
    std::fs::write("/run/flannel/subnet.env", subnet)?;
    sh("ip link set lo up")?;
    // The wire to the parent's network ends in nobody's namespace but ours: nothing answers, nothing is needed.
    sh(&format!("ip link add {PARENT} type veth peer name wire"))?;
    sh(&format!("ip link set {PARENT} up"))?;
    sh("ip link set wire up")?;
    Ok(())
}
