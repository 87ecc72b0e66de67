//! openraft's own suite over our log and our state machine.

use super::applier::Applier;
use super::log::{LogOptions, SegmentedLog};
use super::log_store::{LogStore, READ_BYTES_MAX};
use super::snapshot::Snapshots;
use super::state_dir::StateDir;
use super::type_config::{Batch, Entry, TypeConfig, log_id_of};
use crate::env::disk::Disk;
use crate::env::{Env, Worker};
use crate::state_machine::{COMMAND_FORMAT_VERSION, StateOptions};
use crate::types::Position;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, RaftLogReader, StorageError};
use std::sync::Arc;
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Applier, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Applier), StorageError<TypeConfig>> {
        let env = Env::real();
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = env.disk.clone();
        let options = LogOptions::default();
        let log =
            SegmentedLog::open(&dir.path().join("log"), &disk, &env.threads, options).unwrap();
        let snapshots = Snapshots::open(
            dir.path().join("snapshot"),
            disk.clone(),
            env.randomness.clone(),
            Worker::inline(),
            Worker::inline(),
        )
        .unwrap();
        let state_dir = StateDir::new(dir.path().to_owned(), disk, StateOptions::default());
        let machine = state_dir.open().unwrap();
        let applier = Applier::new(
            machine,
            state_dir,
            snapshots,
            Worker::inline(),
            Arc::default(),
        );
        Ok((dir, LogStore::new(log), applier))
    }
}

#[test]
fn log_and_state_machine_pass_openrafts_suite() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}

/// openraft caps messages in entries only; the byte cap is the log reader's.
#[tokio::test]
async fn a_read_for_replication_is_capped_in_bytes_and_never_empty() {
    let (_dir, mut store, _) = Builder.build().await.unwrap();
    let quarter = READ_BYTES_MAX / 4;
    let payloads = [quarter, quarter, quarter, 4 * READ_BYTES_MAX];
    let entries = payloads.iter().zip(0..).map(|(bytes, index)| Entry {
        log_id: log_id_of(Position { term: 1, index }),
        // Only the version byte in front is looked at here.
        payload: EntryPayload::Normal(Batch(vec![COMMAND_FORMAT_VERSION; *bytes].into())),
    });
    let last = payloads.len() as u64;
    store.append(entries, IOFlushed::noop()).await.unwrap();
    let mut sizes = Vec::new();
    let mut next = 0;
    while next < last {
        let read = store.limited_get_log_entries(next, last).await.unwrap();
        assert!(
            !read.is_empty(),
            "nothing at {next}: openraft would ask for ever"
        );
        next += read.len() as u64;
        sizes.push(read.len());
    }
    assert_eq!(
        sizes,
        [3, 1],
        "what fits, then the one that is larger than the cap alone"
    );
}
