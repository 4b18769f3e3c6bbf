//! Hostile input: whatever is on stdin or in the environment, the answer is a CNI error object that names the key, exit status 1, and
//! nothing made; never a panic, never a signal.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use conformance::world::{call_env, run};
use conformance::{Programs, World, samples};
use regex_lite::Regex;
use serde_json::{Value, json};

/// Stands in a configuration for text that no JSON value can hold.
const RAW: &str = "@RAW@";

fn valid(plugin: &str, world: &World) -> Value {
    let dir = world.dir().display();
    let ipam = json!({ "type": "host-local", "dataDir": format!("{dir}/ipam"), "subnet": "10.1.2.0/24" });
    let mut conf = match plugin {
        "bridge" => json!({ "bridge": "br9", "ipMasq": true, "ipam": ipam }),
        "macvlan" => json!({ "master": "eth9", "ipam": ipam }),
        "host-local" => json!({ "ipam": ipam }),
        "static" => json!({ "ipam": { "type": "static", "addresses": [{ "address": "10.1.2.2/24" }] } }),
        "flannel" => json!({ "subnetFile": format!("{dir}/subnet.env"), "dataDir": format!("{dir}/flannel"),
            "ipam": { "dataDir": format!("{dir}/ipam") }, "delegate": { "bridge": "br9" } }),
        "multus" => json!({ "cniDir": format!("{dir}/multus"), "delegates": [
            { "name": "pods", "type": "bridge", "bridge": "br9", "ipam": ipam }] }),
        _ => json!({}),
    };
    conf["cniVersion"] = "1.1.0".into();
    conf["name"] = "testnet".into();
    conf["type"] = plugin.into();
    conf
}

/// One row: for these plugins (empty: all), this key (a JSON pointer) becomes this text; codes that fit; what the message must have.
struct Row {
    plugins: &'static [&'static str],
    key: &'static str,
    value: String,
    codes: &'static [i64],
    says: &'static str,
}

fn row(
    plugins: &'static [&'static str],
    key: &'static str,
    value: &str,
    codes: &'static [i64],
    says: &'static str,
) -> Row {
    Row { plugins, key, value: value.to_owned(), codes, says }
}

/// The codes of a value that cannot be read and of one that makes no sense.
const DECODE: &[i64] = &[6];
const CONFIG: &[i64] = &[6, 7];
const NUMBERS: [&str; 8] =
    ["\"1500\"", "1.5", "-1", "1e400", "99999999999999999999", "18446744073709551616", "NaN", "true"];

fn rows() -> Vec<Row> {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut rows = vec![
        row(&[], "/name", "5", DECODE, "name"),
        row(&[], "/name", "[\"a\"]", DECODE, "name"),
        row(&[], "/name", "null", &[7], "network name"),
        row(&[], "/name", "\"\"", &[7], "network name"),
        row(&[], "/name", "\"../../etc\"", &[7], "network name"),
        row(&[], "/name", "\"a/b\"", &[7], "network name"),
        row(&[], "/name", "\"a\\u0000b\"", &[7], "network name"),
        row(&[], "/name", "\"-x\"", &[7], "network name"),
        row(&[], "/name", "\"\\ud800\"", CONFIG, ""),
        row(&[], "/cniVersion", "1", DECODE, "cniVersion"),
        row(&[], "/cniVersion", "{}", DECODE, "cniVersion"),
        row(&[], "/cniVersion", "\"9.9.9\"", &[1], "9\\.9\\.9"),
        row(&[], "/cniVersion", "\"1.1.0\\n\"", &[1], "version"),
        row(&[], "/deep", &deep, DECODE, ""),
        row(&[], "/x", "NaN", DECODE, ""),
        row(&[], "/x", "Infinity", DECODE, ""),
        row(&[], "/x", "01", DECODE, ""),
        row(&[], "/x", "'a'", DECODE, ""),
        row(&[], "/x", "\"\u{1}\"", DECODE, ""),
        row(&[], "/x", "\"\\x\"", DECODE, ""),
        row(&[], "/x", "1,", DECODE, ""),
        row(&["bridge", "macvlan"], "/ipam", "5", CONFIG, "ipam"),
        row(&["bridge", "macvlan"], "/ipam", "[]", CONFIG, "ipam"),
        row(&["bridge", "macvlan"], "/ipam", "\"host-local\"", CONFIG, "ipam"),
        row(&["bridge", "macvlan"], "/ipam/type", "5", CONFIG, "ipam\\.type"),
        row(&["bridge", "macvlan"], "/ipam/type", "\"../host-local\"", &[7, 999], "\\.\\./host-local"),
        row(&["bridge", "macvlan"], "/ipam/type", "\"/bin/sh\"", &[7, 999], "/bin/sh"),
        row(&["bridge", "macvlan"], "/ipam/type", "\"..\"", &[7, 999], "\\.\\."),
        row(&["bridge", "macvlan"], "/dns", "5", DECODE, "dns"),
        row(&["bridge", "macvlan"], "/runtimeConfig", "5", DECODE, "runtimeConfig"),
        row(&["bridge", "macvlan"], "/runtimeConfig", "{\"mac\":5}", DECODE, "mac"),
        row(&["bridge", "macvlan"], "/runtimeConfig", "{\"mac\":\"zz\"}", CONFIG, "mac"),
        row(&["bridge"], "/args", "5", DECODE, "args"),
        row(&["bridge"], "/args", "{\"cni\":{\"mac\":[]}}", DECODE, "mac"),
        row(&["bridge"], "/bridge", "5", DECODE, "bridge"),
        row(&["bridge"], "/bridge", "\"a/b\"", &[7], "a/b"),
        row(&["bridge"], "/bridge", "\"../br\"", &[7], "\\.\\./br"),
        row(&["bridge"], "/bridge", "\"0123456789abcdef\"", &[7], "0123456789abcdef"),
        row(&["bridge"], "/bridge", "\"a b\"", &[7], "a b"),
        row(&["bridge"], "/isGateway", "\"true\"", DECODE, "isGateway"),
        row(&["bridge"], "/isGateway", "1", DECODE, "isGateway"),
        row(&["bridge"], "/ipMasqBackend", "5", DECODE, "ipMasqBackend"),
        row(&["bridge"], "/ipMasqBackend", "\"sh -c\"", &[7], "ipmasq|sh -c"),
        row(&["bridge"], "/vlan", "4095", &[7], "VLAN"),
        row(&["bridge"], "/vlan", "\"5\"", DECODE, "vlan"),
        row(&["bridge"], "/vlanTrunk", "5", DECODE, "vlanTrunk"),
        row(&["bridge"], "/vlanTrunk", "[5]", DECODE, "vlanTrunk"),
        row(&["macvlan"], "/master", "5", DECODE, "master"),
        row(&["macvlan"], "/master", "\"a/b\"", &[7, 999], "a/b"),
        row(&["macvlan"], "/master", "\"0123456789abcdef\"", &[7, 999], "0123456789abcdef"),
        row(&["macvlan"], "/mode", "5", DECODE, "mode"),
        row(&["macvlan"], "/mode", "\"shell\"", &[7], "shell"),
        row(&["macvlan"], "/bcqueuelen", "-1", CONFIG, "bcqueuelen"),
        row(&["macvlan"], "/bcqueuelen", "4294967296", CONFIG, "bcqueuelen"),
        row(&["host-local", "bridge", "macvlan"], "/ipam/subnet", "5", CONFIG, "subnet"),
        row(&["host-local", "bridge", "macvlan"], "/ipam/subnet", "\"10.0.0.0\"", CONFIG, "10\\.0\\.0\\.0"),
        row(&["host-local", "bridge", "macvlan"], "/ipam/subnet", "\"10.0.0.0/-1\"", CONFIG, "10\\.0\\.0\\.0/-1"),
        row(&["host-local", "bridge", "macvlan"], "/ipam/subnet", "\"10.0.0.0/024\"", CONFIG, "10\\.0\\.0\\.0/024"),
        row(&["host-local", "bridge", "macvlan"], "/ipam/subnet", "\"::/999\"", CONFIG, "::/999"),
        row(&["host-local", "bridge", "macvlan"], "/ipam/rangeStart", "\"10.1.3.1\"", &[7], "10\\.1\\.3\\.1"),
        row(&["host-local", "bridge", "macvlan"], "/ipam/rangeStart", "5", CONFIG, "rangeStart"),
        row(&["host-local"], "/ipam/ranges", "5", CONFIG, "ranges"),
        row(&["host-local"], "/ipam/ranges", "[{}]", CONFIG, "ranges"),
        row(&["host-local"], "/ipam/ranges", "[[{}]]", CONFIG, "subnet"),
        row(&["host-local"], "/ipam/ranges", "[[5]]", CONFIG, "ranges"),
        row(&["host-local"], "/ipam/dataDir", "5", CONFIG, "dataDir"),
        row(&["host-local"], "/ipam/resolvConf", "\"/nonexistent/x\"", &[5, 7, 999], "/nonexistent/x"),
        row(&["host-local"], "/ipam", "null", &[7], "ipam"),
        row(&["static"], "/ipam", "null", &[7], "ipam"),
        row(&["static"], "/ipam/addresses", "{}", CONFIG, "addresses"),
        row(&["static"], "/ipam/addresses", "[{\"address\":\"10.0.0.1/33\"}]", CONFIG, "10\\.0\\.0\\.1/33"),
        row(&["static"], "/ipam/addresses", "[{\"address\":\"\"}]", CONFIG, "address"),
        row(&["static"], "/ipam/routes", "[{\"dst\":\"x\"}]", CONFIG, "dst|routes"),
        row(&["static"], "/ipam/routes", "[{\"dst\":\"0.0.0.0/0\",\"gw\":\"x\"}]", CONFIG, "gw|routes"),
        row(&["static"], "/ipam/routes", "[{\"dst\":\"0.0.0.0/0\",\"mtu\":-5}]", CONFIG, "mtu"),
        row(&["flannel"], "/subnetFile", "5", CONFIG, "subnetFile"),
        row(&["flannel"], "/subnetFile", "\"/nonexistent/x\"", &[7, 11, 999], "/nonexistent/x"),
        row(&["flannel"], "/subnetFile", "\"/dev/zero\"", &[5, 7, 11, 999], "/dev/zero"),
        row(&["flannel"], "/delegate", "5", CONFIG, "delegate"),
        row(&["flannel"], "/delegate", "[]", CONFIG, "delegate"),
        row(&["flannel"], "/delegate/type", "\"../bridge\"", &[7, 999], "\\.\\./bridge"),
        row(&["flannel"], "/delegate/type", "\"flannel\"", &[7, 11, 999], "flannel"),
        row(&["flannel"], "/delegate/ipam", "{}", &[7], "ipam"),
        row(&["flannel"], "/ipam/routes", "5", CONFIG, "routes"),
        row(&["multus"], "/delegates", "5", CONFIG, "delegates"),
        row(&["multus"], "/delegates", "{}", CONFIG, "delegates"),
        row(&["multus"], "/delegates", "[5]", CONFIG, "delegates"),
        row(&["multus"], "/delegates", "[null]", CONFIG, "delegates"),
        row(&["multus"], "/delegates", "[{}]", CONFIG, "type|plugins"),
        row(&["multus"], "/delegates/0/type", "5", CONFIG, "type"),
        row(&["multus"], "/delegates/0/type", "\"../../bin/sh\"", &[7, 999], "bin/sh"),
        row(&["multus"], "/delegates/0/type", "\"multus\"", &[7], "multus"),
        row(&["multus"], "/delegates/0/name", "\"../x\"", &[7], "\\.\\./x"),
        row(&["multus"], "/delegates/0/name", "5", CONFIG, "name"),
        row(&["multus"], "/delegates/0/ipam/type", "\"../x\"", &[7, 999], "\\.\\./x"),
        row(&["multus"], "/delegates/0/cniVersion", "\"7\"", &[1, 7], "7"),
        row(&["multus"], "/delegates/0", "{\"name\":\"l\",\"plugins\":5}", CONFIG, "plugins"),
        row(&["multus"], "/delegates/0", "{\"name\":\"l\",\"plugins\":[]}", CONFIG, "plugins"),
        row(&["multus"], "/delegates/0", "{\"name\":\"l\",\"plugins\":[5]}", CONFIG, "plugin"),
        row(&["multus"], "/delegates/0", "{\"name\":\"l\",\"plugins\":[{\"type\":\"bridge\"},{}]}", CONFIG, "type"),
        row(&["multus"], "/inProcess", "\"maybe\"", CONFIG, "inProcess"),
        row(&["multus"], "/cniDir", "5", CONFIG, "cniDir"),
        row(&["multus"], "/binDir", "5", CONFIG, "binDir"),
        row(&["multus"], "/clusterNetwork", "5", CONFIG, "clusterNetwork"),
        row(&["multus"], "/clusterNetwork", "\"../x\"", &[5, 7, 999], "\\.\\./x"),
        row(&["multus"], "/clusterNetwork", "\"/dev/zero\"", &[5, 7, 999], "/dev/zero"),
        row(&["multus"], "/logLevel", "5", CONFIG, "logLevel"),
        row(&["multus"], "/runtimeConfig", "5", CONFIG, "runtimeConfig"),
        row(&["multus"], "/delegateTimeout", "\"long\"", CONFIG, "delegateTimeout"),
    ];
    for number in NUMBERS {
        rows.push(row(
            &["bridge", "macvlan"],
            "/mtu",
            number,
            CONFIG,
            if number == "NaN" || number == "1e400" { "" } else { "(?i)mtu" },
        ));
    }
    rows
}

fn set(conf: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = conf.pointer_mut(parent).unwrap();
    match key.parse::<usize>() {
        Ok(at) => parent[at] = RAW.into(),
        Err(_) => parent[key] = RAW.into(),
    }
}

struct Judge {
    world: World,
    before: conformance::Snapshot,
    failed: Vec<String>,
    judged: usize,
}

impl Judge {
    fn new() -> Judge {
        let world = World::new();
        samples::host(&world);
        std::fs::write(world.dir().join("file"), "x").unwrap();
        let before = world.snapshot();
        Judge { world, before, failed: Vec::new(), judged: 0 }
    }

    fn env(&self, command: &str) -> BTreeMap<String, String> {
        call_env(command, "c0ffee01", &self.world.namespace("pod").path())
    }

    fn judge(&mut self, plugin: &str, what: &str, env: &[(&str, OsString)], stdin: &[u8], codes: &[i64], says: &str) {
        let what = format!("{plugin}, {what:.120}");
        let mut command = self.world.command(&Programs::ours().dir.join(plugin), &self.env("ADD"));
        command.envs(env.iter().map(|(k, v)| (*k, v.clone())));
        let reply = run(command, stdin);
        self.judged += 1;
        let mut complain = |why: String| self.failed.push(format!("{what}: {why}, got {reply:.600}"));
        if reply.rc != 1 {
            complain("expected exit status 1".to_owned());
        }
        match reply.json() {
            Err(why) => complain(why),
            Ok(error) => {
                let code = error["code"].as_i64().unwrap_or(-1);
                if !codes.contains(&code) {
                    complain(format!("expected a code of {codes:?}"));
                }
                let said =
                    format!("{} {}", error["msg"].as_str().unwrap_or(""), error["details"].as_str().unwrap_or(""));
                if said.trim().is_empty() || !Regex::new(says).unwrap().is_match(&said) {
                    complain(format!("expected a message with /{says}/"));
                }
                if said.len() > 8000 {
                    complain("a message that quotes everything".to_owned());
                }
            }
        }
        let left = self.world.snapshot().left_since(&self.before, &[]);
        if !left.is_empty() {
            complain(format!("expected nothing made, found {left:?}"));
            let (failed, judged) = (std::mem::take(&mut self.failed), self.judged);
            *self = Judge { failed, judged, ..Judge::new() };
        }
    }

    fn end(self, title: &str) {
        println!("{title}: {} inputs, {} failed", self.judged, self.failed.len());
        assert!(self.failed.is_empty(), "{} of {} inputs\n{}", self.failed.len(), self.judged, self.failed.join("\n"));
    }
}

fn skipped() -> bool {
    if !testkit::have_root() {
        testkit::skip_or_fail("conformance", "needs root");
        return true;
    }
    false
}

#[test]
fn configurations() {
    if skipped() {
        return;
    }
    let mut judge = Judge::new();
    for row in rows() {
        let plugins: &[&str] = if row.plugins.is_empty() { &conformance::program::NAMES } else { row.plugins };
        for plugin in plugins {
            let mut conf = valid(plugin, &judge.world);
            set(&mut conf, row.key);
            let stdin = conf.to_string().replacen(&format!("\"{RAW}\""), &row.value, 1);
            judge.judge(plugin, &format!("{} = {}", row.key, row.value), &[], stdin.as_bytes(), row.codes, row.says);
        }
    }
    judge.end("hostile configurations");
}

#[test]
fn documents() {
    if skipped() {
        return;
    }
    let mut judge = Judge::new();
    let mut documents: Vec<(&str, Vec<u8>)> = [
        ("empty", ""),
        ("white space", " \n\t"),
        ("null", "null"),
        ("a number", "5"),
        ("a string", "\"x\""),
        ("an array", "[]"),
        ("open", "{"),
        ("two documents", "{\"name\":\"a\"}{\"name\":\"b\"}"),
        ("a comment", "{/* */}"),
        ("text", "hello"),
        ("a byte order mark", "\u{feff}{}"),
        ("no colon", "{\"name\" \"x\"}"),
        ("a lone surrogate", "{\"name\":\"\\ud800\"}"),
        ("a trailing comma", "{\"name\":\"x\",}"),
        ("a key without quotes", "{name:\"x\"}"),
    ]
    .map(|(what, text)| (what, text.as_bytes().to_vec()))
    .to_vec();
    documents.push(("not UTF-8", b"{\"name\":\"\xff\xfe\"}".to_vec()));
    documents.push(("not UTF-8 at all", (0..=255).collect()));
    documents.push(("zeroes", vec![0; 4096]));
    documents.push(("two million brackets", vec![b'['; 900_000]));
    documents.push(("deep objects", "{\"a\":".repeat(150_000).into_bytes()));
    documents.push((
        "a number of 900,000 digits",
        format!("{{\"name\":\"x\",\"mtu\":{}}}", "9".repeat(900_000)).into_bytes(),
    ));
    documents.push((
        "a name of 900,000 letters",
        format!("{{\"cniVersion\":\"1.1.0\",\"name\":\"{}/\"}}", "n".repeat(900_000)).into_bytes(),
    ));
    for plugin in conformance::program::NAMES {
        for (what, stdin) in &documents {
            judge.judge(plugin, what, &[], stdin, &[6, 7], "");
        }
        let mut large = valid(plugin, &judge.world);
        large["padding"] = "x".repeat(3_000_000).into();
        judge.judge(
            plugin,
            "three megabytes",
            &[],
            large.to_string().as_bytes(),
            &[5, 6, 7],
            "1000000|1,000,000|large|long|bytes",
        );
    }
    judge.end("hostile documents");
}

/// What is large or odd, but valid, works.
#[test]
fn large_and_odd_but_valid() {
    if skipped() {
        return;
    }
    let world = World::new();
    samples::host(&world);
    for plugin in conformance::program::NAMES {
        let mut conf = valid(plugin, &world);
        conf["padding"] = "x".repeat(900_000).into();
        conf["nested"] = serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
        conf["huge"] = json!(1e300);
        let twice = conf.to_string().replacen('{', "{\"name\":\"first\",\"NAME\":\"second\",", 1);
        for command in ["ADD", "DEL"] {
            let env = call_env(command, "c0ffee01", &world.namespace("pod").path());
            let reply = run(world.command(&Programs::ours().dir.join(plugin), &env), twice.as_bytes());
            assert_eq!(reply.rc, 0, "{plugin} {command}: {reply:.600}");
        }
    }
}

#[test]
fn environments() {
    if skipped() {
        return;
    }
    let mut judge = Judge::new();
    let file = judge.world.dir().join("file").into_os_string();
    let long = "x".repeat(100_000);
    let rows: Vec<(&str, OsString, &[i64], &str)> = vec![
        ("CNI_CONTAINERID", "../x".into(), &[4], "(?i)containerID"),
        ("CNI_CONTAINERID", "a/b".into(), &[4], "(?i)containerID"),
        ("CNI_CONTAINERID", "a\nb".into(), &[4], "(?i)containerID"),
        ("CNI_CONTAINERID", ".".into(), &[4], "(?i)containerID"),
        ("CNI_CONTAINERID", OsString::from_vec(vec![0xff, 0xfe]), &[4], "CONTAINERID|containerID"),
        ("CNI_IFNAME", "a/b".into(), &[4], "interface name"),
        ("CNI_IFNAME", "..".into(), &[4], "interface name"),
        ("CNI_IFNAME", "0123456789abcdef".into(), &[4], "interface name"),
        ("CNI_IFNAME", "a\u{2003}b".into(), &[4], "interface name"),
        ("CNI_IFNAME", OsString::from_vec(vec![0xff]), &[4], "IFNAME|interface name"),
        ("CNI_COMMAND", "add".into(), &[4], "CNI_COMMAND"),
        ("CNI_COMMAND", OsString::from_vec(vec![0xff]), &[4], "CNI_COMMAND"),
        ("CNI_PATH", "".into(), &[4], "CNI_PATH"),
        ("CNI_CONTAINERID", long.into(), &[4], "(?i)containerID"),
    ];
    for plugin in conformance::program::NAMES {
        let conf = valid(plugin, &judge.world).to_string();
        for (name, value, codes, says) in &rows {
            judge.judge(
                plugin,
                &format!("{name}={value:.40?}"),
                &[(name, value.clone())],
                conf.as_bytes(),
                codes,
                says,
            );
        }
        if ["host-local", "static"].contains(&plugin) {
            continue;
        }
        for netns in
            [file.clone(), "/nonexistent/netns".into(), "/dev/null".into(), "/".into(), OsString::from("relative")]
        {
            let says = "(?i)netns|namespace";
            judge.judge(
                plugin,
                &format!("CNI_NETNS={}", netns.display()),
                &[("CNI_NETNS", netns)],
                conf.as_bytes(),
                &[4, 7, 8, 999],
                says,
            );
        }
    }
    for plugin in ["bridge", "macvlan", "host-local", "static"] {
        let conf = valid(plugin, &judge.world).to_string();
        for args in [
            "=",
            ";",
            "IP",
            "A=B=C",
            "IP=;;",
            "MAC=zz;IgnoreUnknown=1;IP=zz",
            "IgnoreUnknown=perhaps",
            "K8S_POD_NAME=x",
        ] {
            judge.judge(
                plugin,
                &format!("CNI_ARGS={args}"),
                &[("CNI_ARGS", args.into())],
                conf.as_bytes(),
                &[4, 6, 7],
                "ARGS|args|MAC|IP|IgnoreUnknown",
            );
        }
        let odd = OsString::from_vec(b"A=\xff;IgnoreUnknown".to_vec());
        judge.judge(plugin, "CNI_ARGS that is not UTF-8", &[("CNI_ARGS", odd)], conf.as_bytes(), &[4, 7], "ARGS");
    }
    judge.end("hostile environments");
}

/// DEL of anything never crashes either.
#[test]
fn del() {
    if skipped() {
        return;
    }
    let world = World::new();
    samples::host(&world);
    let mut failed = Vec::new();
    for row in rows() {
        let plugins: &[&str] = if row.plugins.is_empty() { &conformance::program::NAMES } else { row.plugins };
        for plugin in plugins {
            let mut conf = valid(plugin, &world);
            set(&mut conf, row.key);
            let stdin = conf.to_string().replacen(&format!("\"{RAW}\""), &row.value, 1);
            let env = call_env("DEL", "c0ffee01", &world.namespace("pod").path());
            let reply = run(world.command(&Programs::ours().dir.join(plugin), &env), stdin.as_bytes());
            let fits = match reply.rc {
                0 => reply.stdout.is_empty(),
                1 => reply.json().is_ok_and(|e| {
                    e["code"].as_i64().is_some_and(|c| c > 0) && e["msg"].as_str().is_some_and(|m| !m.is_empty())
                }),
                _ => false,
            };
            if !fits {
                failed.push(format!("{plugin}, {} = {:.80}: {reply:.500}", row.key, row.value));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
