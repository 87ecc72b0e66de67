//! What a member does at its doors' side without being asked: it watches the disk, compacts, and
//! compares itself with the others.

use super::disk_watch::DiskWatch;
use super::{Node, auto_compaction, corrupt_check};
use crate::config::{AutoCompaction, Config};
use crate::env::Env;
use std::io;
use std::time::Duration;

pub struct Upkeep {
    node: Node,
    disk_watch: DiskWatch,
    auto_compaction: AutoCompaction,
    corrupt_check_time: Option<Duration>,
    patience: Duration,
}

impl Upkeep {
    /// # Errors
    /// If there is no thread for what may block.
    pub fn new(node: Node, config: &Config, env: &Env) -> io::Result<Self> {
        let patience = config.request_timeout();
        let disk_watch = DiskWatch {
            disk: env.disk.clone(),
            data_dir: config.data_dir.clone(),
            worker: env.threads.worker("disk-watch")?,
            patience,
        };
        Ok(Self {
            node,
            disk_watch,
            auto_compaction: config.auto_compaction,
            corrupt_check_time: config.corrupt_check_time,
            patience,
        })
    }

    /// Runs until the node has stopped; its owner ends it before that.
    pub async fn run(self) {
        let compaction =
            auto_compaction::run(self.node.clone(), self.auto_compaction, self.patience);
        let comparison =
            corrupt_check::run(self.node.clone(), self.corrupt_check_time, self.patience);
        tokio::join!(self.disk_watch.run(self.node), compaction, comparison);
    }
}
