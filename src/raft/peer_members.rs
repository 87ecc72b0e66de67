//! The peer port's part about members: who is here, whose an id is, and changes asked of the leader.

use super::consensus::Consensus;
use super::identity::Caller;
use super::membership::Member;
use crate::proto::peer;
use crate::proto::peer::claim_response::Outcome as Claimed;
use crate::state_machine::{BatchBuilder, Command, Outcome, Refusal};
use crate::types::NodeId;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Who decides on changes of the membership: `node/reconfigurer`.
pub trait Desk: Send + Sync {
    fn change_members(
        &self,
        request: peer::ChangeMembersRequest,
    ) -> BoxFuture<'_, peer::ChangeMembersResponse>;
}

/// Binds an id to a data directory, on the leader. Answers `AGAIN` while it is not known to be bound.
pub(super) async fn claim(consensus: &Consensus, caller: Caller) -> peer::ClaimResponse {
    let outcome = consensus.bind(caller.node, caller.incarnation).await;
    peer::ClaimResponse {
        outcome: outcome.into(),
    }
}

impl Consensus {
    /// Binds an id to the incarnation of a data directory, if this member leads.
    pub async fn bind(&self, node: NodeId, incarnation: u64) -> Claimed {
        let mut batch = BatchBuilder::new();
        batch.push(&Command::ClaimMember { node, incarnation });
        let (done, outcome) = oneshot::channel();
        self.propose(batch.finish(), move |result| {
            // Given up at its deadline: nobody listens.
            done.send(result).ok();
        })
        .await;
        // Claiming twice is claiming once, so an unknown outcome is simply asked for again.
        let Ok(Ok(Ok(carried_out))) = timeout(self.timers().election * 4, outcome).await else {
            return Claimed::Again;
        };
        match carried_out.replies.first().map(|reply| &reply.result) {
            Some(Ok(Outcome::Claimed)) => Claimed::Claimed,
            Some(Err(Refusal::MemberKnownElsewhere)) => Claimed::KnownElsewhere,
            Some(Err(Refusal::MemberRemoved)) => Claimed::Removed,
            _ => Claimed::Again,
        }
    }
}

/// Who is in the cluster, with the leader's word for it if this is the leader.
pub(super) async fn roster(cluster: u64, consensus: &Consensus) -> peer::RosterResponse {
    let confirmed = consensus.read_index().await.is_ok();
    peer::RosterResponse {
        cluster_id: cluster,
        leader: consensus.status().leader.unwrap_or(0),
        confirmed,
        members: consensus.members().into_iter().map(Into::into).collect(),
    }
}

impl From<Member> for peer::RosterMember {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
            is_learner: member.is_learner,
        }
    }
}

impl From<peer::RosterMember> for Member {
    fn from(member: peer::RosterMember) -> Self {
        Self {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
            is_learner: member.is_learner,
        }
    }
}
