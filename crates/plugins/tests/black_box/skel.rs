//! What is the same for every plugin.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use cni::{Call, CniResult, Code, Error, Interface, Invoke, Result, Version};
use plugins::{Plugin, Static, skel};
use serde_json::json;

use crate::call::{Program, VERSIONS};

fn program() -> Program {
    Program::new(&Static)
}

#[test]
fn version_is_answered_without_stdin() {
    struct Unreadable;
    impl io::Read for Unreadable {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("VERSION reads no stdin")
        }
    }
    let mut stdout = Vec::new();
    let var = |name: &str| (name == "CNI_COMMAND").then(|| "VERSION".into());
    let code = skel::run(&Static, var, &mut Unreadable, &mut stdout, &mut Vec::new(), &Exhausted);
    assert_eq!(code, ExitCode::SUCCESS);
    let text = String::from_utf8(stdout).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer, json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}));
}

#[test]
fn typed_by_a_person() {
    let outcome = program().raw("", b"");
    assert!(outcome.success);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.starts_with("CNI static plugin version "), "{}", outcome.stderr);
    let versions = "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n";
    assert!(outcome.stderr.ends_with(versions), "{}", outcome.stderr);
}

#[test]
fn a_result_is_printed_as_go_prints_it() {
    let conf = json!({"cniVersion": "0.4.0", "name": "n", "ipam": {"addresses": [{"address": "10.0.0.1/8"}]}});
    let printed = program().call("ADD", &conf).stdout;
    assert!(printed.starts_with("{\n    \"cniVersion\": \"0.4.0\",\n    \"ips\": [\n        {\n"), "{printed}");
    assert!(printed.ends_with("\"dns\": {}\n}"), "{printed}");
}

#[test]
fn errors_of_the_environment_and_the_configuration() {
    let conf = json!({"cniVersion": "1.1.0", "name": "n", "ipam": {"addresses": [{"address": "10.0.0.1/8"}]}});
    let without = |names: &[&'static str]| names.iter().fold(program(), |p, name| p.with(name, ""));
    let all = without(&["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]);
    let message = "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing";
    assert_eq!(all.error("ADD", &conf), (4, message.into()));
    let message = "required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_PATH] missing";
    assert_eq!(all.error("DEL", &conf), (4, message.into()));
    assert_eq!(program().error("FRY", &conf), (4, "unknown CNI_COMMAND: FRY".into()));
    for (version, command, code) in
        [("0.3.1", "CHECK", 1), ("1.0.0", "GC", 1), ("1.0.0", "STATUS", 1), ("0.3", "ADD", 1), ("9.9.9", "DEL", 1)]
    {
        let mut conf = conf.clone();
        conf["cniVersion"] = version.into();
        assert_eq!(program().error(command, &conf).0, code, "{version} {command}");
    }
    program().ok("GC", &conf);
    program().ok("STATUS", &conf);
    let mut named = conf.clone();
    named["name"] = "a/b".into();
    assert_eq!(program().error("ADD", &named).0, 7);
    let mut unnamed = conf.clone();
    unnamed["name"] = "".into();
    assert_eq!(program().error("ADD", &unnamed).0, 7);
    for broken in ["", "{", "[]", "{\"name\": 1}", "nul", "{\"a\": NaN}"] {
        let outcome = program().raw("ADD", broken.as_bytes());
        assert_eq!((outcome.success, outcome.error().0), (false, 6), "{broken}");
    }
    assert_eq!(program().raw("ADD", b"\xff\xfe").error().0, 6);
    assert_eq!(program().raw("ADD", "[".repeat(200_000).as_bytes()).error().0, 6);
    assert_eq!(program().raw("ADD", &vec![b' '; 1_000_001]).error().0, 5);
    // The error object says the configuration's version.
    let mut old = conf;
    old["cniVersion"] = "0.4.0".into();
    old["ipam"]["addresses"][0]["address"] = "x".into();
    assert_eq!(program().call("ADD", &old).json()["cniVersion"], "0.4.0");
}

/// Counts what it is asked to do; its ADD gives a result that versions before 0.3.0 cannot say.
struct Counting {
    added: AtomicUsize,
    deleted: AtomicUsize,
}

impl Plugin for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn versions(&self) -> &'static [Version] {
        &Version::ALL[..6]
    }

    fn add(&self, call: &Call, _: &dyn Invoke) -> Result<CniResult> {
        self.added.fetch_add(1, Ordering::SeqCst);
        let interfaces = vec![Interface { name: "eth0".into(), ..Interface::default() }];
        Ok(CniResult { interfaces, ..CniResult::empty(call.version()?) })
    }

    fn del(&self, _: &Call, _: &dyn Invoke) -> Result<()> {
        self.deleted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn check(&self, _: &Call, _: &dyn Invoke) -> Result<()> {
        Err(Error::new(Code(117), "typed").with_details("kept"))
    }
}

struct Exhausted;

impl Invoke for Exhausted {
    fn invoke(&self, _: &str, _: &Call) -> Result<Option<CniResult>> {
        Err(Error::internal("no delegates here"))
    }
}

#[test]
fn a_result_that_cannot_be_told_is_undone() {
    static PLUGIN: Counting = Counting { added: AtomicUsize::new(0), deleted: AtomicUsize::new(0) };
    let counts = || (PLUGIN.added.load(Ordering::SeqCst), PLUGIN.deleted.load(Ordering::SeqCst));
    let program = Program::new(&PLUGIN);
    let error = program.error("ADD", &json!({"cniVersion": "0.2.0", "name": "n"}));
    assert_eq!(error.1, "cannot convert: no valid IP addresses");
    assert_eq!(counts(), (1, 1));
    program.add(&json!({"cniVersion": "1.0.0", "name": "n"}));
    assert_eq!(counts(), (2, 1));

    // Nor if nobody reads it.
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let var = |name: &str| match name {
        "CNI_COMMAND" => Some("ADD".into()),
        "CNI_NETNS" => Some("/some/where".into()),
        _ => Some("x".into()),
    };
    let mut stderr = Vec::new();
    let stdin = br#"{"cniVersion": "1.0.0", "name": "n"}"#;
    let code = skel::run(&PLUGIN, var, &mut &stdin[..], &mut Closed, &mut stderr, &Exhausted);
    assert_eq!(code, ExitCode::FAILURE);
    assert_eq!(counts(), (3, 2));
    assert!(String::from_utf8(stderr).unwrap().starts_with("counting: failed to write the result to stdout"));

    // A version that this plugin alone does not speak; an error passes as it is.
    assert_eq!(program.error("ADD", &json!({"cniVersion": "1.1.0", "name": "n"})).0, 1);
    assert_eq!(counts(), (3, 2));
    let outcome = program.call("CHECK", &json!({"cniVersion": "1.0.0", "name": "n"}));
    assert_eq!(outcome.json(), json!({"cniVersion": "1.0.0", "code": 117, "msg": "typed", "details": "kept"}));
}
