//! The API server: one client and one runtime for all tests, with calls that wait.

use std::future::Future;
use std::sync::OnceLock;

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::runtime::Runtime;

/// A client and what drives it.
pub(crate) struct Server {
    client: Client,
    runtime: Runtime,
}

/// The cluster of KUBECONFIG.
///
/// # Panics
/// If it is not usable.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let client = runtime.block_on(Client::try_default()).expect("a kubeconfig that works");
        Server { client, runtime }
    })
}

impl Server {
    fn wait<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
        self.runtime.block_on(call).map_err(|e| e.to_string())
    }

    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, String> {
        self.wait(Api::<Pod>::namespaced(self.client.clone(), namespace).get_opt(name))
    }

    pub(crate) fn pods(&self, namespace: &str) -> Result<Vec<Pod>, String> {
        let list = self.wait(Api::<Pod>::namespaced(self.client.clone(), namespace).list(&ListParams::default()))?;
        Ok(list.items)
    }

    pub(crate) fn events(&self, namespace: &str) -> Result<Vec<Event>, String> {
        let list = self.wait(Api::<Event>::namespaced(self.client.clone(), namespace).list(&ListParams::default()))?;
        Ok(list.items)
    }

    pub(crate) fn node_names(&self) -> Result<Vec<String>, String> {
        let list = self.wait(Api::<Node>::all(self.client.clone()).list(&ListParams::default()))?;
        Ok(list.items.iter().map(ResourceExt::name_any).collect())
    }
}
