//! The shapes of a Kubernetes control plane: objects created if absent, updated and deleted if
//! unchanged, with what is there in the answer if not; lists in pages at one revision; a watch from the
//! list's revision.

use super::client::{Client, Ground};
use super::watcher::Watch;
use crate::history::call::{Act, Answer, Call, Compare, Done, Pair, Range, Relation, Target, Txn};
use crate::history::watch::WatchRequest;
use rand::Rng;
use rand::seq::IndexedRandom;

const PREFIX: &str = "kubernetes/pods/";
const OBJECTS: u32 = 40;
const PAGE: i64 = 10;

pub async fn work(mut client: Client) {
    let mut count = 0;
    // What its cache holds.
    let mut cache: Vec<Pair> = Vec::new();
    while client.turn().await {
        count += 1;
        let value = format!("{}-{count}", client.name());
        match client.random.random_range(0..10) {
            0..3 => {
                let key = format!("{PREFIX}{:02}", client.random.random_range(0..OBJECTS));
                let act = Txn::put(&key, value).then;
                guarded(&mut client, &key, 0, act, &mut cache).await;
            }
            3..7 => {
                if let Some(pair) = cache.choose(&mut client.random).cloned() {
                    let act = Txn::put(&pair.key, value).then;
                    guarded(&mut client, &pair.key, pair.mod_revision, act, &mut cache).await;
                }
            }
            7 => {
                if let Some(pair) = cache.choose(&mut client.random).cloned() {
                    let act = vec![Act::Delete(Range::one(&pair.key))];
                    guarded(&mut client, &pair.key, pair.mod_revision, act, &mut cache).await;
                }
            }
            _ => {
                if let Some(all) = list(&mut client).await {
                    cache = all;
                }
            }
        }
    }
}

/// Acts if the object is as it was at `revision` (0: absent); else learns what is there.
async fn guarded(
    client: &mut Client,
    key: &str,
    revision: i64,
    then: Vec<Act>,
    cache: &mut Vec<Pair>,
) {
    let txn = Txn {
        compares: vec![Compare {
            key: key.to_owned(),
            relation: Relation::Equal,
            target: Target::ModRevision(revision),
        }],
        then,
        otherwise: vec![Act::Get(Range::one(key))],
    };
    let answer = client.call(Call::Txn(txn)).await;
    cache.retain(|pair| pair.key != key);
    if let Some((
        _,
        Answer::Txn {
            done,
            succeeded: false,
        },
    )) = answer
        && let Some(Done::Get(found)) = done.into_iter().next()
    {
        cache.extend(found.kvs);
    }
}

/// All objects, in pages at the first page's revision.
async fn list(client: &mut Client) -> Option<Vec<Pair>> {
    let mut all: Vec<Pair> = Vec::new();
    let mut range = Range {
        limit: PAGE,
        ..Range::prefix(PREFIX)
    };
    loop {
        let (header, found) = client.range(range.clone()).await?;
        if range.revision == 0 {
            range.revision = header.revision;
        }
        let last = found.kvs.last().map(|pair| pair.key.clone());
        all.extend(found.kvs);
        let (true, Some(last)) = (found.more, last) else {
            return Some(all);
        };
        range.key = format!("{last}\0");
        if !client.turn().await {
            return None;
        }
    }
}

pub fn watches(ground: &Ground) -> Vec<Watch> {
    let members = ground.members.all().into_iter();
    members
        .map(|(node, _)| Watch {
            name: format!("kubernetes.cache.{node}"),
            workload: "kubernetes",
            node,
            request: WatchRequest {
                range: Range::prefix("kubernetes/"),
                start_revision: 1,
                prev_kv: true,
                progress_notify: true,
                ..WatchRequest::default()
            },
            reopens_after: None,
            once: false,
        })
        .collect()
}
