//! Devices of DRA claims (`resource.k8s.io/v1`): which devices the scheduler allocated to the pod's claims, and what their driver says of
//! each in its ResourceSlices. A device is for networks if its driver publishes the attributes below; others (a GPU) are passed over.
//!
//! Owns: the few fields of these objects that count, and the requests for them: one for the pod, one for each claim, one for each driver.

use std::collections::{BTreeMap, BTreeSet};

use attach::cluster::PodId;
use attach::devices::Allocated;
use cni::{Code, Error, Result};
use http::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Api;
use crate::client::DEADLINE;

/// The device, as the network's plugins know it.
const DEVICE_ID: &str = "k8s.cni.cncf.io/deviceID";
/// The resource, as definitions name it in `k8s.v1.cni.cncf.io/resourceName`.
const RESOURCE_NAME: &str = "k8s.cni.cncf.io/resourceName";

/// The devices of the pod's claims by resource.
///
/// # Errors
/// Code 11 if the API server does not answer; 3 if the pod is gone; 999 if a claim is missing or not allocated.
pub(super) fn claimed(api: &Api, id: &PodId, uid: &str) -> Result<Allocated> {
    let path = format!("/api/v1/namespaces/{}/pods/{}", id.namespace, id.name);
    let pod: Option<Pod> = get(api, &format!("get pod {}/{}", id.namespace, id.name), &path)?;
    let pod = pod.filter(|p| p.metadata.uid == uid || !p.has_claims());
    let Some(pod) = pod else {
        let message = format!("pod {}/{} with UID {uid} does not exist any more", id.namespace, id.name);
        return Err(Error::new(Code::UNKNOWN_CONTAINER, message));
    };
    let mut slices = Slices { api, node: &pod.spec.node_name, found: BTreeMap::new(), asked: BTreeSet::new() };
    let mut allocated = Allocated::default();
    for name in pod.claims() {
        for result in claim(api, &id.namespace, name)? {
            let Some(device) = slices.device(&result)? else { continue };
            if let (Some(id), Some(resource)) = (device.attribute(DEVICE_ID), device.attribute(RESOURCE_NAME)) {
                allocated.insert(resource, id);
            }
        }
    }
    // Resources that containers request as if of a device plugin, which the scheduler turned into a claim (KEP 5004).
    if let Some(extended) = &pod.status.extended_resource_claim_status {
        let results = claim(api, &id.namespace, &extended.resource_claim_name)?;
        for mapping in &extended.request_mappings {
            for result in results.iter().filter(|r| r.request == mapping.request_name) {
                if let Some(id) = slices.device(result)?.and_then(|d| d.attribute(DEVICE_ID)) {
                    allocated.insert(&mapping.resource_name, id);
                }
            }
        }
    }
    Ok(allocated)
}

fn get<T: DeserializeOwned>(api: &Api, what: &str, path: &str) -> Result<Option<T>> {
    let request = || Request::get(path).body(Vec::new());
    if let Err(e) = request() {
        return Err(Error::internal(format!("failed to {what}: {e}")));
    }
    api.ask(what, DEADLINE, |client| {
        let request = request().map_err(kube::Error::HttpError);
        async move { client.request(request?).await }
    })
}

/// The devices that a claim has.
fn claim(api: &Api, namespace: &str, name: &str) -> Result<Vec<AllocationResult>> {
    let path = format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims/{name}");
    let claim: Option<Claim> = get(api, &format!("get ResourceClaim {namespace}/{name}"), &path)?;
    let Some(claim) = claim else {
        return Err(Error::internal(format!("the pod's ResourceClaim {namespace}/{name} does not exist any more")));
    };
    match claim.status.allocation {
        Some(allocation) => Ok(allocation.devices.results),
        None => Err(Error::internal(format!(
            "the pod's ResourceClaim {namespace}/{name} has no devices allocated (status.allocation); see its events"
        ))),
    }
}

/// What drivers publish: a driver's slices are asked for once.
struct Slices<'a> {
    api: &'a Api,
    node: &'a str,
    /// By driver, pool and device, with the pool's generation.
    found: BTreeMap<(String, String, String), (i64, Device)>,
    /// `spec.nodeName` and driver.
    asked: BTreeSet<(String, String)>,
}

impl Slices<'_> {
    /// What the driver says of a device; `None` if it does not publish it.
    fn device(&mut self, result: &AllocationResult) -> Result<Option<&Device>> {
        let key = (result.driver.clone(), result.pool.clone(), result.device.clone());
        // Devices of this node; then those that belong to no single node.
        for node in [self.node, ""] {
            if !self.found.contains_key(&key) {
                self.ask(node, &result.driver)?;
            }
        }
        Ok(self.found.get(&key).map(|(_, device)| device))
    }

    fn ask(&mut self, node: &str, driver: &str) -> Result<()> {
        if !self.asked.insert((node.to_owned(), driver.to_owned())) {
            return Ok(());
        }
        let what = format!("list the ResourceSlices of driver {driver}");
        let selector = format!("spec.nodeName%3D{node}%2Cspec.driver%3D{driver}");
        let path = format!("/apis/resource.k8s.io/v1/resourceslices?fieldSelector={selector}");
        let list: List<Slice> = get(self.api, &what, &path)?.unwrap_or_default();
        for Slice { spec } in list.items {
            for device in spec.devices {
                let key = (spec.driver.clone(), spec.pool.name.clone(), device.name.clone());
                // While a driver replaces a pool's slices, those of the older generation do not count.
                if self.found.get(&key).is_none_or(|(generation, _)| *generation < spec.pool.generation) {
                    self.found.insert(key, (spec.pool.generation, device));
                }
            }
        }
        Ok(())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

impl Pod {
    /// The names of its claims: those it names itself, and those that were made for it from a template. (Multus knows the latter only.)
    fn claims(&self) -> impl Iterator<Item = &str> {
        let all = self.spec.resource_claims.iter().chain(&self.status.resource_claim_statuses);
        all.filter_map(|c| c.resource_claim_name.as_deref()).collect::<BTreeSet<_>>().into_iter()
    }

    fn has_claims(&self) -> bool {
        self.claims().next().is_some() || self.status.extended_resource_claim_status.is_some()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
    resource_claims: Vec<PodClaim>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    resource_claim_statuses: Vec<PodClaim>,
    extended_resource_claim_status: Option<ExtendedClaim>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodClaim {
    resource_claim_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtendedClaim {
    resource_claim_name: String,
    #[serde(default)]
    request_mappings: Vec<RequestMapping>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestMapping {
    resource_name: String,
    request_name: String,
}

#[derive(Deserialize)]
struct Claim {
    #[serde(default)]
    status: ClaimStatus,
}

#[derive(Default, Deserialize)]
struct ClaimStatus {
    allocation: Option<Allocation>,
}

#[derive(Deserialize)]
struct Allocation {
    #[serde(default)]
    devices: AllocatedDevices,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AllocatedDevices {
    results: Vec<AllocationResult>,
}

#[derive(Deserialize)]
struct AllocationResult {
    request: String,
    driver: String,
    pool: String,
    device: String,
}

#[derive(Deserialize)]
#[serde(default)]
struct List<T> {
    items: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List { items: Vec::new() }
    }
}

#[derive(Deserialize)]
struct Slice {
    spec: SliceSpec,
}

#[derive(Deserialize)]
struct SliceSpec {
    driver: String,
    pool: Pool,
    #[serde(default)]
    devices: Vec<Device>,
}

#[derive(Deserialize)]
struct Pool {
    name: String,
    #[serde(default)]
    generation: i64,
}

#[derive(Deserialize)]
struct Device {
    name: String,
    #[serde(default)]
    attributes: BTreeMap<String, Attribute>,
}

impl Device {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.string.as_deref().filter(|s| !s.is_empty())
    }
}

/// One of several types; only text counts here.
#[derive(Deserialize)]
struct Attribute {
    string: Option<String>,
}
