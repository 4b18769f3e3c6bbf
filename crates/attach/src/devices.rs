//! Devices of networks: a definition that names a resource gets one of the pod's devices of it.
//!
//! Owns: which network gets which device. Who allocated the devices, and how to ask for them, is behind [`Devices`]; the files that
//! describe a device are [`info`]'s.

pub mod info;

use std::collections::{BTreeMap, BTreeSet};

use cni::{Error, Result};

use crate::Config;
use crate::cluster::PodId;
use crate::plan::Network;
use crate::pod::definition;

/// The devices of a pod, by the name of their resource, each once.
///
/// Kubelet keeps no order of its own (it answers from a hash table, every time another way), so the devices of a resource are in byte order
/// of their IDs, whatever container of the pod they were allocated to: the same at every ADD, and the order that Multus gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocated(BTreeMap<String, BTreeSet<String>>);

impl Allocated {
    /// Adds a device.
    pub fn insert(&mut self, resource: impl Into<String>, device: impl Into<String>) {
        self.0.entry(resource.into()).or_default().insert(device.into());
    }

    /// Adds all of another pod's answer: the same pod, asked elsewhere.
    pub fn extend(&mut self, other: Allocated) {
        for (resource, devices) in other.0 {
            self.0.entry(resource).or_default().extend(devices);
        }
    }

    /// The devices of a resource, in their order.
    pub fn of(&self, resource: &str) -> impl Iterator<Item = &str> {
        self.0.get(resource).into_iter().flatten().map(String::as_str)
    }

    fn resources(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Who knows the devices of pods. Every call has a deadline; transient failures have been retried before an error comes back.
pub trait Devices {
    /// What kubelet allocated to the containers of a pod: by device plugins, under the resource's name, and by DRA claims, under the
    /// claim's name. `uid` is the one that kubelet knows the pod by.
    ///
    /// # Errors
    /// Code 11 if kubelet does not answer, 999 for what will not get better by waiting.
    fn allocated(&self, pod: &PodId, uid: &str) -> Result<Allocated>;

    /// The devices of the pod's DRA claims, under the resource that their driver names for networks. It costs several requests to the API
    /// server, so it is asked only for a resource that kubelet does not know.
    ///
    /// # Errors
    /// As [`Devices::allocated`].
    fn claimed(&self, pod: &PodId, uid: &str) -> Result<Allocated>;
}

/// No kubelet: networks cannot have devices.
#[derive(Clone, Copy, Debug)]
pub struct NoDevices;

impl Devices for NoDevices {
    fn allocated(&self, _: &PodId, _: &str) -> Result<Allocated> {
        Err(Error::config("devices of pods are known only where kubelet runs"))
    }

    fn claimed(&self, pod: &PodId, uid: &str) -> Result<Allocated> {
        self.allocated(pod, uid)
    }
}

/// A device that is given to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The resource, as the definition's annotation `k8s.v1.cni.cncf.io/resourceName` has it.
    pub resource: String,
    /// The device, as its plugin or driver calls it: a PCI address, most often.
    pub id: String,
}

/// Gives the devices of one pod to its networks: all of them, wherever they come from, ask the same allocator, so no device is given twice.
pub struct Allocator<'a> {
    devices: &'a dyn Devices,
    pod: &'a PodId,
    uid: &'a str,
    known: Option<Allocated>,
    /// The claims were asked for, too.
    claims: bool,
    taken: BTreeMap<String, usize>,
}

impl<'a> Allocator<'a> {
    /// Nothing is asked before the first network with a resource.
    #[must_use]
    pub fn new(devices: &'a dyn Devices, pod: &'a PodId, uid: &'a str) -> Self {
        Allocator { devices, pod, uid, known: None, claims: false, taken: BTreeMap::new() }
    }

    /// The next device of a resource: the n-th network that asks gets device number n. `None` if there are no more, or none at all.
    ///
    /// # Errors
    /// If the pod's devices cannot be told.
    pub fn take(&mut self, resource: &str) -> Result<Option<String>> {
        let known = match &mut self.known {
            Some(known) => known,
            unknown => unknown.insert(self.devices.allocated(self.pod, self.uid)?),
        };
        if !self.claims && known.of(resource).next().is_none() {
            known.extend(self.devices.claimed(self.pod, self.uid)?);
            self.claims = true;
        }
        let taken = self.taken.entry(resource.to_owned()).or_default();
        let device = known.of(resource).nth(*taken).map(str::to_owned);
        *taken += usize::from(device.is_some());
        Ok(device)
    }

    /// Why there is no (more) device of a resource, and what to do.
    fn missing(&self, resource: &str) -> Error {
        let taken = self.taken.get(resource).copied().unwrap_or_default();
        if taken > 0 {
            return Error::config(format!(
                "no device of resource \"{resource}\" is left: the pod has {taken}, and its other networks have them; \
                 request {} in a container's resources, or take a network out of the annotation",
                taken + 1
            ));
        }
        let has: Vec<&str> = self.known.iter().flat_map(Allocated::resources).collect();
        let has = if has.is_empty() { "no devices".to_owned() } else { format!("devices of {}", has.join(", ")) };
        Error::config(format!(
            "no device of resource \"{resource}\" is allocated to the pod (it has {has}): request one in a container's resources (or by a \
             ResourceClaim whose driver publishes the attribute k8s.cni.cncf.io/resourceName), or correct the definition's annotation \
             k8s.v1.cni.cncf.io/resourceName"
        ))
    }
}

/// Gives every network whose definition names a resource its device: written into its plugins' configuration and its capability arguments.
///
/// # Errors
/// Names the network and the resource.
pub(crate) fn assign(config: &Config, networks: &mut [Network], allocator: &mut Allocator<'_>) -> Result<()> {
    for network in networks {
        let Some(resource) = network.resource_name.as_deref().filter(|r| !r.is_empty()) else { continue };
        let context = |e: Error| e.context(format!("network \"{}\"", network.list.name));
        let Some(id) = allocator.take(resource).map_err(context)? else {
            let missing = context(allocator.missing(resource));
            if config.missing_device_is_error {
                return Err(missing);
            }
            tracing::warn!("{missing}: attached without (key \"missingDevice\")");
            continue;
        };
        network.list = definition::with_device(&network.list, &id).map_err(context)?;
        network.request.device = Some(Device { resource: resource.to_owned(), id });
    }
    Ok(())
}
