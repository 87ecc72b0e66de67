//! Who is in the cluster, and changes of it, as far as Raft carries them out. Which changes are
//! allowed is decided above (`node/reconfigure_rules`).
//!
//! A change is one log entry (Raft's single-server change): openraft accepts it only if at most one
//! voter comes or goes, the change before is committed, and the leader has committed an entry of its
//! own term. So there is never a joint configuration that somebody would have to end, and the
//! outcome of a change is the outcome of its entry.
//!
//! A member that is added as a voter is a learner to Raft until it has caught up, and a voter to
//! everybody else ([`MemberNode::votes`]): one that never starts costs nobody a quorum.

use super::consensus::{Consensus, WeakConsensus};
use super::identity::Census;
use super::links::Links;
use super::snapshot::stored_membership;
use super::type_config::{MemberNode, Membership, TypeConfig, log_id_of, position_of};
use super::wire::encode_membership;
use crate::state_machine::StateMachine;
use crate::types::{NodeId, Position};
use bytes::Bytes;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::metrics::RaftServerMetrics;
use openraft::raft::{ClientWriteResponse, Precondition};
use openraft::{ChangeMembers, EntryPayload};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A member of the cluster as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    /// Empty until the member has started and published itself.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// Somebody new, without a vote for the time being.
    Add(NodeId, MemberNode),
    /// A learner gets its vote.
    Promote(NodeId),
    Remove(NodeId),
    /// Other peer URLs.
    Update(NodeId, MemberNode),
}

/// Why a change was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeFailure {
    /// Certainly not in the log: this member does not lead, or another change came in between.
    NotTaken,
    /// It may or may not be carried out.
    Unknown,
}

/// The membership in force, and where in the log it stands.
#[derive(Clone, Debug)]
pub struct InForce {
    pub at: Option<Position>,
    pub membership: Membership,
}

/// The first entry of every log, as a state keeps it: where it stands, and who founds the cluster.
pub fn founding_entry(members: &BTreeMap<NodeId, MemberNode>) -> io::Result<(Position, Bytes)> {
    let voters = members.keys().copied().collect();
    let membership = Membership::new(vec![voters], members.clone()).map_err(io::Error::other)?;
    let first = Position { term: 0, index: 0 };
    Ok((first, encode_membership(&membership)))
}

/// Who the members are, as far as a state knows.
pub fn members_of(machine: &StateMachine) -> io::Result<Vec<(NodeId, MemberNode)>> {
    let stored = stored_membership(machine.membership().as_ref())?;
    let members = stored.membership().nodes();
    Ok(members.map(|(id, node)| (*id, node.clone())).collect())
}

impl Consensus {
    /// The membership that counts here now; on a leader perhaps not committed yet.
    pub fn in_force(&self) -> InForce {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let stored = &metrics.membership_config;
        InForce {
            at: stored.log_id().as_ref().map(position_of),
            membership: stored.membership().clone(),
        }
    }

    /// All members, sorted by id, as etcd lists them: the replicated membership, with what each
    /// published of itself when it started.
    pub fn members(&self) -> Vec<Member> {
        let membership = self.in_force().membership;
        let roster = self.store().load().roster();
        let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
        let member = |(id, node): (&NodeId, &MemberNode)| {
            let published = roster.attributes(*id);
            Member {
                id: *id,
                name: published.map_or_else(|| node.name.clone(), |said| said.name.clone()),
                peer_urls: node.peer_urls.clone(),
                client_urls: published.map_or_else(Vec::new, |said| said.client_urls.clone()),
                is_learner: !node.votes && !voters.contains(id),
            }
        };
        membership.nodes().map(member).collect()
    }

    /// Changes the membership, if it is still the one that was `seen`. Answers the entry of the
    /// change, which is applied here; waits for a quorum, without limit.
    pub async fn change_membership(
        &self,
        seen: InForce,
        change: MembershipChange,
    ) -> Result<Position, ChangeFailure> {
        let unchanged = [Precondition::LastMembershipLogId {
            last_membership_log_id: seen.at.map(log_id_of),
        }];
        let raft = self.raft();
        let changed = match change {
            MembershipChange::Update(node, member) => {
                let update = ChangeMembers::SetNodes(BTreeMap::from([(node, member)]));
                raft.change_membership_if(update, true, unchanged).await
            }
            other => {
                let Some(next) = next(&seen.membership, other) else {
                    return Err(ChangeFailure::NotTaken);
                };
                raft.append_membership(next, EntryPayload::Blank, unchanged)
                    .await
            }
        };
        outcome(changed)
    }
}

/// What the pins know of consensus, which knows them: this end must not keep it alive.
impl Census for WeakConsensus {
    fn is_member(&self, node: NodeId) -> bool {
        let Some(consensus) = self.upgrade() else {
            return false;
        };
        let metrics = consensus.raft().metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        membership.get_node(&node).is_some()
    }

    fn is_removed(&self, node: NodeId) -> bool {
        let consensus = self.upgrade();
        consensus.is_some_and(|consensus| consensus.store().load().roster().is_removed(node))
    }

    fn claim(&self, node: NodeId) -> Option<u64> {
        self.upgrade()?.store().load().roster().claim(node)
    }
}

/// Lets the connections know where members are now; ends with consensus. (All metrics change with every
/// entry, these do not.)
pub(super) async fn follow_addresses(
    mut metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    links: Links,
) {
    let mut seen = None;
    loop {
        {
            let now = metrics.borrow_and_update();
            let stored = &now.membership_config;
            if stored.log_id() != &seen {
                seen = *stored.log_id();
                links.learn(stored.membership());
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// The membership after a change; `None` if nobody would vote in it.
fn next(now: &Membership, change: MembershipChange) -> Option<Membership> {
    let mut voters: BTreeSet<NodeId> = now.voter_ids().collect();
    let mut nodes: BTreeMap<NodeId, MemberNode> =
        now.nodes().map(|(id, node)| (*id, node.clone())).collect();
    match change {
        MembershipChange::Add(node, member) | MembershipChange::Update(node, member) => {
            nodes.insert(node, member);
        }
        MembershipChange::Promote(node) => {
            voters.insert(node);
        }
        MembershipChange::Remove(node) => {
            voters.remove(&node);
            nodes.remove(&node);
        }
    }
    Membership::new(vec![voters], nodes).ok()
}

type Written =
    Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

fn outcome(written: Written) -> Result<Position, ChangeFailure> {
    let error = match written {
        Ok(done) => return Ok(position_of(&done.log_id)),
        Err(error) => error,
    };
    tracing::debug!(%error, "a membership change was not carried out");
    Err(match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_))
        | RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => ChangeFailure::NotTaken,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(refused)) => {
            if !matches!(
                refused,
                ChangeMembershipError::InProgress(_)
                    | ChangeMembershipError::UncommittedLeaderLog(_)
            ) {
                tracing::error!(%refused, "a membership change that openraft does not take");
            }
            ChangeFailure::NotTaken
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) | RaftError::Fatal(_) => {
            ChangeFailure::Unknown
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(voters: &[NodeId], all: &[NodeId]) -> Membership {
        let nodes: BTreeMap<_, _> = all.iter().map(|id| (*id, MemberNode::default())).collect();
        Membership::new(vec![voters.iter().copied().collect()], nodes).unwrap()
    }

    fn ids(membership: &Membership) -> (Vec<NodeId>, Vec<NodeId>) {
        let voters = membership.voter_ids().collect();
        (voters, membership.nodes().map(|(id, _)| *id).collect())
    }

    #[test]
    fn a_change_touches_one_voter_at_most() {
        let three = membership(&[1, 2, 3], &[1, 2, 3]);
        let four = next(&three, MembershipChange::Add(4, MemberNode::default())).unwrap();
        assert_eq!(ids(&four), (vec![1, 2, 3], vec![1, 2, 3, 4]));
        let promoted = next(&four, MembershipChange::Promote(4)).unwrap();
        assert_eq!(ids(&promoted), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
        let left = next(&promoted, MembershipChange::Remove(1)).unwrap();
        assert_eq!(ids(&left), (vec![2, 3, 4], vec![2, 3, 4]));
        let learner_left = next(&four, MembershipChange::Remove(4)).unwrap();
        assert_eq!(ids(&learner_left), (vec![1, 2, 3], vec![1, 2, 3]));
    }
}
