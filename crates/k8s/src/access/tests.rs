use std::fs;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

fn pem() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new(["a".to_owned()]).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn read(text: &str) -> (TempDir, Result<Access>) {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = pem();
    fs::write(dir.path().join("ca.crt"), &certificate).unwrap();
    fs::write(dir.path().join("me.crt"), &certificate).unwrap();
    fs::write(dir.path().join("me.key"), key).unwrap();
    fs::write(dir.path().join("token"), "first\n").unwrap();
    let path = dir.path().join("config");
    fs::write(&path, text).unwrap();
    let access = Access::new(&Credentials::Kubeconfig(path));
    (dir, access)
}

/// As people and kubeadm write it, with another user and cluster beside.
const YAML: &str = r#"
# comment
apiVersion: v1
kind: Config
current-context: &here plexus@home
preferences: {}
clusters:
- name: other
  cluster: {server: "https://192.0.2.1"}
- cluster:
    certificate-authority: ca.crt
    server: https://10.99.0.1:6443/k8s/clusters/c-1
    tls-server-name: kubernetes
  name: home
contexts:
- context:
    cluster: home
    namespace: kube-system
    user: plexus
  name: *here
users:
- name: nobody
  user:
- name: plexus
  user:
    client-certificate: me.crt
    client-key: me.key
    token: "old"
    tokenFile: token
"#;

#[test]
fn yaml_with_files_relative_to_it() {
    let (dir, access) = read(YAML);
    let access = access.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(access.server, "https://10.99.0.1:6443/k8s/clusters/c-1");
    assert!(matches!(&access.trust, Trust::Authorities(all) if all.len() == 1));
    assert_eq!(access.server_name.as_deref(), Some("kubernetes"));
    assert_eq!(access.identity.as_ref().unwrap().0.len(), 1);
    // The token file counts, and is read anew.
    assert_eq!(access.token.read().unwrap().unwrap(), "first");
    fs::write(dir.path().join("token"), "second").unwrap();
    assert_eq!(access.token.read().unwrap().unwrap(), "second");
    fs::write(dir.path().join("token"), "\n").unwrap();
    assert!(access.token.read().unwrap_err().message.ends_with("token is empty"));
}

fn json(cluster: &serde_json::Value, user: &serde_json::Value) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}], "users": [{"name": "u", "user": user}]})
    .to_string()
}

#[test]
fn json_with_everything_inside() {
    let ca = STANDARD.encode(pem().0.repeat(2));
    let cluster = serde_json::json!({"server": "https://[2001:db8::1]:443", "certificate-authority-data": ca});
    let (_dir, access) = read(&json(&cluster, &serde_json::json!({"token": "t"})));
    let access = access.unwrap_or_else(|e| panic!("{e}"));
    assert!(matches!(&access.trust, Trust::Authorities(all) if all.len() == 2));
    assert_eq!(access.token.read().unwrap().unwrap(), "t");
    assert!(access.identity.is_none());

    let cluster = serde_json::json!({"server": "10.0.0.1", "insecure-skip-tls-verify": true});
    let (_dir, access) = read(&json(&cluster, &serde_json::Value::Null));
    let access = access.unwrap_or_else(|e| panic!("{e}"));
    assert!(
        access.server == "https://10.0.0.1" && access.trust == Trust::Anyone && access.token.read().unwrap().is_none()
    );
}

#[test]
fn what_is_wrong_is_named() {
    let server = serde_json::json!({"server": "https://a"});
    let ca = |data: &str| serde_json::json!({"server": "https://a", "certificate-authority-data": data});
    let nobody = serde_json::json!({});
    for (text, said) in [
        (json(&serde_json::json!({"server": "ftp://a"}), &nobody), "\"ftp://a\" is not usable"),
        (json(&serde_json::json!({"server": "a b"}), &nobody), "\"a b\" is not usable"),
        (json(&serde_json::json!({"server": "https://a", "proxy-url": "http://p"}), &nobody), "\"proxy-url\""),
        (
            json(&serde_json::json!({"server": "https://a", "certificate-authority": "no.crt"}), &nobody),
            "no.crt is not there",
        ),
        (json(&ca("%"), &nobody), "\"certificate-authority-data\" is not base64"),
        (json(&ca("YQ=="), &nobody), "holds no certificate"),
        (json(&server, &serde_json::json!({"exec": {"command": "aws"}})), "\"exec\" is not supported"),
        (json(&server, &serde_json::json!({"as": "root"})), "\"as\" is not supported"),
        (json(&server, &serde_json::json!({"client-certificate": "me.crt"})), "only one is there"),
        (json(&server, &serde_json::json!({"client-certificate": "me.crt", "client-key": "me.crt"})), "no private key"),
        (json(&server, &nobody).replace(r#""name":"k""#, r#""name":"j""#), "it has no cluster \"k\""),
        (json(&server, &nobody).replace("current-context", "context"), "it names no context"),
        ("{".to_owned(), "it is no YAML"),
        ("clusters: 7".to_owned(), "it is no kubeconfig: something else than a sequence"),
        ("clusters:\n- name: k\n  cluster: {}".to_owned(), "missing field `server`"),
        (String::new(), "it names no context"),
    ] {
        let error = read(&text).1.err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(
            error.message.contains(said) && error.message.ends_with("check key \"kubeconfig\" of the configuration"),
            "{error}"
        );
    }
    let missing = Access::new(&Credentials::Kubeconfig("/nonexistent".into())).err().unwrap();
    assert!(missing.message.contains("/nonexistent is not there"), "{missing}");
}

/// What does not parse is quoted by the YAML library; a secret in it must not get into a log.
#[test]
fn no_secret_in_an_error() {
    let error = read("users:\n- name: u\n  user: {token: [hunter2]}").1.err().unwrap();
    assert!(!error.message.contains("hunter2"), "{error}");
    let error = read("users:\n- name: u\n  user: hunter2").1.err().unwrap();
    assert!(!error.message.contains("hunter2"), "{error}");
    let error = read("users:\n- name: u\n  user: {token: hunter2, client-key-data: [hunter2\n").1.err().unwrap();
    assert!(!error.message.contains("hunter2"), "{error}");
}

#[test]
fn the_service_account_of_a_pod() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.crt"), pem().0).unwrap();
    fs::write(dir.path().join("token"), "t").unwrap();
    let access = in_cluster("2001:db8::1", "443", dir.path()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(access.server, "https://[2001:db8::1]:443");
    assert_eq!(access.token.read().unwrap().unwrap(), "t");
    assert!(in_cluster("", "", dir.path()).is_err());
}
