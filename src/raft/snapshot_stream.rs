//! A snapshot from one member to another: offer, what is lacking, chunks, end.
//!
//! The receiver keeps half-received files, so an interrupted transfer goes on where it stopped, and
//! checks every file against the offer's checksum before anything is installed: resumed bytes are
//! trusted no more than new ones. The sender is paced, so that a transfer leaves the link and the
//! disk to the clients.

use super::links::Client;
use super::snapshot::{
    Label, SNAPSHOT_FORMAT_VERSION, Snapshot, SnapshotDir, SnapshotFile, Snapshots, checksum,
    label_of,
};
use super::type_config::Vote;
use super::wire;
use crate::env::DiskFile;
use crate::proto::peer;
use bytes::Bytes;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Bytes of a file in one frame.
const CHUNK_BYTES: u64 = 1 << 20;
/// Frames between the disk and the network.
const FRAMES_QUEUED_MAX: usize = 4;
/// The sender's pace.
pub(super) const SEND_BYTES_PER_SECOND: u64 = 256 << 20;
/// A checkpoint has tens of files a gigabyte; far more is nonsense.
const FILES_MAX: usize = 100_000;
/// Verifying and installing, once the last byte has arrived.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Sends a snapshot. Answers the receiver's vote, which may be a higher one.
pub(super) async fn send(
    mut client: Client,
    vote: Vote,
    snapshot: Snapshot,
    stall: Duration,
) -> Result<Vote, Status> {
    let label = label_of(&snapshot.meta);
    let dir = snapshot.snapshot;
    let offer = offer(&dir, &label).await?;
    let answer = within(stall, client.offer_snapshot(offer))
        .await?
        .into_inner();
    if let Some(higher) = answer.vote {
        return wire::vote_from_proto(Some(higher)).map_err(internal);
    }
    let (frames, queue) = mpsc::channel(FRAMES_QUEUED_MAX);
    let produce = produce(dir.clone(), vote, answer.held_bytes, frames, stall);
    let call = client.send_snapshot(ReceiverStream::new(queue));
    tokio::pin!(call);
    let receipt = tokio::select! {
        // Before the last frame only a refusal can come.
        receipt = &mut call => receipt?,
        produced = produce => {
            produced?;
            within(INSTALL_TIMEOUT, call).await?
        }
    };
    wire::vote_from_proto(receipt.into_inner().vote).map_err(internal)
}

async fn offer(dir: &SnapshotDir, label: &Label) -> Result<peer::SnapshotOffer, Status> {
    let whole = dir.clone();
    let sums = dir
        .worker()
        .run(move || whole.checksums().map(<[u32]>::to_vec))
        .await;
    let sums = sums.and_then(|sums| sums).map_err(internal)?;
    let files = dir
        .files()
        .iter()
        .zip(sums)
        .map(|(file, crc32c)| peer::SnapshotFile {
            name: file.name.clone(),
            bytes: file.bytes,
            crc32c,
        });
    let (membership_position, membership) = label.membership.clone().unzip();
    Ok(peer::SnapshotOffer {
        format_version: SNAPSHOT_FORMAT_VERSION,
        snapshot_id: dir.id().to_owned(),
        last: label.last.map(wire::position_to_proto),
        membership: membership.unwrap_or_default(),
        membership_position: membership_position.map(wire::position_to_proto),
        files: files.collect(),
    })
}

async fn produce(
    dir: SnapshotDir,
    vote: Vote,
    held: Vec<u64>,
    frames: mpsc::Sender<peer::SnapshotFrame>,
    stall: Duration,
) -> Result<(), Status> {
    use peer::snapshot_frame::Frame;
    let send = async |frame| {
        let frame = peer::SnapshotFrame { frame: Some(frame) };
        let sent = timeout(stall, frames.send(frame)).await;
        let sent = sent.map_err(|_| Status::deadline_exceeded("the snapshot's receiver stalls"))?;
        sent.map_err(|_| Status::unavailable("the snapshot's receiver hung up"))
    };
    let head = peer::SnapshotHead {
        snapshot_id: dir.id().to_owned(),
        vote: Some(wire::vote_to_proto(&vote)),
    };
    send(Frame::Head(head)).await?;
    let started = Instant::now();
    let mut sent_bytes = 0;
    for (number, file) in dir.files().iter().enumerate() {
        let open: Arc<dyn DiskFile> = dir.open_file(&file.name).map_err(internal)?.into();
        let mut offset = held.get(number).copied().unwrap_or(0).min(file.bytes);
        while offset < file.bytes {
            let take = (file.bytes - offset).min(CHUNK_BYTES);
            let source = open.clone();
            let read = move || read_chunk(source.as_ref(), offset, take);
            let bytes = dir
                .worker()
                .run(read)
                .await
                .and_then(|bytes| bytes)
                .map_err(internal)?;
            let file = u32::try_from(number).map_err(internal)?;
            send(Frame::Chunk(peer::SnapshotChunk {
                file,
                offset,
                bytes,
            }))
            .await?;
            offset += take;
            sent_bytes += take;
            let due = Duration::from_secs_f64(sent_bytes as f64 / SEND_BYTES_PER_SECOND as f64);
            tokio::time::sleep_until(started + due).await;
        }
    }
    send(Frame::End(peer::SnapshotEnd {})).await
}

fn read_chunk(file: &dyn DiskFile, offset: u64, bytes: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    timeout(limit, call)
        .await
        .map_err(|_| Status::deadline_exceeded("peer call"))?
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("snapshot: {error}"))
}

/// The receiving side: at most one snapshot at a time.
#[derive(Clone)]
pub struct Receiver {
    snapshots: Snapshots,
    current: Arc<Mutex<Option<Receiving>>>,
}

struct Receiving {
    id: String,
    dir: PathBuf,
    label: Label,
    files: Vec<(SnapshotFile, u32)>,
}

impl Receiver {
    pub fn new(snapshots: Snapshots) -> Self {
        Self {
            snapshots,
            current: Arc::default(),
        }
    }

    /// Takes an offer in and answers how much of each file is here already.
    pub async fn offered(&self, offer: peer::SnapshotOffer) -> Result<Vec<u64>, Status> {
        if offer.format_version != SNAPSHOT_FORMAT_VERSION {
            return Err(Status::failed_precondition(format!(
                "snapshot format {}, this member knows {SNAPSHOT_FORMAT_VERSION}",
                offer.format_version
            )));
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
            return Err(Status::invalid_argument("snapshot offer: names"));
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
        label
            .to_meta()
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
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
        let mut current = self.current.try_lock().map_err(|_| busy())?;
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
            id: offer.snapshot_id,
            dir,
            label,
            files,
        });
        Ok(held)
    }

    /// Takes the lacking parts and answers the verified snapshot, ready to be installed.
    pub async fn receive(
        &self,
        mut frames: tonic::Streaming<peer::SnapshotFrame>,
    ) -> Result<(Vote, Snapshot), Status> {
        use peer::snapshot_frame::Frame;
        let mut current = self.current.try_lock().map_err(|_| busy())?;
        let receiving = current
            .as_ref()
            .ok_or_else(|| Status::failed_precondition("no snapshot offered"))?;
        let Some(Frame::Head(head)) = frames.message().await?.and_then(|frame| frame.frame) else {
            return Err(Status::invalid_argument("snapshot: no head"));
        };
        if head.snapshot_id != receiving.id {
            return Err(Status::failed_precondition(
                "another snapshot was offered since",
            ));
        }
        let vote = wire::vote_from_proto(head.vote)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let worker = self.snapshots.worker();
        loop {
            match frames.message().await?.and_then(|frame| frame.frame) {
                Some(Frame::Chunk(chunk)) => {
                    let number = chunk.file as usize;
                    let file = receiving.files.get(number).ok_or_else(wrong_chunk)?;
                    let end = chunk.offset.checked_add(chunk.bytes.len() as u64);
                    if end.is_none_or(|end| end > file.0.bytes) {
                        return Err(wrong_chunk());
                    }
                    let path = receiving.dir.join("data").join(&file.0.name);
                    let disk = self.snapshots.disk().clone();
                    worker
                        .run(move || disk.open(&path)?.write_all_at(&chunk.bytes, chunk.offset))
                        .await
                        .map_err(internal)?
                        .map_err(internal)?;
                }
                Some(Frame::End(_)) => break,
                _ => return Err(Status::unavailable("the snapshot's sender hung up")),
            }
        }
        let receiving = current.take().ok_or_else(wrong_chunk)?;
        let snapshots = self.snapshots.clone();
        let snapshot = worker
            .run(move || verify(&snapshots, receiving))
            .await
            .map_err(internal)?
            .map_err(internal)?;
        Ok((vote, snapshot))
    }
}

fn busy() -> Status {
    Status::resource_exhausted("a snapshot is being received already")
}

fn wrong_chunk() -> Status {
    Status::invalid_argument("snapshot: a chunk outside of its file")
}

/// Makes the directory and the files; removes other half-received snapshots.
fn prepare(
    snapshots: &Snapshots,
    name: &str,
    files: &[(SnapshotFile, u32)],
) -> io::Result<Vec<u64>> {
    let disk = snapshots.disk();
    for other in disk.list(snapshots.dir())? {
        if other.starts_with("recv-") && other != name {
            disk.remove_dir_all(&snapshots.dir().join(other))?;
        }
    }
    let data = snapshots.dir().join(name).join("data");
    disk.create_dir_all(&data)?;
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

/// Checks sizes and checksums and makes everything durable. What does not match is removed, so that
/// the next offer starts anew.
fn verify(snapshots: &Snapshots, receiving: Receiving) -> io::Result<Snapshot> {
    let disk = snapshots.disk();
    let data = receiving.dir.join("data");
    let mut files = Vec::with_capacity(receiving.files.len());
    for (file, expected) in receiving.files {
        let open = disk.open(&data.join(&file.name))?;
        let whole = open.len()? == file.bytes && checksum(open.as_ref(), file.bytes)? == expected;
        if !whole {
            disk.remove_dir_all(&receiving.dir)?;
            return Err(io::Error::other(format!("{} arrived damaged", file.name)));
        }
        open.sync()?;
        files.push(file);
    }
    disk.sync_dir(&data)?;
    let snapshot = SnapshotDir::new(
        receiving.id,
        receiving.dir,
        files,
        disk.clone(),
        snapshots.worker().clone(),
    );
    // openraft drops a snapshot that it does not need without a word: the directory goes with it.
    snapshot.retire();
    Ok(Snapshot {
        meta: receiving.label.to_meta()?,
        snapshot,
    })
}
