//! The client behind [`Cluster`]: one connection, opened when the first question is asked.
//!
//! A DEL that has its record asks nothing, so it must not even read a credential.

use std::cell::OnceCell;
use std::time::Duration;

use attach::cluster::{Cluster, Definition, Event, Pod, PodId};
use cni::{Code, Error, Result};
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Event as ApiEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{GetParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::access::Access;
use crate::remedy::Given;
use crate::retry::{Failure, Verdict, until};
use crate::{Credentials, connection, event, object};

/// How long one question may take, all tries together. Kubelet gives a sandbox 2 minutes (its `runtimeRequestTimeout`).
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How long an event may take: nothing waits for it but the end of the call.
const EVENT_DEADLINE: Duration = Duration::from_secs(2);
/// The annotation that names a network's device resource.
const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";
/// The annotation that the result is written to.
const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// The API server.
pub struct Api {
    credentials: Credentials,
    /// The node's name, for events; may be empty.
    node: String,
    session: OnceCell<Session>,
}

pub(crate) struct Session {
    pub(crate) runtime: Runtime,
    client: Client,
    given: Given,
}

impl Api {
    /// Nothing is opened or read yet.
    #[must_use]
    pub fn new(credentials: Credentials, node: impl Into<String>) -> Self {
        Api { credentials, node: node.into(), session: OnceCell::new() }
    }

    pub(crate) fn session(&self) -> Result<&Session> {
        if let Some(session) = self.session.get() {
            return Ok(session);
        }
        let session = self.connect()?;
        Ok(self.session.get_or_init(|| session))
    }

    fn connect(&self) -> Result<Session> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|e| Error::internal(format!("failed to start the Kubernetes client: {e}")))?;
        let access = Access::new(&self.credentials)?;
        let given = access.given.clone();
        // kube's client starts a task of its own.
        let client = runtime.block_on(async { connection::client(access) })?;
        Ok(Session { runtime, client, given })
    }

    /// Asks with retries; `None` if the object is not there.
    pub(crate) fn ask<T, F>(
        &self,
        what: &str,
        deadline: Duration,
        mut request: impl FnMut(Client) -> F,
    ) -> Result<Option<T>>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let session = self.session()?;
        let asked = session.runtime.block_on(until(Instant::now() + deadline, || request(session.client.clone())));
        answer(asked, what, deadline, &session.given)
    }
}

/// `None` if the object is not there.
fn answer<T>(asked: Result<T, Failure>, what: &str, deadline: Duration, given: &Given) -> Result<Option<T>> {
    match asked {
        Ok(value) => Ok(Some(value)),
        Err(Failure { verdict: Verdict::Missing, .. }) => Ok(None),
        Err(Failure { verdict: Verdict::Transient, message, tries }) => Err(Error::new(
            Code::TRY_AGAIN,
            format!(
                "failed to {what}: the API server did not answer within {} s ({tries} tries): {message}; the runtime will try again; \
                 check that the API server can be reached from this node",
                deadline.as_secs()
            ),
        )),
        Err(Failure { verdict: Verdict::Unauthorized, message, .. }) => {
            Err(Error::internal(format!("failed to {what}: {message}: {}", given.unauthorized())))
        }
        Err(Failure { verdict: Verdict::Untrusted(flaw), message, .. }) => {
            Err(Error::internal(format!("failed to {what}: {message}; {}", given.untrusted(flaw))))
        }
        Err(Failure { verdict, message, .. }) => {
            let message = message.trim_end();
            let remedy = match verdict {
                Verdict::Forbidden => "; check the permissions of Plexus's service account",
                Verdict::UnknownKind => {
                    ": the API server has no objects of this kind: NetworkAttachmentDefinitions need their CRD (kubectl apply -f \
                     deploy/base/crd.yaml), ResourceClaims Kubernetes 1.34"
                }
                _ => "",
            };
            Err(Error::internal(format!("failed to {what}: {message}{remedy}")))
        }
    }
}

/// Creates an event; counts it once more if it is there already. Two that count at the same time may count once: the kubelet does not start a
/// pod twice at a time.
async fn record(api: &kube::Api<ApiEvent>, event: &ApiEvent) -> Result<(), Failure> {
    let deadline = Instant::now() + EVENT_DEADLINE;
    let name = event.metadata.name.as_deref().unwrap_or_default();
    let create = || until(deadline, || async { api.create(&PostParams::default(), event).await.map(drop) });
    let patch = async |change: Value| {
        let how = PatchParams::default();
        until(deadline, || async { api.patch(name, &how, &Patch::Merge(&change)).await }).await
    };
    match create().await {
        Err(failure) if failure.verdict == Verdict::Exists => {}
        done => return done,
    }
    // A patch that changes nothing answers with the object and writes nothing, and needs no right to read events.
    let counted = match patch(json!({})).await {
        Ok(there) => patch(event::again(&there, event)).await.map(drop),
        Err(failure) => Err(failure),
    };
    match counted {
        // Events live for an hour: it went meanwhile.
        Err(failure) if failure.verdict == Verdict::Missing => create().await,
        counted => counted,
    }
}

/// A UID that the API server gave. That of a static pod is a hash, without hyphens, and the API object's is another.
fn is_of_api(uid: &str) -> bool {
    uid.contains('-')
}

/// Questions are answered from the API server's cache (`resourceVersion=0`) where what it has says whether it is new enough, else from etcd:
/// `docs/decisions/0002`.
impl Cluster for Api {
    fn pod(&self, id: &PodId) -> Result<Option<Pod>> {
        let what = format!("get pod {}/{}", id.namespace, id.name);
        let get = |how: GetParams| {
            let asked = self.ask(&what, DEADLINE, |client| {
                let how = how.clone();
                async move {
                    kube::Api::<object::Pod>::namespaced(client, &id.namespace).get_metadata_with(&id.name, &how).await
                }
            });
            Ok(asked?.map(|pod| found(pod.metadata)))
        };
        if let Some(uid) = id.uid.as_deref().filter(|uid| is_of_api(uid)) {
            let cached = get(GetParams::any())?;
            if cached.as_ref().is_some_and(|pod| pod.uid == uid) {
                return Ok(cached);
            }
        }
        get(GetParams::default())
    }

    fn definition(&self, namespace: &str, name: &str) -> Result<Option<Definition>> {
        let what = format!("get NetworkAttachmentDefinition {namespace}/{name}");
        let get = |how: GetParams| {
            self.ask(&what, DEADLINE, |client| {
                let how = how.clone();
                async move { kube::Api::<object::Definition>::namespaced(client, namespace).get_with(name, &how).await }
            })
        };
        let found = match get(GetParams::any())? {
            None => get(GetParams::default())?,
            found => found,
        };
        Ok(found.map(|object| Definition {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            config: object.spec.config.unwrap_or_default(),
            resource_name: object.metadata.annotations.unwrap_or_default().remove(RESOURCE_NAME),
        }))
    }

    fn report(&self, id: &PodId, status: &str, events: &[Event]) -> Result<Option<Pod>> {
        let session = self.session()?;
        let (patched, ()) = session.runtime.block_on(async {
            tokio::join!(
                self.patch_status(&session.client, id, status),
                self.create_events(&session.client, id, events)
            )
        });
        let what = format!("write the network status of pod {}/{}", id.namespace, id.name);
        Ok(answer(patched, &what, DEADLINE, &session.given)?.map(|pod| found(pod.metadata)))
    }

    fn events(&self, id: &PodId, events: &[Event]) {
        match self.session() {
            Ok(session) => session.runtime.block_on(self.create_events(&session.client, id, events)),
            Err(e) => events.iter().for_each(|event| lost(id, event, &e)),
        }
    }
}

/// What decides anything of a pod's metadata.
fn found(metadata: ObjectMeta) -> Pod {
    Pod { uid: metadata.uid.unwrap_or_default(), annotations: metadata.annotations.unwrap_or_default() }
}

fn lost(id: &PodId, event: &Event, why: &dyn std::fmt::Display) {
    tracing::warn!("event {} on pod {}/{} was lost: {why}: {}", event.reason, id.namespace, id.name, event.message);
}

impl Api {
    async fn patch_status(&self, client: &Client, id: &PodId, status: &str) -> Result<object::Pod, Failure> {
        // The UID makes it a precondition: another pod of the same name (a StatefulSet's next) is not written to.
        let patch = json!({"metadata": {"uid": id.uid, "annotations": {NETWORK_STATUS: status}}});
        let pods = kube::Api::<object::Pod>::namespaced(client.clone(), &id.namespace);
        until(Instant::now() + DEADLINE, || async {
            pods.patch_subresource("status", &id.name, &PatchParams::default(), &Patch::Merge(&patch)).await
        })
        .await
    }

    async fn create_events(&self, client: &Client, id: &PodId, events: &[Event]) {
        let api = kube::Api::<ApiEvent>::namespaced(client.clone(), &id.namespace);
        let creations = events.iter().map(|event| {
            let (api, object) = (&api, event::object(id, &self.node, event));
            async move {
                if let Err(failure) = record(api, &object).await {
                    lost(id, event, &failure.message);
                }
            }
        });
        // All at the same time: the runtime waits for the slowest, not for the sum.
        join_all(creations).await;
    }
}

#[cfg(test)]
mod tests;
