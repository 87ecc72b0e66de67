//! kube-apiserver's way to compact: all apiservers keep a counter at `compact_rev_key`, and who
//! moves it on from the version that all have seen may compact, at the revision of the round before.

use super::objects::{Guarded, if_else};
use crate::door::Door;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{CompactionRequest, Compare, PutRequest};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::Code;

const COMPACT_REV_KEY: &str = "compact_rev_key";
/// kube-apiserver waits for five minutes. So long the history stays that a cache may have missed.
const PERIOD: Duration = Duration::from_millis(600);

/// Who won which version of the counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(Arc<Mutex<BTreeMap<i64, Vec<usize>>>>);

impl Rounds {
    fn won(&self, version: i64, by: usize) {
        let mut rounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.entry(version).or_default().push(by);
    }

    /// How many there were.
    ///
    /// # Errors
    /// Two won the same one, or nobody compacted.
    pub(super) fn judge(&self) -> Result<usize> {
        let rounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (version, winners) in rounds.iter() {
            ensure!(winners.len() == 1, "{winners:?} all won round {version}");
        }
        ensure!(!rounds.is_empty(), "nobody compacted");
        Ok(rounds.len())
    }
}

/// One apiserver's compactor.
#[derive(Debug)]
pub(super) struct Compactor {
    number: usize,
    doors: Vec<Door>,
    at: usize,
    /// The counter as it was last seen.
    version: i64,
    /// The store's revision then.
    revision: i64,
    rounds: Rounds,
}

impl Compactor {
    pub(super) fn new(number: usize, doors: Vec<Door>, rounds: Rounds) -> Self {
        Self {
            number,
            at: number % doors.len().max(1),
            doors,
            version: 0,
            revision: 0,
            rounds,
        }
    }

    /// Until it is to stop.
    ///
    /// # Errors
    /// A compaction is answered as it must not be.
    pub(super) async fn run(mut self, stop: Arc<AtomicBool>) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(PERIOD).await;
            self.round().await?;
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<()> {
        let key = Bytes::from_static(COMPACT_REV_KEY.as_bytes());
        let (seen, compact_at) = (self.version, self.revision);
        let guard = Compare {
            result: CompareResult::Equal as i32,
            target: CompareTarget::Version as i32,
            key: key.clone(),
            target_union: Some(TargetUnion::Version(seen)),
            ..Compare::default()
        };
        let put = Request::RequestPut(PutRequest {
            key: key.clone(),
            value: compact_at.to_string().into(),
            ..PutRequest::default()
        });
        let members = self.doors.len();
        let door = self.doors.get_mut(self.at).context("no member")?;
        match if_else(door, guard, &key, put).await {
            Ok(Guarded::Held { revision }) => {
                self.version = seen + 1;
                self.revision = revision;
                self.rounds.won(self.version, self.number);
                if compact_at > 0 {
                    let compact = CompactionRequest {
                        revision: compact_at,
                        physical: false,
                    };
                    if let Err(status) = door.kv.compact(compact).await {
                        // Whoever won the round after the next may have been quicker.
                        ensure!(
                            status.code() != Code::OutOfRange
                                || status.message().contains("has been compacted"),
                            "compact at {compact_at}: {status}"
                        );
                    }
                }
            }
            Ok(Guarded::Refused { now }) => {
                self.version = now.as_ref().map_or(0, |kv| kv.version);
                self.revision = now.as_ref().map_or(0, |kv| kv.mod_revision);
            }
            // It may have won, and then nobody compacts in this round.
            Err(_) => self.at = (self.at + 1) % members,
        }
        Ok(())
    }
}
