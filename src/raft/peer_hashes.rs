//! Hashes on the peer port, both ends: what members compare to find out whether they hold the same.

use super::links::Links;
use super::type_config::MemberNode;
use super::wire::{position_from_proto, position_to_proto};
use crate::env::Worker;
use crate::mvcc::deep_hash::{DEEP_HASH_FORMAT, DeepHash, deep_hash as hash_rows};
use crate::mvcc::digest::{MARK_FORMAT, Mark};
use crate::mvcc::hash_kv::Waiting;
use crate::proto::peer;
use crate::state_machine::{Refusal, Store};
use crate::types::{NodeId, Revision};
use std::sync::Arc;
use tonic::{Code, Status};

pub(super) fn marks(store: &Store) -> peer::MarksResponse {
    let marks = store.marks().into_iter().map(|mark| peer::Mark {
        at: Some(position_to_proto(mark.at)),
        hash: mark.hash,
    });
    peer::MarksResponse {
        marks: marks.collect(),
        format: MARK_FORMAT,
    }
}

/// Hashes on the worker, and gives up when the caller does.
pub(super) async fn deep_hash(
    store: Arc<Store>,
    worker: &Worker,
    revision: Revision,
) -> Result<peer::DeepHashResponse, Status> {
    let waiting = Waiting::default();
    let abandoned = waiting.abandoned();
    let hashed = worker.run(move || hash_rows(&store.view()?, revision, &abandoned));
    let hashed = hashed.await;
    drop(waiting);
    let failed = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
    match hashed.map_err(|error| failed(&error))? {
        Err(error) => Err(failed(&error)),
        Ok(None) => Err(Status::cancelled("nobody waits for the hash")),
        Ok(Some(Err(Refusal::FutureRevision))) => Err(Status::unavailable("not there yet")),
        Ok(Some(Err(refusal))) => Err(Status::out_of_range(refusal.to_string())),
        Ok(Some(Ok(hash))) => Ok(peer::DeepHashResponse {
            hash: hash.hash,
            compact_revision: hash.compacted,
            format: DEEP_HASH_FORMAT,
        }),
    }
}

/// Why a peer's hash cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HashUnknown {
    /// It has to apply more first, or cannot be reached: ask again.
    #[error("{0}")]
    NotYet(String),
    #[error("{0}")]
    Never(String),
}

impl From<Status> for HashUnknown {
    fn from(status: Status) -> Self {
        let reason = status.message().to_owned();
        match status.code() {
            Code::Unavailable => Self::NotYet(reason),
            _ => Self::Never(reason),
        }
    }
}

fn of_another_format() -> HashUnknown {
    HashUnknown::Never("its version hashes something else".to_owned())
}

impl Links {
    /// What a peer marked, oldest first.
    pub async fn marks_of(
        &self,
        node: NodeId,
        member: &MemberNode,
    ) -> Result<Vec<Mark>, HashUnknown> {
        let mut client = self.control_of(node, member)?;
        let answer = client.marks(peer::MarksRequest {}).await?.into_inner();
        if answer.format != MARK_FORMAT {
            return Err(of_another_format());
        }
        // One without a place is nobody's.
        let marks = answer.marks.into_iter().filter_map(|mark| {
            Some(Mark {
                at: position_from_proto(mark.at?),
                hash: mark.hash,
            })
        });
        Ok(marks.collect())
    }

    /// A hash of every row that a peer holds, at a revision.
    pub async fn deep_hash_of(
        &self,
        node: NodeId,
        member: &MemberNode,
        revision: Revision,
    ) -> Result<DeepHash, HashUnknown> {
        let mut client = self.control_of(node, member)?;
        let answer = client.deep_hash(peer::DeepHashRequest { revision }).await?;
        let answer = answer.into_inner();
        if answer.format != DEEP_HASH_FORMAT {
            return Err(of_another_format());
        }
        Ok(DeepHash {
            hash: answer.hash,
            revision,
            compacted: answer.compact_revision,
        })
    }

    fn control_of(
        &self,
        node: NodeId,
        member: &MemberNode,
    ) -> Result<super::links::Client, HashUnknown> {
        let links = self.to(node, member);
        Ok(links
            .map_err(|error| HashUnknown::Never(error.to_string()))?
            .control)
    }
}
