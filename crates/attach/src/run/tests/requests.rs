//! Several interfaces that a runtime asks for in one container.

use super::*;

#[test]
fn adds_of_one_container_at_the_same_time_lose_nothing() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    let conf = &world.conf;
    let parallel = |command: Command| {
        std::thread::scope(|scope| {
            for i in 0..8 {
                scope.spawn(move || {
                    let config = Config::read(conf).unwrap();
                    let (delegates, links) = (Plugins::default(), Links::default());
                    let attach = Attach {
                        config: &config,
                        delegates: &delegates,
                        links: &links,
                        cluster: None,
                        devices: &NoDevices,
                        readiness: Readiness::default(),
                    };
                    attach.run(&Call { ifname: format!("eth{i}"), ..call(command, conf) }).unwrap();
                    delegates.take()
                });
            }
        });
    };
    for _ in 0..5 {
        parallel(Command::Add);
        let record = Records::new(world.cni_dir()).read("c1", "eth0", &Cache::new(world.cni_dir())).unwrap();
        let mut requests: Vec<String> = record.entries.into_iter().map(|e| e.request).collect();
        requests.sort();
        assert_eq!(requests, (0..8).map(|i| format!("eth{i}")).collect::<Vec<_>>());
        parallel(Command::Del);
        assert_eq!(world.files(), [""; 0]);
    }
}

#[test]
fn two_requests_of_one_container_do_not_touch_each_other() {
    let world = World::with(r#"{"type": "a", "name": "na"}"#);
    world.add().unwrap();
    let eth1 = |command| Call { ifname: "eth1".into(), ..world.call(command) };
    world.run(&eth1(Command::Add)).unwrap();
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0", "results/na-c1-eth1"]);
    world.plugins.take();
    world.run(&eth1(Command::Del)).unwrap();
    assert_eq!(world.plugins.take(), ["DEL a na eth1"]);
    assert_eq!(world.files(), ["c1", "results/na-c1-eth0"]);
    world.del().unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn del_of_a_refused_request_leaves_the_others_interfaces() {
    let two = r#"{"type": "a", "name": "na"}, {"type": "b", "name": "nb"}"#;
    let mut world = World::with(two);
    world.add().unwrap();
    world.links.present = vec!["eth0".into(), "net1".into()];
    let eth1 = |command| Call { ifname: "eth1".into(), ..world.call(command) };
    assert!(world.run(&eth1(Command::Add)).is_err(), "net1 is taken");
    world.plugins.take();
    world.run(&eth1(Command::Del)).unwrap();
    assert_eq!(world.plugins.take(), ["DEL a na eth1"], "net1 belongs to the other");
}
