//! `elect`: stands for an election and stays elected until a signal, or while a command runs; with
//! `-l` tells who is.
//!
//! The command, which comes after `--`, is told its key and that key's create revision as `lock`
//! tells them: a later leader's is greater.

use super::lock::{SESSION_TTL_SECONDS, of_key, run_held};
use super::options::Elect;
use super::print::Answer;
use super::run::{Done, Failure, Session};
use super::signal::Signals;
use crate::client::{self, Place, Watch, by_age, prefix_end};
use crate::proto::etcdserverpb::range_request::SortOrder;
use crate::proto::etcdserverpb::{
    RangeResponse, ResponseHeader, WatchCreateRequest, WatchResponse,
};
use crate::proto::mvccpb::KeyValue;
use crate::proto::mvccpb::event::EventType;
use bytes::Bytes;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

pub(super) async fn run(session: &Session, options: Elect) -> Result<Done, Failure> {
    let Elect {
        mut arguments,
        mut command,
        listen,
    } = options;
    // Without the two words before it, what follows `--` is words like others.
    if arguments.len() < 2 {
        arguments.append(&mut command);
    }
    let (name, proposal) = match arguments.as_slice() {
        [name] => (name, None),
        [name, proposal] => (name, Some(proposal)),
        _ => {
            return Err(Failure::bad_arguments(
                "elect takes one election name argument and an optional proposal argument",
            ));
        }
    };
    let must_print = || session.must_print(&Answer::Range(RangeResponse::default(), false));
    match (proposal, listen) {
        (None, false) => Err(Failure::bad_arguments(
            "no proposal argument but -l not set",
        )),
        (Some(_), true) => Err(Failure::bad_arguments("proposal given but -l is set")),
        (None, true) => {
            must_print()?;
            listen_to(session, name).await
        }
        (Some(proposal), false) => {
            if command.is_empty() {
                must_print()?;
            }
            stand(session, name, proposal, &command).await
        }
    }
}

async fn stand(
    session: &Session,
    name: &OsStr,
    proposal: &OsStr,
    command: &[OsString],
) -> Result<Done, Failure> {
    let mut signals = Signals::listen()?;
    let mut lease = client::Session::begin(&session.client, SESSION_TTL_SECONDS).await?;
    let led = lead(session, &mut lease, &mut signals, (name, proposal), command).await;
    // A lease that cannot be given back ends by itself.
    lease.end().await.unwrap_or_default();
    led.map(|()| Done::default())
}

async fn lead(
    session: &Session,
    lease: &mut client::Session<'_>,
    signals: &mut Signals,
    (name, proposal): (&OsStr, &OsStr),
    command: &[OsString],
) -> Result<(), Failure> {
    let expired = || Failure::error("elect: session expired");
    let proposal = Bytes::copy_from_slice(proposal.as_bytes());
    let mut place = Place::join(lease, name.as_bytes(), proposal).await?;
    tokio::select! {
        turn = place.wait_turn() => turn?,
        () = signals.next() => return Err(Failure::error("context canceled")),
        () = lease.expired() => return Err(expired()),
    }
    if command.is_empty() {
        let response = session.client.range(of_key(&place)).await?;
        session.show(&Answer::Range(response, false))?;
        tokio::select! {
            () = signals.next() => place.leave().await?,
            () = lease.expired() => return Err(expired()),
        }
        return Ok(());
    }
    let variables = [
        ("ETCD_ELECTION_KEY", OsString::from_vec(place.key.to_vec())),
        (
            "ETCD_ELECTION_REV",
            OsString::from(place.create_revision.to_string()),
        ),
    ];
    let ended = run_held(lease, command, &variables).await;
    let left = place.leave().await;
    ended?;
    left?;
    Ok(())
}

async fn listen_to(session: &Session, name: &OsStr) -> Result<Done, Failure> {
    let mut signals = Signals::listen()?;
    let prefix = Bytes::from([name.as_bytes(), b"/"].concat());
    tokio::select! {
        lost = observe(session, &prefix) => Err(lost),
        () = signals.next() => Ok(Done::default()),
    }
}

/// Shows each leader, and each of its proposals, until that is no longer possible.
async fn observe(session: &Session, prefix: &Bytes) -> Failure {
    loop {
        if let Err(failure) = observe_one(session, prefix).await {
            return failure;
        }
    }
}

/// From a leader, or its coming, to its end.
async fn observe_one(session: &Session, prefix: &Bytes) -> Result<(), Failure> {
    let lost = || Failure::error("elect: observer lost");
    let oldest = by_age(prefix, SortOrder::Ascend);
    let found = session.client.range(oldest).await.map_err(|_| lost())?;
    let revision = found.header.map_or(0, |header| header.revision);
    let (header, leader, next) = match found.kvs.first() {
        Some(leader) => (found.header, leader.clone(), revision + 1),
        None => {
            let first = first_put(session, prefix, revision + 1).await;
            let (header, leader) = first.ok_or_else(lost)?;
            let header = ResponseHeader {
                revision: leader.mod_revision,
                ..header
            };
            let next = leader.mod_revision + 1;
            (Some(header), leader, next)
        }
    };
    let key = leader.key.clone();
    let shown = RangeResponse {
        header,
        kvs: vec![leader],
        ..RangeResponse::default()
    };
    session.show(&Answer::Range(shown, false))?;
    let request = WatchCreateRequest {
        key,
        start_revision: next,
        ..WatchCreateRequest::default()
    };
    let mut watch = Watch::new(&session.client, request);
    loop {
        let answer = next_answer(&mut watch).await.ok_or_else(lost)?;
        for event in answer.events {
            if event.r#type() == EventType::Delete {
                return Ok(());
            }
            // etcdctl shows the count of the read before.
            let proposal = RangeResponse {
                header: answer.header,
                kvs: event.kv.into_iter().collect(),
                ..found.clone()
            };
            session.show(&Answer::Range(proposal, false))?;
        }
    }
}

/// The first key that is put under the prefix, and the header it came with.
async fn first_put(
    session: &Session,
    prefix: &Bytes,
    start_revision: i64,
) -> Option<(ResponseHeader, KeyValue)> {
    let request = WatchCreateRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        start_revision,
        ..WatchCreateRequest::default()
    };
    let mut watch = Watch::new(&session.client, request);
    loop {
        let answer = next_answer(&mut watch).await?;
        let put = answer
            .events
            .into_iter()
            .find(|event| event.r#type() == EventType::Put);
        if let Some(kv) = put.and_then(|event| event.kv) {
            return Some((answer.header.unwrap_or_default(), kv));
        }
    }
}

/// `None`: the watch is lost.
async fn next_answer(watch: &mut Watch<'_>) -> Option<WatchResponse> {
    let answer = watch.next().await?.ok()?;
    (!answer.canceled).then_some(answer)
}
