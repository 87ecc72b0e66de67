//! Voters and learners come and go while the cluster writes: joint consensus on whole members, on a
//! network in memory. (Clients cannot ask for it yet; consensus can.)
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may")]

mod common;

use common::{Cluster, Member, eventually};
use quorate::env::Env;
use quorate::node::core::{self, Running};
use quorate::raft::{ChangeVoters, Consensus, Role};
use quorate::state_machine::command::Put;
use quorate::state_machine::{BatchBuilder, Command};
use quorate::types::NodeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A member without doors.
struct Core {
    node: NodeId,
    consensus: Consensus,
    member: Option<Member>,
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            // A failed test is already on its way; the member only has to be gone.
            member.stop().ok();
        }
    }
}

async fn start(cluster: &Cluster) -> Vec<Core> {
    let mut starting = Vec::new();
    for number in 0..cluster.members.len() {
        let config = cluster.config(number);
        let env = Env {
            network: Arc::new(cluster.network.clone()),
            ..Env::real()
        };
        let listener = env.network.listen(&config.listen_peer[0]).await.unwrap();
        let (running, started) = oneshot::channel::<Running>();
        let member =
            Member::spawn(|stopping| core::run(config, env, vec![listener], running, stopping));
        starting.push((started, member));
    }
    let mut cores = Vec::new();
    for (started, member) in starting {
        let running = started.await.unwrap();
        cores.push(Core {
            node: running.identity.member_id,
            consensus: running.consensus,
            member: Some(member),
        });
    }
    cores
}

async fn leader(cores: &[Core]) -> &Core {
    eventually("a leader", async || {
        cores.iter().find(|core| {
            let status = core.consensus.status();
            status.role == Role::Leader && status.leader == Some(core.node)
        })
    })
    .await
}

/// Puts `key-N` for every N, one after the other, and counts what was acknowledged.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    enough: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start(consensus: Consensus) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let enough = Arc::new(AtomicBool::new(false));
        let (count, stop) = (acknowledged.clone(), enough.clone());
        let task = tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut batch = BatchBuilder::new();
                batch.push(&Command::Put(Put {
                    key: format!("key-{number}").into(),
                    value: "value".into(),
                    lease: 0,
                    prev_kv: false,
                    ignore_value: false,
                    ignore_lease: false,
                }));
                let (done, outcome) = oneshot::channel();
                consensus
                    .propose(batch.finish(), move |result| {
                        done.send(result).ok();
                    })
                    .await;
                let outcome = timeout(Duration::from_secs(30), outcome).await;
                outcome.expect("an answer").unwrap().expect("acknowledged");
                number += 1;
                count.store(number, Ordering::Relaxed);
            }
        });
        Self {
            acknowledged,
            enough,
            task,
        }
    }

    async fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        eventually("more acknowledged writes", async || {
            (self.acknowledged.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
    }

    async fn stop(self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// Waits until a member's own view of the membership is this and not a joint one.
async fn settled(core: &Core, voters: &[NodeId], learners: &[NodeId]) {
    eventually("the membership to settle", async || {
        let status = core.consensus.status();
        let joint = status.membership.get_joint_config().len() > 1;
        let same = status.voters == voters && status.learners == learners;
        (!joint && same).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_voter_leaves_returns_as_a_learner_and_votes_again_under_load() {
    let cluster = Cluster::new(3);
    let cores = start(&cluster).await;
    let lead = leader(&cores).await;
    let mut all: Vec<NodeId> = cores.iter().map(|core| core.node).collect();
    all.sort_unstable();
    settled(lead, &all, &[]).await;
    let leaver = cores.iter().find(|core| core.node != lead.node).unwrap();
    let stay: Vec<NodeId> = all
        .iter()
        .copied()
        .filter(|node| *node != leaver.node)
        .collect();
    let membership = lead.consensus.status().membership;
    let member = membership.get_node(&leaver.node).unwrap().clone();

    let writer = Writer::start(lead.consensus.clone());
    writer.goes_on().await;
    let leave = ChangeVoters::Remove(vec![leaver.node]);
    lead.consensus.set_voters(leave).await.unwrap();
    settled(lead, &stay, &[]).await;
    writer.goes_on().await;

    lead.consensus
        .add_learner(leaver.node, member)
        .await
        .unwrap();
    settled(lead, &stay, &[leaver.node]).await;
    settled(leaver, &stay, &[leaver.node]).await;
    assert!(leaver.consensus.is_learner());
    let reached = lead.consensus.read_index().await.unwrap().index;
    let mut applied = leaver.consensus.applied();
    let caught_up = applied.wait_for(|applied| *applied >= reached);
    timeout(common::PATIENCE, caught_up)
        .await
        .expect("a learner that catches up")
        .unwrap();
    assert!(
        leaver.consensus.read_index().await.is_err(),
        "a learner confirms nothing"
    );

    let come = ChangeVoters::Add(vec![leaver.node]);
    lead.consensus.set_voters(come).await.unwrap();
    for core in &cores {
        settled(core, &all, &[]).await;
    }
    writer.goes_on().await;
    let acknowledged = writer.stop().await;
    let revision = i64::try_from(acknowledged).unwrap();
    for core in &cores {
        eventually("every member to hold every write", async || {
            // The first revision of a store is 1.
            (core.consensus.store().load().revision() == revision + 1).then_some(())
        })
        .await;
    }
    let hashes: Vec<_> = cores
        .iter()
        .map(|core| core.consensus.store().load().state_hash().unwrap().1)
        .collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}
