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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(5);
    /// Long enough for bytes that are not cut to arrive on loopback many times over.
    const SILENCE: Duration = Duration::from_millis(150);

    async fn arrives(from: &mut TcpStream, to: &mut TcpStream, cut: bool) -> bool {
        from.write_all(b"x").await.unwrap();
        let limit = if cut { SILENCE } else { PATIENCE };
        timeout(limit, to.read_exact(&mut [0])).await.is_ok()
    }

    #[tokio::test]
    async fn one_direction_is_cut_whoever_dialled() {
        let layout = Layout::claim().unwrap();
        let mut links = Links::open(layout, 3).await.unwrap();
        let mut pairs = Vec::new();
        for to in 1..=3 {
            let server = TcpListener::bind(layout.peer_address(to)).await.unwrap();
            for from in (1..=3).filter(|from| *from != to) {
                let dialler = TcpStream::connect(layout.link_address(from, to)).await;
                let (dialled, _) = server.accept().await.unwrap();
                pairs.push((from, to, dialler.unwrap(), dialled));
            }
        }
        links.cut(Topology::healed().and_one_way(1, 2));
        for (from, to, dialler, dialled) in &mut pairs {
            let cut = (*from, *to) == (1, 2);
            let there = arrives(dialler, dialled, cut).await;
            assert_eq!(there, !cut, "{from} to {to}, dialled by {from}");
            let cut = (*to, *from) == (1, 2);
            let there = arrives(dialled, dialler, cut).await;
            assert_eq!(there, !cut, "{to} to {from}, dialled by {from}");
        }
    }
}
