//! openraft's own suite over our log and our state machine.

use super::applier::Applier;
use super::log::{LogOptions, SegmentedLog};
use super::log_store::LogStore;
use super::snapshot::Snapshots;
use super::state_dir::StateDir;
use super::type_config::TypeConfig;
use crate::env::disk::Disk;
use crate::env::{Env, Worker};
use crate::state_machine::StateOptions;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Applier, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Applier), StorageError<TypeConfig>> {
        let env = Env::real();
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = env.disk.clone();
        let options = LogOptions::default();
        let log = SegmentedLog::open(
            &dir.path().join("log"),
            &disk,
            env.threads.as_ref(),
            options,
        )
        .unwrap();
        let snapshots = Snapshots::open(
            dir.path().join("snapshot"),
            disk.clone(),
            env.randomness.clone(),
            Worker::inline(),
        )
        .unwrap();
        let state_dir = StateDir::new(dir.path().to_owned(), disk, StateOptions::default());
        let machine = state_dir.open().unwrap();
        let applier = Applier::new(machine, state_dir, snapshots, Worker::inline());
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
