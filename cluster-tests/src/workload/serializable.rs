//! Serializable reads, which any member answers from what it has: stale is allowed, impossible is not.
//! One client counts, the others read from each member in turn.

use super::client::Client;
use crate::history::call::{Act, Call, Range, Txn};
use rand::Rng;

const KEYS: u32 = 4;

pub async fn work(mut client: Client, number: usize) {
    if number == 0 {
        count(client).await;
        return;
    }
    while client.turn().await {
        client.turn_away();
        let range = if client.random.random() {
            Range::prefix("serializable/")
        } else {
            Range::one(format!(
                "serializable/{}",
                client.random.random_range(0..KEYS)
            ))
        };
        client
            .range(Range {
                serializable: true,
                ..range
            })
            .await;
    }
}

/// All keys count together, in one transaction.
async fn count(mut client: Client) {
    let mut count: u64 = 0;
    while client.turn().await {
        count += 1;
        let then = (0..KEYS).map(|key| Act::Put {
            key: format!("serializable/{key}"),
            value: count.to_string(),
            lease: 0,
        });
        let txn = Txn {
            then: then.collect(),
            ..Txn::default()
        };
        client.call(Call::Txn(txn)).await;
    }
}
