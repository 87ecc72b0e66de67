//! A snapshot from one member to another: offer, what is lacking, chunks, end.
//!
//! The receiver ([`super::snapshot_receive`]) keeps half-received files, so an interrupted transfer
//! goes on where it stopped. The sender is paced, so that a transfer leaves the link and the
//! disk to the clients. Beside it all rows are read: before the end is said, nothing is taken over.

use super::links::Client;
use super::pace::Pace;
use super::snapshot::{Label, SNAPSHOT_FORMAT_VERSION, Snapshot, label_of};
use super::snapshot_dir::SnapshotDir;
use super::type_config::Vote;
use super::wire;
use crate::env::DiskFile;
use crate::proto::peer;
use crate::proto::peer::snapshot_frame::Frame;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Four times a backup's: until it is there a member is one less to rely on.
const BYTES_PER_SECOND: u64 = 1 << 30;
/// Bytes of a file in one frame.
const CHUNK_BYTES: u64 = 1 << 20;
/// Between two frames without content, where there is nothing to send yet.
const ALIVE: Duration = Duration::from_secs(5);
/// Frames between the disk and the network.
const FRAMES_QUEUED_MAX: usize = 4;
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
    // The receiver will need what follows: housekeeping keeps it.
    let _sending = dir.sends().begin(label.last.map_or(0, |last| last.index));
    let offer = offer(&dir, &label, vote).await?;
    let answer = within(stall, client.offer_snapshot(offer))
        .await?
        .into_inner();
    if let Some(higher) = answer.vote {
        return wire::vote_from_proto(Some(higher)).map_err(internal);
    }
    let (frames, queue) = mpsc::channel(FRAMES_QUEUED_MAX);
    let out = Out {
        frames,
        stall,
        alive: ALIVE,
    };
    let produce = produce(dir.clone(), vote, answer.held_bytes, out);
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

pub(super) async fn offer(
    dir: &SnapshotDir,
    label: &Label,
    vote: Vote,
) -> Result<peer::SnapshotOffer, Status> {
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
        vote: Some(wire::vote_to_proto(&vote)),
    })
}

/// All that the receiver does not hold, and the end only when all rows were read.
pub(super) async fn produce(
    dir: SnapshotDir,
    vote: Vote,
    held: Vec<u64>,
    out: Out,
) -> Result<(), Status> {
    out.send(Frame::Head(peer::SnapshotHead {
        snapshot_id: dir.id().to_owned(),
        vote: Some(wire::vote_to_proto(&vote)),
    }))
    .await?;
    let rows = dir.check_rows();
    let files = send_files(&dir, &held, &out);
    tokio::pin!(rows, files);
    let (mut checked, mut sent) = (false, false);
    while !checked || !sent {
        tokio::select! {
            read = &mut rows, if !checked => {
                read.map_err(internal)?;
                checked = true;
            }
            all = &mut files, if !sent => {
                all?;
                sent = true;
            }
            // The receiver takes a long silence for an end.
            () = sleep(out.alive), if sent => out.send(Frame::Chunk(Default::default())).await?,
        }
    }
    out.send(Frame::End(peer::SnapshotEnd {})).await
}

async fn send_files(dir: &SnapshotDir, held: &[u64], out: &Out) -> Result<(), Status> {
    let mut pace = Pace::new(BYTES_PER_SECOND, Instant::now());
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
            out.send(Frame::Chunk(peer::SnapshotChunk {
                file,
                offset,
                bytes,
            }))
            .await?;
            offset += take;
            sleep_until(pace.sent(take, Instant::now())).await;
        }
    }
    Ok(())
}

/// The way to the receiver.
pub(super) struct Out {
    pub(super) frames: mpsc::Sender<peer::SnapshotFrame>,
    /// How long it may take nothing.
    pub(super) stall: Duration,
    /// Between two frames without content.
    pub(super) alive: Duration,
}

impl Out {
    async fn send(&self, frame: Frame) -> Result<(), Status> {
        let frame = peer::SnapshotFrame { frame: Some(frame) };
        let sent = timeout(self.stall, self.frames.send(frame)).await;
        let sent = sent.map_err(|_| Status::deadline_exceeded("the snapshot's receiver stalls"))?;
        sent.map_err(|_| Status::unavailable("the snapshot's receiver hung up"))
    }
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
