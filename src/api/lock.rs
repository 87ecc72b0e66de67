//! `v3lockpb.Lock`: mutual exclusion for those who hold a lease. See [`super::line`].
//!
//! A lock is no more than its holder's belief: a lease may end while the holder sleeps. What must not
//! be touched by a holder of the past is guarded by the key's create revision.

use super::dispatch::Call;
use super::line::{self, Place};
use super::stream::{Messages, Replies};
use super::{header, kv, status, validate};
use crate::proto::etcdserverpb::DeleteRangeRequest;
use crate::proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use crate::state_machine::command::DeleteRange;
use crate::state_machine::{Command, Outcome};
use crate::types::KeyRange;
use bytes::Bytes;
use tonic::Status;

/// Waits as long as its client does: a call of one message and one answer, but with a task of its
/// own, which ends with its client.
pub(super) async fn lock(
    call: Call,
    mut messages: Messages,
    replies: Replies,
) -> Result<(), Status> {
    let request: LockRequest = line::only(&mut messages).await?;
    let lease = line::session(&call, request.lease).await?;
    let mut place = Place::take(&call, request.name, lease, Bytes::new()).await?;
    let mut revision = place.taken_at;
    if place.wait(&call).await? {
        let (seen_at, is_there) = place.is_there(&call).await?;
        if !is_there {
            return Err(Status::unknown("mutex: session is expired"));
        }
        revision = seen_at;
    }
    let answer = LockResponse {
        header: Some(header::at(call.node(), revision)),
        key: place.key.clone(),
    };
    if replies.send(&answer).await.is_ok() {
        place.keep();
    }
    Ok(())
}

/// Deletes the key, whoever put it; none is as well.
pub(super) async fn unlock(call: Call, request: UnlockRequest) -> Result<UnlockResponse, Status> {
    let delete = DeleteRangeRequest {
        key: request.key.clone(),
        ..DeleteRangeRequest::default()
    };
    validate::delete_range(&delete)
        .map_err(|invalid| line::passed_on(&status::invalid(invalid)))?;
    let command = Command::DeleteRange(DeleteRange {
        range: KeyRange::single(request.key),
        prev_kv: false,
    });
    match line::carry_out(&call, command).await? {
        (revision, Outcome::DeleteRange { .. }) => Ok(UnlockResponse {
            header: Some(header::at(call.node(), revision)),
        }),
        (_, other) => Err(kv::wrong_outcome(&other)),
    }
}
