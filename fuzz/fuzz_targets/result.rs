//! Results of every version, and from one to another.
#![no_main]

use cni::{CniResult, Json, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(json) = Json::parse(data) else { return };
    assert_eq!(Json::parse(&json.to_vec()).unwrap(), json);
    assert_eq!(Json::parse(&json.to_vec_pretty()).unwrap(), json);
    for fallback in [Version::V0_1_0, Version::V0_4_0, Version::V1_1_0] {
        let Ok(result) = CniResult::from_json(&json, fallback) else { continue };
        for version in Version::ALL {
            let Ok(written) = result.to_json(version) else {
                assert!(version < Version::V0_3_0 && result.ips.is_empty());
                continue;
            };
            let text = written.to_vec();
            let read = CniResult::from_json(&Json::parse(&text).unwrap(), Version::V0_1_0).unwrap();
            assert_eq!(read.version, version);
            // Once it has lost what the version cannot say, it loses nothing more.
            assert_eq!(read.to_json(version).unwrap(), written);
        }
    }
});
