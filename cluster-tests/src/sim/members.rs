//! The simulated cluster as a run sees it.

use super::disk::{Damage, Part};
use super::net::Fabric;
use super::roster::{Order, Roster};
use super::world::{client_url, node_of, peer_url};
use crate::cluster::subject::{BoxFuture, LocalBoxFuture, Subject, Turn};
use crate::cluster::weather::Weather;
use crate::observe::Observer;
use crate::schedule::effect::{Skew, World};
use crate::schedule::fault::{Fault, Harm, Store, Trouble};
use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Members beyond it have no address.
const NODES_MAX: usize = 200;
const LOOK: Duration = Duration::from_millis(10);

/// The members of a simulation, in the laboratory's hands.
pub struct Members {
    roster: Roster,
    fabric: Fabric,
    election_timeout: Duration,
}

impl fmt::Debug for Members {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("simulated members")
    }
}

impl Members {
    pub(super) fn new(roster: Roster, fabric: Fabric, election_timeout: Duration) -> Self {
        Self {
            roster,
            fabric,
            election_timeout,
        }
    }

    async fn order(&self, order: Order) -> Result<String> {
        let done = self.roster.order(order).await;
        done.context("the simulation is over")?
    }

    fn known(&self, node: usize) -> Result<()> {
        let enlisted = self.roster.lock().enlisted;
        ensure!((1..=enlisted).contains(&node), "there is no node {node}");
        Ok(())
    }
}

impl Subject for Members {
    fn program(&self) -> String {
        "quorate, simulated".to_owned()
    }

    fn nodes(&self) -> Vec<usize> {
        let state = self.roster.lock();
        let all = 1..=state.enlisted;
        all.filter(|node| !state.retired.contains(node)).collect()
    }

    fn client_url(&self, node: usize) -> String {
        client_url(node)
    }

    fn peer_url(&self, node: usize) -> String {
        peer_url(node)
    }

    fn observer(&self, node: usize) -> Result<Observer> {
        self.known(node)?;
        Observer::new(&client_url(node), Some(&peer_url(node)))
    }

    fn election_timeout(&self) -> Duration {
        self.election_timeout
    }

    fn limits(&self) -> Vec<String> {
        vec![
            "Nothing comes twice: members speak TCP, which throws away what it has already, and shows \
             nobody."
                .to_owned(),
            "What is overtaken stalls what overtook it, as TCP has it: members see a delay, never \
             another order."
                .to_owned(),
        ]
    }

    fn cannot(&self, _: &Fault, world: &World) -> Option<String> {
        let mut ways = world.weather.ways();
        ways.any(|(.., way)| way.duplicate_per_mille > 0)
            .then(|| self.limits().into_iter().next().unwrap_or_default())
    }

    fn set_weather<'a>(&'a mut self, weather: &'a Weather) -> BoxFuture<'a, Result<()>> {
        self.fabric.set_weather(weather);
        Box::pin(std::future::ready(Ok(())))
    }

    fn set_disks(&mut self, disks: &BTreeMap<usize, Trouble>) -> Result<()> {
        drop(self.roster.order(Order::Disks(disks.clone())));
        Ok(())
    }

    fn set_clocks(&mut self, clocks: &BTreeMap<usize, Skew>) -> Result<()> {
        drop(self.roster.order(Order::Clocks(clocks.clone())));
        Ok(())
    }

    fn live<'a>(
        &'a mut self,
        turns: &'a [Turn],
        _: &'a mut StdRng,
        done: &'a mut (dyn FnMut(Turn) + Send),
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // All between the same two ticks: nobody sees another one die.
            let (dying, others): (Vec<&Turn>, Vec<&Turn>) =
                turns.iter().partition(|turn| !turn.runs());
            let ordered: Vec<_> = dying
                .into_iter()
                .chain(others)
                .map(|turn| (*turn, self.roster.order(Order::Turn(*turn))))
                .collect();
            for (turn, answer) in ordered {
                answer.await.context("the simulation is over")??;
                done(turn);
            }
            Ok(())
        })
    }

    fn has_ended(&mut self, node: usize) -> Result<Option<String>> {
        self.known(node)?;
        Ok(self.roster.lock().ended.get(&node).cloned())
    }

    fn last_words(&self, node: usize) -> String {
        let ended = self.roster.lock().ended.get(&node).cloned();
        ended.unwrap_or_default()
    }

    fn damage<'a>(
        &'a mut self,
        node: usize,
        what: Store,
        how: Harm,
        _: &'a mut StdRng,
    ) -> BoxFuture<'a, Result<String>> {
        let part = match what {
            Store::Log => Part::Log,
            Store::State => Part::State,
            Store::Snapshot => Part::Snapshot,
        };
        let damage = match how {
            Harm::Flip => Damage::FlipBit,
            Harm::Truncate => Damage::Truncate,
        };
        Box::pin(self.order(Order::Damage(node, part, damage)))
    }

    fn enlist(&mut self) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move {
            let node = {
                let mut state = self.roster.lock();
                ensure!(
                    state.enlisted < NODES_MAX,
                    "a simulation has had at most {NODES_MAX} members"
                );
                state.enlisted += 1;
                state.enlisted
            };
            self.order(Order::Enlist(node)).await?;
            Ok(node)
        })
    }

    fn introduce(&mut self, node: usize, peer_urls: &[String]) -> Result<()> {
        self.known(node)?;
        let others: Result<Vec<usize>> = peer_urls.iter().map(|url| node_of(url)).collect();
        drop(self.roster.order(Order::Introduce(node, others?)));
        Ok(())
    }

    fn start(&mut self, node: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.order(Order::Start(node)).await.map(drop) })
    }

    fn kill(&mut self, node: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.order(Order::Kill(node)).await.map(drop) })
    }

    fn retire(&mut self, node: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.order(Order::Retire(node)).await.map(drop) })
    }

    fn end(&mut self, limit: Duration) -> LocalBoxFuture<'_, Vec<(usize, anyhow::Error)>> {
        Box::pin(async move {
            for node in self.nodes() {
                drop(self.roster.order(Order::Stop(node)));
            }
            let until = Instant::now() + limit;
            let late = loop {
                let running = self.roster.lock().running.clone();
                if running.is_empty() || Instant::now() >= until {
                    break running;
                }
                sleep(LOOK).await;
            };
            let mut troubles = Vec::new();
            for node in late {
                troubles.push((node, anyhow::anyhow!("it did not stop within {limit:?}")));
                if let Err(error) = self.order(Order::Kill(node)).await {
                    troubles.push((node, error));
                }
            }
            troubles
        })
    }
}
