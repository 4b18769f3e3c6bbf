//! What a pod asks of a network reaches the plugins that declare it, and nobody else: seen by a plugin that writes down how it is called.

use e2e::{Pod, Recorder, Test, definition};
use serde_json::{Value, json};

/// A macvlan network with the recorder behind it.
fn recorded(name: &str, subnet: &str, capabilities: &Value) -> Value {
    definition(
        name,
        &json!({"cniVersion": "1.0.0", "name": name, "plugins": [
            {"type": "macvlan", "capabilities": {"ips": true, "mac": true}, "ipam": {"type": "host-local", "subnet": subnet}},
            {"type": "e2e-recorder", "capabilities": capabilities, "args": {"cni": {"kept": "the definition's", "colour": "red"}}}]}),
    )
}

#[test]
fn requests_reach_the_plugins_that_declare_them() {
    let Some(test) = Test::with_nodes("requests-reach") else { return };
    let node = &test.node_names()[0];
    let recorder = Recorder::new(&test, node);
    let all = json!({"portMappings": true, "bandwidth": true, "ips": true, "mac": true, "infinibandGUID": true});
    test.apply(&[
        recorded("all", "10.251.1.0/24", &all),
        recorded("few", "10.251.2.0/24", &json!({"ips": true, "portMappings": true})),
    ]);
    let ask = json!([
        {"name": "all", "interface": "all0", "ips": ["10.251.1.77"], "mac": "02:00:00:25:10:01", "infiniband-guid": "02:11:22:33:44:55:66:77",
         "portMappings": [{"hostPort": 9090, "containerPort": 80, "protocol": "TCP"}], "bandwidth": {"ingressRate": 1000, "ingressBurst": 2000},
         "cni-args": {"colour": "blue"}},
        {"name": "few", "interface": "few0", "ipam-claim-reference": "my-claim"}]);
    // A port of the host belongs to the default network, whatever the others declare.
    test.start(&Pod::new("web").on(node).host_port(8082).networks(&ask.to_string()));
    let uid = test.get("web").unwrap().unwrap().metadata.uid.unwrap();
    assert_eq!(test.addresses("web")["all0"], ["10.251.1.77/24"]);
    test.delete_all();

    let runtime = json!({
        "portMappings": [{"hostPort": 9090, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 1000, "ingressBurst": 2000}, "ips": ["10.251.1.77"], "mac": "02:00:00:25:10:01",
        "infinibandGUID": "02:11:22:33:44:55:66:77",
    });
    for command in ["ADD", "DEL"] {
        let all = recorder.call(command, "all");
        assert_eq!(all["conf"]["runtimeConfig"], runtime, "{command}");
        assert_eq!(all["conf"]["args"]["cni"], json!({"kept": "the definition's", "colour": "blue"}), "{command}");
        let args: Vec<&str> = all["args"].as_str().unwrap().split(';').collect();
        for pair in [
            "K8S_POD_NAMESPACE=requests-reach",
            "K8S_POD_NAME=web",
            &format!("K8S_POD_UID={uid}"),
            "IP=10.251.1.77",
            "MAC=02:00:00:25:10:01",
        ] {
            assert!(
                args.contains(&pair) || (command == "DEL" && !pair.starts_with("K8S")),
                "{command}: no {pair} in {args:?}"
            );
        }
        let few = recorder.call(command, "few");
        assert_eq!(
            few["conf"].get("runtimeConfig"),
            None,
            "{command}: neither the host's port nor another network's requests"
        );
        assert_eq!(few["conf"]["args"]["cni"]["ipam-claim-reference"], "my-claim", "{command}");
    }
}
