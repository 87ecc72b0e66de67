//! Asks every other member how long an answer takes, whoever leads: the round trips that operators
//! watch, and who can be reached. Nothing is decided by it.

use super::consensus::Consensus;
use super::links::Links;
use crate::proto::peer;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// etcd probes every 5 s; alerts look at minutes.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Runs until it is dropped.
pub async fn probe(consensus: Consensus, links: Links) {
    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut probes = JoinSet::new();
        for (node, member) in consensus.status().membership.nodes() {
            if *node == links.me().node {
                continue;
            }
            let meter = links.meters().of(*node);
            let Ok(peer) = links.to(*node, member) else {
                meter.set_active(false);
                continue;
            };
            let mut client = peer.control;
            probes.spawn(async move {
                let begun = Instant::now();
                let answer = timeout(PROBE_INTERVAL, client.hello(peer::HelloRequest {})).await;
                let answered = matches!(answer, Ok(Ok(_)));
                if answered {
                    meter.round_trips.observe(begun.elapsed());
                } else {
                    meter.send_failures.increment();
                }
                meter.set_active(answered);
            });
        }
        while probes.join_next().await.is_some() {}
    }
}
