//! `HashKV` of both at the same revisions: every record of the history, its bytes and its order.
//!
//! Asked at the latest revision, at the first after the compacted one, at random ones between, and
//! at some that must be refused. Two things of etcd 3.4 are left out: it has no `hash_revision`, and
//! it refuses the compacted revision itself where it is asked for by number (current etcd hashes
//! it). Where that is the latest, 0 asks for it too.

use crate::door::Door;
use crate::wait::{Look, until};
use anyhow::{Result, ensure};
use quorate::proto::etcdserverpb::{HashKvRequest, HashKvResponse};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use tonic::{Code, Status};

/// Random revisions a comparison.
const REVISIONS: usize = 5;
/// A run that compared fewer hashes tested too little.
const COMPARED_MIN: usize = 20;
/// Within this etcd has removed what it compacted: until then its hash of a store in which no key
/// is left covers what is about to go.
const REMOVAL: Duration = Duration::from_secs(5);

/// Compares, and counts.
#[derive(Debug)]
pub(super) struct Hashes {
    random: StdRng,
    compared: usize,
    refused: usize,
}

impl Hashes {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed ^ 0x4a5b_0001),
            compared: 0,
            refused: 0,
        }
    }

    /// # Errors
    /// A hash, a revision or a refusal differs.
    pub(super) async fn compare(&mut self, ours: &mut Door, theirs: &mut Door) -> Result<()> {
        let now = hash(ours, 0).await?;
        let latest = now.header.as_ref().map_or(0, |header| header.revision);
        let compacted = now.compact_revision;
        let mut revisions = vec![0, -1, compacted + 1, latest + 1, compacted - 1];
        let between = compacted.max(0) + 1..=latest;
        if !between.is_empty() {
            let some = (0..REVISIONS).map(|_| self.random.random_range(between.clone()));
            revisions.extend(some);
        }
        for revision in revisions {
            let what = format!("equal hashes at revision {revision}");
            let equal = until(what, REMOVAL, async || {
                let (mine, other) = tokio::join!(hash(ours, revision), hash(theirs, revision));
                let (mine, other) = (Answer::of(mine), Answer::of(other));
                if mine == other {
                    Look::Ready(mine)
                } else {
                    Look::NotYet(format!("ours: {mine:?}, etcd's: {other:?}"))
                }
            });
            match equal.await? {
                Answer::Hash { .. } => self.compared += 1,
                Answer::Refused(..) => self.refused += 1,
            }
        }
        Ok(())
    }

    /// # Errors
    /// Too little was compared.
    pub(super) fn report(&self) -> Result<()> {
        println!(
            "{} equal hashes, {} equal refusals",
            self.compared, self.refused
        );
        ensure!(
            self.compared >= COMPARED_MIN && self.refused > 0,
            "too few hashes were compared"
        );
        Ok(())
    }
}

/// What must be equal.
#[derive(Debug, PartialEq)]
enum Answer {
    Hash {
        hash: u32,
        compact_revision: i64,
        revision: i64,
    },
    Refused(Code, String),
}

impl Answer {
    fn of(answer: Result<HashKvResponse, Status>) -> Self {
        match answer {
            Ok(answer) => Self::Hash {
                hash: answer.hash,
                compact_revision: answer.compact_revision,
                revision: answer.header.map_or(0, |header| header.revision),
            },
            Err(status) => Self::Refused(status.code(), status.message().to_owned()),
        }
    }
}

async fn hash(door: &mut Door, revision: i64) -> Result<HashKvResponse, Status> {
    let answer = door.maintenance.hash_kv(HashKvRequest { revision }).await?;
    Ok(answer.into_inner())
}
