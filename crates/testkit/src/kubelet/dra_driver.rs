//! A DRA driver's node part (kubelet's APIs `pluginregistration` v1 and `dra` v1, v1beta1): it prepares any claim and does nothing for it.
//! Which devices there are is published by whoever runs the test, as ResourceSlices.

use std::collections::HashMap;
use std::path::Path;

use prost::Message;

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
    pub fn start(&self, kubelet_dir: &Path) -> std::io::Result<[Server; 2]> {
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
        let info = PluginInfo {
            kind: "DRAPlugin".into(),
            name: self.name.clone(),
            endpoint: endpoint.display().to_string(),
            versions: vec!["v1.DRAPlugin".into(), "v1beta1.DRAPlugin".into()],
        };
        let info = info.encode_to_vec();
        let registry = kubelet_dir.join("plugins_registry").join(format!("{}-reg.sock", self.name));
        let registration = Server::start(registry, move |method, request| match method {
            "/pluginregistration.Registration/GetInfo" => Reply::Message(info.clone()),
            "/pluginregistration.Registration/NotifyRegistrationStatus" => {
                let status = RegistrationStatus::decode(request).unwrap_or_default();
                eprintln!("registered: {} {}", status.registered, status.error);
                Reply::Message(Vec::new())
            }
            _ => Reply::Status(12, "unimplemented"),
        })?;
        Ok([driver, registration])
    }
}

#[derive(Clone, PartialEq, Message)]
struct PluginInfo {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    endpoint: String,
    #[prost(string, repeated, tag = "4")]
    versions: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct RegistrationStatus {
    #[prost(bool, tag = "1")]
    registered: bool,
    #[prost(string, tag = "2")]
    error: String,
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
