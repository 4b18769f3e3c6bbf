//! Performing a case.

use std::collections::BTreeMap;

use regex_lite::RegexBuilder;
use serde_json::{Value, json};

use crate::case::{Case, CaseFile, Expect, Step};
use crate::pattern::{self, expand, substitute};
use crate::program::{Cast, Programs, Side};
use crate::wire::{self, rank};
use crate::world::{self, Reply, World};

const ID: &str = "c0ffee01";

/// How the reason begins if a case is about what the originals cannot do.
pub const NOT_FOR_ORIGINALS: &str = "not for the originals";

/// How a file's cases went.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that passed.
    pub passed: usize,
    /// Reasons of those that cannot run, with their number.
    pub skipped: BTreeMap<String, usize>,
    /// One line each.
    pub failed: Vec<String>,
}

/// Runs every case of a file with a cast. `PLEXUS_CASE` (part of a name) selects.
pub fn file(name: &str, cast: Cast) -> Report {
    let file = CaseFile::read(name);
    let mut report = Report::default();
    let wanted = std::env::var("PLEXUS_CASE").unwrap_or_default();
    let within = [cast.add, cast.rest].contains(&Side::InProcess);
    let mixed = cast.add != cast.rest;
    for case in &file.cases {
        let for_cast =
            (!within || case.in_process.unwrap_or(file.in_process)) && (!mixed || case.interop.unwrap_or(file.interop));
        if !for_cast || !format!("{name}/{}", case.name).contains(&wanted) {
            continue;
        }
        for version in case.versions() {
            if let Err(why) = can_run(case, &version, cast) {
                *report.skipped.entry(why).or_default() += 1;
                continue;
            }
            match (Run { world: World::new(), case, version: &version, cast, last: cast.add, results: BTreeMap::new() })
                .case()
            {
                Ok(()) => report.passed += 1,
                Err(why) => report.failed.push(format!("{name}/{} ({version}): {why}", case.name)),
            }
        }
    }
    report
}

fn can_run(case: &Case, version: &str, cast: Cast) -> Result<(), String> {
    for need in &case.needs {
        let there = match need.as_str() {
            "vlan_filtering" => vlan_filtering(),
            other => return Err(format!("nobody knows how to find out about {other}")),
        };
        if !there {
            return Err(format!("this kernel has no {need}"));
        }
    }
    for side in [cast.add, cast.rest] {
        if [Side::Original, Side::Executing].contains(&side) {
            let originals = Programs::originals().ok_or("no originals: PLEXUS_GO_PLUGINS is not set")?;
            if let Some(why) = &case.not_original {
                return Err(format!("{NOT_FOR_ORIGINALS}: {why}"));
            }
            let used = case.steps.iter().filter_map(|s| s.plugin.as_deref()).chain([case.plugin.as_str()]);
            used.into_iter().try_for_each(|p| originals.speaks(p, version).map_err(|e| format!("originals: {e}")))?;
            if case.since.is_some() && originals.are_old() {
                return Err("the originals at hand are too old".to_owned());
            }
        } else {
            let spoken = Programs::ours().speaks(&case.plugin, version);
            assert_eq!(spoken, Ok(()), "ours speaks every version");
        }
    }
    Ok(())
}

fn vlan_filtering() -> bool {
    static THERE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *THERE.get_or_init(|| {
        let netns = testkit::Namespace::new();
        netns.run("ip link add probe type bridge vlan_filtering 1").status.success()
    })
}

struct Run<'a> {
    world: World,
    case: &'a Case,
    version: &'a str,
    cast: Cast,
    /// Who made the last call: whose expectation counts for what is seen then.
    last: Side,
    /// Results of ADD by container and interface.
    results: BTreeMap<(String, String), Value>,
}

impl Run<'_> {
    fn case(&mut self) -> Result<(), String> {
        let mentions_more = |n: &str| self.case.steps.iter().any(|s| format!("{s:?}").contains(n));
        let more: Vec<&str> = ["2", "3"].into_iter().filter(|n| mentions_more(&format!("netns{n}"))).collect();
        for n in more {
            self.world.add_pod(&format!("pod{n}"));
        }
        self.world.vars.insert("version".to_owned(), self.version.to_owned());
        self.world.vars.insert("id".to_owned(), ID.to_owned());
        for (path, content) in &self.case.files {
            let path = std::path::PathBuf::from(expand(path, &self.world.vars));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, expand(content, &self.world.vars)).unwrap();
        }
        for line in &self.case.setup {
            self.tool(line)?;
        }
        let before = self.world.snapshot();
        for (at, step) in self.case.steps.iter().enumerate() {
            let version = self.version;
            let in_range = !wire::VERSIONS.contains(&version)
                || (step.from.as_ref().is_none_or(|v| rank(version) >= rank(v))
                    && step.until.as_ref().is_none_or(|v| rank(version) <= rank(v)));
            let within = self.cast.add == Side::InProcess || self.cast.rest == Side::InProcess;
            let by_original = self.cast.add == Side::Original || self.cast.rest == Side::Original;
            let too_new = step.since.is_some() && by_original && Programs::originals().is_some_and(Programs::are_old);
            if !in_range || too_new || (within && step.meta == Some(false)) {
                continue;
            }
            let done = if step.clean {
                let left = self.world.snapshot().left_since(&before, &step.stays);
                let wanted = self.expect(step).is.clone().unwrap_or_else(|| json!([]));
                let left = Value::from(left);
                pattern::matches(&wanted, &left, false, &mut self.world.vars).map_err(|e| format!("left behind: {e}"))
            } else {
                self.step(step)
            };
            done.map_err(|why| format!("step {} {}: {why}", at + 1, title(step)))?;
        }
        Ok(())
    }

    /// What the step should show on the side that counts.
    fn expect<'s>(&self, step: &'s Step) -> &'s Expect {
        match &step.differs {
            Some(other) if self.last != Side::Original => &other.expect,
            _ => &step.expect,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        if let Some(command) = &step.call {
            return self.call(command, step);
        }
        if let Some(line) = &step.run {
            return self.tool(line).map(drop);
        }
        let expect = self.expect(step).clone();
        let path = |p: &str| expand(p, &self.world.vars);
        if let Some(absent) = &step.absent {
            let path = path(absent);
            return if std::fs::exists(&path).unwrap() { Err(format!("{path} is there")) } else { Ok(()) };
        }
        if let Some(dir) = &step.list {
            let dir = path(dir);
            let entries = std::fs::read_dir(&dir).map_err(|e| format!("{dir}: {e}"))?;
            let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.retain(|n| n != crate::snapshot::INDEX);
            names.sort();
            return self.seen(&expect, &Value::from(names));
        }
        if let Some(file) = step.file.as_ref().or(step.json.as_ref()) {
            let path = path(file);
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
            if step.file.is_some() {
                return self.read(&expect, &text);
            }
            let json = serde_json::from_str(&text).map_err(|e| format!("{path}: {e}: {text}"))?;
            return self.seen(&expect, &json);
        }
        if let Some(line) = &step.text {
            let text = self.tool(line)?;
            return self.read(&expect, &text);
        }
        if let Some(line) = &step.see {
            let text = self.tool(line)?;
            let text = if text.trim().is_empty() { "[]" } else { &text };
            let json = serde_json::from_str(text).map_err(|e| format!("{line}: {e}: {text}"))?;
            return self.seen(&expect, &json);
        }
        Err("the step does nothing".to_owned())
    }

    fn seen(&mut self, expect: &Expect, got: &Value) -> Result<(), String> {
        let wanted = substitute(expect.is.as_ref().ok_or("the step expects nothing")?, &self.world.vars);
        pattern::matches(&wanted, got, false, &mut self.world.vars)
    }

    fn read(&mut self, expect: &Expect, text: &str) -> Result<(), String> {
        if let Some(is) = &expect.is {
            let wanted = substitute(is, &self.world.vars);
            pattern::matches(&wanted, &Value::from(text), false, &mut self.world.vars)?;
        }
        let shown: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for (regexes, wanted) in [(&expect.matches, true), (&expect.not, false)] {
            for regex in regexes {
                let regex = expand(regex, &self.world.vars);
                if is_match(&regex, text)? != wanted {
                    return Err(format!("expected {}/{regex}/, got {shown:.1500}", if wanted { "" } else { "no " }));
                }
            }
        }
        Ok(())
    }

    /// Runs `host: ip ...`; its output.
    fn tool(&self, line: &str) -> Result<String, String> {
        let line = expand(line, &self.world.vars);
        let (place, command) = line.split_once(": ").ok_or_else(|| format!("{line}: no namespace"))?;
        let netns = self.world.namespace(place);
        let out = netns.command("sh").arg("-c").arg(command).output().unwrap();
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).into_owned())
        } else {
            Err(format!("{line}: {}", String::from_utf8_lossy(&out.stderr).trim()))
        }
    }

    fn call(&mut self, command: &str, step: &Step) -> Result<(), String> {
        let side = if command == "ADD" { self.cast.add } else { self.cast.rest };
        self.last = side;
        let reply = self.perform(command, step, side);
        let expect = self.expect(step).clone();
        if let Some(regex) = &expect.stderr
            && !is_match(regex, &String::from_utf8_lossy(&reply.stderr))?
        {
            return Err(format!("expected stderr /{regex}/, got {reply}"));
        }
        if let Some(error) = &expect.error {
            return self.failed(error, &reply, side);
        }
        if reply.rc != 0 {
            return Err(format!("expected success, got {reply}"));
        }
        if let Some(wanted) = &expect.stdout {
            let wanted = substitute(wanted, &self.world.vars);
            return pattern::matches(&wanted, &reply.json()?, false, &mut self.world.vars);
        }
        if command != "ADD" {
            let quiet = reply.stdout.is_empty() || command == "VERSION";
            return if quiet { Ok(()) } else { Err(format!("expected no output, got {reply}")) };
        }
        let mut got = reply.json()?;
        self.results.insert(key(step), got.clone());
        if side != Side::Original {
            without_mtu(&mut got)?;
        } else if Programs::originals().is_some_and(Programs::are_old)
            && self.version == "1.0.0"
            && got["dns"] == json!({})
        {
            // Before libcni 1.1.1 an empty object was printed in 1.0.0, too.
            got.as_object_mut().map(|o| o.remove("dns"));
        }
        let Some(wanted) = &expect.result else { return Ok(()) };
        let wanted = wire::downgrade(&substitute(wanted, &self.world.vars), self.version);
        pattern::matches(&wanted, &got, true, &mut self.world.vars).map_err(|e| format!("{e}; whole result: {got}"))
    }

    fn failed(&mut self, error: &crate::case::ErrorExpect, reply: &Reply, side: Side) -> Result<(), String> {
        let got = reply.json().map_err(|e| format!("expected an error object: {e}"))?;
        let wanted = if side == Side::Original { error.code } else { error.ours.unwrap_or(error.code) };
        if reply.rc != 1 || got["code"] != wanted {
            return Err(format!("expected error code {wanted} and rc 1, got {reply}"));
        }
        let said = format!("{} {}", got["msg"].as_str().unwrap_or(""), got["details"].as_str().unwrap_or(""));
        let regex = expand(&error.msg, &self.world.vars);
        if is_match(&format!("(?i){regex}"), &said)? {
            Ok(())
        } else {
            Err(format!("expected error /{regex}/, got {reply}"))
        }
    }

    fn perform(&mut self, command: &str, step: &Step, side: Side) -> Reply {
        let plugin = step.plugin.as_deref().unwrap_or(&self.case.plugin);
        let originals = || Programs::originals().unwrap();
        let programs = if side == Side::Original { originals() } else { Programs::ours() };
        let path = if side == Side::Executing { originals() } else { programs };
        self.world.vars.insert("bin".to_owned(), path.dir.display().to_string());
        let (id, ifname) = key(step);
        let mut env = BTreeMap::from([
            ("CNI_COMMAND".to_owned(), command.to_owned()),
            ("CNI_CONTAINERID".to_owned(), id),
            ("CNI_IFNAME".to_owned(), ifname),
            ("CNI_NETNS".to_owned(), step.netns.clone().unwrap_or_else(|| "${netns}".to_owned())),
            ("CNI_PATH".to_owned(), "${bin}".to_owned()),
        ]);
        step.args.as_ref().map(|a| env.insert("CNI_ARGS".to_owned(), a.clone()));
        for (name, value) in &step.env {
            match value {
                Some(value) => env.insert(name.clone(), value.clone()),
                None => env.remove(name),
            };
        }
        env.values_mut().for_each(|v| *v = expand(v, &self.world.vars));
        let (program, stdin) = match &step.stdin {
            Some(raw) => (plugin, expand(raw, &self.world.vars).into_bytes()),
            None => {
                let conf = self.conf(command, step, plugin, side);
                (if side == Side::InProcess { "multus" } else { plugin }, serde_json::to_vec(&conf).unwrap())
            }
        };
        world::run(self.world.command(&programs.dir.join(program), &env), &stdin)
    }

    fn conf(&self, command: &str, step: &Step, plugin: &str, side: Side) -> Value {
        let mut conf = step.conf.clone().unwrap_or_else(|| self.case.conf.clone());
        if let Some(with) = &step.with {
            merge(&mut conf, with);
        }
        let object = conf.as_object_mut().unwrap();
        object.entry("cniVersion").or_insert_with(|| self.version.into());
        object.entry("name").or_insert_with(|| "testnet".into());
        object.entry("type").or_insert_with(|| plugin.into());
        let remembered = || self.results.get(&key(step)).cloned();
        let runtime_gives = ["CHECK", "DEL"].contains(&command)
            && side != Side::InProcess
            && wire::VERSIONS.contains(&self.version)
            && rank(self.version) >= rank("0.4.0");
        let prev = match &step.prev {
            Some(Value::Bool(false)) => None,
            Some(given) => Some(given.clone()),
            None if runtime_gives => remembered(),
            None => None,
        };
        if let Some(prev) = prev {
            object.insert("prevResult".to_owned(), prev);
        }
        if side == Side::Executing {
            object.insert("inProcess".to_owned(), "never".into());
        }
        if side == Side::InProcess {
            let outer = |k: &str| object.get(k).cloned().unwrap_or_default();
            conf = json!({
                "cniVersion": outer("cniVersion"), "name": "in-process", "type": "multus", "cniDir": "${dir}/multus",
                "delegates": [object],
            });
        }
        substitute(&conf, &self.world.vars)
    }
}

/// Ours fills in the interfaces' MTU that 1.1.0 has room for and no original gives (`docs/compatibility.md`, `result-interface-mtu`).
fn without_mtu(result: &mut Value) -> Result<(), String> {
    for interface in result.get_mut("interfaces").and_then(Value::as_array_mut).into_iter().flatten() {
        match interface.as_object_mut().and_then(|i| i.remove("mtu")) {
            None => {}
            Some(mtu) if mtu.as_u64().is_some_and(|m| m > 0) => {}
            Some(odd) => return Err(format!("an interface has mtu {odd}")),
        }
    }
    Ok(())
}

fn key(step: &Step) -> (String, String) {
    let or = |v: &Option<String>, default: &str| v.clone().unwrap_or_else(|| default.to_owned());
    (or(&step.id, ID), or(&step.ifname, "eth0"))
}

fn title(step: &Step) -> String {
    let looks = [&step.see, &step.text, &step.file, &step.json, &step.list, &step.absent, &step.run];
    let what = step.call.clone().or_else(|| looks.into_iter().flatten().next().cloned());
    format!("[{}]", what.unwrap_or_else(|| "clean".to_owned()))
}

fn is_match(regex: &str, text: &str) -> Result<bool, String> {
    let regex = RegexBuilder::new(regex).multi_line(true).build().map_err(|e| format!("bad regex {regex}: {e}"))?;
    Ok(regex.is_match(text))
}

/// RFC 7396.
fn merge(into: &mut Value, with: &Value) {
    let Value::Object(with) = with else {
        *into = with.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in with {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(into.as_object_mut().unwrap().entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
