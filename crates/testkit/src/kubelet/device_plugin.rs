//! A device plugin (kubelet's API v1beta1) with devices that are only names.

use std::path::{Path, PathBuf};

use prost::Message;

use super::{Reply, Server, call};

/// Devices of one resource.
#[derive(Clone, Debug)]
pub struct DevicePlugin {
    /// The resource, with its domain.
    pub resource: String,
    /// The devices' IDs.
    pub devices: Vec<String>,
}

impl DevicePlugin {
    /// Serves in kubelet's `device-plugins` directory and registers there. To be repeated whenever kubelet starts: it empties the directory.
    ///
    /// # Errors
    /// If there is no such directory, or kubelet does not take the plugin.
    pub async fn register(&self, kubelet_dir: &Path) -> Result<Server, String> {
        let dir = kubelet_dir.join("device-plugins");
        let endpoint = format!("{}.sock", self.resource.replace('/', "-"));
        let devices = self.devices.iter().map(|id| Device { id: id.clone(), health: "Healthy".into() }).collect();
        let list = ListAndWatchResponse { devices }.encode_to_vec();
        let server = Server::start(dir.join(&endpoint), move |method, request| match method {
            "/v1beta1.DevicePlugin/GetDevicePluginOptions" => Reply::Message(Vec::new()),
            "/v1beta1.DevicePlugin/ListAndWatch" => Reply::Watch(list.clone()),
            "/v1beta1.DevicePlugin/Allocate" => {
                // Nothing is mounted and nothing set: one empty answer for each container.
                let containers = AllocateRequest::decode(request).map(|r| r.containers.len()).unwrap_or_default();
                Reply::Message(AllocateResponse { containers: vec![Empty {}; containers] }.encode_to_vec())
            }
            _ => Reply::Status(12, "unimplemented"),
        });
        let server = server.map_err(|e| format!("{}: {e}", dir.join(&endpoint).display()))?;
        let request = RegisterRequest { version: "v1beta1".into(), endpoint, resource: self.resource.clone() };
        call(&dir.join("kubelet.sock"), "/v1beta1.Registration/Register", &request.encode_to_vec()).await?;
        Ok(server)
    }

    /// Publishes a device information file for each device, as device plugins for network cards do. `dir` is
    /// `/var/run/k8s.cni.cncf.io/devinfo`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn publish(&self, dir: &Path) -> std::io::Result<Vec<PathBuf>> {
        let dir = dir.join("dp");
        std::fs::create_dir_all(&dir)?;
        let publish = |id: &String| {
            let path = dir.join(format!("{}-{id}-device.json", self.resource).replace('/', "-"));
            let info = serde_json::json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": id}});
            std::fs::write(&path, info.to_string()).map(|()| path)
        };
        self.devices.iter().map(publish).collect()
    }
}

#[derive(Clone, PartialEq, Message)]
struct RegisterRequest {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    endpoint: String,
    #[prost(string, tag = "3")]
    resource: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListAndWatchResponse {
    #[prost(message, repeated, tag = "1")]
    devices: Vec<Device>,
}

#[derive(Clone, PartialEq, Message)]
struct Device {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    health: String,
}

#[derive(Clone, PartialEq, Message)]
struct AllocateRequest {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct AllocateResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}
