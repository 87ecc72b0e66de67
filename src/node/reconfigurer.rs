//! The leader's side of a change of the membership: one at a time, by the rules, one log entry each.
//! And what a leader does by itself: give added voters their vote when they have caught up.

use super::hand_over::hand_over;
use super::reconfigure_rules::{Reconfiguration, Refused, Rules, Situation};
use crate::proto::peer;
use crate::proto::peer::change_members_request::Change as WireChange;
use crate::proto::peer::change_members_response::Answer;
use crate::proto::peer::change_refused::Reason;
use crate::raft::{
    ChangeFailure, Consensus, Desk, Member, MemberNode, MembershipChange, Role, Status,
};
use crate::types::{HexId, NodeId, Position};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// How often a leader looks whether somebody has caught up.
const TICK: Duration = Duration::from_millis(100);
/// A member that lacks no more entries than this has caught up: a moment's worth, so that the
/// cluster does not wait for it if it needs its vote at once.
const CAUGHT_UP_ENTRIES: u64 = 1000;
/// Longest that a leader waits for the entry that gives somebody a vote; it looks again then.
const PROMOTION_PATIENCE: Duration = Duration::from_secs(5);

/// What became of a change.
#[derive(Debug)]
pub(super) enum Attempt {
    /// All members after it, and its entry.
    Changed(Vec<Member>, Position),
    Refused(Refused),
    /// Certainly not carried out: this member does not lead.
    NotTaken,
    /// The same; and it leads no more because the change, which is in order, removes it.
    HandedOver,
    /// It may or may not be carried out.
    Unknown,
}

/// Cheap to clone; of a member, which need not lead.
#[derive(Clone)]
pub struct Reconfigurer {
    consensus: Consensus,
    me: NodeId,
    rules: Rules,
    one_at_a_time: Arc<Mutex<()>>,
}

impl Reconfigurer {
    pub(super) fn new(consensus: Consensus, me: NodeId, rules: Rules) -> Self {
        Self {
            consensus,
            me,
            rules,
            one_at_a_time: Arc::default(),
        }
    }

    /// Carries out a change, if this member leads and the rules allow it.
    pub(super) async fn carry_out(
        &self,
        change: Reconfiguration,
        vetted: bool,
        deadline: Instant,
    ) -> Attempt {
        let Ok(_turn) = timeout_at(deadline, self.one_at_a_time.lock()).await else {
            return Attempt::NotTaken;
        };
        if timeout_at(deadline, self.leads_and_knows()).await != Ok(true) {
            return Attempt::NotTaken;
        }
        let seen = self.consensus.in_force();
        if let Err(refused) = self.check(&change, vetted) {
            return Attempt::Refused(refused);
        }
        if change == (Reconfiguration::Remove { id: self.me }) {
            hand_over(&self.consensus).await;
            return Attempt::HandedOver;
        }
        let what = in_raft(&change, &seen.membership);
        let changed = self.consensus.change_membership(seen, what);
        match timeout_at(deadline, changed).await {
            Ok(Ok(at)) => {
                tracing::info!(?change, "membership changed");
                Attempt::Changed(self.consensus.members(), at)
            }
            Ok(Err(ChangeFailure::NotTaken)) => Attempt::NotTaken,
            Ok(Err(ChangeFailure::Unknown)) | Err(_) => Attempt::Unknown,
        }
    }

    fn check(&self, change: &Reconfiguration, vetted: bool) -> Result<(), Refused> {
        let status = self.consensus.status();
        let situation = Situation {
            members: &self.consensus.members(),
            me: self.me,
            connected_for: &|node| self.consensus.contacts().connected_for(node),
            is_ready: &|node| is_ready(&status, node),
        };
        self.rules.check(change, &situation, vetted)
    }

    /// Whether this member leads, says a quorum, and has applied everything that was acknowledged.
    async fn leads_and_knows(&self) -> bool {
        let Ok(position) = self.consensus.read_index().await else {
            return false;
        };
        let mut applied = self.consensus.applied();
        let reached = applied.wait_for(|applied| *applied >= position.index);
        reached.await.is_ok()
    }

    /// Runs until it is dropped: on a leader, gives added voters their vote when they are ready.
    pub(super) async fn promote_when_ready(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let status = self.consensus.status();
            if status.role != Role::Leader {
                continue;
            }
            let Some(node) = self.ready_to_vote(&status) else {
                continue;
            };
            let _turn = self.one_at_a_time.lock().await;
            let seen = self.consensus.in_force();
            // Somebody else's turn may have removed it.
            if seen.membership.get_node(&node).is_none() {
                continue;
            }
            let promoted = self
                .consensus
                .change_membership(seen, MembershipChange::Promote(node));
            let until = Instant::now() + PROMOTION_PATIENCE;
            if let Ok(Ok(at)) = timeout_at(until, promoted).await {
                tracing::info!(member = %HexId(node), %at, "an added member has caught up and votes");
            }
        }
    }

    /// An added voter that is there, is the one that claimed the id, and has caught up.
    fn ready_to_vote(&self, status: &Status) -> Option<NodeId> {
        let last = status.last_log_index.unwrap_or(0);
        let roster = self.consensus.store().load().roster();
        let is_ready = |node: NodeId| {
            let matched = status.matched.get(&node).copied().flatten();
            let lacks = matched.map(|at| last.saturating_sub(at.index));
            roster.claim(node).is_some()
                && self.consensus.contacts().connected_for(node).is_some()
                && lacks.is_some_and(|entries| entries <= CAUGHT_UP_ENTRIES)
        };
        let mut waiting = status
            .membership
            .nodes()
            .filter(|(id, node)| node.votes && !status.voters.contains(id));
        waiting.find(|(id, _)| is_ready(**id)).map(|(id, _)| *id)
    }
}

/// etcd's measure: nine tenths of the leader's log.
fn is_ready(status: &Status, node: NodeId) -> bool {
    let matched = status.matched.get(&node).copied().flatten();
    let matched = matched.map_or(0, |at| u128::from(at.index));
    matched * 10 >= u128::from(status.last_log_index.unwrap_or(0)) * 9
}

/// A change in the words of Raft.
fn in_raft(change: &Reconfiguration, now: &crate::raft::Membership) -> MembershipChange {
    match change {
        Reconfiguration::Add {
            id,
            peer_urls,
            is_learner,
        } => {
            let member = MemberNode {
                name: String::new(),
                peer_urls: peer_urls.clone(),
                votes: !is_learner,
            };
            MembershipChange::Add(*id, member)
        }
        Reconfiguration::Remove { id } => MembershipChange::Remove(*id),
        Reconfiguration::Update { id, peer_urls } => {
            let before = now.get_node(id).cloned().unwrap_or_default();
            let member = MemberNode {
                peer_urls: peer_urls.clone(),
                ..before
            };
            MembershipChange::Update(*id, member)
        }
        Reconfiguration::Promote { id } => MembershipChange::Promote(*id),
    }
}

impl Desk for Reconfigurer {
    fn change_members(
        &self,
        request: peer::ChangeMembersRequest,
    ) -> BoxFuture<'_, peer::ChangeMembersResponse> {
        Box::pin(async move {
            let patience = Duration::from_millis(request.timeout_ms.into());
            let attempt = match from_wire(request.change) {
                Some(change) => {
                    let deadline = Instant::now() + patience;
                    self.carry_out(change, request.vetted, deadline).await
                }
                None => Attempt::NotTaken,
            };
            peer::ChangeMembersResponse {
                answer: Some(to_wire(attempt)),
            }
        })
    }
}

fn from_wire(change: Option<WireChange>) -> Option<Reconfiguration> {
    Some(match change? {
        WireChange::Add(add) => Reconfiguration::Add {
            id: add.id,
            peer_urls: add.peer_urls,
            is_learner: add.is_learner,
        },
        WireChange::Remove(id) => Reconfiguration::Remove { id },
        WireChange::Update(update) => Reconfiguration::Update {
            id: update.id,
            peer_urls: update.peer_urls,
        },
        WireChange::Promote(id) => Reconfiguration::Promote { id },
    })
}

pub(super) fn change_to_wire(change: Reconfiguration) -> WireChange {
    match change {
        Reconfiguration::Add {
            id,
            peer_urls,
            is_learner,
        } => WireChange::Add(peer::AddMember {
            id,
            peer_urls,
            is_learner,
        }),
        Reconfiguration::Remove { id } => WireChange::Remove(id),
        Reconfiguration::Update { id, peer_urls } => {
            WireChange::Update(peer::UpdateMember { id, peer_urls })
        }
        Reconfiguration::Promote { id } => WireChange::Promote(id),
    }
}

fn to_wire(attempt: Attempt) -> Answer {
    match attempt {
        Attempt::Changed(members, at) => Answer::Changed(peer::MembersChanged {
            members: members.into_iter().map(Into::into).collect(),
            at: Some(peer::Position {
                term: at.term,
                index: at.index,
            }),
        }),
        Attempt::Refused(refused) => {
            let reason = match refused {
                Refused::NotFound => Reason::NotFound,
                Refused::IdExists => Reason::IdExists,
                Refused::PeerUrlExists => Reason::PeerUrlExists,
                Refused::TooManyLearners => Reason::TooManyLearners,
                Refused::NotLearner => Reason::NotLearner,
                Refused::LearnerNotReady => Reason::LearnerNotReady,
                Refused::NotEnoughStarted => Reason::NotEnoughStarted,
                Refused::Unhealthy => Reason::Unhealthy,
            };
            Answer::Refused(peer::ChangeRefused {
                reason: reason.into(),
            })
        }
        Attempt::NotTaken => Answer::NotTaken(peer::NotTaken { handed_over: false }),
        Attempt::HandedOver => Answer::NotTaken(peer::NotTaken { handed_over: true }),
        Attempt::Unknown => Answer::Unknown(peer::Unknown {
            reason: "the change's fate is not known here".to_owned(),
        }),
    }
}

/// What the leader answered; an answer that makes no sense leaves the outcome unknown.
pub(super) fn attempt_from_wire(answer: Option<Answer>) -> Attempt {
    match answer {
        Some(Answer::Changed(changed)) => match changed.at {
            Some(at) => Attempt::Changed(
                changed.members.into_iter().map(Into::into).collect(),
                Position {
                    term: at.term,
                    index: at.index,
                },
            ),
            None => Attempt::Unknown,
        },
        Some(Answer::Refused(refused)) => match refused.reason() {
            Reason::UnknownReason => Attempt::Unknown,
            Reason::NotFound => Attempt::Refused(Refused::NotFound),
            Reason::IdExists => Attempt::Refused(Refused::IdExists),
            Reason::PeerUrlExists => Attempt::Refused(Refused::PeerUrlExists),
            Reason::TooManyLearners => Attempt::Refused(Refused::TooManyLearners),
            Reason::NotLearner => Attempt::Refused(Refused::NotLearner),
            Reason::LearnerNotReady => Attempt::Refused(Refused::LearnerNotReady),
            Reason::NotEnoughStarted => Attempt::Refused(Refused::NotEnoughStarted),
            Reason::Unhealthy => Attempt::Refused(Refused::Unhealthy),
        },
        Some(Answer::NotTaken(not_taken)) if not_taken.handed_over => Attempt::HandedOver,
        Some(Answer::NotTaken(_)) => Attempt::NotTaken,
        Some(Answer::Unknown(_)) | None => Attempt::Unknown,
    }
}
