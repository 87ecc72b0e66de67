//! What a story waits for, and what must hold for a while.
//!
//! `wait CONDITION [within=N]` and `hold N CONDITION`; N counts election timeouts.

use super::stage::{Stage, unknown};
use super::words::Words;
use crate::cluster::local::{Cluster, PATIENCE};
use crate::observe::Observation;
use crate::wait::until_ok;
use anyhow::{Context as _, Result, bail, ensure};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two looks at what must hold.
const LOOK: Duration = Duration::from_millis(20);
/// Of a question that only looks.
const GLANCE: Duration = Duration::from_secs(2);

/// A condition on members.
#[derive(Clone, Debug)]
enum Condition {
    /// One of them leads and the others of them follow it; from here on it is called by the first of the
    /// names, if there are any, and the others by the rest, by number.
    Leader {
        among: Vec<usize>,
        names: Vec<String>,
    },
    /// This one leads, and those follow it.
    Leads(usize, Vec<usize>),
    /// None of them leads.
    Leaderless(Vec<usize>),
    /// They name no leader.
    NoLeader(Vec<usize>),
    /// They answer a linearizable read.
    Serves(Vec<usize>),
    SameState(Vec<usize>),
    /// The first lacks entries that the second has no more.
    Behind(usize, usize),
    /// They were sent a snapshot.
    Snapshot(Vec<usize>),
    /// It has applied the revision.
    Revision(usize, i64),
    /// A linearizable read at the member finds the key, or not.
    There {
        node: usize,
        key: String,
        is: bool,
    },
    /// So many more writes of the load are acknowledged.
    Acknowledged {
        load: String,
        target: usize,
    },
    /// The watch was told nothing since the story heard of it last.
    Silent(String),
    /// Their processes have ended.
    Ended(Vec<usize>),
}

impl Stage {
    pub(super) async fn wait(&mut self, words: &mut Words) -> Result<String> {
        let limit = self.within(words)?.unwrap_or(PATIENCE);
        let what = words.next("what for")?;
        let condition = self.condition(&what, words)?;
        match &condition {
            Condition::Ended(nodes) => return self.ended(nodes, limit).await,
            // Other states at the same place of the log are not waited for to become the same.
            Condition::SameState(nodes) => {
                self.scene()?.0.wait_same_state(nodes, limit).await?;
            }
            _ => {}
        }
        let said = {
            let stage = &*self;
            until_ok(&what, limit, async || stage.look(&condition).await).await?
        };
        if let Condition::Leader { among, names } = condition {
            self.name_leader(&among, &names).await?;
        }
        Ok(said)
    }

    pub(super) async fn hold(&mut self, words: &mut Words) -> Result<String> {
        let timeouts: u32 = words.next_number("for how many election timeouts")?;
        let what = words.next("what")?;
        let condition = self.condition(&what, words)?;
        let end = Instant::now() + timeouts * self.election_timeout;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let said = self.look(&condition).await;
            let said = said.with_context(|| format!("{what} does not hold"))?;
            // The passing of time is the condition.
            if Instant::now() >= end {
                return Ok(format!("{said}, for {timeouts} election timeouts"));
            }
        }
    }

    fn condition(&mut self, what: &str, words: &mut Words) -> Result<Condition> {
        let condition = match what {
            "leader" => {
                let names = words.take("as").unwrap_or_default();
                let names = names.split([' ', ',']).filter(|name| !name.is_empty());
                let names: Vec<String> = names.map(str::to_owned).collect();
                let among = self.nodes(words)?;
                // Old names would tell which of them it is.
                ensure!(
                    names.is_empty() || names.len() == among.len(),
                    "as= gives new names to all {} or to none",
                    among.len()
                );
                Condition::Leader { among, names }
            }
            "leads" => {
                let leader = words.next("who leads")?;
                let leader = self.directory.names.node(&leader)?;
                let followers = self.directory.names.nodes(&words.rest())?;
                Condition::Leads(leader, followers)
            }
            "leaderless" => Condition::Leaderless(self.nodes(words)?),
            "no-leader" => Condition::NoLeader(self.nodes(words)?),
            "serves" => Condition::Serves(self.nodes(words)?),
            "same-state" => Condition::SameState(self.nodes(words)?),
            "snapshot" => Condition::Snapshot(self.nodes(words)?),
            "ended" => Condition::Ended(self.nodes(words)?),
            "behind" => {
                let (late, ahead) = (words.next("who lacks")?, words.next("who has purged")?);
                let names = &self.directory.names;
                Condition::Behind(names.node(&late)?, names.node(&ahead)?)
            }
            "revision" => {
                let node = self.directory.names.node(&words.next("whose")?)?;
                Condition::Revision(node, words.next_number("the revision")?)
            }
            "there" | "gone" => Condition::There {
                node: self.directory.names.node(&words.at()?)?,
                key: words.next("the key")?,
                is: what == "there",
            },
            "acknowledged" => {
                let load = words.next("the load")?;
                let more: usize = words.next_number("how many")?;
                let Some(known) = self.loads.get(&load) else {
                    return unknown("load", &load);
                };
                Condition::Acknowledged {
                    target: known.acknowledged() + more,
                    load,
                }
            }
            "silent" => Condition::Silent(words.next("the watch")?),
            _ => bail!(
                "{what:?} is none of: leader, leads, leaderless, no-leader, serves, same-state, snapshot, \
                 ended, behind, revision, there, gone, acknowledged, silent"
            ),
        };
        words.finish()?;
        Ok(condition)
    }

    /// What is so, in words.
    ///
    /// # Errors
    /// It is not so.
    async fn look(&self, condition: &Condition) -> Result<String> {
        let (cluster, names) = self.scene()?;
        match condition {
            Condition::Leads(leader, followers) => {
                let all: Vec<usize> = followers.iter().copied().chain([*leader]).collect();
                let leads = leading(cluster, &all).await?;
                ensure!(leads == *leader, "{} leads", names.name(leads));
                let mut said = format!("{} leads", names.name(*leader));
                if !followers.is_empty() {
                    said = format!("{said} {}", names.list(followers));
                }
                Ok(said)
            }
            Condition::Leader { among, .. } => {
                leading(cluster, among).await?;
                Ok(match among.as_slice() {
                    [one] => format!("{} leads", names.name(*one)),
                    _ => format!("one of {} leads", names.list(among)),
                })
            }
            Condition::Leaderless(nodes) => {
                for node in nodes {
                    let seen = look(cluster, *node).await?;
                    ensure!(!seen.is_leader(), "{} leads", names.name(*node));
                }
                Ok(format!("none of {} leads", names.list(nodes)))
            }
            Condition::NoLeader(nodes) => {
                for node in nodes {
                    let seen = look(cluster, *node).await?;
                    ensure!(seen.leader == 0, "{} names a leader", names.name(*node));
                }
                Ok(format!("{}: no leader known", names.list(nodes)))
            }
            Condition::Serves(nodes) => {
                for node in nodes {
                    let read = cluster.door(*node, GLANCE)?.get("serves").await;
                    read.with_context(|| names.name(*node))?;
                }
                Ok(format!(
                    "{}: linearizable reads are answered",
                    names.list(nodes)
                ))
            }
            Condition::SameState(nodes) => {
                same_state(cluster, nodes).await?;
                Ok(format!("{}: the same state", names.list(nodes)))
            }
            Condition::Behind(late, ahead) => {
                let has = look(cluster, *late).await?.last_log_index;
                let purged = look(cluster, *ahead).await?.purged_index;
                ensure!(has < purged, "it has {has}, purged is {purged}");
                let (late, ahead) = (names.name(*late), names.name(*ahead));
                Ok(format!("{late} lacks what {ahead} has purged from its log"))
            }
            Condition::Snapshot(nodes) => {
                for node in nodes {
                    let seen = look(cluster, *node).await?;
                    ensure!(seen.snapshots_installed > 0, "none was installed");
                }
                Ok(format!("{}: a snapshot was installed", names.list(nodes)))
            }
            Condition::Revision(node, revision) => {
                let seen = look(cluster, *node).await?.revision;
                ensure!(seen >= *revision, "it has revision {seen}");
                Ok(format!("{} has revision {revision}", names.name(*node)))
            }
            Condition::There { node, key, is } => {
                let read = cluster.door(*node, GLANCE)?.get(key.clone()).await;
                let (_, found) = read.with_context(|| names.name(*node))?;
                ensure!(found.is_some() == *is, "{key}: {}", found.is_some());
                Ok(format!("{key} is {}", if *is { "there" } else { "gone" }))
            }
            Condition::Acknowledged { load, target } => {
                let Some(known) = self.loads.get(load) else {
                    return unknown("load", load);
                };
                let now = known.acknowledged();
                ensure!(now >= *target, "{now} of {target}: {}", known.last_error());
                Ok(format!("writes of {load} are acknowledged"))
            }
            Condition::Silent(watch) => {
                let Some(known) = self.watches.get(watch) else {
                    return unknown("watch", watch);
                };
                ensure!(!known.has_news(), "{watch} was told something");
                Ok(format!("{watch} is told nothing"))
            }
            Condition::Ended(_) => bail!("wait for it: it ends once"),
        }
    }

    async fn ended(&mut self, nodes: &[usize], limit: Duration) -> Result<String> {
        for node in nodes {
            let member = self.cluster()?.member(*node)?;
            // Fine if it has ended already.
            if member.pid().is_some() {
                member.exit_status(limit).await?;
            }
        }
        Ok(format!("{}: ended", self.directory.names.list(nodes)))
    }

    /// The leader gets the first of the names, the others of `among` the rest, by number.
    async fn name_leader(&mut self, among: &[usize], given: &[String]) -> Result<()> {
        let Some((first, rest)) = given.split_first() else {
            return Ok(());
        };
        let (cluster, _) = self.scene()?;
        let leads = cluster.wait_leader(among, PATIENCE).await?;
        self.directory.names.give(first, leads);
        let others = among.iter().filter(|node| **node != leads);
        for (name, node) in rest.iter().zip(others) {
            self.directory.names.give(name, *node);
        }
        Ok(())
    }

    /// `mark [NAMES]`: remembers their terms.
    pub(super) async fn set_mark(&mut self, words: &mut Words) -> Result<String> {
        let nodes = self.nodes(words)?;
        words.finish()?;
        let mut terms = BTreeMap::new();
        for node in nodes {
            terms.insert(node, look(self.scene()?.0, node).await?.term);
        }
        self.mark = terms;
        Ok("remembered".to_owned())
    }

    /// `elections [NAMES]`: whether any of them knows a later term than the remembered ones. None may have
    /// gone back behind its own.
    pub(super) async fn elections(&mut self, words: &mut Words) -> Result<String> {
        let nodes = self.nodes(words)?;
        words.finish()?;
        let before = self.mark.values().max();
        let before = *before.context("nothing was remembered: mark")?;
        let mut latest = 0;
        for node in nodes {
            let (cluster, names) = self.scene()?;
            let term = look(cluster, node).await?.term;
            let own = self.mark.get(&node).copied().unwrap_or(0);
            ensure!(
                term >= own,
                "{} knew term {own}, and knows {term}",
                names.name(node)
            );
            latest = latest.max(term);
        }
        Ok(match latest.cmp(&before) {
            Ordering::Less => "an earlier term",
            Ordering::Equal => "the same term",
            Ordering::Greater => "a later term",
        }
        .to_owned())
    }
}

async fn look(cluster: &Cluster, node: usize) -> Result<Observation> {
    cluster.observer(node)?.look(false, GLANCE).await
}

/// Who of them leads and is followed by the others.
///
/// # Errors
/// Nobody.
async fn leading(cluster: &Cluster, among: &[usize]) -> Result<usize> {
    let mut seen = Vec::new();
    for node in among {
        seen.push((*node, look(cluster, *node).await?));
    }
    let leader = seen.iter().find(|(_, observation)| observation.is_leader());
    let (node, leader) = leader.context("nobody leads")?;
    let mut others = seen.iter();
    let follow = others.all(|(_, observation)| observation.leader == leader.member_id);
    ensure!(follow, "not all follow");
    Ok(*node)
}

/// # Errors
/// They have applied different positions, or hold different states.
async fn same_state(cluster: &Cluster, nodes: &[usize]) -> Result<()> {
    let mut first = None;
    for node in nodes {
        let seen = cluster.observe(*node, true).await?;
        let fingerprint = seen.fingerprint.context("no hash")?;
        let first = first.get_or_insert_with(|| fingerprint.clone());
        ensure!(*first == fingerprint, "{first} and {fingerprint}");
    }
    Ok(())
}
