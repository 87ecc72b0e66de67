//! Joining a running cluster (`--initial-cluster-state existing`), without a double vote.
//!
//! Somebody has added the member already. It asks the others who is in the cluster, finds itself
//! among them by its peer URLs, and so has its id. Before it keeps a log it *claims* the id: an entry
//! of the cluster's log binds it to this data directory. So of two directories with the same flags,
//! or of one that was lost and its successor, only the first ever takes part; the other is told so.
//! What it lacks then comes from the leader, as entries or as a snapshot.

use crate::config::Config;
use crate::env::Env;
use crate::proto::peer;
use crate::proto::peer::claim_response::Outcome;
use crate::raft::{
    AddressBook, Client, Consensus, LeaderHint, LinkTimes, Links, Member, MemberNode, REMOVED,
    stranger, tells_removal,
};
use crate::types::{ClusterId, HexId, NodeId};
use anyhow::{Context, bail};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a joining member looks for somebody who knows the cluster.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const RETRY: Duration = Duration::from_millis(50);

/// The joining member's place.
#[derive(Debug)]
pub(super) struct Place {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// As the leader told it.
    pub members: Vec<Member>,
}

/// Asks the members of `--initial-cluster` for the cluster, and finds this one in it.
///
/// # Errors
/// One sentence, etcd's where it has one: nobody answers, or the flags and the cluster disagree.
pub(super) async fn find_place(config: &Config, env: &Env) -> anyhow::Result<Place> {
    let others = config
        .initial_cluster
        .iter()
        .filter(|(name, _)| *name != config.name)
        .map(|(_, urls)| urls.clone());
    let others: Vec<_> = others.collect();
    let until = Instant::now() + PATIENCE;
    loop {
        for urls in &others {
            if let Some(roster) = confirmed_roster(config, env, urls).await {
                return place(config, roster);
            }
        }
        if Instant::now() >= until {
            bail!(
                "cannot fetch cluster info from peer urls: could not retrieve cluster information \
                 from the given URLs"
            );
        }
        sleep(RETRY).await;
    }
}

/// The roster in the leader's words, asked of the member behind `urls` and then of its leader.
async fn confirmed_roster(
    config: &Config,
    env: &Env,
    urls: &[String],
) -> Option<peer::RosterResponse> {
    let roster = ask_roster(config, env, urls).await?;
    if roster.confirmed {
        return Some(roster);
    }
    let leader = roster
        .members
        .iter()
        .find(|member| member.id == roster.leader)?;
    let roster = ask_roster(config, env, &leader.peer_urls).await?;
    roster.confirmed.then_some(roster)
}

async fn ask_roster(config: &Config, env: &Env, urls: &[String]) -> Option<peer::RosterResponse> {
    let address = AddressBook::new(config.peer_dial.clone()).dial_any(urls)?;
    let times = LinkTimes::from_election_timeout(config.election_timeout);
    let mut client = stranger(env.network.clone(), &address, times);
    // The leader asks a quorum before it answers.
    let call = timeout(
        config.election_timeout * 4,
        client.roster(peer::RosterRequest {}),
    );
    Some(call.await.ok()?.ok()?.into_inner())
}

/// etcd's check of the flags against the cluster.
fn place(config: &Config, roster: peer::RosterResponse) -> anyhow::Result<Place> {
    let members: Vec<Member> = roster.members.into_iter().map(Into::into).collect();
    if members.len() != config.initial_cluster.len() {
        bail!("error validating peerURLs: member count is unequal");
    }
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort();
        urls
    };
    let mut node = None;
    for member in &members {
        let urls = sorted(&member.peer_urls);
        let mut flags = config.initial_cluster.iter();
        let Some((name, _)) = flags.find(|(_, given)| sorted(given) == urls) else {
            bail!(
                "error validating peerURLs: PeerURLs: no match found for existing member ({}, {:?})",
                HexId(member.id),
                member.peer_urls
            );
        };
        if *name == config.name {
            node = Some(member.id);
        }
    }
    let node = node.with_context(|| format!("{:?} is not in the cluster", config.name))?;
    Ok(Place {
        cluster: roster.cluster_id,
        node,
        members,
    })
}

impl Place {
    /// Claims the id for this data directory, with the leader, whoever that is by now.
    ///
    /// # Errors
    /// One sentence: the id belongs to another directory, or was removed.
    pub(super) async fn claim(&self, links: &Links, patience: Duration) -> anyhow::Result<()> {
        loop {
            for member in self.members.iter().filter(|member| member.id != self.node) {
                let node = MemberNode {
                    peer_urls: member.peer_urls.clone(),
                    ..MemberNode::default()
                };
                let client = links.to(member.id, &node)?.control;
                if ask_claim(client, self.node, patience).await? {
                    return Ok(());
                }
            }
            sleep(RETRY).await;
        }
    }
}

/// Whether the claim holds now; only a leader can say so.
async fn ask_claim(mut client: Client, me: NodeId, patience: Duration) -> anyhow::Result<bool> {
    let call = timeout(patience * 6, client.claim(peer::ClaimRequest {})).await;
    match call {
        Ok(Ok(answer)) => outcome(answer.into_inner().outcome(), me),
        Ok(Err(status)) if tells_removal(&status) => bail!("{REMOVED}"),
        Ok(Err(status)) if status.message().contains("already been bootstrapped") => {
            outcome(Outcome::KnownElsewhere, me)
        }
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}

fn outcome(outcome: Outcome, me: NodeId) -> anyhow::Result<bool> {
    match outcome {
        Outcome::Claimed => Ok(true),
        Outcome::Again => Ok(false),
        Outcome::KnownElsewhere => bail!("member {} has already been bootstrapped", HexId(me)),
        Outcome::Removed => bail!("{REMOVED}"),
    }
}

/// A founder's claim, made once it runs: until then its peers have its incarnation pinned, each for
/// itself. Returns when the claim holds.
///
/// # Errors
/// As [`Place::claim`].
pub(super) async fn claim_own_id(consensus: &Consensus, links: &Links) -> anyhow::Result<()> {
    let me = links.me();
    let patience = consensus.timers().election;
    let mut leaders = consensus.leader_watch();
    loop {
        if consensus.store().load().roster().claim(me.node) == Some(me.incarnation) {
            return Ok(());
        }
        let held = match leaders.hint() {
            LeaderHint::Nobody => false,
            LeaderHint::Me => outcome(consensus.bind(me.node, me.incarnation).await, me.node)?,
            LeaderHint::Other(leader, member) => match links.to(leader, &member) {
                Ok(links) => ask_claim(links.control, me.node, patience).await?,
                Err(_) => false,
            },
        };
        if held {
            return Ok(());
        }
        leaders.changed(patience).await;
    }
}

#[cfg(test)]
mod tests;
