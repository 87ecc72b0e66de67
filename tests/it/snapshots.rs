//! Snapshots between members that are at work.

use crate::common::{Cluster, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn a_slow_transfer_under_load_needs_one_snapshot() {
    let mut cluster = Cluster::started_with_snapshots(3, 20);
    cluster.put(0, "before", "1").await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    let last = cluster.last_log(away).await;
    cluster.stop(away);
    cluster.put_until_purged_past(leader, last).await;
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
    let kept = cluster.last_log(leader).await;
    cluster.put_until_purged_past(leader, kept).await;
}
