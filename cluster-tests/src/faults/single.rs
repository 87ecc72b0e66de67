//! A member alone: what it acknowledges is on its disk (etcd once acknowledged before: #14370).

use super::Context;
use super::arena::Arena;
use crate::cluster::local::PATIENCE;
use crate::cluster::program::Program;
use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROUNDS: usize = 4;
/// Writes one after the other, each of which needs an fsync of its own.
const SERIAL_PUTS: u64 = 100;

/// # Errors
/// Something acknowledged was lost, or acknowledged without an fsync.
pub async fn tell(context: &Context) -> Result<String> {
    let mut random = StdRng::seed_from_u64(context.seed ^ 1);
    let mut arena = Arena::open(context, "single", 1, &[]).await?;
    for round in 1..=ROUNDS {
        arena.start_load(16, true, 10)?;
        let after = random.random_range(100..1_000);
        arena.wait_acknowledged(after, PATIENCE).await?;
        arena.cluster.member(1)?.kill();
        arena.cluster.member(1)?.start()?;
        arena.cluster.wait_serving(&[1], PATIENCE).await?;
        let (verdict, _) = arena
            .judge()
            .await
            .with_context(|| format!("round {round}"))?;
        arena.say(&format!(
            "round {round}/{ROUNDS}: kill -9 after {after} writes; {verdict}"
        ));
    }
    // A kill does not empty the page cache, so that alone proves no fsync: count them.
    let fsyncs = if context.program == Program::Quorate {
        let before = arena.cluster.observe(1, false).await?.log_fsyncs;
        let mut door = arena.cluster.door(1, PATIENCE)?;
        for count in 0..SERIAL_PUTS {
            door.put("fsync", count.to_string()).await.context("put")?;
        }
        let fsyncs = arena.cluster.observe(1, false).await?.log_fsyncs - before;
        ensure!(
            fsyncs >= SERIAL_PUTS,
            "{SERIAL_PUTS} puts, one after the other, were acknowledged with {fsyncs} fsyncs"
        );
        door.kv
            .delete_range(quorate::proto::etcdserverpb::DeleteRangeRequest {
                key: "fsync".into(),
                ..Default::default()
            })
            .await
            .context("delete the key that the judge does not know")?;
        format!("; {SERIAL_PUTS} serial puts took {fsyncs} fsyncs")
    } else {
        String::new()
    };
    let verdict = arena.close().await?;
    Ok(format!("{ROUNDS} rounds; {verdict}{fsyncs}"))
}
