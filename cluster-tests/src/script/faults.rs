//! What befalls the cluster, line by line.

use super::stage::Stage;
use super::words::Words;
use crate::cluster::local::{Cluster, PATIENCE};
use crate::cluster::program;
use crate::cluster::topology::Topology;
use crate::cluster::weather::{Cut, Quality, Weather};
use crate::schedule::cast::Cast;
use crate::schedule::effect::effect;
use crate::schedule::fault::{Fault, Shape, in_words};
use crate::wait::until_ok;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

impl Stage {
    /// `cut "leader | f1 f2"`, `cut shape=bridge`; [how=drop|reset|new-only]. What is cut stays so, unless
    /// this is `instead` of it.
    pub(super) async fn cut(&mut self, words: &mut Words) -> Result<String> {
        let how = match words.take("how").as_deref() {
            None | Some("drop") => Cut::Drop,
            Some("reset") => Cut::Reset,
            Some("new-only") => Cut::NewOnly,
            Some(other) => bail!("how={other}: drop, reset or new-only"),
        };
        let topology = match words.take("shape") {
            Some(shape) => self.shape(&shape)?,
            None => {
                let text = words.next("who is cut from whom")?;
                self.scene()?.1.topology(&text)?
            }
        };
        let before = if words.flag("instead") {
            Weather::clear()
        } else {
            self.cluster()?.carrier().weather().clone()
        };
        words.finish()?;
        ensure!(!topology.is_healed(), "this cuts nothing");
        let cluster = self.cluster()?;
        let weather = before.and(&Weather::cut(&topology, how));
        cluster.set_weather(&weather).await?;
        Ok(self.directory.names.cuts(&topology))
    }

    /// A shape of the schedules', with the roles as they are named.
    fn shape(&self, name: &str) -> Result<Topology> {
        let shape: Shape = serde_json::from_value(Value::String(name.to_owned()))
            .with_context(|| format!("there is no shape {name:?}"))?;
        let (cluster, names) = self.scene()?;
        let leader = names.node("leader")?;
        let mut order = vec![leader];
        order.extend(cluster.nodes().filter(|node| *node != leader));
        let fault = Fault::Partition {
            shape,
            how: Cut::Drop,
        };
        let world = effect(&fault, &Cast::in_order(order), 0, 1)?;
        let ways = world.weather.ways();
        Ok(ways.fold(Topology::healed(), |topology, (from, to, _)| {
            topology.and_one_way(from, to)
        }))
    }

    pub(super) async fn heal(&mut self, words: &mut Words) -> Result<String> {
        words.finish()?;
        self.cluster()?.set_weather(&Weather::clear()).await?;
        Ok("every link is open".to_owned())
    }

    /// `weather [NAMES] delay= jitter= (ms) loss= (per mille) rate= (bytes/s) largest= (bytes)`: the links
    /// from and to these members, in addition to what is.
    pub(super) async fn weather(&mut self, words: &mut Words) -> Result<String> {
        let quality = Quality {
            cut: None,
            delay_ms: words.number("delay")?.unwrap_or(0),
            jitter_ms: words.number("jitter")?.unwrap_or(0),
            loss_per_mille: words.number("loss")?.unwrap_or(0),
            rate: words.number("rate")?,
            largest: words.number("largest")?,
            ..Quality::default()
        };
        ensure!(!quality.is_clear(), "this weather is clear: heal");
        let struck = self.nodes(words)?;
        words.finish()?;
        let cluster = self.cluster()?;
        let mut weather = cluster.carrier().weather().clone();
        let all: Vec<usize> = cluster.nodes().collect();
        for from in &all {
            for to in all.iter().filter(|to| *to != from) {
                if struck.contains(from) || struck.contains(to) {
                    weather.worsen(*from, *to, &quality);
                }
            }
        }
        cluster.set_weather(&weather).await?;
        let who = self.directory.names.list(&struck);
        Ok(format!("links of {who}: {}", in_words(&quality)))
    }

    /// `flap NAME times=N`: cut off until it knows that it has no leader, healed until it follows one, so
    /// many times.
    pub(super) async fn flap(&mut self, words: &mut Words) -> Result<String> {
        let name = words.next("who flaps")?;
        let times: usize = words.number("times")?.context("flap NAME times=N")?;
        words.finish()?;
        let node = self.directory.names.node(&name)?;
        let cluster = self.cluster()?;
        let alone = Topology::isolated(node, cluster.node_count());
        for _ in 0..times {
            cluster
                .set_weather(&Weather::cut(&alone, Cut::Drop))
                .await?;
            has_leader(cluster, node, false).await?;
            cluster.set_weather(&Weather::clear()).await?;
            has_leader(cluster, node, true).await?;
        }
        Ok(format!(
            "{name} lost its leader and found it again, {times} times"
        ))
    }

    /// `kill|boot|restart|pause|resume|power-cut|lose-disk|retire NAMES`
    pub(super) fn befall(&mut self, words: &mut Words) -> Result<String> {
        let verb = words.verb.clone();
        let named = words.rest();
        ensure!(!named.is_empty(), "{verb} whom? A name, or all");
        let nodes = if named == ["all"] {
            self.scene()?.0.nodes().collect()
        } else {
            self.directory.names.nodes(&named)?
        };
        words.finish()?;
        let who = self.directory.names.list(&nodes);
        let mut random = self.random.clone();
        let cluster = self.cluster()?;
        if let "kill" | "lose-disk" | "restart" = verb.as_str() {
            // Every signal first: killed together, they do not see each other die.
            for node in &nodes {
                cluster.member(*node)?.signal_kill();
            }
        }
        for node in &nodes {
            match verb.as_str() {
                "kill" => cluster.member(*node)?.kill(),
                "boot" => cluster.member(*node)?.start()?,
                "restart" => {
                    cluster.member(*node)?.kill();
                    cluster.member(*node)?.start()?;
                }
                "pause" => cluster.member(*node)?.pause()?,
                "resume" => cluster.member(*node)?.resume()?,
                "retire" => cluster.retire(*node)?,
                "lose-disk" => {
                    cluster.member(*node)?.kill();
                    let data = cluster.dir().join(program::name(*node));
                    std::fs::remove_dir_all(&data)
                        .with_context(|| format!("erase {}", data.display()))?;
                }
                _ => {}
            }
        }
        if verb == "power-cut" {
            cluster.cut_power(&nodes, &mut random)?;
        }
        self.random = random;
        let what = match verb.as_str() {
            "kill" => "killed",
            "boot" => "started",
            "restart" => "killed and started again",
            "pause" => "paused",
            "resume" => "resumed",
            "retire" => "gone for ever",
            "lose-disk" => "killed, and the disk is gone",
            _ => "without power",
        };
        Ok(format!("{who}: {what}"))
    }

    /// `enlist NAME`: a member to be added, and started afterwards.
    pub(super) async fn enlist(&mut self, words: &mut Words) -> Result<String> {
        let name = words.next("the new member's name")?;
        words.finish()?;
        ensure!(
            self.directory.names.node(&name).is_err(),
            "there is a {name} already"
        );
        let cluster = self.cluster()?;
        let node = cluster.enlist().await?;
        let url = cluster.peer_url(node);
        self.directory.urls.insert(node, url);
        self.directory.names.give(&name, node);
        Ok(format!("{name} has a place to run"))
    }
}

async fn has_leader(cluster: &Cluster, node: usize, expected: bool) -> Result<()> {
    let what = if expected { "a leader" } else { "no leader" };
    until_ok(
        format!("member {node} to name {what}"),
        PATIENCE,
        async || {
            let seen = cluster.observe(node, false).await?;
            ensure!(
                (seen.leader != 0) == expected,
                "it names {:x} in term {}",
                seen.leader,
                seen.term
            );
            Ok(())
        },
    )
    .await
}
