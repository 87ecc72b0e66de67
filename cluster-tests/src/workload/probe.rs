//! Probes: a write and a read to each member in turn, every few milliseconds, whatever becomes of those
//! before. A client with one operation outstanding measures its own deadline; these measure when the
//! cluster serves. And a client whose write is not answered goes elsewhere, so that nobody would read
//! from a leader that is cut off and does not know it: the reads are of what another member was given
//! to write just before.

use super::client::{DEADLINE, Ground, failure};
use super::wire::perform;
use crate::door::Door;
use crate::history::call::{Call, Range, Txn};
use crate::history::operation::{Operation, Outcome};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const PERIOD: Duration = Duration::from_millis(40);
/// The name of what is no workload.
pub const PROBE: &str = "probe";

pub async fn work(mut ground: Ground) {
    let mut probes = JoinSet::new();
    let mut doors: BTreeMap<String, Door> = BTreeMap::new();
    let mut next = Instant::now();
    for count in 0_usize.. {
        next = (next + PERIOD).max(Instant::now());
        if !ground.sleep(next).await {
            break;
        }
        while probes.try_join_next().is_some() {}
        let members = ground.members.all();
        let Some((node, url)) = members.get(count % members.len().max(1)) else {
            continue;
        };
        if !doors.contains_key(url) {
            let Ok(door) = Door::open(url, DEADLINE) else {
                continue;
            };
            doors.insert(url.clone(), door);
        }
        if let Some(door) = doors.get(url) {
            let write = Call::Txn(Txn::put(key(count), count.to_string()));
            let read = Call::Range(Range::one(key(count.saturating_sub(1))));
            // Each is a client of its own: they overlap.
            for (call, client) in [
                (write, format!("{PROBE}.{count}")),
                (read, format!("{PROBE}.{count}.read")),
            ] {
                probes.spawn(probe(ground.clone(), door.clone(), *node, call, client));
            }
        }
    }
    while probes.join_next().await.is_some() {}
}

/// Few keys: the store stays small.
fn key(count: usize) -> String {
    format!("{PROBE}/{:02}", count % 50)
}

async fn probe(ground: Ground, mut door: Door, node: usize, call: Call, client: String) {
    let invoked = ground.recorder.now();
    let outcome = match perform(&mut door, &call).await {
        Ok((header, answer)) => Outcome::Ok { header, answer },
        Err(status) => failure(&status),
    };
    ground.recorder.operation(Operation {
        client,
        workload: PROBE.to_owned(),
        node,
        invoked,
        completed: ground.recorder.now(),
        call,
        outcome,
    });
}
