//! Talking to the daemon: one JSON line each way over a unix socket in the state directory.

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A daemon that is silent for so long is broken; stopping members may take a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What the daemon can be asked.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Request {
    Status,
    /// Every member runs again, and every link is open.
    Restore,
    Kill {
        node: usize,
    },
    Pause {
        node: usize,
    },
    Resume {
        node: usize,
    },
    Restart {
        node: usize,
    },
    Partition {
        topology: String,
    },
    Heal,
    /// Stop the members, then the daemon.
    Down,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    Done(String),
    Failed(String),
    Status(StatusReport),
}

/// What the daemon knows of its cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    pub daemon: u32,
    pub links: String,
    /// By node, from 1.
    pub members: Vec<MemberReport>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberReport {
    pub pid: Option<u32>,
    pub paused: bool,
}

/// The daemon's socket.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// Whether a daemon is there.
pub async fn is_running(dir: &Path) -> bool {
    UnixStream::connect(socket(dir)).await.is_ok()
}

/// Asks, and waits for the answer.
///
/// # Errors
/// No daemon answers.
pub async fn ask(dir: &Path, request: &Request) -> Result<Response> {
    let stream = UnixStream::connect(socket(dir)).await;
    let mut stream = BufReader::new(stream.context("no cluster is up (scripts/cluster up)")?);
    let mut line = serde_json::to_string(request).context("encode the request")?;
    line.push('\n');
    stream
        .write_all(line.as_bytes())
        .await
        .context("ask the daemon")?;
    let mut answer = String::new();
    let read = timeout(ANSWER_TIMEOUT, stream.read_line(&mut answer)).await;
    read.map_err(|_| anyhow!("the daemon is silent"))?
        .context("hear the daemon")?;
    serde_json::from_str(&answer).with_context(|| format!("the daemon said {answer:?}"))
}

/// Asks for something to be done; returns what was done, in words.
///
/// # Errors
/// It was not.
pub async fn tell(dir: &Path, request: &Request) -> Result<String> {
    match ask(dir, request).await? {
        Response::Done(text) => Ok(text),
        Response::Failed(why) => bail!(why),
        Response::Status(_) => bail!("a status was not asked for"),
    }
}

/// # Errors
/// No daemon answers.
pub async fn status(dir: &Path) -> Result<StatusReport> {
    match ask(dir, &Request::Status).await? {
        Response::Status(report) => Ok(report),
        Response::Done(text) | Response::Failed(text) => bail!("instead of a status: {text}"),
    }
}
