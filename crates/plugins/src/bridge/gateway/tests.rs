//! Gateways and default routes, without a kernel.

use super::*;
use crate::testing;

fn conf(more: &str) -> Conf {
    Conf::read(&testing::call(format!(r#"{{"name":"n","type":"bridge"{more}}}"#))).unwrap()
}

fn result(ips: &[(&str, Option<&str>)], routes: &[(&str, Option<&str>)]) -> CniResult {
    testing::result(None, ips, routes)
}

fn text(gateways: &Gateways) -> Vec<String> {
    gateways.iter().map(ToString::to_string).collect()
}

#[test]
fn without_gateway_nothing_is_added() {
    let mut result = result(&[("10.0.0.5/24", None)], &[]);
    assert_eq!(complete(&conf(""), &mut result), []);
    assert_eq!((result.ips[0].gateway, result.ips[0].interface, result.routes.len()), (None, Some(2), 0));
}

#[test]
fn the_networks_first_address_is_the_default() {
    let mut result = result(&[("10.0.3.5/22", None), ("fd00::5/64", Some("fd00::ff"))], &[]);
    assert_eq!(text(&complete(&conf(r#","isGateway":true"#), &mut result)), ["10.0.0.1/22", "fd00::ff/64"]);
    assert_eq!(result.ips[0].gateway.unwrap().to_string(), "10.0.0.1");
    assert_eq!(result.routes, []);
}

#[test]
fn one_default_route_per_family() {
    let ips = [("10.0.0.5/24", None), ("10.0.1.5/24", None), ("fd00::5/64", None)];
    let mut result = result(&ips, &[("10.9.0.0/16", None)]);
    complete(&conf(r#","isDefaultGateway":true"#), &mut result);
    let routes: Vec<_> = result.routes.iter().map(|r| (r.dst.to_string(), r.gw.map(|g| g.to_string()))).collect();
    assert_eq!(
        routes,
        [
            ("10.9.0.0/16".to_owned(), None),
            ("0.0.0.0/0".to_owned(), Some("10.0.0.1".to_owned())),
            ("::/0".to_owned(), Some("fd00::1".to_owned()))
        ]
    );
}

#[test]
fn a_default_route_of_the_ipam_plugin_counts_with_and_without_next_hop() {
    for gw in [None, Some("10.0.0.9")] {
        let mut result = result(&[("10.0.0.5/24", None)], &[("0.0.0.0/0", gw)]);
        complete(&conf(r#","isDefaultGateway":true"#), &mut result);
        assert_eq!(result.routes.len(), 1);
    }
    // Table 0 is the main one; a route with a metric stands beside the one without (the original's rule).
    let with = |table, priority| {
        let mut result = result(&[("10.0.0.5/24", None)], &[("0.0.0.0/0", None)]);
        (result.routes[0].table, result.routes[0].priority) = (table, priority);
        complete(&conf(r#","isDefaultGateway":true"#), &mut result);
        result.routes.len()
    };
    assert_eq!((with(Some(0), None), with(Some(254), Some(0)), with(None, Some(1000))), (1, 1, 2));
    let mut elsewhere = result(&[("10.0.0.5/24", None)], &[("0.0.0.0/0", None)]);
    elsewhere.routes[0].table = Some(100);
    complete(&conf(r#","isDefaultGateway":true"#), &mut elsewhere);
    assert_eq!(elsewhere.routes.len(), 2);
}
