//! The objects that tests make, as the JSON that kubectl takes.

use serde_json::{Value, json};

/// A pod to be: a web server with a shell, as the suite's images have it.
#[derive(Clone, Debug)]
pub struct Pod {
    name: String,
    annotations: serde_json::Map<String, Value>,
    node: Option<String>,
    host_port: Option<u16>,
}

impl Pod {
    /// A pod of that name.
    #[must_use]
    pub fn new(name: &str) -> Pod {
        Pod { name: name.to_owned(), annotations: serde_json::Map::new(), node: None, host_port: None }
    }

    /// With `k8s.v1.cni.cncf.io/networks`.
    #[must_use]
    pub fn networks(self, value: &str) -> Pod {
        self.annotation("k8s.v1.cni.cncf.io/networks", value)
    }

    /// With an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Pod {
        self.annotations.insert(key.to_owned(), json!(value));
        self
    }

    /// On that node.
    #[must_use]
    pub fn on(mut self, node: &str) -> Pod {
        self.node = Some(node.to_owned());
        self
    }

    /// Port 80 is also the node's port.
    #[must_use]
    pub fn host_port(mut self, port: u16) -> Pod {
        self.host_port = Some(port);
        self
    }

    /// `metadata` without a name, and `spec`: what a controller's template has.
    #[must_use]
    pub fn template(&self, labels: &Value) -> Value {
        let mut port = json!({"containerPort": 80});
        if let Some(host) = self.host_port {
            port["hostPort"] = json!(host);
        }
        let mut spec = json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "nginx", "image": "nginx", "imagePullPolicy": "IfNotPresent", "ports": [port]}],
        });
        if let Some(node) = &self.node {
            spec["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        }
        json!({"metadata": {"labels": labels, "annotations": self.annotations}, "spec": spec})
    }

    /// The pod's manifest.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let mut pod = self.template(&json!({"app": self.name}));
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!(self.name);
        pod
    }
}

/// A NetworkAttachmentDefinition.
#[must_use]
pub fn definition(name: &str, config: &Value) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": name},
        "spec": {"config": config.to_string()},
    })
}
