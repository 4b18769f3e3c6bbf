//! The node's binary: which program it is this time.
//!
//! Under the name of a reference plugin it is that plugin; as `multus`, `plexus` or `plexus-node cni` it is the meta-plugin; otherwise it is
//! a command for people. The kinds are told apart before anything else is set up, since a runtime starts one of these processes per call.

mod command;
#[cfg(feature = "kubernetes")]
mod host_gw;
mod install;
mod kubernetes;
mod log;
mod log_file;
mod meta;
mod ports;
mod probe;
mod wait;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use plugins::{Registry, skel};

/// musl's own allocator maps and unmaps pages for every few allocations: 65 system calls and as many page faults of a call's 370, all of
/// them time that a pod waits. This one keeps what it has.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Names under which the meta-plugin is installed.
const META: [&str; 3] = ["multus", "plexus", "multus-shim"];

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let name = Path::new(&program).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    // A runtime calls a plugin without arguments.
    let by_runtime = args.is_empty() && std::env::var_os("CNI_COMMAND").is_some_and(|c| !c.is_empty());
    if let Some(plugin) = Registry::find(name) {
        return end(skel::main(plugin));
    }
    if by_runtime || (args.is_empty() && META.contains(&name)) || args == ["cni"] {
        return end(skel::main(&meta::Meta));
    }
    command::main(&program, &args)
}

/// Ends a call that succeeded without the standard library's goodbye: a runtime waits, and the kernel takes back all that there is anyway.
fn end(code: ExitCode) -> ExitCode {
    if code == ExitCode::SUCCESS {
        signal_hook::low_level::exit(0);
    }
    code
}
