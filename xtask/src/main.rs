//! The developer's tool: what `make` calls.

mod originals;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("originals") => originals::print(),
        _ => Err("usage: cargo xtask originals".to_owned()),
    };
    done.map_or_else(
        |why| {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}
