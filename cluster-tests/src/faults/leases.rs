//! Leases by the hundred thousand live, ten thousand end at one moment, and a leader sleeps through it
//! all: nobody's puts stall, exactly those end that nobody renewed, and the sleeper, which by its own
//! clock has leases to revoke and believes that it leads, revokes none.

use super::Context;
use super::arena::Arena;
use crate::cluster::local::{Cluster, PATIENCE};
use crate::door::Door;
use crate::wait::{Look, until, until_ok};
use anyhow::{Context as _, Result, bail, ensure};
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, PutRequest, RangeRequest,
};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tonic::Status;

/// A hundred thousand in a long run, of so many rounds; a fifth of them otherwise.
const LIVE: i64 = 100_000;
const LONG_ROUNDS: usize = 20;
const LIVE_TTL: i64 = 3_600;
/// The change of leaders gives each its whole time again: they end at one moment.
const MORTAL: Range<i64> = 200_000..210_000;
const MORTAL_TTL: i64 = 12;
/// Renewed all the time, through members that are awake.
const KEPT: Range<i64> = 300_000..300_050;
const KEPT_TTL: i64 = 5;
const RENEW_EVERY: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(20);
const EXISTS: &str = "etcdserver: lease already exists";
/// Clients that grant, and clients that put to see how long it takes.
const GRANTERS: usize = 512;
const PUTTERS: usize = 4;
const LOOK: Duration = Duration::from_secs(2);
/// No figure but sanity: a put that waits for all the revokes would take longer.
const PUT_MAX: Duration = Duration::from_secs(5);

/// # Errors
/// A lease ends that should live, or lives on; or puts stall meanwhile.
pub async fn tell(context: &Context) -> Result<String> {
    let mut arena = Arena::open(context, "leases", 3, &[]).await?;
    let all: Vec<usize> = arena.cluster.nodes().collect();
    let sleeper = arena.cluster.wait_leader(&all, PATIENCE).await?;
    let others: Vec<usize> = all
        .iter()
        .copied()
        .filter(|node| *node != sleeper)
        .collect();

    let live = match context.rounds >= LONG_ROUNDS {
        true => LIVE,
        false => LIVE / 5,
    };
    let alone = Putters::look(&arena.cluster, &all).await?;
    let memory = arena.cluster.member(sleeper)?.resident_bytes()?;
    let begun = Instant::now();
    grant(&arena.cluster, &all, 1..live + 1, LIVE_TTL, None).await?;
    let granted = begun.elapsed();
    let grown = arena.cluster.member(sleeper)?.resident_bytes()? - memory;
    let beside = Putters::look(&arena.cluster, &all).await?;
    arena.say(&format!(
        "{live} leases granted in {:.1} s, {} MB more of the leader's memory; puts before: {alone}; \
         beside them: {beside}",
        granted.as_secs_f64(),
        grown >> 20
    ));

    grant(&arena.cluster, &others, KEPT, KEPT_TTL, Some("kept")).await?;
    let keeper = Keeper::start(&arena.cluster, &others)?;
    grant(&arena.cluster, &others, MORTAL, MORTAL_TTL, Some("mortal")).await?;
    let mut door = arena.cluster.door(others[0], PATIENCE)?;
    let kept = versions(&mut door, "kept").await?;
    ensure!(kept.len() == 50, "{} keys are kept", kept.len());

    let mortal = count(&mut door, "mortal").await?;
    let all_mortal = MORTAL.end - MORTAL.start;
    ensure!(mortal == all_mortal, "{mortal} lived to see all granted");

    arena.cluster.member(sleeper)?.pause()?;
    let next = arena.cluster.wait_leader(&others, PATIENCE).await?;
    let led = Instant::now();
    let putters = Putters::start(&arena.cluster, &others)?;
    let first = until("a lease to end", PATIENCE, async || {
        match count(&mut door, "mortal").await {
            Ok(left) if left < all_mortal => Look::Ready(Instant::now()),
            Ok(_) => Look::NotYet("all are there".to_owned()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    })
    .await?;
    let ended_after = led.elapsed();
    ensure!(
        ended_after >= Duration::from_secs(8),
        "leases of {MORTAL_TTL} s ended {ended_after:?} after the change of leaders"
    );
    until_ok("all of them to end", PATIENCE, async || {
        let left = count(&mut door, "mortal").await?;
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await?;
    let took = first.elapsed();
    let during = putters.stop().await?;
    arena.say(&format!(
        "n{sleeper} sleeps, n{next} leads; {all_mortal} leases ended within {:.1} s; puts meanwhile: \
         {during}",
        took.as_secs_f64()
    ));
    ensure!(during.slowest <= PUT_MAX, "a put took {:?}", during.slowest);

    arena.cluster.member(sleeper)?.resume()?;
    arena.cluster.wait_serving(&[sleeper], PATIENCE).await?;
    // It has had its turn: it serves, and everybody's leases were renewed some times more.
    let renewed = keeper.renewed();
    until("more renewals", PATIENCE, async || {
        match keeper.renewed() - renewed {
            more if more >= 10 => Look::Ready(()),
            more => Look::NotYet(format!("{more} rounds")),
        }
    })
    .await?;
    ensure!(
        versions(&mut door, "kept").await? == kept,
        "a lease that was renewed all the time was revoked"
    );
    keeper.check()?;
    let leases = door.lease.lease_leases(LeaseLeasesRequest {}).await;
    let leases = leases.context("list the leases")?.into_inner().leases;
    let expected = usize::try_from(live + KEPT.end - KEPT.start)?;
    ensure!(
        leases.len() == expected,
        "{} leases are there",
        leases.len()
    );
    drop(keeper);
    until_ok("the end of those that were kept", PATIENCE, async || {
        let left = count(&mut door, "kept").await?;
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await?;
    let hash = arena.close_unjudged().await?;
    Ok(format!(
        "{live} granted in {:.1} s; {all_mortal} ended in {:.1} s; puts {alone} without leases, {beside} \
         beside them, {during} beside their end; the sleeper revoked none; every member has hash {hash}",
        granted.as_secs_f64(),
        took.as_secs_f64()
    ))
}

/// Grants leases, each with a key of its own under a prefix, if there is one.
async fn grant(
    cluster: &Cluster,
    nodes: &[usize],
    ids: Range<i64>,
    ttl: i64,
    prefix: Option<&'static str>,
) -> Result<()> {
    let next = Arc::new(AtomicI64::new(ids.start));
    let doors: Result<Vec<Door>> = nodes
        .iter()
        .map(|node| cluster.door(*node, PATIENCE))
        .collect();
    let doors = doors?;
    let mut granters: JoinSet<Result<()>> = JoinSet::new();
    for door in doors.iter().cycle().take(GRANTERS) {
        let mut door = door.clone();
        let next = Arc::clone(&next);
        granters.spawn(async move {
            loop {
                let id = next.fetch_add(1, Ordering::Relaxed);
                if id >= ids.end {
                    return Ok(());
                }
                let begun = Instant::now();
                let request = LeaseGrantRequest { ttl, id };
                while let Err(refused) = door.lease.lease_grant(request).await
                    && refused.message() != EXISTS
                {
                    ask_again(begun, &refused).await?;
                }
                let Some(prefix) = prefix else { continue };
                let request = PutRequest {
                    key: format!("{prefix}/{id}").into(),
                    lease: id,
                    ..PutRequest::default()
                };
                while let Err(refused) = door.kv.put(request.clone()).await {
                    ask_again(begun, &refused).await?;
                }
            }
        });
    }
    while let Some(granter) = granters.join_next().await {
        granter.context("a granter")??;
    }
    Ok(())
}

/// Leaders may change on a busy machine: what got no answer is asked again, for a while.
async fn ask_again(begun: Instant, refused: &Status) -> Result<()> {
    ensure!(
        begun.elapsed() < PATIENCE,
        "refused all the time: {refused}"
    );
    sleep(PAUSE).await;
    Ok(())
}

fn under(prefix: &str) -> RangeRequest {
    RangeRequest {
        key: format!("{prefix}/").into(),
        range_end: format!("{prefix}0").into(),
        ..RangeRequest::default()
    }
}

async fn count(door: &mut Door, prefix: &str) -> Result<i64> {
    let request = RangeRequest {
        count_only: true,
        ..under(prefix)
    };
    Ok(door.kv.range(request).await?.into_inner().count)
}

/// Keys and their modification revisions: a key that died and came back has another one.
async fn versions(door: &mut Door, prefix: &str) -> Result<Vec<(bytes::Bytes, i64)>> {
    let found = door.kv.range(under(prefix)).await?.into_inner().kvs;
    Ok(found
        .into_iter()
        .map(|kv| (kv.key, kv.mod_revision))
        .collect())
}

/// Renews the kept leases until it is dropped.
struct Keeper {
    rounds: Arc<AtomicU64>,
    task: JoinHandle<Result<()>>,
    is_lost: Arc<AtomicBool>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    fn start(cluster: &Cluster, nodes: &[usize]) -> Result<Self> {
        let doors: Result<Vec<Door>> = nodes
            .iter()
            .map(|node| cluster.door(*node, PATIENCE))
            .collect();
        let (doors, rounds) = (doors?, Arc::new(AtomicU64::new(0)));
        let is_lost = Arc::new(AtomicBool::new(false));
        let (counted, lost) = (Arc::clone(&rounds), Arc::clone(&is_lost));
        let task = tokio::spawn(async move {
            for mut door in doors.into_iter().cycle() {
                // Without a leader there is no answer; the next member is asked.
                match renew(&mut door).await {
                    Ok(true) => counted.fetch_add(1, Ordering::Relaxed),
                    Ok(false) => {
                        lost.store(true, Ordering::Relaxed);
                        bail!("a lease that was renewed all the time is gone");
                    }
                    Err(_) => continue,
                };
                sleep(RENEW_EVERY).await;
            }
            Ok(())
        });
        Ok(Self {
            rounds,
            task,
            is_lost,
        })
    }

    /// Rounds so far.
    fn renewed(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<()> {
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        ensure!(!is_lost, "a renewal found no lease");
        Ok(())
    }
}

/// One renewal of each; whether all of them live.
async fn renew(door: &mut Door) -> Result<bool> {
    let requests: Vec<_> = KEPT.map(|id| LeaseKeepAliveRequest { id }).collect();
    let requests = tokio_stream::iter(requests);
    let answers = door.lease.lease_keep_alive(requests).await?;
    let mut answers = answers.into_inner();
    for _ in KEPT {
        let answer = answers.message().await?.context("an answer each")?;
        if answer.ttl <= 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How long puts took.
struct Latency {
    count: usize,
    median: Duration,
    p99: Duration,
    slowest: Duration,
}

impl fmt::Display for Latency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |it: Duration| it.as_secs_f64() * 1e3;
        let (median, p99, slowest) = (ms(self.median), ms(self.p99), ms(self.slowest));
        write!(
            formatter,
            "p50 {median:.1} p99 {p99:.1} max {slowest:.0} ms of {}",
            self.count
        )
    }
}

/// Clients that put one after the other.
struct Putters {
    enough: Arc<AtomicBool>,
    tasks: JoinSet<Result<Vec<Duration>>>,
}

impl Putters {
    fn start(cluster: &Cluster, nodes: &[usize]) -> Result<Self> {
        let enough = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..PUTTERS {
            let mut door = cluster.door(nodes[number % nodes.len()], PATIENCE)?;
            let enough = Arc::clone(&enough);
            tasks.spawn(async move {
                let mut took = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let key = format!("put-{number}");
                    // One that must be asked again took all that time.
                    while let Err(refused) = door.put(key.clone(), "x").await {
                        ask_again(begun, &refused).await?;
                    }
                    took.push(begun.elapsed());
                }
                Ok(took)
            });
        }
        Ok(Self { enough, tasks })
    }

    async fn stop(mut self) -> Result<Latency> {
        self.enough.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(took) = self.tasks.join_next().await {
            all.extend(took.context("a putter")??);
        }
        all.sort();
        let at = |percent: usize| all.get(all.len() * percent / 100).copied();
        Ok(Latency {
            count: all.len(),
            median: at(50).context("no puts")?,
            p99: at(99).context("no puts")?,
            slowest: all.last().copied().context("no puts")?,
        })
    }

    /// Puts for a while.
    async fn look(cluster: &Cluster, nodes: &[usize]) -> Result<Latency> {
        let putters = Self::start(cluster, nodes)?;
        sleep(LOOK).await;
        putters.stop().await
    }
}
