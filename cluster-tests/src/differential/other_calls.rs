//! Calls of the cluster and the maintenance service, as far as two clusters of different members
//! can answer alike. What changes a cluster has stories of its own.

use super::answer::Answer;
use super::call::Own;
use crate::door::Door;
use quorate::proto::etcdserverpb::{
    AlarmRequest, DefragmentRequest, HashRequest, MemberAddRequest, MemberListRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, StatusRequest,
};
use tonic::{Response, Status};

/// A member that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The member that is asked.
    Own,
    /// Nobody.
    Stranger(u64),
}

impl Named {
    fn id(self, own: Own) -> u64 {
        match self {
            Self::Own => own.member_id,
            Self::Stranger(id) => id,
        }
    }
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq)]
pub enum OtherCall {
    MemberList {
        linearizable: bool,
    },
    /// With URLs that are none.
    MemberAdd {
        urls: Vec<String>,
        is_learner: bool,
    },
    MemberRemove {
        id: u64,
    },
    MemberUpdate {
        id: u64,
        urls: Vec<String>,
    },
    Alarm(AlarmRequest),
    Status,
    Defragment,
    Hash,
    /// To itself, or to nobody.
    MoveLeader {
        target: Named,
    },
}

impl OtherCall {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MemberList { .. } => "member list",
            Self::MemberAdd { .. } => "member add",
            Self::MemberRemove { .. } => "member remove",
            Self::MemberUpdate { .. } => "member update",
            Self::Alarm(_) => "alarm",
            Self::Status => "status",
            Self::Defragment => "defragment",
            Self::Hash => "hash",
            Self::MoveLeader { .. } => "move leader",
        }
    }

    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::MemberList { linearizable } => !linearizable,
            // Alarms are read from the asked member's own state.
            Self::Alarm(alarm) => alarm.action == 0,
            Self::Status | Self::Defragment | Self::Hash => true,
            Self::MemberAdd { .. }
            | Self::MemberRemove { .. }
            | Self::MemberUpdate { .. }
            | Self::MoveLeader { .. } => false,
        }
    }

    pub(super) fn is_logged(&self) -> bool {
        matches!(self, Self::Alarm(alarm) if alarm.action != 0)
    }

    pub(super) fn is_leaders(&self) -> bool {
        matches!(self, Self::MoveLeader { .. })
    }

    pub(super) async fn send(self, door: &mut Door, own: Own) -> Answer {
        match self {
            Self::MemberList { linearizable } => member_list(door, linearizable).await,
            Self::MemberAdd { urls, is_learner } => {
                let request = MemberAddRequest {
                    peer_ur_ls: urls,
                    is_learner,
                };
                let answer = door.cluster.member_add(request).await;
                Answer::said(inner(answer), |answer| answer.header.as_mut())
            }
            Self::MemberRemove { id } => {
                let answer = door.cluster.member_remove(MemberRemoveRequest { id }).await;
                Answer::said(inner(answer), |answer| answer.header.as_mut())
            }
            Self::MemberUpdate { id, urls } => {
                let request = MemberUpdateRequest {
                    id,
                    peer_ur_ls: urls,
                };
                let answer = door.cluster.member_update(request).await;
                Answer::said(inner(answer), |answer| answer.header.as_mut())
            }
            Self::Alarm(request) => alarm(door, request).await,
            Self::Status => status(door).await,
            Self::Defragment => {
                let answer = door.maintenance.defragment(DefragmentRequest {}).await;
                Answer::said(inner(answer), |answer| answer.header.as_mut())
            }
            Self::Hash => {
                let answer = door.maintenance.hash(HashRequest {}).await;
                let answer = inner(answer).map(|mut answer| {
                    answer.hash = u32::from(answer.hash != 0);
                    answer
                });
                Answer::said(answer, |answer| answer.header.as_mut())
            }
            Self::MoveLeader { target } => {
                let target_id = target.id(own);
                let request = MoveLeaderRequest { target_id };
                let answer = door.maintenance.move_leader(request).await;
                Answer::said(inner(answer), |answer| answer.header.as_mut())
            }
        }
    }
}

fn inner<T>(answer: Result<Response<T>, Status>) -> Result<T, Status> {
    answer.map(Response::into_inner)
}

/// The members' shapes, each once: names, numbers and addresses are every cluster's own.
async fn member_list(door: &mut Door, linearizable: bool) -> Answer {
    let answer = door
        .cluster
        .member_list(MemberListRequest { linearizable })
        .await;
    let answer = inner(answer).map(|mut answer| {
        for member in &mut answer.members {
            member.id = u64::from(member.id != 0);
            member.name = if member.name.is_empty() { "" } else { "named" }.to_owned();
            for url in member.peer_ur_ls.iter_mut().chain(&mut member.client_ur_ls) {
                *url = url.split("//").next().unwrap_or_default().to_owned();
            }
        }
        answer.members.dedup();
        answer
    });
    Answer::said(answer, |answer| answer.header.as_mut())
}

async fn alarm(door: &mut Door, request: AlarmRequest) -> Answer {
    let answer = door.maintenance.alarm(request).await;
    let answer = inner(answer).map(|mut answer| {
        // etcd keeps them in a map. Until 3.5 there was no header.
        answer
            .alarms
            .sort_by_key(|alarm| (alarm.member_id, alarm.alarm));
        answer.header = None;
        answer
    });
    Answer::said(answer, |answer| answer.header.as_mut())
}

/// What it says of alarms and roles; sizes, versions and indexes are every cluster's own.
async fn status(door: &mut Door) -> Answer {
    let answer = door.maintenance.status(StatusRequest {}).await;
    match inner(answer) {
        Ok(mut answer) => {
            answer.errors.sort();
            let revision = answer.header.as_ref().map(|header| header.revision);
            let text = format!(
                "header {}, leader {}, learner {}, applied {}, sizes {}, errors {:?}",
                answer.header.is_some(),
                answer.leader != 0,
                answer.is_learner,
                answer.raft_applied_index > 0 && answer.raft_applied_index <= answer.raft_index,
                // An empty store of ours is empty.
                answer.db_size >= answer.db_size_in_use
                    && (answer.db_size_in_use > 0 || revision == Some(1)),
                answer.errors
            );
            Answer::Said { revision, text }
        }
        Err(status) => Answer::refused(&status),
    }
}
