use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    is_gateway: bool,
    mtu: u32,
    name: String,
    ranges: Vec<Vec<Range>>,
    range: Range,
    caps: BTreeMap<String, bool>,
    vlan: Option<u16>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Range {
    subnet: String,
}

fn read(text: &str) -> Result<Conf, Error> {
    from_json(&Json::parse(text.as_bytes())?)
}

#[test]
fn keys_match_without_regard_to_case_and_the_last_one_wins() {
    assert!(read(r#"{"ISGATEWAY": true}"#).unwrap().is_gateway);
    assert_eq!(read(r#"{"mtu": 1, "MTU": 2, "mTu": 3}"#).unwrap().mtu, 3);
    // Kelvin sign and long s fold to ASCII letters, as in Go.
    assert!(read("{\"i\u{17f}Gateway\": true}").unwrap().is_gateway);
    let tree = Json::parse("{\"\u{212a}ind\": 1}".as_bytes()).unwrap();
    assert_eq!(tree.get("kind"), Some(&Json::from(1_u64)));
    assert!(!same_key("key", "kez") && !same_key("\u{212a}ey", "kez") && !same_key("a", "ab"));
}

#[test]
fn an_exact_key_goes_to_its_own_field() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Two {
        a: u8,
        #[serde(rename = "A")]
        upper: u8,
    }
    let two: Two = from_json(&Json::parse(br#"{"A": 1, "a": 2}"#).unwrap()).unwrap();
    assert_eq!(two, Two { a: 2, upper: 1 });
}

#[test]
fn null_means_not_given() {
    assert_eq!(read("null").unwrap(), Conf::default());
    let all = r#"{"isGateway":null,"mtu":null,"name":null,"ranges":null,"range":null,"caps":null,"vlan":null}"#;
    assert_eq!(read(all).unwrap(), Conf::default());
    assert_eq!(read(r#"{"mtu": 7, "mtu": null}"#).unwrap().mtu, 7);
    let inner = read(r#"{"ranges": [null, [null]], "caps": {"x": null}}"#).unwrap();
    assert_eq!(inner.ranges, vec![vec![], vec![Range::default()]]);
    assert!(!inner.caps["x"]);
    assert_eq!(Json::parse(br#"{"a": 1, "A": null}"#).unwrap().get("a"), Some(&Json::from(1_u64)));
}

#[test]
fn wrong_types_name_the_key() {
    for (text, path) in [
        (r#"{"mtu": "1500"}"#, "mtu"),
        (r#"{"MTU": -1}"#, "mtu"),
        (r#"{"mtu": 4294967296}"#, "mtu"),
        (r#"{"mtu": 1.5}"#, "mtu"),
        (r#"{"ranges": [[], [{}, {"Subnet": 1}]]}"#, "ranges[1][1].subnet"),
        (r#"{"range": []}"#, "range"),
        (r#"{"caps": {"portMappings": "yes"}}"#, "caps.portMappings"),
        (r#"{"isGateway": "true"}"#, "isGateway"),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!(error.path, path, "{text}: {error}");
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn whole_numbers_are_integers_however_written() {
    assert_eq!(read(r#"{"mtu": 1500.0}"#).unwrap().mtu, 1500);
    assert_eq!(read(r#"{"mtu": 15e2}"#).unwrap().mtu, 1500);
    assert_eq!(Json::parse(b"[1e3,-1e3,1.5,1e300]").unwrap().to_vec(), b"[1000,-1000,1.5,1e+300]");
    assert_eq!(
        Json::parse(b"[-0.0, 9007199254740993, 18446744073709551615]").unwrap().to_vec(),
        b"[0,9007199254740993,18446744073709551615]"
    );
}

#[test]
fn fractions_are_read_exactly() {
    let text = "[33333333333333333333333333333333333333333333333333333333333333333333333.333333333]";
    let tree = Json::parse(text.as_bytes()).unwrap();
    assert_eq!(tree.to_vec(), b"[3.3333333333333335e+70]");
    assert_eq!(Json::parse(&tree.to_vec()).unwrap(), tree);
}

#[test]
fn hostile_documents_are_errors() {
    let deep = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
    assert!(Json::parse(&deep(127)).is_ok());
    for bytes in [
        &b""[..],
        b"{",
        b"{\"a\": NaN}",
        b"{\"a\": Infinity}",
        b"{\"a\": 1e999}",
        b"{\"a\": 01}",
        b"{\"a\": 1} {}",
        b"\xef\xbb\xbf{}",
        b"{\"a\": \"\xff\"}",
        b"{\"a\": \"\\ud800\"}",
        b"{'a': 1}",
        &deep(128),
        &deep(500_000),
    ] {
        assert!(Json::parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    }
}

#[test]
fn messages_quote_little_of_a_long_value() {
    let text = format!(r#"{{"mtu": "{}"}}"#, "\u{e9}".repeat(300_000));
    assert!(read(&text).unwrap_err().to_string().len() < 500);
}

#[test]
fn set_and_remove_take_every_case() {
    let mut tree = Json::parse(br#"{"cniversion": 1, "x": 2, "CNIVersion": 3}"#).unwrap();
    tree.set("cniVersion", "1.0.0");
    assert_eq!(tree.to_vec(), br#"{"x":2,"cniVersion":"1.0.0"}"#);
    tree.remove("X");
    assert_eq!(tree.to_vec(), br#"{"cniVersion":"1.0.0"}"#);
    Json::Null.clone().set("a", true);
}

#[test]
fn pretty_is_indented_by_four() {
    assert_eq!(Json::parse(br#"{"a":[1]}"#).unwrap().to_vec_pretty(), b"{\n    \"a\": [\n        1\n    ]\n}");
}

fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        prop::num::f64::NORMAL.prop_map(|n| Json::parse(format!("{n:e}").as_bytes()).unwrap()),
        ".*".prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::Array),
            prop::collection::vec((".*", inner), 0..8).prop_map(Json::Object),
        ]
    })
}

#[test]
fn sorted_keys_are_in_the_order_of_their_bytes_at_every_depth() {
    let json =
        Json::parse(r#"{"b": [{"z": 1, "a": null}], "é": 1, "B": {"d": 1, "c": 2, "d": 3}, "a": "x"}"#.as_bytes())
            .unwrap();
    let text = String::from_utf8(json.to_vec_sorted()).unwrap();
    assert_eq!(text, r#"{"B":{"c":2,"d":3},"a":"x","b":[{"a":null,"z":1}],"é":1}"#);
}

proptest! {
    /// serde_json's own tree sorts its keys, too.
    #[test]
    fn sorted_is_what_serde_json_sorts(tree in tree()) {
        let own = serde_json::from_slice::<serde_json::Value>(&tree.to_vec()).unwrap();
        prop_assert_eq!(tree.to_vec_sorted(), serde_json::to_vec(&own).unwrap());
    }

    #[test]
    fn what_is_written_is_read_again(tree in tree()) {
        prop_assert_eq!(&Json::parse(&tree.to_vec()).unwrap(), &tree);
        prop_assert_eq!(&Json::parse(&tree.to_vec_pretty()).unwrap(), &tree);
    }

    #[test]
    fn any_bytes_are_a_document_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(tree) = Json::parse(&bytes) {
            let _ = from_json::<Conf>(&tree);
        }
    }

    #[test]
    fn any_tree_is_a_configuration_or_an_error(tree in tree()) {
        let _ = from_json::<Conf>(&tree);
    }

    #[test]
    fn integers_keep_their_value(n in any::<u64>(), m in any::<i64>()) {
        let text = format!("[{n},{m}]");
        prop_assert_eq!(Json::parse(text.as_bytes()).unwrap().to_vec(), text.into_bytes());
    }
}
