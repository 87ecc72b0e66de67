//! The process behind `scripts/cluster`: parent of the members, home of the links.
//!
//! One task owns the [`Cluster`] and handles one request after the other, so what the requests do
//! needs no locks. However the daemon ends, the kernel ends its members ([`super::process`]).

use super::control::{MemberReport, Request, Response, StatusReport, socket};
use super::local::{Cluster, Spec};
use super::topology::Topology;
use super::weather::{Cut, Weather};
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// A member that ignores SIGTERM for so long is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the cluster and serves its socket until it is told to stop.
///
/// # Errors
/// The cluster cannot be started.
pub async fn run(spec: Spec) -> Result<()> {
    let path = socket(&spec.dir);
    let mut hangup = signal(SignalKind::hangup()).context("handle SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
    let mut cluster = Cluster::start(spec).await?;
    // Only once the cluster has its ports is the socket ours: what is left there is stale.
    if path.exists() {
        std::fs::remove_file(&path).context("remove a stale socket")?;
    }
    let listener =
        UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accept")?;
                let mut stream = BufReader::new(stream);
                match serve(&mut cluster, &mut stream).await {
                    Ok(Next::Continue) => {}
                    Ok(Next::Stop) => break,
                    Err(error) => println!("a request was lost: {error:#}"),
                }
            }
            // The terminal that started the cluster may go.
            _ = hangup.recv() => {}
            _ = terminate.recv() => { stop(&mut cluster).await; break; }
            _ = interrupt.recv() => { stop(&mut cluster).await; break; }
        }
    }
    std::fs::remove_file(&path).context("remove the socket")
}

enum Next {
    Continue,
    Stop,
}

async fn serve(cluster: &mut Cluster, stream: &mut BufReader<UnixStream>) -> Result<Next> {
    let mut line = String::new();
    timeout(REQUEST_TIMEOUT, stream.read_line(&mut line))
        .await
        .context("a silent caller")??;
    if line.is_empty() {
        // Somebody looked whether we are there.
        return Ok(Next::Continue);
    }
    let request: Request = serde_json::from_str(&line).context("decode the request")?;
    println!("{request:?}");
    let response = match handle(cluster, &request).await {
        Ok(response) => response,
        Err(error) => Response::Failed(format!("{error:#}")),
    };
    let mut answer = serde_json::to_string(&response).context("encode the answer")?;
    answer.push('\n');
    let told = stream.write_all(answer.as_bytes()).await;
    if request == Request::Down {
        // Whoever asked may be gone by now: a daemon without members stays for nobody.
        return Ok(Next::Stop);
    }
    told.context("answer")?;
    Ok(Next::Continue)
}

async fn handle(cluster: &mut Cluster, request: &Request) -> Result<Response> {
    Ok(Response::Done(match request {
        Request::Status => return status(cluster),
        Request::Restore => restore(cluster).await?,
        Request::Kill { node } => {
            cluster.member(*node)?.kill();
            format!("node {node} is dead (kill -9)")
        }
        Request::Pause { node } => {
            cluster.member(*node)?.pause()?;
            format!("node {node} stands still (SIGSTOP)")
        }
        Request::Resume { node } => {
            cluster.member(*node)?.resume()?;
            format!("node {node} runs on (SIGCONT)")
        }
        Request::Restart { node } => {
            let member = cluster.member(*node)?;
            member.kill();
            member.start()?;
            format!("node {node} was started again")
        }
        Request::Partition { topology } => {
            let topology = Topology::parse(topology, cluster.node_count())?;
            let weather = Weather::cut(&topology, Cut::Drop);
            cluster.set_weather(&weather).await?;
            format!("cut: {topology}")
        }
        Request::Heal => {
            cluster.set_weather(&Weather::clear()).await?;
            "every link is open".to_owned()
        }
        Request::Down => {
            stop(cluster).await;
            "all members have ended".to_owned()
        }
    }))
}

fn status(cluster: &mut Cluster) -> Result<Response> {
    let mut members = Vec::new();
    for node in cluster.nodes() {
        let member = cluster.member(node)?;
        members.push(MemberReport {
            pid: member.pid(),
            paused: member.is_paused(),
        });
    }
    Ok(Response::Status(StatusReport {
        daemon: std::process::id(),
        links: cluster.carrier().weather().to_string(),
        members,
    }))
}

async fn restore(cluster: &mut Cluster) -> Result<String> {
    let mut done = Vec::new();
    for node in cluster.nodes() {
        let member = cluster.member(node)?;
        if member.pid().is_none() {
            member.start()?;
            done.push(format!("started node {node}"));
        } else if member.is_paused() {
            member.resume()?;
            done.push(format!("resumed node {node}"));
        }
    }
    if !cluster.carrier().weather().is_clear() {
        cluster.set_weather(&Weather::clear()).await?;
        done.push("healed every link".to_owned());
    }
    Ok(done.join(", "))
}

async fn stop(cluster: &mut Cluster) {
    for (node, error) in cluster.terminate_all(STOP_TIMEOUT).await {
        println!("node {node}: {error:#}; killed");
    }
}
