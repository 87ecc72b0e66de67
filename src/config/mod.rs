//! Floor 0: what a member is told at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A checked configuration: every URL parsed, every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    /// `host:port` to listen on.
    pub listen_client: Vec<String>,
    pub listen_peer: Vec<String>,
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
    pub max_request_bytes: usize,
    pub max_txn_ops: usize,
    pub log_level: String,
    /// Where to dial a peer instead of its advertised URL (`http://host:port` -> `host:port`).
    pub peer_dial: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}
