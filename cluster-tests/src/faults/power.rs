//! The power goes, on one member or on all: what they had not synced is lost or torn.
//!
//! A kill proves no fsync, because the kernel keeps what was written; this does
//! ([`crate::cluster::power`]). A sync takes a tenth of a millisecond, so most of the time there is
//! nothing to lose, and the story says how much was: the moments in between, one by one, are the log's
//! own suite's.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::PATIENCE;
use crate::cluster::power::Lost;
use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROUNDS: usize = 6;
const CLIENTS: usize = 16;

/// # Errors
/// Something acknowledged was lost, or a member did not come back.
pub async fn tell(context: &Context) -> Result<String> {
    let mut random = StdRng::seed_from_u64(context.seed ^ 2);
    let change = |spec| crate::cluster::local::Spec {
        journals: true,
        ..spec
    };
    let mut arena = Arena::open_with(context, "power", 3, change).await?;
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let mut total = Lost::default();
    for round in 1..=ROUNDS {
        arena.start_load(CLIENTS, false, 10)?;
        let after = random.random_range(100..1_000);
        arena.wait_acknowledged(after, PATIENCE).await?;
        // One of them every third time.
        let victims = match round % 3 {
            0 => vec![random.random_range(1..=all.len())],
            _ => all.clone(),
        };
        let lost = arena.cluster.cut_power(&victims, &mut random)?;
        for victim in &victims {
            arena.cluster.member(*victim)?.start()?;
        }
        arena.cluster.wait_serving(&all, PATIENCE).await?;
        let (verdict, _) = arena
            .judge()
            .await
            .with_context(|| format!("round {round}: the power of {victims:?} went; {lost}"))?;
        arena.say(&format!(
            "round {round}/{ROUNDS}: the power of {victims:?} went after {after} writes; {lost}; \
             {verdict}"
        ));
        total.add(lost);
    }
    let verdict = arena.close().await?;
    Ok(format!("{ROUNDS} rounds, {total}; {verdict}"))
}
