//! Which questions are asked, and of whom: the cache or etcd; which events there are in the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

const EVENTS: &str = "/api/v1/namespaces/ns/events";

/// An API server that keeps events by name, and by which methods it was asked.
#[derive(Clone, Default)]
struct Events {
    kept: Arc<Mutex<BTreeMap<String, Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Events {
    fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.asked.lock().unwrap().push(method.to_owned());
        let mut events = self.kept.lock().unwrap();
        let path = path.split('?').next().unwrap();
        let name = path.strip_prefix(EVENTS).unwrap().trim_start_matches('/');
        match (method, events.get_mut(name)) {
            ("POST", _) => {
                let name = body["metadata"]["name"].as_str().unwrap();
                if events.contains_key(name) {
                    return testing::refusal(409, "AlreadyExists");
                }
                events.insert(name.to_owned(), body.clone());
                (201, body.clone())
            }
            ("PATCH", Some(event)) => {
                event.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
                (200, event.clone())
            }
            _ => testing::refusal(404, "NotFound"),
        }
    }

    /// Each event as a call of its own.
    fn report(&self, events: &[(&str, Event)]) {
        let it = self.clone();
        self.report_to(events, move |method, path, body| it.answer(method, path, &body));
    }

    fn report_to(
        &self,
        events: &[(&str, Event)],
        answer: impl FnMut(&str, &str, Value) -> (u16, Value) + Send + 'static,
    ) {
        let server = testing::serve(answer);
        let dir = tempfile::tempdir().unwrap();
        for (uid, event) in events {
            let id = PodId { namespace: "ns".into(), name: "web".into(), uid: Some((*uid).into()) };
            testing::api(dir.path(), &server).events(&id, std::slice::from_ref(event));
        }
    }

    /// Count and message of each event, and the methods it took.
    fn end(&self) -> (Vec<(u64, String)>, Vec<String>) {
        let kept = self.kept.lock().unwrap();
        let mut all: Vec<_> =
            kept.values().map(|e| (e["count"].as_u64().unwrap(), e["message"].as_str().unwrap().to_owned())).collect();
        all.sort();
        (all, self.asked.lock().unwrap().clone())
    }
}

fn failed(message: &str) -> Event {
    Event { warning: true, reason: "FailedAddingInterface", message: message.to_owned() }
}

fn added(message: &str) -> Event {
    Event { warning: false, reason: "AddedInterface", message: message.to_owned() }
}

#[test]
fn what_happens_again_is_one_event_that_is_counted() {
    let events = Events::default();
    // What each try of a pod has of its own: an address, the sandbox's name, a namespace's file.
    let tries = [
        "10.1.2.3/24 on veth5e1f of 4bd3a7 in /run/netns/cni-7d",
        "10.1.2.9/24 on veth0a2b of 91ce77 in /run/netns/cni-41",
    ];
    for what in [tries[0], tries[1], tries[0], tries[1]] {
        events.report(&[(UID, failed(&format!("failed to add address {what}: File exists")))]);
    }
    let (all, asked) = events.end();
    assert_eq!(all, [(4, format!("failed to add address {}: File exists", tries[1]))], "with the last try's words");
    let again = ["POST", "PATCH", "PATCH"];
    assert_eq!(asked, [&["POST"][..], &again, &again, &again].concat());
    let kept = events.kept.lock().unwrap();
    let event = kept.values().next().unwrap();
    assert!(event["lastTimestamp"].as_str().unwrap() >= event["firstTimestamp"].as_str().unwrap(), "{event}");
}

#[test]
fn what_is_another_event_takes_one_request_of_its_own() {
    let events = Events::default();
    events.report(&[
        (UID, failed("no such link")),
        (UID, failed("no such bridge")),
        // The next pod of that name.
        ("3a8f7c2e-0000-4000-8000-000000000002", failed("no such link")),
        (UID, Event { reason: "NoNetworkFound", ..failed("no such link") }),
        (UID, added("Add net1 [10.1.1.11/24] from ns/blue")),
        (UID, added("Add net2 [10.1.1.12/24] from ns/blue")),
    ]);
    let (all, asked) = events.end();
    assert_eq!((all.len(), asked), (6, vec!["POST".to_owned(); 6]));
    assert!(all.iter().all(|(count, _)| *count == 1));
}

/// Events live for an hour. One may go at any moment, before it is read as well as before it is counted.
#[test]
fn an_event_that_goes_meanwhile_is_made_again() {
    for patches in 1..3 {
        let events = Events::default();
        events.report(&[(UID, failed("no such link"))]);
        let (it, mut patched) = (events.clone(), 0);
        events.report_to(&[(UID, failed("no such link"))], move |method, path, body| {
            patched += usize::from(method == "PATCH");
            if patched == patches {
                it.kept.lock().unwrap().clear();
            }
            it.answer(method, path, &body)
        });
        let (all, asked) = events.end();
        assert_eq!(all, [(1, "no such link".to_owned())]);
        assert_eq!(asked, [&["POST", "POST"][..], &["PATCH", "PATCH"][..patches], &["POST"]].concat());
    }
}

/// Its configuration is a file of the node (the specification's 3.2.1, and our own CRD): `kubectl create` takes it.
#[test]
fn a_definition_may_lack_its_spec() {
    let bare = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "blue"}});
    let (server, _) = testing::api_server(BTreeMap::from([(CACHED_NAD, bare)]));
    let dir = tempfile::tempdir().unwrap();
    let found = testing::api(dir.path(), &server).definition("ns", "blue").unwrap();
    assert_eq!(found.unwrap().config, "");
}

/// The PATCH tells what the pod really asks for, whatever a cache said before; and of a pod whose name another has by now, that it is gone.
#[test]
fn the_status_is_written_to_the_pod_that_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let id = PodId { namespace: "ns".into(), name: "web".into(), uid: Some(UID.into()) };
    let server = testing::serve(|method, path, body| {
        assert_eq!((method, path.trim_end_matches('?')), ("PATCH", "/api/v1/namespaces/ns/pods/web/status"));
        assert_eq!(body, json!({"metadata": {"uid": UID, "annotations": {NETWORK_STATUS: "[]"}}}));
        (200, pod(UID, "exact"))
    });
    let now = testing::api(dir.path(), &server).report(&id, "[]", &[]).unwrap().unwrap();
    assert_eq!((now.uid.as_str(), now.annotations["a"].as_str()), (UID, "exact"));

    // As Kubernetes 1.37 answers.
    let server = testing::serve(|_, _, _| {
        let (code, mut status) = testing::refusal(422, "Invalid");
        status["details"] =
            json!({"name": "web", "kind": "Pod", "causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]});
        (code, status)
    });
    assert_eq!(testing::api(dir.path(), &server).report(&id, "[]", &[]).unwrap(), None);
}

/// Rights, a token and a client certificate have each their own remedy. A defect that there was: every 401 was blamed on a token, also where
/// the kubeconfig has none.
#[test]
fn what_to_do_is_said_for_the_failure_that_there_was() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["me".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    std::fs::write(dir.path().join("me.crt"), &certificate).unwrap();
    let encoded = |text: &str| STANDARD.encode(text);
    let (inside, key) = (encoded(&certificate), encoded(&key.serialize_pem()));
    let both = json!({"token": "t", "client-certificate-data": inside, "client-key-data": key});
    let own_file = format!("(key \"client-certificate\": {}/me.crt) has expired", dir.path().display());
    let token = "/kubeconfig is not valid any more; does the installer's pod";
    for (code, user, said) in [
        (401, json!({"token": "t"}), token),
        (401, both, token),
        (
            401,
            json!({"client-certificate-data": inside, "client-key-data": key}),
            "(key \"client-certificate-data\") has expired, or",
        ),
        (401, json!({"client-certificate": "me.crt", "client-key-data": key}), own_file.as_str()),
        (401, json!({}), "/kubeconfig names neither a token nor a client certificate"),
        (403, json!({"token": "t"}), "check the permissions"),
        (404, json!({"token": "t"}), "need their CRD (kubectl apply -f deploy/base/crd.yaml)"),
        (400, json!({"token": "t"}), "blue: refused"),
    ] {
        let server = testing::serve(move |_, _, _| {
            (code, json!({"status": "Failure", "message": "refused", "reason": "Refused", "code": code}))
        });
        let api = testing::api_as(dir.path(), &server, &user);
        let error = api.definition("ns", "blue").unwrap_err();
        assert_eq!(error.code, Code::INTERNAL);
        assert!(error.message.starts_with("failed to get NetworkAttachmentDefinition ns/blue: "), "{error}");
        assert!(error.message.contains(said), "{user}: {error}");
        assert_eq!(error.message.contains("permissions"), code == 403, "{error}");
        assert_eq!(error.message.contains("token of"), said == token, "{error}");
    }
}
