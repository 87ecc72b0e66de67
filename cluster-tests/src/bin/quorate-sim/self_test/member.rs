//! A whole member on a simulated disk, alone and in one thread: what it acknowledged is there after
//! every crash.

use super::Lab;
use anyhow::{Context, Result, ensure};
use cluster_tests::sim::disk::{Caller, Damage, Operation, Part};
use quorate::client::Client;
use quorate::config::{self, Config, Start};
use quorate::env::network::BoxFuture;
use quorate::env::network_memory::MemoryNetwork;
use quorate::env::threads::{Job, Joiner, Worker};
use quorate::env::{Env, Network, Threads};
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const CLIENTS: &str = "http://10.0.0.1:2379";
const PEERS: &str = "http://10.0.0.1:2380";
const PATIENCE: Duration = Duration::from_secs(20);

fn config(lab: &Lab) -> Result<Config> {
    let words = [
        "--name=n1".to_owned(),
        format!("--data-dir={}", lab.disk.root().display()),
        format!("--listen-client-urls={CLIENTS}"),
        format!("--advertise-client-urls={CLIENTS}"),
        format!("--listen-peer-urls={PEERS}"),
        format!("--initial-advertise-peer-urls={PEERS}"),
        format!("--initial-cluster=n1={PEERS}"),
        "--snapshot-count=20".to_owned(),
    ];
    match config::read(words, [])?.start {
        Start::Serve(config) => Ok(*config),
        Start::Print(text) => anyhow::bail!("{text}"),
    }
}

/// No second thread: an image is then of one moment.
struct Inline;

impl Threads for Inline {
    fn worker(&self, _: &str) -> std::io::Result<Worker> {
        Ok(Worker::inline())
    }

    fn is_inline(&self) -> bool {
        true
    }

    fn spawn(&self, name: &str, _: Job) -> std::io::Result<Joiner> {
        Err(std::io::Error::other(format!("{name} wants a thread")))
    }

    fn runtime(&self, name: &str, _: BoxFuture<'static, ()>) -> std::io::Result<()> {
        Err(std::io::Error::other(format!("{name} wants a runtime")))
    }
}

/// A member that runs, and all that it runs on.
struct Boot {
    runtime: Runtime,
    client: Client,
    served: JoinHandle<Result<()>>,
    _stop: watch::Sender<bool>,
}

fn boot(lab: &Lab) -> Result<Boot> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
    let env = Env {
        network: network.clone(),
        disk: Arc::new(lab.disk.clone()),
        threads: Arc::new(Inline),
        ..Env::real()
    };
    let (stop, stopping) = watch::channel(false);
    let served = runtime.spawn(quorate::server::serve(config(lab)?, env, stopping));
    let address = CLIENTS.trim_start_matches("http://").to_owned();
    let client = Client::new(&network, &[address], PATIENCE, PATIENCE);
    Ok(Boot {
        runtime,
        client,
        served,
        _stop: stop,
    })
}

impl Boot {
    /// The runtime has one thread, this one: the member goes on while it waits.
    fn within<T>(&self, call: impl Future<Output = T>) -> Result<T> {
        let call = async { timeout(PATIENCE, call).await };
        Ok(self.runtime.block_on(call)?)
    }

    fn put(&self, number: u64) -> Result<()> {
        let put = PutRequest {
            key: format!("k{number}").into(),
            value: vec![7; 500].into(),
            ..PutRequest::default()
        };
        self.within(self.client.put(put))??;
        Ok(())
    }

    fn count(&self) -> Result<i64> {
        let all = RangeRequest {
            key: "k".into(),
            range_end: "l".into(),
            count_only: true,
            ..RangeRequest::default()
        };
        // Before it has founded its cluster it refuses.
        let served = async {
            loop {
                match self.client.range(all.clone()).await {
                    Ok(answer) => return answer.count,
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        self.within(served)
    }

    /// Why it ended by itself.
    fn end(self) -> Result<String> {
        let served = async { timeout(PATIENCE, self.served).await };
        let ended = self.runtime.block_on(served)??;
        let error = ended.err().context("it ended without a reason")?;
        Ok(format!("{error:#}"))
    }
}

pub(super) fn run() -> Result<()> {
    let mut lab = Lab::new()?;
    let mut acknowledged = 0;
    for seed in 0..6 {
        let member = boot(&lab)?;
        let found = member.count().with_context(|| format!("boot {seed}"))?;
        ensure!(
            found == acknowledged,
            "{found} of {acknowledged} in boot {seed}"
        );
        for _ in 0..60 {
            member.put(acknowledged.unsigned_abs())?;
            acknowledged += 1;
        }
        lab.crash((seed % 3 != 0).then_some(seed), member)?;
    }
    // A log that cannot be synced ends the member; what it acknowledged is there.
    let member = boot(&lab)?;
    ensure!(member.count()? == acknowledged);
    let trouble = lab.disk.trouble();
    trouble.fail_next(Caller::Member, Operation::Sync, 1);
    ensure!(member.put(0).is_err(), "a put that was not synced");
    let why = member.end()?;
    lab.crash(Some(7), ())?;
    let member = boot(&lab)?;
    ensure!(member.count()? == acknowledged, "after it ended: {why}");
    // A bit that turned is found.
    lab.crash(Some(8), member)?;
    let mut random = StdRng::seed_from_u64(1);
    let what = lab.disk.damage(Part::Log, Damage::FlipBit, &mut random);
    what.context("there is a log")?;
    Ok(())
}
