//! A run: a cluster, clients, a schedule of faults; a recording of it all; the judges; a report.
//!
//! | file | idea |
//! |---|---|
//! | [`command`] | the command line |
//! | [`plan`] | what to run, and the command that repeats it |
//! | [`site`] | the cluster: ours, whatever it is made of, or endpoints that somebody else runs |
//! | [`sampler`] | asks every member how it is, all the time |
//! | [`conductor`] | walks through the schedule |
//! | [`hand`] | makes the world what the faults of now say |
//! | `words` | what a fault does here, in words |
//! | [`deeds`] | faults that are done by calls: members, transfers, consumers that do not read |
//! | [`operator`] | what an operator does: alarms about space are disarmed when there is space |
//! | [`finale`] | how the members are at the end |
//! | [`progress`] | who watches: a terminal, or nobody |
//! | [`matrix`] | every fault that applies, one run each |
//! | [`mod@verdict`] | judges, report, and what the terminal says at the end |
//!
//! [`run`] is a run on real processes or endpoints. What it does there, [`conduct_on`] does on any
//! cluster, a simulated one among them: it spawns on the runtime that it is called on, knows no time but
//! tokio's, chooses from the plan's seed alone, and touches no thread, file, signal or terminal.

pub mod command;
pub mod conductor;
pub mod deeds;
pub mod finale;
pub mod hand;
pub mod matrix;
pub mod operator;
pub mod plan;
pub mod progress;
pub mod sampler;
pub mod site;
pub mod verdict;
mod words;

use crate::history::recorder::Recorder;
use crate::history::recording::{About, Recording};
use crate::wait::{Look, until};
use crate::workload::client::{Ground, Members};
use crate::workload::{self, observer};
use anyhow::{Context as _, Result};
use conductor::Conductor;
use plan::Plan;
use progress::{Audience, Terminal};
use sampler::Sampler;
use site::Site;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Clients that were told to stop have an answer, or gave up, long before.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Observers have caught up long before.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(20);

/// Runs the plan and records it. What goes wrong with the cluster is in the recording, as trouble or
/// for the judges to find.
///
/// # Errors
/// The cluster does not come up.
pub async fn run(plan: &Plan) -> Result<Recording> {
    let site = Site::open(plan).await?;
    Box::pin(conduct_on(site, plan, &mut Terminal::default())).await
}

/// Runs the plan on a cluster that serves, to its end, and ends the cluster: clients, watchers, the
/// schedule, the finale. Of the plan only what is to be done counts, not what the cluster is made of.
///
/// # Errors
/// The members cannot be sampled, because one of them is no node.
pub async fn conduct_on(site: Site, plan: &Plan, audience: &mut dyn Audience) -> Result<Recording> {
    let site = Arc::new(site);
    let recorder = Recorder::default();
    let members = Members::new(site.client_urls().await);
    let (stop_clients, clients_stop) = watch::channel(false);
    let (stop_watchers, watchers_stop) = watch::channel(false);
    let ground = Ground {
        members: members.clone(),
        recorder: recorder.clone(),
        stop: clients_stop,
        seed: plan.seed,
    };
    let watching = Ground {
        stop: watchers_stop,
        ..ground.clone()
    };
    let sampler = Sampler::start(&site, &recorder).await?;
    let mut watchers = workload::watch(&plan.workloads, &watching);
    let mut clients = workload::start(&plan.workloads, plan.rate, &ground);
    audience.begin(&recorder, sampler.leader(), plan.schedule.ends_ms);

    let mut conductor = Conductor::new(&site, &watching, sampler, plan.seed);
    let interrupted = conductor
        .conduct(&plan.schedule, &mut watchers, audience)
        .await;
    let mut trouble = conductor.take_trouble();

    let healed = recorder.notes().windows.iter().map(|w| w.ended).max();
    stop_clients.send_replace(true);
    finish(&mut clients, "clients", &mut trouble).await;
    let stopped = recorder.now();
    audience.say("clients have stopped; members and watchers come together");
    if let Err(error) = caught_up(&site, &recorder, &members).await {
        trouble.push(format!("{error:#}"));
    }
    stop_watchers.send_replace(true);
    finish(&mut watchers, "watchers", &mut trouble).await;
    let finale = finale::look(&site, &mut trouble).await;
    conductor.sampler.stop().await;
    audience.end();
    let duration = recorder.now();
    let server = site.server().await;
    let limits = site.limits().await;
    let election_timeout = site.election_timeout().await;
    site.close(&mut trouble).await;

    let notes = std::mem::take(&mut *recorder.notes());
    let mut operations = notes.operations;
    operations.sort_by_key(|operation| operation.completed);
    Ok(Recording {
        about: About {
            server,
            laboratory: format!("cluster-tests {}", env!("CARGO_PKG_VERSION")),
            cluster: plan.cluster.to_string(),
            nodes: plan.nodes,
            seed: plan.seed,
            workloads: plan.workloads.iter().map(|w| w.name().to_owned()).collect(),
            nemeses: plan.nemeses.clone(),
            command: plan.command(),
            started: plan.started.clone(),
            duration,
            healed: healed.unwrap_or(0),
            stopped,
            election_timeout_ms: u64::try_from(election_timeout.as_millis()).unwrap_or(u64::MAX),
            carrier: plan.carrier().to_owned(),
            cannot: limits,
            canary: plan.canary.clone().unwrap_or_default(),
            interrupted,
            trouble,
            ..About::default()
        },
        schedule: plan.schedule.clone(),
        operations,
        watches: notes.watches,
        windows: notes.windows,
        weather: notes.weather,
        lives: notes.lives,
        samples: notes.samples,
        finale,
    })
}

/// Waits for tasks that were told to end.
async fn finish(tasks: &mut JoinSet<()>, what: &str, trouble: &mut Vec<String>) {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                return Some(format!("one of the {what} failed: {error}"));
            }
        }
        None
    };
    match timeout(STOP_PATIENCE, all).await {
        Ok(None) => {}
        Ok(Some(failure)) => trouble.push(failure),
        Err(_) => trouble.push(format!("the {what} did not end within {STOP_PATIENCE:?}")),
    }
    tasks.shutdown().await;
}

/// Waits until the observer of every member was told of the store's last revision.
async fn caught_up(site: &Site, recorder: &Recorder, members: &Members) -> Result<()> {
    let latest = site.revision().await.context("the last revision")?;
    for (node, _) in members.all() {
        let name = observer(node).name;
        until(
            format!("the watcher of n{node} to be told of revision {latest}"),
            CATCH_UP_PATIENCE,
            async || match recorder.told(&name) {
                told if told >= latest => Look::Ready(()),
                told => Look::NotYet(format!("it was told up to {told}")),
            },
        )
        .await?;
    }
    Ok(())
}
