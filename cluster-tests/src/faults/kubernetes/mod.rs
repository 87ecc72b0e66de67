//! What a Kubernetes control plane does to its store, with the leader killed in the middle.
//!
//! kube-apiserver uses few calls, always in the same shapes, and depends on every detail of them:
//! objects are created, updated and deleted by transactions that are guarded by the revision last
//! seen ([`objects`]); caches are filled by a list in pages at one revision, and kept by a watch
//! from the next revision on ([`reflector`]); a read is served from the cache once the watch has
//! reported progress beyond the store's revision; and every few minutes one of the apiservers,
//! agreed upon by a guarded counter, compacts the past ([`compactor`]).
//!
//! Judged: an update that was acknowledged is in the history at its revision and builds upon the one
//! before it; every cache saw each revision once, in order, with the value before; at the end each
//! cache is what a list shows; each consistent read was what a list at its revision shows; no two
//! apiservers won the same round of compaction.

mod compactor;
mod objects;
mod reflector;

use super::Context;
use super::arena::Arena;
use crate::cluster::local::PATIENCE;
use crate::door::Door;
use crate::wait::{Look, until};
use anyhow::{Context as _, Result, ensure};
use compactor::Compactor;
use objects::{Controller, Ledger};
use reflector::{Cache, Reflector};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Everything an apiserver stores is below it.
const REGISTRY: &str = "/registry/";
const CONTROLLERS: usize = 6;
/// Acknowledged updates before the leader is killed, while it is away, and afterwards.
const UPDATES: usize = 150;
const DEADLINE: Duration = Duration::from_secs(2);
/// Reads from the caches while the cluster is at work, at least.
const CONSISTENT_READS_MIN: usize = 10;

/// # Errors
/// An update was lost, or a cache is not what it should be.
pub async fn tell(context: &Context) -> Result<String> {
    let mut arena = Arena::open(context, "kubernetes", 3, &[]).await?;
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let urls = arena.cluster.client_urls();
    let doors: Vec<Door> = urls
        .iter()
        .map(|url| Door::open(url, DEADLINE))
        .collect::<Result<_>>()?;

    let ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut work: JoinSet<Result<()>> = JoinSet::new();
    let reflectors: Vec<Reflector> = (0..all.len())
        .map(|at| Reflector::start(&urls, at))
        .collect::<Result<_>>()?;
    for number in 0..CONTROLLERS {
        let controller = Controller::new(number, doors.clone(), context.seed, ledger.clone());
        work.spawn(Box::pin(controller.run(Arc::clone(&stop))));
    }
    let rounds = compactor::Rounds::default();
    for number in 0..2 {
        let compactor = Compactor::new(number, doors.clone(), rounds.clone());
        work.spawn(Box::pin(compactor.run(Arc::clone(&stop))));
    }
    let mut reads = JoinSet::new();
    for (reflector, door) in reflectors.iter().zip(&doors) {
        let reader = reader(reflector.cache(), door.clone(), Arc::clone(&stop));
        reads.spawn(Box::pin(reader));
    }

    wait_updates(&ledger, UPDATES, &mut work).await?;
    let leader = arena.cluster.wait_leader(&all, PATIENCE).await?;
    arena.cluster.member(leader)?.kill();
    arena.say(&format!("kill -9 of the leader, n{leader}"));
    wait_updates(&ledger, UPDATES, &mut work).await?;
    arena.cluster.member(leader)?.start()?;
    arena.cluster.wait_serving(&[leader], PATIENCE).await?;
    wait_updates(&ledger, UPDATES, &mut work).await?;

    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = work.join_next().await {
        ended.context("a client")??;
    }
    let mut consistent = 0;
    while let Some(read) = reads.join_next().await {
        consistent += read.context("a reader")??;
    }
    ensure!(
        consistent >= CONSISTENT_READS_MIN,
        "only {consistent} consistent reads"
    );
    judge(&arena, &reflectors, &ledger).await?;
    let compactions = rounds.judge()?;
    let resumed: usize = reflectors
        .iter()
        .map(|reflector| reflector.cache().resumed())
        .sum();
    let (acknowledged, refused, unknown) = ledger.counts();
    drop(reflectors);
    arena.close_unjudged().await?;
    Ok(format!(
        "{acknowledged} guarded updates acknowledged and none lost, {refused} refused by their \
         guard, {unknown} of unknown outcome; {} caches saw each revision once and equal the list, \
         {resumed} times resumed; {consistent} consistent reads; {compactions} compactions",
        all.len()
    ))
}

/// Waits until so many more updates are acknowledged.
async fn wait_updates(ledger: &Ledger, more: usize, work: &mut JoinSet<Result<()>>) -> Result<()> {
    let goal = ledger.counts().0 + more;
    until(format!("{more} more updates"), PATIENCE, async || {
        // Clients end only when they found something wrong.
        if let Some(ended) = work.try_join_next() {
            return Look::Ready(ended.context("a client").and_then(|ended| ended));
        }
        match ledger.counts().0 {
            enough if enough >= goal => Look::Ready(Ok(())),
            less => Look::NotYet(format!("{less} of {goal}")),
        }
    })
    .await?
}

/// Reads from a cache again and again, each time consistently; how often it could.
async fn reader(cache: Cache, mut door: Door, stop: Arc<AtomicBool>) -> Result<usize> {
    let mut reads = 0;
    // A cache shows nothing from before the list that it began with.
    cache.wait_fresh(0, PATIENCE).await?;
    while !stop.load(Ordering::Relaxed) {
        // The revision that the cache must reach: what a linearizable read of almost nothing says.
        let Ok((revision, _)) = door.get(REGISTRY).await else {
            // Its member is away.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        cache.wait_fresh(revision, PATIENCE).await?;
        let shown = cache.at(revision)?;
        match objects::list(&mut door, revision).await {
            Ok(listed) => {
                ensure!(
                    shown == listed.objects,
                    "the cache at {revision} is not what a list shows"
                );
                reads += 1;
            }
            // Away, or compacted meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Ok(reads)
}

async fn judge(arena: &Arena, reflectors: &[Reflector], ledger: &Ledger) -> Result<()> {
    let all: Vec<usize> = arena.cluster.nodes().collect();
    arena.cluster.wait_same_state(&all, PATIENCE).await?;
    let mut door = arena.cluster.door(1, PATIENCE)?;
    let end = objects::list(&mut door, 0).await?;
    for &node in &all {
        let mut door = arena.cluster.door(node, PATIENCE)?;
        let list = objects::list(&mut door, end.revision).await?;
        ensure!(
            list.objects == end.objects,
            "node {node} lists something else"
        );
    }
    let mut histories = Vec::new();
    for (number, reflector) in (1..).zip(reflectors) {
        let cache = reflector.cache();
        cache
            .wait_fresh(end.revision, PATIENCE)
            .await
            .with_context(|| format!("cache {number}"))?;
        ensure!(
            cache.at(end.revision)? == end.objects,
            "cache {number} is not what a list shows at the end"
        );
        histories.push(cache.history());
    }
    let (first, others) = histories.split_first().context("no caches")?;
    for (number, history) in (2..).zip(others) {
        // They began at different revisions.
        let from = first.began.max(history.began);
        ensure!(
            first.since(from) == history.since(from),
            "caches 1 and {number} saw different revisions"
        );
    }
    ledger.judge(first)
}
