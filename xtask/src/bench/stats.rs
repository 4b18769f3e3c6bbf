//! Percentiles of measured times.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A distribution of times, in milliseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Spread {
    /// How many were measured.
    pub(crate) n: usize,
    /// The fastest.
    pub(crate) min: f64,
    /// Median.
    pub(crate) p50: f64,
    /// Nine in ten are at most this.
    pub(crate) p90: f64,
    /// Ninety-nine in a hundred are at most this.
    pub(crate) p99: f64,
}

impl Spread {
    /// Of these times (nearest rank); zeros where there are none.
    pub(crate) fn of(times: &[Duration]) -> Spread {
        let mut ms: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let at = (ms.len() * percent).div_ceil(100).max(1) - 1;
            round(ms.get(at).copied().unwrap_or_default())
        };
        Spread { n: ms.len(), min: rank(0), p50: rank(50), p90: rank(90), p99: rank(99) }
    }
}

/// To microseconds: more digits would only look exact.
pub(crate) fn round(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let spread = Spread::of(&times);
        assert_eq!((spread.n, spread.min, spread.p50), (200, 1.0, 100.0));
        assert_eq!((spread.p90, spread.p99), (180.0, 198.0));
        let one = Spread::of(&[Duration::from_micros(1500)]);
        assert_eq!((one.min, one.p50, one.p99), (1.5, 1.5, 1.5));
        assert_eq!(Spread::of(&[]).n, 0);
    }
}
