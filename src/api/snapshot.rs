//! `Maintenance.Snapshot`: a backup of this member's state, streamed. It is as old as the call, and
//! goes on as fast as the client reads; a learner gives one too.

use super::dispatch::Call;
use super::status as refusals;
use super::stream::{Messages, Replies};
use crate::config::ETCD_STORAGE_VERSION;
use crate::node::BackupFailure;
use crate::proto::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;

/// A client that takes nothing for so long gets no more: the backup keeps disk space.
const STALLED_MAX: Duration = Duration::from_secs(300);

pub(super) async fn snapshot(
    call: Call,
    mut messages: Messages,
    replies: Replies,
) -> Result<(), Status> {
    if messages.next::<SnapshotRequest>().await?.is_none() {
        return Err(Status::internal("protocol error: no request message"));
    }
    let failed = |failure| match failure {
        BackupFailure::Refused(error) => refusals::failed(error, call.deadline),
        BackupFailure::Disk(_) => Status::internal(format!("quorate: {failure}")),
    };
    let mut backup = call.node().backup().await.map_err(failed)?;
    loop {
        let piece = backup.next_piece().await;
        let piece = piece.map_err(|error| failed(BackupFailure::Disk(error)))?;
        let Some(piece) = piece else { return Ok(()) };
        let response = SnapshotResponse {
            header: None,
            remaining_bytes: piece.remaining,
            blob: piece.bytes,
            version: ETCD_STORAGE_VERSION.to_owned(),
        };
        match timeout(STALLED_MAX, replies.send(&response)).await {
            Ok(Ok(())) => {}
            // The client is gone, and the backup with this task.
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(Status::aborted("quorate: nobody reads the backup")),
        }
    }
}
