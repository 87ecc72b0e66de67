//! How long something took: a histogram.

use super::Counter;
use std::time::Duration;
use tokio::time::Instant;

/// The upper bounds of a histogram's buckets, ascending; everything longer falls into one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// `count` bounds, the first `micros` microseconds, each twice the one before.
    Doubling { micros: u64, count: usize },
    /// The Go library's default: 5 ms to 10 s.
    Standard,
}

const STANDARD_MILLIS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

impl Buckets {
    fn nanos(self) -> Vec<u64> {
        match self {
            Self::Doubling { micros, count } => {
                let first = micros * 1000;
                std::iter::successors(Some(first), |bound| Some(bound * 2))
                    .take(count)
                    .collect()
            }
            Self::Standard => STANDARD_MILLIS.map(|millis| millis * 1_000_000).into(),
        }
    }
}

/// Invariant: one counter more than there are bounds.
#[derive(Debug)]
pub struct Durations {
    bounds_nanos: Vec<u64>,
    counts: Vec<Counter>,
    sum_nanos: Counter,
}

impl Durations {
    pub fn new(buckets: Buckets) -> Self {
        let bounds_nanos = buckets.nanos();
        let counts = (0..=bounds_nanos.len()).map(|_| Counter::new()).collect();
        Self {
            bounds_nanos,
            counts,
            sum_nanos: Counter::new(),
        }
    }

    pub fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds_nanos.partition_point(|bound| *bound < nanos);
        if let Some(count) = self.counts.get(bucket) {
            count.increment();
        }
        self.sum_nanos.add(nanos);
    }

    /// Runs `work` and counts how long it took.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.observe(begun.elapsed());
        done
    }

    /// Each bound in seconds with how many were no longer than it; the last is infinite.
    pub(super) fn cumulative(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds_nanos.iter().copied();
        #[allow(clippy::cast_precision_loss, reason = "seconds are printed short")]
        let seconds = bounds.map(|nanos| nanos as f64 / 1e9);
        let mut sum = 0;
        seconds
            .chain([f64::INFINITY])
            .zip(&self.counts)
            .map(|(bound, count)| {
                sum += count.value();
                (bound, sum)
            })
            .collect()
    }

    /// Seconds altogether.
    pub(super) fn sum(&self) -> f64 {
        Duration::from_nanos(self.sum_nanos.value()).as_secs_f64()
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(Counter::value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let durations = Durations::new(Buckets::Doubling {
            micros: 1000,
            count: 3,
        });
        for micros in [0, 1000, 1001, 4000, 4001, 60_000_000] {
            durations.observe(Duration::from_micros(micros));
        }
        assert_eq!(
            durations.cumulative(),
            [(0.001, 2), (0.002, 3), (0.004, 4), (f64::INFINITY, 6)]
        );
        assert_eq!(durations.count(), 6);
        assert!((durations.sum() - 60.010_002).abs() < 1e-9);
    }
}
