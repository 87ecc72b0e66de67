//! A forwarded batch is sent once: only what certainly reached nobody goes out again.

use super::*;
use crate::env::Network;
use crate::env::network_memory::MemoryNetwork;
use crate::raft::{AddressBook, LinkTimes, SelfIdentity};
use std::sync::atomic::AtomicUsize;
use tokio::io::AsyncReadExt;

const LEADER: NodeId = 2;

fn batch() -> Batch {
    let (waiter, _) = oneshot::channel();
    Batch {
        bytes: Bytes::from_static(b"a batch, for somebody else to understand"),
        waiters: vec![waiter],
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

fn client(network: &MemoryNetwork) -> Client {
    let me = SelfIdentity {
        cluster: 7,
        node: 1,
        incarnation: 9,
    };
    let times = LinkTimes::from_election_timeout(Duration::from_secs(10));
    let network = Arc::new(network.clone());
    let links = Links::new(me, network, AddressBook::default(), times);
    let member = MemberNode {
        name: "leader".to_owned(),
        peer_urls: vec!["http://leader:2380".to_owned()],
    };
    links.to(LEADER, &member).unwrap().entries
}

#[tokio::test]
async fn a_leader_that_cannot_be_dialled_took_nothing() {
    let sent = send(client(&MemoryNetwork::default()), &batch()).await;
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
            while !seen.windows(7).any(|window| window == b"a batch") {
                assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
            }
        }
    });
    let sent = send(client(&network), &batch()).await;
    assert!(matches!(sent, Sent::Failed(NodeError::TimeoutLeaderFail)));
    assert_eq!(connections.load(Ordering::Relaxed), 1, "sent once");
    leader.abort();
}
