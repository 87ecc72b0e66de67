//! Lists that grow by transaction, and are read several at once: what Elle judges. An append reads the
//! list, and replaces it if it has not changed, in a transaction that reads other lists too. Lists are
//! left for new ones when they are long.

use super::client::Client;
use crate::history::call::{Act, Answer, Call, Compare, Done, Found, Range, Relation, Target, Txn};
use rand::Rng;

const LISTS: u32 = 4;
/// Elements of a list before it is left.
const LONG: usize = 40;

pub async fn work(mut client: Client) {
    let mut generation = 0;
    let mut count = 0;
    while client.turn().await {
        let list = |number: u32| format!("append/{generation:03}.{number}");
        let mine = list(client.random.random_range(0..LISTS));
        let other = list(client.random.random_range(0..LISTS));
        let read = Txn {
            then: vec![Act::Get(Range::one(&mine)), Act::Get(Range::one(&other))],
            ..Txn::default()
        };
        let Some(found) = first_read(client.call(Call::Txn(read)).await) else {
            continue;
        };
        let old = found.kvs.first();
        let length = old.map_or(0, |pair| pair.value.split(',').count());
        if length >= LONG {
            generation += 1;
            continue;
        }
        if client.random.random_range(0..10) < 3 || !client.turn().await {
            continue;
        }
        count += 1;
        let element = format!("{}-{count}", client.name());
        let value = old.map_or_else(
            || element.clone(),
            |pair| format!("{},{element}", pair.value),
        );
        let append = Txn {
            compares: vec![Compare {
                key: mine.clone(),
                relation: Relation::Equal,
                target: Target::ModRevision(old.map_or(0, |pair| pair.mod_revision)),
            }],
            then: vec![
                Act::Get(Range::one(&other)),
                Act::Put {
                    key: mine.clone(),
                    value,
                    lease: 0,
                },
            ],
            otherwise: vec![Act::Get(Range::one(&mine)), Act::Get(Range::one(&other))],
        };
        client.call(Call::Txn(append)).await;
    }
}

fn first_read<H>(answer: Option<(H, Answer)>) -> Option<Found> {
    match answer? {
        (_, Answer::Txn { done, .. }) => match done.into_iter().next()? {
            Done::Get(found) => Some(found),
            Done::Put { .. } | Done::Deleted { .. } => None,
        },
        _ => None,
    }
}
