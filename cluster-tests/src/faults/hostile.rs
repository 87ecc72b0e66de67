//! Hostile input on the client port and the peer port: an error for the sender, no panic, and the
//! member goes on, the same process as before. Where etcd's answer is known it must be that one.

use super::Context;
use super::arena::Arena;
use super::hostile_bytes::throws;
use crate::cluster::local::PATIENCE;
use crate::cluster::program::Program;
use crate::raw::{call, call_as, dial, field, is_said, number};
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

/// `--max-request-bytes` and 512 KiB.
const MESSAGE_MAX: usize = 2_097_152;

/// What an answer must be.
enum Expected {
    /// This code and text.
    Exactly(Code, &'static str),
    /// This code; the text begins so.
    Begins(Code, &'static str),
    /// The message, of this length, is over the limit, and both lengths are told.
    OverTheLimit(usize),
    /// Some error, in the server's words.
    Error,
    /// An answer.
    Fine,
    /// An answer that ends with these bytes.
    Ends(Vec<u8>),
}

/// # Errors
/// A wrong answer, or a member that did not go on.
pub async fn tell(context: &Context) -> Result<String> {
    let mut random = StdRng::seed_from_u64(context.seed ^ 7);
    let mut arena = Arena::open(context, "hostile", 3, &[]).await?;
    let pids = pids(&mut arena)?;
    let mut held = Vec::new();
    let mut thrown = 0;
    let all: Vec<usize> = arena.cluster.nodes().collect();
    for &node in &all {
        for address in [
            arena.cluster.client_address(node),
            arena.cluster.peer_address(node),
        ] {
            for throw in throws(&mut random) {
                let stream = throw
                    .at(&address)
                    .await
                    .with_context(|| format!("{} at {address}", throw.name))?;
                held.extend(stream);
                thrown += 1;
                goes_on(&mut arena, node)
                    .await
                    .with_context(|| format!("after {}", throw.name))?;
            }
        }
    }
    arena.say(&format!(
        "{thrown} pieces of garbage thrown; {} connections held open",
        held.len()
    ));

    let mut messages = 0;
    for (name, path, message, expected) in requests(context.program, &mut random) {
        for &node in &all {
            let channel = dial(&arena.cluster.client_address(node)).await?;
            let answer = call(channel, path, message.clone()).await;
            check(&expected, &answer)
                .with_context(|| format!("{name}, member {node}: {answer:?}"))?;
            goes_on(&mut arena, node)
                .await
                .with_context(|| format!("after {name}"))?;
            messages += 1;
        }
    }
    if context.program == Program::Quorate {
        messages += strangers(&mut arena, &mut random).await?;
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
    nobody_panicked(&mut arena)?;
    arena.stop_load().await;
    clear(&arena).await?;
    let verdict = arena.close().await?;
    Ok(format!(
        "{thrown} pieces of garbage, {messages} hostile messages; {verdict}"
    ))
}

/// Calls on the peer ports by those who are not peers.
async fn strangers(arena: &mut Arena, random: &mut StdRng) -> Result<usize> {
    let mut messages = 0;
    let status = arena.cluster.door(2, PATIENCE)?.status().await?;
    let header = status.header.context("a status without a header")?;
    let (cluster, peer) = (header.cluster_id, header.member_id);
    let status = arena.cluster.door(1, PATIENCE)?.status().await?;
    let me = status
        .header
        .context("a status without a header")?
        .member_id;
    let introduced = |cluster: u64, to: u64, protocol: u64| {
        vec![
            ("quorate-cluster", cluster),
            ("quorate-from", peer),
            ("quorate-to", to),
            ("quorate-incarnation", 7),
            ("quorate-protocol", protocol),
        ]
    };
    let introductions = [
        Vec::new(),
        introduced(cluster ^ 1, me, 1),
        introduced(cluster, peer, 1),
        introduced(cluster, me, 99),
    ];
    for path in PEER_CALLS {
        for message in [
            Bytes::new(),
            noise(random, 3_000),
            nested_txn(10_000).into(),
        ] {
            for introduction in &introductions {
                let channel = dial(&arena.cluster.peer_address(1)).await?;
                let answer = call_as(channel, path, message.clone(), introduction).await;
                check(&Expected::Error, &answer).with_context(|| {
                    format!("a stranger on {path}, {introduction:?}: {answer:?}")
                })?;
                messages += 1;
            }
        }
    }
    goes_on(arena, 1)
        .await
        .context("after nonsense on the peer port")?;
    Ok(messages)
}

/// A panic that some task swallowed shows in the log alone.
fn nobody_panicked(arena: &mut Arena) -> Result<()> {
    for node in arena.cluster.nodes() {
        let log = arena.cluster.member(node)?.log().to_owned();
        let text = std::fs::read(&log).context("read a member's log")?;
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains("panicked"));
        ensure!(line.is_none(), "member {node}: {line:?}");
    }
    Ok(())
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
async fn goes_on(arena: &mut Arena, node: usize) -> Result<()> {
    ensure!(
        arena.cluster.member(node)?.pid().is_some(),
        "the member has ended"
    );
    let mut door = arena.cluster.door(node, PATIENCE)?;
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
        (Expected::OverTheLimit(length), Err(status)) => {
            status.code() == Code::ResourceExhausted
                && status.message()
                    == format!(
                        "grpc: received message larger than max ({length} vs. {MESSAGE_MAX})"
                    )
        }
        (Expected::Ends(end), Ok(answer)) => answer.ends_with(end),
        (Expected::Error, Err(_)) | (Expected::Fine, Ok(_)) => true,
        _ => false,
    };
    if let Err(status) = answer {
        ensure!(is_said(status), "no answer at all");
    }
    if !fine {
        bail!("not the answer that it must be");
    }
    Ok(())
}

/// A transaction in a transaction in a transaction …: `TxnRequest.success` is field 2,
/// `RequestOp.request_txn` field 4.
fn nested_txn(depth: usize) -> Vec<u8> {
    nested(depth, Vec::new())
}

/// The same around `message`.
fn nested(depth: usize, mut message: Vec<u8>) -> Vec<u8> {
    for _ in 0..depth {
        message = field(2, &field(4, &message));
    }
    message
}

/// The responses in the answer to [`nested_txn`]. A `TxnResponse` inside another has an empty header
/// (field 1), `succeeded` (2) and `responses` (3); `ResponseOp.response_txn` is field 4.
fn nested_answer(depth: usize) -> Vec<u8> {
    let mut answer = Vec::new();
    for _ in 0..depth {
        let inner = [field(1, &[]), number(2, 1), answer].concat();
        answer = field(3, &field(4, &inner));
    }
    answer
}

fn noise(random: &mut StdRng, length: usize) -> Bytes {
    let mut noise = vec![0; length];
    random.fill_bytes(&mut noise);
    noise.into()
}

type Hostile = (&'static str, &'static str, Bytes, Expected);

fn requests(program: Program, random: &mut StdRng) -> Vec<Hostile> {
    use Expected::{Begins, Ends, Error, Exactly, Fine, OverTheLimit};
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
            OverTheLimit(put(2_097_152).len()),
        ),
        (
            "a message far over the limit",
            PUT,
            put(50_000_000),
            OverTheLimit(put(50_000_000).len()),
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
        ("nesting of 200", TXN, nested_txn(200).into(), TOO_MANY),
        ("nesting of 10,000", TXN, nested_txn(10_000).into(), Error),
        (
            "129 operations",
            TXN,
            field(2, &field(1, &field(1, b"k"))).repeat(129).into(),
            TOO_MANY,
        ),
        ("an unknown compare target", TXN, compare(99, 0), Fine),
        ("an unknown compare result", TXN, compare(0, 99), Fine),
        (
            "a compare with a huge enum",
            TXN,
            compare(u64::MAX, u64::MAX),
            Fine,
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
            Exactly(
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
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
    // Each level takes one from the budget of 128, but for the innermost, which is empty; a put
    // there takes one more.
    for (name, with_put, depth) in [
        ("nesting of 126", "a put at depth 126", 126),
        ("nesting of 127", "a put at depth 127", 127),
        ("nesting of 128", "a put at depth 128", 128),
        ("nesting of 129", "a put at depth 129", 129),
        ("nesting of 130", "a put at depth 130", 130),
        ("nesting of 131", "a put at depth 131", 131),
    ] {
        let fits = |budget: usize, answer| if depth <= budget { answer } else { TOO_MANY };
        let answer = Ends(nested_answer(depth));
        list.push((name, TXN, nested_txn(depth).into(), fits(128, answer)));
        let innermost = field(
            2,
            &field(2, &[field(1, b"hostile"), field(2, b"v")].concat()),
        );
        let message = nested(depth, innermost).into();
        list.push((with_put, TXN, message, fits(127, Fine)));
    }
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
