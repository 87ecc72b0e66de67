//! A forwarded batch is sent once: only what certainly reached nobody goes out again.

use super::*;
use crate::env::network_memory::MemoryNetwork;
use crate::env::{Env, Network, Worker};
use crate::raft::{AddressBook, LinkTimes, Pins, SelfIdentity};
use crate::state_machine::COMMAND_FORMAT_VERSION;
use crate::state_machine::codec::decode_batch;
use std::sync::atomic::AtomicUsize;
use tokio::io::AsyncReadExt;

const LEADER: NodeId = 2;

fn batch() -> Batch {
    let (reply, _) = oneshot::channel();
    let deadline = Instant::now() + Duration::from_secs(30);
    Batch {
        bytes: Bytes::from_static(b"a batch, for somebody else to understand"),
        waiters: vec![Waiter { deadline, reply }],
        deadline,
    }
}

#[test]
fn what_nobody_waits_for_any_more_is_taken_out_before_it_is_proposed() {
    let now = Instant::now();
    let compact = |revision| Command::Compact { revision };
    let mut builder = BatchBuilder::new();
    let mut waiters = Vec::new();
    let mut clients = Vec::new();
    for (revision, patience) in [(1, 5), (2, 0), (3, 5), (4, 5)] {
        let (reply, client) = oneshot::channel();
        builder.push(&compact(revision));
        let deadline = now + Duration::from_secs(patience);
        waiters.push(Waiter { deadline, reply });
        clients.push(client);
    }
    let mut batch = Batch {
        bytes: builder.finish(),
        waiters,
        deadline: now + Duration::from_secs(5),
    };
    let left = |batch: &Batch| {
        assert_eq!(batch.bytes[0], COMMAND_FORMAT_VERSION);
        let commands = decode_batch(batch.bytes.clone()).unwrap();
        assert_eq!(commands.len(), batch.waiters.len());
        commands
    };
    // The third client has gone, the second is late.
    clients.remove(2);
    batch.leave_out_the_late(now);
    assert_eq!(left(&batch), [compact(1), compact(4)]);
    batch.leave_out_the_late(now + Duration::from_secs(6));
    assert_eq!(left(&batch), []);
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
