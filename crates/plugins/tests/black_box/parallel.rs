//! Many at a time.

use std::collections::BTreeSet;
use std::fs;

use plugins::HostLocal;
use serde_json::json;

use crate::call::{Program, addresses};

#[test]
fn fifty_at_once_get_fifty_addresses() {
    let data = tempfile::tempdir().unwrap();
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "host-local", "dataDir": data.path(),
        "ranges": [[{"subnet": "10.1.0.0/26"}], [{"subnet": "2001:db8::/64"}]]}});
    let container = |n: usize| Program::new(&HostLocal).with("CNI_CONTAINERID", format!("c{n}"));
    for round in 0..4 {
        let results: Vec<Vec<String>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..50)
                .map(|n| {
                    scope.spawn({
                        let conf = &conf;
                        move || addresses(&container(n).add(conf))
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let all: BTreeSet<&String> = results.iter().flatten().collect();
        assert_eq!(all.len(), 100, "round {round}");
        for (n, ips) in results.iter().enumerate() {
            for ip in ips {
                let file = data.path().join("net").join(ip.split('/').next().unwrap());
                assert_eq!(fs::read_to_string(file).unwrap(), format!("c{n}\r\neth0"));
            }
        }
        // Out and in at the same time; the last round leaves nothing.
        std::thread::scope(|scope| {
            for n in 0..50 {
                let conf = &conf;
                scope.spawn(move || container(n).ok("DEL", conf));
            }
        });
    }
    let left = fs::read_dir(data.path().join("net")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let left: BTreeSet<String> = left.collect();
    let expected = ["lock", ".plexus-index", "last_reserved_ip.0", "last_reserved_ip.1"];
    assert_eq!(left, expected.map(str::to_owned).into());
}
