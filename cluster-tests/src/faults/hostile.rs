//! Hostile input on the client port and the peer port: an error for the sender, no panic, and the
//! member goes on, the same process as before. Where etcd's answer is known it must be that one.

use super::Context;
use super::arena::Arena;
use super::hostile_bytes::throws;
use crate::cluster::local::PATIENCE;
use crate::cluster::program::Program;
use crate::raw::{call, dial, field, number};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tonic::{Code, Status};

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
const TXN: &str = "/etcdserverpb.KV/Txn";
const COMPACT: &str = "/etcdserverpb.KV/Compact";

/// Calls on the peer port that carry no proof of who calls.
const PEER_CALLS: &[&str] = &[
    "/quorate.peer.v1.Peer/Append",
    "/quorate.peer.v1.Peer/Heartbeat",
    "/quorate.peer.v1.Peer/Vote",
    "/quorate.peer.v1.Peer/TransferLeader",
    "/quorate.peer.v1.Peer/OfferSnapshot",
    "/quorate.peer.v1.Peer/SendSnapshot",
    "/quorate.peer.v1.Peer/ReadIndex",
    "/quorate.peer.v1.Peer/Forward",
    "/quorate.peer.v1.Peer/Hello",
];

/// What an answer must be.
enum Expected {
    /// This code and text.
    Exactly(Code, &'static str),
    /// This code; the text begins so.
    Begins(Code, &'static str),
    /// Some error.
    Error,
    /// An answer.
    Fine,
    /// Anything: the member must live, that is all.
    Whatever,
}

/// # Errors
/// A wrong answer, or a member that did not go on.
pub async fn tell(context: &Context) -> Result<String> {
    let mut random = StdRng::seed_from_u64(context.seed ^ 7);
    let mut arena = Arena::open(context, "hostile", 3, &[]).await?;
    let pids = pids(&mut arena)?;
    let mut held = Vec::new();
    let mut thrown = 0;
    for address in [
        arena.cluster.client_address(1),
        arena.cluster.peer_address(1),
    ] {
        for throw in throws(&mut random) {
            let stream = throw
                .at(&address)
                .await
                .with_context(|| format!("{} at {address}", throw.name))?;
            held.extend(stream);
            thrown += 1;
            goes_on(&mut arena)
                .await
                .with_context(|| format!("after {}", throw.name))?;
        }
    }
    arena.say(&format!(
        "{thrown} kinds of garbage thrown; {} connections held open",
        held.len()
    ));

    let mut messages = 0;
    for (name, path, message, expected) in requests(context.program, &mut random) {
        let channel = dial(&arena.cluster.client_address(1)).await?;
        let answer = call(channel, path, message).await;
        check(&expected, &answer).with_context(|| format!("{name}: {answer:?}"))?;
        goes_on(&mut arena)
            .await
            .with_context(|| format!("after {name}"))?;
        messages += 1;
    }
    if context.program == Program::Quorate {
        for path in PEER_CALLS {
            for message in [
                Bytes::new(),
                noise(&mut random, 3_000),
                nested_txn(10_000).into(),
            ] {
                let channel = dial(&arena.cluster.peer_address(1)).await?;
                let answer = call(channel, path, message).await;
                ensure!(answer.is_err(), "a stranger was answered on {path}");
                messages += 1;
            }
        }
        goes_on(&mut arena)
            .await
            .context("after nonsense on the peer port")?;
    }
    arena.say(&format!(
        "{messages} hostile messages answered as they should"
    ));
    drop(held);

    arena.start_load(4, false, 20)?;
    arena.wait_acknowledged(200, PATIENCE).await?;
    ensure!(
        self::pids(&mut arena)? == pids,
        "a member is not the process it was"
    );
    arena.stop_load().await;
    clear(&arena).await?;
    let verdict = arena.close().await?;
    Ok(format!(
        "{thrown} kinds of garbage, {messages} hostile messages; {verdict}"
    ))
}

fn pids(arena: &mut Arena) -> Result<Vec<u32>> {
    let nodes = arena.cluster.nodes();
    nodes
        .map(|node| {
            arena
                .cluster
                .member(node)?
                .pid()
                .context("a member has ended")
        })
        .collect()
}

/// The member that is being attacked serves a new client.
async fn goes_on(arena: &mut Arena) -> Result<()> {
    ensure!(
        arena.cluster.member(1)?.pid().is_some(),
        "the member has ended"
    );
    let mut door = arena.cluster.door(1, PATIENCE)?;
    door.put("alive", "yes").await.context("put")?;
    door.get("alive").await.context("get")?;
    Ok(())
}

/// Deletes what the history does not know.
async fn clear(arena: &Arena) -> Result<()> {
    let mut door = arena.cluster.door(1, PATIENCE)?;
    for key in ["alive", "hostile"] {
        let request = quorate::proto::etcdserverpb::DeleteRangeRequest {
            key: key.into(),
            ..Default::default()
        };
        door.kv.delete_range(request).await.context("clear")?;
    }
    Ok(())
}

fn check(expected: &Expected, answer: &Result<Bytes, Status>) -> Result<()> {
    let fine = match (expected, answer) {
        (Expected::Exactly(code, text), Err(status)) => {
            status.code() == *code && status.message() == *text
        }
        (Expected::Begins(code, text), Err(status)) => {
            status.code() == *code && status.message().starts_with(text)
        }
        (Expected::Error, Err(_)) | (Expected::Fine, Ok(_)) | (Expected::Whatever, _) => true,
        _ => false,
    };
    if !fine {
        bail!("not the answer that it must be");
    }
    Ok(())
}

/// A transaction in a transaction in a transaction …: `TxnRequest.success` is field 2,
/// `RequestOp.request_txn` field 4.
fn nested_txn(depth: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for _ in 0..depth {
        message = field(2, &field(4, &message));
    }
    message
}

fn noise(random: &mut StdRng, length: usize) -> Bytes {
    let mut noise = vec![0; length];
    random.fill_bytes(&mut noise);
    noise.into()
}

type Hostile = (&'static str, &'static str, Bytes, Expected);

fn requests(program: Program, random: &mut StdRng) -> Vec<Hostile> {
    use Expected::{Begins, Error, Exactly, Fine, Whatever};
    const EMPTY_KEY: Expected = Exactly(Code::InvalidArgument, "etcdserver: key is not provided");
    const TOO_MANY: Expected = Exactly(
        Code::InvalidArgument,
        "etcdserver: too many operations in txn request",
    );
    let put =
        |value: usize| Bytes::from([field(1, b"hostile"), field(2, &vec![0; value])].concat());
    let compare = |target: u64, result: u64| {
        let compare = [number(1, result), number(2, target), field(3, b"k")].concat();
        Bytes::from(field(1, &compare))
    };
    let mut list: Vec<Hostile> = vec![
        ("a put that fits", PUT, put(1_572_000), Fine),
        (
            "a put too large",
            PUT,
            put(1_572_864),
            Exactly(Code::InvalidArgument, "etcdserver: request is too large"),
        ),
        (
            "a message over the limit",
            PUT,
            put(2_097_152),
            Begins(
                Code::ResourceExhausted,
                "grpc: received message larger than max (",
            ),
        ),
        (
            "a message far over the limit",
            PUT,
            put(50_000_000),
            Begins(
                Code::ResourceExhausted,
                "grpc: received message larger than max (",
            ),
        ),
        ("an empty range key", RANGE, Bytes::new(), EMPTY_KEY),
        (
            "an empty range key with an end",
            RANGE,
            field(2, &[0]).into(),
            EMPTY_KEY,
        ),
        ("an empty put key", PUT, field(2, b"v").into(), EMPTY_KEY),
        ("an empty delete key", DELETE, Bytes::new(), EMPTY_KEY),
        (
            "an operation that is none",
            TXN,
            field(2, &[]).into(),
            Exactly(Code::InvalidArgument, "etcdserver: key not found"),
        ),
        (
            "a compare without a key",
            TXN,
            field(1, &[]).into(),
            EMPTY_KEY,
        ),
        ("nesting of 127", TXN, nested_txn(126).into(), Fine),
        ("nesting of 200", TXN, nested_txn(200).into(), TOO_MANY),
        ("nesting of 10,000", TXN, nested_txn(10_000).into(), Error),
        (
            "129 operations",
            TXN,
            field(2, &field(1, &field(1, b"k"))).repeat(129).into(),
            TOO_MANY,
        ),
        ("an unknown compare target", TXN, compare(99, 0), Whatever),
        ("an unknown compare result", TXN, compare(0, 99), Whatever),
        (
            "a compare with a huge enum",
            TXN,
            compare(u64::MAX, u64::MAX),
            Whatever,
        ),
        (
            "a compaction of the future",
            COMPACT,
            number(1, 1 << 60).into(),
            Begins(
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
        ),
        (
            "a compaction of a negative revision",
            COMPACT,
            number(1, u64::MAX).into(),
            Whatever,
        ),
        (
            "a key that promises more than there is",
            PUT,
            vec![0x0a, 0xff, 0x7f, b'k'].into(),
            Error,
        ),
        ("a varint without an end", PUT, vec![0xff; 64].into(), Error),
        ("noise", TXN, noise(random, 5_000), Error),
        (
            "an unknown method",
            "/etcdserverpb.KV/Nothing",
            Bytes::new(),
            Begins(Code::Unimplemented, ""),
        ),
        (
            "an unknown service",
            "/nobody.Nothing/Call",
            Bytes::new(),
            Begins(Code::Unimplemented, ""),
        ),
    ];
    if program == Program::Quorate {
        // etcd 3.4 ends its process on the first of these.
        const SORT: Expected = Exactly(Code::InvalidArgument, "etcdserver: invalid sort option");
        list.push((
            "an unknown sort target",
            RANGE,
            [field(1, b"k"), number(5, 1), number(6, 99)]
                .concat()
                .into(),
            SORT,
        ));
        list.push((
            "an unknown sort order",
            RANGE,
            [field(1, b"k"), number(5, 99)].concat().into(),
            SORT,
        ));
        list.push((
            "an unknown sort order in a transaction",
            TXN,
            field(2, &field(1, &[field(1, b"k"), number(5, 99)].concat())).into(),
            SORT,
        ));
    }
    list
}
