//! Counts, percentiles, seconds that served.

use crate::history::operation::{Operation, Outcome};
use crate::history::recording::Recording;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

pub const SECOND: u64 = 1_000_000;

/// Operations by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub ok: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Of those that are ok: writes.
    pub acknowledged: u64,
}

impl Counts {
    pub fn add(&mut self, operation: &Operation) {
        match operation.outcome {
            Outcome::Ok { .. } => self.ok += 1,
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Unknown(_) => self.unknown += 1,
        }
        self.acknowledged += u64::from(operation.is_acknowledged_write());
    }

    pub fn of<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Self {
        let mut counts = Self::default();
        for operation in operations {
            counts.add(operation);
        }
        counts
    }

    pub fn all(&self) -> u64 {
        self.ok + self.refused + self.unknown
    }
}

/// Of answers that are ok, in microseconds from call to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Latency {
    /// Sorts them.
    pub fn of(latencies: &mut [u64]) -> Self {
        latencies.sort_unstable();
        Self {
            p50: percentile(latencies, 500),
            p99: percentile(latencies, 990),
            max: latencies.last().copied().unwrap_or(0),
        }
    }
}

/// By nearest rank: the smallest that so many per mille are not above; 0 of nothing.
pub fn percentile(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

pub fn latency(operation: &Operation) -> u64 {
    operation.completed.saturating_sub(operation.invoked)
}

/// Seconds in which a write was acknowledged, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Availability {
    pub served: u64,
    pub of: u64,
}

/// When writes were acknowledged, in order: every question about service is one about this list.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    times: Vec<u64>,
    /// (asked, answered), by the former.
    writes: Vec<(u64, u64)>,
}

impl Acknowledged {
    pub fn of(recording: &Recording) -> Self {
        let writes = recording.operations.iter();
        let writes = writes.filter(|operation| operation.is_acknowledged_write());
        let mut writes: Vec<(u64, u64)> = writes.map(|o| (o.invoked, o.completed)).collect();
        writes.sort_unstable();
        let mut times: Vec<u64> = writes.iter().map(|(_, answered)| *answered).collect();
        times.sort_unstable();
        Self { times, writes }
    }

    /// (asked, answered), by the former.
    pub fn writes(&self) -> &[(u64, u64)] {
        &self.writes
    }

    /// In [from, to).
    pub fn between(&self, from: u64, to: u64) -> &[u64] {
        let start = self.times.partition_point(|at| *at < from);
        let end = self.times.partition_point(|at| *at < to).max(start);
        &self.times[start..end]
    }

    /// Of each second from `from` on, whether a write was acknowledged in it; what is left at the end
    /// counts as a second, unless it is less than half of one.
    pub fn seconds(&self, from: u64, to: u64) -> Vec<bool> {
        let length = to.saturating_sub(from);
        let seconds = ((length + SECOND / 2) / SECOND).max(u64::from(length > 0));
        let second = |at: u64| {
            let end = if at + 1 == seconds {
                to
            } else {
                from + (at + 1) * SECOND
            };
            !self.between(from + at * SECOND, end).is_empty()
        };
        (0..seconds).map(second).collect()
    }

    pub fn availability(&self, from: u64, to: u64) -> Availability {
        let seconds = self.seconds(from, to);
        Availability {
            served: seconds.iter().filter(|served| **served).count() as u64,
            of: seconds.len() as u64,
        }
    }

    /// The longest stretch of [from, to] in which none was acknowledged.
    pub fn silence(&self, from: u64, to: u64) -> u64 {
        let mut longest = 0;
        let mut last = from;
        for at in self.between(from, to) {
            longest = longest.max(at - last);
            last = *at;
        }
        longest.max(to.saturating_sub(last))
    }
}

/// When clients were at rest; the last thing noted, where the run did not come so far.
pub fn end_of(recording: &Recording) -> u64 {
    let about = &recording.about;
    let stated = about.stopped.max(about.duration);
    if stated > 0 {
        return stated;
    }
    let operations = recording.operations.iter().map(|o| o.completed);
    let samples = recording.samples.iter().map(|sample| sample.at);
    operations.chain(samples).max().unwrap_or(0)
}

/// When clients stopped asking.
pub fn clients_stopped(recording: &Recording) -> u64 {
    match recording.about.stopped {
        0 => end_of(recording),
        stopped => stopped,
    }
}

/// (when first seen, node, term) of every leader that was seen, by term: a term has one leader, so
/// a second one of a term is here too.
pub fn leaders(recording: &Recording) -> Vec<(u64, usize, u64)> {
    let mut seen = BTreeSet::new();
    let mut leaders = Vec::new();
    let samples = recording.samples.iter();
    for sample in samples.filter(|sample| sample.role == "leader") {
        if seen.insert((sample.term, sample.node)) {
            leaders.push((sample.at, sample.node, sample.term));
        }
    }
    leaders.sort_by_key(|(at, node, term)| (*term, *at, *node));
    leaders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 500), 50);
        assert_eq!(percentile(&hundred, 990), 99);
        assert_eq!(percentile(&hundred, 1000), 100);
        assert_eq!(percentile(&[7], 10), 7);
        assert_eq!(percentile(&[], 500), 0);
        let latency = Latency::of(&mut [30, 10, 20]);
        assert_eq!((latency.p50, latency.p99, latency.max), (20, 30, 30));
    }

    fn acknowledged(tenths: &[u64]) -> Acknowledged {
        Acknowledged {
            times: tenths.iter().map(|tenth| tenth * 100_000).collect(),
            writes: Vec::new(),
        }
    }

    #[test]
    fn a_second_serves_if_a_write_was_acknowledged_in_it() {
        // At 0.1, 0.9, 1.0 and 3.2 s: the third second has none.
        let times = acknowledged(&[1, 9, 10, 32]);
        assert_eq!(times.seconds(0, 4 * SECOND), [true, true, false, true]);
        let of_four = times.availability(0, 4 * SECOND);
        assert_eq!((of_four.served, of_four.of), (3, 4));
        // 4.3 s are four seconds, 4.6 s are five, 0.2 s are one.
        assert_eq!(times.seconds(0, 4_300_000).len(), 4);
        assert_eq!(
            times.seconds(0, 4_600_000),
            [true, true, false, true, false]
        );
        assert_eq!(times.seconds(1_100_000, 1_300_000), [false]);
        assert_eq!(times.seconds(5, 5), Vec::<bool>::new());
    }

    #[test]
    fn silence_counts_from_the_edges() {
        let times = acknowledged(&[1, 9, 10, 32]);
        assert_eq!(times.silence(0, 4 * SECOND), 2_200_000);
        assert_eq!(times.silence(0, 6 * SECOND), 2_800_000);
        assert_eq!(times.silence(1_200_000, 3_000_000), 1_800_000);
    }
}
