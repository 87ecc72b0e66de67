//! The space on the disk: a member that runs out of it says so before its writes fail.

use super::{Node, NodeError};
use crate::env::{Disk, Worker};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Free bytes below which a member raises NOSPACE. What must fit into them: the log, which takes
/// deletes and compactions on and grows by 16 MiB at a time, and RocksDB, which writes a new file
/// before it gives back the old ones.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// Between two looks: at a gigabyte a second the watermark is not run through unseen.
const INTERVAL: Duration = Duration::from_millis(250);

/// Whose space is watched.
pub(super) struct DiskWatch {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) data_dir: PathBuf,
    /// The question blocks for as long as the file system likes.
    pub(super) worker: Worker,
    pub(super) patience: Duration,
}

impl DiskWatch {
    /// Runs until the node has stopped, or it is dropped. The alarm is raised as often as it is
    /// cleared without there being space; that there is space again does not clear it, as in etcd.
    pub(super) async fn run(self, node: Node) {
        let mut is_readable = true;
        loop {
            let (disk, dir) = (self.disk.clone(), self.data_dir.clone());
            match self.worker.run(move || disk.free_bytes(&dir)).await {
                Err(_) => return,
                Ok(Ok(free)) => {
                    is_readable = true;
                    if free < FREE_BYTES_MIN {
                        let deadline = Instant::now() + self.patience;
                        let why = "little space is left on the disk";
                        match node.raise_no_space(why, deadline).await {
                            Ok(()) => {}
                            Err(NodeError::Stopped) => return,
                            Err(error) => tracing::warn!(%error, free, "alarm NOSPACE not raised"),
                        }
                    }
                }
                Ok(Err(error)) => {
                    if std::mem::replace(&mut is_readable, false) {
                        tracing::warn!(%error, "the free space of the disk is not known");
                    }
                }
            }
            sleep(INTERVAL).await;
        }
    }
}
