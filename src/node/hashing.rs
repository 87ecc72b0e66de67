//! Hashes of the whole state: minutes of work on a large one, so a thread of their own, one after
//! another, each given up as soon as nobody waits for it.

use super::{Node, NodeError};
use crate::mvcc::deep_hash::{DeepHash, deep_hash};
use crate::mvcc::hash_kv::{Abandoned, KvHash, Waiting, hash_kv};
use crate::mvcc::{ReadView, hash};
use crate::state_machine::Refusal;
use crate::types::Revision;

impl Node {
    /// etcd's `HashKV` of this member's state, as it is when the hash's turn comes.
    pub async fn hash_kv(&self, revision: Revision) -> Result<Result<KvHash, Refusal>, NodeError> {
        self.hash(move |view, abandoned| hash_kv(view, revision, abandoned))
            .await
    }

    /// A hash of the logical state of this member, and its revision. Equal on members that applied
    /// the same log; unlike any etcd's.
    pub async fn state_hash(&self) -> Result<(Revision, u32), NodeError> {
        self.hash(|view, abandoned| {
            let hash = hash::state_hash_unless(view, abandoned)?;
            Ok(hash.map(|[.., a, b, c, d]| (view.revision(), u32::from_be_bytes([a, b, c, d]))))
        })
        .await
    }

    /// A hash of every row, as it is when the hash's turn comes, to be compared with other members'.
    pub(super) async fn deep_hash(&self) -> Result<DeepHash, NodeError> {
        let hashed = self.hash(|view, abandoned| deep_hash(view, 0, abandoned));
        // The latest revision is neither compacted nor of the future.
        hashed.await?.map_err(|_| NodeError::Corrupt)
    }

    async fn hash<T: Send + 'static>(
        &self,
        hash: impl FnOnce(&ReadView<'_>, &Abandoned) -> Result<Option<T>, crate::mvcc::Error>
        + Send
        + 'static,
    ) -> Result<T, NodeError> {
        self.recovered().await?;
        let waiting = Waiting::default();
        let abandoned = waiting.abandoned();
        let store = self.store();
        let hashed = self
            .inner
            .hasher
            .run(move || hash(&store.view()?, &abandoned))
            .await;
        drop(waiting);
        match hashed {
            Ok(Ok(Some(hash))) => Ok(hash),
            Ok(Ok(None)) | Err(_) => Err(NodeError::Stopped),
            Ok(Err(error)) => {
                tracing::error!(%error, "the store cannot be hashed");
                Err(NodeError::Corrupt)
            }
        }
    }
}
