//! One cell on one system, measured from outside: CPU times from /proc, fsyncs from the members.

use super::Cell;
use super::load::{Loop, Operation};
use crate::cluster::local::Cluster;
use crate::cluster::process::own_cpu_time;
use crate::cluster::program::Program;
use anyhow::{Context, Result};
use std::fmt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const WARM_UP: Duration = Duration::from_secs(1);

/// What was measured. "Servers" are all three together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub servers_cpu_us: f64,
    pub client_cpu_us: f64,
    /// 0 for reads.
    pub fsyncs_per_put: f64,
    /// Resident memory, all three.
    pub servers_mb: f64,
    pub errors: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:.0} op/s, p50 {:.2} ms, p99 {:.2} ms, servers {:.1} us/op, client {:.1} us/op",
            self.per_second, self.p50_ms, self.p99_ms, self.servers_cpu_us, self.client_cpu_us
        )?;
        if self.fsyncs_per_put > 0.0 {
            write!(formatter, ", {:.3} fsyncs/put", self.fsyncs_per_put)?;
        }
        if self.errors > 0.0 {
            write!(formatter, ", {} ERRORS", self.errors)?;
        }
        Ok(())
    }
}

/// Counters that only rise.
struct Counters {
    servers: Duration,
    client: Duration,
    fsyncs: u64,
}

/// Warms up, runs the cell and measures it.
///
/// # Errors
/// A member has ended or does not answer.
pub async fn measure(
    cluster: &mut Cluster,
    urls: &[String],
    cell: Cell,
    duration: Duration,
) -> Result<Sample> {
    let closed_loop = Loop::connect(urls, cell).await?;
    closed_loop.run(WARM_UP).await.context("warm up")?;
    let before = read_before(cluster).await?;
    let outcome = closed_loop.run(duration).await?;
    let after = read_after(cluster).await?;
    let count = approximate(outcome.latencies_us.len());
    let micros = |later: Duration, earlier: Duration| (later - earlier).as_secs_f64() * 1e6;
    let quantile_ms = |q| approximate(outcome.latencies_us.value_at_quantile(q)) / 1e3;
    let mut memory = 0;
    for node in cluster.nodes() {
        memory += cluster.member(node)?.resident_bytes()?;
    }
    let is_put = cell.operation == Operation::Put;
    Ok(Sample {
        per_second: count / outcome.wall.as_secs_f64(),
        p50_ms: quantile_ms(0.50),
        p99_ms: quantile_ms(0.99),
        servers_cpu_us: micros(after.servers, before.servers) / count,
        client_cpu_us: micros(after.client, before.client) / count,
        fsyncs_per_put: if is_put {
            approximate(after.fsyncs - before.fsyncs) / count
        } else {
            0.0
        },
        servers_mb: approximate(memory) / 1e6,
        errors: approximate(outcome.errors),
    })
}

/// Counts here are far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "see above")]
fn approximate(count: u64) -> f64 {
    count as f64
}

/// The counts of fsyncs, then the CPU times: what it costs to be asked is not the load's.
async fn read_before(cluster: &mut Cluster) -> Result<Counters> {
    let fsyncs = fsyncs(cluster).await?;
    let (servers, client) = cpu_times(cluster)?;
    Ok(Counters {
        servers,
        client,
        fsyncs,
    })
}

/// The CPU times first, for the same reason.
async fn read_after(cluster: &mut Cluster) -> Result<Counters> {
    let (servers, client) = cpu_times(cluster)?;
    let fsyncs = fsyncs(cluster).await?;
    Ok(Counters {
        servers,
        client,
        fsyncs,
    })
}

fn cpu_times(cluster: &mut Cluster) -> Result<(Duration, Duration)> {
    let mut servers = Duration::ZERO;
    for node in cluster.nodes() {
        servers += cluster.member(node)?.cpu_time()?;
    }
    Ok((servers, own_cpu_time()?))
}

async fn fsyncs(cluster: &Cluster) -> Result<u64> {
    let mut fsyncs = 0;
    for node in cluster.nodes() {
        fsyncs += match cluster.program() {
            Program::Quorate => cluster.observe(node, false).await?.log_fsyncs,
            Program::Etcd => etcd_fsyncs(&cluster.client_address(node)).await?,
        };
    }
    Ok(fsyncs)
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
