//! Calls of the lease service. Clocks are not compared: a lease of a run lives longer than the run,
//! and one that would not is revoked at once.

use super::answer::{Answer, mask};
use crate::door::Door;
use futures_util::stream;
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
};
use tonic::Status;

/// How long a lease may have been running already, when its rest is asked for.
const RUN_SECONDS_MAX: i64 = 1_800;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseCall {
    /// With an id that the client chose, and a long time to live.
    Grant {
        id: i64,
        ttl: i64,
    },
    /// With any time to live, and id 0 too. What was granted is revoked at once.
    GrantAndRevoke {
        id: i64,
        ttl: i64,
    },
    Revoke {
        id: i64,
    },
    /// One stream with a request for each.
    KeepAlive {
        ids: Vec<i64>,
    },
    TimeToLive {
        id: i64,
        keys: bool,
    },
    Leases,
}

impl LeaseCall {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Grant { .. } => "lease grant",
            Self::GrantAndRevoke { .. } => "lease grant and revoke",
            Self::Revoke { .. } => "lease revoke",
            Self::KeepAlive { .. } => "lease keep-alive",
            Self::TimeToLive { .. } => "lease time-to-live",
            Self::Leases => "lease leases",
        }
    }

    /// The list is the asked member's own, and so is the revision with which a renewal is answered.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Leases | Self::KeepAlive { .. })
    }

    pub(super) fn is_logged(&self) -> bool {
        matches!(
            self,
            Self::Grant { .. } | Self::GrantAndRevoke { .. } | Self::Revoke { .. }
        )
    }

    pub(super) async fn send(self, door: &mut Door) -> Answer {
        match self {
            Self::Grant { id, ttl } => grant(door, id, ttl).await,
            Self::GrantAndRevoke { id, ttl } => grant_and_revoke(door, id, ttl).await,
            Self::Revoke { id } => revoke(door, id).await,
            Self::KeepAlive { ids } => match keep_alive(door, ids).await {
                Ok(text) => Answer::Said {
                    revision: None,
                    text,
                },
                Err(status) => Answer::refused(&status),
            },
            Self::TimeToLive { id, keys } => time_to_live(door, id, keys).await,
            Self::Leases => leases(door).await,
        }
    }
}

async fn grant(door: &mut Door, id: i64, ttl: i64) -> Answer {
    let answer = door.lease.lease_grant(LeaseGrantRequest { ttl, id }).await;
    Answer::said(answer.map(tonic::Response::into_inner), |answer| {
        answer.header.as_mut()
    })
}

async fn revoke(door: &mut Door, id: i64) -> Answer {
    let answer = door.lease.lease_revoke(LeaseRevokeRequest { id }).await;
    Answer::said(answer.map(tonic::Response::into_inner), |answer| {
        answer.header.as_mut()
    })
}

async fn grant_and_revoke(door: &mut Door, id: i64, ttl: i64) -> Answer {
    let granted = door.lease.lease_grant(LeaseGrantRequest { ttl, id }).await;
    let mut granted = match granted {
        Ok(granted) => granted.into_inner(),
        Err(status) => return Answer::refused(&status),
    };
    let revoked = revoke(door, granted.id).await;
    if id == 0 {
        granted.id = granted.id.signum();
    }
    let revision = revoked.revision();
    mask(granted.header.as_mut());
    let text = format!("{granted:?}, {revoked:?}");
    Answer::Said { revision, text }
}

async fn keep_alive(door: &mut Door, ids: Vec<i64>) -> Result<String, Status> {
    let requests = ids.into_iter().map(|id| LeaseKeepAliveRequest { id });
    let answers = door.lease.lease_keep_alive(stream::iter(requests)).await;
    let mut answers = answers?.into_inner();
    let mut text = String::new();
    while let Some(mut answer) = answers.message().await? {
        mask(answer.header.as_mut());
        text.push_str(&format!("{answer:?}\n"));
    }
    Ok(text)
}

async fn time_to_live(door: &mut Door, id: i64, keys: bool) -> Answer {
    let request = LeaseTimeToLiveRequest { id, keys };
    let answer = door.lease.lease_time_to_live(request).await;
    let answer = answer.map(|answer| {
        let mut answer = answer.into_inner();
        let running = answer.granted_ttl - answer.ttl;
        if answer.granted_ttl > 0 && (0..RUN_SECONDS_MAX).contains(&running) {
            answer.ttl = answer.granted_ttl;
        }
        // etcd keeps them in a map.
        answer.keys.sort();
        answer
    });
    Answer::said(answer, |answer| answer.header.as_mut())
}

async fn leases(door: &mut Door) -> Answer {
    let answer = door.lease.lease_leases(LeaseLeasesRequest {}).await;
    let answer = answer.map(|answer| {
        let mut answer = answer.into_inner();
        // In the order of expiry, which only a leader knows.
        answer.leases.sort_by_key(|lease| lease.id);
        answer
    });
    Answer::said(answer, |answer| answer.header.as_mut())
}
