//! What openraft is told of how to work.

use super::consensus::Timers;
use crate::canary::{Canary, planted};
use openraft::{Config, SnapshotPolicy};
use std::time::Duration;

/// Apply commands that may wait in front of the state machine. openraft blocks its core when this
/// is full, heartbeats and votes included, so [`super::incoming`] stops taking entries long
/// before.
const STATE_MACHINE_QUEUE: u64 = 4096;
/// Entries of one append message; its bytes are capped by `log_store::READ_BYTES_MAX`.
const APPEND_ENTRIES_MAX: u64 = 1024;
/// Calls that wait for Raft's core.
const CORE_QUEUE: u64 = 8192;
/// Entries that the purge leaves behind at least, per batch.
const PURGE_BATCH: u64 = 64;

pub(super) fn of(timers: Timers) -> Config {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let longest = ms(timers.election).max(2);
    Config {
        cluster_name: "quorate".to_owned(),
        heartbeat_interval: ms(timers.heartbeat).max(1),
        election_timeout_min: longest / 2,
        election_timeout_max: longest,
        // Snapshots and purges are decided by bytes and entries in node/housekeeping.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: PURGE_BATCH,
        max_payload_entries: APPEND_ENTRIES_MAX,
        max_append_entries: Some(APPEND_ENTRIES_MAX),
        api_channel_size: Some(CORE_QUEUE),
        state_machine_channel_size: Some(STATE_MACHINE_QUEUE),
        // Invariant 12: with the defaults it stays dead for the whole length of several partial
        // partitions, and may serve stale reads after a restart.
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(2 * longest),
        // Planted: it is on.
        enable_leader_restore: Some(planted(Canary::LeaderRestoreOn)),
        allow_log_reversion: Some(false),
        ..Config::default()
    }
}
