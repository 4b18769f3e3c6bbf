//! Which questions are asked, and of whom: the cache or etcd.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::testing;

const POD: &str = "/api/v1/namespaces/ns/pods/web";
const CACHED_POD: &str = "/api/v1/namespaces/ns/pods/web?&resourceVersion=0";
const NAD: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/ns/network-attachment-definitions/blue";
const CACHED_NAD: &str =
    "/apis/k8s.cni.cncf.io/v1/namespaces/ns/network-attachment-definitions/blue?&resourceVersion=0";
const UID: &str = "3a8f7c2e-0000-4000-8000-000000000001";

fn pod(uid: &str, annotation: &str) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "web", "namespace": "ns", "uid": uid, "annotations": {"a": annotation}}})
}

fn definition(config: &str) -> Value {
    json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "blue"}, "spec": {"config": config}})
}

/// What the pod's annotation is found to be, and what was asked for it.
fn ask_pod(objects: &[(&'static str, Value)], uid: Option<&str>) -> (Option<String>, Vec<String>) {
    let (server, asked) = testing::api_server(objects.iter().cloned().collect::<BTreeMap<_, _>>());
    let dir = tempfile::tempdir().unwrap();
    let id = PodId { namespace: "ns".into(), name: "web".into(), uid: uid.map(Into::into) };
    let found = testing::api(dir.path(), &server).pod(&id).unwrap();
    let asked = asked.lock().unwrap().clone();
    (found.map(|pod| pod.annotations["a"].clone()), asked)
}

#[test]
fn the_pod_that_the_cache_has() {
    let (found, asked) = ask_pod(&[(CACHED_POD, pod(UID, "cached")), (POD, pod(UID, "exact"))], Some(UID));
    assert_eq!((found.as_deref(), asked), (Some("cached"), vec![CACHED_POD.to_owned()]));
}

/// A cache that lags has no pod yet, or the one before of the same name.
#[test]
fn a_pod_that_the_cache_does_not_have_yet() {
    let exact = (POD, pod(UID, "exact"));
    for cache in [vec![exact.clone()], vec![exact, (CACHED_POD, pod("3a8f7c2e-0000-4000-8000-000000000000", "old"))]] {
        let (found, asked) = ask_pod(&cache, Some(UID));
        assert_eq!((found.as_deref(), asked), (Some("exact"), vec![CACHED_POD.to_owned(), POD.to_owned()]));
    }
}

/// Without a UID of the API's nothing says how old the cache's answer is.
#[test]
fn a_static_pod_and_an_old_runtime_are_asked_for_exactly() {
    for uid in [None, Some("d5a3f5ce0b8a4f6e9a3c1d2e3f405162")] {
        let (found, asked) = ask_pod(&[(CACHED_POD, pod(UID, "cached")), (POD, pod(UID, "exact"))], uid);
        assert_eq!((found.as_deref(), asked), (Some("exact"), vec![POD.to_owned()]));
    }
}

#[test]
fn a_pod_is_gone_when_etcd_says_so() {
    let (found, asked) = ask_pod(&[], Some(UID));
    assert_eq!((found, asked), (None, vec![CACHED_POD.to_owned(), POD.to_owned()]));
}

#[test]
fn a_definition_that_the_cache_does_not_have_yet() {
    for (objects, config, expected) in [
        (vec![(CACHED_NAD, definition("cached")), (NAD, definition("exact"))], Some("cached"), vec![CACHED_NAD]),
        (vec![(NAD, definition("exact"))], Some("exact"), vec![CACHED_NAD, NAD]),
        (vec![], None, vec![CACHED_NAD, NAD]),
    ] {
        let (server, asked) = testing::api_server(objects.into_iter().collect());
        let dir = tempfile::tempdir().unwrap();
        let found = testing::api(dir.path(), &server).definition("ns", "blue").unwrap();
        assert_eq!(found.map(|d| d.config).as_deref(), config);
        assert_eq!(*asked.lock().unwrap(), expected);
    }
}
