//! Compactions, with readers and watchers at old revisions: what is compacted is refused, what is not
//! is exact, and a tombstone at the edge is not forgotten (etcd #19179).

use super::client::Client;
use super::watcher::{self, Watch};
use crate::history::call::{Call, Range, Txn};
use crate::history::watch::WatchRequest;
use rand::Rng;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const KEYS: u32 = 10;
/// Revisions that are kept.
const KEPT: i64 = 300;
const COMPACTION_PERIOD: Duration = Duration::from_millis(1500);
/// A watcher from the past lives so long.
const WATCHED: Duration = Duration::from_secs(2);
const WATCHES_MAX: usize = 4;

pub async fn work(mut client: Client, number: usize) {
    let mut latest = 0;
    let mut count = 0;
    let mut compacted = Instant::now();
    let mut watches: JoinSet<()> = JoinSet::new();
    while client.turn().await {
        while watches.try_join_next().is_some() {}
        if number == 0 && compacted.elapsed() > COMPACTION_PERIOD && latest > KEPT {
            compacted = Instant::now();
            let revision = latest - client.random.random_range(KEPT / 2..KEPT);
            client.call(Call::Compact { revision }).await;
            continue;
        }
        let key = format!("compaction/{}", client.random.random_range(0..KEYS));
        count += 1;
        match client.random.random_range(0..10) {
            0..4 => {
                let value = format!("{}-{count}", client.name());
                if let Some(header) = client.put(key, value).await {
                    latest = latest.max(header.revision);
                }
            }
            4..6 => {
                client.call(Call::Txn(Txn::delete(Range::one(key)))).await;
            }
            6 if watches.len() < WATCHES_MAX && latest > 1 => {
                let watch = from_the_past(&mut client, count, latest);
                watches.spawn(watcher::watch(client.ground.clone(), watch));
            }
            _ if latest > 1 => {
                // Some of these are compacted already.
                let back = client.random.random_range(0..KEPT * 3 / 2);
                let range = Range {
                    revision: (latest - back).max(1),
                    ..Range::prefix("compaction/")
                };
                client.range(range).await;
            }
            _ => {}
        }
    }
    while watches.join_next().await.is_some() {}
}

fn from_the_past(client: &mut Client, count: u64, latest: i64) -> Watch {
    let back = client.random.random_range(0..KEPT * 5 / 4);
    Watch {
        name: format!("{}.past.{count}", client.name()),
        workload: "compaction",
        node: client.node(),
        request: WatchRequest {
            range: Range::prefix("compaction/"),
            start_revision: (latest - back).max(1),
            prev_kv: true,
            ..WatchRequest::default()
        },
        reopens_after: Some(WATCHED),
        once: true,
    }
}
