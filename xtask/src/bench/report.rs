//! The results: their file, the table, and the verdict on each bound that the project set itself.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::hostlocal::{HostLocal, MANY};
use super::stats::{Spread, round};

/// Names of the chains that the bounds speak of.
pub(crate) const FLOOR: &str = "kernel floor";
pub(crate) const OURS: &str = "Plexus";

/// Everything one run measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    /// Day of the run.
    pub(crate) date: String,
    /// Commit of the source, with `+` if the tree had changes.
    pub(crate) commit: String,
    /// Where.
    pub(crate) machine: Machine,
    /// The Go chain that the ratios are taken with.
    pub(crate) reference: String,
    /// Size of our binary in bytes.
    pub(crate) binary_bytes: u64,
    /// One pod at a time.
    pub(crate) serial: Vec<Serial>,
    /// Several at a time.
    pub(crate) parallel: Vec<Parallel>,
    /// Processes, system calls, memory.
    pub(crate) counts: Vec<Counts>,
    /// host-local alone.
    pub(crate) host_local: Vec<HostLocal>,
    /// The bounds.
    pub(crate) verdicts: Vec<Verdict>,
}

/// The machine of a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Machine {
    /// Processor, as /proc/cpuinfo names it.
    pub(crate) cpu: String,
    /// Logical processors.
    pub(crate) cores: usize,
    /// Memory in MB.
    pub(crate) memory_mb: u64,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Distribution.
    pub(crate) system: String,
    /// Filesystem of the state folders.
    pub(crate) filesystem: String,
    /// Load average over one minute before the run.
    pub(crate) load_before: f64,
}

/// One pod at a time: milliseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Serial {
    /// Which chain.
    pub(crate) chain: String,
    /// ADD.
    pub(crate) add: Spread,
    /// DEL.
    pub(crate) del: Spread,
}

/// Several pods at a time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Parallel {
    /// Which chain.
    pub(crate) chain: String,
    /// How many at a time.
    pub(crate) threads: usize,
    /// Pods in all.
    pub(crate) pods: usize,
    /// Finished ADDs per second.
    pub(crate) adds_per_second: f64,
    /// Finished DELs per second.
    pub(crate) dels_per_second: f64,
    /// Milliseconds of one ADD.
    pub(crate) add: Spread,
    /// Milliseconds of one DEL.
    pub(crate) del: Spread,
}

/// A bound and what was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Verdict {
    /// What is bounded.
    pub(crate) what: String,
    /// The bound, in words.
    pub(crate) bound: String,
    /// What was measured, in words.
    pub(crate) measured: String,
    /// It holds.
    pub(crate) reached: bool,
}

impl Results {
    /// Judges the bounds; one whose figures are missing is not reached.
    pub(crate) fn judge(&mut self) {
        let go = self.reference.clone();
        let serial = |name: &str| self.serial.iter().find(|s| s.chain == name);
        let parallel = |name: &str| self.parallel.iter().find(|p| p.chain == name).map(|p| p.adds_per_second);
        let local =
            |in_use| self.host_local.iter().find(|h| h.program == OURS && h.in_use == in_use).map(|h| h.add.p50);
        let add = |name: &str| serial(name).map(|s| s.add.p50);
        let del = |name: &str| serial(name).map(|s| s.del.p50);
        let peak = self.counts.iter().find(|c| c.chain == OURS && c.verb == "ADD").map(|c| c.peak_kb as f64 / 1e3);

        let mut verdicts = Vec::new();
        let mut verdict = |what: &str, bound: &str, measured: Option<(String, bool)>| {
            let (measured, reached) = measured.unwrap_or(("not measured".into(), false));
            verdicts.push(Verdict { what: what.into(), bound: bound.into(), measured, reached });
        };
        verdict(
            "ADD, start to end of the process, p50",
            "at most the kernel floor + 1.5 ms",
            add(OURS).zip(add(FLOOR)).map(|(a, f)| (format!("floor {f:.2} + {:.2} ms", a - f), a - f <= 1.5)),
        );
        verdict(
            "ADD against the Go plugins in order, p50",
            "at least 10x faster",
            add(OURS).zip(add(&go)).map(|(a, g)| (format!("{:.1}x ({g:.1} against {a:.2} ms)", g / a), g / a >= 10.0)),
        );
        verdict(
            "DEL against one batched link removal, p50",
            "at most 1.2x",
            del(OURS).zip(del(FLOOR)).map(|(d, f)| (format!("{:.2}x ({d:.1} against {f:.1} ms)", d / f), d / f <= 1.2)),
        );
        verdict(
            "ADDs per second, 8 at a time, against Go",
            "at least 10x",
            parallel(OURS)
                .zip(parallel(&go))
                .map(|(a, g)| (format!("{:.1}x ({a:.0} against {g:.0})", a / g), a / g >= 10.0)),
        );
        verdict(
            "host-local ADD with 20,000 addresses in use, p50",
            "at most 2 ms more than with none",
            local(MANY).zip(local(0)).map(|(m, e)| (format!("{:+.2} ms ({m:.2} against {e:.2})", m - e), m - e <= 2.0)),
        );
        let megabytes = self.binary_bytes as f64 / 1e6;
        verdict("size of the binary", "at most 6 MB", Some((format!("{megabytes:.2} MB"), megabytes <= 6.0)));
        verdict("peak memory of one ADD", "at most 8 MB", peak.map(|p| (format!("{p:.1} MB"), p <= 8.0)));
        self.verdicts = verdicts;
    }

    /// The tables, as text.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let m = &self.machine;
        let _ = writeln!(text, "{} ({} cores, {} MB), Linux {}, {}", m.cpu, m.cores, m.memory_mb, m.kernel, m.system);
        let _ = writeln!(
            text,
            "state on {}; load before the run {:.2}; commit {}; {}\n",
            m.filesystem, m.load_before, self.commit, self.date
        );
        let ours_add = self.serial.iter().find(|s| s.chain == OURS).map(|s| s.add.p50);
        let ours_del = self.serial.iter().find(|s| s.chain == OURS).map(|s| s.del.p50);
        let n = self.serial.first().map_or(0, |s| s.add.n);
        let _ = writeln!(
            text,
            "{:<42}{:>9}{:>9}{:>9}{:>12}",
            format!("one pod at a time ({n} of each), ms"),
            "p50",
            "p90",
            "p99",
            "p50/Plexus"
        );
        for (verb, ours) in [("ADD", ours_add), ("DEL", ours_del)] {
            for s in &self.serial {
                let spread = if verb == "ADD" { &s.add } else { &s.del };
                let ratio = ours.map_or(String::new(), |o| format!("{:.2}x", spread.p50 / o));
                let _ = writeln!(
                    text,
                    "  {verb} {:<36}{:>9.2}{:>9.2}{:>9.2}{ratio:>12}",
                    s.chain, spread.p50, spread.p90, spread.p99
                );
            }
        }
        let first = self.parallel.first();
        let title = format!("{} pods at a time ({} pods)", first.map_or(0, |p| p.threads), first.map_or(0, |p| p.pods));
        let _ = writeln!(text, "\n{title:<42}{:>9}{:>9}{:>9}{:>12}", "ADD/s", "DEL/s", "ADD p50", "ADD p99");
        for p in &self.parallel {
            let _ = writeln!(
                text,
                "  {:<40}{:>9.0}{:>9.0}{:>9.2}{:>12.2}",
                p.chain, p.adds_per_second, p.dels_per_second, p.add.p50, p.add.p99
            );
        }
        let _ = writeln!(text, "\n{:<42}{:>9}{:>9}{:>12}", "one call costs", "programs", "syscalls", "peak memory");
        for c in &self.counts {
            let memory = format!("{:.1} MB", c.peak_kb as f64 / 1e3);
            let _ = writeln!(text, "  {} {:<36}{:>9}{:>9}{memory:>12}", c.verb, c.chain, c.processes, c.syscalls);
        }
        let n = self.host_local.first().map_or(0, |h| h.add.n);
        let title = format!("host-local alone ({n} of each), ms");
        let heads = ["in use", "ADD p50", "ADD p99", "first", "DEL p50"];
        let [a, b, c, d, e] = heads;
        let _ = writeln!(text, "\n{title:<42}{a:>9}{b:>9}{c:>9}{d:>9}{e:>9}");
        for h in &self.host_local {
            let _ = writeln!(
                text,
                "  {:<40}{:>9}{:>9.2}{:>9.2}{:>9.2}{:>9.2}",
                h.program, h.in_use, h.add.p50, h.add.p99, h.first_add, h.del.p50
            );
        }
        let _ = writeln!(text, "\nbounds");
        for v in &self.verdicts {
            let mark = if v.reached { "reached" } else { "MISSED " };
            let _ = writeln!(text, "  {mark}  {:<50}{:<36}{}", v.what, v.bound, v.measured);
        }
        text
    }

    /// Bounds that do not hold.
    pub(crate) fn missed(&self) -> usize {
        self.verdicts.iter().filter(|v| !v.reached).count()
    }
}

/// A rate with a sensible number of digits; 0 where nothing was measured.
pub(crate) fn rate(count: usize, seconds: f64) -> f64 {
    if count == 0 { 0.0 } else { round(count as f64 / seconds * 1e-1) * 1e1 }
}
