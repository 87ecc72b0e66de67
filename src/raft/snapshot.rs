//! Snapshots on disk: a RocksDB checkpoint with a manifest, built beside the apply thread.
//!
//! ```text
//! snapshot/<id>/manifest.json     format, label (last log position, membership), files
//! snapshot/<id>/data/...          the checkpoint: hard links to the store's files
//! snapshot/recv-<id>/...          one that is being received
//! snapshot/inst-<id>-.../...      one that was received, is verified and waits to be installed
//! snapshot/tmp-...                one that is being built
//! ```
//!
//! A directory named by its id is complete, because the last step of making it is the rename. The
//! label is read from inside the checkpoint, so it cannot disagree with the data.
//!
//! Checkpoints are made on one worker, and so is the removal of an old state directory: a checkpoint
//! links the files of the store that it copies. An install happens beside them, on the apply thread;
//! a build of the store that it replaced may end after it and must not count then ([`Kept`]).

use super::applier::SharedStore;
use super::sends::Sends;
use super::snapshot_dir::{DATA, Home, SnapshotDir, SnapshotFile};
use super::type_config::{LogId, SnapshotMeta, StoredMembership, TypeConfig, log_id_of};
use super::wire::{decode_membership, encode_membership};
use crate::env::disk::{read_file, write_file_durably};
use crate::env::{Disk, Randomness, Worker};
use crate::mvcc::Store;
use crate::types::Position;
use openraft::alias::SnapshotOf;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Raised when the files of a snapshot change their meaning.
pub(super) const SNAPSHOT_FORMAT_VERSION: u32 = 1;

const MANIFEST: &str = "manifest.json";

pub(super) type Snapshot = SnapshotOf<TypeConfig, SnapshotDir>;

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
    home: Home,
    randomness: Arc<dyn Randomness>,
    kept: Mutex<Kept>,
}

/// Invariant: `current` is none, or not older than `floor`.
#[derive(Default)]
struct Kept {
    current: Option<Snapshot>,
    /// What the last install brought: a build that holds less copied the store before it.
    floor: Option<LogId>,
}

impl Snapshots {
    /// Finds the newest complete snapshot and removes everything else but half-received ones, which
    /// a sender may resume. Files are made and moved on `worker`; on `rows` those that go to another
    /// member are read whole. Blocking.
    pub fn open(
        dir: PathBuf,
        disk: Arc<dyn Disk>,
        randomness: Arc<dyn Randomness>,
        worker: Worker,
        rows: Worker,
    ) -> io::Result<Self> {
        let home = Home {
            disk,
            worker,
            rows,
            sends: Sends::default(),
        };
        home.disk.create_dir_all(&dir)?;
        let mut newest: Option<Snapshot> = None;
        for name in home.disk.list(&dir)? {
            let path = dir.join(&name);
            if name.starts_with("recv-") {
                continue;
            }
            let found = if name.starts_with("tmp-") || name.starts_with("inst-") {
                None
            } else {
                read_manifest(&home, &path)?
            };
            let Some(found) = found else {
                home.disk.remove_dir_all(&path)?;
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
        let kept = Mutex::new(Kept {
            current: newest,
            floor: None,
        });
        Ok(Self {
            shared: Arc::new(Shared {
                dir,
                home,
                randomness,
                kept,
            }),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn current(&self) -> Option<Snapshot> {
        self.kept().current.clone()
    }

    /// Whether there is no snapshot although there should be: the one after an install is not built
    /// yet.
    pub fn is_due(&self) -> bool {
        let kept = self.kept();
        kept.current.is_none() && kept.floor.is_some()
    }

    /// The state has been replaced by one that holds all up to `last`: older snapshots, and builds
    /// of the old state that end only now, count no more.
    pub(super) fn installed(&self, last: Option<LogId>) {
        let mut kept = self.kept();
        kept.floor = last;
        if kept
            .current
            .as_ref()
            .is_some_and(|current| current.meta.last_log_id <= last)
            && let Some(old) = kept.current.take()
        {
            old.snapshot.retire();
        }
    }

    /// Forgets a snapshot with which the log no longer goes on: after a crash in the middle of an
    /// install the old one is there still. openraft then builds one of the state, which it does only
    /// if there is none at all; the old one would be sent to followers for ever, to no avail.
    pub fn forget_older_than(&self, needed: Position) {
        let mut kept = self.kept();
        let old = kept.current.take_if(|current| {
            let last = current.meta.last_log_id.as_ref();
            last.is_none_or(|last| last.index < needed.index)
        });
        if let Some(old) = old {
            tracing::warn!(
                id = old.snapshot.id(),
                needed = needed.index,
                "a snapshot is older than the log: building another"
            );
            old.snapshot.retire();
        }
    }

    /// Makes a snapshot the current one if it is newer. Answers the one to use.
    fn adopt(&self, snapshot: Snapshot) -> Snapshot {
        let mut kept = self.kept();
        let last = &snapshot.meta.last_log_id;
        if let Some(current) = &kept.current
            && current.meta.last_log_id >= *last
        {
            snapshot.snapshot.retire();
            return current.clone();
        }
        if *last < kept.floor {
            snapshot.snapshot.retire();
            return snapshot;
        }
        if let Some(old) = kept.current.replace(snapshot.clone()) {
            old.snapshot.retire();
        }
        snapshot
    }

    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.home.disk
    }

    pub fn worker(&self) -> &Worker {
        &self.shared.home.worker
    }

    pub(super) fn home(&self) -> &Home {
        &self.shared.home
    }

    pub fn sends(&self) -> &Sends {
        &self.shared.home.sends
    }

    /// A name that no other directory has.
    pub(super) fn fresh_name(&self, prefix: &str) -> String {
        format!("{prefix}{:016x}", self.shared.randomness.next_u64())
    }

    /// Makes a snapshot of the store that is in use when the worker comes to it.
    pub async fn build(&self, store: SharedStore) -> io::Result<Snapshot> {
        let this = self.clone();
        self.worker()
            .run(move || this.build_blocking(&store.load_full()))
            .await?
    }

    /// As [`Self::build`], on the caller's thread, which must be the worker's.
    pub(super) fn build_blocking(&self, store: &Store) -> io::Result<Snapshot> {
        let tmp = self.shared.dir.join(self.fresh_name("tmp-"));
        let built = self.build_in(store, &tmp);
        if built.is_err()
            && let Err(error) = self.disk().remove_dir_all(&tmp)
        {
            // The next start removes it.
            tracing::debug!(%error, "half of a snapshot stays on disk");
        }
        Ok(self.adopt(built?))
    }

    fn build_in(&self, store: &Store, tmp: &Path) -> io::Result<Snapshot> {
        let shared = &self.shared;
        let disk = &shared.home.disk;
        disk.create_dir_all(tmp)?;
        let data = tmp.join(DATA);
        store.checkpoint(&data).map_err(io::Error::other)?;
        let label = Store::read_label(&data).map_err(io::Error::other)?;
        let label = Label {
            last: label.applied,
            membership: label.membership,
        };
        let files = SnapshotFile::list(disk.as_ref(), &data)?;
        // RocksDB fsyncs table files; the small ones that it copied are fsynced here.
        for file in &files {
            disk.open(&data.join(&file.name))?.sync()?;
        }
        disk.sync_dir(&data)?;
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
        write_file_durably(disk.as_ref(), &tmp.join(MANIFEST), &bytes)?;
        let dir = shared.dir.join(&id);
        disk.rename(tmp, &dir)?;
        disk.sync_dir(&shared.dir)?;
        let snapshot = SnapshotDir::new(id, dir, files, shared.home.clone());
        Ok(Snapshot {
            meta: label.to_meta()?,
            snapshot,
        })
    }
}

/// Refuses the snapshots of a newer build, and writes nothing. What is damaged is no reason to
/// refuse anything: the state can be snapshotted again.
pub(super) fn check_formats(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if !disk.exists(dir)? {
        return Ok(());
    }
    for name in disk.list(dir)? {
        let path = dir.join(name).join(MANIFEST);
        if let Some(bytes) = read_file(disk, &path)? {
            check_manifest_format(&bytes, &path)?;
        }
    }
    Ok(())
}

fn check_manifest_format(bytes: &[u8], path: &Path) -> io::Result<()> {
    #[derive(Deserialize)]
    struct VersionOnly {
        format_version: u32,
    }
    match serde_json::from_slice::<VersionOnly>(bytes) {
        Ok(version) if version.format_version > SNAPSHOT_FORMAT_VERSION => {
            Err(io::Error::other(format!(
                "{} has format {}, newer than the {SNAPSHOT_FORMAT_VERSION} this build knows",
                path.display(),
                version.format_version
            )))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// `None` if the directory holds no manifest, or a damaged one, which makes it worthless.
fn read_manifest(home: &Home, dir: &Path) -> io::Result<Option<Snapshot>> {
    let path = dir.join(MANIFEST);
    let Some(bytes) = read_file(home.disk.as_ref(), &path)? else {
        return Ok(None);
    };
    check_manifest_format(&bytes, &path)?;
    let manifest: Manifest = match serde_json::from_slice(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a damaged snapshot is removed");
            return Ok(None);
        }
    };
    let label = Label {
        last: manifest.last.map(|(term, index)| Position { term, index }),
        membership: manifest
            .membership
            .map(|(term, index, bytes)| (Position { term, index }, bytes.into())),
    };
    let snapshot = SnapshotDir::new(manifest.id, dir.to_owned(), manifest.files, home.clone());
    Ok(Some(Snapshot {
        meta: label.to_meta()?,
        snapshot,
    }))
}
