//! "Do you still follow me?", asked of the voters: what makes a read linearizable.
//!
//! openraft can confirm leadership itself, but its clock cannot be trusted for it: an answer to an
//! append of entries also acknowledges every later notice without entries (its queue of requests in
//! flight is drained by log position), and so counts as if it had been sent when the notice was. A
//! follower that answered, then voted for somebody else, would confirm a read that began after both.
//!
//! Here every answer belongs to the question. The round is asked with the leader's vote; a voter that
//! has granted a higher one says so, because votes and this question pass through the same core.

use super::links::Links;
use super::type_config::{Membership, Vote};
use super::wire;
use crate::proto::peer;
use crate::types::NodeId;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// One round of so many asks everybody at once, and so finds out who is quick now.
const ROUNDS_PER_TRIAL: u64 = 64;

/// What one round asks, and of whom.
pub(super) struct QuorumRound {
    /// The vote under which this member leads.
    pub vote: Vote,
    pub membership: Membership,
    /// Who wants to read, if it follows this vote, which it says after its read began.
    pub asker: Option<NodeId>,
    /// How long those who are asked first have for themselves.
    pub head_start: Duration,
    /// Of each call.
    pub patience: Duration,
}

impl QuorumRound {
    /// Whether a quorum of every configuration in force follows this vote, asked after this call
    /// began.
    pub(super) async fn confirmed(self, links: &Links, order: &AskingOrder) -> bool {
        let me = self.vote.leader_id.voted_for;
        let configs = self.membership.get_joint_config();
        let mut followers: BTreeSet<_> = self.asker.into_iter().chain([me]).collect();
        if is_quorum(configs, &followers) {
            return true;
        }
        let (first, mut rest) = self.split(&followers, &order.of_next_round());
        let ask = |node| self.ask(links, node);
        let mut calls: FuturesUnordered<_> = first.into_iter().map(ask).collect();
        let mut head_start = std::pin::pin!(sleep(self.head_start));
        let mut quickest = Vec::new();
        loop {
            let answer = tokio::select! {
                answer = calls.next() => answer,
                () = &mut head_start, if !rest.is_empty() => Some(None),
            };
            match answer {
                Some(Some(node)) => {
                    quickest.push(node);
                    followers.insert(node);
                    if is_quorum(configs, &followers) {
                        break;
                    }
                }
                // Silence or anything but a yes, of one of them: the others are needed.
                _ if !rest.is_empty() => calls.extend(rest.drain(..).map(ask)),
                Some(None) => {}
                None => return false,
            }
        }
        if rest.is_empty() {
            order.learn(quickest);
        }
        true
    }

    /// The voters that are asked at once and the rest: the first few of the quick ones, if they make
    /// a quorum with those who are known to follow, or else all.
    fn split(
        &self,
        followers: &BTreeSet<NodeId>,
        quickest: &[NodeId],
    ) -> (Vec<NodeId>, Vec<NodeId>) {
        let configs = self.membership.get_joint_config();
        let voters = self.membership.voter_ids();
        let unknown: BTreeSet<_> = voters.filter(|node| !followers.contains(node)).collect();
        let mut asked = followers.clone();
        for node in quickest.iter().filter(|node| unknown.contains(node)) {
            asked.insert(*node);
            if is_quorum(configs, &asked) {
                return unknown.into_iter().partition(|node| asked.contains(node));
            }
        }
        (unknown.into_iter().collect(), Vec::new())
    }

    /// The voter, if it follows.
    async fn ask(&self, links: &Links, node: NodeId) -> Option<NodeId> {
        let member = self.membership.get_node(&node)?;
        let mut client = links.to(node, member).ok()?.control;
        let question = peer::AppendRequest {
            vote: Some(wire::vote_to_proto(&self.vote)),
            // Claims nothing about the log, so nothing can conflict.
            ..peer::AppendRequest::default()
        };
        let answer = timeout(self.patience, client.heartbeat(question)).await;
        let answer = wire::answer_from_proto(answer.ok()?.ok()?.into_inner()).ok()?;
        answer.is_ok().then_some(node)
    }
}

/// Whom a member's rounds ask first: those who answered first when all were asked.
///
/// To ask more voters than make a quorum costs as much again. The others are asked when one of the
/// first is silent for the head start or does not follow; those who then answer are the next
/// round's first. So a voter that hangs delays one round, and no more.
#[derive(Default)]
pub(super) struct AskingOrder {
    inner: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    rounds: u64,
    quickest: Vec<NodeId>,
}

impl AskingOrder {
    /// Nobody if the round is to find out who is quick.
    fn of_next_round(&self) -> Vec<NodeId> {
        let mut order = self.lock();
        let finds_out = order.rounds.is_multiple_of(ROUNDS_PER_TRIAL);
        order.rounds += 1;
        if finds_out {
            Vec::new()
        } else {
            order.quickest.clone()
        }
    }

    fn learn(&self, quickest: Vec<NodeId>) {
        self.lock().quickest = quickest;
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `nodes` holds a majority of every configuration (two while voters change).
fn is_quorum(configs: &[BTreeSet<NodeId>], nodes: &BTreeSet<NodeId>) -> bool {
    configs
        .iter()
        .all(|voters| voters.intersection(nodes).count() > voters.len() / 2)
}

#[cfg(test)]
mod tests;
