//! Host ports, by an external plugin in the default network's chain.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use e2e::{Pod, Test, eventually, get, output};
use serde_json::json;

/// Where Debian's containernetworking-plugins has the plugin.
const PORTMAP: &str = "/usr/lib/cni/portmap";

/// The plugin on a node, until this is dropped.
struct Plugin(PathBuf);

impl Plugin {
    fn copy(to: PathBuf) -> Plugin {
        std::fs::copy(PORTMAP, &to).unwrap();
        Plugin(to)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The runtime's port mapping goes through the meta-plugin to a program that it does not have itself.
#[test]
fn a_host_port_is_mapped_by_an_external_portmap() {
    let Some(test) = Test::on_nodes("host-port") else { return };
    if !output(Command::new("test").args(["-x", PORTMAP]), "").status.success() {
        testkit::skip_or_fail("plugins", "no portmap plugin: install Debian's containernetworking-plugins");
        return;
    }
    let before = test.nodes().traces();
    let node = &test.node_names()[0];
    let _portmap = Plugin::copy(test.nodes().dir(node, "opt-cni/bin/portmap"));
    // Without net0: the outside is on its network, and the pod would answer past the node, which has the mapping.
    let _configured = test.nodes().configure(node, |conf| {
        conf["delegates"] = json!([{"name": "chain", "cniVersion": "0.4.0", "plugins": [
            {"type": "flannel", "delegate": {"isDefaultGateway": true}},
            {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}]}]);
    });
    test.start(&Pod::new("web").on(node).host_port(8080));
    let number: u8 = node.trim_start_matches("node").parse().unwrap();
    let host = IpAddr::from([10, 99, 0, 10 + number]);
    let page = eventually("the page on the node's port", || get(host, 8080));
    assert!(page.contains("Thank you for using nginx."), "{page}");
    test.delete_all();
    eventually("the port is free", || get(host, 8080).map_or(Ok(()), Err));
    test.nodes().as_before(&before);
}
