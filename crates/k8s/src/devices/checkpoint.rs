//! Kubelet's checkpoint of device plugins' devices: what it reads when it starts, and our second source while it does not answer.
//!
//! The file knows pods by their UID, and nothing of DRA claims. Kubelet replaces it whole.

use std::collections::BTreeMap;
use std::path::Path;

use attach::devices::Allocated;
use cni::{Code, Error, Result, file};
use serde::Deserialize;

/// A file larger than this is no checkpoint.
const MAX_SIZE: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checkpoint {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    /// `null` where no pod has a device.
    pod_device_entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "PodUID")]
    uid: String,
    #[serde(rename = "ResourceName")]
    resource: String,
    #[serde(rename = "DeviceIDs")]
    devices: Option<Ids>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    /// By NUMA node, since Kubernetes 1.20.
    ByNode(BTreeMap<String, Vec<String>>),
    /// Before.
    Flat(Vec<String>),
}

/// The devices of the pod with this UID; `None` if there is no such file.
///
/// # Errors
/// Code 5 if it cannot be read, 6 if it is no checkpoint.
pub(super) fn allocated(path: &Path, uid: &str) -> Result<Option<Allocated>> {
    let Some(bytes) = file::read(path, MAX_SIZE)? else { return Ok(None) };
    let checkpoint: Checkpoint = serde_json::from_slice(&bytes)
        .map_err(|e| Error::new(Code::DECODE, format!("{} is no checkpoint of kubelet: {e}", path.display())))?;
    let mut allocated = Allocated::default();
    for entry in checkpoint.data.pod_device_entries.unwrap_or_default().into_iter().filter(|e| e.uid == uid) {
        let devices = match entry.devices {
            Some(Ids::ByNode(nodes)) => nodes.into_values().flatten().collect(),
            Some(Ids::Flat(devices)) => devices,
            None => Vec::new(),
        };
        devices.into_iter().for_each(|id| allocated.insert(&entry.resource, id));
    }
    Ok(Some(allocated))
}
