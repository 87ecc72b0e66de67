//! Who is in the cluster, for doors: the list, and changes, which go to whoever leads.

use super::reconfigure_rules::{Reconfiguration, Refused};
use super::reconfigurer::{Attempt, attempt_from_wire, change_to_wire};
use super::{Node, NodeError};
use crate::proto::peer;
use crate::raft::{LeaderHint, MemberNode};
use crate::types::NodeId;
use sha1::{Digest, Sha1};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

pub use crate::raft::Member;

/// How long to wait for news of a leader before asking again.
const LEADER_PATIENCE: Duration = Duration::from_millis(20);

/// Why the membership was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Failed(#[from] NodeError),
}

impl Node {
    /// All members, sorted by id, as this member knows them.
    pub fn members(&self) -> Vec<Member> {
        self.inner.consensus.members()
    }

    /// Waits until this member's id is bound to its data directory; false if consensus stops before.
    pub async fn claimed(&self) -> bool {
        let me = self.identity().member_id;
        let mut applied = self.inner.consensus.applied();
        let is_bound = || {
            let store = self.inner.consensus.store().load();
            store.roster().claim(me).is_some()
        };
        applied.wait_for(|_| is_bound()).await.is_ok()
    }

    /// An id for a new member, made as etcd makes them: of its sorted peer URLs and the time.
    pub fn new_member_id(&self, peer_urls: &[String]) -> NodeId {
        let seconds = self.inner.clock.unix_ms() / 1000;
        let mut hash = Sha1::new();
        for url in peer_urls {
            hash.update(url);
        }
        hash.update(seconds.to_string());
        super::founding::first_eight(&hash.finalize())
    }

    /// Changes the membership, whoever leads. Answers all members after the change.
    ///
    /// # Errors
    /// Against the rules, or not known to be done in time: then it may be done nevertheless, and is
    /// never asked for a second time.
    pub async fn reconfigure(
        &self,
        change: Reconfiguration,
        deadline: Instant,
    ) -> Result<Vec<Member>, ReconfigureError> {
        let mut leaders = self.inner.consensus.leader_watch();
        let mut vetted = false;
        loop {
            let attempt = match leaders.hint() {
                LeaderHint::Nobody => Attempt::NotTaken,
                LeaderHint::Me => {
                    let here = &self.inner.reconfigurer;
                    here.carry_out(change.clone(), vetted, deadline).await
                }
                LeaderHint::Other(leader, member) => {
                    let request = peer::ChangeMembersRequest {
                        change: Some(change_to_wire(change.clone())),
                        timeout_ms: milliseconds_until(deadline),
                        vetted,
                    };
                    self.ask_leader(leader, &member, request, deadline).await
                }
            };
            match attempt {
                Attempt::Changed(members, at) => {
                    if change
                        == (Reconfiguration::Remove {
                            id: self.identity().member_id,
                        })
                    {
                        // Nobody tells this member any more.
                        return Ok(members);
                    }
                    // A client sees its change in this member's own list. Past the deadline: done
                    // is done.
                    let mut applied = self.inner.consensus.applied();
                    let here = applied.wait_for(|applied| *applied >= at.index);
                    timeout_at(deadline, here).await.ok();
                    return Ok(members);
                }
                Attempt::Refused(refused) => return Err(refused.into()),
                Attempt::Unknown => return Err(NodeError::TimeoutLeaderFail.into()),
                Attempt::HandedOver => vetted = true,
                Attempt::NotTaken => {}
            }
            if Instant::now() >= deadline {
                return Err(NodeError::Timeout.into());
            }
            leaders.changed(LEADER_PATIENCE).await;
        }
    }

    async fn ask_leader(
        &self,
        leader: NodeId,
        member: &MemberNode,
        request: peer::ChangeMembersRequest,
        deadline: Instant,
    ) -> Attempt {
        let Ok(links) = self.inner.links.to(leader, member) else {
            return Attempt::NotTaken;
        };
        let mut client = links.control;
        match timeout_at(deadline, client.change_members(request)).await {
            Ok(Ok(answer)) => attempt_from_wire(answer.into_inner().answer),
            Ok(Err(status)) if crate::raft::was_never_sent(&status) => Attempt::NotTaken,
            // The peer looked at the introduction only.
            Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
                Attempt::NotTaken
            }
            Ok(Err(status)) => {
                tracing::debug!(%status, "a membership change has an unknown outcome");
                Attempt::Unknown
            }
            Err(_) => Attempt::Unknown,
        }
    }
}

fn milliseconds_until(deadline: Instant) -> u32 {
    let left = deadline.saturating_duration_since(Instant::now());
    u32::try_from(left.as_millis()).unwrap_or(u32::MAX)
}
