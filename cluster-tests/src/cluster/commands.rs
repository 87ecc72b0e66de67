//! The commands of `scripts/cluster`, as a user sees them.

use super::control::{self, MemberReport, Request};
use super::layout::Layout;
use super::local::PATIENCE;
use super::program::{Program, name};
use crate::door::Door;
use crate::observe::{Observation, Observer, PATIENCE as ANSWERS_WITHIN};
use crate::wait::{Look, until};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the directory holds the data of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub nodes: usize,
    etcd: bool,
}

impl Shape {
    pub fn program(self) -> Program {
        if self.etcd {
            Program::Etcd
        } else {
            Program::Quorate
        }
    }

    fn read(dir: &Path) -> Result<Option<Self>> {
        match std::fs::read(dir.join("cluster.json")) {
            Ok(bytes) => Ok(Some(
                serde_json::from_slice(&bytes).context("read cluster.json")?,
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read cluster.json"),
        }
    }

    fn write(self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let bytes = serde_json::to_vec(&self).context("encode cluster.json")?;
        std::fs::write(dir.join("cluster.json"), bytes).context("write cluster.json")
    }
}

/// Starts the cluster, or what is missing of it; returns when every member serves.
///
/// # Errors
/// A member does not come up; the directory holds a cluster of another shape.
pub async fn up(dir: &Path, nodes: Option<usize>, program: Program, fresh: bool) -> Result<()> {
    if fresh {
        down(dir).await?;
        if dir.exists() {
            std::fs::remove_dir_all(dir).context("erase the old cluster")?;
        }
    }
    let old = Shape::read(dir)?;
    let nodes = nodes.or(old.map(|old| old.nodes)).unwrap_or(3);
    ensure!((1..=9).contains(&nodes), "a cluster has 1 to 9 nodes");
    let shape = Shape {
        nodes,
        etcd: program == Program::Etcd,
    };
    if let Some(old) = old
        && old != shape
    {
        bail!(
            "{} holds a cluster of {} {} nodes: use --fresh to erase it",
            dir.display(),
            old.nodes,
            old.program()
        );
    }
    if control::is_running(dir).await {
        let done = control::tell(dir, &Request::Restore).await?;
        println!(
            "The cluster is up already{}{done}.",
            if done.is_empty() { "" } else { ": " }
        );
    } else {
        start_daemon(dir, shape).await?;
    }
    let layout = Layout::of_the_user()?;
    for node in 1..=nodes {
        let mut door = Door::open(&layout.client_url(node), Duration::from_secs(2))?;
        let serve = until(format!("node {node} to serve"), PATIENCE, async || {
            match control::status(dir).await {
                Ok(status)
                    if status
                        .members
                        .get(node - 1)
                        .is_some_and(|m| m.pid.is_none()) =>
                {
                    return Look::Ready(false);
                }
                Ok(_) => {}
                Err(error) => return Look::NotYet(format!("{error:#}")),
            }
            match door.get("health").await {
                Ok(_) => Look::Ready(true),
                Err(status) => Look::NotYet(status.to_string()),
            }
        });
        let log = dir.join(format!("{}.log", name(node)));
        ensure!(
            serve.await?,
            "node {node} has ended; its log: {}",
            log.display()
        );
        println!("node {node} serves at {}", layout.client_url(node));
    }
    // Without a scheme: with one, etcdctl 3.4's `endpoint status` names the whole URL as the HTTP/2
    // authority, which Quorate's HTTP/2 library refuses.
    let addresses: Vec<String> = (1..=nodes)
        .map(|node| layout.client_address(node))
        .collect();
    println!("\nexport ETCDCTL_ENDPOINTS={}", addresses.join(","));
    Ok(())
}

async fn start_daemon(dir: &Path, shape: Shape) -> Result<()> {
    let busy = Layout::of_the_user()?.busy(shape.nodes);
    ensure!(
        busy.is_empty(),
        "in use by another program: {}",
        busy.join(", ")
    );
    shape.write(dir)?;
    let log = std::fs::File::create(dir.join("daemon.log")).context("create daemon.log")?;
    let mut daemon = Command::new(std::env::current_exe().context("where this program is")?)
        .args(["cluster", "--dir"])
        .arg(dir)
        .args(["daemon", "--nodes", &shape.nodes.to_string()])
        .args(["--program", &shape.program().to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the log file")?)
        .stderr(log)
        // Its own group: an interrupt at the terminal is not for it.
        .process_group(0)
        .spawn()
        .context("start the daemon")?;
    let started = until("the daemon to start", PATIENCE, async || {
        if control::is_running(dir).await {
            return Look::Ready(true);
        }
        match daemon.try_wait() {
            Ok(None) => Look::NotYet("its socket is not there".to_owned()),
            _ => Look::Ready(false),
        }
    });
    let log = dir.join("daemon.log");
    if !started.await? {
        bail!(
            "the daemon ended: {}",
            std::fs::read_to_string(log).unwrap_or_default().trim()
        );
    }
    Ok(())
}

/// Stops the cluster; nothing of it runs when this returns.
///
/// # Errors
/// The daemon does not end.
pub async fn down(dir: &Path) -> Result<()> {
    if !control::is_running(dir).await {
        println!("No cluster is up.");
        return Ok(());
    }
    let daemon = control::status(dir).await?.daemon;
    println!("{}", control::tell(dir, &Request::Down).await?);
    let proc = Path::new("/proc").join(daemon.to_string());
    until("the daemon to end", Duration::from_secs(10), async || {
        // A zombie has ended: it only waits for whoever started it.
        let stat = std::fs::read_to_string(proc.join("stat")).unwrap_or_default();
        match stat.rsplit_once(") ") {
            Some((_, state)) if !state.starts_with('Z') => Look::NotYet(format!("{daemon} runs")),
            _ => Look::Ready(()),
        }
    })
    .await
}

/// Prints a line for every member.
///
/// # Errors
/// No cluster is up.
pub async fn status(dir: &Path) -> Result<()> {
    let report = control::status(dir).await?;
    let shape = Shape::read(dir)?.context("no cluster.json")?;
    println!(
        "{:<5} {:<8} {:<10} {:<26} {:<10} {:>5} {:>9} {:>9}  hash",
        "node", "pid", "process", "client URL", "role", "term", "applied", "revision"
    );
    let layout = Layout::of_the_user()?;
    for (node, member) in (1..).zip(&report.members) {
        let MemberReport { pid, paused } = *member;
        let state = match (pid, paused) {
            (None, _) => "dead",
            (Some(_), true) => "paused",
            (Some(_), false) => "runs",
        };
        let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let url = layout.client_url(node);
        let seen = if state == "runs" {
            let peer_url = layout.peer_url(node);
            let inspected_at = shape.program().inspected_at(&peer_url);
            let mut observer = Observer::new(&url, inspected_at)?;
            let seen = observer.look(true, ANSWERS_WITHIN).await;
            seen.map_or_else(|error| error.to_string(), |seen| row(&seen))
        } else {
            String::new()
        };
        println!("{:<5} {pid:<8} {state:<10} {url:<26} {seen}", name(node));
    }
    println!("links: {}", report.links);
    Ok(())
}

fn row(seen: &Observation) -> String {
    let hash = seen
        .fingerprint
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    let Observation {
        role,
        term,
        applied_index,
        revision,
        ..
    } = seen;
    format!("{role:<10} {term:>5} {applied_index:>9} {revision:>9}  {hash}")
}

/// Prints the end of a member's log, or follows it.
///
/// # Errors
/// There is no such log.
pub fn logs(dir: &Path, node: usize, lines: usize, follow: bool) -> Result<()> {
    let log = dir.join(format!("{}.log", name(node)));
    ensure!(log.is_file(), "there is no {}", log.display());
    let mut tail = Command::new("tail");
    tail.args(["-n", &lines.to_string()]);
    if follow {
        tail.arg("-F");
    }
    let status = tail.arg(&log).status().context("run tail")?;
    ensure!(status.success(), "tail ended with {status}");
    Ok(())
}
