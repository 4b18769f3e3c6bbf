//! What the meta-plugin keeps of a container, and libcni's cache file beside it.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use attach::record::Records;
use cni::Version;
use cni::cache::Cache;
use libfuzzer_sys::fuzz_target;

/// One directory for each process: fuzzers run in several. In memory where there is such a place, since every input is written twice.
static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let dir = if memory.is_dir() { memory } else { std::env::temp_dir() };
    dir.join(format!("plexus-fuzz-record-{}", std::process::id()))
});

fuzz_target!(|data: &[u8]| {
    // Made and removed each time: a fuzzer has no end at which to clean up.
    fs::create_dir_all(DIR.join("results")).unwrap();
    fs::write(DIR.join("pod"), data).unwrap();
    fs::write(DIR.join("results/net-pod-eth0"), data).unwrap();
    let cache = Cache::new(&*DIR);
    let record = Records::new(&*DIR).read("pod", "eth0", &cache).unwrap();
    assert!(record.found);
    // What cannot be read is said.
    assert!(!record.entries.is_empty() || !record.problems.is_empty() || is_empty_list(data));
    for version in [Version::V0_2_0, Version::V1_1_0] {
        let _ = cache.result("net", "pod", "eth0", version);
    }
    let _ = cache.entry("net", "pod", "eth0");
    let _ = cache.attachments(Some("pod"));
    fs::remove_dir_all(&*DIR).unwrap();
});

fn is_empty_list(data: &[u8]) -> bool {
    cni::Json::parse(data).is_ok_and(|json| json.elements().is_some_and(<[_]>::is_empty))
}
