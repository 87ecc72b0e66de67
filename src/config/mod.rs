//! Floor 0: what a member is told at its start.
//!
//! etcd's flags, environment variables, defaults and rules, so that whatever starts an etcd starts
//! a Quorate: [`flags`] reads the command line the way Go's `flag` package does and finds the
//! environment's share, [`checked`] turns words into a [`Config`] or one clear sentence, [`urls`]
//! knows what etcd accepts for a URL, [`go_duration`] what Go accepts for a duration. Nothing here
//! touches the disk or the network.

mod checked;
mod corruption;
mod flags;
mod go_duration;
mod urls;

pub use flags::{CommandLine, ConfigError, Start, read};
pub(crate) use go_duration::parse_duration;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The etcd version that we claim where clients ask: they switch features by it.
pub const ETCD_VERSION: &str = "3.6.8";

/// The cluster and storage versions that go with it.
pub const ETCD_CLUSTER_VERSION: &str = "3.6.0";
pub const ETCD_STORAGE_VERSION: &str = "3.6.0";

/// Our own.
pub const QUORATE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The largest `--max-request-bytes`. Our commands take up to two and a quarter times the bytes of
/// the client's message (a transaction of the shortest ranges does), and an entry must fit a message
/// between members together with the batch that it ended.
pub const REQUEST_BYTES_MAX: usize = 24 << 20;

/// Checks the peer URLs of a member that is to be added, as etcd does: there must be one, each an
/// `http://host:port`. Answers them sorted.
pub fn check_peer_urls(peer_urls: &[String]) -> Option<Vec<String>> {
    let parsed: Result<Vec<_>, _> = peer_urls
        .iter()
        .map(|url| urls::parse(url.trim()))
        .collect();
    let mut urls: Vec<String> = parsed.ok()?.iter().map(urls::PlainUrl::text).collect();
    urls.sort();
    (!urls.is_empty()).then_some(urls)
}

/// A checked configuration: every URL parsed, every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    /// `host:port` to listen on.
    pub listen_client: Vec<String>,
    pub listen_peer: Vec<String>,
    /// Where metrics and health are served without anything else.
    pub listen_metrics: Vec<String>,
    /// As given, for other people: `http://host:port`.
    pub advertise_client_urls: Vec<String>,
    pub advertise_peer_urls: Vec<String>,
    /// Name and peer URLs of every initial member, this one included.
    pub initial_cluster: Vec<(String, Vec<String>)>,
    pub initial_cluster_state: ClusterState,
    pub initial_cluster_token: String,
    pub heartbeat_interval: Duration,
    /// The longest; the shortest is half of it.
    pub election_timeout: Duration,
    /// Log entries between snapshots.
    pub snapshot_count: u64,
    /// Bytes of data at which writes are refused; `None` is no quota.
    pub quota_bytes: Option<u64>,
    pub auto_compaction: AutoCompaction,
    /// Whether changes of the membership that would cost the quorum are refused.
    pub strict_reconfig_check: bool,
    pub max_learners: usize,
    pub max_request_bytes: usize,
    pub max_txn_ops: usize,
    /// How often a watcher that asks for it hears of progress while nothing happens.
    pub watch_progress_interval: Duration,
    /// Whether a member that starts compares what it holds with the others first.
    pub initial_corrupt_check: bool,
    /// How often the leader compares every row of every member; `None` is never.
    pub corrupt_check_time: Option<Duration>,
    /// `--metrics extensive`: how long each call takes is measured too.
    pub extensive_metrics: bool,
    pub log_level: String,
    /// Where to dial a peer instead of its advertised URL (`http://host:port` -> `host:port`).
    pub peer_dial: BTreeMap<String, String>,
    /// Where to note what the disk could still lose, for tests that cut the power.
    pub sync_journal: Option<PathBuf>,
}

/// What the leader compacts without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    Off,
    /// What was superseded longer ago than this.
    Periodic(Duration),
    /// All but so many revisions.
    Revisions(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}

impl Config {
    /// How long a request may wait for its answer: etcd's 5 s and two elections.
    pub fn request_timeout(&self) -> Duration {
        request_timeout(self.election_timeout)
    }
}

/// [`Config::request_timeout`], for those who know the timers only.
pub fn request_timeout(election_timeout: Duration) -> Duration {
    Duration::from_secs(5) + 2 * election_timeout
}

#[cfg(test)]
mod tests;
