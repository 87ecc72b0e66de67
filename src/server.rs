//! Assembly: a member and its doors.
//!
//! Two runtimes of one thread each: consensus, peers and housekeeping on one, the doors on the
//! other (one for both where there are only two processors). Listeners are bound first, so that a port in use is told before anything is touched.

use crate::api::{self, Doors, Limits, Port};
use crate::config::Config;
use crate::env::threads::exit_after;
use crate::env::{Env, Listener, Threads};
use crate::http::Site;
use crate::node::{Node, NodeError, Upkeep, core};
use crate::state_machine::command::{Command, MemberAttributes};
use crate::types::HexId;
use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// On so few processors consensus and the doors share one thread: a put then needs two wake-ups
/// less, which is worth more there than a thread that would have no processor of its own.
const SHARED_CORES_MAX: usize = 2;
/// From a signal to the end of the process, at most. Closing has its own, shorter limit.
const STOP_LIMIT: Duration = Duration::from_secs(25);
/// Pause between two attempts of a member to publish itself.
const PUBLISH_RETRY: Duration = Duration::from_millis(100);

/// Runs a member on this thread until SIGTERM, SIGINT or something fatal.
///
/// # Errors
/// One sentence why it could not start or had to stop.
pub fn run(config: Config, env: Env) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("make the doors' runtime")?;
    runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        let threads = env.threads.clone();
        let signals = signals(stop, threads.clone())?;
        let served = serve(config, env, stopping).await;
        signals.abort();
        limit_stop(threads.as_ref());
        served
    })
}

/// From now on the process has so much time left. A member that hangs would be neither alive nor
/// started anew.
fn limit_stop(threads: &dyn Threads) {
    let limited = threads.spawn("stop-limit", Box::new(|| exit_after(STOP_LIMIT)));
    if let Err(error) = limited {
        tracing::warn!(%error, "the stop has no time limit");
    }
}

/// Turns the first SIGTERM or SIGINT into a stop.
fn signals(
    stop: watch::Sender<bool>,
    threads: Arc<dyn Threads>,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM received"),
            _ = interrupt.recv() => tracing::info!("SIGINT received"),
        }
        limit_stop(threads.as_ref());
        stop.send_replace(true);
        // Keeps the sender, and with it the meaning of "not stopped", until the end.
        std::future::pending::<()>().await;
    }))
}

/// Runs a member on the current runtime until `stop` turns true or something fatal happens.
pub async fn serve(config: Config, env: Env, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let clients = listen(&env, &config.listen_client, "client").await?;
    let scrapers = listen(&env, &config.listen_metrics, "scraper").await?;
    let peers = listen(&env, &config.listen_peer, "peer").await?;
    let (running, started) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let core = core::run(config.clone(), env.clone(), peers, running, stop.clone());
    let core = async move {
        // The doors' side may have given up waiting for the end.
        ended.send(core.await).ok();
    };
    if env.threads.cores() <= SHARED_CORES_MAX {
        // Whoever waits for its end waits for `end`.
        drop(tokio::spawn(core));
    } else {
        env.threads
            .runtime("raft", Box::pin(core))
            .context("start Raft's thread")?;
    }
    let Ok(running) = started.await else {
        // It ended before it ran: its own words say why.
        return end.await.context("Raft's thread is gone")?;
    };
    let node = Node::start(&running, &config, &env).context("start the doors' tasks")?;
    // Leadership is handed over while the doors still answer.
    let closing = running.over.clone();
    drop(running);

    let doors = Doors::new(node.clone(), Limits::of(&config));
    let site = Site::new(node.clone(), doors.clone(), config.request_timeout())?;
    let metrics_port = Port {
        doors: None,
        plain: Arc::new(site.for_metrics()),
    };
    let client_port = Port {
        doors: Some(doors),
        plain: Arc::new(site),
    };
    let mut tasks = JoinSet::new();
    for listener in clients {
        let address = listener.local_address();
        tasks.spawn(api::serve(listener, client_port.clone(), closing.clone()));
        tracing::info!(%address, "serving client traffic");
    }
    for listener in scrapers {
        let address = listener.local_address();
        tasks.spawn(api::serve(listener, metrics_port.clone(), closing.clone()));
        tracing::info!(%address, "serving metrics");
    }
    let upkeep = Upkeep::new(node.clone(), &config, &env).context("start the upkeep")?;
    let upkeep = tokio::spawn(upkeep.run());
    let publisher = tokio::spawn(publish(node, config));
    let (mut over, mut stopping) = (closing, stop);
    tokio::select! {
        // Consensus is over, or its thread is gone.
        _ = over.wait_for(|over| *over) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    publisher.abort();
    upkeep.abort();
    while tasks.join_next().await.is_some() {}
    // The last of this side's hold on the state, which the core's end waits for.
    drop((client_port, metrics_port));
    let ended = end.await.context("Raft's thread is gone")?;
    if let Err(error) = &ended {
        // For whoever collects the log of a member that ran; one that did not start only says why.
        tracing::error!("{error:#}");
    }
    ended
}

async fn listen(
    env: &Env,
    addresses: &[String],
    whose: &str,
) -> anyhow::Result<Vec<Box<dyn Listener>>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = env.network.listen(address).await;
        listeners
            .push(listener.with_context(|| format!("cannot listen for {whose}s on {address}"))?);
    }
    Ok(listeners)
}

/// Tells the cluster this member's name and client URLs, until it took note. The same again is
/// harmless, so an unknown outcome is simply tried again.
async fn publish(node: Node, config: Config) {
    let identity = node.identity().clone();
    let attributes = MemberAttributes {
        node: identity.member_id,
        name: config.name.clone(),
        client_urls: config.advertise_client_urls.clone(),
    };
    // First it must be certain that this is the only directory with this id.
    if !node.claimed().await {
        return;
    }
    loop {
        let deadline = Instant::now() + config.request_timeout();
        match node
            .propose(Command::PublishMember(attributes.clone()), deadline)
            .await
        {
            Ok(_) => break,
            Err(NodeError::Stopped) => return,
            Err(error) => tracing::warn!(%error, "not published yet"),
        }
        sleep(PUBLISH_RETRY).await;
    }
    tracing::info!(
        member = %HexId(identity.member_id),
        cluster = %HexId(identity.cluster_id),
        name = %identity.name,
        "published local member to cluster through raft"
    );
    tracing::info!("ready to serve client requests");
}
