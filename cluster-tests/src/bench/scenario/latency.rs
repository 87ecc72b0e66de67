//! Latency at a fixed rate, the same for both systems: a quarter, a half and three quarters of what etcd
//! carries at most, which is measured first. See [`open`](crate::bench::open).

use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, closed_loop};
use crate::bench::open::{Arrivals, open_loop};
use crate::bench::stand::Stand;
use anyhow::{Context as _, Result};
use std::fmt;

const KEYS: Keys = Keys::new(10_000);
const PARTS: [(&str, f64); 3] = [("25%", 0.25), ("50%", 0.5), ("75%", 0.75)];
/// At once under way.
const CALLERS: usize = 4_096;
const CONNECTED_AS: usize = 256;

/// What etcd carries at most, in puts and gets a second.
#[derive(Clone, Copy, Debug)]
pub struct EtcdMost {
    puts: f64,
    gets: f64,
}

/// As it was on two cores, with three members and the client on them: for a run without etcd.
impl Default for EtcdMost {
    fn default() -> Self {
        Self {
            puts: 10_000.0,
            gets: 14_000.0,
        }
    }
}

impl fmt::Display for EtcdMost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:.0} puts/s, {:.0} gets/s",
            self.puts, self.gets
        )
    }
}

impl EtcdMost {
    /// In a closed loop of 256 clients.
    ///
    /// # Errors
    /// It does not come up, or a call fails.
    pub async fn measure(stand: &Stand) -> Result<Self> {
        let servers = stand.start(3, &[]).await?;
        servers.fill(KEYS, 0).await?;
        let connections = servers
            .connections(&servers.leader_first(), CONNECTED_AS)
            .await?;
        let mut most = Self::default();
        for (call, most) in [(Call::Put, &mut most.puts), (Call::Get, &mut most.gets)] {
            let callers = KvCaller::many(&connections, call, KEYS, CONNECTED_AS);
            let (callers, _) = closed_loop(callers, Stand::WARM_UP).await?;
            let (_, outcome) = closed_loop(callers, stand.duration).await?;
            *most = outcome.flawless()?.per_second();
        }
        Ok(most)
    }
}

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let servers = stand.start(3, &[]).await?;
    servers.fill(KEYS, 0).await?;
    let connections = servers
        .connections(&servers.leader_first(), CONNECTED_AS)
        .await?;
    let EtcdMost { puts, gets } = stand.etcd_most;
    for (call, most) in [(Call::Put, puts), (Call::Get, gets)] {
        let warm = KvCaller::many(&connections, call, KEYS, 64);
        closed_loop(warm, Stand::WARM_UP).await?;
        for (part, share) in PARTS {
            let callers = KvCaller::many(&connections, call, KEYS, CALLERS);
            let arrivals = Arrivals {
                per_second: most * share,
                duration: stand.duration,
            };
            let seen = open_loop(callers, arrivals).await?;
            let name = format!("{} at {part} of etcd's most", call.name());
            let outcome = seen.outcome.flawless().with_context(|| name.clone())?;
            for (what, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                let value = outcome.quantile_ms(quantile);
                figures.add(format!("{name}, {what}"), Unit::Millis, value);
            }
        }
    }
    Ok(figures)
}
