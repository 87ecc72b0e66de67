//! All proxies of a cluster under one weather.
//!
//! Quorate is told to dial each peer through a proxy of its own (`--peer-dial`), so there is one for
//! every ordered pair. etcd dials what its peers advertise, so there is one for every member, which
//! all others dial, and the kernel says who does ([`super::diallers`]).

use super::diallers::Diallers;
use super::layout::Layout;
use super::link::{Link, Origin, Target};
use super::process::Process;
use super::program::Program;
use super::sky::Sky;
use super::weather::Weather;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The proxies between the members.
#[derive(Debug)]
pub struct Links {
    program: Program,
    layout: Layout,
    sky: Arc<Sky>,
    diallers: Arc<Diallers>,
    nodes: Vec<usize>,
    /// By (who dials, who is dialled); who dials is 0 for whoever may.
    links: BTreeMap<(usize, usize), Link>,
}

impl Links {
    /// No members yet. Loss and jitter are drawn from `seed`.
    pub fn new(program: Program, layout: Layout, seed: u64) -> Self {
        Self {
            program,
            layout,
            sky: Sky::new(seed),
            diallers: Arc::default(),
            nodes: Vec::new(),
            links: BTreeMap::new(),
        }
    }

    /// Opens what leads to one more member and what it dials the others by. Not started yet, or its
    /// peers will have been refused.
    ///
    /// # Errors
    /// One of the addresses is in use.
    pub async fn admit(&mut self, node: usize, process: &Process) -> Result<()> {
        self.diallers.admit(node, process.identity());
        match self.program {
            Program::Etcd => self.open(0, node).await?,
            Program::Quorate => {
                for other in self.nodes.clone() {
                    self.open(node, other).await?;
                    self.open(other, node).await?;
                }
            }
        }
        self.nodes.push(node);
        Ok(())
    }

    async fn open(&mut self, from: usize, to: usize) -> Result<()> {
        let (listen, origin) = if from == 0 {
            let origin = Origin::Any(Arc::clone(&self.diallers));
            (self.layout.advertised_address(to), origin)
        } else {
            (self.layout.link_address(from, to), Origin::Node(from))
        };
        let target = Target {
            node: to,
            address: self.layout.peer_address(to),
        };
        let link = Link::open(&listen, origin, target, &self.sky).await?;
        self.links.insert((from, to), link);
        Ok(())
    }

    /// From here on every link does exactly this, to open connections too.
    pub fn set(&self, weather: &Weather) {
        self.sky.set(weather);
    }

    /// What of the weather proxies only approach.
    pub fn limits(&self) -> &'static str {
        match self.program {
            Program::Quorate => QUORATE_LIMITS,
            Program::Etcd => ETCD_LIMITS,
        }
    }
}

const QUORATE_LIMITS: &str = "Members dial each other through a proxy for every ordered pair. Proxies \
    carry streams, not packets: what is lost is a stall of 200 ms and more, what is too large is a \
    write read in one piece, nothing is reordered or doubled, and a handshake takes no time.";
const ETCD_LIMITS: &str = "etcd dials what a peer advertises, so there is one proxy in front of every \
    member, and who dialled is looked up in /proc. etcd carries what A tells B both on connections \
    that A dialled and on those that B dialled; each is cut by direction. Proxies carry streams, not \
    packets: what is lost is a stall of 200 ms and more, what is too large is a write read in one \
    piece, nothing is reordered or doubled, and a handshake takes no time.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::topology::Topology;
    use crate::cluster::weather::Cut;
    use std::time::Duration;
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
    async fn one_direction_is_cut_whoever_dialled_and_those_who_join_are_under_it_too() {
        let layout = Layout::claim().unwrap();
        let mut links = Links::new(Program::Quorate, layout, 7);
        let nobody = Process::new("/bin/false".into(), Vec::new(), "/dev/null".into());
        let mut pairs = Vec::new();
        let cut = Weather::cut(&Topology::healed().and_one_way(1, 2), Cut::Drop);
        for node in 1..=3 {
            links.admit(node, &nobody).await.unwrap();
        }
        for to in 1..=3 {
            let server = TcpListener::bind(layout.peer_address(to)).await.unwrap();
            for from in (1..=3).filter(|from| *from != to) {
                let dialler = TcpStream::connect(layout.link_address(from, to)).await;
                let (dialled, _) = server.accept().await.unwrap();
                pairs.push((from, to, dialler.unwrap(), dialled));
            }
        }
        links.set(&cut);
        for (from, to, dialler, dialled) in &mut pairs {
            let cut = (*from, *to) == (1, 2);
            let there = arrives(dialler, dialled, cut).await;
            assert_eq!(there, !cut, "{from} to {to}, dialled by {from}");
            let cut = (*to, *from) == (1, 2);
            let there = arrives(dialled, dialler, cut).await;
            assert_eq!(there, !cut, "{to} to {from}, dialled by {from}");
        }
        links.set(&Weather::cut(&Topology::isolated(4, 4), Cut::Drop));
        links.admit(4, &nobody).await.unwrap();
        let _server = TcpListener::bind(layout.peer_address(4)).await.unwrap();
        for (from, to) in [(1, 4), (4, 1)] {
            let dialler = TcpStream::connect(layout.link_address(from, to)).await;
            let heard = timeout(SILENCE, dialler.unwrap().read_exact(&mut [0])).await;
            assert!(heard.is_err(), "{from} reaches {to}");
        }
    }
}
