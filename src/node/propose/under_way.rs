//! Batches on their way into the log, and how many may be.

use crate::raft::LeaderHint;
use std::future::{Future, pending};
use tokio::task::{JoinError, JoinSet};

/// Batches on their way to another member that leads. What waits behind one that the leader has not answered
/// misses the leader's next entry: with one at a time 64 callers fill an entry with 21 commands, with four
/// with 27 (`docs/performance.md`).
const FORWARDS_AT_ONCE: usize = 4;
/// Batches that may wait aside for a former leader's answer.
const LEFT_BEHIND_MAX: usize = 16;

/// A leader that was cut off never answers; one that handed over does. Whichever it is, its batches wait
/// for it aside, and the next one goes to the new leader.
pub(super) struct UnderWay {
    /// The last one that was known.
    leader: LeaderHint,
    /// Leaders so far.
    era: u64,
    /// All batches, by the era that they began in.
    batches: JoinSet<u64>,
    of_this_era: usize,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self {
            leader: LeaderHint::Nobody,
            era: 0,
            batches: JoinSet::new(),
            of_this_era: 0,
        }
    }
}

impl UnderWay {
    /// What begins from now on is meant for this leader; one that is merely lost is not replaced yet.
    pub(super) fn follow(&mut self, leader: LeaderHint) {
        if leader != self.leader && leader != LeaderHint::Nobody {
            self.leader = leader;
            self.era += 1;
            self.of_this_era = 0;
        }
    }

    /// Whether one more may begin.
    pub(super) fn has_place(&mut self) -> bool {
        while let Some(done) = self.batches.try_join_next() {
            self.count(done);
        }
        let places = match self.leader {
            LeaderHint::Me | LeaderHint::Nobody => 1,
            LeaderHint::Other(..) => FORWARDS_AT_ONCE,
        };
        let left_behind = self.batches.len() - self.of_this_era;
        self.of_this_era < places && left_behind <= LEFT_BEHIND_MAX
    }

    /// Whether no batch is on its way to the leader of now.
    pub(super) fn is_idle(&self) -> bool {
        self.of_this_era == 0
    }

    pub(super) fn begin(&mut self, carried: impl Future<Output = ()> + Send + 'static) {
        let era = self.era;
        self.of_this_era += 1;
        self.batches.spawn(async move {
            carried.await;
            era
        });
    }

    /// Returns when one has arrived; never, if there is none.
    pub(super) async fn arrived(&mut self) {
        match self.batches.join_next().await {
            Some(done) => self.count(done),
            None => pending().await,
        }
    }

    fn count(&mut self, done: Result<u64, JoinError>) {
        match done {
            Ok(era) if era == self.era => self.of_this_era -= 1,
            Ok(_) => {}
            // Nothing stops them: it panicked.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::MemberNode;
    use crate::types::NodeId;
    use tokio::sync::oneshot;

    fn other(node: NodeId) -> LeaderHint {
        LeaderHint::Other(node, MemberNode::default())
    }

    /// One more batch, which arrives when the answer is dropped or sent.
    fn begin(under_way: &mut UnderWay) -> oneshot::Sender<()> {
        assert!(under_way.has_place());
        let (answer, answered) = oneshot::channel();
        under_way.begin(async { drop(answered.await) });
        answer
    }

    fn fill(under_way: &mut UnderWay) -> Vec<oneshot::Sender<()>> {
        let mut answers = Vec::new();
        while under_way.has_place() {
            answers.push(begin(under_way));
        }
        answers
    }

    #[tokio::test]
    async fn a_leader_has_one_entry_in_flight_and_the_others_a_few_batches() {
        let mut under_way = UnderWay::default();
        assert_eq!(fill(&mut under_way).len(), 1, "nobody leads yet");
        under_way.follow(LeaderHint::Me);
        let mut own = fill(&mut under_way);
        assert_eq!(own.len(), 1);
        drop(own.pop());
        while !under_way.has_place() {
            under_way.arrived().await;
        }
        under_way.follow(other(2));
        let mut forwarded = fill(&mut under_way);
        assert_eq!(forwarded.len(), FORWARDS_AT_ONCE);
        drop(forwarded.pop());
        while !under_way.has_place() {
            under_way.arrived().await;
        }
        assert_eq!(fill(&mut under_way).len(), 1, "one place is free again");
    }

    #[tokio::test]
    async fn batches_of_a_former_leader_hold_nobody_up_until_they_are_too_many() {
        let mut under_way = UnderWay::default();
        let mut answers = Vec::new();
        let mut eras = 0;
        loop {
            eras += 1;
            under_way.follow(other(eras));
            // Lost is not replaced: it may be the same one again.
            under_way.follow(LeaderHint::Nobody);
            let more = fill(&mut under_way);
            if more.is_empty() {
                break;
            }
            answers.extend(more);
        }
        assert!(answers.len() > LEFT_BEHIND_MAX);
        assert!(answers.len() <= LEFT_BEHIND_MAX + FORWARDS_AT_ONCE);
        assert!(under_way.is_idle(), "all were left behind");
        answers.truncate(LEFT_BEHIND_MAX);
        while !under_way.has_place() {
            under_way.arrived().await;
        }
    }
}
