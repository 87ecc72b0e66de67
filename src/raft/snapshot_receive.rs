//! The receiving side of a snapshot: what is here already, what arrived, and whether it is whole.
//!
//! Every file is checked against the offer's checksum before anything is installed: resumed bytes
//! are trusted no more than new ones. What arrives from a file's beginning to its end is summed and
//! synced on its way; everything else is read for it.

use super::halt::Halt;
use super::snapshot::{Label, SNAPSHOT_FORMAT_VERSION, Snapshot, Snapshots};
use super::snapshot_dir::{SnapshotDir, SnapshotFile, checksum, digest};
use super::status::Status as MemberStatus;
use super::type_config::{Vote, vote_of};
use super::wire::{self, WireError};
use crate::env::Disk;
use crate::mvcc::Store;
use crate::proto::peer;
use crate::types::Position;
use crc_fast::Digest;
use futures_util::{Stream, StreamExt};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;
use tonic::Status;

/// A checkpoint has tens of files a gigabyte; far more is nonsense.
const FILES_MAX: usize = 100_000;
/// Longest silence of a sender.
const RECEIVE_STALL: Duration = Duration::from_secs(30);

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("snapshot: {error}"))
}

/// The receiving side: at most one snapshot at a time, that of the newest offer. An older transfer gives
/// way to it: its sender may have a disk that hangs, and be replaced for that very reason.
#[derive(Clone)]
pub struct Receiver {
    snapshots: Snapshots,
    current: Arc<Mutex<Option<Receiving>>>,
    newest: Arc<watch::Sender<Offered>>,
}

/// Who offered last.
#[derive(Clone, Copy, Default)]
struct Offered {
    /// The leader's.
    term: u64,
    /// Of the offer.
    number: u64,
}

/// Why a snapshot is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// A newer build made it, and it will not get older: this member has to stop.
    Newer(String),
    Status(Status),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Refused {
    /// What the sender hears; a reason to stop goes to whoever stops the process.
    pub(super) fn into_status(self, halt: &mpsc::Sender<Halt>) -> Status {
        match self {
            Self::Status(status) => status,
            Self::Newer(reason) => {
                let status = Status::failed_precondition(reason.as_str());
                // Full means that an earlier reason is on its way already.
                halt.try_send(Halt::NewerFormat(reason)).ok();
                status
            }
        }
    }
}

pub(super) struct Receiving {
    /// Of its offer.
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) dir: PathBuf,
    pub(super) label: Label,
    pub(super) files: Vec<(SnapshotFile, u32)>,
    /// Of those that came whole, by their number, the sums of what came.
    pub(super) sums: BTreeMap<usize, u32>,
}

/// The file that is arriving.
struct Arriving {
    number: usize,
    /// Up to where it came without a gap.
    end: u64,
    digest: Digest,
}

impl Receiver {
    pub fn new(snapshots: Snapshots) -> Self {
        Self {
            snapshots,
            current: Arc::default(),
            newest: Arc::default(),
        }
    }

    /// From here on transfers of earlier offers end; one of a deposed leader takes nobody's place.
    fn supersede(&self, term: u64) -> Result<u64, Status> {
        let mut taken = None;
        self.newest.send_if_modified(|newest| {
            if term < newest.term {
                return false;
            }
            let number = newest.number + 1;
            *newest = Offered { term, number };
            taken = Some(number);
            true
        });
        taken.ok_or_else(|| Status::aborted(SUPERSEDED))
    }

    /// Takes an offer in, of the leader of `term`, and answers how much of each file is here already.
    pub(super) async fn offered(
        &self,
        term: u64,
        offer: peer::SnapshotOffer,
    ) -> Result<Vec<u64>, Refused> {
        if offer.format_version > SNAPSHOT_FORMAT_VERSION {
            return Err(Refused::Newer(format!(
                "a snapshot has format {}, newer than the {SNAPSHOT_FORMAT_VERSION} this build \
                 knows: upgrade it",
                offer.format_version
            )));
        }
        if offer.format_version < SNAPSHOT_FORMAT_VERSION {
            return Err(Status::failed_precondition("a snapshot of an old format").into());
        }
        let sane = |name: &str| {
            !name.is_empty()
                && name.len() < 128
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
                && !name.starts_with('.')
        };
        if !sane(&offer.snapshot_id)
            || offer.files.len() > FILES_MAX
            || !offer.files.iter().all(|file| sane(&file.name))
        {
            return Err(Status::invalid_argument("snapshot offer: names").into());
        }
        if let Some(position) = offer.membership_position
            && let Err(error) = wire::decode_membership(&offer.membership)
        {
            return Err(match error {
                WireError::NewerFormat { .. } => Refused::Newer(error.to_string()),
                WireError::Malformed(_) => {
                    let index = position.index;
                    Status::invalid_argument(format!("membership at {index}: {error}")).into()
                }
            });
        }
        let membership = offer.membership_position.map(|position| {
            (
                wire::position_from_proto(position),
                offer.membership.clone(),
            )
        });
        let label = Label {
            last: offer.last.map(wire::position_from_proto),
            membership,
        };
        let files: Vec<_> = offer
            .files
            .into_iter()
            .map(|file| {
                (
                    SnapshotFile {
                        name: file.name,
                        bytes: file.bytes,
                    },
                    file.crc32c,
                )
            })
            .collect();
        let number = self.supersede(term)?;
        let mut current = self.current.lock().await;
        if self.newest.borrow().number != number {
            return Err(Status::aborted(SUPERSEDED).into());
        }
        let name = format!("recv-{}", offer.snapshot_id);
        let dir = self.snapshots.dir().join(&name);
        let (snapshots, names) = (self.snapshots.clone(), files.clone());
        let held = self
            .snapshots
            .worker()
            .run(move || prepare(&snapshots, &name, &names))
            .await
            .map_err(internal)?
            .map_err(internal)?;
        *current = Some(Receiving {
            number,
            id: offer.snapshot_id,
            dir,
            label,
            files,
            sums: BTreeMap::new(),
        });
        Ok(held)
    }

    /// Takes the lacking parts and answers the verified snapshot, ready to be installed.
    pub(super) async fn receive(
        &self,
        frames: impl Stream<Item = Result<peer::SnapshotFrame, Status>>,
    ) -> Result<(Vote, Snapshot), Refused> {
        use peer::snapshot_frame::Frame;
        let mut frames = std::pin::pin!(frames);
        let mut newest = self.newest.subscribe();
        let mut current = self.current.try_lock().map_err(|_| busy())?;
        let receiving = current
            .as_ref()
            .ok_or_else(|| Status::failed_precondition("no snapshot offered"))?;
        let number = receiving.number;
        let mut next = async || {
            let frame = tokio::select! {
                frame = timeout(RECEIVE_STALL, frames.next()) => frame,
                _ = newest.wait_for(|newest| newest.number > number) => {
                    return Err(Status::aborted(SUPERSEDED));
                }
            };
            let frame =
                frame.map_err(|_| Status::deadline_exceeded("the snapshot's sender stalls"));
            Ok(frame?.transpose()?.and_then(|frame| frame.frame))
        };
        let Some(Frame::Head(head)) = next().await? else {
            return Err(Status::invalid_argument("snapshot: no head").into());
        };
        if head.snapshot_id != receiving.id {
            let reason = "another snapshot was offered since";
            return Err(Status::failed_precondition(reason).into());
        }
        let vote = wire::vote_from_proto(head.vote)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let worker = self.snapshots.worker();
        let mut arriving = None;
        let mut sums = BTreeMap::new();
        loop {
            match next().await? {
                // A sign of life.
                Some(Frame::Chunk(chunk)) if chunk.bytes.is_empty() => {}
                Some(Frame::Chunk(chunk)) => {
                    let number = chunk.file as usize;
                    let (file, _) = receiving.files.get(number).ok_or_else(wrong_chunk)?;
                    let end = chunk.offset.checked_add(chunk.bytes.len() as u64);
                    if end.is_none_or(|end| end > file.bytes) {
                        return Err(wrong_chunk().into());
                    }
                    let path = receiving.dir.join("data").join(&file.name);
                    let (disk, bytes) = (self.snapshots.disk().clone(), file.bytes);
                    let before = arriving.take();
                    arriving = worker
                        .run(move || {
                            let open = disk.open(&path)?;
                            open.write_uncached_at(&chunk.bytes, chunk.offset)?;
                            let arriving = Arriving::go_on(before, &chunk);
                            if arriving.as_ref().is_some_and(|it| it.end == bytes) {
                                open.sync()?;
                            }
                            Ok::<_, io::Error>(arriving)
                        })
                        .await
                        .map_err(internal)?
                        .map_err(internal)?;
                    // Whatever is written to a file after its end is no longer what was summed.
                    sums.remove(&number);
                    if let Some(whole) = arriving.take_if(|it| it.end == bytes) {
                        sums.insert(number, whole.sum().map_err(internal)?);
                    }
                }
                Some(Frame::End(_)) => break,
                _ => return Err(Status::unavailable("the snapshot's sender hung up").into()),
            }
        }
        let mut receiving = current.take().ok_or_else(wrong_chunk)?;
        receiving.sums = sums;
        let snapshots = self.snapshots.clone();
        let snapshot = worker
            .run(move || verify(&snapshots, receiving))
            .await
            .map_err(internal)?;
        Ok((vote, snapshot?))
    }
}

impl Arriving {
    /// With one more chunk; none, if it is not the next of its file, whose sum has to be read then.
    fn go_on(before: Option<Self>, chunk: &peer::SnapshotChunk) -> Option<Self> {
        let number = chunk.file as usize;
        let mut this = if chunk.offset == 0 {
            Self {
                number,
                end: 0,
                digest: digest(),
            }
        } else {
            before.filter(|it| it.number == number && it.end == chunk.offset)?
        };
        this.digest.update(&chunk.bytes);
        this.end += chunk.bytes.len() as u64;
        Some(this)
    }

    fn sum(self) -> io::Result<u32> {
        u32::try_from(self.digest.finalize()).map_err(io::Error::other)
    }
}

/// The vote of this member if it is higher: a deposed leader must not disturb what the new one
/// sends.
pub(super) fn higher_vote(status: &MemberStatus, vote: &Vote) -> Option<Vote> {
    let own = vote_of(status.term, status.voted_for, status.vote_committed);
    let is_lower = vote.partial_cmp(&own).is_none_or(Ordering::is_lt);
    is_lower.then_some(own)
}

/// What openraft asserts of a snapshot, asked of a value that came over the network.
pub(super) fn plausible(
    last: Option<Position>,
    vote: &Vote,
    committed: Option<Position>,
) -> Result<(), Status> {
    let Some(last) = last else { return Ok(()) };
    if last.term > vote.leader_id.term {
        return Err(Status::invalid_argument(
            "a snapshot with entries of a later term than its sender's",
        ));
    }
    if committed.is_some_and(|committed| last > committed && last.index <= committed.index) {
        return Err(Status::invalid_argument(
            "a snapshot that contradicts what is committed here",
        ));
    }
    Ok(())
}

const SUPERSEDED: &str = "a newer snapshot is offered";

fn busy() -> Status {
    Status::resource_exhausted("a snapshot is being received already")
}

fn wrong_chunk() -> Status {
    Status::invalid_argument("snapshot: a chunk outside of its file")
}

/// Makes the directory and the files; of other half-received snapshots it keeps what is equal.
pub(super) fn prepare(
    snapshots: &Snapshots,
    name: &str,
    files: &[(SnapshotFile, u32)],
) -> io::Result<Vec<u64>> {
    let disk = snapshots.disk();
    let data = snapshots.dir().join(name).join("data");
    disk.create_dir_all(&data)?;
    for other in disk.list(snapshots.dir())? {
        if other.starts_with("recv-") && other != name {
            let other = snapshots.dir().join(other);
            carry_over(disk.as_ref(), &other.join("data"), &data, files)?;
            disk.remove_dir_all(&other)?;
        }
    }
    let mut held = Vec::with_capacity(files.len());
    for (file, _) in files {
        let path = data.join(&file.name);
        if disk.exists(&path)? {
            held.push(disk.open(&path)?.len()?.min(file.bytes));
        } else {
            disk.create(&path)?;
            held.push(0);
        }
    }
    Ok(held)
}

/// Takes whole files from a transfer that was cut. RocksDB never changes a table file, so the next
/// snapshot of the same store holds most of them again; under load there is always a next one.
fn carry_over(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    files: &[(SnapshotFile, u32)],
) -> io::Result<()> {
    for (file, crc32c) in files {
        let (old, new) = (from.join(&file.name), to.join(&file.name));
        if !disk.exists(&old)? || disk.exists(&new)? {
            continue;
        }
        let open = disk.open(&old)?;
        if open.len()? == file.bytes && checksum(open.as_ref(), file.bytes)? == *crc32c {
            drop(open);
            disk.rename(&old, &new)?;
        }
    }
    Ok(())
}

/// Checks sizes, checksums and the label, makes everything durable and moves it to where no later
/// offer looks. What does not match is removed, so that the next offer starts anew.
pub(super) fn verify(snapshots: &Snapshots, receiving: Receiving) -> Result<Snapshot, Refused> {
    match check(snapshots, &receiving) {
        Ok(()) => {}
        Err(reason) => {
            snapshots
                .disk()
                .remove_dir_all(&receiving.dir)
                .map_err(internal)?;
            return Err(reason);
        }
    }
    let dir = snapshots
        .dir()
        .join(snapshots.fresh_name(&format!("inst-{}-", receiving.id)));
    let disk = snapshots.disk();
    disk.rename(&receiving.dir, &dir).map_err(internal)?;
    disk.sync_dir(snapshots.dir()).map_err(internal)?;
    let files = receiving.files.into_iter().map(|(file, _)| file).collect();
    let snapshot = SnapshotDir::new(receiving.id, dir, files, snapshots.home().clone());
    // openraft drops a snapshot that it does not need without a word: the directory goes with it.
    snapshot.retire();
    Ok(Snapshot {
        meta: receiving.label.to_meta().map_err(internal)?,
        snapshot,
    })
}

fn check(snapshots: &Snapshots, receiving: &Receiving) -> Result<(), Refused> {
    let disk = snapshots.disk();
    let data = receiving.dir.join("data");
    for (number, (file, expected)) in receiving.files.iter().enumerate() {
        let whole = || -> io::Result<bool> {
            let open = disk.open(&data.join(&file.name))?;
            if open.len()? != file.bytes {
                return Ok(false);
            }
            if let Some(sum) = receiving.sums.get(&number) {
                return Ok(sum == expected);
            }
            let whole = checksum(open.as_ref(), file.bytes)? == *expected;
            open.sync()?;
            Ok(whole)
        };
        if !whole().map_err(internal)? {
            return Err(internal(format!("{} arrived damaged", file.name)).into());
        }
    }
    disk.sync_dir(&data).map_err(internal)?;
    // openraft takes the label's word for what the data is.
    let held = Store::read_label(&data).map_err(|error| {
        if error.is_newer_format() {
            return Refused::Newer(error.to_string());
        }
        internal(error).into()
    })?;
    let held = Label {
        last: held.applied,
        membership: held.membership,
    };
    let same = held.to_meta().map_err(internal)? == receiving.label.to_meta().map_err(internal)?;
    if !same {
        return Err(internal(format!(
            "it is labelled {:?} and holds {:?}",
            receiving.label.last, held.last
        ))
        .into());
    }
    Ok(())
}
