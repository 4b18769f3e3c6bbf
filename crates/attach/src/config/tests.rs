use proptest::prelude::*;
use testkit::{Document, document, keys};

use super::*;
use crate::testing::json;

fn read(text: &str) -> Result<Config> {
    Config::read(&json(text))
}

#[test]
fn what_is_left_out_has_multus_defaults() {
    let config = read(r#"{"name": "n", "delegates": [{"type": "x"}]}"#).unwrap();
    assert_eq!(config.version, Version::V0_1_0);
    assert!(!config.has_version);
    assert_eq!(config.conf_dir, PathBuf::from("/etc/cni/multus/net.d"));
    assert_eq!(config.cni_dir, PathBuf::from("/var/lib/cni/multus"));
    assert_eq!(config.bin_dir, PathBuf::from("/opt/cni/bin"));
    assert_eq!(config.system_namespaces, ["kube-system"]);
    assert_eq!(config.global_namespaces, ["default"]);
    assert_eq!(config.multus_namespace, "kube-system");
    assert_eq!(config.delegate_timeout, Duration::from_secs(60));
    assert!(config.in_process && config.log.to_stderr && config.log.compress);
    assert_eq!((config.log.max_age_days, config.log.max_size_mb, config.log.max_backups), (5, 100, 5));
    assert_eq!(config.secondary_default_routes, None);
}

#[test]
fn keys_are_matched_as_go_does() {
    let config = read(
        r#"{"NAME": "n", "CNIVersion": "1.1.0", "cnidir": "/a", "cniDir": "/b", "CLUSTERNETWORK": "flannel", "binDir": null,
            "auxiliarycnichainname": "chain", "ReadinessIndicatorFile": "/run/ready", "globalNamespaces": " a, b ,",
            "secondaryDefaultRoutes": "keep", "inProcess": "never", "runtimeConfigTo": "all", "logFormat": "json",
            "logOptions": {"maxSize": 1}, "retryDeleteOnError": true, "unknown": {"deep": []}}"#,
    )
    .unwrap();
    assert_eq!((config.name.as_str(), config.version), ("n", Version::V1_1_0));
    assert_eq!(config.cni_dir, PathBuf::from("/b"));
    assert_eq!(config.bin_dir, PathBuf::from("/opt/cni/bin"));
    assert_eq!(config.cluster_network, "flannel");
    assert_eq!(config.auxiliary_chain, "chain");
    assert_eq!(config.readiness_file, Some(PathBuf::from("/run/ready")));
    assert_eq!(config.global_namespaces, ["a", "b"]);
    assert_eq!(config.secondary_default_routes, Some(SecondaryDefaultRoutes::Keep));
    assert!(!config.in_process);
    assert_eq!(config.runtime_config_to, RuntimeConfigTo::All);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!((config.log.max_size_mb, config.log.max_age_days), (1, 5));
}

#[test]
fn a_mistake_is_named() {
    let cases = [
        (r#"{"delegates": {}}"#, 6, "delegates"),
        (r#"{"confDir": 1}"#, 6, "confDir"),
        (r#"{"defaultNetworks": [1]}"#, 6, "defaultNetworks[0]"),
        (r#"{"logToStderr": "yes"}"#, 6, "logToStderr"),
        (r#"{"logOptions": {"maxAge": -1}}"#, 6, "logOptions.maxAge"),
        (r#"{"delegateTimeout": 1e99}"#, 6, "delegateTimeout"),
        (r#"{"delegateTimeout": 0}"#, 7, "delegateTimeout"),
        (r#"{"inProcess": "sometimes"}"#, 6, "inProcess"),
        (r#"{"secondaryDefaultRoutes": true}"#, 6, "secondaryDefaultRoutes"),
        (r#"{"cniDir": ""}"#, 7, "cniDir"),
        (r#"{"cniVersion": "9.9.9"}"#, 1, "version"),
        (r#"[]"#, 6, "object"),
        (r#""text""#, 6, "object"),
    ];
    for (text, code, word) in cases {
        let error = read(text).unwrap_err();
        assert_eq!(error.code, Code(code), "{text}: {error}");
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
}

/// docs/configuration.md: every key, and no other; a key set to its documented default changes nothing.
#[test]
fn the_documentation_is_current() {
    let section = Document::open("configuration.md").section("## The meta-plugin");
    let mut known = keys::<Wire>();
    // A delegate's, which `plan` reads.
    known.insert("masterplugin".to_owned(), Vec::new());
    assert_eq!(section.differences(&known), [""; 0]);

    let without = format!("{:?}", read("{}").unwrap());
    for (key, row) in section.keys().into_iter().filter(|(key, _)| key != "masterplugin") {
        let Some(default) = document::code(&row[1]).next() else {
            assert!(row[1].starts_with('—'), "{key}: neither a default nor a reason for none: {}", row[1]);
            continue;
        };
        let mut value = json(default);
        for part in key.split('.').rev() {
            let mut object = Json::object();
            object.set(part, value);
            value = object;
        }
        assert_eq!(format!("{:?}", Config::read(&value).unwrap()), without, "{key}");
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<u64>().prop_map(Json::from),
        ".{0,8}".prop_map(Json::String),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let key = prop_oneof![
            Just("delegates".to_owned()),
            Just("logOptions".to_owned()),
            Just("cniVersion".to_owned()),
            Just("type".to_owned()),
            Just("plugins".to_owned()),
            ".{0,6}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
            prop::collection::vec((key, inner), 0..6).prop_map(Json::Object),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_is_read_or_refused(conf in any_json()) {
        if let Err(e) = Config::read(&conf) {
            prop_assert!([1, 6, 7].contains(&e.code.0), "{e}");
        }
    }

    #[test]
    fn any_delegates_are_planned_or_refused(delegates in prop::collection::vec(any_json(), 0..4)) {
        let mut conf = json(r#"{"name": "n"}"#);
        conf.set("delegates", delegates);
        let config = Config::read(&conf).unwrap();
        if let Err(e) = crate::plan::networks(&config, "", None) {
            prop_assert!(!e.message.is_empty());
        }
    }
}
