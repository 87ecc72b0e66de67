//! Throughput and latency by time.

use super::figures::{SECOND, clients_stopped, end_of, latency, percentile};
use crate::history::operation::{Operation, Outcome};
use crate::history::recording::Recording;
use serde::Serialize;

/// Of the time axis.
const BUCKETS_MAX: u64 = 600;
/// Operations that are drawn one by one.
const DOTS_MAX: usize = 6000;
/// Of those, slowest answers of their buckets: more than there are buckets only where there are ties.
const SLOWEST_MAX: usize = 600;
/// Widths that a reader can think in, in microseconds.
const WIDTHS: [u64; 9] = [
    100_000,
    200_000,
    500_000,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
];

/// Lists are by bucket, by time of completion; latencies are of answers that are ok, in microseconds, 0
/// where there were none.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Load {
    /// Microseconds.
    pub width: u64,
    pub ok: Vec<u64>,
    pub refused: Vec<u64>,
    pub unknown: Vec<u64>,
    pub p50: Vec<u64>,
    pub p99: Vec<u64>,
    pub max: Vec<u64>,
    /// (when completed, latency, outcome: 0 ok, 1 refused, 2 unknown).
    pub dots: Vec<(u64, u64, u8)>,
    /// How many dots there would be without thinning.
    pub dots_of: usize,
    /// Of each second, whether a write was acknowledged in it.
    pub served: Vec<bool>,
}

pub fn load(recording: &Recording, served: Vec<bool>) -> Load {
    let end = end_of(recording).max(clients_stopped(recording)).max(1);
    let width = WIDTHS.into_iter().find(|width| end / width < BUCKETS_MAX);
    let width = width.unwrap_or(end / BUCKETS_MAX + 1);
    let buckets = usize::try_from(end / width + 1).unwrap_or(1);
    let mut load = Load {
        width,
        ok: vec![0; buckets],
        refused: vec![0; buckets],
        unknown: vec![0; buckets],
        dots_of: recording.operations.len(),
        served,
        ..Load::default()
    };
    let mut latencies: Vec<Vec<u64>> = vec![Vec::new(); buckets];
    for operation in &recording.operations {
        let at = usize::try_from(operation.completed / width).unwrap_or(buckets);
        let at = at.min(buckets - 1);
        match operation.outcome {
            Outcome::Ok { .. } => {
                load.ok[at] += 1;
                latencies[at].push(latency(operation));
            }
            Outcome::Refused(_) => load.refused[at] += 1,
            Outcome::Unknown(_) => load.unknown[at] += 1,
        }
    }
    for bucket in &mut latencies {
        bucket.sort_unstable();
        load.p50.push(percentile(bucket, 500));
        load.p99.push(percentile(bucket, 990));
        load.max.push(bucket.last().copied().unwrap_or(0));
    }
    load.dots = dots(&recording.operations, &load);
    load
}

/// All, or the slowest answer of every bucket and an even share of each outcome: what is rare must
/// not drown in what is not.
fn dots(operations: &[Operation], load: &Load) -> Vec<(u64, u64, u8)> {
    let dot = |operation: &Operation| {
        let outcome = match operation.outcome {
            Outcome::Ok { .. } => 0,
            Outcome::Refused(_) => 1,
            Outcome::Unknown(_) => 2,
        };
        (operation.completed, latency(operation), outcome)
    };
    let all: Vec<(u64, u64, u8)> = operations.iter().map(dot).collect();
    if all.len() <= DOTS_MAX {
        return all;
    }
    let slowest = |(at, latency, outcome): &(u64, u64, u8)| {
        let bucket = usize::try_from(at / load.width).unwrap_or(usize::MAX);
        *outcome == 0 && load.max.get(bucket) == Some(latency)
    };
    let mut drawn: Vec<(u64, u64, u8)> = all.iter().filter(|dot| slowest(dot)).copied().collect();
    drawn.truncate(SLOWEST_MAX);
    for outcome in 0..3 {
        let of_it: Vec<_> = all.iter().filter(|dot| dot.2 == outcome).collect();
        let share = DOTS_MAX / if outcome == 0 { 2 } else { 5 };
        let stride = of_it.len().div_ceil(share).max(1);
        drawn.extend(of_it.into_iter().step_by(stride).copied());
    }
    drawn.sort_unstable();
    drawn.dedup();
    drawn
}
