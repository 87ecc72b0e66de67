//! What each peer has acknowledged to this leader, so that a log that went back is noticed.
//!
//! Damage to the last group of a log looks like a torn write: the member cuts it off and starts, and
//! has lost entries that it had acknowledged, with its last vote perhaps. Raft has no answer to that:
//! such a member may help to elect a leader without entries that were committed with its help, so it
//! must not vote again. The only one who can tell is the leader that the acknowledgement went to.
//!
//! So every append tells the peer how far it has acknowledged what this leader sent, and a peer that
//! holds less stops for good ([`super::peer_service`]), as etcd's does ("was the raft log corrupted,
//! truncated, or lost?"); it is to be removed and added again. Should a peer answer all the same that
//! it lacks what it had, the answer does not reach openraft: there it would stop the leader, who is
//! healthy and may be the last one that has those entries.

use super::type_config::{LogId, TypeConfig, Vote};
use crate::types::NodeId;
use openraft::raft::StreamAppendError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// All peers'; clones share them.
#[derive(Clone, Default)]
pub(super) struct Receipts {
    peers: Arc<Mutex<HashMap<NodeId, Receipt>>>,
}

impl Receipts {
    pub(super) fn of(&self, node: NodeId) -> Receipt {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entry(node).or_default().clone()
    }
}

/// One peer's; clones share it.
#[derive(Clone, Default)]
pub(super) struct Receipt(Arc<Mutex<Acknowledged>>);

/// Of one term: another leader's log need not hold what this one's does.
#[derive(Default)]
struct Acknowledged {
    term: u64,
    last: Option<LogId>,
}

/// A peer lacks what it had acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its log differs at entry {conflict}, though it had acknowledged all up to entry {acknowledged}; \
     remove it from the cluster and add it again with an empty data directory"
)]
pub(super) struct WentBack {
    conflict: u64,
    acknowledged: u64,
}

impl Receipt {
    /// How far the peer has acknowledged what the leader of `vote` sent.
    pub(super) fn last(&self, vote: &Vote) -> Option<LogId> {
        self.in_term(vote, |acknowledged| acknowledged.last)?
    }

    /// The peer holds everything up to `last`.
    pub(super) fn matched(&self, vote: &Vote, last: Option<LogId>) {
        self.in_term(vote, |acknowledged| {
            acknowledged.last = acknowledged.last.max(last);
        });
    }

    /// Takes in an answer to an append.
    ///
    /// # Errors
    /// It contradicts an earlier one.
    pub(super) fn answered(
        &self,
        vote: &Vote,
        answer: &Result<Option<LogId>, StreamAppendError<TypeConfig>>,
    ) -> Result<(), WentBack> {
        match answer {
            Ok(last) => self.matched(vote, *last),
            Err(StreamAppendError::Conflict(at)) => {
                if let Some(last) = self.last(vote).filter(|last| last.index >= at.index) {
                    return Err(WentBack {
                        conflict: at.index,
                        acknowledged: last.index,
                    });
                }
            }
            Err(StreamAppendError::HigherVote(_)) => {}
        }
        Ok(())
    }

    /// `None` for a term that has passed.
    fn in_term<T>(&self, vote: &Vote, work: impl FnOnce(&mut Acknowledged) -> T) -> Option<T> {
        let mut acknowledged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let term = vote.leader_id.term;
        if term > acknowledged.term {
            *acknowledged = Acknowledged { term, last: None };
        }
        (term == acknowledged.term).then(|| work(&mut acknowledged))
    }
}

#[cfg(test)]
mod tests {
    use super::super::type_config::{log_id_of, vote_of};
    use super::*;
    use crate::types::Position;

    fn at(term: u64, index: u64) -> LogId {
        log_id_of(Position { term, index })
    }

    #[test]
    fn what_a_peer_had_acknowledged_it_cannot_lack() {
        let receipt = Receipts::default().of(2);
        let vote = vote_of(4, 1, true);
        let conflict = |index| Err(StreamAppendError::Conflict(at(3, index)));
        // Nothing is known yet: a new leader looks for the place where the logs part.
        assert_eq!(receipt.answered(&vote, &conflict(90)), Ok(()));
        assert_eq!(receipt.answered(&vote, &Ok(Some(at(3, 50)))), Ok(()));
        assert_eq!(receipt.last(&vote), Some(at(3, 50)));
        assert_eq!(receipt.answered(&vote, &conflict(51)), Ok(()));
        let went_back = WentBack {
            conflict: 50,
            acknowledged: 50,
        };
        assert_eq!(receipt.answered(&vote, &conflict(50)), Err(went_back));
        // An answer that was overtaken takes nothing away.
        assert_eq!(receipt.answered(&vote, &Ok(Some(at(3, 7)))), Ok(()));
        assert_eq!(receipt.last(&vote), Some(at(3, 50)));
    }

    #[test]
    fn every_term_has_its_own_receipts() {
        let receipt = Receipts::default().of(2);
        let (old, new) = (vote_of(4, 1, true), vote_of(6, 1, true));
        receipt.matched(&old, Some(at(4, 50)));
        assert_eq!(receipt.last(&new), None, "another leader, another log");
        receipt.matched(&old, Some(at(4, 60)));
        assert_eq!(receipt.last(&old), None, "it leads no longer");
        assert_eq!(receipt.last(&new), None);
        receipt.matched(&new, Some(at(6, 40)));
        assert_eq!(receipt.last(&new), Some(at(6, 40)));
    }
}
