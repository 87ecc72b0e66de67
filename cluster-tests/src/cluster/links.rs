//! All links of a cluster under one topology.

use super::layout::Layout;
use super::link::{Link, LinkState};
use super::topology::Topology;
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// A proxy for every ordered pair of nodes.
#[derive(Debug)]
pub struct Links {
    /// By (who dials, who is dialled).
    links: BTreeMap<(usize, usize), Link>,
    topology: Topology,
    delay: Duration,
}

impl Links {
    /// # Errors
    /// One of the addresses is in use.
    pub async fn open(layout: Layout, nodes: usize) -> Result<Self> {
        let mut links = BTreeMap::new();
        for from in 1..=nodes {
            for to in (1..=nodes).filter(|to| *to != from) {
                let link =
                    Link::open(&layout.link_address(from, to), layout.peer_address(to)).await?;
                links.insert((from, to), link);
            }
        }
        Ok(Self {
            links,
            topology: Topology::healed(),
            delay: Duration::ZERO,
        })
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// From here on exactly these directions are cut.
    pub fn cut(&mut self, topology: Topology) {
        self.topology = topology;
        self.apply();
    }

    pub fn heal(&mut self) {
        self.cut(Topology::healed());
    }

    /// From here on every byte takes this long from member to member.
    pub fn delay(&mut self, delay: Duration) {
        self.delay = delay;
        self.apply();
    }

    fn apply(&self) {
        for ((from, to), link) in &self.links {
            link.set(LinkState {
                forth_cut: self.topology.is_cut(*from, *to),
                back_cut: self.topology.is_cut(*to, *from),
                delay: self.delay,
            });
        }
    }
}
