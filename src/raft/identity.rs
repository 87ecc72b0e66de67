//! Who calls whom: the metadata of every peer call, and the incarnations that are pinned by it.
//!
//! openraft believes that a node id comes back with its disk. A member whose directory was wiped
//! would vote twice in a term, so each data directory has a random *incarnation*; it travels on
//! every call, the receiver pins the first one that it sees for a node (durably, before it answers)
//! and refuses any other. A mistaken cluster, target or protocol is refused in the same place.

use crate::env::disk::{read_file, write_file_durably};
use crate::env::{Disk, Worker};
use crate::types::{ClusterId, HexId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

/// Raised when peers of two builds can no longer talk.
pub(super) const PEER_PROTOCOL: u64 = 1;

const CLUSTER: &str = "quorate-cluster";
const FROM: &str = "quorate-from";
const TO: &str = "quorate-to";
const INCARNATION: &str = "quorate-incarnation";
const PROTOCOL: &str = "quorate-protocol";

/// This member, as it introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfIdentity {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// Random, made with the data directory; never 0.
    pub incarnation: u64,
}

/// Adds the caller's identity to every call to one peer.
#[derive(Clone)]
pub struct Introduce {
    pairs: Arc<[(&'static str, MetadataValue<Ascii>); 5]>,
}

impl Introduce {
    pub fn new(me: SelfIdentity, to: NodeId) -> Self {
        let pair = |key, value: u64| (key, MetadataValue::from(value));
        Self {
            pairs: Arc::new([
                pair(CLUSTER, me.cluster),
                pair(FROM, me.node),
                pair(TO, to),
                pair(INCARNATION, me.incarnation),
                pair(PROTOCOL, PEER_PROTOCOL),
            ]),
        }
    }
}

impl tonic::service::Interceptor for Introduce {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (key, value) in self.pairs.iter() {
            request.metadata_mut().insert(*key, value.clone());
        }
        Ok(request)
    }
}

/// Who called, once the introduction has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub node: NodeId,
    pub incarnation: u64,
    /// What was pinned for it before this call.
    pub known: Option<u64>,
}

/// The incarnations that this member has seen of each peer, in a small durable file.
#[derive(Clone)]
pub struct Pins {
    inner: Arc<Inner>,
}

struct Inner {
    me: SelfIdentity,
    table: Mutex<BTreeMap<NodeId, u64>>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    worker: Worker,
}

#[derive(Serialize, Deserialize, Default)]
struct PinsFile {
    format_version: u32,
    incarnations: BTreeMap<NodeId, u64>,
}

const PINS_FORMAT_VERSION: u32 = 1;

impl Pins {
    /// Reads the pins of a data directory; a missing file is an empty table.
    pub fn open(
        me: SelfIdentity,
        disk: Arc<dyn Disk>,
        path: PathBuf,
        worker: Worker,
    ) -> io::Result<Self> {
        let table = match read_file(disk.as_ref(), &path)? {
            None => BTreeMap::new(),
            Some(bytes) => {
                let file: PinsFile = serde_json::from_slice(&bytes)
                    .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
                if file.format_version > PINS_FORMAT_VERSION {
                    return Err(io::Error::other(format!(
                        "{} has format {}, newer than the {PINS_FORMAT_VERSION} this build knows",
                        path.display(),
                        file.format_version
                    )));
                }
                file.incarnations
            }
        };
        let table = Mutex::new(table);
        Ok(Self {
            inner: Arc::new(Inner {
                me,
                table,
                disk,
                path,
                worker,
            }),
        })
    }

    pub fn me(&self) -> SelfIdentity {
        self.inner.me
    }

    fn known(&self, node: NodeId) -> Option<u64> {
        self.inner
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&node)
            .copied()
    }

    /// Pins what a peer said of itself. `Err` if another incarnation was pinned before.
    pub async fn pin(&self, node: NodeId, incarnation: u64) -> Result<Option<u64>, Status> {
        match self.known(node) {
            Some(known) if known == incarnation => Ok(Some(known)),
            Some(known) => Err(Status::failed_precondition(format!(
                "member {} has already been bootstrapped: it is known with data directory {}, not {}",
                HexId(node),
                HexId(known),
                HexId(incarnation)
            ))),
            None => {
                self.store(node, incarnation)
                    .await
                    .map_err(|error| Status::internal(format!("pin a peer: {error}")))?;
                Ok(None)
            }
        }
    }

    async fn store(&self, node: NodeId, incarnation: u64) -> io::Result<()> {
        let inner = self.inner.clone();
        self.inner
            .worker
            .run(move || {
                // The lock is held over the write: two pins must not overwrite each other's file.
                let mut table = inner.table.lock().unwrap_or_else(PoisonError::into_inner);
                let mut next = table.clone();
                next.insert(node, incarnation);
                let file = PinsFile {
                    format_version: PINS_FORMAT_VERSION,
                    incarnations: next.clone(),
                };
                let bytes = serde_json::to_vec_pretty(&file).map_err(io::Error::other)?;
                write_file_durably(inner.disk.as_ref(), &inner.path, &bytes)?;
                *table = next;
                Ok(())
            })
            .await?
    }

    /// Checks the introduction of a call, and pins its incarnation.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` with what differs.
    pub async fn check(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let me = self.inner.me;
        let number = |key: &'static str| -> Result<u64, Status> {
            let value = metadata.get(key).and_then(|value| value.to_str().ok());
            value.and_then(|text| text.parse().ok()).ok_or_else(|| {
                Status::failed_precondition(format!("a peer call without {key}: not a member?"))
            })
        };
        let protocol = number(PROTOCOL)?;
        if protocol != PEER_PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "peer protocol {protocol}, this member speaks {PEER_PROTOCOL}"
            )));
        }
        let cluster = number(CLUSTER)?;
        if cluster != me.cluster {
            return Err(Status::failed_precondition(format!(
                "cluster ID mismatch: got {}, this member is of {}",
                HexId(cluster),
                HexId(me.cluster)
            )));
        }
        let to = number(TO)?;
        if to != me.node {
            return Err(Status::failed_precondition(format!(
                "a call for member {} reached member {}",
                HexId(to),
                HexId(me.node)
            )));
        }
        let node = number(FROM)?;
        let incarnation = number(INCARNATION)?;
        let known = self.pin(node, incarnation).await?;
        Ok(Caller {
            node,
            incarnation,
            known,
        })
    }
}
