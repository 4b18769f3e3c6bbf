use super::*;

fn node(name: &str, cidrs: &[&str], addresses: &[&str]) -> Node {
    let texts = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Node { name: name.to_owned(), pod_cidrs: texts(cidrs), addresses: texts(addresses) }
}

#[test]
fn a_route_for_each_other_node_that_is_ready_for_one() {
    let nodes = [
        node("c", &["10.244.2.0/24"], &["192.0.2.3"]),
        node("a", &["10.244.0.0/24"], &["192.0.2.1"]),
        node("b", &["fd00::/64", "10.244.1.0/24"], &["2001:db8::2", "192.0.2.2"]),
        node("new", &[], &["192.0.2.4"]),
        node("newer", &["10.244.5.0/24"], &[]),
    ];
    let way = |subnet: &str, gateway: &str| Way { subnet: subnet.parse().unwrap(), gateway: gateway.parse().unwrap() };
    let expected = Plan {
        subnet: "10.244.0.0/24".parse().unwrap(),
        address: "192.0.2.1".parse().unwrap(),
        ways: vec![way("10.244.1.0/24", "192.0.2.2"), way("10.244.2.0/24", "192.0.2.3")],
    };
    assert_eq!(plan(&nodes, "a").unwrap(), expected);
    for (name, reason) in [("new", "podCIDR"), ("newer", "InternalIP"), ("other", "NODE_NAME")] {
        let error = plan(&nodes, name).unwrap_err();
        assert!(error.message.contains(name) && error.message.contains(reason), "{error}");
    }
}

#[test]
fn the_plugin_is_told_its_subnet() {
    let (network, subnet) = ("10.244.0.0/16".parse().unwrap(), "10.244.3.0/24".parse().unwrap());
    let expected =
        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
    assert_eq!(subnet_env(network, subnet, 1450, true).unwrap(), expected);
    assert!(subnet_env(network, subnet, 1450, false).unwrap().ends_with("FLANNEL_IPMASQ=false\n"));
    assert!(
        subnet_env(network, "10.244.3.0/31".parse().unwrap(), 1450, true).unwrap_err().message.contains("too small")
    );
}
