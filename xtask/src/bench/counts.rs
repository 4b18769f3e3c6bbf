//! What one call costs beside time: processes and system calls (strace), memory (GNU time).

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::chain::{Chain, Pod};
use crate::runtime;

/// Costs of one verb of one chain.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Counts {
    /// The chain.
    pub(crate) chain: String,
    /// ADD or DEL.
    pub(crate) verb: String,
    /// Programs executed.
    pub(crate) processes: usize,
    /// System calls of all of them.
    pub(crate) syscalls: usize,
    /// Largest resident set of any one of them, in kB.
    pub(crate) peak_kb: u64,
}

/// Counts an ADD and a DEL, and then measures memory in another ADD and DEL, each of a pod of its own.
///
/// # Errors
/// If a tool or a call fails.
pub(crate) fn count(chain: &Chain, pods: [&Pod; 2]) -> Result<Vec<Counts>> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("out");
    let [traced, measured] = pods;
    let mut all = Vec::new();
    for verb in ["ADD", "DEL"] {
        let (mut processes, mut syscalls) = (0, 0);
        under(chain, verb, traced, &["strace", "-f", "-qq", "-e", "signal=none"], &file, |text| {
            let calls = text.lines().filter(|l| !l.contains(" resumed>") && l.contains('('));
            for call in calls {
                syscalls += 1;
                processes +=
                    usize::from(call.contains(" execve(") && (call.ends_with("= 0") || call.contains("unfinished")));
            }
            Ok(())
        })?;
        let mut peak_kb = 0;
        under(chain, verb, measured, &["/usr/bin/time", "-f", "%M"], &file, |text| {
            let kb: u64 = text.trim().parse().with_context(|| format!("GNU time printed {text:?}"))?;
            peak_kb = peak_kb.max(kb);
            Ok(())
        })?;
        all.push(Counts { chain: chain.name.into(), verb: verb.into(), processes, syscalls, peak_kb });
    }
    Ok(all)
}

/// Runs every call of `verb` under a tool that writes to `-o file`, and hands over what it wrote.
fn under(
    chain: &Chain,
    verb: &str,
    pod: &Pod,
    tool: &[&str],
    file: &Path,
    mut read: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let (calls, dir) = chain.calls(verb, pod);
    for (plugin, attachment, conf) in calls {
        let mut command = Command::new(tool[0]);
        runtime::environment(&mut command, dir, verb, &attachment);
        command.args(&tool[1..]).arg("-o").arg(file).arg(dir.join(plugin));
        let (out, _) = runtime::timed(&mut command, &conf)?;
        ensure!(
            out.status.success(),
            "{plugin} {verb} under {}: {} {}",
            tool[0],
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        read(&std::fs::read_to_string(file)?)?;
    }
    Ok(())
}
