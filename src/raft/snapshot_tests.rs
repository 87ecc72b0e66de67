//! Snapshots, received ones and installs, without a cluster: the orders in which they may meet.

use super::applier::Applier;
use super::log::LogState;
use super::snapshot::{Label, SNAPSHOT_FORMAT_VERSION, Snapshot, Snapshots, label_of};
use super::snapshot_dir::{SnapshotFile, checksum};
use super::snapshot_receive::{Receiver, Receiving, Refused, plausible, prepare, verify};
use super::state_dir::StateDir;
use super::type_config::{log_id_of, vote_of};
use super::wire;
use crate::env::{Disk, Env, Worker};
use crate::proto::peer;
use crate::state_machine::{Entry, EntryBody, StateMachine, StateOptions};
use crate::types::Position;
use futures_util::{StreamExt, poll, stream};
use openraft::RaftSnapshotBuilder;
use openraft::storage::RaftStateMachine;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tonic::Code;

pub(super) struct Member {
    dir: TempDir,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) snapshots: Snapshots,
}

pub(super) fn at(index: u64) -> Position {
    Position { term: 1, index }
}

impl Member {
    pub(super) fn new() -> Self {
        Self::reading(Worker::inline())
    }

    /// One that reads the rows of what it sends there.
    pub(super) fn reading(rows: Worker) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::real();
        let snapshots = snapshots(dir.path(), rows);
        Self {
            dir,
            disk: env.disk,
            snapshots,
        }
    }

    fn state_dir(&self) -> StateDir {
        StateDir::new(
            self.dir.path().to_owned(),
            self.disk.clone(),
            StateOptions::default(),
        )
    }

    /// A state that has applied everything up to an index.
    fn machine(&self, last: u64) -> StateMachine {
        let mut machine = self.state_dir().open().unwrap();
        let first = machine.applied().map_or(1, |applied| applied.index + 1);
        for index in first..=last {
            let position = at(index);
            let body = EntryBody::Blank;
            machine.apply(&[Entry { position, body }]).unwrap();
        }
        machine
    }

    pub(super) fn applier(&self, last: u64) -> Applier {
        let machine = self.machine(last);
        let snapshots = self.snapshots.clone();
        Applier::new(
            machine,
            self.state_dir(),
            snapshots,
            Worker::inline(),
            Arc::default(),
        )
    }

    pub(super) async fn built(&self, last: u64) -> Snapshot {
        let store = self.applier(last).store();
        self.snapshots.build(store).await.unwrap()
    }

    fn state_dirs(&self) -> Vec<String> {
        let names = self.disk.list(self.dir.path()).unwrap();
        let is_state = |name: &String| name.starts_with("state-");
        names.into_iter().filter(is_state).collect()
    }
}

fn snapshots(dir: &Path, rows: Worker) -> Snapshots {
    let env = Env::real();
    Snapshots::open(
        dir.join("snapshot"),
        env.disk,
        env.randomness,
        Worker::inline(),
        rows,
    )
    .unwrap()
}

pub(super) fn last_of(snapshots: &Snapshots) -> Option<u64> {
    let current = snapshots.current()?;
    current.meta.last_log_id.map(|last| last.index)
}

pub(super) fn listed(snapshot: &Snapshot) -> Vec<(SnapshotFile, u32)> {
    let files = snapshot.snapshot.files().iter().cloned();
    let sums = snapshot.snapshot.checksums().unwrap().to_vec();
    files.zip(sums).collect()
}

/// Copies a snapshot's files, or some of them, into a directory that was prepared for them.
fn arrive(snapshot: &Snapshot, to: &Snapshots, name: &str, files: &[(SnapshotFile, u32)]) {
    for (file, _) in files {
        let from = snapshot.snapshot.open_file(&file.name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.bytes).unwrap()];
        from.read_exact_at(&mut bytes, 0).unwrap();
        let path = to.dir().join(name).join("data").join(&file.name);
        let file = to.disk().open(&path).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    }
}

fn receiving(
    to: &Snapshots,
    name: &str,
    label: Label,
    files: Vec<(SnapshotFile, u32)>,
) -> Receiving {
    Receiving {
        number: 1,
        id: name.trim_start_matches("recv-").to_owned(),
        dir: to.dir().join(name),
        label,
        files,
        sums: BTreeMap::new(),
    }
}

/// A snapshot of one member, received whole and verified by another.
async fn received(from: &Member, last: u64, to: &Member) -> Snapshot {
    let sent = from.built(last).await;
    let files = listed(&sent);
    let name = format!("recv-{}", sent.snapshot.id());
    prepare(&to.snapshots, &name, &files).unwrap();
    arrive(&sent, &to.snapshots, &name, &files);
    let label = label_of(&sent.meta);
    verify(&to.snapshots, receiving(&to.snapshots, &name, label, files)).unwrap()
}

#[tokio::test]
async fn an_older_build_does_not_replace_a_newer_snapshot() {
    let member = Member::new();
    let store = member.applier(3).store();
    let old = member.snapshots.build(store.clone()).await.unwrap();
    assert_eq!(last_of(&member.snapshots), Some(3));
    // The store is replaced by one that holds all up to 50 while it is being copied once more.
    member.snapshots.installed(Some(log_id_of(at(50))));
    assert_eq!(last_of(&member.snapshots), None);
    assert!(member.snapshots.is_due());
    let late = member.snapshots.build(store).await.unwrap();
    assert_eq!(late.meta.last_log_id, old.meta.last_log_id);
    assert_eq!(last_of(&member.snapshots), None);
    let dirs = member.disk.list(member.snapshots.dir()).unwrap();
    assert_eq!(dirs.len(), 2, "both are still held: {dirs:?}");
    drop((old, late));
    let dirs = member.disk.list(member.snapshots.dir()).unwrap();
    assert_eq!(dirs, Vec::<String>::new());
}

#[tokio::test]
async fn an_install_replaces_state_and_snapshot_and_leaves_nothing_behind() {
    let (leader, follower) = (Member::new(), Member::new());
    let mut applier = follower.applier(2);
    let before = follower.snapshots.build(applier.store()).await.unwrap();
    let mut builder = applier.get_snapshot_builder().await;
    let arrived = received(&leader, 9, &follower).await;
    let meta = arrived.meta.clone();
    applier
        .install_snapshot(&meta, arrived.snapshot)
        .await
        .unwrap();
    assert_eq!(applier.store().load().applied(), Some(at(9)));
    // A builder that was made before copies the new store.
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(built.meta.last_log_id, meta.last_log_id);
    drop((before, built));
    assert_eq!(last_of(&follower.snapshots), Some(9));
    assert_eq!(follower.state_dirs(), ["state-000002"]);
    let dirs = follower.disk.list(follower.snapshots.dir()).unwrap();
    assert_eq!(dirs.len(), 1, "{dirs:?}");
    drop((applier, builder));
    assert_eq!(follower.machine(0).applied(), Some(at(9)));
}

#[tokio::test]
async fn a_verified_snapshot_survives_the_next_offer() {
    let (leader, follower) = (Member::new(), Member::new());
    let arrived = received(&leader, 4, &follower).await;
    let next = leader.built(8).await;
    prepare(&follower.snapshots, "recv-next", &listed(&next)).unwrap();
    let data = arrived.snapshot.data_dir();
    assert!(follower.disk.exists(&data).unwrap());
    drop(arrived);
    assert!(!follower.disk.exists(&data).unwrap(), "nobody needed it");
}

#[tokio::test]
async fn a_cut_transfer_gives_its_whole_files_to_the_next() {
    let (leader, follower) = (Member::new(), Member::new());
    let sent = leader.built(4).await;
    let files = listed(&sent);
    prepare(&follower.snapshots, "recv-cut", &files).unwrap();
    let (whole, rest) = files.split_at(files.len() / 2);
    arrive(&sent, &follower.snapshots, "recv-cut", whole);
    let held = prepare(&follower.snapshots, "recv-next", &files).unwrap();
    let expected = whole.iter().map(|(file, _)| file.bytes);
    let expected: Vec<u64> = expected.chain(rest.iter().map(|_| 0)).collect();
    assert_eq!(held, expected);
    let dirs = follower.disk.list(follower.snapshots.dir()).unwrap();
    assert_eq!(dirs, ["recv-next"]);
    // The same id again: what has arrived counts, by the byte.
    assert_eq!(
        prepare(&follower.snapshots, "recv-next", &files).unwrap(),
        expected
    );
    arrive(&sent, &follower.snapshots, "recv-next", rest);
    let label = label_of(&sent.meta);
    let whole = receiving(&follower.snapshots, "recv-next", label, files);
    verify(&follower.snapshots, whole).unwrap();
}

#[tokio::test]
async fn a_file_of_another_store_is_not_taken_for_the_same() {
    let (leader, follower) = (Member::new(), Member::new());
    let sent = leader.built(4).await;
    let mut files = listed(&sent);
    prepare(&follower.snapshots, "recv-cut", &files).unwrap();
    arrive(&sent, &follower.snapshots, "recv-cut", &files);
    files[0].1 ^= 1;
    let held = prepare(&follower.snapshots, "recv-next", &files).unwrap();
    assert_eq!(held[0], 0, "equal name and size, other bytes");
    assert_eq!(held[1], files[1].0.bytes);
}

/// An offer of no files, as far as it goes.
fn offer(id: &str) -> peer::SnapshotOffer {
    peer::SnapshotOffer {
        format_version: SNAPSHOT_FORMAT_VERSION,
        snapshot_id: id.to_owned(),
        ..peer::SnapshotOffer::default()
    }
}

/// Found by the simulation (seed 434): a leader's disk hung while it sent snapshots to both healthy
/// followers, another member was elected, and could not send its own before the old ones were given up.
#[tokio::test]
async fn a_transfer_gives_way_to_the_offer_of_a_newer_leader() {
    let member = Member::new();
    let receiver = Receiver::new(member.snapshots.clone());
    assert!(receiver.offered(4, offer("old")).await.is_ok());
    // It has a head and no more: the sender's disk hangs.
    let head = peer::snapshot_frame::Frame::Head(peer::SnapshotHead {
        snapshot_id: "old".to_owned(),
        vote: Some(wire::vote_to_proto(&vote_of(4, 1, true))),
    });
    let frame = peer::SnapshotFrame { frame: Some(head) };
    let frames = stream::iter([Ok(frame)]).chain(stream::pending());
    let mut transfer = std::pin::pin!(receiver.receive(frames));
    assert!(poll!(transfer.as_mut()).is_pending());

    let refused = receiver.offered(3, offer("older")).await.err().unwrap();
    assert!(matches!(refused, Refused::Status(status) if status.code() == Code::Aborted));
    assert!(poll!(transfer.as_mut()).is_pending(), "it goes on");

    let (newer, ended) = tokio::join!(receiver.offered(5, offer("new")), transfer);
    assert!(newer.is_ok());
    let ended = ended.err().unwrap();
    assert!(matches!(ended, Refused::Status(status) if status.code() == Code::Aborted));
}

fn refused(refused: Result<Snapshot, Refused>) -> String {
    match refused.err().unwrap() {
        Refused::Newer(reason) => format!("newer: {reason}"),
        Refused::Status(status) => status.message().to_owned(),
    }
}

/// Lets a whole snapshot arrive and answers what to verify.
async fn arrived(leader: &Member, follower: &Member) -> (Receiving, PathBuf) {
    let sent = leader.built(4).await;
    let files = listed(&sent);
    prepare(&follower.snapshots, "recv-x", &files).unwrap();
    arrive(&sent, &follower.snapshots, "recv-x", &files);
    let label = label_of(&sent.meta);
    let data = follower.snapshots.dir().join("recv-x").join("data");
    let receiving = receiving(&follower.snapshots, "recv-x", label, files);
    (receiving, data)
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_the_transfer_starts_anew() {
    let (leader, follower) = (Member::new(), Member::new());
    let (receiving, data) = arrived(&leader, &follower).await;
    let large = receiving.files.iter().max_by_key(|(file, _)| file.bytes);
    let name = large.unwrap().0.name.clone();
    let file = follower.disk.open(&data.join(&name)).unwrap();
    file.write_all_at(b"?", file.len().unwrap() / 2).unwrap();
    let reason = refused(verify(&follower.snapshots, receiving));
    assert!(reason.contains("arrived damaged"), "{reason}");
    assert!(!follower.disk.exists(&data).unwrap());
}

#[tokio::test]
async fn a_label_that_the_data_does_not_bear_out_is_refused() {
    let (leader, follower) = (Member::new(), Member::new());
    let (mut receiving, _) = arrived(&leader, &follower).await;
    receiving.label.last = Some(at(5000));
    let reason = refused(verify(&follower.snapshots, receiving));
    assert!(reason.contains("it is labelled"), "{reason}");
}

#[tokio::test]
async fn data_of_a_newer_format_stops_the_member() {
    let (leader, follower) = (Member::new(), Member::new());
    let (mut receiving, data) = arrived(&leader, &follower).await;
    let file = follower.disk.open(&data.join("FORMAT")).unwrap();
    file.write_all_at(b"9", 0).unwrap();
    let sum = checksum(file.as_ref(), file.len().unwrap()).unwrap();
    let format = receiving.files.iter_mut();
    format
        .filter(|(file, _)| file.name == "FORMAT")
        .for_each(|(_, expected)| *expected = sum);
    let reason = refused(verify(&follower.snapshots, receiving));
    assert!(reason.starts_with("newer: "), "{reason}");
}

#[tokio::test]
async fn a_snapshot_that_the_log_does_not_go_on_from_is_forgotten() {
    let member = Member::new();
    member.built(3).await;
    let applier = member.applier(9);
    let log = |purged: Option<u64>, last: Option<u64>| LogState {
        vote: None,
        purged: purged.map(at),
        last: last.map(at),
    };
    applier.reconcile(&log(None, Some(12)));
    applier.reconcile(&log(Some(3), Some(9)));
    assert_eq!(
        last_of(&member.snapshots),
        Some(3),
        "the log goes on from 3"
    );
    // A crash after the new state took its place: the log knows nothing of what it holds.
    applier.reconcile(&log(None, Some(4)));
    assert_eq!(last_of(&member.snapshots), None);
    member.snapshots.build(applier.store()).await.unwrap();
    assert_eq!(last_of(&member.snapshots), Some(9));
    // And it is the one that is found after a restart.
    assert_eq!(
        last_of(&snapshots(member.dir.path(), Worker::inline())),
        Some(9)
    );
    applier.reconcile(&log(Some(10), Some(12)));
    assert_eq!(last_of(&member.snapshots), None, "purged past the snapshot");
}

#[test]
fn what_openraft_asserts_of_a_snapshot_is_asked_first() {
    let vote = vote_of(3, 1, true);
    let position = |term, index| Some(Position { term, index });
    assert!(plausible(None, &vote, position(3, 9)).is_ok());
    assert!(plausible(position(3, 10), &vote, position(2, 9)).is_ok());
    assert!(plausible(position(2, 5), &vote, position(2, 9)).is_ok());
    assert!(plausible(position(4, 10), &vote, position(2, 9)).is_err());
    assert!(plausible(position(3, 9), &vote, position(2, 9)).is_err());
    assert!(plausible(position(3, 5), &vote, position(2, 9)).is_err());
}
