//! How much is asked of the API server, by its own audit log: it has other things to do than to answer a thousand nodes.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use e2e::{Pod, Test, definition};
use serde_json::{Value, json};

/// The audit log from now on.
struct Audit {
    file: PathBuf,
    start: u64,
}

impl Audit {
    fn new(test: &Test) -> Audit {
        let file = test.nodes().log("audit.json");
        let start = fs::metadata(&file).unwrap().len();
        Audit { file, start }
    }

    /// What Plexus's program asked for that has to do with this namespace: verb and resource, in order.
    fn requests(&self, namespace: &str) -> Vec<String> {
        let mut file = fs::File::open(&self.file).unwrap();
        file.seek(SeekFrom::Start(self.start)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let entries = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ours = entries.filter(|e| {
            e["userAgent"].as_str().is_some_and(|a| a.starts_with("plexus/"))
                && e["objectRef"]["namespace"].as_str().unwrap_or(namespace) == namespace
                // The daemon that makes the routes between nodes asks for them all the time.
                && e["objectRef"]["resource"] != "nodes"
        });
        let name = |e: Value| {
            assert!(e["responseStatus"]["code"].as_u64().is_some_and(|c| c < 300), "{e}");
            let of = e["objectRef"]["subresource"].as_str().map_or(String::new(), |s| format!("/{s}"));
            format!("{} {}{of}", e["verb"].as_str().unwrap(), e["objectRef"]["resource"].as_str().unwrap())
        };
        ours.map(name).collect()
    }
}

#[test]
fn an_add_asks_three_times_and_a_del_never() {
    let Some(test) = Test::on_nodes("requests") else { return };
    test.apply(&[definition(
        "blue",
        &json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.252.1.0/24"}}),
    )]);
    let audit = Audit::new(&test);
    test.start(&Pod::new("web").networks("blue@blue0"));
    let asked = audit.requests("requests");
    let (events, others): (Vec<&str>, Vec<&str>) =
        asked.iter().map(String::as_str).partition(|r| r.ends_with(" events"));
    assert_eq!(others, ["get pods", "get network-attachment-definitions", "patch pods/status"]);
    // One for each interface.
    let interfaces = test.addresses("web").len() - 1;
    assert_eq!(events, vec!["create events"; interfaces]);

    let audit = Audit::new(&test);
    let before = test.nodes().traces().len();
    test.delete_all();
    assert!(test.nodes().traces().len() < before, "the networks are gone");
    assert_eq!(audit.requests("requests"), [""; 0], "the record says all that a DEL needs");
}

#[test]
fn a_pod_without_networks_of_its_own_asks_twice() {
    let Some(test) = Test::on_nodes("few-requests") else { return };
    let audit = Audit::new(&test);
    test.start(&Pod::new("web"));
    let mut asked = audit.requests("few-requests");
    asked.retain(|r| !r.ends_with(" events"));
    assert_eq!(asked, ["get pods", "patch pods/status"]);
}
