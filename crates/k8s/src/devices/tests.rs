//! Against a podresources server, checkpoint files and an API server that are ours.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use prost::Message as _;
use tempfile::TempDir;
use testkit::kubelet::{Reply, Server};

use super::*;
use crate::testing::{self, api_server};
use podresources::{
    CdiDevice, ClaimResource, ContainerDevices, ContainerResources, DynamicResource, GetRequest, GetResponse,
    ListResponse, PodResources,
};

/// A node: kubelet's directory, its podresources server, an API server.
struct Node {
    dir: TempDir,
    api: Rc<Api>,
    calls: Arc<Mutex<Vec<String>>>,
    stop: Option<(tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

impl Node {
    /// Without a socket, and with an API server at this address.
    fn without_kubelet(server: &str) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let api = Rc::new(testing::api(dir.path(), server));
        Node { dir, api, calls: Arc::default(), stop: None }
    }

    /// With a podresources server.
    fn new(answer: impl Fn(&str, &[u8]) -> Reply + Send + Sync + 'static) -> Node {
        let mut node = Node::without_kubelet("http://127.0.0.1:1");
        let dir = node.dir.path().join("pod-resources");
        fs::create_dir(&dir).unwrap();
        let calls = node.calls.clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = Server::start(dir.join("kubelet.sock"), move |method, request| {
                    calls.lock().unwrap().push(method.rsplit('/').next().unwrap().to_owned());
                    answer(method, request)
                });
                let _server = server.unwrap();
                ready.send(()).unwrap();
                let _ = stopped.await;
            });
        });
        is_ready.recv().unwrap();
        node.stop = Some((stop, thread));
        node
    }

    fn checkpoint(&self, text: &str) {
        let dir = self.dir.path().join("device-plugins");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("kubelet_internal_checkpoint"), text).unwrap();
    }

    fn allocated(&self) -> Result<Allocated> {
        Kubelet::new(self.api.clone(), self.dir.path()).allocated(&web(), "u1")
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

fn web() -> PodId {
    PodId { namespace: "prod".into(), name: "web".into(), uid: Some("u1".into()) }
}

fn devices(resource: &str, ids: &[&str]) -> ContainerDevices {
    ContainerDevices { resource: resource.into(), ids: ids.iter().map(|i| (*i).to_owned()).collect() }
}

fn pod(name: &str, containers: Vec<ContainerResources>) -> PodResources {
    PodResources { name: name.into(), namespace: "prod".into(), containers }
}

fn container(devices: Vec<ContainerDevices>) -> ContainerResources {
    ContainerResources { devices, claims: Vec::new() }
}

fn of(allocated: &Allocated, resource: &str) -> Vec<String> {
    allocated.of(resource).map(str::to_owned).collect()
}

#[test]
fn get_tells_devices_of_all_containers_each_once() {
    let node = Node::new(|method, request| {
        assert_eq!(method, "/v1.PodResourcesLister/Get");
        let asked = GetRequest::decode(request).unwrap();
        assert_eq!((asked.namespace.as_str(), asked.name.as_str()), ("prod", "web"));
        let mut first = container(vec![devices("x/vf", &["d2"]), devices("x/vf", &["d0"]), devices("y/gpu", &["g"])]);
        let cdi = ["x/net=vf7", "x/net=vf7", "broken"].map(|name| CdiDevice { name: name.into() });
        let resources = vec![ClaimResource { cdi_devices: cdi.to_vec() }];
        first.claims.push(DynamicResource { name: "web-net-x7k2p".into(), resources });
        let second = container(vec![devices("x/vf", &["d1", "d0"])]);
        Reply::Message(GetResponse { pod: Some(pod("web", vec![first, second])) }.encode_to_vec())
    });
    let allocated = node.allocated().unwrap();
    assert_eq!(of(&allocated, "x/vf"), ["d0", "d1", "d2"]);
    assert_eq!(of(&allocated, "y/gpu"), ["g"]);
    assert_eq!(of(&allocated, "web-net-x7k2p"), ["vf7"]);
    assert_eq!(node.calls(), ["Get"]);
}

#[test]
fn list_is_asked_where_get_is_switched_off_or_unknown() {
    for status in [Reply::Status(2, "PodResources API Get method disabled"), Reply::Status(12, "unknown method Get")] {
        let node = Node::new(move |method, _| match method {
            "/v1.PodResourcesLister/List" => {
                let others = [pod("other", vec![container(vec![devices("x/vf", &["d9"])])])];
                let mine = pod("web", vec![container(vec![devices("x/vf", &["d1"])])]);
                Reply::Message(ListResponse { pods: others.into_iter().chain([mine]).collect() }.encode_to_vec())
            }
            _ => status.clone(),
        });
        assert_eq!(of(&node.allocated().unwrap(), "x/vf"), ["d1"]);
        assert_eq!(node.calls(), ["Get", "List"]);
    }
}

#[test]
fn a_pod_that_the_list_leaves_out_has_no_devices() {
    let node = Node::new(|method, _| match method {
        "/v1.PodResourcesLister/List" => Reply::Message(Vec::new()),
        _ => Reply::Status(2, "pod web in namespace prod not found"),
    });
    assert_eq!(node.allocated().unwrap(), Allocated::default());
}

#[test]
fn a_busy_kubelet_is_asked_again() {
    let tries = Mutex::new(0);
    let node = Node::new(move |_, _| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        if *tries < 4 {
            return Reply::Status(8, "rejected by rate limit");
        }
        Reply::Message(GetResponse { pod: Some(pod("web", Vec::new())) }.encode_to_vec())
    });
    assert_eq!(node.allocated().unwrap(), Allocated::default());
    assert_eq!(node.calls(), ["Get"; 4]);
}

#[test]
fn a_kubelet_that_does_not_answer_is_given_up_at_the_deadline() {
    let node = Node::new(|_, _| Reply::Silence);
    let socket = node.dir.path().join("pod-resources/kubelet.sock");
    let deadline = Duration::from_millis(100);
    let started = Instant::now();
    let failure = node.api.session().unwrap().runtime.block_on(podresources::allocated(&socket, &web(), deadline));
    assert!(failure.unwrap_err().away && started.elapsed() >= deadline);
}

#[test]
fn answers_that_are_none_are_errors() {
    let long = Reply::Raw(vec![0; (16 << 20) + 100]);
    let compressed = Reply::Raw(vec![1, 0, 0, 0, 0]);
    let cut = Reply::Raw(vec![0, 0, 0, 0, 9, 10]);
    let no_message = Reply::Raw(Vec::new());
    let nonsense = Reply::Message(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec());
    for (reply, says) in [
        (long, "longer than"),
        (compressed, "compressed"),
        (cut, "length"),
        (no_message, "no message"),
        (nonsense, "malformed"),
    ] {
        let node = Node::new(move |_, _| reply.clone());
        let error = node.allocated().unwrap_err();
        assert!(error.message.contains(says) && error.message.contains("kubelet.sock"), "{error}");
        assert_eq!(node.calls(), ["Get", "List"]);
    }
}

/// As kubelet 1.34 writes it.
const CHECKPOINT: &str = r#"{"Data":{"PodDeviceEntries":[
    {"PodUID":"u1","ContainerName":"a","ResourceName":"x/vf","DeviceIDs":{"-1":["d3"],"0":["d1","d2"]},"AllocResp":"EgA="},
    {"PodUID":"u1","ContainerName":"b","ResourceName":"y/gpu","DeviceIDs":{"-1":["g"]},"AllocResp":""},
    {"PodUID":"u2","ContainerName":"a","ResourceName":"x/vf","DeviceIDs":{"-1":["d9"]},"AllocResp":""}],
    "RegisteredDevices":{"x/vf":["d1","d2","d3","d9"]}},"Checksum":1620624127}"#;

#[test]
fn the_checkpoint_stands_in_for_a_missing_or_unavailable_kubelet() {
    let away = Node::without_kubelet("http://127.0.0.1:1");
    let unavailable = Node::new(|_, _| Reply::Status(14, "shutting down"));
    for node in [away, unavailable] {
        node.checkpoint(CHECKPOINT);
        let allocated = node.allocated().unwrap();
        assert_eq!(of(&allocated, "x/vf"), ["d1", "d2", "d3"]);
        assert_eq!(of(&allocated, "y/gpu"), ["g"]);
    }
}

#[test]
fn the_checkpoint_is_not_asked_where_kubelet_says_no() {
    let node = Node::new(|_, _| Reply::Status(7, "permission denied"));
    node.checkpoint(CHECKPOINT);
    let error = node.allocated().unwrap_err();
    assert_eq!(error.code, Code::INTERNAL);
    assert!(error.message.contains("permission denied"), "{error}");
}

#[test]
fn older_and_empty_checkpoints() {
    let node = Node::without_kubelet("http://127.0.0.1:1");
    node.checkpoint(
        r#"{"Data":{"PodDeviceEntries":[{"PodUID":"u1","ContainerName":"a","ResourceName":"x/vf","DeviceIDs":["d1"],"AllocResp":""}],
            "RegisteredDevices":{}},"Checksum":1}"#,
    );
    assert_eq!(of(&node.allocated().unwrap(), "x/vf"), ["d1"]);
    node.checkpoint(r#"{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}"#);
    assert_eq!(node.allocated().unwrap(), Allocated::default());
}

#[test]
fn without_any_source_the_error_names_both() {
    let node = Node::without_kubelet("http://127.0.0.1:1");
    let error = node.allocated().unwrap_err();
    assert_eq!(error.code, Code::TRY_AGAIN);
    for part in ["pod-resources/kubelet.sock", "kubelet_internal_checkpoint", "kubeletDir", "prod/web"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    node.checkpoint("{\"Data\": ");
    let error = node.allocated().unwrap_err();
    assert!(error.message.contains("no checkpoint of kubelet"), "{error}");
}

fn slice(generation: u64, node: &str, devices: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"metadata": {"name": "s"}, "spec": {"driver": "nic.x", "nodeName": node, "devices": devices,
        "pool": {"name": "n1", "generation": generation, "resourceSliceCount": 1}}})
}

fn nic(name: &str, id: &str) -> serde_json::Value {
    serde_json::json!({"name": name, "attributes": {"k8s.cni.cncf.io/deviceID": {"string": id}, "k8s.cni.cncf.io/resourceName": {"string": "x/nic"},
        "numa": {"int": 0}}})
}

fn allocation(results: &[(&str, &str)]) -> serde_json::Value {
    let results: Vec<_> = results
        .iter()
        .map(|(request, device)| serde_json::json!({"request": request, "driver": "nic.x", "pool": "n1", "device": device}))
        .collect();
    serde_json::json!({"metadata": {}, "spec": {}, "status": {"allocation": {"devices": {"results": results}}}})
}

const POD: &str = "/api/v1/namespaces/prod/pods/web";
const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/prod/resourceclaims";
const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dn1%2Cspec.driver%3Dnic.x";
const SHARED: &str = "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3D%2Cspec.driver%3Dnic.x";

fn claimed(objects: BTreeMap<&'static str, serde_json::Value>) -> (Result<Allocated>, Vec<String>) {
    let (address, asked) = api_server(objects);
    let node = Node::without_kubelet(&address);
    let claimed = Kubelet::new(node.api.clone(), node.dir.path()).claimed(&web(), "u1");
    let asked = asked.lock().unwrap().clone();
    (claimed, asked)
}

#[test]
fn claims_give_the_devices_that_their_driver_names_for_networks() {
    let own: &str = "/apis/resource.k8s.io/v1/namespaces/prod/resourceclaims/own";
    let made: &str = "/apis/resource.k8s.io/v1/namespaces/prod/resourceclaims/web-net-7xk";
    let (allocated, asked) = claimed(BTreeMap::from([
        (
            POD,
            serde_json::json!({"metadata": {"uid": "u1"}, "spec": {"nodeName": "n1",
                "resourceClaims": [{"name": "a", "resourceClaimName": "own"}, {"name": "b", "resourceClaimTemplateName": "net"}]},
                "status": {"resourceClaimStatuses": [{"name": "b", "resourceClaimName": "web-net-7xk"}]}}),
        ),
        (own, allocation(&[("r", "nic-1"), ("r", "gpu")])),
        (made, allocation(&[("r", "nic-0"), ("r", "shared")])),
        (
            SLICES,
            serde_json::json!({"items": [
                slice(1, "n1", serde_json::json!([nic("nic-0", "stale"), nic("nic-1", "0000:03:02.1")])),
                slice(2, "n1", serde_json::json!([nic("nic-0", "0000:03:02.0"), {"name": "gpu"}])),
                slice(1, "n1", serde_json::json!([nic("nic-0", "stale")]))]}),
        ),
        (SHARED, serde_json::json!({"items": [slice(1, "", serde_json::json!([nic("shared", "fabric-4")]))]})),
    ]));
    assert_eq!(of(&allocated.unwrap(), "x/nic"), ["0000:03:02.0", "0000:03:02.1", "fabric-4"]);
    assert_eq!(asked, [POD, own, SLICES, made, SHARED], "each once");
    assert!(own.starts_with(CLAIMS));
}

#[test]
fn extended_resources_are_claims_too() {
    let (allocated, _) = claimed(BTreeMap::from([
        (
            POD,
            serde_json::json!({"metadata": {"uid": "u1"}, "spec": {"nodeName": "n1"}, "status": {"extendedResourceClaimStatus": {
                "resourceClaimName": "ext", "requestMappings": [{"containerName": "c", "resourceName": "x/ext", "requestName": "r0"}]}}}),
        ),
        (
            "/apis/resource.k8s.io/v1/namespaces/prod/resourceclaims/ext",
            allocation(&[("r0", "nic-0"), ("r1", "nic-1")]),
        ),
        (
            SLICES,
            serde_json::json!({"items": [slice(1, "n1", serde_json::json!([nic("nic-0", "d0"), nic("nic-1", "d1")]))]}),
        ),
    ]));
    assert_eq!(of(&allocated.unwrap(), "x/ext"), ["d0"]);
}

#[test]
fn a_pod_without_claims_costs_one_request() {
    let (allocated, asked) =
        claimed(BTreeMap::from([(POD, serde_json::json!({"metadata": {"uid": "mirror"}, "spec": {}, "status": {}}))]));
    assert_eq!(allocated.unwrap(), Allocated::default());
    assert_eq!(asked, [POD]);
}

#[test]
fn claims_that_cannot_be_used_are_named() {
    let pod = |uid: &str| serde_json::json!({"metadata": {"uid": uid}, "spec": {"nodeName": "n1", "resourceClaims": [{"name": "a", "resourceClaimName": "own"}]}});
    let unallocated = serde_json::json!({"metadata": {}, "spec": {}});
    let own = "/apis/resource.k8s.io/v1/namespaces/prod/resourceclaims/own";
    for (objects, says) in [
        (BTreeMap::from([(POD, pod("u1"))]), "ResourceClaim prod/own does not exist"),
        (BTreeMap::from([(POD, pod("u1")), (own, unallocated)]), "no devices allocated"),
        (BTreeMap::from([(POD, pod("another"))]), "UID u1 does not exist"),
        (BTreeMap::new(), "UID u1 does not exist"),
    ] {
        let error = claimed(objects).0.unwrap_err();
        assert!(error.message.contains(says), "{error}");
    }
}
