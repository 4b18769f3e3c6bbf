use proptest::prelude::*;

use super::*;

fn list(text: &str) -> Result<NetworkList> {
    NetworkList::parse(text.as_bytes())
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_list_with_everything() {
    let text = r#"{"cniVersion": "1.0.0", "name": "net", "disableCheck": true, "disableGC": "TRUE", "loadOnlyInlinedPlugins": "false",
        "plugins": [{"type": "bridge", "name": "own", "x": [1]}, {"type": "tuning"}]}"#;
    let list = list(text).unwrap();
    assert_eq!((list.name.as_str(), list.version, list.cni_version.as_str()), ("net", Version::V1_0_0, "1.0.0"));
    assert!(list.disable_check && list.disable_gc && !list.load_only_inlined_plugins);
    assert_eq!(list.plugins.iter().map(|p| p.plugin_type.as_str()).collect::<Vec<_>>(), ["bridge", "tuning"]);
    assert_eq!((list.plugins[0].name(), list.plugins[1].name()), ("own", ""));
    assert_eq!(list.bytes, text.as_bytes());
}

#[test]
fn keys_in_any_case() {
    let list = list(r#"{"CNIVersion": "0.4.0", "Name": "n", "PLUGINS": [{"Type": "t"}]}"#).unwrap();
    assert_eq!((list.version, list.name.as_str(), list.plugins[0].plugin_type.as_str()), (Version::V0_4_0, "n", "t"));
}

#[test]
fn version_selection() {
    let chosen = |versions: &str| {
        list(&format!(r#"{{{versions}"name": "n", "plugins": [{{"type": "t"}}]}}"#)).map(|l| l.cni_version)
    };
    for (versions, expected) in [
        ("", ""),
        (r#""cniVersion": "0.3.1","#, "0.3.1"),
        (r#""cniVersions": [],"#, ""),
        (r#""cniVersions": [], "cniVersion": "1.0.0","#, "1.0.0"),
        (r#""cniVersions": ["0.1.0", "1.0.0", "0.4.0"],"#, "1.0.0"),
        (r#""cniVersions": ["0.3.1"], "cniVersion": "1.1.0","#, "1.1.0"),
        (r#""cniVersions": ["1.0.0"], "cniVersion": "0.3.1","#, "1.0.0"),
        (r#""cniVersions": ["1.0.0", "2.0.0", "1.2.0", "1.1.1"],"#, "1.0.0"),
        (r#""cniVersions": ["1.0.0"], "cniVersion": "9.0.0","#, "1.0.0"),
        // Two spellings of one version: the one that plugins know.
        (r#""cniVersions": ["1.0.0", "1.0"],"#, "1.0.0"),
        (r#""cniVersions": null, "cniVersion": "0.4.0","#, "0.4.0"),
    ] {
        assert_eq!(chosen(versions).unwrap(), expected, "{versions}");
    }
    for (versions, code) in [
        (r#""cniVersion": "0.9.0","#, Code::INCOMPATIBLE_VERSION),
        (r#""cniVersion": "1.0","#, Code::INCOMPATIBLE_VERSION),
        (r#""cniVersions": ["2.0.0"], "cniVersion": "3.0.0","#, Code::INCOMPATIBLE_VERSION),
        (r#""cniVersion": 1,"#, Code::DECODE),
        (r#""cniVersions": "1.0.0","#, Code::DECODE),
        (r#""cniVersions": ["1.0.0", 1],"#, Code::DECODE),
        (r#""cniVersions": ["1.x"],"#, Code::INVALID_CONFIG),
        (r#""cniVersions": ["1.0.0.0"],"#, Code::INVALID_CONFIG),
        (r#""cniVersions": ["1.0.0"], "cniVersion": "one","#, Code::INVALID_CONFIG),
    ] {
        assert_eq!(chosen(versions).unwrap_err().code, code, "{versions}");
    }
}

#[test]
fn bad_lists_name_the_key() {
    for (text, code, names) in [
        ("", Code::DECODE, "EOF"),
        ("[]", Code::DECODE, "object"),
        ("null", Code::DECODE, "object"),
        ("{}", Code::INVALID_CONFIG, "name"),
        (r#"{"name": 1}"#, Code::DECODE, "name"),
        (r#"{"name": "n", "plugins": []}"#, Code::INVALID_CONFIG, "no plugins in list"),
        (r#"{"name": "n", "plugins": {}}"#, Code::DECODE, "plugins"),
        (
            r#"{"name": "n", "plugins": ["bridge"]}"#,
            Code::DECODE,
            "plugin config 0: error parsing configuration: invalid type: string \"bridge\", expected an object",
        ),
        (r#"{"name": "n", "plugins": [{"type": "a"}, {"tpye": "b"}]}"#, Code::INVALID_CONFIG, "plugin config 1"),
        (r#"{"name": "n", "plugins": [{"type": ["a"]}]}"#, Code::DECODE, "type"),
        (r#"{"name": "n", "plugins": [{"type": "a", "capabilities": []}]}"#, Code::DECODE, "capabilities"),
        (r#"{"name": "n", "plugins": [{"type": "a", "capabilities": {"mac": 1}}]}"#, Code::DECODE, "capabilities.mac"),
        (r#"{"name": "n", "plugins": [{"type": "a", "ipam": "host-local"}]}"#, Code::DECODE, "ipam"),
        (r#"{"name": "n", "plugins": [{"type": "a", "dns": {"search": "x"}}]}"#, Code::DECODE, "dns.search"),
        (r#"{"name": "n", "loadOnlyInlinedPlugins": true}"#, Code::INVALID_CONFIG, "loadOnlyInlinedPlugins"),
        (r#"{"name": "n", "disableGC": "yes", "plugins": [{"type": "a"}]}"#, Code::DECODE, "disableGC"),
        (r#"{"name": "n", "disableCheck": 1, "plugins": [{"type": "a"}]}"#, Code::DECODE, "disableCheck"),
    ] {
        let error = list(text).unwrap_err();
        assert_eq!(error.code, code, "{text}: {error}");
        assert!(error.message.contains(names), "{text}: {error}");
    }
}

#[test]
fn plugins_may_all_be_drop_ins() {
    assert!(list(r#"{"name": "n"}"#).unwrap().plugins.is_empty());
}

#[test]
fn one_plugin_as_a_list() {
    let list = NetworkList::from_single(br#"{"cniVersion": "0.3.1", "name": "n", "type": "macvlan"}"#).unwrap();
    assert_eq!((list.name.as_str(), list.version, list.plugins.len()), ("n", Version::V0_3_1, 1));
    let list = NetworkList::from_single(br#"{"type": "macvlan"}"#).unwrap();
    assert_eq!((list.name.as_str(), list.version, list.cni_version.as_str()), ("", Version::V0_1_0, ""));
    assert_eq!(NetworkList::from_single(b"{}").unwrap_err().code, Code::INVALID_CONFIG);
}

#[test]
fn requests() {
    let list = list(
        r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"CNIVersion": "0.1.0", "type": "t", "name": "own", "Other": {"A": 1},
            "capabilities": {"mac": true, "ips": false, "bandwidth": true, "Mac": true, "aliases": null},
            "runtimeConfig": {"hand": "made"}}]}"#,
    )
    .unwrap();
    let plugin = &list.plugins[0];
    assert_eq!(plugin.capabilities(), ["mac", "bandwidth", "Mac"]);

    let request = plugin.request(&list, None, &Json::Null).unwrap();
    assert_eq!(request.get("name").and_then(Json::as_str), Some("net"));
    assert_eq!(request.get("cniVersion").and_then(Json::as_str), Some("1.0.0"));
    assert_eq!(request.members().unwrap().iter().filter(|(k, _)| k.eq_ignore_ascii_case("cniversion")).count(), 1);
    assert_eq!(request.get("runtimeConfig"), Some(&json(r#"{"hand": "made"}"#)));
    assert_eq!(request.get("prevResult"), None);
    assert!(request.get("capabilities").is_some());

    let arguments = json(r#"{"ips": ["10.0.0.1"], "mac": "first", "mac": "02:00:00:00:00:01", "dns": {}}"#);
    let result = CniResult::empty(Version::V1_0_0);
    let request = plugin.request(&list, Some(&result), &arguments).unwrap();
    assert_eq!(request.get("runtimeConfig"), Some(&json(r#"{"mac": "02:00:00:00:00:01"}"#)));
    assert_eq!(request.get("prevResult"), Some(&json(r#"{"cniVersion": "1.0.0"}"#)));
    assert_eq!(request.get("other"), Some(&json(r#"{"A": 1}"#)));
}

#[test]
fn many_small_members() {
    let keys: Vec<String> = (0..55_000).map(|i| format!("c{i}")).collect();
    let members = |value: &str| keys.iter().map(|k| format!("\"{k}\":{value}")).collect::<Vec<_>>().join(",");
    let (yes, no) = (members("true"), members("1"));
    let conf = json(&format!(r#"{{"type": "t", "capabilities": {{{yes}, "c7": false, "c8": false, "c8": true}}}}"#));
    let plugin = PluginConf::new(conf).unwrap();
    let capabilities = plugin.capabilities();
    assert_eq!((capabilities.len(), capabilities[7], capabilities[54_998]), (54_999, "c9", "c8"));
    let list = list(r#"{"name": "n", "plugins": [{"type": "t"}]}"#).unwrap();
    let request = plugin.request(&list, None, &json(&format!("{{{no}}}"))).unwrap();
    assert_eq!(request.get("runtimeConfig").unwrap().members().unwrap().len(), 54_999);
}

#[test]
fn a_list_without_version_sends_an_empty_one() {
    let list = NetworkList::from_single(br#"{"name": "n", "type": "t"}"#).unwrap();
    assert_eq!(
        list.plugins[0].request(&list, None, &Json::Null).unwrap().get("cniVersion").unwrap().as_str(),
        Some("")
    );
}

proptest! {
    #[test]
    fn any_bytes_are_a_list_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = NetworkList::parse(&bytes);
        let _ = NetworkList::from_single(&bytes);
    }

    #[test]
    fn any_values_are_a_list_or_an_error(
        values in prop::collection::vec(prop::sample::select(vec![
            "null", "true", "1", "-1.5", "\"\"", "\"1.1.0\"", "\"x\"", "[]", "{}", "[\"1.0.0\"]", "[{\"type\":\"a\"}]", "[null]",
            "{\"type\":\"a\"}",
        ]), 8),
    ) {
        let keys = ["name", "cniVersion", "cniVersions", "disableCheck", "disableGC", "loadOnlyInlinedPlugins", "plugins", "type"];
        let members: Vec<_> = keys.iter().zip(&values).map(|(k, v)| format!("\"{k}\":{v}")).collect();
        let text = format!("{{{}}}", members.join(","));
        if let Ok(list) = NetworkList::parse(text.as_bytes()) {
            for plugin in &list.plugins {
                prop_assert!(!plugin.plugin_type.is_empty());
                plugin.request(&list, None, &Json::Null).unwrap();
            }
        }
        let _ = NetworkList::from_single(text.as_bytes());
    }
}
