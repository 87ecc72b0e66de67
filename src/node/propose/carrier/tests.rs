//! A forwarded batch is sent once: only what certainly reached nobody goes out again.

use super::*;
use crate::env::network_memory::MemoryNetwork;
use crate::env::{Env, Network, Worker};
use crate::raft::{AddressBook, LinkTimes, Pins, SelfIdentity};
use crate::state_machine::command::MemberAttributes;
use crate::state_machine::{Command, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncReadExt;

const LEADER: NodeId = 2;

/// Of one command that somebody waits for, as long as the receiver is kept.
fn batch() -> (Batch, oneshot::Receiver<Result<Reply, NodeError>>) {
    let now = Instant::now();
    let (reply, client) = oneshot::channel();
    let mut batch = Batch::new(now);
    let command = Command::PublishMember(MemberAttributes {
        node: 1,
        name: "for somebody else to understand".to_owned(),
        client_urls: Vec::new(),
    });
    batch.push(&command, now + Duration::from_secs(30), reply);
    assert!(batch.close());
    (batch, client)
}

fn client(network: &MemoryNetwork) -> Client {
    let me = SelfIdentity {
        cluster: 7,
        node: 1,
        incarnation: 9,
    };
    let times = LinkTimes::from_election_timeout(Duration::from_secs(10));
    let network = Arc::new(network.clone());
    let (disk, nowhere) = (Env::real().disk, "/nonexistent/peers.json".into());
    let pins = Pins::open(me, [].into(), disk, nowhere, Worker::inline()).unwrap();
    let links = Links::new(pins, network, AddressBook::default(), times);
    let member = MemberNode {
        name: "leader".to_owned(),
        peer_urls: vec!["http://leader:2380".to_owned()],
        votes: true,
    };
    links.to(LEADER, &member).unwrap().entries
}

#[tokio::test]
async fn a_leader_that_cannot_be_dialled_took_nothing() {
    let (batch, _waits) = batch();
    let sent = send(client(&MemoryNetwork::default()), &batch).await;
    assert!(matches!(sent, Sent::NotTaken));
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_batch_was_sent_leaves_it_unknown() {
    let network = MemoryNetwork::default();
    let mut listener = network.listen("leader:2380").await.unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    // Takes in what comes until the batch is there, and breaks off without a word.
    let leader = tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            let mut seen = Vec::new();
            while !seen.windows(8).any(|window| window == b"somebody") {
                assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
            }
        }
    });
    let (batch, _waits) = batch();
    let sent = send(client(&network), &batch).await;
    assert!(matches!(sent, Sent::Failed(NodeError::TimeoutLeaderFail)));
    assert_eq!(connections.load(Ordering::Relaxed), 1, "sent once");
    leader.abort();
}
