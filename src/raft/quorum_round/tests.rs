use super::super::address_book::AddressBook;
use super::super::identity::{Pins, SelfIdentity};
use super::super::links::LinkTimes;
use super::super::type_config::{MemberNode, vote_of};
use super::*;
use crate::env::network_memory::MemoryNetwork;
use crate::env::{Env, Network, Worker};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use peer::append_response::Answer;
use prost::Message;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);
/// A head start that no test outlasts: who is asked then was needed.
const FOR_EVER: Duration = Duration::from_secs(3600);

#[test]
fn a_quorum_is_a_majority_of_every_configuration() {
    let set = |nodes: &[NodeId]| nodes.iter().copied().collect::<BTreeSet<_>>();
    let single = [set(&[1, 2, 3])];
    assert!(!is_quorum(&single, &set(&[1])));
    assert!(
        !is_quorum(&single, &set(&[1, 7, 8])),
        "learners do not count"
    );
    assert!(is_quorum(&single, &set(&[1, 3])));
    assert!(is_quorum(&[set(&[1])], &set(&[1])));
    let even = [set(&[1, 2, 3, 4])];
    assert!(!is_quorum(&even, &set(&[1, 2])));
    let joint = [set(&[1, 2, 3]), set(&[3, 4, 5])];
    assert!(!is_quorum(&joint, &set(&[1, 2, 3])), "only the old one");
    assert!(is_quorum(&joint, &set(&[2, 3, 4])));
    let removed_leader = [set(&[2, 3])];
    assert!(!is_quorum(&removed_leader, &set(&[1, 2])));
}

#[test]
fn as_few_are_asked_as_make_a_quorum_with_those_who_follow() {
    let split = |followers: &[NodeId], quickest: &[NodeId]| {
        let followers = followers.iter().copied().collect();
        round_among(5).split(&followers, quickest)
    };
    assert_eq!(split(&[1], &[]), (vec![2, 3, 4, 5], vec![]));
    assert_eq!(split(&[1], &[4]), (vec![2, 3, 4, 5], vec![]), "too few");
    assert_eq!(split(&[1], &[5, 3]), (vec![3, 5], vec![2, 4]));
    // Who asks is not asked back, and one more is enough.
    assert_eq!(split(&[1, 2], &[5, 3]), (vec![5], vec![3, 4]));
    assert_eq!(split(&[1, 5], &[5, 3]), (vec![3], vec![2, 4]));
    assert_eq!(split(&[1], &[9, 5, 3]), (vec![3, 5], vec![2, 4]), "9 left");
}

/// A question that has reached a voter; the test decides when and what it answers.
type Question = oneshot::Sender<Answer>;

/// A voter that leaves every answer to the test.
async fn voter(network: &MemoryNetwork, node: NodeId) -> mpsc::UnboundedReceiver<Question> {
    let (questions, asked) = mpsc::unbounded_channel();
    let mut listener = network.listen(&address(node)).await.unwrap();
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            let questions = questions.clone();
            let service = service_fn(move |_: http::Request<Incoming>| {
                let (decide, decided) = oneshot::channel();
                questions.send(decide).unwrap();
                async move { Ok::<_, Infallible>(answered(decided.await.unwrap())) }
            });
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    asked
}

/// As gRPC has it: the framed message, then the trailers.
fn answered(answer: Answer) -> http::Response<Frames> {
    let message = peer::AppendResponse {
        answer: Some(answer),
    }
    .encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(&message);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
    let response = http::Response::builder().header("content-type", "application/grpc");
    response.body(Frames(frames.into())).unwrap()
}

struct Frames(std::collections::VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn address(node: NodeId) -> String {
    format!("voter-{node}:2380")
}

fn links(network: &MemoryNetwork) -> Links {
    let me = SelfIdentity {
        cluster: 1,
        node: 1,
        incarnation: 1,
    };
    let times = LinkTimes::from_election_timeout(PATIENCE);
    let (disk, nowhere) = (Env::real().disk, "/nonexistent/peers.json".into());
    let pins = Pins::open(me, [].into(), disk, nowhere, Worker::inline()).unwrap();
    Links::new(
        pins,
        Arc::new(network.clone()),
        AddressBook::default(),
        times,
    )
}

/// Member 1 leads 1, 2 and 3 in term 5.
fn round() -> QuorumRound {
    round_among(3)
}

fn round_among(members: NodeId) -> QuorumRound {
    let nodes: BTreeMap<NodeId, MemberNode> = (1..=members)
        .map(|node| {
            let member = MemberNode {
                name: String::new(),
                peer_urls: vec![format!("http://{}", address(node))],
                votes: true,
            };
            (node, member)
        })
        .collect();
    let voters = nodes.keys().copied().collect();
    QuorumRound {
        vote: vote_of(5, 1, true),
        membership: Membership::new(vec![voters], nodes).unwrap(),
        asker: None,
        head_start: FOR_EVER,
        patience: PATIENCE,
    }
}

fn follows() -> Answer {
    Answer::Matched(peer::Matched { last: None })
}

/// It has voted for member 3 meanwhile.
fn follows_another() -> Answer {
    Answer::HigherVote(peer::Vote {
        term: 6,
        node: 3,
        committed: false,
    })
}

/// The order that openraft's clock gets wrong: an answer that was given before the read, and comes
/// after it, says nothing about the read.
#[tokio::test]
async fn an_answer_to_an_older_question_confirms_no_later_read() {
    let network = MemoryNetwork::default();
    let links = links(&network);
    let (mut second, mut third) = (voter(&network, 2).await, voter(&network, 3).await);
    // An order of its own each: both voters are asked at once.
    let asks = |round| begin(round, &links, &Arc::default());
    let before = asks(round());
    let older = [second.recv().await.unwrap(), third.recv().await.unwrap()];
    // Both voters then follow somebody else, and only now the read begins.
    let read = asks(round());
    let newer = [second.recv().await.unwrap(), third.recv().await.unwrap()];
    for question in older {
        question.send(follows()).ok().unwrap();
    }
    assert!(
        before.await.unwrap(),
        "its own answers confirm the older round"
    );
    assert!(!read.is_finished(), "they are no answers to the read");
    for question in newer {
        question.send(follows_another()).ok().unwrap();
    }
    assert!(!read.await.unwrap(), "whoever was asked follows another");
}

/// A round in the background.
fn begin(round: QuorumRound, links: &Links, order: &Arc<AskingOrder>) -> JoinHandle<bool> {
    let (links, order) = (links.clone(), order.clone());
    tokio::spawn(async move { round.confirmed(&links, &order).await })
}

#[tokio::test]
async fn one_voter_of_two_is_enough_and_the_first_to_answer_ends_the_round() {
    let network = MemoryNetwork::default();
    let (mut second, mut third) = (voter(&network, 2).await, voter(&network, 3).await);
    let read = begin(round(), &links(&network), &Arc::default());
    let silent = second.recv().await.unwrap();
    third.recv().await.unwrap().send(follows()).ok().unwrap();
    assert!(read.await.unwrap());
    drop(silent);
}

/// Two voters, and rounds that know the third for the quicker one.
struct Rounds {
    second: mpsc::UnboundedReceiver<Question>,
    third: mpsc::UnboundedReceiver<Question>,
    links: Links,
    order: Arc<AskingOrder>,
}

impl Rounds {
    async fn after_a_first_one() -> Self {
        let network = MemoryNetwork::default();
        let mut rounds = Self {
            second: voter(&network, 2).await,
            third: voter(&network, 3).await,
            links: links(&network),
            order: Arc::default(),
        };
        let first = rounds.begin(FOR_EVER);
        let slower = rounds.second.recv().await.unwrap();
        rounds.third.recv().await.unwrap().send(follows()).ok();
        assert!(first.await.unwrap());
        drop(slower);
        rounds
    }

    fn begin(&self, head_start: Duration) -> JoinHandle<bool> {
        let round = QuorumRound {
            head_start,
            ..round()
        };
        begin(round, &self.links, &self.order)
    }
}

#[tokio::test]
async fn whoever_was_quicker_is_asked_alone() {
    let mut rounds = Rounds::after_a_first_one().await;
    for _ in 1..ROUNDS_PER_TRIAL {
        let round = rounds.begin(FOR_EVER);
        let third = rounds.third.recv().await.unwrap();
        third.send(follows()).ok().unwrap();
        assert!(round.await.unwrap());
    }
    assert!(rounds.second.is_empty(), "nobody else was asked");
    // Once in a while both are: the other one may have become the quicker.
    let round = rounds.begin(FOR_EVER);
    let slower = rounds.third.recv().await.unwrap();
    rounds.second.recv().await.unwrap().send(follows()).ok();
    assert!(round.await.unwrap());
    drop(slower);
    let round = rounds.begin(FOR_EVER);
    rounds.second.recv().await.unwrap().send(follows()).ok();
    assert!(round.await.unwrap());
    assert!(rounds.third.is_empty());
}

#[tokio::test]
async fn a_silent_one_has_a_head_start_and_is_not_waited_for_again() {
    let mut rounds = Rounds::after_a_first_one().await;
    let round = rounds.begin(Duration::from_millis(1));
    let silent = rounds.third.recv().await.unwrap();
    rounds.second.recv().await.unwrap().send(follows()).ok();
    assert!(round.await.unwrap());
    drop(silent);
    let next = rounds.begin(FOR_EVER);
    rounds.second.recv().await.unwrap().send(follows()).ok();
    assert!(next.await.unwrap());
    assert!(rounds.third.is_empty(), "the silent one is asked no more");
}

#[tokio::test]
async fn whoever_follows_another_is_not_waited_for() {
    let mut rounds = Rounds::after_a_first_one().await;
    let round = rounds.begin(FOR_EVER);
    let third = rounds.third.recv().await.unwrap();
    third.send(follows_another()).ok().unwrap();
    rounds.second.recv().await.unwrap().send(follows()).ok();
    assert!(round.await.unwrap());
}

#[tokio::test]
async fn a_voter_that_asks_and_follows_is_not_asked_back() {
    let rounds = Rounds::after_a_first_one().await;
    let asked_by = |asker| QuorumRound {
        asker: Some(asker),
        ..round()
    };
    let confirmed = asked_by(2).confirmed(&rounds.links, &rounds.order);
    assert!(confirmed.await);
    assert!(rounds.second.is_empty() && rounds.third.is_empty());
    // A learner's word does not count.
    let round = begin(asked_by(7), &rounds.links, &rounds.order);
    let Rounds { mut third, .. } = rounds;
    third.recv().await.unwrap().send(follows()).ok();
    assert!(round.await.unwrap());
}
