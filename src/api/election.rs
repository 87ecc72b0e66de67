//! `v3electionpb.Election`: who leads among those who stand for a name, and what it proclaims. See
//! [`super::line`].

use super::convert::key_value;
use super::dispatch::Call;
use super::line::{self, Place};
use super::stream::{Messages, Replies};
use super::{header, status};
use crate::mvcc::row::Change;
use crate::node::WatchStream;
use crate::proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use crate::types::{KeyRange, KeyValue, Revision};
use crate::watch::{Ask, Event, Interest, Notice};
use tonic::Status;

fn not_leader() -> Status {
    Status::unknown("election: not leader")
}

fn missing_leader() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

/// Waits as long as its client does.
pub(super) async fn campaign(
    call: Call,
    mut messages: Messages,
    replies: Replies,
) -> Result<(), Status> {
    let request: CampaignRequest = line::only(&mut messages).await?;
    let lease = line::session(&call, request.lease).await?;
    let (name, value) = (request.name, request.value);
    let mut place = Place::take(&call, name.clone(), lease, value.clone()).await?;
    // Whoever stands already, and now wants to be known for something else, says so at once.
    if place
        .found
        .as_ref()
        .is_some_and(|found| found.value != value)
    {
        let proclaimed = line::proclaim(&call, &place.key, place.create_revision, value, lease);
        proclaimed.await?.ok_or_else(not_leader)?;
    }
    place.wait(&call).await?;
    let answer = CampaignResponse {
        header: Some(header::at(call.node(), place.taken_at)),
        leader: Some(LeaderKey {
            name,
            key: place.key.clone(),
            rev: place.create_revision,
            lease,
        }),
    };
    if replies.send(&answer).await.is_ok() {
        place.keep();
    }
    Ok(())
}

pub(super) async fn proclaim(
    call: Call,
    request: ProclaimRequest,
) -> Result<ProclaimResponse, Status> {
    let leader = request.leader.ok_or_else(missing_leader)?;
    let lease = line::session(&call, leader.lease).await?;
    let proclaimed = line::proclaim(&call, &leader.key, leader.rev, request.value, lease).await?;
    let revision = proclaimed.ok_or_else(not_leader)?;
    Ok(ProclaimResponse {
        header: Some(header::at(call.node(), revision)),
    })
}

/// A place that is no longer there is given up already.
pub(super) async fn resign(call: Call, request: ResignRequest) -> Result<ResignResponse, Status> {
    let leader = request.leader.ok_or_else(missing_leader)?;
    let revision = line::resign(&call, &leader.key, leader.rev).await?;
    Ok(ResignResponse {
        header: Some(header::at(call.node(), revision)),
    })
}

pub(super) async fn leader(call: Call, request: LeaderRequest) -> Result<LeaderResponse, Status> {
    let (revision, first) = line::read(&call, line::first(&request.name)).await?;
    let first = first.ok_or_else(|| Status::unknown("election: no leader"))?;
    Ok(told(&call, revision, first))
}

fn told(call: &Call, revision: Revision, pair: KeyValue) -> LeaderResponse {
    LeaderResponse {
        header: Some(header::at(call.node(), revision)),
        kv: Some(key_value(pair)),
    }
}

/// The leader, then all that it proclaims, then the next leader, and so on. Says nothing while there
/// is none.
pub(super) async fn observe(
    call: Call,
    mut messages: Messages,
    replies: Replies,
) -> Result<(), Status> {
    let request: LeaderRequest = line::only(&mut messages).await?;
    loop {
        let (revision, first) = line::read(&call, line::first(&request.name)).await?;
        let first = match first {
            Some(first) => Some((revision, first)),
            None => next_put(&call, line::line(&request.name), revision + 1).await?,
        };
        let Some((revision, pair)) = first else {
            continue;
        };
        let key = KeyRange::single(pair.key.clone());
        if replies.send(&told(&call, revision, pair)).await.is_err()
            || !tell_changes(&call, &replies, key, revision + 1).await?
        {
            return Ok(());
        }
    }
}

/// The first put in a range from a revision on; `None` if that is compacted.
async fn next_put(
    call: &Call,
    range: KeyRange,
    from: Revision,
) -> Result<Option<(Revision, KeyValue)>, Status> {
    let mut stream = watch(call, range, from)?;
    loop {
        match next(call, &mut stream).await? {
            Notice::Events { events, .. } => {
                let mut puts = events.list().iter().filter_map(|event| pair(event));
                if let Some(pair) = puts.next() {
                    return Ok(Some((pair.mod_revision, pair)));
                }
            }
            Notice::Compacted { .. } => return Ok(None),
            Notice::Progress { .. } => {}
        }
    }
}

/// Tells all puts of a key until it is deleted. Whether the client is still there.
async fn tell_changes(
    call: &Call,
    replies: &Replies,
    key: KeyRange,
    from: Revision,
) -> Result<bool, Status> {
    let mut stream = watch(call, key, from)?;
    loop {
        match next(call, &mut stream).await? {
            Notice::Events { events, .. } => {
                for event in events.list() {
                    let Some(pair) = pair(event) else {
                        return Ok(true);
                    };
                    if replies
                        .send(&told(call, event.revision, pair))
                        .await
                        .is_err()
                    {
                        return Ok(false);
                    }
                }
            }
            Notice::Compacted { .. } => return Ok(true),
            Notice::Progress { .. } => {}
        }
    }
}

fn watch(call: &Call, range: KeyRange, start: Revision) -> Result<WatchStream, Status> {
    let mut stream = call.node().watch();
    let interest = Interest {
        range,
        puts: true,
        deletes: true,
    };
    let ask = Ask {
        id: 0,
        interest,
        start,
        with_previous: false,
    };
    let created = stream.create(&ask);
    created.map_err(|refused| Status::unknown(refused.to_string()))?;
    Ok(stream)
}

async fn next(call: &Call, stream: &mut WatchStream) -> Result<Notice, Status> {
    let next = stream.next().await;
    next.map_err(|error| line::passed_on(&status::failed(error, call.deadline)))
}

/// The pair that an event put; `None` of a delete.
fn pair(event: &Event) -> Option<KeyValue> {
    match &event.change {
        Change::Put {
            create,
            version,
            lease,
            value,
        } => Some(KeyValue {
            key: event.key.clone(),
            create_revision: *create,
            mod_revision: event.revision,
            version: *version,
            value: value.clone(),
            lease: *lease,
        }),
        Change::Delete => None,
    }
}
