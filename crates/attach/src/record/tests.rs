use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cni::{CniResult, Command, Json, Version};
use proptest::prelude::*;

use super::*;
use crate::devices::NoDevices;
use crate::testing::{article, call, json};
use crate::{Config, Plan};

fn entries() -> Vec<Entry> {
    let mut conf = article("/x".as_ref());
    conf.set("runtimeConfig", json(r#"{"portMappings": [{"HostPort": 80}]}"#));
    let plan = Plan::new(&Config::read(&conf).unwrap(), &call(Command::Add, &conf), None, &NoDevices).unwrap();
    let entry = |attachment| Entry { request: "eth0".into(), netns: "/run/netns/c1".into(), attachment };
    plan.attachments.into_iter().map(entry).collect()
}

fn read(bytes: &[u8]) -> (Vec<Entry>, Vec<String>) {
    parse(bytes, |_| Ok("eth0".into()))
}

#[test]
fn records_outlive_what_is_made_later_on_their_own_filesystem() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path().join("not/yet/multus"));
    let outlive = |dirs: &[&Path]| records.outlive(&dirs.iter().map(|d| d.to_path_buf()).collect::<Vec<_>>());
    let beside = dir.path().join("networks/not/yet");
    assert!(outlive(&[]) && outlive(&[&beside, dir.path()]));
    assert!(!outlive(&[&beside, Path::new("/proc")]));
}

/// Everything that matters of entries.
fn essence(entries: &[Entry]) -> Vec<(String, String, String, String, Json)> {
    let one = |e: &Entry| {
        let a = &e.attachment;
        let plugins = a.list.plugins.iter().map(|p| String::from_utf8(p.conf.to_vec()).unwrap()).collect::<Vec<_>>();
        let list = format!("{} {} {plugins:?}", a.list.name, a.list.cni_version);
        (
            e.request.clone(),
            e.netns.clone(),
            a.ifname.clone(),
            format!("{list} {:?}", a.args),
            a.capability_args.clone(),
        )
    };
    entries.iter().map(one).collect()
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    let records = Records::new(dir.path().join("deep/er"));
    let record = records.read("c1", "eth0", &cache).unwrap();
    assert!(!record.found && record.entries.is_empty() && record.problems.is_empty());
    // Of a container that has nothing nothing is made.
    records.update("c1", "eth0", &cache, Durability::Synced, Vec::clear).unwrap();
    assert!(!dir.path().join("deep").exists());
    records.update("c1", "eth0", &cache, Durability::Synced, |now| now.extend(entries())).unwrap();
    let again = records.read("c1", "eth1", &cache).unwrap();
    assert!(again.found && again.problems.is_empty(), "{:?}", again.problems);
    assert_eq!(essence(&again.entries), essence(&entries()));
    assert_eq!(records.containers().unwrap(), ["c1"]);
    records.update("c1", "eth0", &cache, Durability::Synced, Vec::clear).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("deep/er")).unwrap().count(), 0);
}

#[test]
fn changes_at_the_same_time_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let change = |i: usize, change: &dyn Fn(&mut Vec<Entry>, &str)| {
        let (records, request) = (Records::new(dir.path().join("cni")), format!("eth{i}"));
        records
            .update("c1", &request, &Cache::new(dir.path()), Durability::Synced, |now| change(now, &request))
            .unwrap();
    };
    let parallel = |step: &(dyn Fn(&mut Vec<Entry>, &str) + Sync)| {
        std::thread::scope(|scope| {
            for i in 0..8 {
                scope.spawn(move || change(i, step));
            }
        });
        Records::new(dir.path().join("cni")).read("c1", "eth0", &Cache::new(dir.path())).unwrap().entries
    };
    for _ in 0..5 {
        let added = parallel(&|now, request| {
            now.push(Entry { request: request.into(), ..entries().swap_remove(0) });
        });
        let mut requests: Vec<String> = added.into_iter().map(|e| e.request).collect();
        requests.sort();
        assert_eq!(requests, (0..8).map(|i| format!("eth{i}")).collect::<Vec<_>>());
        assert!(parallel(&|now, request| now.retain(|e| e.request != request)).is_empty());
        assert_eq!(fs::read_dir(dir.path().join("cni")).unwrap().count(), 0, "no lock file, no temporary file");
    }
}

/// A defect that there was: every call for the container waited for ever.
#[test]
fn a_pipe_in_the_place_of_a_record_is_damage_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (records, cache) = (Records::new(dir.path()), Cache::new(dir.path()));
    assert!(std::process::Command::new("mkfifo").arg(dir.path().join("c1")).status().unwrap().success());
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let record = records.read("c1", "eth0", &cache).unwrap();
        records.update("c1", "eth0", &cache, Durability::Synced, Vec::clear).unwrap();
        sender.send((record.found, record.problems)).unwrap();
    });
    let (found, problems) = receiver.recv_timeout(Duration::from_secs(10)).expect("it waits for a writer");
    assert!(found && problems[0].contains("not a regular file"), "{problems:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "and it goes as any other");
}

#[test]
fn a_lock_that_is_never_free_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records { lock_timeout: Duration::from_millis(5), ..Records::new(dir.path()) };
    let holder = File::open(dir.path()).unwrap();
    holder.lock().unwrap();
    let update =
        || records.update("c1", "eth0", &Cache::new(dir.path()), Durability::Synced, |now| now.extend(entries()));
    let error = update().unwrap_err();
    assert_eq!(error.code, Code::TRY_AGAIN);
    assert!(error.message.contains(&dir.path().display().to_string()), "{error}");
    drop(holder);
    update().unwrap();
}

#[test]
fn a_lock_that_cannot_be_asked_for_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("loop");
    std::os::unix::fs::symlink("loop", &path).unwrap();
    let records = Records::new(&path);
    let update = || records.update("c1", "eth0", &Cache::new(dir.path()), Durability::Synced, Vec::clear);
    let no_lock = |_| records.obtain(|| Err(TryLockError::Error(std::io::Error::from_raw_os_error(ENOLCK))));
    for (error, errno) in [(update().unwrap_err(), ELOOP), (no_lock(()).unwrap_err(), ENOLCK)] {
        assert_eq!(error.code, Code::IO);
        let (named, errno) = (path.display().to_string(), format!("(os error {errno})"));
        assert!(error.message.contains(&named) && error.message.contains(&errno), "{error}");
    }
}

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOLCK: i32 = 37;
const ELOOP: i32 = 40;

/// It is not damage, says what to do, and names file and errno.
fn cannot_be_read_now(error: &Error, path: &Path, errno: i32) {
    assert_eq!(error.code, Code::TRY_AGAIN, "{error}");
    for said in [path.display().to_string(), format!("(os error {errno})"), "try again".to_owned()] {
        assert!(error.message.contains(&said), "{said}: {error}");
    }
}

/// A defect that there was: it counted as damaged, and an ADD or DEL wrote it anew without what it named.
#[test]
fn a_record_on_a_disk_that_fails_is_not_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (records, cache, path) = (Records::new(dir.path()), Cache::new(dir.path()), dir.path().join("c1"));
    // A regular file whose first page nobody has: EIO.
    std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
    cannot_be_read_now(&records.read("c1", "eth0", &cache).unwrap_err(), &path, EIO);
    let update = |change: fn(&mut Vec<Entry>)| records.update("c1", "eth0", &cache, Durability::Synced, change);
    cannot_be_read_now(&update(Vec::clear).unwrap_err(), &path, EIO);
    cannot_be_read_now(&update(|now| now.extend(entries())).unwrap_err(), &path, EIO);
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("/proc/self/mem"), "nothing is changed");
}

/// The limit is the whole process's, so the other tests get another process than this one.
#[test]
fn a_record_that_there_are_no_descriptors_for_is_not_damaged() {
    const OWN_PROCESS: &str = "PLEXUS_TEST_OWN_PROCESS";
    if std::env::var_os(OWN_PROCESS).is_none() {
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
        limited.args(["--exact", "record::tests::a_record_that_there_are_no_descriptors_for_is_not_damaged"]);
        let output = limited.env(OWN_PROCESS, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (records, cache, path) = (Records::new(dir.path()), Cache::new(dir.path()), dir.path().join("c1"));
    let update = || records.update("c1", "eth0", &cache, Durability::Synced, Vec::clear);
    records.update("c1", "eth0", &cache, Durability::Synced, |now| now.extend(entries())).unwrap();
    let mut held: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let (read, locked, synced) = (records.read("c1", "eth0", &cache), update(), records.sync("c1").unwrap().wait());
    // One for the lock, none for the record.
    held.pop();
    let updated = update();
    drop(held);
    cannot_be_read_now(&read.unwrap_err(), &path, EMFILE);
    cannot_be_read_now(&updated.unwrap_err(), &path, EMFILE);
    for (error, named) in [(locked.unwrap_err(), dir.path()), (synced.unwrap_err(), &path)] {
        assert_eq!(error.code, Code::IO);
        let (named, errno) = (named.display().to_string(), format!("(os error {EMFILE})"));
        assert!(error.message.contains(&named) && error.message.contains(&errno), "{error}");
    }
    assert_eq!(essence(&records.read("c1", "eth0", &cache).unwrap().entries), essence(&entries()), "nothing is lost");
}

#[test]
fn the_wait_for_the_disk_ends_with_what_the_disk_said() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path());
    records.update("c1", "eth0", &Cache::new(dir.path()), Durability::Cached, |now| now.extend(entries())).unwrap();
    records.sync("c1").unwrap().wait().unwrap();
    let missing = records.sync("c2").unwrap().wait().unwrap_err();
    assert_eq!(missing.code, Code::IO);
    assert!(missing.message.contains(&dir.path().join("c2").display().to_string()), "{missing}");
    assert!(records.sync("../c1").is_err());
    // Without a thread it was done at once.
    Syncing::Done(Ok(())).wait().unwrap();
    assert_eq!(Syncing::Done(Err(missing.clone())).wait().unwrap_err(), missing);
    let ended = Syncing::Thread(std::thread::spawn(|| panic!("this panic is part of the test"))).wait().unwrap_err();
    assert!(ended.message.contains("ended early"), "{ended}");
}

#[test]
fn multus_finds_what_it_needs() {
    let bytes = multus::write(&entries()).unwrap();
    let array: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let (first, second) = (&array[0], &array[1]);
    assert_eq!(first["Name"], "multus-demo-1");
    assert_eq!(first.get("ifnameRequest"), None, "the first gets the runtime's name");
    assert_eq!(second["ifnameRequest"], "net0");
    assert_eq!(second["ConfList"]["plugins"][0]["type"], "macvlan");
    assert_eq!(second["ConfList"]["cniVersion"], "0.4.0");
    let config: serde_json::Value =
        serde_json::from_slice(&BASE64.decode(second["Bytes"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(config["name"], "multus-demo-0");
    assert_eq!(config["plugins"][0]["ipam"]["rangeEnd"], "192.168.122.216");
}

/// As Multus 4.3 writes: a default network from a list file (its `Bytes` without the plugin's own keys), one plugin, a list with a name asked
/// for.
fn by_multus() -> String {
    let b = |text: &str| BASE64.encode(text);
    format!(
        r#"[{{"Conf":{{"ipam":{{}},"dns":{{}}}},"ConfList":{{"cniVersion":"0.3.1","name":"cbr0","plugins":[{{"type":"calico","ipam":{{}}}}]}},
             "CNINetworkConfigList":{{"Name":"cbr0","CNIVersion":"0.3.1","DisableCheck":true,"DisableGC":false,"LoadOnlyInlinedPlugins":false,
               "Plugins":[{{"Network":{{"type":"calico"}},"Bytes":"{}"}},{{"Network":{{"type":"tuning"}},"Bytes":"{}"}}],"Bytes":"{}"}},
             "Name":"cbr0","IsFilterV4Gateway":false,"IsFilterV6Gateway":false,"Bytes":"{}"}},
            {{"Conf":{{"cniVersion":"0.3.1","name":"storage","type":"macvlan"}},"ConfList":{{}},"CNINetworkConfigList":{{"Name":"","Plugins":null,"Bytes":null}},
             "Name":"default/storage","Bytes":"{}"}},
            {{"Conf":{{}},"ConfList":{{}},"Name":"default/media","ifnameRequest":"media0","ipRequest":["10.1.1.1/24"],"Bytes":"{}"}}]"#,
        b(r#"{"type":"calico","datastore_type":"kubernetes","capabilities":{"portMappings":true}}"#),
        b(r#"{"type":"tuning","mtu":1400}"#),
        b(r#"{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"calico","datastore_type":"kubernetes"}]}"#),
        b(r#"{"cniVersion":"0.3.1","name":"cbr0","plugins":[{"type":"calico"}]}"#),
        b(r#"{"cniVersion":"0.3.1","name":"storage","type":"macvlan","master":"eth1"}"#),
        b(r#"{"cniVersion":"1.0.0","name":"media","plugins":[{"type":"bridge"}]}"#),
    )
}

#[test]
fn what_multus_wrote_is_read() {
    let (entries, problems) = read(by_multus().as_bytes());
    assert_eq!(problems, [""; 0]);
    let names: Vec<_> = entries.iter().map(|e| format!("{} {}", e.attachment.ifname, e.attachment.list.name)).collect();
    assert_eq!(names, ["eth0 cbr0", "net1 storage", "media0 media"]);
    assert!(entries.iter().all(|e| e.request == "eth0"));
    let cbr0 = &entries[0].attachment.list;
    assert_eq!(cbr0.plugins[0].conf.get("datastore_type").unwrap().as_str(), Some("kubernetes"), "not the lossy bytes");
    assert_eq!(cbr0.plugins[1].plugin_type, "tuning", "drop-in plugins too");
    assert!(cbr0.disable_check);
    assert_eq!(entries[1].attachment.list.plugins[0].conf.get("master").unwrap().as_str(), Some("eth1"));
}

#[test]
fn the_cache_tells_which_interface_multus_had_used() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    fs::write(dir.path().join("c1"), by_multus()).unwrap();
    let records = Records::new(dir.path());
    assert_eq!(records.read("c1", "eth7", &cache).unwrap().entries[0].request, "eth7", "nothing is known");
    let runtime = cni::chain::Runtime::new("c1", "/run/netns/c1", "eth3");
    cache.write("cbr0", b"{}", &runtime, &CniResult::empty(Version::V0_3_1)).unwrap();
    let record = records.read("c1", "eth7", &cache).unwrap();
    assert_eq!((record.entries[0].request.as_str(), record.entries[0].attachment.ifname.as_str()), ("eth3", "eth3"));
    assert_eq!(record.entries[1].attachment.ifname, "net1");
    assert_eq!(records.read("c1", "eth3", &cache).unwrap().entries[0].request, "eth3");

    // A disk that fails: which interface it was is not known, and must not be made up.
    let cached = cache.path("cbr0", "c1", "eth3").unwrap();
    fs::remove_file(&cached).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", &cached).unwrap();
    let record = records.read("c1", "eth7", &cache).unwrap();
    assert!(record.entries.iter().all(|e| e.attachment.ifname != "eth7"), "{:?}", record.entries);
    assert!(record.problems[0].contains("attachment 0") && record.problems[0].contains("try again"), "{record:?}");
}

#[test]
fn what_cannot_be_read_is_said() {
    for text in [
        "",
        "[]",
        "{}",
        "null",
        "\"x\"",
        "[1",
        "\u{0}\u{0}",
        "[[]]",
        "[null]",
        "[{}]",
        r#"[{"Bytes": "?"}]"#,
        r#"[{"Bytes": 1}]"#,
    ] {
        let (entries, problems) = read(text.as_bytes());
        assert!(entries.is_empty() && problems.len() == 1, "{text:?}: {problems:?}");
    }
    // One good entry is used though another is broken.
    let mut array = json(&by_multus());
    if let Json::Array(elements) = &mut array {
        elements[1].set("Bytes", "e30=");
    }
    let (entries, problems) = read(&array.to_vec());
    assert_eq!((entries.len(), problems.len()), (2, 1));
    assert!(problems[0].contains("attachment 1"), "{problems:?}");
}

#[test]
fn hostile_names_are_refused() {
    let mut array = json(std::str::from_utf8(&multus::write(&entries()).unwrap()).unwrap());
    if let Json::Array(elements) = &mut array {
        let Some(mut ours) = elements[0].get("plexus").cloned() else { panic!("our part") };
        ours.set("ifname", "../../etc");
        elements[0].set("plexus", ours);
    }
    let (entries, problems) = read(&array.to_vec());
    assert_eq!((entries.len(), problems.len()), (1, 1), "{problems:?}");

    let dir = tempfile::tempdir().unwrap();
    for id in ["", "..", "../x", "a/b", ".hidden", "results"] {
        assert!(Records::new(dir.path()).read(id, "eth0", &Cache::new(dir.path())).is_err(), "{id}");
    }
}

#[test]
fn files_that_are_no_records_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("results")).unwrap();
    for name in [".c9.tmp", ".hidden", "with space", "c2", "c1"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    assert_eq!(Records::new(dir.path()).containers().unwrap(), ["c1", "c2"]);
    assert!(Records::new(dir.path().join("none")).containers().unwrap().is_empty());
}

#[test]
fn a_directory_in_the_place_of_a_record_is_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("c1")).unwrap();
    let record = Records::new(dir.path()).read("c1", "eth0", &Cache::new(dir.path())).unwrap();
    assert_eq!(record.problems.len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_a_problem(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (entries, problems) = read(&bytes);
        prop_assert!(!entries.is_empty() || !problems.is_empty());
    }

    #[test]
    fn a_damaged_record_never_panics(at in 0usize..2000, byte in any::<u8>(), cut in 0usize..3000) {
        let mut bytes = multus::write(&entries()).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut.max(1));
        let (entries, problems) = read(&bytes);
        prop_assert!(entries.len() + problems.len() > 0);
    }
}
