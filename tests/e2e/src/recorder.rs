//! A chained plugin on a node that writes down how it is called: what reaches an external plugin, seen from there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::{Test, eventually};

/// As anybody may have one. The machine's Python is the node's too.
const PROGRAM: &str = r#"#!/usr/bin/python3
import json, os, sys
command = os.environ["CNI_COMMAND"]
if command == "VERSION":
    print(json.dumps({"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}))
    sys.exit()
conf = json.load(sys.stdin)
with open("/run/e2e-recorded/%s-%s" % (command, conf["name"]), "w") as f:
    json.dump({"conf": conf, "args": os.environ.get("CNI_ARGS", ""), "interface": os.environ["CNI_IFNAME"]}, f)
if command == "ADD":
    print(json.dumps(conf["prevResult"]))
"#;

/// The plugin `e2e-recorder` on a node, until this is dropped.
#[derive(Debug)]
pub struct Recorder {
    program: PathBuf,
    calls: PathBuf,
}

impl Recorder {
    /// Puts it there.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn new(test: &Test, node: &str) -> Recorder {
        let program = test.nodes().dir(node, "opt-cni/bin/e2e-recorder");
        let calls = test.nodes().dir(node, "run/e2e-recorded");
        fs::create_dir_all(&calls).expect("a folder for the calls");
        fs::write(&program, PROGRAM).expect("to write the plugin");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("to make it executable");
        Recorder { program, calls }
    }

    /// How it was called: `conf`, `args`, `interface`.
    ///
    /// # Panics
    /// If it was not.
    #[must_use]
    pub fn call(&self, command: &str, network: &str) -> Value {
        let file = self.calls.join(format!("{command}-{network}"));
        eventually(&format!("{command} of {network}"), || {
            let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))
        })
    }

    /// Whether it was called.
    #[must_use]
    pub fn has(&self, command: &str, network: &str) -> bool {
        self.calls.join(format!("{command}-{network}")).exists()
    }

    /// Forgets all calls.
    ///
    /// # Panics
    /// If a record cannot be removed.
    pub fn forget(&self) {
        for call in fs::read_dir(&self.calls).expect("the calls").flatten() {
            fs::remove_file(call.path()).expect("to forget a call");
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.program);
        let _ = fs::remove_dir_all(&self.calls);
    }
}
