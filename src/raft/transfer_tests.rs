//! A snapshot from a sender to a receiver, without a network: what is said, and what is made of it.

use super::snapshot::{Snapshot, label_of};
use super::snapshot_dir::SnapshotFile;
use super::snapshot_receive::{Receiver, Refused, prepare};
use super::snapshot_stream::{Out, offer, produce};
use super::snapshot_tests::{Member, listed};
use super::type_config::vote_of;
use super::wire;
use crate::env::Worker;
use crate::env::disk::{read_file, write_file_durably};
use crate::proto::peer;
use crate::proto::peer::snapshot_frame::Frame;
use futures_util::stream;
use std::iter;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tonic::Status;

/// What a sender says of a snapshot, in chunks of seven bytes and as `change` will have it.
async fn told(
    sent: &Snapshot,
    follower: &Member,
    change: impl FnOnce(&mut Vec<peer::SnapshotChunk>),
) -> Result<(), Refused> {
    let receiver = Receiver::new(follower.snapshots.clone());
    let vote = vote_of(1, 1, true);
    let label = label_of(&sent.meta);
    let offer = offer(&sent.snapshot, &label, vote);
    let held = receiver.offered(1, offer.await.unwrap()).await?;
    let mut chunks = Vec::new();
    for ((number, file), held) in (0..).zip(sent.snapshot.files()).zip(held) {
        let open = sent.snapshot.open_file(&file.name).unwrap();
        for offset in (held..file.bytes).step_by(7) {
            let mut bytes = vec![0; usize::try_from(file.bytes - offset).unwrap().min(7)];
            open.read_exact_at(&mut bytes, offset).unwrap();
            chunks.push(peer::SnapshotChunk {
                file: number,
                offset,
                bytes: bytes.into(),
            });
        }
    }
    change(&mut chunks);
    let head = Frame::Head(peer::SnapshotHead {
        snapshot_id: sent.snapshot.id().to_owned(),
        vote: Some(wire::vote_to_proto(&vote)),
    });
    let end = Frame::End(peer::SnapshotEnd {});
    let frames = iter::once(head).chain(chunks.into_iter().map(Frame::Chunk));
    let frames = frames
        .chain([end])
        .map(|frame| Ok(peer::SnapshotFrame { frame: Some(frame) }));
    receiver.receive(stream::iter(frames)).await.map(drop)
}

#[tokio::test]
async fn whatever_way_chunks_come_what_is_installed_is_what_was_offered() {
    let leader = Member::new();
    let sent = leader.built(4).await;
    let whole = async |change: fn(&mut Vec<peer::SnapshotChunk>)| {
        told(&sent, &Member::new(), change).await.is_ok()
    };
    assert!(whole(|_| {}).await);
    assert!(whole(|chunks| chunks.reverse()).await, "any order");
    assert!(whole(|chunks| chunks.extend(chunks.clone())).await, "twice");
    assert!(whole(|chunks| chunks.insert(9, peer::SnapshotChunk::default())).await);
    assert!(!whole(|chunks| drop(chunks.remove(9))).await, "a gap");
    let flipped = |chunk: &peer::SnapshotChunk| {
        let mut bytes = chunk.bytes.to_vec();
        bytes[0] ^= 1;
        let bytes = bytes.into();
        peer::SnapshotChunk { bytes, ..*chunk }
    };
    let other = |chunks: &mut Vec<peer::SnapshotChunk>| chunks[9] = flipped(&chunks[9]);
    assert!(told(&sent, &Member::new(), other).await.is_err());
    // After the end of its file, whose sum was right.
    let late = |chunks: &mut Vec<peer::SnapshotChunk>| chunks.push(flipped(&chunks[9]));
    assert!(told(&sent, &Member::new(), late).await.is_err());
}

#[tokio::test]
async fn what_was_there_before_a_transfer_goes_on_is_trusted_no_more_than_the_rest() {
    let (leader, follower) = (Member::new(), Member::new());
    let sent = leader.built(4).await;
    let cut = told(&sent, &follower, |chunks| chunks.truncate(50)).await;
    assert!(cut.is_err(), "the end was said too early");
    // Refused is removed; half of the next stays, and is damaged on disk.
    let files = listed(&sent);
    let name = format!("recv-{}", sent.snapshot.id());
    prepare(&follower.snapshots, &name, &files).unwrap();
    let largest = files.iter().max_by_key(|(file, _)| file.bytes).unwrap();
    let path = follower
        .snapshots
        .dir()
        .join(name)
        .join("data")
        .join(&largest.0.name);
    let file = follower.disk.open(&path).unwrap();
    file.write_all_at(&[b'?'; 20], 0).unwrap();
    assert!(told(&sent, &follower, |_| {}).await.is_err());
    assert!(
        told(&sent, &follower, |_| {}).await.is_ok(),
        "it began anew"
    );
}

fn out() -> (Out, mpsc::Receiver<peer::SnapshotFrame>) {
    let (frames, queue) = mpsc::channel(1);
    let out = Out {
        frames,
        stall: Duration::from_secs(10),
        alive: Duration::from_millis(1),
    };
    (out, queue)
}

/// All frames of a sender whose receiver holds nothing yet, and how it ended.
async fn sent_frames(snapshot: &Snapshot) -> (Vec<Frame>, Result<(), Status>) {
    let (out, mut queue) = out();
    let dir = snapshot.snapshot.clone();
    let sender = produce(dir, vote_of(1, 1, true), Vec::new(), out);
    let receiver = async {
        let mut all = Vec::new();
        while let Some(frame) = queue.recv().await {
            all.extend(frame.frame);
        }
        all
    };
    let (ended, all) = tokio::join!(sender, receiver);
    (all, ended)
}

#[tokio::test]
async fn what_is_sent_is_what_is_received() {
    let (leader, follower) = (Member::new(), Member::new());
    let sent = leader.built(40).await;
    let (frames, ended) = sent_frames(&sent).await;
    ended.unwrap();
    let receiver = Receiver::new(follower.snapshots.clone());
    let (label, vote) = (label_of(&sent.meta), vote_of(1, 1, true));
    let offer = offer(&sent.snapshot, &label, vote);
    receiver.offered(1, offer.await.unwrap()).await.unwrap();
    let frames = frames
        .into_iter()
        .map(|frame| Ok(peer::SnapshotFrame { frame: Some(frame) }));
    let (_, received) = receiver.receive(stream::iter(frames)).await.unwrap();
    assert_eq!(received.meta, sent.meta);
}

#[tokio::test]
async fn the_end_of_a_damaged_state_is_never_said() {
    let member = Member::new();
    let snapshot = member.built(30).await;
    let table = |file: &&SnapshotFile| file.name.ends_with(".sst");
    let table = snapshot.snapshot.files().iter().find(table).unwrap();
    let path = snapshot.snapshot.data_dir().join(&table.name);
    let mut bytes = read_file(member.disk.as_ref(), &path).unwrap().unwrap();
    bytes[10] ^= 1;
    write_file_durably(member.disk.as_ref(), &path, &bytes).unwrap();
    assert_eq!(snapshot.snapshot.sends().damage(), None);
    let (frames, ended) = sent_frames(&snapshot).await;
    assert!(ended.is_err());
    assert!(!frames.iter().any(|frame| matches!(frame, Frame::End(_))));
    let damage = snapshot.snapshot.sends().damage().unwrap();
    assert!(damage.contains("Corruption"), "{damage}");
}

#[tokio::test]
async fn a_reading_that_takes_long_is_waited_for_with_signs_of_life() {
    let (release, held) = watch::channel(false);
    let slow = Worker::paused(Arc::new(move || {
        let mut held = held.clone();
        Box::pin(async move { drop(held.wait_for(|released| *released).await) })
    }));
    let leader = Member::reading(slow);
    let sent = leader.built(4).await;
    let (out, mut queue) = out();
    let sender = produce(sent.snapshot.clone(), vote_of(1, 1, true), Vec::new(), out);
    let receiver = async {
        let mut signs = 0;
        while let Some(frame) = queue.recv().await {
            match frame.frame.unwrap() {
                Frame::Chunk(chunk) if chunk.bytes.is_empty() => signs += 1,
                Frame::End(_) => break,
                _ => assert_eq!(signs, 0, "all is sent before"),
            }
            if signs == 3 {
                release.send_replace(true);
            }
        }
        signs
    };
    let (ended, signs) = tokio::join!(sender, receiver);
    ended.unwrap();
    assert!(signs >= 3, "the end was said before all rows were read");
}
