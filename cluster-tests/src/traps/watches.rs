//! Traps of Watch.

use super::ground::{Ground, compact, delete, just, put, put_op, revision, txn};
use super::listener::Listener;
use crate::cluster::local::PATIENCE;
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use prost::Message as _;
use quorate::proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use quorate::proto::mvccpb::event::EventType;
use std::time::Duration;
use tokio::time::Instant;

/// A message may be as long as a request and half a megabyte more.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Between two requests for progress that may go unanswered.
const ASK_AGAIN: Duration = Duration::from_millis(100);

fn watch(key: Bytes, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key,
        start_revision,
        ..WatchCreateRequest::default()
    }
}

/// All keys of the trap.
fn watch_all(ground: &Ground, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        range_end: ground.end(),
        ..watch(ground.key(""), start_revision)
    }
}

fn header(message: &WatchResponse) -> i64 {
    message.header.as_ref().map_or(0, |header| header.revision)
}

pub(super) async fn created_comes_first_and_ids_are_the_clients_or_the_servers(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(1)?;
    let key = ground.key("a");
    put(&mut door, key.clone(), "old").await?;
    let old = revision(&mut door).await?;
    put(&mut door, key.clone(), "new").await?;
    let now = revision(&mut door).await?;

    // One that has something to tell at once tells first that it is there.
    let mut listener = Listener::open(&door, watch(key.clone(), old)).await?;
    let first = listener.next().await?;
    ensure!(
        first.created && first.watch_id == 0 && first.events.is_empty(),
        "{first:?}"
    );
    ensure!(header(&first) == now, "{first:?}");
    let mut told = 0;
    while told < 2 {
        let message = listener.next().await?;
        ensure!(message.watch_id == 0 && !message.created, "{message:?}");
        told += message.events.len();
    }
    // The client's choice, then the server's: the lowest that is free.
    let chosen = WatchCreateRequest {
        watch_id: 1,
        ..watch(key.clone(), 0)
    };
    listener.create(chosen.clone()).await?;
    ensure!(
        listener.next().await?.watch_id == 1,
        "another id than the chosen one"
    );
    listener.create(watch(key.clone(), 0)).await?;
    ensure!(listener.next().await?.watch_id == 2, "not the next free id");
    listener.create(chosen).await?;
    let twice = listener.next().await?;
    ensure!(
        twice.created && twice.canceled && twice.watch_id == -1,
        "an id that is in use: {twice:?}"
    );
    let words = "mvcc: duplicate watch ID provided on the WatchStream";
    ensure!(twice.cancel_reason == words, "{twice:?}");
    let backwards = WatchCreateRequest {
        range_end: ground.key("Z"),
        ..watch(key.clone(), 0)
    };
    listener.create(backwards).await?;
    let empty = listener.next().await?;
    ensure!(
        empty.created && empty.canceled && empty.cancel_reason == "mvcc: watcher range is empty",
        "{empty:?}"
    );
    // Of an id that nobody has nothing is heard; of one that is canceled, that it is.
    listener.cancel(99).await?;
    listener.cancel(1).await?;
    let canceled = listener.next().await?;
    ensure!(canceled.canceled && canceled.watch_id == 1, "{canceled:?}");

    // What is compacted is created all the same, and then canceled.
    compact(&mut door, now).await?;
    listener.create(watch(key, old)).await?;
    let created = listener.next().await?;
    ensure!(created.created && !created.canceled, "{created:?}");
    let gone = listener.next().await?;
    ensure!(
        gone.canceled && gone.watch_id == created.watch_id && gone.compact_revision == now,
        "{gone:?}"
    );
    ensure!(header(&gone) == 0, "{gone:?}");
    Ok(())
}

pub(super) async fn a_revision_is_one_message_and_fragments_are_contiguous(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(2)?;
    let mut listener = Listener::open(&door, watch_all(ground, 0)).await?;
    ensure!(listener.next().await?.created, "not created");
    let many: Vec<_> = (0..100)
        .map(|n| put_op(ground.key(&format!("{n:03}")), "x"))
        .collect();
    txn(&mut door, just(many)).await?;
    let whole = listener.next().await?;
    ensure!(
        whole.events.len() == 100 && !whole.fragment,
        "{} events",
        whole.events.len()
    );

    // Two pairs of 700 KiB in one revision, and as much before: more than a message holds.
    let mut from = 0;
    for _ in 0..2 {
        let large = (0..2)
            .map(|number| {
                put_op(
                    ground.key(&format!("large{number}")),
                    vec![b'x'; 700 * 1024],
                )
            })
            .collect();
        txn(&mut door, just(large)).await?;
        from = revision(&mut door).await?;
    }
    for fragment in [true, false] {
        let past = WatchCreateRequest {
            fragment,
            prev_kv: true,
            ..watch_all(ground, from)
        };
        let mut listener = Listener::open(&door, past).await?;
        ensure!(listener.next().await?.created, "not created");
        let (mut events, mut longest, mut fragments) = (Vec::new(), 0, 0);
        while events.len() < 2 {
            let message = listener.next().await?;
            longest = longest.max(message.encoded_len());
            let last = events.len() + message.events.len() == 2;
            if fragment {
                ensure!(
                    message.fragment != last,
                    "fragment {} of the last {last}",
                    message.fragment
                );
            } else {
                ensure!(!message.fragment, "a fragment that was not asked for");
            }
            fragments += usize::from(message.fragment);
            events.extend(message.events);
        }
        let revisions: Vec<i64> = events
            .iter()
            .filter_map(|event| event.kv.as_ref())
            .map(|kv| kv.mod_revision)
            .collect();
        ensure!(revisions == [from, from], "{revisions:?}");
        ensure!(
            !fragment || (fragments > 0 && longest <= MESSAGE_BYTES_MAX),
            "{fragments} fragments, the longest message has {longest} bytes"
        );
    }
    delete(&mut door, ground.key(""), ground.end()).await?;
    Ok(())
}

pub(super) async fn progress_is_never_ahead_of_an_event(ground: &mut Ground) -> Result<()> {
    let mut door = ground.door(3)?;
    let start = revision(&mut door).await? + 1;
    let mut listener = Listener::open(&door, watch(ground.key("a"), start)).await?;
    ensure!(listener.next().await?.created, "not created");
    // The watcher waits for a revision that is not there: what is known says nothing of it.
    listener.ask_progress().await?;
    let early = listener.next_within(Duration::from_millis(500)).await?;
    ensure!(early.is_none(), "progress before the start: {early:?}");
    // Whenever progress is told, all before it has been told.
    let mut heard = 0;
    for round in 0..50 {
        put(&mut door, ground.key("a"), "x").await?;
        let now = start + round;
        let deadline = Instant::now() + PATIENCE;
        loop {
            listener.ask_progress().await?;
            match listener.next_within(ASK_AGAIN).await? {
                Some(message) if message.watch_id == -1 => {
                    let told = header(&message);
                    ensure!(
                        heard == told && message.events.is_empty(),
                        "progress {told} when only {heard} was told: {message:?}"
                    );
                    if told == now {
                        break;
                    }
                }
                Some(message) => {
                    heard = message
                        .events
                        .last()
                        .and_then(|event| event.kv.as_ref())
                        .context("a message without events")?
                        .mod_revision;
                }
                None if Instant::now() > deadline => bail!("no progress at {now}"),
                None => {}
            }
        }
    }
    Ok(())
}

pub(super) async fn a_deletion_at_the_compacted_revision_is_still_told(
    ground: &mut Ground,
) -> Result<()> {
    let mut door = ground.door(1)?;
    put(&mut door, ground.key("a"), "x").await?;
    let (_, deleted) = delete(&mut door, ground.key("a"), Bytes::new()).await?;
    put(&mut door, ground.key("b"), "x").await?;
    compact(&mut door, deleted).await?;
    for node in 1..=3 {
        let mut door = ground.door(node)?;
        // So that this member has compacted too.
        revision(&mut door).await?;
        let mut listener = Listener::open(&door, watch_all(ground, deleted)).await?;
        ensure!(listener.next().await?.created, "not created");
        let first = listener.next().await?;
        let event = first.events.first().with_context(|| format!("{first:?}"))?;
        let at = event.kv.as_ref().map(|kv| kv.mod_revision);
        ensure!(
            event.r#type() == EventType::Delete && at == Some(deleted),
            "member {node}: {first:?}"
        );
    }
    Ok(())
}
