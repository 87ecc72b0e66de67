//! From words to a [`Config`], or to one sentence that says what is wrong.

use super::corruption;
use super::flags::{ConfigError, Given};
use super::urls::{self, PlainUrl};
use super::{AutoCompaction, ClusterState, Config, REQUEST_BYTES_MAX, parse_duration};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const CLIENT_URL: &str = "http://localhost:2379";
const PEER_URL: &str = "http://localhost:2380";
/// Our timers are shorter than etcd's (100 and 1000): nothing on the way of a heartbeat waits for
/// a disk. A user who gives one of them gets the other in the same proportion.
const HEARTBEAT_MS: u64 = 50;
const ELECTION_MS: u64 = 300;
/// etcd refuses longer elections.
const ELECTION_MS_MAX: u64 = 50_000;
/// etcd refuses a shorter election than this many heartbeats.
const HEARTBEATS_PER_ELECTION_MIN: u64 = 5;
const SNAPSHOT_COUNT: u64 = 10_000;
/// etcd's default quota, 2 GiB.
const QUOTA_BYTES: u64 = 2 << 30;
/// A tenth of it is the time between two looks at the revision.
const RETENTION_MIN: Duration = Duration::from_millis(100);
const REQUEST_BYTES: u64 = 1_572_864;
const TXN_OPS: u64 = 128;
const WATCH_PROGRESS: Duration = Duration::from_secs(600);
/// etcd takes a shorter interval for this one.
const WATCH_PROGRESS_MIN: Duration = Duration::from_millis(100);
const LEARNERS: u64 = 1;

const LEVELS: &[&str] = &["debug", "info", "warn", "error", "panic", "fatal"];

pub(super) fn config(given: &Given) -> Result<Config, ConfigError> {
    let name = given.get("name").unwrap_or("default").to_owned();
    let data_dir = match given.get("data-dir") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory),
        _ => PathBuf::from(format!("{name}.etcd")),
    };
    if given.get("listen-client-urls").is_some() && given.get("advertise-client-urls").is_none() {
        return Err(ConfigError::new(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ));
    }
    let url_list = |flag, default| urls::list(flag, given.get(flag).unwrap_or(default));
    let listen = |flag, default| urls::listen_list(flag, given.get(flag).unwrap_or(default));
    let listen_client = listen("listen-client-urls", CLIENT_URL)?;
    let listen_peer = listen("listen-peer-urls", PEER_URL)?;
    let listen_metrics = match given.get("listen-metrics-urls") {
        None | Some("") => Vec::new(),
        Some(text) => urls::listen_list("listen-metrics-urls", text)?,
    };
    let advertise_client = url_list("advertise-client-urls", CLIENT_URL)?;
    let advertise_peer = url_list("initial-advertise-peer-urls", PEER_URL)?;
    let initial_cluster = match given.get("initial-cluster") {
        Some(text) => {
            let cluster = parse_cluster(text)?;
            check_cluster(&cluster, &name, &advertise_peer)?;
            cluster
        }
        None => vec![(name.clone(), advertise_peer.clone())],
    };
    let (heartbeat_ms, election_ms) = timers(given)?;
    let log_level = given.get("log-level").unwrap_or("info");
    if !LEVELS.contains(&log_level) {
        return Err(ConfigError::new(format!(
            "unrecognized level: {log_level:?}"
        )));
    }
    Ok(Config {
        name,
        data_dir,
        listen_client: listen_client.iter().map(PlainUrl::address).collect(),
        listen_peer: listen_peer.iter().map(PlainUrl::address).collect(),
        listen_metrics: listen_metrics.iter().map(PlainUrl::address).collect(),
        advertise_client_urls: texts(&advertise_client),
        advertise_peer_urls: texts(&advertise_peer),
        initial_cluster: initial_cluster
            .into_iter()
            .map(|(name, urls)| (name, texts(&urls)))
            .collect(),
        initial_cluster_state: cluster_state(given.get("initial-cluster-state"))?,
        initial_cluster_token: given
            .get("initial-cluster-token")
            .unwrap_or("etcd-cluster")
            .into(),
        heartbeat_interval: Duration::from_millis(heartbeat_ms),
        election_timeout: Duration::from_millis(election_ms),
        // etcd takes 0 for its default.
        snapshot_count: match number(given, "snapshot-count")? {
            None | Some(0) => SNAPSHOT_COUNT,
            Some(count) => count,
        },
        quota_bytes: quota(given)?,
        auto_compaction: auto_compaction(given)?,
        strict_reconfig_check: given.is_on("strict-reconfig-check", true)?,
        max_learners: size(given, "max-learners", LEARNERS)?,
        max_request_bytes: request_bytes(given)?,
        max_txn_ops: size(given, "max-txn-ops", TXN_OPS)?,
        watch_progress_interval: watch_progress(given)?,
        initial_corrupt_check: corruption::initial(given)?,
        corrupt_check_time: corruption::check_time(given)?,
        extensive_metrics: extensive_metrics(given.get("metrics"))?,
        log_level: log_level.to_owned(),
        peer_dial: parse_peer_dial(given.get("peer-dial").unwrap_or(""))?,
        sync_journal: given
            .get("sync-journal")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
    })
}

fn texts(urls: &[PlainUrl]) -> Vec<String> {
    urls.iter().map(PlainUrl::text).collect()
}

fn cluster_state(text: Option<&str>) -> Result<ClusterState, ConfigError> {
    match text {
        None | Some("new") => Ok(ClusterState::New),
        Some("existing") => Ok(ClusterState::Existing),
        Some(other) => Err(ConfigError::new(format!(
            "invalid value {other:?} for --initial-cluster-state: neither \"new\" nor \"existing\""
        ))),
    }
}

fn extensive_metrics(text: Option<&str>) -> Result<bool, ConfigError> {
    match text {
        None | Some("basic") => Ok(false),
        Some("extensive") => Ok(true),
        Some(other) => Err(ConfigError::new(format!(
            "invalid value {other:?} for --metrics: neither \"basic\" nor \"extensive\""
        ))),
    }
}

/// Heartbeat and election in milliseconds.
fn timers(given: &Given) -> Result<(u64, u64), ConfigError> {
    let positive = |flag: &str| match number(given, flag)? {
        Some(0) => Err(ConfigError::new(format!(
            "--{flag} must be >0 (set to 0ms)"
        ))),
        other => Ok(other),
    };
    let (heartbeat, election) = (
        positive("heartbeat-interval")?,
        positive("election-timeout")?,
    );
    let ratio = ELECTION_MS / HEARTBEAT_MS;
    let (heartbeat, election) = match (heartbeat, election) {
        (None, None) => (HEARTBEAT_MS, ELECTION_MS),
        (Some(heartbeat), None) => (heartbeat, ELECTION_MS.max(heartbeat.saturating_mul(ratio))),
        (None, Some(election)) => (HEARTBEAT_MS.min(election / ratio).max(1), election),
        (Some(heartbeat), Some(election)) => (heartbeat, election),
    };
    if election < heartbeat.saturating_mul(HEARTBEATS_PER_ELECTION_MIN) {
        return Err(ConfigError::new(format!(
            "--election-timeout[{election}ms] should be at least as \
             {HEARTBEATS_PER_ELECTION_MIN} times as --heartbeat-interval[{heartbeat}ms]"
        )));
    }
    if election > ELECTION_MS_MAX {
        return Err(ConfigError::new(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than \
             {ELECTION_MS_MAX}ms"
        )));
    }
    Ok((heartbeat, election))
}

fn number(given: &Given, flag: &str) -> Result<Option<u64>, ConfigError> {
    let Some(text) = given.get(flag) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        ConfigError::new(format!(
            "invalid value {text:?} for --{flag}: not a whole number"
        ))
    })
}

/// As etcd: 0 is the default. Its older name is taken too: kubeadm uses one or the other.
fn watch_progress(given: &Given) -> Result<Duration, ConfigError> {
    let (name, old_name) = (
        "watch-progress-notify-interval",
        "experimental-watch-progress-notify-interval",
    );
    let (flag, text) = match (given.get(name), given.get(old_name)) {
        (Some(text), _) => (name, text),
        (None, Some(text)) => (old_name, text),
        (None, None) => return Ok(WATCH_PROGRESS),
    };
    let wrong =
        |reason: String| ConfigError::new(format!("invalid value {text:?} for --{flag}: {reason}"));
    let interval = parse_duration(text).map_err(wrong)?;
    Ok(match interval.is_zero() {
        true => WATCH_PROGRESS,
        false => interval.max(WATCH_PROGRESS_MIN),
    })
}

/// As etcd: 0 is the default, a negative one is none.
fn quota(given: &Given) -> Result<Option<u64>, ConfigError> {
    let flag = "quota-backend-bytes";
    let text = given.get(flag).unwrap_or("0");
    let bytes: i64 = text.parse().map_err(|_| {
        ConfigError::new(format!(
            "invalid value {text:?} for --{flag}: not a whole number"
        ))
    })?;
    Ok(match u64::try_from(bytes) {
        Ok(0) => Some(QUOTA_BYTES),
        Ok(bytes) => Some(bytes),
        Err(_) => None,
    })
}

/// As etcd: a bare number is hours in one mode and revisions in the other, 0 turns it off. Not as
/// etcd: a negative retention, at which it compacts without end, and a time where revisions are
/// counted, which it takes for as many revisions as nanoseconds, are refused.
fn auto_compaction(given: &Given) -> Result<AutoCompaction, ConfigError> {
    let is_periodic = match given.get("auto-compaction-mode") {
        None | Some("periodic") => true,
        Some("revision") => false,
        Some("") => return Err(ConfigError::new("undefined auto-compaction-mode")),
        Some(other) => {
            return Err(ConfigError::new(format!(
                "unknown auto-compaction-mode {other:?}"
            )));
        }
    };
    let text = given.get("auto-compaction-retention").unwrap_or("0");
    let wrong =
        |reason: String| ConfigError::new(format!("error parsing CompactionRetention: {reason}"));
    let mode = match (text.parse::<u32>(), is_periodic) {
        (Ok(0), _) => AutoCompaction::Off,
        (Ok(hours), true) => AutoCompaction::Periodic(Duration::from_secs(3600) * hours),
        (Ok(revisions), false) => AutoCompaction::Revisions(revisions.into()),
        (Err(_), true) => AutoCompaction::Periodic(parse_duration(text).map_err(wrong)?),
        (Err(_), false) => return Err(wrong(format!("{text:?} is not a number of revisions"))),
    };
    match mode {
        // "0s" is 0 too.
        AutoCompaction::Periodic(retention) if retention.is_zero() => Ok(AutoCompaction::Off),
        AutoCompaction::Periodic(retention) if retention < RETENTION_MIN => {
            Err(wrong(format!("{text:?} is shorter than {RETENTION_MIN:?}")))
        }
        mode => Ok(mode),
    }
}

/// A larger request than members can hand to each other would stop the log for ever.
fn request_bytes(given: &Given) -> Result<usize, ConfigError> {
    let bytes = size(given, "max-request-bytes", REQUEST_BYTES)?;
    if bytes > REQUEST_BYTES_MAX {
        return Err(ConfigError::new(format!(
            "--max-request-bytes={bytes} is too large: members hand each other requests of at most \
             {REQUEST_BYTES_MAX} bytes"
        )));
    }
    Ok(bytes)
}

/// A size that must be at least one and fit four bytes, as lengths on the wire do.
fn size(given: &Given, flag: &str, default: u64) -> Result<usize, ConfigError> {
    let value = number(given, flag)?.unwrap_or(default);
    u32::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .and_then(|value| usize::try_from(value).ok())
        .ok_or_else(|| ConfigError::new(format!("--{flag}={value} is out of range")))
}

type Cluster = Vec<(String, Vec<PlainUrl>)>;

/// `name=URL,name=URL,…`; a name may come several times.
fn parse_cluster(text: &str) -> Result<Cluster, ConfigError> {
    let wrong = |reason: String| {
        ConfigError::new(format!(
            "invalid value {text:?} for --initial-cluster: {reason}"
        ))
    };
    let mut cluster: Cluster = Vec::new();
    for part in text.split(',') {
        let (name, url) = part
            .trim()
            .split_once('=')
            .filter(|(name, url)| !name.is_empty() && !url.is_empty())
            .ok_or_else(|| wrong(format!("{part:?} is not name=URL")))?;
        let urls = urls::list("initial-cluster", url)?;
        match cluster.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.extend(urls),
            None => cluster.push((name.to_owned(), urls)),
        }
    }
    let mut seen: Vec<&PlainUrl> = cluster.iter().flat_map(|(_, urls)| urls).collect();
    seen.sort();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ConfigError::new(format!(
            "initial cluster {text} has duplicate url"
        )));
    }
    for (_, urls) in &mut cluster {
        urls.sort();
    }
    Ok(cluster)
}

/// This member must be in it, under the peer URLs that it advertises.
fn check_cluster(
    cluster: &Cluster,
    name: &str,
    advertised: &[PlainUrl],
) -> Result<(), ConfigError> {
    let Some((_, listed)) = cluster.iter().find(|(known, _)| known == name) else {
        return Err(ConfigError::new(format!(
            "couldn't find local name {name:?} in the initial cluster configuration"
        )));
    };
    let of = |urls: &[PlainUrl]| texts(urls).join(",");
    let named = |urls: &[&PlainUrl]| {
        urls.iter()
            .map(|url| format!("{name}={}", url.text()))
            .collect::<Vec<_>>()
            .join(",")
    };
    let missing: Vec<_> = listed
        .iter()
        .filter(|url| !advertised.contains(url))
        .collect();
    if !missing.is_empty() {
        return Err(ConfigError::new(format!(
            "--initial-cluster has {} but missing from --initial-advertise-peer-urls={}",
            named(&missing),
            of(advertised)
        )));
    }
    let surplus: Vec<_> = advertised
        .iter()
        .filter(|url| !listed.contains(url))
        .collect();
    if !surplus.is_empty() {
        return Err(ConfigError::new(format!(
            "--initial-advertise-peer-urls has {} but missing from --initial-cluster={name}={}",
            named(&surplus),
            of(listed)
        )));
    }
    Ok(())
}

/// `URL=host:port,…`: dial there instead. For tests, and for proxies on the way to a peer.
fn parse_peer_dial(text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    text.split(',')
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let wrong = || {
                ConfigError::new(format!(
                    "invalid value {text:?} for --peer-dial: {part:?} is not URL=host:port"
                ))
            };
            let (url, address) = part.trim().rsplit_once('=').ok_or_else(wrong)?;
            let url = urls::list("peer-dial", url)?.pop().ok_or_else(wrong)?;
            if address
                .rsplit_once(':')
                .is_none_or(|(_, port)| port.parse::<u16>().is_err())
            {
                return Err(wrong());
            }
            Ok((url.text(), address.to_owned()))
        })
        .collect()
}
