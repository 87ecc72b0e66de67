//! A backup of this member's state, streamed: one checkpoint, read piece by piece.

use super::{Node, NodeError};
use crate::backup::write::{BackupWriter, Piece};
use crate::backup::{FileEntry, Manifest};
use crate::raft::{Pace, StateCopy};
use std::io;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

/// Backups under way at most: each keeps the files of its moment on disk.
pub(super) const BACKUPS_MAX: usize = 4;
/// What one reads at most: nobody waits for it, and the disk is the clients'.
const BYTES_PER_SECOND: u64 = 256 << 20;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupFailure {
    /// `TooManyRequests` if too many are under way.
    #[error(transparent)]
    Refused(#[from] NodeError),
    #[error("backup: {0}")]
    Disk(#[from] io::Error),
}

/// A backup under way. Dropping it gives up, and gives back the disk space.
pub struct Backup {
    /// Elsewhere while a piece is being read.
    writer: Option<BackupWriter>,
    pace: Pace,
    copy: StateCopy,
    _under_way: OwnedSemaphorePermit,
}

impl Node {
    /// Begins a backup of the state as it is now.
    pub async fn backup(&self) -> Result<Backup, BackupFailure> {
        self.recovered().await?;
        let under_way = self.inner.backups.clone().try_acquire_owned();
        let under_way = under_way.map_err(|_| {
            self.inner.meters.turned_away.increment();
            NodeError::TooManyRequests
        })?;
        let store = self.inner.consensus.store().clone();
        let copy = self.inner.snapshots.copy(store).await?;
        let files = copy.files().iter().map(|file| FileEntry {
            name: file.name.clone(),
            bytes: file.bytes,
        });
        let identity = self.identity();
        let manifest = Manifest::new(
            identity.cluster_id,
            identity.member_id,
            &copy.head,
            files.collect(),
        );
        let writer = BackupWriter::new(copy.disk().clone(), copy.data_dir(), &manifest);
        let writer = writer?;
        tracing::info!(
            revision = manifest.revision,
            bytes = writer.remaining(),
            "sending database snapshot to client"
        );
        Ok(Backup {
            writer: Some(writer),
            pace: Pace::new(BYTES_PER_SECOND, Instant::now()),
            copy,
            _under_way: under_way,
        })
    }
}

impl Backup {
    /// The next piece; `None` at the end, and after an error or a call that was dropped.
    pub async fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let Some(mut writer) = self.writer.take() else {
            return Ok(None);
        };
        let read = move || {
            let piece = writer.next_piece();
            (writer, piece)
        };
        let (writer, piece) = self.copy.worker().run(read).await?;
        let Some(piece) = piece? else {
            tracing::info!("sent database snapshot to client");
            return Ok(None);
        };
        self.writer = Some(writer);
        let due = self.pace.sent(piece.bytes.len() as u64, Instant::now());
        sleep_until(due).await;
        Ok(Some(piece))
    }
}
