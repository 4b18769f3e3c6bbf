//! Kubelet's podresources API (v1): the devices of a pod over a Unix socket of the node.
//!
//! Owns: the messages, as far as we look at them, and which method is asked.

use std::path::Path;
use std::time::Duration;

use attach::cluster::PodId;
use attach::devices::Allocated;
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};

use super::grpc::{Channel, Status, code};

/// Kubelet lets 100 calls a second pass, 10 at once (`podresources.DefaultQPS`, `DefaultBurstTokens`), of all its clients together.
const PAUSE: Duration = Duration::from_millis(20);

/// Kubelet did not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// It is not there, or does not answer: another source may know.
    pub(super) away: bool,
    pub(super) message: String,
}

/// The devices of a pod.
pub(super) async fn allocated(socket: &Path, pod: &PodId, deadline: Duration) -> Result<Allocated, Failure> {
    let end = Instant::now() + deadline;
    loop {
        let status = match timeout_at(end, ask(socket, pod)).await {
            Ok(Ok(allocated)) => return Ok(allocated),
            Ok(Err(status)) => status,
            Err(_) => {
                let message = format!("no answer within {} s", deadline.as_secs());
                return Err(Failure { away: true, message });
            }
        };
        let busy = status.code == code::RESOURCE_EXHAUSTED;
        if !busy || Instant::now() + PAUSE >= end {
            return Err(Failure { away: busy || status.code == code::UNAVAILABLE, message: status.message });
        }
        sleep(PAUSE).await;
    }
}

async fn ask(socket: &Path, pod: &PodId) -> Result<Allocated, Status> {
    let mut kubelet = Channel::connect(socket).await?;
    let request = GetRequest { name: pod.name.clone(), namespace: pod.namespace.clone() };
    match kubelet.unary::<GetResponse>("/v1.PodResourcesLister/Get", &request).await {
        Ok(GetResponse { pod: Some(found) }) => return Ok(found.allocated()),
        // Kubelet before 1.34 has the method switched off, and says so with the code of any failure.
        Err(status) if [code::UNAVAILABLE, code::RESOURCE_EXHAUSTED].contains(&status.code) => return Err(status),
        Ok(GetResponse { pod: None }) | Err(_) => {}
    }
    let ListResponse { pods } = kubelet.unary("/v1.PodResourcesLister/List", &ListRequest {}).await?;
    // A pod without devices may be left out.
    Ok(pods
        .iter()
        .find(|p| p.name == pod.name && p.namespace == pod.namespace)
        .map(PodResources::allocated)
        .unwrap_or_default())
}

impl PodResources {
    /// Devices of device plugins under the resource's name, those of DRA claims under the claim's. A claim's device is known by the CDI
    /// name that its driver made (`vendor/class=device`), of which Multus 4.3 takes what stands behind the `=`.
    fn allocated(&self) -> Allocated {
        let mut allocated = Allocated::default();
        for container in &self.containers {
            for devices in &container.devices {
                devices.ids.iter().for_each(|id| allocated.insert(&devices.resource, id));
            }
            for claim in &container.claims {
                for cdi in claim.resources.iter().flat_map(|r| &r.cdi_devices) {
                    match cdi.name.split_once('=') {
                        Some((_, device)) if !device.is_empty() => allocated.insert(&claim.name, device),
                        _ => tracing::warn!(
                            "claim {}: \"{}\" is no CDI device name (vendor/class=device)",
                            claim.name,
                            cdi.name
                        ),
                    }
                }
            }
        }
        allocated
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) pod: Option<PodResources>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListRequest {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) pods: Vec<PodResources>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodResources {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) containers: Vec<ContainerResources>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerResources {
    #[prost(message, repeated, tag = "2")]
    pub(super) devices: Vec<ContainerDevices>,
    #[prost(message, repeated, tag = "5")]
    pub(super) claims: Vec<DynamicResource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerDevices {
    #[prost(string, tag = "1")]
    pub(super) resource: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) ids: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DynamicResource {
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) resources: Vec<ClaimResource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClaimResource {
    #[prost(message, repeated, tag = "1")]
    pub(super) cdi_devices: Vec<CdiDevice>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CdiDevice {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}
