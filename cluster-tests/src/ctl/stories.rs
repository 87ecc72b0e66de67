//! Commands that wait: for events, for a lock, for an election, for a signal.

use super::tool::{Recording, Tool};
use crate::wait::{Look, until};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use quorate::client::Client;
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(tool: &mut Tool, all: &mut Vec<Recording>) -> Result<()> {
    live_watch(tool, all).await?;
    interactive_watch(tool, all).await?;
    keep_alive(tool, all).await?;
    for format in ["simple", "fields", "json"] {
        held(tool, all, &format!("lock jobs -w {format}"), "jobs/").await?;
        held(tool, all, &format!("elect post me -w {format}"), "post/").await?;
    }
    contended_lock(tool, all).await?;
    abandoned(tool, all, "lock jobs", "lock jobs true", "jobs/").await?;
    abandoned(tool, all, "elect post a", "elect post b", "post/").await?;
    for format in ["simple", "fields", "json"] {
        observed_election(tool, all, format).await?;
    }
    lost_lease(tool, all, "lock jobs", "jobs/").await?;
    lost_lease(tool, all, "elect post me", "post/").await
}

/// Events as they come, each in an answer of its own; the last one ends the watch.
async fn live_watch(tool: &Tool, all: &mut Vec<Recording>) -> Result<()> {
    let client = tool.client();
    for format in ["simple", "fields", "json"] {
        let from = revision(&client).await? + 1;
        let line = format!(
            "watch live --rev {from} -w {format} -- \
             sh -c 'echo seen $ETCD_WATCH_VALUE; test $ETCD_WATCH_VALUE != \"\\\"end\\\"\"'"
        );
        let watch = tool.start(&line, &[])?;
        for value in ["1", "2"] {
            put(&client, "live", value).await?;
            watch.prints(&format!("seen \"{value}\"\n")).await?;
        }
        put(&client, "live", "end").await?;
        all.push(watch.end().await?);
    }
    Ok(())
}

async fn interactive_watch(tool: &Tool, all: &mut Vec<Recording>) -> Result<()> {
    let client = tool.client();
    let from = revision(&client).await? + 1;
    put(&client, "i1", "a b").await?;
    let mut watch = tool.start("watch -i", &[])?;
    watch
        .say("\nfoo\nwatch\nwatch a --prefix b\nwatch -- echo\n")
        .await?;
    let line = format!("watch \"i1\" --rev {from} -- echo \"hi  there\"\n");
    watch.say(&line).await?;
    watch.prints("hi  there\n").await?;
    watch.say("progress\n").await?;
    watch.prints(&format!("progress notify: {from}\n")).await?;
    all.push(watch.end().await?);
    for line in ["watch a --bad\n", "watch a --\n", "watch a"] {
        all.push(tool.run_with("watch -i", &[], line).await?);
    }
    Ok(())
}

/// A lease that is revoked under its renewal. On a busy machine a program may take seconds to start, and
/// the lease must not have ended by then; it hears of the end when it renews next, after a third of it.
async fn keep_alive(tool: &Tool, all: &mut Vec<Recording>) -> Result<()> {
    let client = tool.client();
    for (id, format, ending) in [
        (0x201, "simple", "with TTL(12)\n"),
        (0x202, "fields", "\"TTL\" : 12\n"),
        (0x203, "json", "\"TTL\":12}\n"),
    ] {
        client
            .lease_grant(LeaseGrantRequest { ttl: 12, id })
            .await?;
        let keeping = tool.start(&format!("lease keep-alive {id:x} -w {format}"), &[])?;
        keeping.prints(ending).await?;
        client.lease_revoke(LeaseRevokeRequest { id }).await?;
        let mut recording = keeping.end().await?;
        // It may have been renewed twice by then.
        let half = recording.stdout.len() / 2;
        if recording.stdout.get(..half) == recording.stdout.get(half..) {
            recording.stdout.truncate(half);
        }
        all.push(recording);
    }
    Ok(())
}

/// What is held until a signal, and given back.
async fn held(tool: &Tool, all: &mut Vec<Recording>, line: &str, prefix: &str) -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let holding = tool.start(line, &[])?;
        printed_whole(&holding, line).await?;
        holding.signal(signal)?;
        all.push(holding.end().await?);
        waiters(&tool.client(), prefix, 0).await?;
    }
    Ok(())
}

/// The last line that a holder prints, by its format.
async fn printed_whole(holding: &super::tool::Running, line: &str) -> Result<()> {
    let ending = match line {
        _ if line.ends_with("fields") => "\"Count\" : 1\n",
        _ if line.ends_with("json") => "\"count\":1}\n",
        _ if line.starts_with("elect") => "\nme\n",
        _ => "\n\n",
    };
    holding.prints(ending).await
}

/// The second runs its command when the first gives the lock back.
async fn contended_lock(tool: &Tool, all: &mut Vec<Recording>) -> Result<()> {
    let client = tool.client();
    let first = tool.start("lock jobs", &[])?;
    first.prints("\n\n").await?;
    let second = tool.start("lock jobs -- sh -c 'env | grep ETCD_LOCK_REV'", &[])?;
    waiters(&client, "jobs/", 2).await?;
    first.signal(Signal::SIGTERM)?;
    all.push(first.end().await?);
    all.push(second.end().await?);
    waiters(&client, "jobs/", 0).await
}

/// Who waits and is told to end leaves nothing behind.
async fn abandoned(
    tool: &Tool,
    all: &mut Vec<Recording>,
    first: &str,
    second: &str,
    prefix: &str,
) -> Result<()> {
    let client = tool.client();
    let first = tool.start(first, &[])?;
    waiters(&client, prefix, 1).await?;
    let second = tool.start(second, &[])?;
    waiters(&client, prefix, 2).await?;
    second.signal(Signal::SIGINT)?;
    all.push(second.end().await?);
    waiters(&client, prefix, 1).await?;
    first.signal(Signal::SIGINT)?;
    first.end().await?;
    waiters(&client, prefix, 0).await
}

/// A listener sees who leads, and who leads next.
async fn observed_election(tool: &Tool, all: &mut Vec<Recording>, format: &str) -> Result<()> {
    let client = tool.client();
    let first = tool.start("elect post one", &[])?;
    first.prints("\none\n").await?;
    let listening = tool.start(&format!("elect -l post -w {format}"), &[])?;
    // Each proposal as the format shows it, and the end of an answer.
    let (one, two, ending) = match format {
        "simple" => ("\none", "\ntwo", "\n"),
        "fields" => ("\"one\"", "\"two\"", "\"Count\" : 0\n"),
        _ => ("b25l", "dHdv", "}]}\n"),
    };
    listening.prints_after(one, ending).await?;
    let second = tool.start("elect post two", &[])?;
    waiters(&client, "post/", 2).await?;
    first.signal(Signal::SIGTERM)?;
    first.end().await?;
    second.prints("\ntwo\n").await?;
    listening.prints_after(two, ending).await?;
    second.signal(Signal::SIGTERM)?;
    second.end().await?;
    listening.signal(Signal::SIGTERM)?;
    all.push(listening.end().await?);
    waiters(&client, "post/", 0).await
}

/// A lease that somebody revokes under its holder.
async fn lost_lease(tool: &Tool, all: &mut Vec<Recording>, line: &str, prefix: &str) -> Result<()> {
    let client = tool.client();
    let holding = tool.start(line, &[])?;
    printed_whole(&holding, line).await?;
    let response = client.range(under(prefix)).await?;
    let id = response.kvs.first().context("no key")?.lease;
    client.lease_revoke(LeaseRevokeRequest { id }).await?;
    all.push(holding.end().await?);
    Ok(())
}

fn under(prefix: &str) -> RangeRequest {
    RangeRequest {
        key: prefix.to_owned().into(),
        range_end: quorate::client::prefix_end(prefix.as_bytes()),
        ..RangeRequest::default()
    }
}

/// Waits until there are so many keys.
async fn waiters(client: &Client, prefix: &str, count: usize) -> Result<()> {
    until(
        format!("{count} keys under {prefix}"),
        PATIENCE,
        async || match client.range(under(prefix)).await {
            Ok(response) if response.kvs.len() == count => Look::Ready(()),
            Ok(response) => Look::NotYet(format!("{} keys", response.kvs.len())),
            Err(error) => Look::NotYet(error.to_string()),
        },
    )
    .await
}

async fn put(client: &Client, key: &str, value: &str) -> Result<()> {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    client.put(request).await?;
    Ok(())
}

async fn revision(client: &Client) -> Result<i64> {
    let header = client.range(under("nothing")).await?.header;
    Ok(header.context("no header")?.revision)
}
