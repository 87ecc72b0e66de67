//! Which changes of the membership are allowed: etcd's rules, in etcd's order.
//!
//! First what `--strict-reconfig-check` asks (a change must not cost the quorum), then whether the
//! change makes sense at all. A member counts as *started* once it has published its name, and as
//! *connected* as long as it has been answering the leader ([`crate::raft::Contacts`]).

use crate::raft::Member;
use crate::types::NodeId;
use std::time::Duration;

/// A member must have been connected for so long to count as healthy.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// A change that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconfiguration {
    /// The id is new; the URLs are checked.
    Add {
        id: NodeId,
        peer_urls: Vec<String>,
        is_learner: bool,
    },
    Remove {
        id: NodeId,
    },
    Update {
        id: NodeId,
        peer_urls: Vec<String>,
    },
    Promote {
        id: NodeId,
    },
}

/// Why a change is refused; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("member not found")]
    NotFound,
    #[error("member ID already exist")]
    IdExists,
    #[error("Peer URLs already exists")]
    PeerUrlExists,
    #[error("too many learner members in cluster")]
    TooManyLearners,
    #[error("can only promote a learner member")]
    NotLearner,
    #[error("can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    #[error("re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    #[error("unhealthy cluster")]
    Unhealthy,
}

/// What an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `--strict-reconfig-check`
    pub is_strict: bool,
    /// `--max-learners`
    pub learners_max: usize,
}

/// The cluster as its leader sees it.
pub(super) struct Situation<'a> {
    pub members: &'a [Member],
    /// The leader itself.
    pub me: NodeId,
    /// How long a member has been answering; `None` if it does not.
    pub connected_for: &'a dyn Fn(NodeId) -> Option<Duration>,
    /// Whether a learner's log agrees with nine tenths of the leader's.
    pub is_ready: &'a dyn Fn(NodeId) -> bool,
}

impl Rules {
    /// `vetted`: a former leader, which knew who is connected, has checked that already.
    pub(super) fn check(
        self,
        change: &Reconfiguration,
        now: &Situation<'_>,
        vetted: bool,
    ) -> Result<(), Refused> {
        match change {
            Reconfiguration::Add {
                id,
                peer_urls,
                is_learner,
            } => {
                if self.is_strict {
                    now.may_add(*is_learner)?;
                }
                if now.member(*id).is_some() {
                    return Err(Refused::IdExists);
                }
                now.urls_are_free(*id, peer_urls)?;
                let learners = now.members.iter().filter(|member| member.is_learner);
                if *is_learner && learners.count() >= self.learners_max {
                    return Err(Refused::TooManyLearners);
                }
                Ok(())
            }
            Reconfiguration::Remove { id } => {
                if self.is_strict {
                    now.may_remove(*id, vetted)?;
                }
                let member = now.member(*id).ok_or(Refused::NotFound)?;
                // Nobody would be left to vote, whatever the flags say.
                if !member.is_learner && now.voters().count() == 1 {
                    return Err(Refused::NotEnoughStarted);
                }
                Ok(())
            }
            Reconfiguration::Update { id, peer_urls } => {
                now.member(*id).ok_or(Refused::NotFound)?;
                now.urls_are_free(*id, peer_urls)
            }
            Reconfiguration::Promote { id } => {
                let member = now.member(*id).ok_or(Refused::NotFound)?;
                if !member.is_learner {
                    return Err(Refused::NotLearner);
                }
                if !(now.is_ready)(*id) {
                    return Err(Refused::LearnerNotReady);
                }
                // The learner counts as started.
                let voters = now.voters().count() + 1;
                if self.is_strict && now.started() + 1 < quorum(voters) {
                    return Err(Refused::NotEnoughStarted);
                }
                Ok(())
            }
        }
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

impl Situation<'_> {
    fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_learner)
    }

    /// Voters that have started.
    fn started(&self) -> usize {
        let started = self.voters().filter(|member| !member.name.is_empty());
        started.count()
    }

    /// Voters that have been connected long enough, this leader among them.
    fn healthy(&self) -> usize {
        let is_healthy = |member: &&Member| {
            let connected = (self.connected_for)(member.id);
            member.id == self.me || connected.is_some_and(|since| since >= HEALTHY_AFTER)
        };
        self.voters().filter(is_healthy).count()
    }

    fn may_add(&self, is_learner: bool) -> Result<(), Refused> {
        let voters = self.voters().count();
        // One member may always grow to two: so a cluster is restored.
        if voters == 1 && self.started() == 1 {
            return Ok(());
        }
        if !is_learner && self.started() < quorum(voters + 1) {
            return Err(Refused::NotEnoughStarted);
        }
        if self.healthy() < quorum(voters + 1) {
            return Err(Refused::Unhealthy);
        }
        Ok(())
    }

    fn may_remove(&self, id: NodeId, vetted: bool) -> Result<(), Refused> {
        let leaver = self.member(id);
        if leaver.is_some_and(|member| member.is_learner) {
            return Ok(());
        }
        let stay = || self.voters().filter(|member| member.id != id);
        let started = stay().filter(|member| !member.name.is_empty()).count();
        if started < quorum(stay().count()) {
            return Err(Refused::NotEnoughStarted);
        }
        let is_down = id != self.me && (self.connected_for)(id).is_none();
        if vetted || is_down || leaver.is_none() {
            return Ok(());
        }
        let others = self.voters().count().saturating_sub(1);
        if self.healthy() < 2 + others / 2 {
            return Err(Refused::Unhealthy);
        }
        Ok(())
    }

    fn urls_are_free(&self, id: NodeId, peer_urls: &[String]) -> Result<(), Refused> {
        let mut others = self.members.iter().filter(|member| member.id != id);
        let taken = others.any(|other| other.peer_urls.iter().any(|url| peer_urls.contains(url)));
        if taken {
            return Err(Refused::PeerUrlExists);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
