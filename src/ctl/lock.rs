//! `lock`: holds a lock until a signal, or while a command runs.
//!
//! The command finds the key, and the revision at which it was known to hold the lock, in its
//! environment. What it writes to may refuse a smaller revision than it has seen; or, if that is
//! the same cluster, a transaction may ask that the key was created at its revision:
//!
//! ```text
//! quorate lock jobs ./job          # and in job:
//! quorate txn <<END
//! create("$ETCD_LOCK_KEY") = "$ETCD_LOCK_CREATE_REVISION"
//!
//! put result done
//!
//!
//! END
//! ```

use super::exec;
use super::options::Lock;
use super::print::Answer;
use super::run::{Done, Failure, Session};
use super::signal::Signals;
use crate::client::{self, Place};
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse};
use bytes::Bytes;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// etcd's sessions live as long, if nothing is said.
pub(super) const SESSION_TTL_SECONDS: i64 = 60;

pub(super) async fn run(session: &Session, options: &Lock) -> Result<Done, Failure> {
    let [name, command @ ..] = options.arguments.as_slice() else {
        return Err(Failure::bad_arguments(
            "lock takes a lock name argument and an optional command to execute",
        ));
    };
    if command.is_empty() {
        session.must_print(&Answer::Range(RangeResponse::default(), false))?;
    }
    let mut signals = Signals::listen()?;
    let ttl_seconds = match options.ttl {
        ttl if ttl > 0 => ttl,
        _ => SESSION_TTL_SECONDS,
    };
    let mut lease = client::Session::begin(&session.client, ttl_seconds).await?;
    let held = hold(session, &mut lease, &mut signals, name, command).await;
    // A lease that cannot be given back ends by itself.
    lease.end().await.unwrap_or_default();
    held.map(|()| Done::default())
}

async fn hold(
    session: &Session,
    lease: &mut client::Session<'_>,
    signals: &mut Signals,
    name: &OsStr,
    command: &[OsString],
) -> Result<(), Failure> {
    let expired = || Failure::error("session expired");
    let mut place = Place::join(lease, name.as_bytes(), Bytes::new()).await?;
    tokio::select! {
        turn = place.wait_turn() => turn?,
        () = signals.next() => return Err(Failure::error("context canceled")),
        () = lease.expired() => return Err(expired()),
    }
    if command.is_empty() {
        let response = session.client.range(of_key(&place)).await?;
        if response.kvs.is_empty() {
            return Err(Failure::error("lock lost on init"));
        }
        session.show(&Answer::Range(response, false))?;
        tokio::select! {
            () = signals.next() => place.leave().await?,
            () = lease.expired() => return Err(expired()),
        }
        return Ok(());
    }
    let ended = run_held(lease, command, &variables(&place)).await;
    let left = place.leave().await;
    ended?;
    left?;
    Ok(())
}

/// A command under the lease. It runs to its end whatever happens to the lease: what it wrote under
/// its token is either refused or good.
pub(super) async fn run_held(
    lease: &mut client::Session<'_>,
    command: &[OsString],
    variables: &[(&str, OsString)],
) -> Result<(), Failure> {
    let mut running = std::pin::pin!(exec::run(command, variables));
    let mut is_expired = false;
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            () = lease.expired(), if !is_expired => is_expired = true,
        }
    };
    match ended {
        Err(ended) => Err(Failure {
            text: ended.text,
            code: ended.code,
        }),
        Ok(()) if is_expired => Err(Failure::error("session expired while the command ran")),
        Ok(()) => Ok(()),
    }
}

pub(super) fn of_key(place: &Place<'_>) -> RangeRequest {
    RangeRequest {
        key: place.key.clone(),
        ..RangeRequest::default()
    }
}

fn variables(place: &Place<'_>) -> [(&'static str, OsString); 3] {
    [
        ("ETCD_LOCK_KEY", OsString::from_vec(place.key.to_vec())),
        ("ETCD_LOCK_REV", place.held_since.to_string().into()),
        (
            "ETCD_LOCK_CREATE_REVISION",
            place.create_revision.to_string().into(),
        ),
    ]
}
