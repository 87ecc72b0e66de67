//! Consensus' side of a member: opened, run and closed on Raft's runtime.

use super::beginning::Beginning;
use super::data_dir::DataDir;
use super::hand_over::hand_over;
use super::housekeeping::Housekeeping;
use super::join::claim_own_id;
use super::reconfigure_rules::Rules;
use super::reconfigurer::Reconfigurer;
use super::sweeper::Sweeper;
use super::{Identity, initial_check, peer_port, removal};
use crate::config::Config;
use crate::env::{Env, Listener, Worker};
use crate::raft::log::{LogOptions, SegmentedLog};
use crate::raft::{
    AddressBook, Applier, Consensus, Halt, LinkTimes, Links, Parts, PeerService, Pins, REMOVED,
    Receiver, SelfIdentity, Snapshots, StateDir, Timers, members_of, probe,
};
use crate::state_machine::StateOptions;
use crate::watch::Hub;
use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What each of the two steps of closing may take: stopping with a flush, and giving the directory
/// back. What is not flushed by then the log replays.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
const DISK_HANGS: &str = "not closed in time: the disk hangs";
const STATE_IN_USE: &str = "the state is not closed in time: it is still in use, or the disk hangs";

/// What the doors' side gets once consensus runs.
pub struct Running {
    pub identity: Identity,
    pub consensus: Consensus,
    pub links: Links,
    pub hub: Arc<Hub>,
    /// The peer port, for calls that the doors' side answers.
    pub peers: PeerService,
    pub sweeper: Sweeper,
    pub reconfigurer: Reconfigurer,
    pub snapshots: Snapshots,
    /// Turns true when consensus is over. The doors then let go of everything that they have from
    /// here: the data directory is given back, and [`run`] returns, when nobody uses the state.
    pub over: watch::Receiver<bool>,
}

/// Runs consensus on the current runtime until `stop` turns true or something fatal happens.
/// `running` hears when it runs; whoever started this hears the end.
///
/// # Errors
/// One sentence why the member cannot start, or had to stop.
pub async fn run(
    config: Config,
    env: Env,
    listeners: Vec<Box<dyn Listener>>,
    running: oneshot::Sender<Running>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let disk = env.disk.clone();
    let owner = DataDir::owner(&config.data_dir, disk.as_ref())?;
    let mut stopping = stop.clone();
    let beginning = tokio::select! {
        beginning = Beginning::find(&config, &env, owner) => beginning?,
        _ = stopping.wait_for(|stop| *stop) => return Ok(()),
    };
    let (cluster, node) = beginning.identity();
    let mut data_dir = DataDir::open(
        &config.data_dir,
        disk.clone(),
        env.randomness.as_ref(),
        cluster,
        node,
    )?;
    let incarnation = data_dir.identity.incarnation;
    let me = SelfIdentity {
        cluster,
        node,
        incarnation,
    };
    let member_dir = data_dir.member_dir.clone();
    let pins = Pins::open(
        me,
        beginning.founders(),
        disk.clone(),
        member_dir.join("peers.json"),
        env.threads.worker("files")?,
    )?;
    pins.set_origin(data_dir.identity.origin);
    let timers = Timers {
        heartbeat: config.heartbeat_interval,
        election: config.election_timeout,
    };
    let times = LinkTimes::from_election_timeout(timers.election);
    let addresses = AddressBook::new(config.peer_dial.clone());
    let links = Links::new(pins.clone(), env.network.clone(), addresses, times);

    let closer = env.threads.worker("close")?;
    let (in_use, over) = (watch::Sender::default(), watch::Sender::new(false));
    let log_dir = member_dir.join("log");
    let log = SegmentedLog::open(&log_dir, &disk, &env.threads, LogOptions::default())
        .context("open the Raft log")?;
    let member = Opened {
        config,
        env,
        beginning,
        me,
        pins,
        links,
        timers,
        log: log.clone(),
        closer: closer.clone(),
        in_use: in_use.clone(),
        over: over.clone(),
    };
    let lived = member.live(&mut data_dir, listeners, running, stop).await;
    // However it ended: the directory is given back only when the log's threads write no more, and
    // when the state is closed, which the last of those who read, hash, copy or compact it does.
    over.send_replace(true);
    let close_log = timeout(CLOSE_TIMEOUT, closer.run(move || log.close()));
    let let_go = timeout(CLOSE_TIMEOUT, in_use.closed());
    let (closed, let_go) = tokio::join!(close_log, let_go);
    drop(data_dir);
    lived?;
    closed.context(DISK_HANGS)??.context("close the Raft log")?;
    let_go.context(STATE_IN_USE)
}

/// A member whose data directory and log are its own.
struct Opened {
    config: Config,
    env: Env,
    beginning: Beginning,
    me: SelfIdentity,
    pins: Pins,
    links: Links,
    timers: Timers,
    log: SegmentedLog,
    closer: Worker,
    in_use: watch::Sender<()>,
    over: watch::Sender<bool>,
}

impl Opened {
    /// Starts consensus, runs it to its end, and stops it. The log stays open.
    async fn live(
        self,
        data_dir: &mut DataDir,
        listeners: Vec<Box<dyn Listener>>,
        running: oneshot::Sender<Running>,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let Self {
            config,
            env,
            beginning,
            me,
            pins,
            links,
            timers,
            log,
            closer,
            in_use,
            over,
        } = self;
        let (disk, member_dir) = (env.disk.clone(), data_dir.member_dir.clone());
        let times = LinkTimes::from_election_timeout(timers.election);
        let mut state_options = StateOptions {
            hash_seed: env.randomness.next_u64(),
            in_use,
            ..StateOptions::default()
        };
        state_options.engine.settles = env.threads.is_inline();
        let state_dir = StateDir::new(member_dir.clone(), disk.clone(), state_options);
        let machine = state_dir.open().context("open the state")?;
        let is_pristine = log.is_pristine();
        // A restored state has the founding entry applied, and nothing else.
        let restored = (data_dir.identity.origin != 0).then_some(0);
        let is_new =
            !data_dir.identity.bootstrapped && machine.applied().map(|last| last.index) == restored;
        anyhow::ensure!(
            !is_pristine || is_new,
            "the Raft log in {} is gone: this member has taken part in elections and must not vote \
         again without it; bring the log back, or replace the member",
            member_dir.join("log").display()
        );
        let snapshots = Snapshots::open(
            member_dir.join("snapshot"),
            disk.clone(),
            env.randomness.clone(),
            env.threads.worker("snapshot")?,
            env.threads.worker("rows")?,
        )
        .context("open snapshots")?;
        let (halt, mut halted) = mpsc::channel(1);
        let service = PeerService::new(
            config.name.clone(),
            pins.clone(),
            Receiver::new(snapshots.clone()),
            links.meters().clone(),
            !is_pristine,
            env.threads.worker("inspect")?,
            halt.clone(),
        );
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(peer_port::serve(listener, service.clone(), times));
        }
        if !data_dir.identity.bootstrapped {
            let mut stopping = stop.clone();
            tokio::select! {
                prepared = beginning.prepare(&links, &pins, &log, timers.election) => prepared?,
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            }
        }

        if config.initial_corrupt_check {
            let members = members_of(&machine).context("read the membership")?;
            let hasher = env.threads.worker("hasher")?;
            let store = machine.store().clone();
            let mut stopping = stop.clone();
            tokio::select! {
                checked = initial_check::check(store, &members, &links, &hasher) => checked?,
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            }
        }

        let sends = snapshots.sends().clone();
        let hub = Arc::new(Hub::default());
        let worker = env.threads.worker("apply")?;
        let applier = Applier::new(machine, state_dir, snapshots.clone(), worker, hub.clone());
        applier.reconcile(&log.state());
        let parts = Parts {
            log: log.clone(),
            applier,
            pins: pins.clone(),
            links: links.clone(),
            timers,
            snapshot_entries: config.snapshot_count,
        };
        let consensus = Consensus::start(parts).await.context("start consensus")?;
        if !data_dir.identity.bootstrapped {
            // In this order: a directory that is marked and whose log holds nothing has lost it. After
            // a crash in between the log says that the founders have been asked. Nobody can ask this
            // member for its vote before it is marked.
            if let Beginning::Founding(founding, _) = beginning {
                let found = consensus.found(founding.members).await;
                found.context("found the cluster")?;
            }
            data_dir
                .mark_bootstrapped()
                .context("mark the data directory as bootstrapped")?;
        }
        pins.set_census(consensus.downgrade());
        let rules = Rules {
            is_strict: config.strict_reconfig_check,
            learners_max: config.max_learners,
        };
        let reconfigurer = Reconfigurer::new(consensus.clone(), me.node, rules);
        service.set_consensus(consensus.clone(), Arc::new(reconfigurer.clone()));
        tasks.spawn(reconfigurer.clone().promote_when_ready());
        let housekeeping = Housekeeping::new(consensus.clone(), sends, config.snapshot_count, halt);
        tasks.spawn(housekeeping.run());
        tasks.spawn(probe(consensus.clone(), links.clone()));
        let sweeper = Sweeper::new(consensus.store().clone(), env.threads.worker("sweeper")?);
        tasks.spawn(sweeper.clone().run());
        let identity = Identity {
            cluster_id: me.cluster,
            member_id: me.node,
            name: config.name.clone(),
        };
        // Nobody waits any more if the start was given up meanwhile; `stop` says so too.
        running
            .send(Running {
                identity,
                consensus: consensus.clone(),
                links: links.clone(),
                hub: hub.clone(),
                peers: service.clone(),
                sweeper,
                reconfigurer,
                snapshots,
                over: over.subscribe(),
            })
            .ok();

        let mut stopping = stop.clone();
        let end = tokio::select! {
            Some(halt) = halted.recv() => End::Halted(halt),
            reason = consensus.stopped() => End::Fatal(reason),
            Err(reason) = claim_own_id(&consensus, &links) => End::Fatal(reason.to_string()),
            () = removal::told(&consensus, &links) => End::Removed,
            _ = stopping.wait_for(|stop| *stop) => End::Asked,
        };
        match &end {
            End::Asked => hand_over(&consensus).await,
            End::Removed => {
                tracing::error!("{REMOVED}");
                tracing::error!(
                    data_dir = %config.data_dir.display(),
                    "data-dir used by this member must be removed"
                );
                if let Err(error) = data_dir.mark_removed() {
                    // It will be told again.
                    tracing::warn!(%error, "the data directory is not marked as removed");
                }
            }
            End::Halted(Halt::LogLost(reason)) => {
                if let Err(error) = data_dir.mark_lost(reason) {
                    // It will be found out again.
                    tracing::warn!(%error, "the data directory is not marked as incomplete");
                }
            }
            // Its log is whole: what it leads it can hand over.
            End::Halted(Halt::StateDamaged(_)) => hand_over(&consensus).await,
            End::Halted(Halt::NewerFormat(_)) | End::Fatal(_) => {}
        }
        hub.close();
        let stopped = timeout(CLOSE_TIMEOUT, async {
            tasks.shutdown().await;
            consensus.shutdown().await;
            let store = consensus.store().load_full();
            closer.run(move || store.finish()).await
        });
        let flushed = stopped.await;
        match end {
            End::Halted(halt) => anyhow::bail!("this member had to stop: {halt}"),
            End::Fatal(reason) => anyhow::bail!("consensus had to stop: {reason}"),
            End::Asked | End::Removed => flushed.context(DISK_HANGS)??.context("flush the state"),
        }
    }
}

/// Why a member stops.
enum End {
    Asked,
    Removed,
    /// By what a peer said, or by its disk.
    Halted(Halt),
    Fatal(String),
}
