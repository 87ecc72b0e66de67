//! Writers, and on every member watchers of several kinds: with previous pairs and fragments, with
//! filters, and one that begins anew every second.

use super::client::{Client, Ground};
use super::watcher::Watch;
use crate::history::call::{Act, Call, Range, Txn};
use crate::history::watch::WatchRequest;
use rand::Rng;
use std::time::Duration;

const KEYS: u32 = 20;
const REOPENS_AFTER: Duration = Duration::from_millis(1200);

pub async fn work(mut client: Client) {
    let mut count = 0;
    while client.turn().await {
        count += 1;
        let value = format!("{}-{count}", client.name());
        let first = client.random.random_range(0..KEYS);
        let key = |number: u32| format!("watch/{:02}", number % KEYS);
        let put = |number: u32| Act::Put {
            key: key(number),
            value: value.clone(),
            lease: 0,
        };
        let then = match client.random.random_range(0..10) {
            0..5 => vec![put(first)],
            5..7 => vec![Act::Delete(Range::one(key(first)))],
            // Several keys at one revision: they must come together.
            7..9 => vec![
                put(first),
                put(first + 1),
                Act::Delete(Range::one(key(first + 2))),
            ],
            _ => vec![Act::Delete(Range {
                key: key(3),
                end: Some(key(7)),
                ..Range::default()
            })],
        };
        let txn = Txn {
            then,
            ..Txn::default()
        };
        client.call(Call::Txn(txn)).await;
    }
}

pub fn watches(ground: &Ground) -> Vec<Watch> {
    let mut watches = Vec::new();
    for (node, _) in ground.members.all() {
        let all = WatchRequest {
            range: Range::prefix("watch/"),
            start_revision: 1,
            ..WatchRequest::default()
        };
        let mut add = |kind: &str, request: WatchRequest, reopens_after: Option<Duration>| {
            watches.push(Watch {
                name: format!("watch.{kind}.{node}"),
                workload: "watch",
                node,
                request,
                reopens_after,
                once: false,
            });
        };
        add(
            "before",
            WatchRequest {
                prev_kv: true,
                fragment: true,
                ..all.clone()
            },
            None,
        );
        add(
            "puts",
            WatchRequest {
                no_delete: true,
                ..all.clone()
            },
            None,
        );
        add("anew", all, Some(REOPENS_AFTER));
    }
    watches
}
