//! Fifty pods at once: fifty addresses, and nothing left when they are gone.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use conformance::world::{Reply, call_env, run};
use conformance::{Programs, World, samples};
use serde_json::Value;
use testkit::Namespace;

const PODS: usize = 50;

fn all_at_once(world: &World, program: &str, conf: &Value, verb: &str, pods: &[Namespace]) -> Vec<Reply> {
    let program: PathBuf = Programs::ours().dir.join(program);
    let stdin = conf.to_string().into_bytes();
    std::thread::scope(|scope| {
        let started: Vec<_> = pods
            .iter()
            .enumerate()
            .map(|(i, pod)| {
                let command = world.command(&program, &call_env(verb, &format!("pod{i}"), &pod.path()));
                let stdin = &stdin;
                scope.spawn(move || run(command, stdin))
            })
            .collect();
        let replies: Vec<Reply> = started.into_iter().map(|t| t.join().unwrap()).collect();
        for (i, reply) in replies.iter().enumerate() {
            assert_eq!(reply.rc, 0, "{verb} of pod {i}: {reply}");
        }
        replies
    })
}

/// All IPv4 addresses of an interface in the pods.
fn addresses(pods: &[Namespace], ifname: &str) -> BTreeSet<String> {
    let of = |pod: &Namespace| {
        let links = pod.json(&format!("ip -j -4 addr show dev {ifname}"));
        links[0]["addr_info"][0]["local"].as_str().map(ToOwned::to_owned)
    };
    pods.iter().filter_map(of).collect()
}

fn fifty(program: &str, conf: &dyn Fn(&World) -> Value, interfaces: &[&str]) {
    if !testkit::have_root() {
        return testkit::skip_or_fail("conformance", "needs root");
    }
    let world = World::new();
    samples::host(&world);
    let conf = conf(&world);
    // The bridge and base chains stay: they are there from the start.
    let first = [Namespace::new()];
    all_at_once(&world, program, &conf, "ADD", &first);
    all_at_once(&world, program, &conf, "DEL", &first);
    let before = world.snapshot();

    let pods: Vec<Namespace> = (0..PODS).map(|_| Namespace::new()).collect();
    all_at_once(&world, program, &conf, "ADD", &pods);
    for ifname in interfaces {
        let got = addresses(&pods, ifname);
        assert_eq!(got.len(), PODS, "different addresses on {ifname}: {got:?}");
    }
    all_at_once(&world, program, &conf, "DEL", &pods);
    let left = world.snapshot().left_since(&before, &[]);
    assert!(left.is_empty(), "left behind on the host: {left:?}");
    for (i, pod) in pods.iter().enumerate() {
        let links = pod.json("ip -j link");
        assert_eq!(links.as_array().map(Vec::len), Some(1), "left behind in pod {i}: {links}");
    }
}

#[test]
fn pods_on_one_bridge_and_one_range() {
    fifty("bridge", &|w| samples::bridge(w, "nftables"), &["eth0"]);
}

#[test]
fn pods_with_flannel_and_macvlan() {
    fifty("multus", &samples::article, &["eth0", "net0"]);
}
