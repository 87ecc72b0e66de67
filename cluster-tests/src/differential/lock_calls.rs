//! Calls of the lock and the election service. One that would wait is not sent, but for
//! [`LockCall::Contended`], which waits for a lock that is then let go.

use super::answer::Answer;
use super::revisions::Translate;
use crate::door::Door;
use anyhow::{Context, Result};
use bytes::Bytes;
use quorate::proto::etcdserverpb::RangeRequest;
use quorate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate::proto::mvccpb::KeyValue;
use quorate::proto::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
};
use quorate::proto::v3lockpb::{LockRequest, UnlockRequest};
use tonic::Response;

/// See the module's text.
#[derive(Clone, Debug, PartialEq)]
pub enum LockCall {
    Lock {
        name: String,
        lease: i64,
    },
    Unlock {
        key: Bytes,
    },
    /// `holder` takes the lock, `waiter` waits for it and gets it; then nobody holds it.
    Contended {
        name: String,
        holder: i64,
        waiter: i64,
    },
    Campaign {
        name: String,
        lease: i64,
        value: Bytes,
    },
    Proclaim {
        leader: Option<LeaderKey>,
        value: Bytes,
    },
    Leader {
        name: String,
    },
    Resign {
        leader: Option<LeaderKey>,
    },
}

/// The key under which a lease waits for a lock or an election, and holds it.
pub fn key(name: &str, lease: i64) -> Bytes {
    // As Go prints a negative number in hexadecimal.
    let sign = if lease < 0 { "-" } else { "" };
    format!("{name}/{sign}{:x}", lease.unsigned_abs()).into()
}

impl LockCall {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Lock { .. } => "lock",
            Self::Unlock { .. } => "unlock",
            Self::Contended { .. } => "contended lock",
            Self::Campaign { .. } => "campaign",
            Self::Proclaim { .. } => "proclaim",
            Self::Leader { .. } => "leader",
            Self::Resign { .. } => "resign",
        }
    }

    /// Whether somebody holds what this call asks for.
    ///
    /// # Errors
    /// The member does not answer.
    pub async fn would_wait(&self, door: &mut Door) -> Result<bool> {
        let (name, lease) = match self {
            Self::Lock { name, lease } | Self::Campaign { name, lease, .. } => (name, *lease),
            Self::Contended { name, holder, .. } => (name, *holder),
            _ => return Ok(false),
        };
        let first = first_under(door, name).await?;
        Ok(first.is_some_and(|first| first.key != key(name, lease)))
    }

    pub(super) async fn send(self, door: &mut Door) -> Answer {
        match self {
            Self::Lock { name, lease } => lock(door, name, lease).await,
            Self::Unlock { key } => unlock(door, key).await,
            Self::Contended {
                name,
                holder,
                waiter,
            } => contended(door, name, holder, waiter).await,
            Self::Campaign { name, lease, value } => {
                let request = CampaignRequest {
                    name: name.into(),
                    lease,
                    value,
                };
                let answer = door.election.campaign(request).await;
                Answer::said(answer.map(Response::into_inner), |answer| {
                    answer.header.as_mut()
                })
            }
            Self::Proclaim { leader, value } => {
                let request = ProclaimRequest { leader, value };
                let answer = door.election.proclaim(request).await;
                Answer::said(answer.map(Response::into_inner), |answer| {
                    answer.header.as_mut()
                })
            }
            Self::Leader { name } => {
                let request = LeaderRequest { name: name.into() };
                let answer = door.election.leader(request).await;
                Answer::said(answer.map(Response::into_inner), |answer| {
                    answer.header.as_mut()
                })
            }
            Self::Resign { leader } => {
                let answer = door.election.resign(ResignRequest { leader }).await;
                Answer::said(answer.map(Response::into_inner), |answer| {
                    answer.header.as_mut()
                })
            }
        }
    }
}

impl Translate for LockCall {
    fn revisions(&mut self, of: &mut dyn FnMut(&mut i64)) {
        if let Self::Proclaim {
            leader: Some(leader),
            ..
        }
        | Self::Resign {
            leader: Some(leader),
        } = self
        {
            of(&mut leader.rev);
        }
    }
}

async fn first_under(door: &mut Door, name: &str) -> Result<Option<KeyValue>> {
    let mut request = RangeRequest {
        key: format!("{name}/").into(),
        range_end: format!("{name}0").into(),
        limit: 1,
        ..Default::default()
    };
    request.set_sort_order(SortOrder::Ascend);
    request.set_sort_target(SortTarget::Create);
    let answer = door.kv.range(request).await.context("who holds the lock")?;
    Ok(answer.into_inner().kvs.into_iter().next())
}

async fn lock(door: &mut Door, name: String, lease: i64) -> Answer {
    let request = LockRequest {
        name: name.into(),
        lease,
    };
    let answer = door.lock.lock(request).await;
    Answer::said(answer.map(Response::into_inner), |answer| {
        answer.header.as_mut()
    })
}

async fn unlock(door: &mut Door, key: Bytes) -> Answer {
    let answer = door.lock.unlock(UnlockRequest { key }).await;
    Answer::said(answer.map(Response::into_inner), |answer| {
        answer.header.as_mut()
    })
}

async fn contended(door: &mut Door, name: String, holder: i64, waiter: i64) -> Answer {
    let held = lock(door, name.clone(), holder).await;
    if held.is_error() {
        return held;
    }
    let mut second = door.clone();
    let waits = tokio::spawn({
        let name = name.clone();
        async move { lock(&mut second, name, waiter).await }
    });
    // In the queue, or refused.
    while !waits.is_finished() {
        match door.get(key(&name, waiter)).await {
            Ok((_, Some(_))) => break,
            Ok((_, None)) => {}
            Err(status) => return Answer::refused(&status),
        }
    }
    let released = unlock(door, key(&name, holder)).await;
    let got = match waits.await {
        Ok(got) => got,
        Err(error) => return Answer::Error(tonic::Code::Internal, error.to_string()),
    };
    let end = unlock(door, key(&name, waiter)).await;
    let revision = end.revision();
    let text = format!("{held:?}\n{released:?}\n{got:?}\n{end:?}");
    Answer::Said { revision, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_lock_is_gos() {
        assert_eq!(key("l", 0x1f), "l/1f");
        assert_eq!(key("l", -2), "l/-2");
    }
}
