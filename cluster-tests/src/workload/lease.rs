//! Keys that live as long as their lease: granted, renewed for a while, then left to end or revoked.
//! The reader asks on until the key is gone.

use super::client::Client;
use crate::history::call::{Act, Answer, Call, Range, Txn};
use rand::Rng;
use std::time::Duration;
use tokio::time::Instant;

/// Seconds; a member with a usual election timeout grants no less than one or two.
const TTL: i64 = 2;
/// Between two renewals.
const RENEWAL: Duration = Duration::from_millis(600);
/// Between two looks at a key that should end.
const LOOK: Duration = Duration::from_millis(200);
/// So long a reader waits for the end, many times what it may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn work(mut client: Client) {
    let mut count = 0;
    while client.turn().await {
        count += 1;
        let id = client.random.random_range(1..i64::MAX);
        let key = format!("lease/{}-{count}", client.name());
        let Some((_, Answer::Lease { .. })) = client.call(Call::Grant { id, ttl: TTL }).await
        else {
            continue;
        };
        let put = Txn {
            then: vec![Act::Put {
                key: key.clone(),
                value: format!("{id:x}"),
                lease: id,
            }],
            ..Txn::default()
        };
        if client.txn(put).await.is_none() {
            continue;
        }
        for _ in 0..client.random.random_range(0..4) {
            let next = Instant::now() + RENEWAL;
            if !client.ground.sleep(next).await {
                return;
            }
            client.call(Call::KeepAlive { id }).await;
            client.range(Range::one(&key)).await;
        }
        if client.random.random_range(0..4) == 0 {
            client.call(Call::Revoke { id }).await;
        }
        until_gone(&mut client, &key).await;
    }
}

/// Asks for the key until it is not there.
async fn until_gone(client: &mut Client, key: &str) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some((_, found)) = client.range(Range::one(key)).await
            && found.kvs.is_empty()
        {
            return;
        }
        let next = Instant::now() + LOOK;
        if !client.ground.sleep(next).await {
            return;
        }
    }
}
