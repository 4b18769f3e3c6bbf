//! What happens around pods: nodes and kubelets that restart.

use e2e::{Pod, Test, eventually};

/// A node loses power with pods on it: they come back with new networks, and what the old ones had is given back.
#[test]
fn a_node_restarts_with_pods_on_it() {
    let Some(test) = Test::on_nodes("node-restart") else { return };
    let before = test.nodes().traces();
    let node = &test.node_names()[0];
    let names = ["one", "two", "three"];
    for name in names {
        test.create(&Pod::new(name).on(node));
    }
    test.all_ready(names.len());
    let started = |name: &str| {
        let status = test.get(name).ok().flatten().and_then(|p| p.status);
        let of_first = status.and_then(|s| s.container_statuses?.into_iter().next());
        of_first.map(|c| c.restart_count).unwrap_or_default()
    };
    test.nodes().cluster(&["reboot", node.trim_start_matches("node")]);
    for name in names {
        eventually(&format!("{name} was started again"), || match started(name) {
            0 => Err("not yet".to_owned()),
            n => Ok(n),
        });
        test.ready(name);
        let addresses = eventually("it can be looked into", || test.try_exec(name, "ip -o -4 addr"));
        assert_eq!(addresses.lines().count(), 3, "{addresses}");
    }
    test.delete_all();
    test.nodes().as_before(&before);
}

/// A kubelet restarts: running pods keep their networks, new ones get theirs.
#[test]
fn a_kubelet_restarts() {
    let Some(test) = Test::on_nodes("kubelet-restart") else { return };
    let node = &test.node_names()[0];
    let kubelet = node.replace("node", "kubelet");
    test.start(&Pod::new("old").on(node));
    let addresses = test.addresses("old");
    test.nodes().cluster(&["stop", &kubelet]);
    test.create(&Pod::new("new").on(node));
    test.nodes().cluster(&["start", &kubelet]);
    test.ready("new");
    test.ready("old");
    assert_eq!(test.addresses("old"), addresses);
    assert_eq!(test.addresses("new").len(), 3);
}
