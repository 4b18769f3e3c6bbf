//! The devices of pods: what kubelet allocated, and what DRA claims have.
//!
//! Owns: who is asked. Kubelet's podresources socket first; its checkpoint file where the socket is missing or does not answer; the API
//! server for claims whose driver names a resource for networks.

mod checkpoint;
mod dra;
mod grpc;
mod podresources;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use attach::cluster::PodId;
use attach::devices::{Allocated, Devices};
use cni::{Code, Error, Result};

use crate::Api;

/// How long kubelet may take, all tries together.
const DEADLINE: Duration = Duration::from_secs(10);

/// The kubelet of this node.
pub struct Kubelet {
    api: Rc<Api>,
    dir: PathBuf,
}

impl Kubelet {
    /// The kubelet whose directory is `dir` (`/var/lib/kubelet`). Nothing is opened yet.
    #[must_use]
    pub fn new(api: Rc<Api>, dir: impl Into<PathBuf>) -> Self {
        Kubelet { api, dir: dir.into() }
    }
}

impl Devices for Kubelet {
    fn allocated(&self, pod: &PodId, uid: &str) -> Result<Allocated> {
        let socket = self.dir.join("pod-resources/kubelet.sock");
        let asked = self.api.session()?.runtime.block_on(podresources::allocated(&socket, pod, DEADLINE));
        let failure = match asked {
            Ok(allocated) => return Ok(allocated),
            Err(failure) => failure,
        };
        let context = |e: Error| {
            e.context(format!("failed to ask kubelet for the devices of pod {}/{}", pod.namespace, pod.name))
        };
        let told = format!("socket {}: {}", socket.display(), failure.message);
        if !failure.away {
            return Err(context(Error::internal(told)));
        }
        let file = self.dir.join("device-plugins/kubelet_internal_checkpoint");
        match checkpoint::allocated(&file, uid) {
            Ok(Some(allocated)) => {
                tracing::info!("devices of pod {}/{} from {}, since {told}", pod.namespace, pod.name, file.display());
                Ok(allocated)
            }
            other => {
                let why = other.err().map_or_else(|| format!("{} is not there either", file.display()), |e| e.message);
                Err(context(Error::new(
                    Code::TRY_AGAIN,
                    format!(
                        "{told}; {why}; see whether kubelet runs, and whether its directory is {} (key \"kubeletDir\")",
                        self.dir.display()
                    ),
                )))
            }
        }
    }

    fn claimed(&self, pod: &PodId, uid: &str) -> Result<Allocated> {
        dra::claimed(&self.api, pod, uid)
    }
}

#[cfg(test)]
mod tests;
