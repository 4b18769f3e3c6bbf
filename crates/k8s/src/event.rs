//! Events on pods, as `kubectl describe pod` shows them.

use attach::cluster::{Event, PodId};
use k8s_openapi::api::core::v1::{Event as ApiEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

/// Longest message that the API server takes (validation of `v1/Event`: 1024 bytes).
const LONGEST_MESSAGE: usize = 1024;

/// The API object of an event, the `number`th of a call. The component is `multus`, as users' filters have it.
pub(crate) fn object(id: &PodId, node: &str, event: &Event, number: usize) -> ApiEvent {
    let now = Time(Timestamp::now());
    let mut message = event.message.clone();
    if message.len() > LONGEST_MESSAGE {
        let cut = (0..=LONGEST_MESSAGE - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(cut);
        message.push_str("...");
    }
    ApiEvent {
        metadata: ObjectMeta {
            // Unique as client-go makes them: the object's name and the time in hex.
            name: Some(format!("{}.{:x}", id.name, now.0.as_nanosecond() + number as i128)),
            namespace: Some(id.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(id.name.clone()),
            namespace: Some(id.namespace.clone()),
            uid: id.uid.clone(),
            ..ObjectReference::default()
        },
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(event.reason.to_owned()),
        message: Some(message),
        source: Some(EventSource {
            component: Some("multus".to_owned()),
            host: (!node.is_empty()).then(|| node.to_owned()),
        }),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        ..ApiEvent::default()
    }
}
