//! Events on pods, as `kubectl describe pod` shows them: what happens again is one event that is counted ("x12 over 5m").
//!
//! client-go's recorder remembers what it has reported. A program that starts anew each time remembers nothing, so the event's name says
//! what it is about, and the API server tells whether it is there already.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use attach::cluster::{Event, PodId};
use k8s_openapi::api::core::v1::{Event as ApiEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// Longest message that the API server takes (validation of `v1/Event`: 1024 bytes).
const LONGEST_MESSAGE: usize = 1024;

/// What is counted and patched of an event that is there already.
pub(crate) fn again(there: &ApiEvent, now: &ApiEvent) -> Value {
    json!({"count": there.count.unwrap_or(1).saturating_add(1), "lastTimestamp": now.last_timestamp, "message": now.message})
}

/// Longest name of an object (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;

/// As client-go makes them: the object's name and a number in hex; a long name is cut.
fn name(pod: &str, identity: u64) -> String {
    let number = format!(".{identity:016x}");
    let cut: String = pod.chars().take(LONGEST_NAME - number.len()).collect();
    format!("{}{number}", cut.trim_end_matches(['.', '-']))
}

/// The API object of an event. The component is `multus`, as users' filters have it.
pub(crate) fn object(id: &PodId, node: &str, event: &Event) -> ApiEvent {
    let now = Time(Timestamp::now());
    let mut message = event.message.clone();
    if message.len() > LONGEST_MESSAGE {
        let cut = (0..=LONGEST_MESSAGE - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(cut);
        message.push_str("...");
    }
    ApiEvent {
        metadata: ObjectMeta {
            name: Some(name(&id.name, identity(id, event))),
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

/// The same for what is the same event. Every try of a pod that fails has other addresses, sandboxes and temporary names, so the words of a
/// warning that have digits do not count; it then shows the last try's. client-go puts such events together too, after the tenth.
fn identity(id: &PodId, event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&id.uid, event.warning, event.reason).hash(&mut hasher);
    for word in event.message.split_whitespace() {
        if !(event.warning && word.contains(|c: char| c.is_ascii_digit())) {
            word.hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A defect that there was: events of a pod with a name of more than 236 bytes were refused.
    #[test]
    fn names_are_names_however_long_the_pods_is() {
        assert_eq!(name("web-0", 0x1f), "web-0.000000000000001f");
        let long = format!("{}-.b{}", "a".repeat(234), "c".repeat(16));
        let named = name(&long, u64::MAX);
        assert_eq!(named, format!("{}.ffffffffffffffff", "a".repeat(234)));
        assert_eq!(name(&"a".repeat(253), 0).len(), 253);
    }
}
