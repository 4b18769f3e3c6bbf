use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use proptest::prelude::*;

use super::*;

const GOOD: [(&str, &str); 8] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "some-id_1.x"),
    ("CNI_NETNS", "/run/netns/a"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_ARGS", "K=V"),
    ("CNI_PATH", "/a::/b:"),
    ("CNI_NETNS_OVERRIDE", "TRUE"),
    ("CNI_OTHER", "x"),
];

const CONF: &str = r#"{"cniVersion": "1.1.0", "name": "net", "type": "t"}"#;

/// The good environment with these variables set otherwise, and the configuration.
fn with(changes: &[(&str, &str)], conf: &str) -> Result<Call> {
    let var = |name: &str| {
        let changed = changes.iter().find(|(n, _)| *n == name);
        changed.or(GOOD.iter().find(|(n, _)| *n == name)).map(|(_, v)| OsString::from(v))
    };
    call(var, &mut conf.as_bytes())
}

/// Code and message of the error.
fn error(changes: &[(&str, &str)], conf: &str) -> (u32, String) {
    let error = with(changes, conf).unwrap_err();
    (error.code.0, error.message)
}

#[test]
fn a_whole_call() {
    let call = with(&[], CONF).unwrap();
    assert_eq!(call.command, Command::Add);
    assert_eq!((call.container_id.as_str(), call.netns.as_str()), ("some-id_1.x", "/run/netns/a"));
    assert_eq!((call.ifname.as_str(), call.args.as_str(), call.network()), ("eth0", "K=V", "net"));
    assert_eq!(call.path, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert!(call.netns_override);
    for (value, expected) in [("1", true), ("true", true), ("0", false), ("yes", false), ("", false)] {
        assert_eq!(with(&[("CNI_NETNS_OVERRIDE", value)], CONF).unwrap().netns_override, expected, "{value}");
    }
}

/// Reference section 1.1: which variables each command needs.
#[test]
fn missing_variables_are_listed_in_one_error() {
    for (command, missing) in [
        ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
        ("", "CNI_COMMAND"),
    ] {
        let only = |name: &str| (name == "CNI_COMMAND").then(|| OsString::from(command));
        let error = call(only, &mut CONF.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::INVALID_ENVIRONMENT);
        assert_eq!(error.message, format!("required env variables [{missing}] missing"), "{command}");
    }
    assert_eq!(error(&[("CNI_NETNS", "")], CONF).1, "required env variables [CNI_NETNS] missing");
    assert!(with(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", ""), ("CNI_ARGS", "")], CONF).is_ok());
}

#[test]
fn commands() {
    assert_eq!(error(&[("CNI_COMMAND", "add")], CONF), (4, "unknown CNI_COMMAND: add".to_owned()));
    // VERSION needs nothing else and does not touch stdin.
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let only = |command: &'static str| move |name: &str| (name == "CNI_COMMAND").then(|| OsString::from(command));
    assert_eq!(call(only("VERSION"), &mut Broken).unwrap().command, Command::Version);
    let var = |name: &str| GOOD.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
    let error = call(var, &mut Broken).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::IO, "error reading from stdin: broken"));
}

#[test]
fn what_belongs_to_an_attachment_is_not_taken_for_gc_and_status() {
    for command in ["GC", "STATUS"] {
        let call = with(&[("CNI_COMMAND", command), ("CNI_IFNAME", "a/b"), ("CNI_CONTAINERID", "../x")], CONF).unwrap();
        assert_eq!((call.container_id, call.ifname, call.netns, call.args), Default::default());
    }
}

#[test]
fn names_are_validated() {
    for (name, value, code) in [
        ("CNI_CONTAINERID", "../../etc", 4),
        ("CNI_CONTAINERID", "-x", 4),
        ("CNI_IFNAME", "1234567890123456", 4),
        ("CNI_IFNAME", "..", 4),
        ("CNI_IFNAME", "a/b", 4),
        ("CNI_IFNAME", "a:b", 4),
        ("CNI_IFNAME", "a b", 4),
    ] {
        let (found, message) = error(&[(name, value)], CONF);
        assert_eq!(found, code, "{value}");
        assert!(message.starts_with(name), "{message}");
    }
}

#[test]
fn variables_that_are_not_utf8() {
    for name in ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        let var = |n: &str| {
            let good = GOOD.iter().find(|(g, _)| *g == n).map(|(_, v)| OsString::from(v));
            if n == name { Some(OsStr::from_bytes(b"\xff\xfe").to_owned()) } else { good }
        };
        let error = call(var, &mut CONF.as_bytes()).unwrap_err();
        assert_eq!((error.code, error.message), (Code::INVALID_ENVIRONMENT, format!("{name} is not UTF-8")));
    }
}

#[test]
fn configurations() {
    for (conf, code, names) in [
        ("", 6, "EOF"),
        ("{", 6, "EOF"),
        ("[]", 6, "object"),
        ("null", 6, "object"),
        ("{}", 7, "missing network name"),
        (r#"{"name": ""}"#, 7, "missing network name"),
        (r#"{"name": null}"#, 7, "missing network name"),
        (r#"{"name": 1}"#, 6, "\"name\""),
        (r#"{"name": "a/b"}"#, 7, "invalid characters"),
        (r#"{"name": "n", "cniVersion": 1}"#, 6, "\"cniVersion\""),
        (r#"{"name": "n", "cniVersion": "0.3"}"#, 1, "incompatible CNI versions"),
        (r#"{"name": "n", "cniVersion": "9.0.0"}"#, 1, "incompatible CNI versions"),
    ] {
        let (found, message) = error(&[], conf);
        assert_eq!(found, code, "{conf}: {message}");
        assert!(message.contains(names), "{conf}: {message}");
    }
    // Go finds the keys in any case; no version is 0.1.0.
    assert_eq!(with(&[], r#"{"NAME": "n"}"#).unwrap().version().unwrap(), Version::V0_1_0);
    let var = |name: &str| GOOD.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
    assert_eq!(call(var, &mut &b"{\"name\": \"\xff\"}"[..]).unwrap_err().code, Code::DECODE);
}

#[test]
fn commands_need_their_version() {
    for (command, version, message) in [
        ("CHECK", "0.3.1", "config version does not allow CHECK"),
        ("CHECK", "", "config version does not allow CHECK"),
        ("GC", "1.0.0", "config version does not allow GC"),
        ("STATUS", "1.0.0", "config version does not allow STATUS"),
    ] {
        let conf = format!(r#"{{"name": "n", "cniVersion": "{version}"}}"#);
        assert_eq!(error(&[("CNI_COMMAND", command)], &conf), (1, message.to_owned()));
    }
    for (command, version) in [("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0"), ("ADD", "0.1.0"), ("DEL", "")]
    {
        assert!(with(&[("CNI_COMMAND", command)], &format!(r#"{{"name": "n", "cniVersion": "{version}"}}"#)).is_ok());
    }
}

#[test]
fn stdin_has_a_limit() {
    let conf = |length: usize| format!("{}{}", r#"{"name": "n"}"#, " ".repeat(length - 13));
    assert!(with(&[], &conf(1_000_000)).is_ok());
    let (code, message) = error(&[], &conf(1_000_001));
    assert_eq!(code, 5);
    assert!(message.contains("1000000 bytes"), "{message}");
}

proptest! {
    #[test]
    fn any_environment_is_a_call_or_an_error(
        values in prop::collection::vec("(ADD|DEL|CHECK|GC|STATUS|VERSION|.{0,20})", 8),
        stdin in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let var = |name: &str| GOOD.iter().position(|(n, _)| *n == name).map(|i| OsString::from(&values[i]));
        let _ = call(var, &mut &stdin[..]);
    }

    #[test]
    fn what_passes_is_well_formed(id in ".{0,20}", ifname in ".{0,20}") {
        if let Ok(call) = with(&[("CNI_CONTAINERID", &id), ("CNI_IFNAME", &ifname)], CONF) {
            prop_assert!(!call.container_id.contains('/') && !call.container_id.starts_with('.'));
            prop_assert!(!call.ifname.contains('/') && call.ifname.len() <= 15);
        }
    }
}
