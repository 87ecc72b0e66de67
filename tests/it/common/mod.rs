//! Members in this process, on a network in memory and on real disks.

mod cut_network;
mod hanging_disk;
pub mod http;
pub mod watching;

use cut_network::{CutNetwork, Cuts};
use hanging_disk::{Gate, HangingDisk};
use hyper_util::rt::TokioIo;
use quorate::config::{AutoCompaction, ClusterState, Config};
use quorate::env::Env;
use quorate::env::network::Network;
use quorate::env::network_memory::MemoryNetwork;
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::lease_client::LeaseClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::health::health_client::HealthClient;
use quorate::proto::peer::peer_client::PeerClient;
use quorate::proto::peer::{InspectRequest, InspectResponse};
use quorate::proto::v3electionpb::election_client::ElectionClient;
use quorate::proto::v3lockpb::lock_client::LockClient;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::{Channel, Endpoint, Uri};

pub const ELECTION: Duration = Duration::from_millis(300);
/// Long enough for anything that will ever happen on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What a member that stops has to tell its clients is told by then.
const LAST_WORDS: Duration = Duration::from_millis(500);

const SNAPSHOT_COUNT: u64 = 10_000;

pub struct Cluster {
    /// One a member: hang it, and its fsyncs wait.
    pub gates: Vec<Gate>,
    pub network: MemoryNetwork,
    /// Which members are cut off from the others.
    pub cuts: Cuts,
    pub members: Vec<Option<Member>>,
    root: tempfile::TempDir,
    pub snapshot_count: u64,
    pub quota_bytes: Option<u64>,
    pub auto_compaction: AutoCompaction,
    /// The first so many found the cluster; the others join it.
    pub founders: usize,
    /// `--strict-reconfig-check`
    pub strict: bool,
}

pub struct Member {
    stop: watch::Sender<bool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Member {
    /// Runs one on a thread of its own, until it ends or is told to stop.
    pub fn spawn<F>(run: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        let member = run(stopping);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(member)
        });
        Self { stop, thread }
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.end()
    }

    /// Whether it has come to an end of its own.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for an end of its own.
    pub fn end(self) -> anyhow::Result<()> {
        assert!(
            self.ends(PATIENCE),
            "waited {PATIENCE:?} for the member to end"
        );
        self.thread.join().unwrap()
    }

    /// Whether it ends in time: a thread cannot be joined with a limit.
    fn ends(&self, limit: Duration) -> bool {
        let until = std::time::Instant::now() + limit;
        while !self.thread.is_finished() {
            if std::time::Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

fn peer_address(number: usize) -> String {
    format!("peer-{number}:2380")
}

fn client_address(number: usize) -> String {
    format!("client-{number}:2379")
}

impl Cluster {
    pub fn new(size: usize) -> Self {
        let members = (0..size).map(|_| None).collect();
        // `RUST_LOG=info cargo test ... -- --nocapture` tells the members' side of a story.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init()
            .ok();
        let root = tempfile::tempdir().unwrap();
        Self {
            gates: (0..size).map(|_| Gate::default()).collect(),
            network: MemoryNetwork::default(),
            cuts: Cuts::default(),
            members,
            root,
            snapshot_count: SNAPSHOT_COUNT,
            quota_bytes: None,
            auto_compaction: AutoCompaction::Off,
            founders: size,
            strict: true,
        }
    }

    /// Room for so many members, of which the first few found the cluster, and run.
    pub fn founded_by(founders: usize, size: usize) -> Self {
        let mut cluster = Self::new(size);
        cluster.founders = founders;
        for number in 0..founders {
            cluster.start(number);
        }
        cluster
    }

    /// Starts a member that was added to a cluster of `others`.
    pub fn start_joining(&mut self, number: usize, others: &[usize]) {
        let config = self.joining(number, others);
        self.start_with(number, config);
    }

    pub fn joining(&self, number: usize, others: &[usize]) -> Config {
        let listed = others.iter().chain([&number]);
        Config {
            initial_cluster: listed
                .map(|number| (format!("n{number}"), vec![self.peer_url(*number)]))
                .collect(),
            initial_cluster_state: ClusterState::Existing,
            ..self.config(number)
        }
    }

    pub fn peer_url(&self, number: usize) -> String {
        format!("http://{}", peer_address(number))
    }

    pub fn started(size: usize) -> Self {
        Self::started_with_snapshots(size, SNAPSHOT_COUNT)
    }

    /// With a snapshot every so many entries.
    pub fn started_with_snapshots(size: usize, snapshot_count: u64) -> Self {
        let mut cluster = Self::new(size);
        cluster.snapshot_count = snapshot_count;
        for number in 0..size {
            cluster.start(number);
        }
        cluster
    }

    pub fn data_dir(&self, number: usize) -> PathBuf {
        self.root.path().join(format!("n{number}"))
    }

    pub fn config(&self, number: usize) -> Config {
        let url = |number| format!("http://{}", peer_address(number));
        Config {
            name: format!("n{number}"),
            data_dir: self.data_dir(number),
            listen_client: vec![client_address(number)],
            listen_peer: vec![peer_address(number)],
            listen_metrics: Vec::new(),
            advertise_client_urls: vec![format!("http://{}", client_address(number))],
            advertise_peer_urls: vec![url(number)],
            initial_cluster: (0..self.founders)
                .map(|number| (format!("n{number}"), vec![url(number)]))
                .collect(),
            initial_cluster_state: ClusterState::New,
            initial_cluster_token: "test".to_owned(),
            heartbeat_interval: Duration::from_millis(50),
            election_timeout: ELECTION,
            snapshot_count: self.snapshot_count,
            quota_bytes: self.quota_bytes,
            auto_compaction: self.auto_compaction,
            strict_reconfig_check: self.strict,
            max_learners: 1,
            max_request_bytes: 1_572_864,
            max_txn_ops: 128,
            watch_progress_interval: Duration::from_secs(600),
            initial_corrupt_check: false,
            corrupt_check_time: None,
            extensive_metrics: false,
            log_level: "warn".to_owned(),
            peer_dial: std::collections::BTreeMap::default(),
            sync_journal: None,
        }
    }

    pub fn start(&mut self, number: usize) {
        let config = self.config(number);
        self.start_with(number, config);
    }

    pub fn start_with(&mut self, number: usize, config: Config) {
        self.cuts.admit_clients(number);
        let disk = Arc::new(HangingDisk(self.gates[number].clone()));
        let network = Arc::new(CutNetwork {
            member: number,
            cuts: self.cuts.clone(),
            inner: self.network.clone(),
        });
        let env = Env {
            network,
            disk,
            ..Env::real()
        };
        let member = Member::spawn(|stopping| quorate::server::serve(config, env, stopping));
        self.members[number] = Some(member);
    }

    pub fn take(&mut self, number: usize) -> Member {
        self.members[number].take().unwrap()
    }

    /// Stops a member, and waits for its end. Clients on the test's thread stand still meanwhile.
    pub fn stop(&mut self, number: usize) {
        let member = self.take(number);
        member.stop.send_replace(true);
        if !member.ends(LAST_WORDS) {
            self.cuts.sever_clients(number);
        }
        member.end().unwrap();
    }

    /// One connection to a member's client port, for whatever is spoken on it.
    pub async fn connect(&self, number: usize) -> quorate::env::Stream {
        self.connect_to(&client_address(number)).await
    }

    pub async fn connect_to(&self, address: &str) -> quorate::env::Stream {
        let connect = async || self.network.connect(address).await.ok();
        eventually("a connection", connect).await
    }

    fn channel(&self, address: String) -> Channel {
        let network = self.network.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let (network, address) = (network.clone(), address.clone());
            async move { network.connect(&address).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://memory").connect_with_connector_lazy(connector)
    }

    pub fn kv(&self, number: usize) -> KvClient<Channel> {
        KvClient::new(self.channel(client_address(number)))
    }

    pub fn watch(&self, number: usize) -> WatchClient<Channel> {
        WatchClient::new(self.channel(client_address(number)))
    }

    pub fn lease(&self, number: usize) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel(client_address(number)))
    }

    pub fn lock(&self, number: usize) -> LockClient<Channel> {
        LockClient::new(self.channel(client_address(number)))
    }

    pub fn election(&self, number: usize) -> ElectionClient<Channel> {
        ElectionClient::new(self.channel(client_address(number)))
    }

    pub fn maintenance(&self, number: usize) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel(client_address(number)))
    }

    pub fn door(&self, number: usize) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel(client_address(number)))
    }

    pub fn health(&self, number: usize) -> HealthClient<Channel> {
        HealthClient::new(self.channel(client_address(number)))
    }

    pub async fn inspect(&self, number: usize) -> Option<InspectResponse> {
        let mut peer = PeerClient::new(self.channel(peer_address(number)));
        let asked = peer.inspect(InspectRequest { with_hash: true }).await;
        asked.ok().map(tonic::Response::into_inner)
    }

    /// Puts through one member, trying again until it takes it: only for tests that may put twice.
    pub async fn put(&self, number: usize, key: &str, value: &str) {
        let mut kv = self.kv(number);
        eventually(&format!("a put through n{number}"), async || {
            let request = PutRequest {
                key: key.to_owned().into(),
                value: value.to_owned().into(),
                ..PutRequest::default()
            };
            kv.put(request).await.ok().map(|_| ())
        })
        .await;
    }

    pub async fn get(&self, number: usize, key: &str, serializable: bool) -> Option<String> {
        let mut kv = self.kv(number);
        let request = RangeRequest {
            key: key.to_owned().into(),
            serializable,
            ..RangeRequest::default()
        };
        let answer = kv.range(request).await.ok()?.into_inner();
        answer
            .kvs
            .first()
            .map(|pair| String::from_utf8(pair.value.to_vec()).unwrap())
    }

    pub async fn member_id(&self, number: usize) -> u64 {
        let seen = async || Some(self.inspect(number).await?.member_id);
        eventually("a member's id", seen).await
    }

    /// The number of the member that every running one calls leader.
    pub async fn leader(&self) -> usize {
        eventually("one leader", async || {
            let mut named = Vec::new();
            for number in self.running() {
                let seen = self.inspect(number).await?;
                named.push(seen.leader);
            }
            let first = *named.first()?;
            if first == 0 || named.iter().any(|leader| *leader != first) {
                return None;
            }
            for number in self.running() {
                if self.inspect(number).await?.member_id == first {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    /// Who leads in the stead of a member that cannot tell, or does not know yet.
    pub async fn leader_instead_of(&self, old: usize) -> usize {
        eventually("another leader", async || {
            for number in self.running().into_iter().filter(|number| *number != old) {
                let seen = self.inspect(number).await?;
                if seen.role == "leader" && seen.leader == seen.member_id {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    pub fn running(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|number| self.members[*number].is_some())
            .collect()
    }

    /// The index of a member's last entry.
    pub async fn last_log(&self, number: usize) -> u64 {
        let last = async || Some(self.inspect(number).await?.last_log?.index);
        eventually("a last entry", last).await
    }

    /// Puts `key-1`, `key-2`, … until the leader has purged entries past an index; how many it took.
    pub async fn put_until_purged_past(&self, leader: usize, index: u64) -> usize {
        let mut count = 0;
        eventually("a purge", async || {
            for _ in 0..20 {
                count += 1;
                self.put(leader, &format!("key-{count}"), "x").await;
            }
            (self.inspect(leader).await?.purged?.index > index).then_some(())
        })
        .await;
        count
    }

    /// Waits until all running members hold the same hash at the same position.
    pub async fn converged(&self) -> Vec<u8> {
        eventually("equal hashes at equal positions", async || {
            let mut seen = Vec::new();
            for number in self.running() {
                let inspected = self.inspect(number).await?;
                seen.push((inspected.hashed_at?, inspected.state_hash));
            }
            let first = seen.first()?.clone();
            seen.iter()
                .all(|other| *other == first)
                .then(|| first.1.to_vec())
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A member whose disk hangs never ends.
        for gate in &self.gates {
            gate.release();
        }
        let members = self.members.iter_mut().enumerate();
        let members = members.filter_map(|(number, member)| Some((number, member.take()?)));
        let members: Vec<_> = members.collect();
        for (number, member) in &members {
            self.cuts.sever_clients(*number);
            member.stop.send_replace(true);
        }
        for (_, member) in members {
            // A panic of the test is already on its way; the members only have to be gone.
            if member.ends(PATIENCE) {
                member.thread.join().ok();
            }
        }
    }
}

/// Tries until there is an answer; an attempt that hangs is cut off at the limit too.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match timeout_at(until, attempt()).await {
            Ok(Some(found)) => return found,
            Ok(None) => {}
            Err(_) => panic!("waited {PATIENCE:?} for {what}; the last attempt hung"),
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
