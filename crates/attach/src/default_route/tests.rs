use cni::Version;

use super::*;
use crate::testing::json;

fn result(routes: &str) -> CniResult {
    let text = format!(
        r#"{{"ips": [{{"address": "192.168.122.200/24", "gateway": "192.168.122.1"}}, {{"address": "fd00::2/64", "gateway": "fd00::1"}}],
            "routes": [{routes}]}}"#
    );
    CniResult::from_json(&json(&text), Version::V1_1_0).unwrap()
}

const V4: &str = r#"{"dst": "0.0.0.0/0"}"#;
const V6: &str = r#"{"dst": "::/0"}"#;

#[test]
fn the_same_kind_of_default_route_conflicts() {
    let conflicts = [
        (V4, V4),
        (V6, V6),
        (r#"{"dst": "0.0.0.0/0", "priority": 0}"#, V4),
        (r#"{"dst": "::/0", "priority": 1024}"#, V6),
        (r#"{"dst": "0.0.0.0/0", "table": 254}"#, V4),
        (r#"{"dst": "0.0.0.0/0", "priority": 7}"#, r#"{"dst": "0.0.0.0/0", "gw": "192.168.122.9", "priority": 7}"#),
    ];
    for (default, other) in conflicts {
        assert_eq!(conflicting(&result(default), &result(other)).len(), 1, "{default} {other}");
    }
}

#[test]
fn other_routes_do_not() {
    let fine = [
        (V4, V6),
        (V4, r#"{"dst": "0.0.0.0/1"}"#),
        (V4, r#"{"dst": "0.0.0.0/0", "priority": 100}"#),
        (V4, r#"{"dst": "0.0.0.0/0", "table": 100}"#),
        (r#"{"dst": "0.0.0.0/0", "table": 100}"#, r#"{"dst": "0.0.0.0/0", "table": 100}"#),
        ("", V4),
        (V4, ""),
    ];
    for (default, other) in fine {
        assert_eq!(conflicting(&result(default), &result(other)), [], "{default} {other}");
    }
}

#[test]
fn the_gateway_of_the_address_counts_where_the_route_has_none() {
    let routes = conflicting(&result(&format!("{V4},{V6}")), &result(&format!("{V4},{V6}")));
    let gateways: Vec<String> = routes.iter().map(|r| r.gw.unwrap().to_string()).collect();
    assert_eq!(gateways, ["192.168.122.1", "fd00::1"]);
}

#[test]
fn what_is_dropped_is_not_in_the_result() {
    let other = result(&format!(r#"{V4},{{"dst": "10.0.0.0/8"}},{{"dst": "0.0.0.0/0", "priority": 9}},{V6}"#));
    let routes = conflicting(&result(V4), &other);
    let left: Vec<String> = without(other, &routes).routes.iter().map(|r| r.dst.to_string()).collect();
    assert_eq!(left, ["10.0.0.0/8", "0.0.0.0/0", "::/0"]);
}
