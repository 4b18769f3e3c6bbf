//! `plexus-node host-gw` as a program, in a network namespace, with an API server that knows nodes only.

#![cfg(feature = "kubernetes")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Namespace;

fn node(name: &str, cidr: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        "status": {"addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]},
    })
}

/// Answers every request with the list of nodes, and remembers what was asked.
fn serve(listener: TcpListener, nodes: Arc<Mutex<Vec<Value>>>, asked: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (nodes, asked) = (nodes.clone(), asked.clone());
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
                    if line == "\r\n" {
                        let list = json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": *nodes.lock().unwrap()});
                        let body = list.to_string();
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                            body.len()
                        );
                        let _ = stream.write_all(format!("{head}{body}").as_bytes());
                    } else if line.starts_with("GET ") {
                        asked.lock().unwrap().push(line.trim_end().to_owned());
                    }
                    line.clear();
                }
            });
        }
    });
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_node_gets_subnet_routes_and_masquerading_and_follows_the_nodes() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let ns = Namespace::new();
    for line in [
        "ip link set lo up",
        "ip link add eth0 mtu 1400 type veth peer name other",
        "ip link set other up",
        "ip link set eth0 up",
        "ip addr add 192.0.2.1/24 dev eth0",
        "ip route add 10.9.0.0/24 via 192.0.2.9",
    ] {
        ns.sh(line);
    }
    let listener = ns.netns().run(|| TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let a = node("a", "10.244.0.0/24", "192.0.2.1");
    let (b, c) = (node("b", "10.244.1.0/24", "192.0.2.2"), node("c", "10.244.2.0/24", "192.0.2.3"));
    let nodes = Arc::new(Mutex::new(vec![b.clone(), node("a", "10.244.0.0/24", "192.0.2.99")]));
    let asked = Arc::new(Mutex::new(Vec::new()));
    serve(listener, nodes.clone(), asked.clone());

    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(file("kubeconfig"), kubeconfig.to_string()).unwrap();
    std::fs::write(file("net-conf.json"), r#"{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}"#).unwrap();
    let mut command = ns.command(env!("CARGO_BIN_EXE_plexus-node"));
    command.args(["host-gw", "--ip-masq", "--interval=1", "--node-name=a"]).args([
        format!("--kubeconfig-file={}", file("kubeconfig")),
        format!("--net-config-path={}", file("net-conf.json")),
        format!("--subnet-file={}", file("flannel/subnet.env")),
        format!("--status-file={}", file("status")),
    ]);
    let mut running = Running(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());

    let status = || std::fs::read_to_string(file("status")).unwrap_or_default();
    until("another backend is refused", || status().contains("backend \"vxlan\""));
    std::fs::write(file("net-conf.json"), r#"{"Network": "10.244.0.0/16", "Backend": {"Type": "host-gw"}}"#).unwrap();
    until("an address that no link has", || status().contains("no link has 192.0.2.99"));
    *nodes.lock().unwrap() = vec![c.clone(), a.clone(), b.clone(), json!({"metadata": {"name": "new"}, "spec": {}})];
    until("ready", || status() == "ready\n");

    let routes = || -> Vec<String> {
        ns.sh("ip -4 route show proto 80").lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(routes(), ["10.244.1.0/24 via 192.0.2.2 dev eth0", "10.244.2.0/24 via 192.0.2.3 dev eth0"]);
    let written = std::fs::read_to_string(file("flannel/subnet.env")).unwrap();
    assert_eq!(
        written,
        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.0.1/24\nFLANNEL_MTU=1400\nFLANNEL_IPMASQ=true\n"
    );
    let expected = "ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade";
    let ruleset = || ns.sh("nft list table ip plexus-host-gw");
    assert!(ruleset().contains(expected), "{}", ruleset());

    // A node that is gone, and one that has moved.
    *nodes.lock().unwrap() = vec![a.clone(), node("c", "10.244.2.0/24", "192.0.2.33")];
    until("followed", || routes() == ["10.244.2.0/24 via 192.0.2.33 dev eth0"]);
    assert_eq!(ruleset().matches("masquerade").count(), 1, "one rule, however often it is looked at");
    assert!(ns.sh("ip -4 route").contains("10.9.0.0/24 via 192.0.2.9"), "others' routes stay");
    ns.sh("nft delete table ip plexus-host-gw");
    until("somebody flushed the rules", || ns.run("nft list table ip plexus-host-gw").status.success());

    // One that cannot be reached so does not keep the others.
    *nodes.lock().unwrap() = vec![node("far", "10.244.7.0/24", "198.51.100.1"), a, b];
    until("said", || status().contains("10.244.7.0/24") && status().contains("vxlan"));
    assert_eq!(routes(), ["10.244.1.0/24 via 192.0.2.2 dev eth0"]);

    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());
    assert_eq!(routes().len(), 1, "pods go on");
    let asked = asked.lock().unwrap();
    assert!(
        asked.iter().all(|line| line.starts_with("GET /api/v1/nodes?") && line.contains("resourceVersion=0")),
        "{asked:?}"
    );
}
