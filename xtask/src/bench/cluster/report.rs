//! The results of `make bench-cluster`: their file, the table, and the verdict on each bound.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::MULTUS;
use crate::bench::report::{Machine, OURS, Verdict};
use crate::bench::stats::Spread;

/// Everything one run measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    /// Day of the run.
    pub(super) date: String,
    /// Commit of the source, with `+` if the tree had changes.
    pub(super) commit: String,
    /// Where.
    pub(super) machine: Machine,
    /// Version of the API server.
    pub(super) kubernetes: String,
    /// Size of our binary in bytes.
    pub(super) binary_bytes: u64,
    /// Ours, then Multus if it was there.
    pub(super) rows: Vec<Row>,
    /// The bounds.
    pub(super) verdicts: Vec<Verdict>,
}

/// One chain: milliseconds, and what was asked of the API server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Row {
    pub(super) chain: String,
    pub(super) add: Spread,
    pub(super) del: Spread,
    pub(super) add_requests: Requests,
    pub(super) del_requests: Requests,
}

/// Requests, as the audit log has them, of all calls of a verb together.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Requests {
    pub(super) calls: usize,
    /// Those that are not for events.
    pub(super) asked: usize,
    /// The most that one call asked; without events.
    pub(super) most: usize,
    pub(super) events: usize,
    /// Verb and resource: how often.
    pub(super) which: BTreeMap<String, usize>,
}

impl Requests {
    fn per_call(&self, count: usize) -> f64 {
        count as f64 / self.calls.max(1) as f64
    }
}

impl Results {
    fn row(&self, chain: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.chain == chain)
    }

    /// Judges the bounds. What Multus is needed for is left out without it.
    pub(super) fn judge(&mut self) {
        let mut verdicts = Vec::new();
        let mut verdict = |what: &str, bound: &str, measured: String, reached: bool| {
            verdicts.push(Verdict { what: what.into(), bound: bound.into(), measured, reached });
        };
        if let Some(ours) = self.row(OURS) {
            if let Some(multus) = self.row(MULTUS) {
                let (a, m) = (ours.add.p50, multus.add.p50);
                let measured = format!("{:.1}x ({m:.1} against {a:.2} ms)", m / a);
                verdict("ADD against Multus 4.3.0 with Go plugins, p50", "at least 8x faster", measured, m / a >= 8.0);
            }
            let most = ours.add_requests.most;
            let measured = format!("{most} at most");
            verdict("API requests of one ADD, events apart", "at most 3", measured, (1..=3).contains(&most));
        }
        let megabytes = self.binary_bytes as f64 / 1e6;
        verdict("size of the image's binary", "at most 6 MB", format!("{megabytes:.2} MB"), megabytes <= 6.0);
        self.verdicts = verdicts;
    }

    /// The tables, as text.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let m = &self.machine;
        let _ = writeln!(text, "{} ({} cores, {} MB), Linux {}, {}", m.cpu, m.cores, m.memory_mb, m.kernel, m.system);
        let _ = writeln!(
            text,
            "Kubernetes {}; state on {}; load before the run {:.2}; commit {}; {}\n",
            self.kubernetes, m.filesystem, m.load_before, self.commit, self.date
        );
        let n = self.rows.first().map_or(0, |r| r.add.n);
        let title = format!("one pod at a time ({n} of each), ms");
        let _ = writeln!(text, "{title:<42}{:>9}{:>9}{:>9}{:>12}", "p50", "p90", "p99", "p50/Plexus");
        for (verb, spread) in [("ADD", (|r| &r.add) as fn(&Row) -> &Spread), ("DEL", |r| &r.del)] {
            for row in &self.rows {
                let s = spread(row);
                let ratio = self.row(OURS).map_or(String::new(), |o| format!("{:.2}x", s.p50 / spread(o).p50));
                let _ =
                    writeln!(text, "  {verb} {:<36}{:>9.2}{:>9.2}{:>9.2}{ratio:>12}", row.chain, s.p50, s.p90, s.p99);
            }
        }
        let title = "asked of the API server by one call";
        let _ = writeln!(text, "\n{title:<42}{:>9}{:>9}   which", "requests", "events");
        for (verb, requests) in [("ADD", (|r| &r.add_requests) as fn(&Row) -> &Requests), ("DEL", |r| &r.del_requests)]
        {
            for row in &self.rows {
                let r = requests(row);
                let which: Vec<String> = r.which.iter().map(|(what, n)| times(what, r.per_call(*n))).collect();
                let which = if which.is_empty() { "nothing".into() } else { which.join(", ") };
                let (asked, events) = (r.per_call(r.asked), r.per_call(r.events));
                let _ = writeln!(text, "  {verb} {:<36}{asked:>9.1}{events:>9.1}   {which}", row.chain);
            }
        }
        let _ = writeln!(text, "\nbounds");
        for v in &self.verdicts {
            let mark = if v.reached { "reached" } else { "MISSED " };
            let _ = writeln!(text, "  {mark}  {:<50}{:<36}{}", v.what, v.bound, v.measured);
        }
        if self.row(MULTUS).is_none() {
            let _ = writeln!(text, "  skipped  ADD against Multus: it could not be built here (Go)");
        }
        text
    }

    /// `2026-11-24-2cpu-6.18-cluster.json`.
    pub(super) fn file_name(&self) -> String {
        let kernel: Vec<&str> = self.machine.kernel.split('.').take(2).collect();
        format!("{}-{}cpu-{}-cluster.json", self.date, self.machine.cores, kernel.join("."))
    }
}

/// `get pods`, or `get pods x2`.
fn times(what: &str, n: f64) -> String {
    if (n - 1.0).abs() < 0.005 { what.to_owned() } else { format!("{what} x{}", (n * 100.0).round() / 100.0) }
}
