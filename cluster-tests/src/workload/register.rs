//! Few registers under many clients: the classic of linearizability. Values are unique.

use super::client::Client;
use crate::history::call::{Act, Answer, Call, Compare, Range, Relation, Target, Txn};
use rand::Rng;
use std::collections::BTreeMap;

const REGISTERS: u32 = 5;

pub async fn work(mut client: Client) {
    // What it saw last of each register: what a compare-and-swap expects.
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    while client.turn().await {
        let key = format!("register/{}", client.random.random_range(0..REGISTERS));
        count += 1;
        let value = format!("{}-{count}", client.name());
        let call = match client.random.random_range(0..20) {
            0..8 => Call::Range(Range::one(&key)),
            8..13 => Call::Txn(Txn::put(&key, &value)),
            13 => Call::Txn(Txn::delete(Range::one(&key))),
            _ => match seen.get(&key) {
                Some(expected) => Call::Txn(swap(&key, expected, &value)),
                None => Call::Range(Range::one(&key)),
            },
        };
        if let Some((_, answer)) = client.call(call.clone()).await {
            match (call, answer) {
                (Call::Range(_), Answer::Range(found)) => match found.kvs.first() {
                    Some(pair) => drop(seen.insert(key, pair.value.clone())),
                    None => drop(seen.remove(&key)),
                },
                (
                    _,
                    Answer::Txn {
                        succeeded: true, ..
                    },
                ) => drop(seen.insert(key, value)),
                _ => drop(seen.remove(&key)),
            }
        }
    }
}

/// Sets the value if it is as expected, or else says what it is: a refusal that shows nothing would leave
/// the judge to try every write whose outcome is not known.
fn swap(key: &str, expected: &str, value: &str) -> Txn {
    Txn {
        compares: vec![Compare {
            key: key.to_owned(),
            relation: Relation::Equal,
            target: Target::Value(expected.to_owned()),
        }],
        otherwise: vec![Act::Get(Range::one(key))],
        ..Txn::put(key, value)
    }
}
