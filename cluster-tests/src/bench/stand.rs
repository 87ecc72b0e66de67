//! Where one system is measured: how its clusters are started, and what their members cost.

use super::System;
use super::connection::Connection;
use super::load::{Caller, Keys, Outcome, approximate, closed_loop};
use super::scenario::EtcdMost;
use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::process::{Process, own_cpu_time};
use crate::cluster::program::Program;
use crate::wait::until_ok;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A system, and how thoroughly it is measured.
#[derive(Clone, Debug)]
pub struct Stand {
    pub system: System,
    /// Another binary than the usual one.
    pub binary: Option<PathBuf>,
    /// Of a load, after it has warmed up.
    pub duration: Duration,
    /// Less of everything: to see whether something is badly off.
    pub quick: bool,
    /// Of the closed loops only those, by `call:clients`; none: all.
    pub loads: Vec<String>,
    pub etcd_most: EtcdMost,
    pub dir: PathBuf,
}

impl Stand {
    pub const WARM_UP: Duration = Duration::from_secs(1);

    /// Starts new servers, that serve; flags go to every member of a cluster.
    ///
    /// # Errors
    /// They do not come up.
    pub async fn start(&self, nodes: usize, flags: &[&str]) -> Result<Running> {
        let dir = self.dir.join("data");
        if dir.exists() {
            std::fs::remove_dir_all(&dir).context("erase old data")?;
        }
        let layout = Layout::claim()?;
        let program = match self.system {
            System::Quorate => Program::Quorate,
            System::Etcd => Program::Etcd,
            System::Empty => return empty_handlers(nodes, layout, &dir).await,
        };
        let spec = Spec {
            binary: self.binary.clone(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Spec::new(program, nodes, layout, dir)
        };
        let mut cluster = Cluster::start(spec).await?;
        let all: Vec<usize> = cluster.nodes().collect();
        cluster.wait_serving(&all, PATIENCE).await?;
        let leader = cluster.wait_leader(&all, PATIENCE).await?;
        Ok(Running {
            servers: Servers::Cluster(Box::new(cluster)),
            leader,
        })
    }
}

/// As many processes as a cluster has members, so that connections are spread as there.
async fn empty_handlers(nodes: usize, layout: Layout, dir: &Path) -> Result<Running> {
    std::fs::create_dir_all(dir).context("make a directory")?;
    let binary = std::env::current_exe().context("find this program")?;
    let mut handlers = Vec::new();
    for node in 1..=nodes {
        let address = layout.client_address(node);
        let arguments = vec!["empty-handler".to_owned(), address.clone()];
        let log = dir.join(format!("{}.log", crate::cluster::program::name(node)));
        let mut process = Process::new(binary.clone(), arguments, log);
        process.start()?;
        until_ok("an empty handler to listen", PATIENCE, async || {
            Connection::dial(&address).await
        })
        .await?;
        handlers.push((address, process));
    }
    Ok(Running {
        servers: Servers::Empty(handlers),
        leader: 1,
    })
}

#[derive(Debug)]
enum Servers {
    Cluster(Box<Cluster>),
    /// With their addresses.
    Empty(Vec<(String, Process)>),
}

/// Servers under load. What they stored is erased when they are dropped.
#[derive(Debug)]
pub struct Running {
    servers: Servers,
    /// Of the time at which they were started.
    pub leader: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Servers::Cluster(cluster) = &mut self.servers {
            for node in cluster.nodes() {
                if let Ok(member) = cluster.member(node) {
                    member.kill();
                }
            }
            // The next one to start here erases what is left.
            drop(std::fs::remove_dir_all(cluster.dir()));
        }
    }
}

impl Running {
    /// # Errors
    /// They are none, but empty handlers.
    pub fn cluster(&mut self) -> Result<&mut Cluster> {
        match &mut self.servers {
            Servers::Cluster(cluster) => Ok(cluster),
            Servers::Empty(_) => bail!("an empty handler is no cluster"),
        }
    }

    pub fn nodes(&self) -> Vec<usize> {
        match &self.servers {
            Servers::Cluster(cluster) => cluster.nodes().collect(),
            Servers::Empty(handlers) => (1..=handlers.len()).collect(),
        }
    }

    /// All members, the leader first, so that few connections mean the same on all systems.
    pub fn leader_first(&self) -> Vec<usize> {
        let others = self.nodes().into_iter().filter(|node| *node != self.leader);
        [self.leader].into_iter().chain(others).collect()
    }

    pub fn followers(&self) -> Vec<usize> {
        self.leader_first().split_off(1)
    }

    fn process(&mut self, node: usize) -> Result<&mut Process> {
        match &mut self.servers {
            Servers::Cluster(cluster) => cluster.member(node),
            Servers::Empty(handlers) => {
                let handler = node.checked_sub(1).and_then(|at| handlers.get_mut(at));
                Ok(&mut handler.with_context(|| format!("no handler {node}"))?.1)
            }
        }
    }

    /// # Errors
    /// It cannot be dialled.
    pub async fn connect(&self, node: usize) -> Result<Connection> {
        let address = match &self.servers {
            Servers::Cluster(cluster) => cluster.client_address(node),
            Servers::Empty(handlers) => {
                let handler = node.checked_sub(1).and_then(|at| handlers.get(at));
                handler
                    .with_context(|| format!("no handler {node}"))?
                    .0
                    .clone()
            }
        };
        Connection::dial(&address).await
    }

    /// So many connections as etcd's own benchmarks have for so many clients, over `nodes` in turn.
    ///
    /// # Errors
    /// One cannot be dialled.
    pub async fn connections(&self, nodes: &[usize], clients: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::new();
        for node in nodes.iter().cycle().take(connection_count(clients)) {
            connections.push(self.connect(*node).await?);
        }
        Ok(connections)
    }

    /// Writes so many keys, from several clients; answers how long it took.
    ///
    /// # Errors
    /// A write fails.
    pub async fn fill(&self, keys: Keys, from: u64) -> Result<Duration> {
        const CLIENTS: u64 = 8;
        let start = std::time::Instant::now();
        let count = keys.count - from;
        let mut fillers = tokio::task::JoinSet::new();
        for part in 0..CLIENTS {
            let mut kv = self.connect(self.leader).await?.kv();
            let bound = |part: u64| from + count * part / CLIENTS;
            let numbers = bound(part)..bound(part + 1);
            fillers.spawn(async move { keys.fill(&mut kv, numbers).await });
        }
        while let Some(filler) = fillers.join_next().await {
            filler.context("a filler")??;
        }
        Ok(start.elapsed())
    }

    /// Waits until a second costs the members next to nothing: what filling left for them to do in the
    /// background is done, and what is measured next is not in its way.
    ///
    /// # Errors
    /// They do not come to rest.
    pub async fn come_to_rest(&mut self) -> Result<()> {
        const SECOND: Duration = Duration::from_secs(1);
        const RESTING: Duration = Duration::from_millis(100);
        until_ok("the servers to rest", PATIENCE * 10, async || {
            let before = self.spent()?.servers;
            tokio::time::sleep(SECOND).await;
            let busy = self.spent()?.servers - before;
            ensure!(busy < RESTING, "{busy:?} of CPU time in a second");
            Ok(())
        })
        .await
    }

    /// CPU time so far: of every member that runs, and of the client.
    ///
    /// # Errors
    /// A member has ended.
    pub fn spent(&mut self) -> Result<Spent> {
        let mut servers = Duration::ZERO;
        for node in self.nodes() {
            servers += self.process(node)?.cpu_time()?;
        }
        Ok(Spent {
            servers,
            client: own_cpu_time()?,
        })
    }

    /// Callers that are warm, in a closed loop, and what their calls cost.
    ///
    /// # Errors
    /// A call failed, or a member has ended.
    pub async fn measured<C: Caller>(
        &mut self,
        callers: Vec<C>,
        duration: Duration,
    ) -> Result<(Vec<C>, Measured)> {
        let before = self.spent()?;
        let (callers, outcome) = closed_loop(callers, duration).await?;
        let after = self.spent()?;
        let outcome = outcome.flawless()?;
        let count = outcome.count();
        let measured = Measured {
            servers_us: after.servers_us(before, count),
            client_us: after.client_us(before, count),
            outcome,
        };
        Ok((callers, measured))
    }

    /// Megabytes of memory that are resident, of one member.
    ///
    /// # Errors
    /// It does not run.
    pub fn resident_mb(&mut self, node: usize) -> Result<f64> {
        Ok(approximate(self.process(node)?.resident_bytes()?) / 1e6)
    }

    /// How often the logs of all members were synced so far; an empty handler has none.
    ///
    /// # Errors
    /// A member does not tell.
    pub async fn fsyncs(&self) -> Result<u64> {
        let Servers::Cluster(cluster) = &self.servers else {
            return Ok(0);
        };
        let mut fsyncs = 0;
        for node in cluster.nodes() {
            fsyncs += match cluster.program() {
                Program::Quorate => cluster.observe(node, false).await?.log_fsyncs,
                Program::Etcd => etcd_fsyncs(&cluster.client_address(node)).await?,
            };
        }
        Ok(fsyncs)
    }
}

fn connection_count(clients: usize) -> usize {
    match clients {
        0..8 => 1,
        8..128 => 8,
        128..512 => 16,
        _ => 64,
    }
}

/// What a load saw, and the CPU time of each call.
#[derive(Debug)]
pub struct Measured {
    pub outcome: Outcome,
    /// Of all members.
    pub servers_us: f64,
    pub client_us: f64,
}

/// CPU time at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    servers: Duration,
    client: Duration,
}

impl Spent {
    /// Of all members since then, in microseconds for each of `count`.
    pub fn servers_us(self, earlier: Self, count: f64) -> f64 {
        (self.servers - earlier.servers).as_secs_f64() * 1e6 / count
    }

    /// Of the client.
    pub fn client_us(self, earlier: Self, count: f64) -> f64 {
        (self.client - earlier.client).as_secs_f64() * 1e6 / count
    }
}

/// From etcd's metrics page, by the smallest HTTP client there is.
async fn etcd_fsyncs(address: &str) -> Result<u64> {
    const NAME: &str = "etcd_disk_wal_fsync_duration_seconds_count ";
    let mut stream = TcpStream::connect(address)
        .await
        .context("dial for metrics")?;
    // HTTP/1.0: no chunks, and the connection ends with the page.
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .context("ask for metrics")?;
    let mut page = String::new();
    stream
        .read_to_string(&mut page)
        .await
        .context("read metrics")?;
    let count = page.lines().find_map(|line| line.strip_prefix(NAME));
    count
        .context("no fsync count in the metrics")?
        .parse()
        .context("an odd fsync count")
}
