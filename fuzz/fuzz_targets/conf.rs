//! Network lists, plugin configurations, `CNI_ARGS`, and whole calls.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use cni::conf::NetworkList;
use cni::{Json, args, env};
use libfuzzer_sys::fuzz_target;

const VARIABLES: [&str; 7] =
    ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE"];

fuzz_target!(|data: &[u8]| {
    for list in [NetworkList::parse(data), NetworkList::from_single(data)].into_iter().flatten() {
        let arguments = Json::parse(br#"{"mac": "02:00:00:00:00:01", "portMappings": [{"hostPort": 80}]}"#).unwrap();
        for plugin in &list.plugins {
            assert!(!plugin.plugin_type.is_empty());
            let request = plugin.request(&list, None, &arguments).unwrap();
            // What goes to a program is what was meant.
            assert_eq!(Json::parse(&request.to_vec()).unwrap(), request);
            assert_eq!(request.get("name").and_then(Json::as_str), Some(list.name.as_str()));
        }
    }

    // A call: the variables' values, each ended by a zero byte, then stdin.
    let mut parts = data.splitn(VARIABLES.len() + 1, |b| *b == 0);
    let values: Vec<_> = parts.by_ref().take(VARIABLES.len()).collect();
    let mut stdin = parts.next().unwrap_or_default();
    let var = |name: &str| {
        let value = values.get(VARIABLES.iter().position(|v| *v == name)?)?;
        Some(OsString::from(std::ffi::OsStr::from_bytes(value)))
    };
    match env::call(var, &mut stdin) {
        Ok(call) => {
            assert!(!call.container_id.contains('/') && !call.ifname.contains('/') && call.ifname.len() < 16);
            let _ = call.version().map(|_| call.prev_result());
            let _ = args::load(&call.args, &["IP", "MAC"]);
            let _ = cni::chain::Attachment::list(&call.conf);
        }
        Err(error) => assert!(error.code.0 != 0 && !error.message.is_empty()),
    }

    if let Ok(text) = std::str::from_utf8(data) {
        let _ = args::load(text, &["IP", "MAC"]);
        if let Ok(read) = args::Args::parse(text) {
            assert_eq!(args::join(read.pairs()), text);
        }
    }
});
