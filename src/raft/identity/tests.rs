//! Who is let in on the peer port, and who is not.

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
    let dir = tempfile::tempdir().unwrap();
    let disk = Env::real().disk;
    let path = dir.path().join("peers.json");
    let pins = Pins::open(peer, [].into(), disk, path, Worker::inline()).unwrap();
    let call = Introduce::new(pins, to).call(Request::new(())).unwrap();
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
    pins.set_census(Later);
    pins.check(&introduced(peer(4, 44), 1)).await.unwrap();
    refusal(&pins, &introduced(peer(5, 55), 1)).await;
}

/// Members 4, without a claim, and 6; member 8 was removed.
struct Later;

impl Census for Later {
    fn is_member(&self, node: NodeId) -> bool {
        node == 4 || node == 6
    }

    fn is_removed(&self, node: NodeId) -> bool {
        node == 8
    }

    fn claim(&self, node: NodeId) -> Option<u64> {
        (node == 6).then_some(66)
    }
}

/// The same, from somebody who means a certain incarnation of the receiver.
fn meaning(peer: SelfIdentity, incarnation: u64) -> MetadataMap {
    let mut metadata = introduced(peer, 1);
    metadata.insert(TO_INCARNATION, MetadataValue::from(incarnation));
    metadata
}

#[tokio::test]
async fn a_claim_counts_before_a_pin_and_a_removed_member_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let pins = pins(dir.path(), Worker::inline());
    pins.set_census(Later);
    let caller = pins.check(&introduced(peer(6, 66), 1)).await.unwrap();
    assert_eq!(caller.known, Some(66));
    refusal(&pins, &introduced(peer(6, 67), 1)).await;
    // Whatever it knows of the receiver.
    refusal(&pins, &meaning(peer(6, 67), ME.incarnation)).await;
    let removed = pins.check(&introduced(peer(8, 88), 1)).await.unwrap_err();
    assert!(tells_removal(&removed));
    assert_eq!(removed.message(), REMOVED);
}

#[tokio::test]
async fn a_stranger_that_knows_this_directory_is_one_of_us() {
    let dir = tempfile::tempdir().unwrap();
    let pins = pins(dir.path(), Worker::inline());
    refusal(&pins, &introduced(peer(5, 55), 1)).await;
    refusal(&pins, &meaning(peer(5, 55), ME.incarnation + 1)).await;
    pins.check(&meaning(peer(5, 55), ME.incarnation))
        .await
        .unwrap();
    let reason = refusal(&pins, &meaning(peer(5, 56), ME.incarnation)).await;
    assert!(reason.contains("already been bootstrapped"), "{reason}");
}

#[tokio::test]
async fn a_call_for_another_directory_is_refused_here() {
    let dir = tempfile::tempdir().unwrap();
    let pins = pins(dir.path(), Worker::inline());
    let reason = refusal(&pins, &meaning(peer(2, 22), 12)).await;
    assert!(reason.contains("reached data directory b"), "{reason}");
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
