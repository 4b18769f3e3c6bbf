//! Every case file on every side: first the Go originals, then ours as programs, ours within our meta-plugin, and the two mixed.

use conformance::case::CaseFile;
use conformance::program::{Cast, Programs, Side};
use conformance::run::NOT_FOR_ORIGINALS;

fn on(file: &str, title: &str, cast: Cast) {
    if !testkit::have_root() {
        return testkit::skip_or_fail("conformance", "needs root");
    }
    let originals = [cast.add, cast.rest].iter().any(|s| [Side::Original, Side::Executing].contains(s));
    if originals && Programs::originals().is_none() {
        return testkit::skip_or_fail("conformance", "no Go originals: `cargo xtask originals` says where they are");
    }
    let report = conformance::run::file(file, cast);
    for (why, cases) in &report.skipped {
        // What the original is known to be unable to do is no gap of this run: those cases are about ours.
        if why.starts_with(NOT_FOR_ORIGINALS) {
            continue;
        }
        let tier = match why {
            w if w.contains("kernel") => "kernel",
            // Its versions after 0.9.1 cannot be had as a Go module.
            w if w.contains("flannel") => "flannel-original",
            _ => "originals",
        };
        testkit::skip_or_fail(tier, &format!("{file}, {title}: {cases} cases: {why}"));
    }
    println!(
        "{file}, {title}: {} passed, {} failed, {} skipped",
        report.passed,
        report.failed.len(),
        report.skipped.values().sum::<usize>()
    );
    let any =
        std::env::var_os("PLEXUS_CASE").is_some() || report.passed + report.failed.len() + report.skipped.len() > 0;
    assert!(any, "{file}, {title}: no case ran");
    let list = report.failed.join("\n");
    assert!(
        report.failed.is_empty(),
        "{file}, {title}: {} of {} cases\n{list}",
        report.failed.len(),
        report.failed.len() + report.passed
    );
}

macro_rules! cast {
    ($cast:ident, $title:literal, $add:ident, $rest:ident: $($name:ident $file:literal,)*) => {
        mod $cast { $(
            #[test]
            fn $name() {
                super::on($file, $title, super::Cast { add: super::Side::$add, rest: super::Side::$rest });
            }
        )* }
    };
}

cast! { originals, "originals", Original, Original:
    bridge "bridge", flannel "flannel", host_local "host-local", loopback "loopback", macvlan "macvlan", multus "multus",
    protocol "protocol", r#static "static",
}
cast! { ours, "ours", Ours, Ours:
    bridge "bridge", flannel "flannel", host_local "host-local", loopback "loopback", macvlan "macvlan", multus "multus",
    protocol "protocol", r#static "static",
}
cast! { in_process, "in process", InProcess, InProcess:
    bridge "bridge", flannel "flannel", macvlan "macvlan",
}
cast! { original_then_ours, "ADD by the original, the rest by ours", Original, Ours:
    bridge "bridge", flannel "flannel", host_local "host-local", loopback "loopback", macvlan "macvlan", multus "multus",
    r#static "static",
}
cast! { ours_then_original, "ADD by ours, the rest by the original", Ours, Original:
    bridge "bridge", flannel "flannel", host_local "host-local", loopback "loopback", macvlan "macvlan", multus "multus",
    r#static "static",
}

#[test]
fn multus_executing_the_originals() {
    on("multus", "ours executing the originals", Cast::all(Side::Executing));
}

#[test]
fn every_file_is_run() {
    let files = ["bridge", "flannel", "host-local", "loopback", "macvlan", "multus", "protocol", "static"];
    assert_eq!(CaseFile::all(), files, "a new file needs a line in each cast above");
}

/// Where a case says that ours differs, users can read why.
#[test]
fn intended_differences_are_documented() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    let files = CaseFile::all();
    let mut missing: Vec<String> = files
        .iter()
        .flat_map(|f| CaseFile::read(f).cases)
        .flat_map(|c| c.reasons().collect::<Vec<_>>())
        .filter(|why| !documented.contains(&format!("`{why}`")))
        .collect();
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "docs/compatibility.md does not explain {missing:?}");
}
