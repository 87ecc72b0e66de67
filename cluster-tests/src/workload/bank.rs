//! Accounts, transfers by transaction, and reads of all accounts: now, at older revisions, and
//! serializable. Whatever is read, the total is what it was at the beginning.

use super::client::Client;
use crate::history::call::{Act, Call, Compare, Pair, Range, Relation, Target, Txn};
use rand::Rng;
use rand::seq::IndexedRandom;

pub const ACCOUNTS: usize = 6;
/// Of each account at the beginning.
pub const BALANCE: i64 = 100;
/// How far back reads of the past go.
const PAST: i64 = 50;

pub fn account(number: usize) -> String {
    format!("bank/{number}")
}

pub async fn work(mut client: Client, number: usize) {
    // One opens the bank; the others wait until they see it.
    while number == 0 && client.turn().await {
        if client.txn(opening()).await.is_some() {
            break;
        }
    }
    let mut known: Vec<Pair> = Vec::new();
    let mut latest = 0;
    while client.turn().await {
        let choice = client.random.random_range(0..10);
        if choice < 5 && known.len() == ACCOUNTS {
            transfer(&mut client, &mut known).await;
            continue;
        }
        let mut range = Range::prefix("bank/");
        match choice {
            8 if latest > PAST => {
                range.revision = latest - client.random.random_range(0..PAST);
            }
            9 => range.serializable = true,
            _ => {}
        }
        let fresh = range.revision == 0 && !range.serializable;
        if let Some((header, found)) = client.range(range).await {
            latest = latest.max(header.revision);
            if fresh && found.kvs.len() == ACCOUNTS {
                known = found.kvs;
            }
        }
    }
}

/// All accounts at once, if there are none.
fn opening() -> Txn {
    let accounts = (0..ACCOUNTS).map(account);
    Txn {
        compares: vec![Compare {
            key: account(0),
            relation: Relation::Equal,
            target: Target::CreateRevision(0),
        }],
        then: accounts
            .map(|key| Act::Put {
                key,
                value: BALANCE.to_string(),
                lease: 0,
            })
            .collect(),
        otherwise: Vec::new(),
    }
}

/// From one to another, if neither has changed since it was read; else both are read again.
async fn transfer(client: &mut Client, known: &mut Vec<Pair>) {
    let two: Vec<Pair> = known
        .choose_multiple(&mut client.random, 2)
        .cloned()
        .collect();
    let [from, to] = two.as_slice() else { return };
    let balance = |pair: &Pair| pair.value.parse::<i64>().unwrap_or(0);
    let amount = client.random.random_range(1..=5).min(balance(from));
    let put = |pair: &Pair, value: i64| Act::Put {
        key: pair.key.clone(),
        value: value.to_string(),
        lease: 0,
    };
    let unchanged = |pair: &Pair| Compare {
        key: pair.key.clone(),
        relation: Relation::Equal,
        target: Target::ModRevision(pair.mod_revision),
    };
    let txn = Txn {
        compares: vec![unchanged(from), unchanged(to)],
        then: vec![
            put(from, balance(from) - amount),
            put(to, balance(to) + amount),
        ],
        otherwise: vec![Act::Get(Range::prefix("bank/"))],
    };
    // Whatever came of it, what is known is old.
    client.call(Call::Txn(txn)).await;
    known.clear();
}
