//! `auxiliaryCNIChainName`: plugins for every pod of a node, each a file that somebody drops into a directory.

use std::fs;
use std::path::PathBuf;

use e2e::{Pod, Recorder, Test, definition};
use serde_json::{Value, json};

/// `/etc/cni/e2e` on a node, with the cluster network and the chain's directory, until this is dropped.
struct Chain(PathBuf);

impl Chain {
    fn new(test: &Test, node: &str) -> Chain {
        let dir = test.nodes().dir(node, "etc-cni").join("e2e");
        fs::create_dir_all(dir.join("e2e-chain")).unwrap();
        let flannel = json!({"cniVersion": "1.0.0", "name": "flat", "plugins": [{"type": "flannel", "delegate": {"isDefaultGateway": true}}]});
        fs::write(dir.join("flat.conflist"), flannel.to_string()).unwrap();
        Chain(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("e2e-chain").join(name)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_in_the_chain_is_run_for_every_pod() {
    let Some(test) = Test::on_nodes("auxiliary") else { return };
    let node = &test.node_names()[0];
    let recorder = Recorder::new(&test, node);
    let chain = Chain::new(&test, node);
    test.apply(&[definition(
        "blue",
        &json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.253.1.0/24"}}),
    )]);
    let before = test.nodes().traces();
    let configured = test.nodes().configure(node, |conf| {
        conf.as_object_mut().unwrap().remove("delegates");
        conf["cniVersion"] = json!("1.0.0");
        conf["clusterNetwork"] = json!("/etc/cni/e2e/flat.conflist");
        conf["auxiliaryCNIChainName"] = json!("e2e-chain");
    });

    // Nothing in the directory: no chain.
    test.start(&Pod::new("without").on(node));
    assert!(!recorder.has("ADD", "e2e-chain"));
    assert_eq!(test.status("without").len(), 1);

    fs::write(chain.file("10-record.conf"), r#"{"type": "e2e-recorder", "mine": [1]}"#).unwrap();
    // Only *.conf counts.
    fs::write(chain.file("20-other.txt"), "no configuration").unwrap();
    test.start(&Pod::new("with").on(node).networks("blue"));
    let add = recorder.call("ADD", "e2e-chain");
    assert_eq!(add["conf"]["mine"], json!([1]));
    assert_eq!(add["conf"]["cniVersion"], "1.0.0");
    // After eth0 and the pod's own network: the last one.
    assert_eq!(add["interface"], "net2");
    let addresses = test.addresses("with");
    assert!(
        addresses["eth0"][0].starts_with("10.244.") && addresses["net1"][0].starts_with("10.253.1."),
        "{addresses:?}"
    );
    assert!(!addresses.contains_key("net2"), "it makes no interface: {addresses:?}");
    let names: Vec<Value> = test.status("with").iter().map(|e| e["name"].clone()).collect();
    assert_eq!(names[..2], [json!("flat"), json!("auxiliary/blue")]);

    // DEL runs from the record: the file may be gone.
    fs::remove_file(chain.file("10-record.conf")).unwrap();
    assert!(!recorder.has("DEL", "e2e-chain"));
    test.delete_all();
    assert_eq!(recorder.call("DEL", "e2e-chain")["conf"]["mine"], json!([1]));
    drop(configured);
    test.nodes().as_before(&before);
}

/// A file of the chain that cannot be used is the pod's error, not a pod without it.
#[test]
fn a_broken_file_in_the_chain_is_named() {
    let Some(test) = Test::on_nodes("auxiliary-broken") else { return };
    let node = &test.node_names()[0];
    let recorder = Recorder::new(&test, node);
    let chain = Chain::new(&test, node);
    fs::write(chain.file("10-broken.conf"), r#"{"type": "e2e-recorder","#).unwrap();
    let _configured = test.nodes().configure(node, |conf| {
        conf.as_object_mut().unwrap().remove("delegates");
        conf["cniVersion"] = json!("1.0.0");
        conf["clusterNetwork"] = json!("/etc/cni/e2e/flat.conflist");
        conf["auxiliaryCNIChainName"] = json!("e2e-chain");
    });
    test.create(&Pod::new("web").on(node));
    let message = test.event("web", "FailedCreatePodSandBox", "10-broken.conf");
    assert!(message.contains("auxiliaryCNIChainName"), "{message}");
    fs::write(chain.file("10-broken.conf"), r#"{"type": "e2e-recorder"}"#).unwrap();
    test.ready("web");
    assert!(recorder.has("ADD", "e2e-chain"));
    // While the recorder, which every DEL runs, is still there.
    test.delete_all();
}
