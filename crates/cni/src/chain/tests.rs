use std::cell::RefCell;
use std::fs;

use super::*;

/// Remembers every call and answers ADD with what a test says, or any command with an error.
#[derive(Default)]
struct Recorder {
    calls: RefCell<Vec<(String, Call)>>,
    /// Plugin and result of its ADD; others answer an empty result.
    results: Vec<(&'static str, &'static str)>,
    /// Command and plugin that fail.
    failing: Vec<(Command, &'static str)>,
}

impl Invoke for Recorder {
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>> {
        self.calls.borrow_mut().push((plugin.to_owned(), call.clone()));
        if self.failing.iter().any(|(command, failing)| *command == call.command && *failing == plugin) {
            return Err(Error::new(Code(123), format!("{plugin} is broken")).with_details("why"));
        }
        if call.command != Command::Add {
            return Ok(None);
        }
        let result = self.results.iter().find(|(p, _)| *p == plugin).map_or("{}", |(_, result)| result);
        CniResult::from_json(&Json::parse(result.as_bytes()).unwrap(), call.version()?).map(Some)
    }
}

impl Recorder {
    /// `COMMAND plugin` of each call, and forget them.
    fn take(&self) -> Vec<String> {
        self.calls.take().iter().map(|(plugin, call)| format!("{} {plugin}", call.command.as_str())).collect()
    }

    fn prev(&self, index: usize) -> Option<Json> {
        self.calls.borrow()[index].1.conf.get("prevResult").cloned()
    }
}

struct World {
    dir: tempfile::TempDir,
    cache: Cache,
    runtime: Runtime,
    plugins: Recorder,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let runtime = Runtime {
            args: vec![("K".to_owned(), "V".to_owned()), ("L".to_owned(), "W".to_owned())],
            capability_args: json(r#"{"mac": "02:00:00:00:00:01", "ips": []}"#),
            path: vec![PathBuf::from("/bin1"), PathBuf::from("/bin2")],
            ..Runtime::new("id", "/run/netns/a", "eth0")
        };
        World { dir, cache, runtime, plugins: Recorder::default() }
    }

    fn add(&self, list: &NetworkList) -> Result<CniResult> {
        add(list, &self.runtime, &self.plugins, &self.cache)
    }

    fn del(&self, list: &NetworkList) -> Result<()> {
        del(list, &self.runtime, &self.plugins, &self.cache)
    }

    fn check(&self, list: &NetworkList) -> Result<()> {
        check(list, &self.runtime, &self.plugins, &self.cache)
    }

    fn gc(&self, list: &NetworkList, valid: Option<&[Attachment]>) -> Result<()> {
        gc(list, valid, &self.runtime.path, &self.plugins, &self.cache)
    }

    fn cached(&self) -> usize {
        fs::read_dir(self.dir.path().join("results")).map_or(0, Iterator::count)
    }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

/// A network of the plugins a, b and c.
fn list(version: &str) -> NetworkList {
    list_with(version, "")
}

fn list_with(version: &str, members: &str) -> NetworkList {
    let text = format!(
        r#"{{"cniVersion": "{version}", "name": "net", {members}"plugins": [
            {{"type": "a", "capabilities": {{"mac": true}}}}, {{"type": "b", "name": "bee"}}, {{"type": "c"}}]}}"#
    );
    NetworkList::parse(text.as_bytes()).unwrap()
}

fn attachment(container_id: &str, ifname: &str) -> Attachment {
    Attachment { container_id: container_id.to_owned(), ifname: ifname.to_owned() }
}

#[test]
fn add_goes_in_order_each_with_the_result_before() {
    let mut world = World::new();
    world.plugins.results = vec![
        ("a", r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/24"}]}"#),
        ("b", r#"{"ips": [{"address": "10.0.0.2/24"}]}"#),
        ("c", r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.3/24"}]}"#),
    ];
    let result = world.add(&list("1.0.0")).unwrap();
    assert_eq!((result.version, result.ips[0].address.to_string().as_str()), (Version::V1_1_0, "10.0.0.3/24"));
    assert_eq!(world.plugins.prev(0), None);
    assert_eq!(world.plugins.prev(1), Some(json(r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/24"}]}"#)));
    // One without a version has the configuration's.
    assert_eq!(world.plugins.prev(2), Some(json(r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}]}"#)));

    let (_, call) = world.plugins.calls.borrow()[0].clone();
    assert_eq!((call.container_id.as_str(), call.netns.as_str(), call.ifname.as_str()), ("id", "/run/netns/a", "eth0"));
    assert_eq!((call.args.as_str(), &call.path), ("K=V;L=W", &world.runtime.path));
    assert_eq!(call.network(), "net");
    assert_eq!(call.conf.get("runtimeConfig"), Some(&json(r#"{"mac": "02:00:00:00:00:01"}"#)));
    assert_eq!(world.plugins.calls.borrow()[1].1.conf.get("runtimeConfig"), None);

    let entry = world.cache.entry("net", "id", "eth0").unwrap().unwrap();
    assert_eq!((entry.config, entry.args), (list("1.0.0").bytes, world.runtime.args.clone()));
    assert_eq!(entry.result.get("cniVersion").and_then(Json::as_str), Some("1.1.0"));
    assert_eq!(world.plugins.take(), ["ADD a", "ADD b", "ADD c"]);
}

#[test]
fn the_first_error_of_add_stops_it() {
    let mut world = World::new();
    world.plugins.failing = vec![(Command::Add, "b")];
    let error = world.add(&list("1.0.0")).unwrap_err();
    assert_eq!(error.message, "plugin type=\"b\" name=\"bee\" failed (add): b is broken");
    assert_eq!((error.code, error.details.as_str()), (Code(123), "why"));
    assert_eq!(world.plugins.take(), ["ADD a", "ADD b"]);
    assert_eq!(world.cached(), 0);

    world.plugins.failing = vec![(Command::Add, "a")];
    assert_eq!(world.add(&list("1.0.0")).unwrap_err().message, "plugin type=\"a\" failed (add): a is broken");
}

#[test]
fn add_validates_names_before_any_plugin() {
    for (name, id, ifname, code) in [
        ("net", "", "eth0", Code::UNKNOWN_CONTAINER),
        ("net", "a/b", "eth0", Code::INVALID_ENVIRONMENT),
        ("net", "id", "", Code::INVALID_ENVIRONMENT),
        ("net", "id", "a/b", Code::INVALID_ENVIRONMENT),
        ("", "id", "eth0", Code::INVALID_CONFIG),
        ("a/b", "id", "eth0", Code::INVALID_CONFIG),
    ] {
        let mut world = World::new();
        world.runtime.container_id = id.to_owned();
        world.runtime.ifname = ifname.to_owned();
        let list = NetworkList { name: name.to_owned(), ..list("1.0.0") };
        assert_eq!(world.add(&list).unwrap_err().code, code);
        assert!(world.plugins.take().is_empty());
    }
    let none = NetworkList { plugins: Vec::new(), ..list("1.0.0") };
    assert_eq!(World::new().add(&none).unwrap_err().code, Code::INVALID_CONFIG);
}

#[test]
fn a_result_that_cannot_be_cached_fails_add() {
    let world = World::new();
    fs::write(world.dir.path().join("results"), "a file").unwrap();
    let error = world.add(&list("1.0.0")).unwrap_err();
    assert!(error.message.starts_with("failed to set network \"net\" cached result: "), "{error}");
}

#[test]
fn del_goes_in_reverse_with_the_final_result() {
    let mut world = World::new();
    world.plugins.results = vec![("c", r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.3/24"}]}"#)];
    for (version, prev) in [("1.0.0", true), ("0.4.0", true), ("0.3.1", false), ("0.2.0", false)] {
        // The result is of another version than the configuration by then: it is converted.
        world.add(&list("1.1.0")).unwrap();
        world.plugins.take();
        world.del(&list(version)).unwrap();
        for index in 0..3 {
            let found = world.plugins.prev(index);
            assert_eq!(found.is_some(), prev);
            assert!(found.is_none_or(|p| p.get("cniVersion").unwrap().as_str() == Some(version)));
        }
        assert_eq!(world.plugins.take(), ["DEL c", "DEL b", "DEL a"]);
        assert_eq!(world.cached(), 0);
    }
    // Again, when there is nothing left.
    world.del(&list("1.0.0")).unwrap();
    assert_eq!(world.plugins.prev(0), None);
}

#[test]
fn an_error_of_del_keeps_the_cache() {
    let mut world = World::new();
    world.add(&list("1.0.0")).unwrap();
    world.plugins.take();
    world.plugins.failing = vec![(Command::Del, "b")];
    let error = world.del(&list("1.0.0")).unwrap_err();
    assert_eq!(error.message, "plugin type=\"b\" name=\"bee\" failed (delete): b is broken");
    assert_eq!(world.plugins.take(), ["DEL c", "DEL b"]);
    assert_eq!(world.cached(), 1);

    world.plugins.failing.clear();
    world.del(&list("1.0.0")).unwrap();
    assert_eq!(world.cached(), 0);
}

#[test]
fn del_works_around_a_broken_cache() {
    for content in ["", "{", r#"{"kind": "cniCacheV1", "result": {"cniVersion": "9.9.9"}}"#] {
        let mut world = World::new();
        world.add(&list("1.0.0")).unwrap();
        world.plugins.take();
        fs::write(world.cache.path("net", "id", "eth0").unwrap(), content).unwrap();
        world.plugins.failing = vec![(Command::Del, "a")];
        assert!(world.del(&list("1.0.0")).is_err());
        assert_eq!(world.plugins.prev(0), None);
        assert_eq!(world.plugins.take(), ["DEL c", "DEL b", "DEL a"]);
        // It is gone at once: it would only be found broken again.
        assert_eq!(world.cached(), 0);
    }
}

/// A defect that there was: it was removed, and a plugin that undoes what the result names undid nothing.
#[test]
fn del_waits_for_a_cache_that_cannot_be_read_now() {
    let world = World::new();
    world.add(&list("1.0.0")).unwrap();
    world.plugins.take();
    let path = world.cache.path("net", "id", "eth0").unwrap();
    let content = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    // A regular file whose first page nobody has: EIO.
    std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
    let error = world.del(&list("1.0.0")).unwrap_err();
    assert_eq!((error.code, world.plugins.take(), world.cached()), (Code::TRY_AGAIN, vec![], 1), "{error}");
    fs::remove_file(&path).unwrap();
    fs::write(&path, content).unwrap();
    world.del(&list("1.0.0")).unwrap();
    assert!(world.plugins.prev(0).is_some());
}

#[test]
fn del_without_names_is_left_to_the_plugins() {
    let mut world = World::new();
    world.runtime.ifname = String::new();
    world.del(&list("1.0.0")).unwrap();
    assert_eq!(world.plugins.take().len(), 3);
}

#[test]
fn check_asks_all_with_the_final_result() {
    let mut world = World::new();
    world.plugins.results = vec![("c", r#"{"cniVersion": "0.4.0", "ips": [{"address": "10.0.0.3/24"}]}"#)];
    world.add(&list("0.4.0")).unwrap();
    world.plugins.take();
    world.check(&list("0.4.0")).unwrap();
    assert_eq!(world.plugins.prev(0).unwrap().get("ips").unwrap().elements().unwrap().len(), 1);
    assert_eq!(world.plugins.take(), ["CHECK a", "CHECK b", "CHECK c"]);

    world.plugins.failing = vec![(Command::Check, "b")];
    let error = world.check(&list("0.4.0")).unwrap_err();
    assert_eq!((error.code, error.message.ends_with("b is broken")), (Code(123), true));
    assert_eq!(world.plugins.take(), ["CHECK a", "CHECK b"]);

    let error = world.check(&list("0.3.1")).unwrap_err();
    assert_eq!(error.code, Code::INCOMPATIBLE_VERSION);
    assert_eq!(error.message, "configuration version \"0.3.1\" does not support the CHECK command");
    world.check(&list_with("0.4.0", r#""disableCheck": true, "#)).unwrap();
    assert!(world.plugins.take().is_empty());
}

#[test]
fn check_needs_a_readable_cache_or_none() {
    let world = World::new();
    world.check(&list("1.0.0")).unwrap();
    assert_eq!(world.plugins.prev(0), None);
    world.plugins.take();
    world.add(&list("1.0.0")).unwrap();
    world.plugins.take();
    fs::write(world.cache.path("net", "id", "eth0").unwrap(), "{").unwrap();
    let error = world.check(&list("1.0.0")).unwrap_err();
    assert!(error.message.starts_with("failed to get network \"net\" cached result: "), "{error}");
    assert!(world.plugins.take().is_empty());
}

#[test]
fn gc_deletes_what_is_not_valid_and_tells_the_plugins() {
    let mut world = World::new();
    for (id, ifname, network) in
        [("id", "eth0", "net"), ("id", "net1", "net"), ("stale", "eth0", "net"), ("stale", "eth0", "other")]
    {
        world.runtime.container_id = id.to_owned();
        world.runtime.ifname = ifname.to_owned();
        world.add(&NetworkList { name: network.to_owned(), ..list("1.1.0") }).unwrap();
    }
    world.plugins.take();
    world.gc(&list("1.1.0"), Some(&[attachment("id", "eth0"), attachment("new", "eth0")])).unwrap();
    {
        let calls = world.plugins.calls.borrow();
        let deleted: Vec<_> = calls
            .iter()
            .filter(|(_, c)| c.command == Command::Del)
            .map(|(_, c)| (c.container_id.as_str(), c.ifname.as_str()))
            .collect();
        assert_eq!(deleted, [("id", "net1"); 3].into_iter().chain([("stale", "eth0"); 3]).collect::<Vec<_>>());
        // With what ADD had, and the path of now.
        assert_eq!(
            (calls[0].1.netns.as_str(), calls[0].1.args.as_str(), &calls[0].1.path),
            ("/run/netns/a", "K=V;L=W", &world.runtime.path)
        );
        assert!(calls[2].1.conf.get("runtimeConfig").is_some());

        let (_, gc) = &calls[6];
        assert_eq!(
            (gc.command, gc.container_id.as_str(), gc.netns.as_str(), gc.ifname.as_str(), gc.args.as_str()),
            (Command::Gc, "", "", "", "")
        );
        let valid = json(r#"[{"containerID": "id", "ifname": "eth0"}, {"containerID": "new", "ifname": "eth0"}]"#);
        assert_eq!(gc.conf.get("cni.dev/valid-attachments"), Some(&valid));
        assert_eq!(gc.conf.get("cni.dev/attachments"), Some(&valid));
        assert_eq!(Attachment::list(&gc.conf).unwrap().unwrap(), [attachment("id", "eth0"), attachment("new", "eth0")]);
        assert_eq!(gc.conf.get("runtimeConfig"), None);
    }
    assert_eq!(world.plugins.take()[6..], ["GC a", "GC b", "GC c"]);
    assert_eq!(world.cached(), 2);
}

#[test]
fn gc_below_1_1_0_deletes_but_does_not_ask_the_plugins() {
    let world = World::new();
    world.add(&list("0.4.0")).unwrap();
    world.plugins.take();
    world.gc(&list("0.4.0"), Some(&[])).unwrap();
    assert_eq!(world.plugins.take(), ["DEL c", "DEL b", "DEL a"]);
    assert_eq!(world.cached(), 0);
}

#[test]
fn gc_without_a_list_deletes_nothing() {
    let world = World::new();
    world.add(&list("1.1.0")).unwrap();
    world.plugins.take();
    world.gc(&list("1.1.0"), None).unwrap();
    assert_eq!(Attachment::list(&world.plugins.calls.borrow()[0].1.conf).unwrap(), None);
    assert_eq!(world.plugins.take(), ["GC a", "GC b", "GC c"]);
    assert_eq!(world.cached(), 1);
    world.gc(&list_with("1.1.0", r#""disableGC": true, "#), Some(&[])).unwrap();
    assert!(world.plugins.take().is_empty());
    assert_eq!(world.cached(), 1);
}

#[test]
fn gc_collects_errors() {
    let mut world = World::new();
    world.add(&list("1.1.0")).unwrap();
    world.plugins.take();
    world.plugins.failing = vec![(Command::Del, "c"), (Command::Gc, "a"), (Command::Gc, "c")];
    let error = world.gc(&list("1.1.0"), Some(&[])).unwrap_err();
    assert_eq!(error.code, Code(123));
    assert_eq!(
        error.message,
        "failed to delete stale attachment id eth0: plugin type=\"c\" failed (delete): c is broken / \
         failed to GC plugin a: a is broken / failed to GC plugin c: c is broken"
    );
    assert_eq!(error.details, "why / why / why");
    assert_eq!(world.plugins.take(), ["DEL c", "GC a", "GC b", "GC c"]);
    assert_eq!(world.cached(), 1);
}

#[test]
fn gc_does_not_enter_a_process_that_may_be_another_by_now() {
    let mut world = World::new();
    world.runtime.netns = "/proc/4711/ns/net".into();
    world.add(&list("1.1.0")).unwrap();
    world.gc(&list("1.1.0"), Some(&[])).unwrap();
    let calls = world.plugins.calls.borrow();
    let deleted: Vec<&str> =
        calls.iter().filter(|(_, c)| c.command == Command::Del).map(|(_, c)| c.netns.as_str()).collect();
    assert_eq!(deleted, [""; 3]);
}

#[test]
fn a_name_too_long_for_the_cache_is_refused_before_anything_runs() {
    let world = World::new();
    // Each fits alone; what their file is called while it is written does not.
    for length in [243, 247, 250] {
        let network = NetworkList { name: "n".repeat(length), ..list("1.1.0") };
        let error = world.add(&network).unwrap_err();
        assert!(error.code == Code::INVALID_CONFIG && error.message.contains("too long"), "{error}");
        assert!(world.plugins.take().is_empty());
        // A DEL that comes all the same finds nothing to remove.
        del(&network, &world.runtime, &world.plugins, &world.cache).unwrap();
        world.plugins.take();
    }
    assert_eq!(world.cached(), 0);
    world.add(&NetworkList { name: "n".repeat(242), ..list("1.1.0") }).unwrap();
}

#[test]
fn plugins_are_told_that_their_own_namespace_is_allowed() {
    let mut world = World::new();
    world.add(&list("1.1.0")).unwrap();
    world.runtime.netns_override = true;
    world.add(&list("1.1.0")).unwrap();
    let told: Vec<bool> = world.plugins.calls.borrow().iter().map(|(_, c)| c.netns_override).collect();
    assert_eq!(told, [false, false, false, true, true, true]);
}

#[test]
fn attachment_lists_of_a_configuration() {
    assert_eq!(Attachment::list(&json("{}")).unwrap(), None);
    assert_eq!(Attachment::list(&json(r#"{"cni.dev/attachments": []}"#)).unwrap(), Some(Vec::new()));
    let error = Attachment::list(&json(r#"{"cni.dev/valid-attachments": [{"containerID": 1}]}"#)).unwrap_err();
    assert_eq!(error.code, Code::DECODE);
    assert!(error.message.contains("valid-attachments") && error.message.contains("[0].containerID"), "{error}");
    // Nothing is known, which is not that nothing is valid.
    assert_eq!(Attachment::list(&json(r#"{"cni.dev/valid-attachments": null}"#)).unwrap(), None);
    for half in [r#"[{"containerID": "a"}]"#, r#"[{"ifname": "eth0"}]"#, r#"[null]"#, r#"["a"]"#, "{}", r#""all""#] {
        let error = Attachment::list(&json(&format!(r#"{{"cni.dev/attachments": {half}}}"#))).unwrap_err();
        assert!(error.code == Code::DECODE && error.message.contains("\"cni.dev/attachments\""), "{half}: {error}");
    }
}

#[test]
fn status_stops_at_the_first_error_and_keeps_it() {
    let mut world = World::new();
    status(&list("1.0.0"), &world.runtime.path, &world.plugins).unwrap();
    assert!(world.plugins.take().is_empty());
    status(&list("1.1.0"), &world.runtime.path, &world.plugins).unwrap();
    assert_eq!(world.plugins.calls.borrow()[0].1.path, world.runtime.path);
    assert_eq!(world.plugins.take(), ["STATUS a", "STATUS b", "STATUS c"]);
    world.plugins.failing = vec![(Command::Status, "b")];
    let error = status(&list("1.1.0"), &world.runtime.path, &world.plugins).unwrap_err();
    assert_eq!(error, Error::new(Code(123), "b is broken").with_details("why"));
    assert_eq!(world.plugins.take(), ["STATUS a", "STATUS b"]);
}
