//! "Do you still follow me?", asked of the voters: what makes a read linearizable.
//!
//! openraft can confirm leadership itself, but its clock cannot be trusted for it: an answer to an
//! append of entries also acknowledges every later notice without entries (its queue of requests in
//! flight is drained by log position), and so counts as if it had been sent when the notice was. A
//! follower that answered, then voted for somebody else, would confirm a read that began after both.
//!
//! Here every answer belongs to the question. The round is asked with the leader's vote; a voter that
//! has granted a higher one says so, because votes and this question pass through the same core.

use super::links::{Client, Links};
use super::type_config::{LogId, Membership, Vote};
use super::wire;
use crate::proto::peer;
use crate::types::NodeId;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

/// What one round asks, and of whom.
pub(super) struct QuorumRound {
    /// The vote under which this member leads.
    pub vote: Vote,
    /// What the round tells followers on its way, so that they apply it at once.
    pub committed: Option<LogId>,
    pub membership: Membership,
    /// Of each call.
    pub patience: Duration,
}

impl QuorumRound {
    /// Whether a quorum of every configuration in force follows this vote, asked after this call
    /// began.
    pub(super) async fn confirmed(self, links: &Links) -> bool {
        let me = self.vote.leader_id.voted_for;
        let configs = self.membership.get_joint_config();
        let mut followers = BTreeSet::from([me]);
        if is_quorum(configs, &followers) {
            return true;
        }
        let voters = self.membership.voter_ids().filter(|node| *node != me);
        let mut calls: FuturesUnordered<_> = voters
            .filter_map(|node| {
                let member = self.membership.get_node(&node)?;
                let client = links.to(node, member).ok()?.control;
                Some(self.ask(node, client))
            })
            .collect();
        while let Some(follows) = calls.next().await {
            followers.extend(follows);
            if is_quorum(configs, &followers) {
                return true;
            }
        }
        false
    }

    /// The voter, if it follows.
    async fn ask(&self, node: NodeId, mut client: Client) -> Option<NodeId> {
        let question = peer::AppendRequest {
            vote: Some(wire::vote_to_proto(&self.vote)),
            // Claims nothing about the log, so nothing can conflict.
            previous: None,
            entries: Vec::new(),
            leader_commit: self.committed.as_ref().map(wire::log_id_to_proto),
            acknowledged: None,
        };
        let answer = timeout(self.patience, client.heartbeat(question)).await;
        let answer = wire::answer_from_proto(answer.ok()?.ok()?.into_inner()).ok()?;
        answer.is_ok().then_some(node)
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
