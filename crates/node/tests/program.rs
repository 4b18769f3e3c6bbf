//! The built binary as a program: its names, what it says about itself, how it answers mistakes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn run(name: &str, args: &[&str], env: &[(&str, &str)], stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plexus-node"));
    command.arg0(format!("/opt/cni/bin/{name}")).args(args).env_clear().envs(env.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn each_name_is_a_plugin() {
    for name in ["multus", "plexus", "bridge", "macvlan", "flannel", "host-local", "static", "loopback"] {
        let out = run(name, &[], &[("CNI_COMMAND", "VERSION")], b"");
        assert!(out.status.success(), "{name}");
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(answer["cniVersion"], "1.1.0", "{name}");
        let versions: Vec<&str> =
            answer["supportedVersions"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        assert_eq!(versions, ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"], "{name}");
        let out = run(name, &[], &[], b"");
        assert!(
            out.status.success() && out.stdout.is_empty() && text(&out.stderr).contains("plugin version"),
            "{name}"
        );
    }
}

#[test]
fn the_plugin_that_passes_results_through_is_there() {
    let env = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/nonexistent/netns"),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", "/nonexistent"),
    ];
    let out = run("passthru", &[], &env, br#"{"name": "chain", "cniVersion": "1.0.0", "type": "passthru"}"#);
    assert!(out.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&out.stdout).unwrap(), serde_json::json!({"cniVersion": "1.0.0"}));
}

#[test]
fn the_meta_plugin_is_told_by_verb_and_by_environment() {
    for (name, args) in [("plexus-node", &["cni"][..]), ("plexus-node", &[]), ("anything", &[])] {
        let out = run(name, args, &[("CNI_COMMAND", "VERSION")], b"");
        assert!(out.status.success() && text(&out.stdout).contains("supportedVersions"), "{name} {args:?}");
    }
}

#[test]
fn people_get_help_and_version() {
    let out = run("plexus-node", &["--version"], &[], b"");
    assert!(out.status.success());
    assert_eq!(text(&out.stdout).trim(), format!("plexus-node {}", env!("CARGO_PKG_VERSION")));
    let out = run("plexus-node", &["--help"], &[], b"");
    assert!(out.status.success() && text(&out.stdout).contains("cni") && text(&out.stdout).contains("macvlan"));
    for args in [&[][..], &["nonsense"], &["cni", "more"]] {
        let out = run("plexus-node", args, &[], b"");
        assert!(!out.status.success() && !out.stderr.is_empty() && out.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn mistakes_get_a_code_and_name_the_key() {
    let env = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/nonexistent/netns"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/nonexistent"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let with_dir = |conf: &str| conf.replace("DIR", &dir.path().display().to_string());
    let cases = [
        (r#"{"name": "n", "cniVersion": "1.0.0", "cniDir": "DIR"}"#, 7, "delegates"),
        (r#"{"name": "n", "cniVersion": "1.0.0", "cniDir": "DIR", "delegates": [{}]}"#, 7, "delegates[0]"),
        (r#"{"name": "n", "cniVersion": "1.0.0", "cniDir": "DIR", "delegates": 7}"#, 6, "delegates"),
        (r#"{"name": "n", "cniVersion": "1.0.0", "cniDir": "DIR", "logToStderr": 7}"#, 6, "logToStderr"),
        (r#"{"name": "../n", "cniVersion": "1.0.0", "cniDir": "DIR"}"#, 7, "name"),
        (r#"{"name": "n", "cniVersion": "2.0.0", "cniDir": "DIR"}"#, 1, "2.0.0"),
        (r#"{"name": "n", "cniDir": "DIR", "delegates": [{"type": "loopback"}]}"#, 0, "/nonexistent/netns"),
        ("{", 6, ""),
        ("", 6, ""),
        ("\u{feff}{}", 6, ""),
    ];
    for (conf, code, word) in cases {
        let out = run("multus", &[], &env, with_dir(conf).as_bytes());
        assert_eq!(out.status.code(), Some(1), "{conf}");
        let error: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert!(code == 0 || error["code"] == code, "{conf}: {error}");
        assert!(error.to_string().contains(word), "{conf}: {error}");
    }
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "nothing was touched");
    let out = run("multus", &[], &env, &[b'{'; 100_000]);
    assert_eq!(serde_json::from_slice::<Value>(&out.stdout).unwrap()["code"], 6, "deep nesting");
    let out = run("multus", &[], &env, b"{\"name\": \"\xff\xfe\"}");
    assert_eq!(serde_json::from_slice::<Value>(&out.stdout).unwrap()["code"], 6, "not UTF-8");
}

#[test]
fn logs_go_where_the_keys_say() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0"), ("CNI_PATH", "/nonexistent")];
    let del = |keys: &str| {
        let d = dir.path().display();
        // A DEL that cannot know what to delete says so, and succeeds.
        let conf = format!(
            r#"{{"name": "n", "cniVersion": "1.0.0", "cniDir": "{d}/cni", "clusterNetwork": "{d}/none.conflist", {keys}}}"#
        );
        let out = run("multus", &[], &env, conf.as_bytes());
        assert!(out.status.success(), "{}", text(&out.stdout));
        text(&out.stderr).to_owned()
    };
    let file = dir.path().join("logs/plexus.log");
    let log = format!(r#""logFile": "{}""#, file.display());
    assert!(del(r#""logLevel": """#).contains("no record"), "by default");
    assert_eq!(del(r#""logLevel": "error""#), "", "a warning is no error");
    assert_eq!(del(r#""logLevel": "panic""#), "");
    assert_eq!(del(r#""logToStderr": false"#), "");
    assert!(!file.exists());
    assert!(del(&format!(r#"{log}, "logLevel": "debug""#)).contains("no record"), "both");
    assert_eq!(del(&format!(r#"{log}, "logToStderr": false, "logFormat": "json""#)), "");
    let logged = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = logged.lines().collect();
    assert_eq!(lines.len(), 2, "{logged}");
    assert!(lines[0].contains("no record") && lines[0].contains("WARN"), "{logged}");
    let line: Value = serde_json::from_str(lines[1]).unwrap();
    assert!(line["fields"]["message"].as_str().unwrap().contains("no record") && line["level"] == "WARN", "{line}");
    assert!(del(r#""logLevel": "loud""#).contains("logLevel"), "an unknown level is said");
    assert!(
        del(r#""logFile": "/proc/nowhere/x.log""#).contains("/proc/nowhere/x.log"),
        "so is a file that cannot be written"
    );
}
