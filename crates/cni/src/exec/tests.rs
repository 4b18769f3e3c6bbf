use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use super::*;
use crate::chain::Runtime;

/// A directory of plugins that are shell scripts.
struct Programs {
    dir: tempfile::TempDir,
}

impl Programs {
    fn new(scripts: &[(&str, &str)]) -> Programs {
        let dir = tempfile::tempdir().unwrap();
        let programs = Programs { dir };
        for (name, script) in scripts {
            programs.write(name, &format!("#!/bin/sh\n{script}\n"), 0o755);
        }
        programs
    }

    fn write(&self, name: &str, content: &str, mode: u32) {
        let path = self.file(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn call(&self, command: Command, conf: &str) -> Call {
        let runtime = Runtime {
            args: vec![("K".to_owned(), "V".to_owned())],
            path: vec![self.file("missing"), self.dir.path().to_owned()],
            ..Runtime::new("id", "/run/netns/a", "eth0")
        };
        runtime.call(command, Json::parse(conf.as_bytes()).unwrap())
    }

    fn run(&self, plugin: &str, command: Command) -> Result<Option<CniResult>> {
        LONG.invoke(plugin, &self.call(command, CONF))
    }
}

const LONG: Exec = Exec { timeout: Duration::from_secs(60), prepare: |command| command };
const CONF: &str = r#"{"cniVersion":"1.0.0","name":"net","type":"t"}"#;

#[test]
fn finding() {
    let programs = Programs::new(&[("first", "")]);
    fs::create_dir(programs.file("directory")).unwrap();
    programs.write("not-executable", "", 0o644);
    let path = [programs.file("missing"), programs.file("directory"), programs.dir.path().to_owned()];
    assert_eq!(find("first", &path).unwrap(), programs.file("first"));
    // Mode bits are not looked at; running it says what is wrong.
    assert!(find("not-executable", &path).is_ok());
    // The first one of two.
    fs::write(programs.file("directory/first"), "").unwrap();
    assert_eq!(find("first", &path).unwrap(), programs.file("directory/first"));
    for (plugin, message) in [
        ("", "no plugin name provided"),
        ("../first", "invalid plugin name: ../first"),
        ("/bin/sh", "invalid plugin name: /bin/sh"),
        ("a\0b", "invalid plugin name: a\0b"),
    ] {
        let error = find(plugin, &path).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::INVALID_CONFIG, message));
    }
    assert_eq!(find("x", &[]).unwrap_err().message, "no paths provided");
    for plugin in ["directory", "..", "."] {
        let error = find(plugin, &["/a".into(), "/b".into()]).unwrap_err();
        assert_eq!(error.message, format!("failed to find plugin \"{plugin}\" in path [/a /b]"));
        assert!(find(plugin, &path[2..]).is_err());
    }
}

#[test]
fn what_a_plugin_gets_and_gives() {
    let programs = Programs::new(&[(
        "t",
        r#"cd "$(dirname "$0")"; cat > stdin; env > environment; echo '{"ips":[{"address":"10.0.0.1/24"}]}'; echo hello >&2"#,
    )]);
    let result = programs.run("t", Command::Add).unwrap().unwrap();
    // Without a version it is the configuration's.
    assert_eq!((result.version, result.ips.len()), (Version::V1_0_0, 1));
    assert_eq!(programs.text("stdin"), CONF);
    let environment = programs.text("environment");
    let path = format!("CNI_PATH={}:{}", programs.file("missing").display(), programs.dir.path().display());
    for line in [
        "CNI_COMMAND=ADD",
        "CNI_CONTAINERID=id",
        "CNI_NETNS=/run/netns/a",
        "CNI_IFNAME=eth0",
        "CNI_ARGS=K=V",
        path.as_str(),
    ] {
        assert!(environment.lines().any(|l| l == line), "{line} is not in {environment}");
    }
    // The rest is this process's environment.
    assert!(environment.lines().any(|l| l.starts_with("PATH=")));
    assert!(!environment.contains("CNI_NETNS_OVERRIDE"));

    assert_eq!(programs.run("t", Command::Del).unwrap(), None);
    let call = Call { netns_override: true, ..programs.call(Command::Status, CONF) };
    LONG.invoke("t", &call).unwrap();
    assert!(programs.text("environment").contains("CNI_NETNS_OVERRIDE=1\n"));
}

#[test]
fn errors_of_a_plugin_keep_code_message_and_details() {
    let programs = Programs::new(&[
        ("object", r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"later","details":"why"}'; exit 1"#),
        ("both", r#"echo '{"code":7,"msg":"bad"}'; echo trace >&2; exit 1"#),
        ("odd", r#"echo '{"Code":100,"MSG":"m","details":{"a":1}}'; exit 3"#),
        ("zero", r#"echo '{"code":0,"msg":"unknown"}'; exit 1"#),
        ("code", r#"echo '{"code":50}'; exit 1"#),
    ]);
    for (plugin, code, message, details) in [
        ("object", 11, "later", "why"),
        ("both", 7, "bad", "stderr: trace"),
        ("odd", 100, "m", r#"{"a":1}"#),
        ("zero", 999, "unknown", ""),
    ] {
        let error = programs.run(plugin, Command::Add).unwrap_err();
        assert_eq!(error, Error::new(Code(code), message).with_details(details), "{plugin}");
    }
    let error = programs.run("code", Command::Status).unwrap_err();
    assert_eq!(error.code, Code::NOT_AVAILABLE);
    assert!(error.message.contains("failed with no error message"), "{error}");
}

#[test]
fn plugins_that_do_not_say_what_is_wrong() {
    let programs = Programs::new(&[
        ("silent", "exit 3"),
        ("panics", "echo 'panic: nil' >&2; echo 'goroutine 1' >&2; exit 2"),
        ("garbage", "echo 'no JSON'; exit 1"),
        ("binary", r"printf '\377\376'; exit 1"),
        ("result", r#"echo '{"cniVersion":"1.0.0","ips":[]}'; exit 1"#),
        ("signal", "kill -SEGV $$"),
    ]);
    for (plugin, texts) in [
        ("silent", ["netplugin failed with no error message", "exit status: 3"]),
        ("panics", ["netplugin failed: \"panic: nil\\ngoroutine 1", "exit status: 2"]),
        ("garbage", ["error parsing its diagnostic message \"no JSON", "exit status: 1"]),
        ("binary", ["error parsing its diagnostic message", "exit status: 1"]),
        ("result", ["netplugin failed with no error message", "it printed"]),
        ("signal", ["netplugin failed with no error message", "SIGSEGV"]),
    ] {
        for command in [Command::Add, Command::Del] {
            let error = programs.run(plugin, command).unwrap_err();
            assert_eq!(error.code, Code::INTERNAL);
            for text in texts.into_iter().chain([programs.file(plugin).to_str().unwrap()]) {
                assert!(error.message.contains(text), "{plugin}: {error}");
            }
        }
    }
    assert_eq!(programs.run("panics", Command::Add).unwrap_err().details, "stderr: panic: nil\ngoroutine 1");
}

#[test]
fn results_that_are_none() {
    let programs = Programs::new(&[
        ("nothing", ""),
        ("garbage", "echo hello"),
        ("two", "echo '{}{}'"),
        ("types", r#"echo '{"ips":"x"}'"#),
        ("version", r#"echo '{"cniVersion":"9.9.9"}'"#),
        ("null", "echo null"),
    ]);
    for (plugin, code) in [
        ("nothing", Code::DECODE),
        ("garbage", Code::DECODE),
        ("two", Code::DECODE),
        ("types", Code::DECODE),
        ("version", Code::INCOMPATIBLE_VERSION),
    ] {
        let error = programs.run(plugin, Command::Add).unwrap_err();
        assert_eq!(error.code, code, "{plugin}: {error}");
        assert!(error.message.contains(programs.file(plugin).to_str().unwrap()), "{error}");
        // No other command has a result.
        programs.run(plugin, Command::Check).unwrap();
    }
    assert_eq!(programs.run("null", Command::Add).unwrap(), Some(CniResult::empty(Version::V1_0_0)));
}

#[test]
fn programs_that_cannot_be_executed() {
    let programs = Programs::new(&[]);
    programs.write("mode", "#!/bin/sh\n", 0o644);
    programs.write("interpreter", "#!/no/such/shell\n", 0o755);
    programs.write("empty", "", 0o755);
    for (plugin, details) in [("mode", "chmod +x"), ("interpreter", "interpreter"), ("empty", "")] {
        let error = programs.run(plugin, Command::Del).unwrap_err();
        assert!(error.message.contains(programs.file(plugin).to_str().unwrap()), "{error}");
        assert!(error.details.contains(details), "{error}");
    }
}

#[test]
fn a_timeout_kills_the_plugin_and_its_children() {
    let programs = Programs::new(&[(
        "t",
        r#"cd "$(dirname "$0")"; sleep 1000 & echo $! > child; echo $$ > parent; echo waiting >&2; wait"#,
    )]);
    let short = Exec::new(Duration::from_secs(3));
    let error = short.invoke("t", &programs.call(Command::Add, CONF)).unwrap_err();
    assert!(error.message.contains("did not end within 3s"), "{error}");
    assert_eq!(error.details, "stderr: waiting");
    for name in ["parent", "child"] {
        let pid = programs.text(name).trim().to_owned();
        // A killed child of a killed parent is a zombie until init has seen it.
        let gone = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "{name} {pid} is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_daemon_left_behind_is_not_waited_for() {
    let programs = Programs::new(&[("t", r#"cd "$(dirname "$0")"; sleep 1000 & echo $! > child; echo '{}'"#)]);
    // It holds stdout and stderr: only the end of the plugin itself can end the call.
    programs.run("t", Command::Add).unwrap();
    let pid: i32 = programs.text("child").trim().parse().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL);
}

#[test]
fn stdin_that_is_not_read_and_large_stdin() {
    let programs = Programs::new(&[("deaf", "exec <&-; echo '{}'"), ("echo", r#"cat > "$0.stdin"; echo '{}'"#)]);
    let conf = format!(r#"{{"cniVersion":"1.0.0","name":"net","type":"t","pad":"{}"}}"#, "x".repeat(900_000));
    for plugin in ["deaf", "echo"] {
        LONG.invoke(plugin, &programs.call(Command::Add, &conf)).unwrap();
    }
    assert_eq!(programs.text("echo.stdin"), conf);
}

#[test]
fn large_output() {
    let programs = Programs::new(&[
        // Far more than a pipe holds, on both.
        (
            "both",
            r#"head -c 300000 /dev/zero | tr '\0' e >&2; printf '{"x":"'; head -c 300000 /dev/zero | tr '\0' o; echo '"}'"#,
        ),
        ("errors", r"head -c 3000000 /dev/zero | tr '\0' e >&2; exit 1"),
        ("endless", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"),
    ]);
    programs.run("both", Command::Add).unwrap();
    let error = programs.run("errors", Command::Add).unwrap_err();
    assert!(
        error.message.len() < 2_000 && error.details.len() < 20_000,
        "{} {}",
        error.message.len(),
        error.details.len()
    );
    let error = programs.run("endless", Command::Add).unwrap_err();
    assert!(error.message.contains("printed more than 4194304 bytes"), "{error}");
}

#[test]
fn a_program_being_written_is_waited_for() {
    let programs = Programs::new(&[]);
    fs::copy("/bin/true", programs.file("t")).unwrap();
    let busy = || fs::OpenOptions::new().append(true).open(programs.file("t")).unwrap();

    let writer = busy();
    let short = Exec::new(Duration::from_millis(300));
    match short.invoke("t", &programs.call(Command::Del, CONF)) {
        Err(error) => {
            assert_eq!(error.code, Code::TRY_AGAIN);
            assert!(error.message.contains("failed to execute"), "{error}");
        }
        // Linux 6.11 and 6.12 let a file be executed that is open for writing.
        Ok(_) => return eprintln!("skipped: this kernel does not say \"text file busy\""),
    }
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(writer);
        });
        assert_eq!(programs.run("t", Command::Del).unwrap(), None);
    });
}

#[test]
fn versions() {
    let programs = Programs::new(&[
        (
            "new",
            r#"[ "$CNI_COMMAND$CNI_NETNS$CNI_IFNAME$CNI_PATH" = VERSIONdummydummydummy ] && [ "$(cat)" = '{"cniVersion":"1.1.0"}' ] &&
            echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","7.0.0"]}'"#,
        ),
        ("middle", r#"echo '{"cniVersion":"0.2.0"}'"#),
        ("old", r#"echo '{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1"#),
        ("broken", r#"echo '{"code":4,"msg":"other"}'; exit 1"#),
        ("empty", "echo '{}'"),
        ("none", r#"echo '{"cniVersion":"1.0.0"}'"#),
        ("garbage", "echo x"),
    ]);
    let versions = |name| LONG.versions(&programs.file(name));
    assert_eq!(versions("new").unwrap(), ["0.4.0", "7.0.0"]);
    assert_eq!(versions("middle").unwrap(), ["0.1.0", "0.2.0"]);
    assert_eq!(versions("old").unwrap(), ["0.1.0"]);
    assert_eq!(versions("broken").unwrap_err().message, "other");
    for (name, text) in
        [("empty", "missing field cniVersion"), ("none", "missing field supportedVersions"), ("garbage", "decoding")]
    {
        assert!(versions(name).unwrap_err().message.contains(text));
    }
}
