//! Compaction that nobody asks for, by the rules of etcd's `v3compactor`: every member keeps count,
//! the one that leads compacts.

use super::{Node, NodeError};
use crate::config::AutoCompaction;
use crate::state_machine::Refusal;
use crate::state_machine::command::Command;
use crate::types::Revision;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Periodic compactions are this far apart at most, however much is retained.
const PERIODIC_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// A period has so many looks at the revision.
const SAMPLES_PER_INTERVAL: u32 = 10;
/// Between two looks where a number of revisions is retained.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// Runs until the node has stopped, or it is dropped. Each attempt may take `patience`.
pub(super) async fn run(node: Node, mode: AutoCompaction, patience: Duration) {
    let Some(mut schedule) = Schedule::new(mode, Instant::now()) else {
        return;
    };
    let name = schedule.name();
    loop {
        schedule.sample(node.revision());
        sleep(schedule.pause()).await;
        if !node.is_leader() {
            continue;
        }
        let Some(revision) = schedule.due(Instant::now(), node.revision()) else {
            continue;
        };
        let started = Instant::now();
        tracing::info!(revision, retention = ?mode, "starting auto {name} compaction");
        let command = Command::Compact { revision };
        let failure = match node.propose(command, started + patience).await {
            Ok(reply) => reply.result.err().map(|refusal| match refusal {
                // Somebody else was quicker, which is as good.
                Refusal::Compacted => String::new(),
                refusal => refusal.to_string(),
            }),
            Err(NodeError::Stopped) => return,
            Err(error) => Some(error.to_string()),
        };
        match failure.filter(|failure| !failure.is_empty()) {
            None => {
                schedule.done(revision, Instant::now());
                let took = started.elapsed();
                tracing::info!(revision, retention = ?mode, ?took, "completed auto {name} compaction");
            }
            Some(error) => {
                tracing::warn!(revision, retention = ?mode, error, "failed auto {name} compaction");
            }
        }
    }
}

/// When to compact, and to where. Knows nothing of the world but what it is told.
#[derive(Debug)]
enum Schedule {
    Periodic(Periodic),
    Revisions { retained: i64, last: Revision },
}

/// To the revision of one retention ago; first after a whole retention, then every interval.
///
/// With a retention of an hour the revision is looked at every six minutes, and eleven looks are
/// kept: the oldest is an hour old when the eleventh is taken.
#[derive(Debug)]
struct Periodic {
    retention: Duration,
    /// The oldest first.
    samples: VecDeque<Revision>,
    last: Revision,
    succeeded: Instant,
    /// From one success to the next.
    wait: Duration,
}

impl Schedule {
    /// `None`: never.
    fn new(mode: AutoCompaction, now: Instant) -> Option<Self> {
        Some(match mode {
            AutoCompaction::Off => return None,
            AutoCompaction::Periodic(retention) => Self::Periodic(Periodic {
                retention,
                samples: VecDeque::new(),
                last: 0,
                succeeded: now,
                wait: retention,
            }),
            AutoCompaction::Revisions(retained) => Self::Revisions { retained, last: 0 },
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Periodic(_) => "periodic",
            Self::Revisions { .. } => "revision",
        }
    }

    /// From one look to the next.
    fn pause(&self) -> Duration {
        match self {
            Self::Periodic(periodic) => periodic.pause(),
            Self::Revisions { .. } => REVISION_INTERVAL,
        }
    }

    /// The revision as it is now, also where somebody else leads.
    fn sample(&mut self, revision: Revision) {
        if let Self::Periodic(periodic) = self {
            periodic.sample(revision);
        }
    }

    /// The revision to compact to, if it is time and not done.
    fn due(&mut self, now: Instant, revision: Revision) -> Option<Revision> {
        match self {
            Self::Periodic(periodic) => periodic.due(now),
            Self::Revisions { retained, last } => {
                let target = revision - *retained;
                (target > 0 && target != *last).then_some(target)
            }
        }
    }

    fn done(&mut self, revision: Revision, now: Instant) {
        match self {
            Self::Periodic(periodic) => {
                periodic.last = revision;
                periodic.succeeded = now;
            }
            Self::Revisions { last, .. } => *last = revision,
        }
    }
}

impl Periodic {
    fn interval(&self) -> Duration {
        self.retention.min(PERIODIC_INTERVAL_MAX)
    }

    fn pause(&self) -> Duration {
        self.interval() / SAMPLES_PER_INTERVAL
    }

    fn sample(&mut self, revision: Revision) {
        let pause = self.pause().as_nanos().max(1);
        let kept = self.retention.as_nanos() / pause + 1;
        self.samples.push_back(revision);
        while self.samples.len() as u128 > kept {
            self.samples.pop_front();
        }
    }

    fn due(&mut self, now: Instant) -> Option<Revision> {
        let oldest = *self.samples.front()?;
        if now.duration_since(self.succeeded) < self.wait || oldest == self.last {
            return None;
        }
        self.wait = self.interval();
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    /// Walks through `time` as the task does, with a change of state every second; answers at which
    /// minute was compacted to which revision.
    fn walk(mode: AutoCompaction, time: Duration, leads: impl Fn(u64) -> bool) -> Vec<(u64, i64)> {
        let start = Instant::now();
        let mut schedule = Schedule::new(mode, start).unwrap();
        let mut now = start;
        let mut compacted = Vec::new();
        while now - start < time {
            let revision = |now: Instant| i64::try_from((now - start).as_secs()).unwrap() + 1;
            schedule.sample(revision(now));
            now += schedule.pause();
            let minute = (now - start).as_secs() / 60;
            if leads(minute)
                && let Some(target) = schedule.due(now, revision(now))
            {
                compacted.push((minute, target));
                schedule.done(target, now);
            }
        }
        compacted
    }

    #[test]
    fn ten_minutes_are_kept_and_compacted_every_ten() {
        let mode = AutoCompaction::Periodic(10 * MINUTE);
        let compacted = walk(mode, 31 * MINUTE, |_| true);
        // From the second one on the oldest sample is a tenth older, as in etcd.
        assert_eq!(compacted, [(10, 1), (20, 541), (30, 1141)]);
    }

    #[test]
    fn a_day_is_kept_and_compacted_every_hour() {
        let mode = AutoCompaction::Periodic(24 * HOUR);
        let compacted = walk(mode, 26 * HOUR + MINUTE, |_| true);
        let hours: Vec<u64> = compacted.iter().map(|(minute, _)| minute / 60).collect();
        assert_eq!(hours, [24, 25, 26]);
        assert_eq!(compacted[0].1, 1);
        assert_eq!(compacted[2].1, 2 * 3600 - 6 * 60 + 1);
    }

    #[test]
    fn who_comes_to_lead_has_kept_count() {
        let mode = AutoCompaction::Periodic(10 * MINUTE);
        let compacted = walk(mode, 40 * MINUTE, |minute| minute >= 25);
        // Overdue, so at once, and to ten minutes before.
        assert_eq!(compacted[0], (25, 841));
        assert_eq!(compacted[1].0, 35);
    }

    #[test]
    fn nothing_new_is_not_compacted_again() {
        let start = Instant::now();
        let mode = AutoCompaction::Periodic(10 * MINUTE);
        let mut schedule = Schedule::new(mode, start).unwrap();
        for _ in 0..20 {
            schedule.sample(7);
        }
        assert_eq!(schedule.due(start + 9 * MINUTE, 7), None);
        assert_eq!(schedule.due(start + 10 * MINUTE, 7), Some(7));
        // It failed: the next look tries again.
        assert_eq!(schedule.due(start + 11 * MINUTE, 7), Some(7));
        schedule.done(7, start + 11 * MINUTE);
        assert_eq!(schedule.due(start + 30 * MINUTE, 7), None);
    }

    #[test]
    fn a_thousand_revisions_are_kept_and_looked_at_every_five_minutes() {
        let compacted = walk(AutoCompaction::Revisions(1000), 21 * MINUTE, |_| true);
        assert_eq!(compacted, [(20, 201), (25, 501)]);
        let start = Instant::now();
        let mut schedule = Schedule::new(AutoCompaction::Revisions(10), start).unwrap();
        assert_eq!(schedule.due(start, 10), None);
        assert_eq!(schedule.due(start, 11), Some(1));
        schedule.done(1, start);
        assert_eq!(schedule.due(start, 11), None);
    }

    #[test]
    fn off_is_off() {
        assert!(Schedule::new(AutoCompaction::Off, Instant::now()).is_none());
    }
}
