//! Who calls whom: the metadata of every peer call, and the incarnations that are pinned by it.
//!
//! openraft believes that a node id comes back with its disk. A member whose directory was wiped
//! would vote twice in a term, so each data directory has a random *incarnation*; it travels on
//! every call, the receiver pins the first one that it sees for a node (durably, before it answers)
//! and refuses any other. A mistaken cluster, target or protocol is refused in the same place.
//!
//! Pins are each member's own. What all agree on is the *claim*: a log entry that binds a member's id
//! to its incarnation, first come, for ever ([`Census`]). A member added to a running cluster claims
//! its id before it starts, a founder once it runs; a claim counts before a pin. With claims
//!
//! * a caller says which incarnation of the receiver it means, so a directory that is not the one
//!   whose votes count refuses by itself to answer, whatever it believes of its own id;
//! * a stranger is no stranger if it names the receiver's incarnation. A member that was away while
//!   another one was added does not know it, and cannot learn of it if it leads: but only the log
//!   that holds both tells that random number, and to have the log one must have been let in by
//!   those who know both. A wiped directory cannot name it.

use crate::env::disk::{read_file, write_file_durably};
use crate::env::{Disk, Worker};
use crate::types::{ClusterId, HexId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

/// etcd's words to a member that was removed, and of one.
pub const REMOVED: &str = "the member has been permanently removed from the cluster";

/// Raised when peers of two builds can no longer talk.
pub(super) const PEER_PROTOCOL: u64 = 1;

const CLUSTER: &str = "quorate-cluster";
const FROM: &str = "quorate-from";
const TO: &str = "quorate-to";
const INCARNATION: &str = "quorate-incarnation";
/// The incarnation that the caller expects at the other end.
const TO_INCARNATION: &str = "quorate-to-incarnation";
const PROTOCOL: &str = "quorate-protocol";

/// This member, as it introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfIdentity {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// Random, made with the data directory; never 0.
    pub incarnation: u64,
}

/// Adds the caller's identity to every call to one peer, and which data directory of the peer it
/// means, if it knows.
#[derive(Clone)]
pub struct Introduce {
    pairs: Arc<[(&'static str, MetadataValue<Ascii>); 5]>,
    to: NodeId,
    pins: Pins,
}

impl Introduce {
    pub fn new(pins: Pins, to: NodeId) -> Self {
        let pair = |key, value: u64| (key, MetadataValue::from(value));
        let me = pins.me();
        Self {
            pairs: Arc::new([
                pair(CLUSTER, me.cluster),
                pair(FROM, me.node),
                pair(TO, to),
                pair(INCARNATION, me.incarnation),
                pair(PROTOCOL, PEER_PROTOCOL),
            ]),
            to,
            pins,
        }
    }
}

impl tonic::service::Interceptor for Introduce {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        for (key, value) in self.pairs.iter() {
            metadata.insert(*key, value.clone());
        }
        if let Some(incarnation) = self.pins.known(self.to) {
            metadata.insert(TO_INCARNATION, MetadataValue::from(incarnation));
        }
        Ok(request)
    }
}

/// Whether a peer answered that this member was removed from the cluster.
pub fn tells_removal(status: &Status) -> bool {
    status.code() == tonic::Code::PermissionDenied
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
    founders: BTreeSet<NodeId>,
    /// Consensus comes later than the port.
    census: OnceLock<Box<dyn Census>>,
    origin: OnceLock<u64>,
    table: Mutex<BTreeMap<NodeId, u64>>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    worker: Worker,
}

/// What is replicated of who belongs to the cluster.
pub trait Census: Send + Sync {
    /// Whether the membership in force names a node.
    fn is_member(&self, node: NodeId) -> bool;
    /// Whether a node was removed, for ever.
    fn is_removed(&self, node: NodeId) -> bool;
    /// The incarnation that a node's id is bound to.
    fn claim(&self, node: NodeId) -> Option<u64>;
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
        founders: BTreeSet<NodeId>,
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
                founders,
                census: OnceLock::new(),
                origin: OnceLock::new(),
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

    /// From now on what is replicated of the members counts before what was pinned here.
    pub fn set_census(&self, census: impl Census + 'static) {
        // A second one would be a bug of the assembly; the first stays.
        self.inner.census.set(Box::new(census)).ok();
    }

    /// Which backup the state came from that this member founds its cluster with.
    pub fn set_origin(&self, origin: u64) {
        // A second one would be a bug of the assembly; the first stays.
        self.inner.origin.set(origin).ok();
    }

    /// 0: none.
    pub fn origin(&self) -> u64 {
        self.inner.origin.get().copied().unwrap_or(0)
    }

    /// A stranger must neither make the file grow nor be pinned in the place of a later member.
    fn may_be_pinned(&self, node: NodeId) -> bool {
        let census = self.inner.census.get();
        self.inner.founders.contains(&node) || census.is_some_and(|census| census.is_member(node))
    }

    /// The incarnation that a node is known with: the one its id is bound to, which is the same for
    /// every member, or else the first that was seen here.
    fn known(&self, node: NodeId) -> Option<u64> {
        let census = self.inner.census.get();
        census
            .and_then(|census| census.claim(node))
            .or_else(|| self.pinned(node))
    }

    fn pinned(&self, node: NodeId) -> Option<u64> {
        let table = self.inner.table.lock();
        let table = table.unwrap_or_else(PoisonError::into_inner);
        table.get(&node).copied()
    }

    /// Pins what a peer said of itself. `Err` if another incarnation was pinned before.
    pub async fn pin(&self, node: NodeId, incarnation: u64) -> Result<Option<u64>, Status> {
        self.admit(node, incarnation, false).await
    }

    /// [`Self::pin`]; a caller that is `vouched_for` need not be known as a member.
    async fn admit(
        &self,
        node: NodeId,
        incarnation: u64,
        vouched_for: bool,
    ) -> Result<Option<u64>, Status> {
        let known = match self.known(node) {
            Some(known) => Some(known),
            None if vouched_for || self.may_be_pinned(node) => self
                .store(node, incarnation)
                .await
                .map_err(|error| Status::internal(format!("pin a peer: {error}")))?,
            None => {
                return Err(Status::failed_precondition(format!(
                    "member {} is not of this cluster",
                    HexId(node)
                )));
            }
        };
        match known {
            Some(known) if known != incarnation => Err(Status::failed_precondition(format!(
                "member {} has already been bootstrapped: it is known with data directory {}, not {}",
                HexId(node),
                HexId(known),
                HexId(incarnation)
            ))),
            known => Ok(known),
        }
    }

    /// Pins durably, unless somebody else did meanwhile: then it answers what was pinned.
    async fn store(&self, node: NodeId, incarnation: u64) -> io::Result<Option<u64>> {
        let inner = self.inner.clone();
        self.inner
            .worker
            .run(move || {
                // The lock is held over the write: two pins must not overwrite each other's file,
                // and of two directories of one node only the first may get in.
                let mut table = inner.table.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(known) = table.get(&node) {
                    return Ok(Some(*known));
                }
                let mut next = table.clone();
                next.insert(node, incarnation);
                let file = PinsFile {
                    format_version: PINS_FORMAT_VERSION,
                    incarnations: next.clone(),
                };
                let bytes = serde_json::to_vec_pretty(&file).map_err(io::Error::other)?;
                write_file_durably(inner.disk.as_ref(), &inner.path, &bytes)?;
                *table = next;
                Ok(None)
            })
            .await?
    }

    /// Checks the introduction of a call, and pins its incarnation.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` with what differs; `PERMISSION_DENIED` to a removed member.
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
        let meant = metadata.get(TO_INCARNATION).map(|_| number(TO_INCARNATION));
        let meant = meant.transpose()?;
        if let Some(meant) = meant
            && meant != me.incarnation
        {
            return Err(Status::failed_precondition(format!(
                "a call for member {} with data directory {} reached data directory {}",
                HexId(me.node),
                HexId(meant),
                HexId(me.incarnation)
            )));
        }
        let census = self.inner.census.get();
        if census.is_some_and(|census| census.is_removed(node)) {
            return Err(Status::permission_denied(REMOVED));
        }
        let known = self.admit(node, incarnation, meant.is_some()).await?;
        Ok(Caller {
            node,
            incarnation,
            known,
        })
    }
}

#[cfg(test)]
mod tests;
