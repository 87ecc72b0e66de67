//! Snapshots between members that are at work.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may")]

mod common;

use common::{Cluster, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn a_slow_transfer_under_load_needs_one_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.snapshot_count = 20;
    for number in 0..3 {
        cluster.start(number);
    }
    cluster.put(0, "before", "1").await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    let last = cluster.inspect(away).await.unwrap().last_log.unwrap().index;
    cluster.stop(away);
    let purge_past = async |cluster: &Cluster, index: u64| {
        eventually("a purge", async || {
            cluster.put(leader, "key", "x").await;
            let purged = cluster.inspect(leader).await?.purged?.index;
            (purged > index).then_some(())
        })
        .await;
    };
    purge_past(&cluster, last).await;
    cluster.gates[leader].send_slowly();
    cluster.start(away);
    let enough = Arc::new(AtomicBool::new(false));
    let (mut kv, done) = (cluster.kv(leader), enough.clone());
    let load = tokio::spawn(async move {
        while !done.load(Ordering::Relaxed) {
            let request = quorate::proto::etcdserverpb::PutRequest {
                key: "load".into(),
                value: "x".into(),
                ..Default::default()
            };
            kv.put(request).await.unwrap();
        }
    });
    eventually("the member to be as far as the leader was", async || {
        let target = cluster.inspect(leader).await?.applied?.index;
        let at = eventually("an answer", async || cluster.inspect(away).await).await;
        (at.snapshots_installed > 0 && at.applied?.index + 200 > target).then_some(())
    })
    .await;
    enough.store(true, Ordering::Relaxed);
    load.await.unwrap();
    cluster.converged().await;
    let seen = cluster.inspect(away).await.unwrap();
    assert_eq!(seen.snapshots_installed, 1);
    // What was kept for it goes in the end.
    let gone = cluster
        .inspect(leader)
        .await
        .unwrap()
        .applied
        .unwrap()
        .index;
    purge_past(&cluster, gone).await;
}
