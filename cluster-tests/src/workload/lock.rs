//! A lock: a key with a lease, created by who finds it absent. What its holder may do is guarded by the
//! key's create revision, the *fencing token*: a holder that slept past its lease is refused. Beside it
//! each does the same unguarded, which is what goes wrong without fencing (Kleppmann, 2016; Jepsen on
//! etcd 3.4.3): the judge shows it and fails nobody for it.

use super::client::Client;
use crate::history::call::{Act, Answer, Call, Compare, Range, Relation, Target, Txn};
use rand::Rng;
use std::time::Duration;
use tokio::time::Instant;

/// Seconds.
const TTL: i64 = 2;
const KEY: &str = "lock/key";
const GUARDED: &str = "lock/guarded";
const UNGUARDED: &str = "lock/unguarded";
/// Of a holder that forgets itself: longer than its lease.
const NAP: Duration = Duration::from_millis(3500);
/// Between two attempts to have it.
const ATTEMPT: Duration = Duration::from_millis(100);

pub async fn work(mut client: Client) {
    while client.turn().await {
        let id = client.random.random_range(1..i64::MAX);
        let Some((_, Answer::Lease { .. })) = client.call(Call::Grant { id, ttl: TTL }).await
        else {
            continue;
        };
        let Some(token) = acquire(&mut client, id).await else {
            client.call(Call::Revoke { id }).await;
            let next = Instant::now() + ATTEMPT;
            client.ground.sleep(next).await;
            continue;
        };
        hold(&mut client, token).await;
        client.call(Call::Revoke { id }).await;
    }
}

/// The fencing token, if the lock is its own now.
async fn acquire(client: &mut Client, lease: i64) -> Option<i64> {
    let txn = Txn {
        compares: vec![created_at(0)],
        then: vec![Act::Put {
            key: KEY.to_owned(),
            value: client.name().to_owned(),
            lease,
        }],
        otherwise: vec![Act::Get(Range::one(KEY))],
    };
    let (header, succeeded) = client.txn(txn).await?;
    succeeded.then_some(header.revision)
}

fn created_at(revision: i64) -> Compare {
    Compare {
        key: KEY.to_owned(),
        relation: Relation::Equal,
        target: Target::CreateRevision(revision),
    }
}

/// Works for a while, and sometimes sleeps too long in between.
async fn hold(client: &mut Client, token: i64) {
    let naps = client.random.random_range(0..4) == 0;
    for work in 0..4 {
        let value = format!("{token}:{work}");
        let guarded = Txn {
            compares: vec![created_at(token)],
            ..Txn::put(GUARDED, &value)
        };
        let Some((_, true)) = client.txn(guarded).await else {
            // It may not be the holder's any more. One that does not ask goes on, and that is the
            // violation to show.
            if naps {
                client.put(UNGUARDED, &value).await;
            }
            return;
        };
        client.put(UNGUARDED, &value).await;
        let nap = if naps && work == 1 { NAP } else { ATTEMPT };
        let next = Instant::now() + nap;
        if !client.ground.sleep(next).await {
            return;
        }
        if naps && work == 1 {
            // Awake, it believes that it holds the lock still.
            client.put(UNGUARDED, &value).await;
        }
    }
}
