//! A cluster of real processes as a run sees it.

use super::local::Cluster;
use super::program::Program;
use super::subject::{BoxFuture, LocalBoxFuture, Subject, Turn};
use super::weather::Weather;
use crate::history::timeline::Life;
use crate::observe::Observer;
use crate::schedule::effect::World;
use crate::schedule::fault::Fault;
use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use std::time::Duration;

impl Subject for Cluster {
    fn program(&self) -> String {
        self.program().to_string()
    }

    fn nodes(&self) -> Vec<usize> {
        self.nodes().collect()
    }

    fn client_url(&self, node: usize) -> String {
        self.client_url(node)
    }

    fn peer_url(&self, node: usize) -> String {
        self.peer_url(node)
    }

    fn observer(&self, node: usize) -> Result<Observer> {
        self.observer(node)
    }

    fn limits(&self) -> Vec<String> {
        vec![self.carrier().limits().to_owned()]
    }

    fn cannot(&self, fault: &Fault, world: &World) -> Option<String> {
        let why = match fault {
            fault if fault.cuts_power() && self.program() != Program::Quorate => {
                Some("etcd keeps no journal of what it has synced")
            }
            Fault::Disk { .. } => {
                Some("nobody comes between a real process and its disk: that is for the simulation")
            }
            Fault::Damage { .. } => Some(
                "the laboratory does not know what is where in a real process's files: that is for \
                 the simulation",
            ),
            Fault::Clock { .. } => {
                Some("real processes have the machine's clock: that is for the simulation")
            }
            _ => {
                let mut ways = world.weather.ways();
                ways.find_map(|(.., way)| self.carrier().cannot(way))
            }
        };
        why.map(str::to_owned)
    }

    fn set_weather<'a>(&'a mut self, weather: &'a Weather) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.set_weather(weather))
    }

    fn live<'a>(
        &'a mut self,
        turns: &'a [Turn],
        random: &'a mut StdRng,
        done: &'a mut (dyn FnMut(Turn) + Send),
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for turn in turns.iter().filter(|turn| !turn.runs()) {
                self.member(turn.node)?.signal_kill();
            }
            for turn in turns {
                self.turn(*turn, random)?;
                done(*turn);
            }
            Ok(())
        })
    }

    fn has_ended(&mut self, node: usize) -> Result<Option<String>> {
        let member = self.member(node)?;
        if member.pid().is_some() {
            return Ok(None);
        }
        Ok(Some(format!("its log: {}", member.log().display())))
    }

    fn last_words(&self, node: usize) -> String {
        self.last_words(node)
    }

    fn enlist(&mut self) -> BoxFuture<'_, Result<usize>> {
        Box::pin(self.enlist())
    }

    fn introduce(&mut self, node: usize, peer_urls: &[String]) -> Result<()> {
        self.introduce(node, peer_urls)
    }

    fn start(&mut self, node: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.member(node)?.start() })
    }

    fn kill(&mut self, node: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.member(node)?.kill();
            Ok(())
        })
    }

    fn retire(&mut self, node: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.retire(node) })
    }

    fn end(&mut self, limit: Duration) -> LocalBoxFuture<'_, Vec<(usize, anyhow::Error)>> {
        Box::pin(self.terminate_all(limit))
    }
}

impl Cluster {
    /// One member's change of life. Who is to die has its signal already.
    fn turn(&mut self, turn: Turn, random: &mut StdRng) -> Result<()> {
        let node = turn.node;
        self.unthrottle(node);
        let member = self.member(node)?;
        if turn.was == Life::Paused && turn.runs() {
            member.resume()?;
        }
        if turn.starts() {
            let started = member.start();
            started.with_context(|| format!("start n{node} again"))?;
        }
        match turn.is {
            Life::Up => {}
            Life::Slowed(percent) => self.throttle(node, percent)?,
            Life::Paused => member.pause()?,
            Life::Down | Life::Gone => member.kill(),
            Life::PowerCut => drop(self.cut_power(&[node], random)?),
        }
        Ok(())
    }
}
