//! `make test`: every tier, each a plain `cargo test`, and one summary of them all.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::{binary, term, tools};

/// Name, what it needs, and how cargo is asked for it.
const TIERS: &[(&str, &str, &[&str])] = &[
    ("unit", "no kernel, no network", &["--workspace", "--exclude", "conformance", "--lib", "--bins"]),
    ("documentation", "examples in the documentation", &["--workspace", "--doc"]),
    (
        "netns",
        "the real kernel in private namespaces",
        &["--workspace", "--exclude", "conformance", "--exclude", "e2e", "--test", "*"],
    ),
    (
        "kubernetes",
        "the binary that the image has; its API server is a small one of the tests (a real one: make e2e)",
        &["--package", "plexus-node", "--features", "kubernetes", "--bins", "--test", "*"],
    ),
    (
        "conformance",
        "against the Go originals; interop, crash, parallel, hostile",
        &["--package", "conformance", "--lib", "--tests"],
    ),
];

/// What one tier's tests said.
#[derive(Debug, Default)]
struct Tier {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// Reason -> how often.
    skipped: BTreeMap<String, usize>,
    /// Names of failed tests.
    failures: Vec<String>,
}

/// Runs every tier, or those named.
///
/// # Errors
/// If a test failed, a tier could not run, or (in CI) something was skipped that should run there.
pub(crate) fn run(only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|o| TIERS.iter().all(|t| t.0 != o.as_str())) {
        let names: Vec<&str> = TIERS.iter().map(|t| t.0).collect();
        bail!("no tier is called {unknown}; there are: {}", names.join(", "));
    }
    tools::root("the tests")?;
    tools::need(tools::TEST)?;
    let originals = tools::originals()?;
    let node = binary::build()?;
    let mut environment =
        vec![("PLEXUS_NODE", node.into_os_string()), ("PLEXUS_GO_PLUGINS", originals.plugins.into_os_string())];
    let mut required = vec!["netns", "conformance"];
    if let Some(multus) = originals.multus {
        environment.push(("PLEXUS_MULTUS", multus.into_os_string()));
        // Debian's older plugins lack what some cases are about.
        required.push("originals");
    }
    let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty());
    if ci && std::env::var_os("PLEXUS_REQUIRE").is_none() {
        environment.push(("PLEXUS_REQUIRE", required.join(",").into()));
    }

    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (name, about, arguments) in TIERS.iter().filter(|t| only.is_empty() || only.iter().any(|o| o == t.0)) {
        term::heading(&format!("{name}: {about}"));
        let start = Instant::now();
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["test", "--no-fail-fast"]).args(*arguments).current_dir(binary::root());
        command.envs(environment.iter().map(|(k, v)| (k, v)));
        let (tier, ended_well) = watch(&mut command)?;
        if !ended_well {
            wrong.push(format!("{name}: {}", if tier.failed > 0 { "tests failed" } else { "cargo test failed" }));
        } else if tier.passed == 0 {
            wrong.push(format!("{name}: no test ran"));
        }
        rows.push((*name, tier, start.elapsed()));
    }
    summary(&rows);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(())
}

/// Runs a `cargo test`, passes on all that it prints, and reads the results in it.
fn watch(command: &mut Command) -> Result<(Tier, bool)> {
    command.env("CARGO_TERM_COLOR", if std::io::stderr().is_terminal() { "always" } else { "never" });
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
    let tier = Mutex::new(Tier::default());
    let pass_on = |from: &mut dyn Read, to: &mut dyn Write| -> Result<()> {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line)? > 0 {
            to.write_all(&line)?;
            tier.lock().map_err(|_| anyhow!("reader panicked"))?.read(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let errors = scope.spawn(|| pass_on(&mut { err }, &mut std::io::stderr()));
        pass_on(&mut { out }, &mut std::io::stdout())?;
        errors.join().map_err(|_| anyhow!("reader panicked"))?
    })?;
    let ended_well = child.wait()?.success();
    Ok((tier.into_inner().map_err(|_| anyhow!("reader panicked"))?, ended_well))
}

impl Tier {
    /// Takes in one line of output.
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let words: Vec<&str> = rest.split([' ', ';', '.']).collect();
                let at = words.iter().position(|w| *w == what)?;
                words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
            };
            self.passed += count("passed").unwrap_or_default();
            self.failed += count("failed").unwrap_or_default();
            self.ignored += count("ignored").unwrap_or_default();
        } else if let Some(at) = line.find("skipped (") {
            // testkit::skip_or_fail, perhaps in the middle of the test runner's line.
            *self.skipped.entry(line[at + "skipped ".len()..].to_owned()).or_default() += 1;
        } else if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
    }
}

fn summary(rows: &[(&str, Tier, Duration)]) {
    term::heading("Summary");
    println!("  {:<16}{:>8}{:>8}{:>9}{:>9}", "tier", "passed", "failed", "ignored", "skipped");
    let mut sum = [0; 3];
    for (name, tier, took) in rows {
        let skipped: usize = tier.skipped.values().sum();
        let row = format!("{name:<16}{:>8}{:>8}{:>9}{skipped:>9}", tier.passed, tier.failed, tier.ignored);
        let colour = if tier.failed > 0 { term::red(row) } else { row };
        println!("  {colour}{:>12}", term::time(*took));
        sum[0] += tier.passed;
        sum[1] += tier.failed;
        sum[2] += skipped;
    }
    for (name, tier, _) in rows {
        for failure in &tier.failures {
            println!("  {} {name}: {failure}", term::red("failed"));
        }
    }
    for (name, tier, _) in rows {
        for (reason, count) in &tier.skipped {
            println!(
                "  {} {name}: {reason}{}",
                term::yellow("skipped"),
                if *count > 1 { format!(" (x{count})") } else { String::new() }
            );
        }
    }
    // A skipped test also counts as passed for cargo: it is one that said so and returned. An ignored one is a part that another test runs.
    println!("\ntests: {} passed, {} failed, {} skipped", sum[0], sum[1], sum[2]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cargo_prints() {
        let mut tier = Tier::default();
        tier.read("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s");
        tier.read("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        tier.read("test a::b ... FAILED");
        tier.read("test a::c ... skipped (kernel): no CONFIG_BRIDGE_VLAN_FILTERING");
        tier.read("skipped (kernel): no CONFIG_BRIDGE_VLAN_FILTERING");
        assert_eq!((tier.passed, tier.failed, tier.ignored), (14, 1, 1));
        assert_eq!(tier.failures, ["a::b"]);
        assert_eq!(
            tier.skipped.into_iter().collect::<Vec<_>>(),
            [("(kernel): no CONFIG_BRIDGE_VLAN_FILTERING".to_owned(), 2)]
        );
    }
}
