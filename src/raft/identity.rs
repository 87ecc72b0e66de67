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
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
    founders: BTreeSet<NodeId>,
    /// Whether the membership in force names a node; consensus comes later than the port.
    is_member: OnceLock<IsMember>,
    table: Mutex<BTreeMap<NodeId, u64>>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    worker: Worker,
}

type IsMember = Box<dyn Fn(NodeId) -> bool + Send + Sync>;

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
                is_member: OnceLock::new(),
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

    /// From now on the members of this membership may introduce themselves too.
    pub fn set_membership(&self, is_member: impl Fn(NodeId) -> bool + Send + Sync + 'static) {
        // A second one would be a bug of the assembly; the first stays.
        self.inner.is_member.set(Box::new(is_member)).ok();
    }

    /// A stranger must neither make the file grow nor be pinned in the place of a later member.
    fn may_be_pinned(&self, node: NodeId) -> bool {
        self.inner.founders.contains(&node) || self.inner.is_member.get().is_some_and(|is| is(node))
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
        let known = match self.known(node) {
            Some(known) => Some(known),
            None if self.may_be_pinned(node) => self
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use tonic::service::Interceptor;

    const ME: SelfIdentity = SelfIdentity {
        cluster: 7,
        node: 1,
        incarnation: 11,
    };

    fn pins(dir: &std::path::Path, worker: Worker) -> Pins {
        let disk = Env::real().disk;
        Pins::open(ME, [1, 2, 3].into(), disk, dir.join("peers.json"), worker).unwrap()
    }

    /// What a peer of this identity sends to a node.
    fn introduced(peer: SelfIdentity, to: NodeId) -> MetadataMap {
        let call = Introduce::new(peer, to).call(Request::new(())).unwrap();
        call.metadata().clone()
    }

    fn peer(node: NodeId, incarnation: u64) -> SelfIdentity {
        SelfIdentity {
            node,
            incarnation,
            ..ME
        }
    }

    async fn refusal(pins: &Pins, metadata: &MetadataMap) -> String {
        let refused = pins.check(metadata).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        refused.message().to_owned()
    }

    #[tokio::test]
    async fn whatever_differs_is_refused_before_anything_is_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let pins = pins(dir.path(), Worker::inline());
        let mut foreign = peer(2, 22);
        foreign.cluster = 8;
        let reason = refusal(&pins, &introduced(foreign, 1)).await;
        assert!(reason.contains("cluster ID mismatch"), "{reason}");
        let reason = refusal(&pins, &introduced(peer(2, 22), 3)).await;
        assert!(reason.contains("a call for member 3"), "{reason}");
        let mut newer = introduced(peer(2, 22), 1);
        newer.insert(PROTOCOL, MetadataValue::from(PEER_PROTOCOL + 1));
        let reason = refusal(&pins, &newer).await;
        assert!(reason.contains("peer protocol"), "{reason}");
        let mut nameless = introduced(peer(2, 22), 1);
        nameless.remove(INCARNATION);
        let reason = refusal(&pins, &nameless).await;
        assert!(reason.contains(INCARNATION), "{reason}");
        let reason = refusal(&pins, &introduced(peer(9, 99), 1)).await;
        assert!(
            reason.contains("member 9 is not of this cluster"),
            "{reason}"
        );
        assert!(!pins.inner.disk.exists(&pins.inner.path).unwrap());
    }

    #[tokio::test]
    async fn a_node_comes_back_with_its_directory_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let first = pins(dir.path(), Worker::inline());
        let caller = first.check(&introduced(peer(2, 22), 1)).await.unwrap();
        assert_eq!(caller.known, None);
        let caller = first.check(&introduced(peer(2, 22), 1)).await.unwrap();
        assert_eq!(caller.known, Some(22));
        let again = pins(dir.path(), Worker::inline());
        let reason = refusal(&again, &introduced(peer(2, 23), 1)).await;
        assert!(reason.contains("already been bootstrapped"), "{reason}");
    }

    #[tokio::test]
    async fn a_later_member_is_known_by_the_membership() {
        let dir = tempfile::tempdir().unwrap();
        let pins = pins(dir.path(), Worker::inline());
        pins.set_membership(|node| node == 4);
        pins.check(&introduced(peer(4, 44), 1)).await.unwrap();
        refusal(&pins, &introduced(peer(5, 55), 1)).await;
    }

    #[tokio::test]
    async fn of_two_directories_at_once_one_gets_in() {
        let dir = tempfile::tempdir().unwrap();
        let worker = Env::real().threads.worker("test").unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        worker.post(move || {
            held.recv().ok();
        });
        let pins = pins(dir.path(), worker);
        // Both have seen that nothing is pinned when the disk gets to the first.
        let (old, wiped) = (introduced(peer(2, 22), 1), introduced(peer(2, 23), 1));
        let (mut old, mut wiped) = (Box::pin(pins.check(&old)), Box::pin(pins.check(&wiped)));
        assert!(futures_util::poll!(&mut old).is_pending());
        assert!(futures_util::poll!(&mut wiped).is_pending());
        release.send(()).unwrap();
        assert_eq!(old.await.unwrap().known, None);
        let reason = wiped.await.unwrap_err();
        assert!(reason.message().contains("already been bootstrapped"));
    }
}
