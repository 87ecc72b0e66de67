//! Snapshots on disk: a RocksDB checkpoint with a manifest, built beside the apply thread.
//!
//! ```text
//! snapshot/<id>/manifest.json     format, label (last log position, membership), files
//! snapshot/<id>/data/...          the checkpoint: hard links to the store's files
//! snapshot/recv-<id>/...          one that is being received
//! snapshot/tmp-...                one that is being built
//! ```
//!
//! A directory named by its id is complete, because the last step of making it is the rename. The
//! label is read from inside the checkpoint, so it cannot disagree with the data.

use super::type_config::{SnapshotMeta, StoredMembership, TypeConfig, log_id_of};
use super::wire::{decode_membership, encode_membership};
use crate::env::disk::{read_file, write_file_durably};
use crate::env::{Disk, DiskFile, Randomness, Worker};
use crate::mvcc::Store;
use crate::types::Position;
use crc_fast::{CrcAlgorithm, Digest};
use openraft::alias::SnapshotOf;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Raised when the files of a snapshot change their meaning.
pub(super) const SNAPSHOT_FORMAT_VERSION: u32 = 1;

const MANIFEST: &str = "manifest.json";
const DATA: &str = "data";
/// Bytes read at a time when a file is checksummed.
const READ_BYTES: usize = 1 << 20;

pub(super) type Snapshot = SnapshotOf<TypeConfig, SnapshotDir>;

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    pub name: String,
    pub bytes: u64,
}

/// A complete snapshot directory. The last clone of a retired one removes it.
#[derive(Clone)]
pub struct SnapshotDir {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    dir: PathBuf,
    files: Vec<SnapshotFile>,
    disk: Arc<dyn Disk>,
    worker: Worker,
    checksums: OnceLock<Vec<u32>>,
    remove_on_drop: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.remove_on_drop.load(Ordering::Relaxed)
            && let Err(error) = self.disk.remove_dir_all(&self.dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %self.dir.display(), %error, "an old snapshot stays on disk");
        }
    }
}

impl SnapshotDir {
    pub fn new(
        id: String,
        dir: PathBuf,
        files: Vec<SnapshotFile>,
        disk: Arc<dyn Disk>,
        worker: Worker,
    ) -> Self {
        let inner = Inner {
            id,
            dir,
            files,
            disk,
            worker,
            checksums: OnceLock::new(),
            remove_on_drop: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub fn id(&self) -> &str {
        &self.inner.id
    }

    pub fn files(&self) -> &[SnapshotFile] {
        &self.inner.files
    }

    pub fn data_dir(&self) -> PathBuf {
        self.inner.dir.join(DATA)
    }

    /// Where its files are read: they may be on a slow disk.
    pub fn worker(&self) -> &Worker {
        &self.inner.worker
    }

    pub fn open_file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.disk.open(&self.data_dir().join(name))
    }

    /// The directory goes when the last user lets go.
    pub fn retire(&self) {
        self.inner.remove_on_drop.store(true, Ordering::Relaxed);
    }

    /// CRC-32C of each file, in order. Reads everything once; blocking.
    pub fn checksums(&self) -> io::Result<&[u32]> {
        if let Some(known) = self.inner.checksums.get() {
            return Ok(known);
        }
        let mut sums = Vec::with_capacity(self.inner.files.len());
        for file in &self.inner.files {
            sums.push(checksum(self.open_file(&file.name)?.as_ref(), file.bytes)?);
        }
        Ok(self.inner.checksums.get_or_init(|| sums))
    }
}

/// CRC-32C of the first `bytes` of a file.
pub(super) fn checksum(file: &dyn DiskFile, bytes: u64) -> io::Result<u32> {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let take = usize::try_from(bytes - offset)
            .unwrap_or(READ_BYTES)
            .min(READ_BYTES);
        file.read_exact_at(&mut buffer[..take], offset)?;
        digest.update(&buffer[..take]);
        offset += take as u64;
    }
    u32::try_from(digest.finalize()).map_err(io::Error::other)
}

/// What a snapshot is a snapshot of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub last: Option<Position>,
    /// The membership in force and where it was logged; none before the first.
    pub membership: Option<(Position, bytes::Bytes)>,
}

impl Label {
    pub(super) fn to_meta(&self) -> io::Result<SnapshotMeta> {
        let last_membership = stored_membership(self.membership.as_ref())?;
        Ok(SnapshotMeta {
            last_log_id: self.last.map(log_id_of),
            last_membership,
        })
    }
}

/// A stored membership from the bytes that the state machine keeps of it.
pub(super) fn stored_membership(
    stored: Option<&(Position, bytes::Bytes)>,
) -> io::Result<StoredMembership> {
    match stored {
        None => Ok(StoredMembership::default()),
        Some((position, bytes)) => Ok(StoredMembership::new(
            Some(log_id_of(*position)),
            decode_membership(bytes)?,
        )),
    }
}

/// The label of a snapshot's meta, for the wire.
pub(super) fn label_of(meta: &SnapshotMeta) -> Label {
    let last = meta
        .last_log_id
        .as_ref()
        .map(super::type_config::position_of);
    let membership = meta.last_membership.log_id().as_ref().map(|log_id| {
        let bytes = encode_membership(meta.last_membership.membership());
        (super::type_config::position_of(log_id), bytes)
    });
    Label { last, membership }
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format_version: u32,
    id: String,
    /// (term, index)
    last: Option<(u64, u64)>,
    membership: Option<(u64, u64, Vec<u8>)>,
    files: Vec<SnapshotFile>,
}

/// The snapshots of one member. Cheap to clone.
#[derive(Clone)]
pub struct Snapshots {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    randomness: Arc<dyn Randomness>,
    worker: Worker,
    current: Mutex<Option<Snapshot>>,
}

impl Snapshots {
    /// Finds the newest complete snapshot and removes everything else but half-received ones, which
    /// a sender may resume. Blocking.
    pub fn open(
        dir: PathBuf,
        disk: Arc<dyn Disk>,
        randomness: Arc<dyn Randomness>,
        worker: Worker,
    ) -> io::Result<Self> {
        disk.create_dir_all(&dir)?;
        let mut newest: Option<Snapshot> = None;
        for name in disk.list(&dir)? {
            let path = dir.join(&name);
            if name.starts_with("recv-") {
                continue;
            }
            let found = if name.starts_with("tmp-") {
                None
            } else {
                read_manifest(&disk, &worker, &path)?
            };
            let Some(found) = found else {
                disk.remove_dir_all(&path)?;
                continue;
            };
            let newer = newest.as_ref().is_none_or(|best| {
                best.meta.last_log_id.as_ref() < found.meta.last_log_id.as_ref()
            });
            let loser = if newer {
                newest.replace(found)
            } else {
                Some(found)
            };
            if let Some(loser) = loser {
                loser.snapshot.retire();
            }
        }
        let current = Mutex::new(newest);
        Ok(Self {
            shared: Arc::new(Shared {
                dir,
                disk,
                randomness,
                worker,
                current,
            }),
        })
    }

    pub fn current(&self) -> Option<Snapshot> {
        self.shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }

    pub fn worker(&self) -> &Worker {
        &self.shared.worker
    }

    /// Makes a snapshot of the store, on the snapshot worker, and makes it the current one.
    pub async fn build(&self, store: Arc<Store>) -> io::Result<Snapshot> {
        let this = self.clone();
        self.shared
            .worker
            .run(move || this.build_blocking(&store))
            .await?
    }

    /// As [`Self::build`], on the caller's thread.
    pub fn build_blocking(&self, store: &Store) -> io::Result<Snapshot> {
        let shared = &self.shared;
        let tmp = shared
            .dir
            .join(format!("tmp-{:016x}", shared.randomness.next_u64()));
        shared.disk.create_dir_all(&tmp)?;
        let data = tmp.join(DATA);
        store.checkpoint(&data).map_err(io::Error::other)?;
        let label = Store::read_label(&data).map_err(io::Error::other)?;
        let label = Label {
            last: label.applied,
            membership: label.membership,
        };
        let mut files = Vec::new();
        for name in shared.disk.list(&data)? {
            let file = shared.disk.open(&data.join(&name))?;
            // RocksDB fsyncs table files; the small ones that it copied are fsynced here.
            file.sync()?;
            let bytes = file.len()?;
            files.push(SnapshotFile { name, bytes });
        }
        shared.disk.sync_dir(&data)?;
        let last = label.last.unwrap_or(Position { term: 0, index: 0 });
        let id = format!(
            "{:x}-{:x}-{:08x}",
            last.term,
            last.index,
            shared.randomness.next_u64() >> 32
        );
        let manifest = Manifest {
            format_version: SNAPSHOT_FORMAT_VERSION,
            id: id.clone(),
            last: label.last.map(|last| (last.term, last.index)),
            membership: label
                .membership
                .as_ref()
                .map(|(position, bytes)| (position.term, position.index, bytes.to_vec())),
            files: files.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
        write_file_durably(shared.disk.as_ref(), &tmp.join(MANIFEST), &bytes)?;
        let dir = shared.dir.join(&id);
        shared.disk.rename(&tmp, &dir)?;
        shared.disk.sync_dir(&shared.dir)?;
        let snapshot = SnapshotDir::new(id, dir, files, shared.disk.clone(), shared.worker.clone());
        let snapshot = Snapshot {
            meta: label.to_meta()?,
            snapshot,
        };
        let mut current = shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = current.replace(snapshot.clone()) {
            old.snapshot.retire();
        }
        Ok(snapshot)
    }
}

/// `None` if the directory holds no manifest, which makes it worthless.
fn read_manifest(
    disk: &Arc<dyn Disk>,
    worker: &Worker,
    dir: &Path,
) -> io::Result<Option<Snapshot>> {
    let path = dir.join(MANIFEST);
    let Some(bytes) = read_file(disk.as_ref(), &path)? else {
        return Ok(None);
    };
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    if manifest.format_version != SNAPSHOT_FORMAT_VERSION {
        return Err(io::Error::other(format!(
            "{} has format {}, this build knows {SNAPSHOT_FORMAT_VERSION}",
            path.display(),
            manifest.format_version
        )));
    }
    let label = Label {
        last: manifest.last.map(|(term, index)| Position { term, index }),
        membership: manifest
            .membership
            .map(|(term, index, bytes)| (Position { term, index }, bytes.into())),
    };
    let snapshot = SnapshotDir::new(
        manifest.id,
        dir.to_owned(),
        manifest.files,
        disk.clone(),
        worker.clone(),
    );
    Ok(Some(Snapshot {
        meta: label.to_meta()?,
        snapshot,
    }))
}
