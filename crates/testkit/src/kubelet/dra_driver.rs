//! A DRA driver's node part (kubelet's APIs `pluginregistration` v1 and `dra` v1, v1beta1): it prepares any claim and does nothing for it.
//! Which devices there are is published by whoever runs the test, as ResourceSlices.

use std::collections::HashMap;
use std::path::Path;

use prost::Message;

use super::registration::{Info, Registration};
use super::{Reply, Server};

/// A driver.
#[derive(Clone, Debug)]
pub struct DraDriver {
    /// Its name, a DNS name: `spec.driver` of its slices.
    pub name: String,
}

impl DraDriver {
    /// Serves in kubelet's `plugins` and `plugins_registry` directories, which kubelet watches: it comes by itself.
    ///
    /// # Errors
    /// If the sockets cannot be made.
    pub fn start(&self, kubelet_dir: &Path) -> std::io::Result<(Server, Registration)> {
        let dir = kubelet_dir.join("plugins").join(&self.name);
        std::fs::create_dir_all(&dir)?;
        let endpoint = dir.join("dra.sock");
        let driver = Server::start(&endpoint, |method, request| match method.rsplit('/').next() {
            Some("NodePrepareResources" | "NodeUnprepareResources") => {
                let claims = Claims::decode(request).unwrap_or_default().claims;
                // The answer names every claim; one without devices or error is prepared.
                let claims = claims.into_iter().map(|claim| (claim.uid, Empty {})).collect();
                Reply::Message(Prepared { claims }.encode_to_vec())
            }
            _ => Reply::Status(12, "unimplemented"),
        })?;
        let info = Info {
            kind: "DRAPlugin".into(),
            name: self.name.clone(),
            endpoint: endpoint.display().to_string(),
            versions: vec!["v1.DRAPlugin".into(), "v1beta1.DRAPlugin".into()],
        };
        let registry = kubelet_dir.join("plugins_registry").join(format!("{}-reg.sock", self.name));
        Ok((driver, Registration::start(&registry, &info)?))
    }
}

/// `NodePrepareResourcesRequest`, and the one that undoes it.
#[derive(Clone, PartialEq, Message)]
struct Claims {
    #[prost(message, repeated, tag = "1")]
    claims: Vec<Claim>,
}

#[derive(Clone, PartialEq, Message)]
struct Claim {
    #[prost(string, tag = "2")]
    uid: String,
}

/// `NodePrepareResourcesResponse`, and the other.
#[derive(Clone, PartialEq, Message)]
struct Prepared {
    #[prost(map = "string, message", tag = "1")]
    claims: HashMap<String, Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}
