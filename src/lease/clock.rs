//! A queue of ends: which lease ends next, which have ended, who may have more time.
//!
//! Moments are durations since whenever the owner began to count. Everything is O(log n) in the
//! number of leases: an ordered set of (end, id) is searched and changed, never scanned. 100,000
//! leases take about 20 MB.
//!
//! # Checkpoints
//!
//! If each new leader gave every lease its full time, a lease of a day would never end in a cluster
//! that changes its leader twice a day. So what is left of a long lease is replicated every
//! [`CHECKPOINT_INTERVAL`] (etcd's too), and a new leader starts from there. A renewal must take such
//! a mark back before anybody hears of it: the next leader would otherwise give the lease less time
//! than was promised. A lease counts as marked from the moment that its mark is *proposed*, whether
//! or not it is ever applied.

use crate::types::{Lease, LeaseId, LeaseMark};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// What is left of leases that have longer than this is noted this often.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// A lease that has ended, and must be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub id: LeaseId,
    /// See [`Lease::granted_at`].
    pub granted_at: u64,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    Unknown,
    /// Its time is over; it is about to be revoked.
    Ending,
    /// It has its whole time again, so many seconds.
    Renewed {
        ttl: i64,
        mark: Option<Marked>,
    },
}

/// A mark that must be taken back before a renewal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    pub id: LeaseId,
    /// See [`Lease::granted_at`].
    pub granted_at: u64,
    at: Duration,
}

/// What is left of a lease, in seconds, rounded down; and what it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub seconds: i64,
    pub ttl: i64,
}

/// Invariants: a lease whose revoke is under way is in neither queue; every other one is in
/// `by_end` once, and in `by_checkpoint` if and only if it has a `checkpoint`.
#[derive(Debug, Default)]
pub struct LeaseClock {
    records: HashMap<LeaseId, Record>,
    by_end: BTreeSet<(Duration, LeaseId)>,
    by_checkpoint: BTreeSet<(Duration, LeaseId)>,
}

#[derive(Debug)]
struct Record {
    ttl: i64,
    granted_at: u64,
    /// When its time is over.
    end: Duration,
    /// When it stands in `by_end`: its end, or when its revoke is tried again. `None` while a revoke
    /// is under way.
    queued: Option<Duration>,
    /// When what is left is noted next.
    checkpoint: Option<Duration>,
    /// When it was last noted, unless that was taken back.
    marked: Option<Duration>,
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl LeaseClock {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A lease granted just now. An earlier one of the same id is forgotten.
    pub fn granted(&mut self, lease: &Lease, now: Duration) {
        self.begin(lease, now + seconds(lease.ttl), None, now);
    }

    /// A lease that an earlier leader kept the time of. `grace` covers what the change of leaders
    /// took.
    pub fn inherited(&mut self, lease: &Lease, now: Duration, grace: Duration) {
        let is_marked = lease.remaining > 0;
        let left = if is_marked {
            lease.remaining
        } else {
            lease.ttl
        };
        self.begin(
            lease,
            now + seconds(left) + grace,
            is_marked.then_some(now),
            now,
        );
    }

    fn begin(&mut self, lease: &Lease, end: Duration, marked: Option<Duration>, now: Duration) {
        self.gone(lease.id);
        let record = Record {
            ttl: lease.ttl,
            granted_at: lease.granted_at,
            end,
            queued: None,
            checkpoint: None,
            marked,
        };
        self.records.insert(lease.id, record);
        self.queue(lease.id, end, now);
    }

    /// Puts a lease that is in neither queue into them. It ends at `end`, or is looked at again then.
    fn queue(&mut self, id: LeaseId, end: Duration, now: Duration) {
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        record.queued = Some(end);
        self.by_end.insert((end, id));
        let is_long = end.saturating_sub(now) > CHECKPOINT_INTERVAL;
        record.checkpoint = is_long.then(|| now + CHECKPOINT_INTERVAL);
        if let Some(at) = record.checkpoint {
            self.by_checkpoint.insert((at, id));
        }
    }

    fn unqueue(&mut self, id: LeaseId) {
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        if let Some(at) = record.queued.take() {
            self.by_end.remove(&(at, id));
        }
        if let Some(at) = record.checkpoint.take() {
            self.by_checkpoint.remove(&(at, id));
        }
    }

    /// It was revoked.
    pub fn gone(&mut self, id: LeaseId) {
        self.unqueue(id);
        self.records.remove(&id);
    }

    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Renewal {
        let Some(record) = self.records.get_mut(&id) else {
            return Renewal::Unknown;
        };
        if record.end <= now {
            return Renewal::Ending;
        }
        let ttl = record.ttl;
        let mark = record.marked.map(|at| Marked {
            id,
            granted_at: record.granted_at,
            at,
        });
        // A clock that was inherited with a grace may have more than the whole time left.
        let end = record.end.max(now + seconds(ttl));
        record.end = end;
        self.unqueue(id);
        self.queue(id, end, now);
        Renewal::Renewed { ttl, mark }
    }

    /// A mark was taken back, for all members.
    pub fn unmarked(&mut self, mark: &Marked) {
        if let Some(record) = self.records.get_mut(&mark.id)
            && record.granted_at == mark.granted_at
            // Another mark may have been made since.
            && record.marked == Some(mark.at)
        {
            record.marked = None;
        }
    }

    /// `None` if there is no such lease, or its time is over.
    pub fn left(&self, id: LeaseId, now: Duration) -> Option<Left> {
        let record = self.records.get(&id).filter(|record| record.end > now)?;
        let seconds = (record.end - now).as_secs();
        Some(Left {
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            ttl: record.ttl,
        })
    }

    /// When a lease ends, if it is known.
    pub fn end(&self, id: LeaseId) -> Option<Duration> {
        self.records.get(&id).map(|record| record.end)
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<Duration> {
        let firsts = [self.by_end.first(), self.by_checkpoint.first()];
        firsts.into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// At most `max` leases whose time is over, longest first. Whoever takes them revokes them; each
    /// is handed out once, unless [`Self::not_revoked`] gives it back.
    pub fn take_ended(&mut self, now: Duration, max: usize) -> Vec<Ended> {
        let mut ended = Vec::new();
        while ended.len() < max
            && let Some(&(at, id)) = self.by_end.first()
            && at <= now
        {
            self.unqueue(id);
            if let Some(record) = self.records.get(&id) {
                ended.push(Ended {
                    id,
                    granted_at: record.granted_at,
                });
            }
        }
        ended
    }

    /// A revoke failed: it is tried again at `again`.
    pub fn not_revoked(&mut self, ended: &Ended, again: Duration, now: Duration) {
        let record = self.records.get(&ended.id);
        if record.is_some_and(|it| it.granted_at == ended.granted_at && it.queued.is_none()) {
            self.queue(ended.id, again, now);
        }
    }

    /// At most `max` notes of what is left of long leases.
    pub fn take_marks(&mut self, now: Duration, max: usize) -> Vec<LeaseMark> {
        let mut marks = Vec::new();
        while marks.len() < max
            && let Some(&(at, id)) = self.by_checkpoint.first()
            && at <= now
        {
            self.by_checkpoint.remove(&(at, id));
            let Some(record) = self.records.get_mut(&id) else {
                continue;
            };
            record.checkpoint = None;
            let Some(left) = record.end.checked_sub(now).filter(|left| !left.is_zero()) else {
                continue;
            };
            if left > CHECKPOINT_INTERVAL {
                let at = now + CHECKPOINT_INTERVAL;
                record.checkpoint = Some(at);
                self.by_checkpoint.insert((at, id));
            }
            record.marked = Some(now);
            // Up, not down: the next leader may give more, never less.
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            marks.push(LeaseMark {
                id,
                granted_at: record.granted_at,
                remaining: i64::try_from(seconds).unwrap_or(i64::MAX),
            });
        }
        marks
    }
}

#[cfg(test)]
mod tests;
