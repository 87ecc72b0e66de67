//! Real packets between members, and a filter that drops them.
//!
//! The laboratory runs in a network namespace of its own ([`super::namespace`]). Every member gets
//! another one, with an address of its own and a cable to the laboratory's, which forwards from
//! member to member and judges every packet on its way ([`super::rules`]). So members need no flag and
//! no proxy, each has an address by which its packets can be told from the others', Quorate and
//! etcd alike, and clients, who are in the laboratory's namespace, reach every member at all times.
//!
//! ```text
//!   member 1             laboratory                 member 2
//!   eth0 10.77.1.2 ---- 10.77.1.1  forward  10.77.2.1 ---- 10.77.2.2 eth0
//!                                  + rules
//! ```
//!
//! Against the proxies: TCP is the kernel's own, with its retransmissions; what a heal brings back
//! comes when the sender tries again (after a second or more), and no connection is reset for having
//! lost bytes. Delay and jitter need netem, which is rarely there: packets do without.

use super::layout::Layout;
use super::namespace::{is_entered, namespace_of, tool};
use super::process::Process;
use super::rules;
use super::weather::{Quality, Weather};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// Setting something up takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

pub const LIMITS: &str = "Members are in network namespaces of their own and a packet filter judges what \
    they send each other. There is no delay and no jitter; a narrow link drops what is too much \
    rather than queueing it; what a heal brings back comes when TCP tries again.";

/// Distinguishes the tables of clusters in one namespace.
static TABLES: AtomicU32 = AtomicU32::new(0);

/// The namespaces of a cluster's members, and the filter between them.
#[derive(Debug)]
pub struct Packets {
    layout: Layout,
    table: String,
    /// What keeps each member's namespace while the member is down.
    holders: BTreeMap<usize, Process>,
}

impl Packets {
    /// # Errors
    /// This process is not in a namespace of its own, or the machine has no `nft` or no `ip`.
    pub async fn open(layout: Layout) -> Result<Self> {
        ensure!(
            is_entered() && layout.is_apart(),
            "packets are filtered in a network namespace of the laboratory's own"
        );
        feed("ip", &["-batch", "-"], "link set lo up\n").await?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("forward packets")?;
        let table = format!("weather{}", TABLES.fetch_add(1, Ordering::Relaxed));
        feed("nft", &["-f", "-"], &rules::table(&table)).await?;
        Ok(Self {
            layout,
            table,
            holders: BTreeMap::new(),
        })
    }

    /// A namespace for one more member, in which `process` is to run.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub async fn admit(&mut self, node: usize, process: &mut Process) -> Result<()> {
        let pid = self.hold(node).await?;
        let net = format!("/proc/{pid}/ns/net");
        let (address, gateway) = (self.layout.ip(node), self.layout.gateway(node));
        let link = format!("{}n{node}", self.table);
        feed(
            "ip",
            &["-batch", "-"],
            &format!(
                "link add {link} type veth peer name eth0 netns {pid}
                 addr add {gateway}/24 dev {link}
                 link set {link} gso_max_segs 1
                 link set {link} up
                "
            ),
        )
        .await?;
        // What is written in many pieces stays many packets: without this the kernel would carry 64
        // KiB as one, and lose it as one.
        let inside = format!(
            "link set lo up
             addr add {address}/24 dev eth0
             link set eth0 gso_max_segs 1
             link set eth0 up
             route add default via {gateway}
            "
        );
        let enter = vec![
            "nsenter".to_owned(),
            format!("--net={net}"),
            "--".to_owned(),
        ];
        let ip = tool("ip")?;
        let ip = ip.to_str().context("a path that is text")?;
        let arguments: Vec<&str> = enter.iter().skip(1).map(String::as_str).collect();
        feed(
            "nsenter",
            &[&arguments[..], &[ip, "-batch", "-"]].concat(),
            &inside,
        )
        .await?;
        process.run_by(enter);
        Ok(())
    }

    /// Starts what holds a namespace open, and waits until it has it.
    async fn hold(&mut self, node: usize) -> Result<u32> {
        let arguments = ["--net", "sleep", "infinity"].map(str::to_owned);
        let mut holder = Process::new("unshare".into(), arguments.into(), "/dev/null".into());
        holder.start()?;
        let ours = namespace_of("self")?;
        let deadline = Instant::now() + PATIENCE;
        // Not `until`: the compiler does not see that its closure may go to another thread.
        let pid = loop {
            let pid = holder.pid().context("a member's namespace is refused")?;
            if namespace_of(&pid.to_string()).is_ok_and(|theirs| theirs != ours) {
                break pid;
            }
            ensure!(Instant::now() < deadline, "no namespace for n{node}");
            sleep(POLL_INTERVAL).await;
        };
        self.holders.insert(node, holder);
        Ok(pid)
    }

    /// From here on every way does exactly this to its packets.
    ///
    /// # Errors
    /// It cannot be done with packets ([`Packets::cannot`]), or the filter is refused.
    pub async fn set(&self, weather: &Weather) -> Result<()> {
        for (from, to, quality) in weather.ways() {
            if let Some(why) = Self::cannot(quality) {
                bail!("{from} to {to}: {why}");
            }
        }
        let change = rules::change(&self.table, weather, |node| self.layout.ip(node));
        feed("nft", &["-f", "-"], &change).await
    }

    /// Why packets cannot have this quality, if they cannot.
    pub fn cannot(quality: &Quality) -> Option<&'static str> {
        let delays = quality.delay_ms > 0 || quality.jitter_ms > 0;
        delays.then_some("a packet filter drops packets and delays none: that is for the proxies")
    }
}

/// Runs a program of the system's with this text as its input.
async fn feed(program: &str, arguments: &[&str], text: &str) -> Result<()> {
    let path = if Path::new(program).is_absolute() {
        program.into()
    } else {
        tool(program)?
    };
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {program}"))?;
    let mut input = child.stdin.take().context("a program without input")?;
    // One that has failed already reads no more; it will have said why.
    drop(input.write_all(text.as_bytes()).await);
    drop(input);
    let end = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let end = end.with_context(|| format!("{program} hangs"))?;
    let end = end.with_context(|| format!("wait for {program}"))?;
    let said = String::from_utf8_lossy(&end.stderr);
    ensure!(end.status.success(), "{program}: {}\n{text}", said.trim());
    Ok(())
}

#[cfg(test)]
#[path = "packets_tests.rs"]
mod tests;
