//! Latency at a fixed rate, the same for both systems: a quarter, a half and three quarters of what etcd
//! carries at most. See [`open`](crate::bench::open).

use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, closed_loop};
use crate::bench::open::{Arrivals, open_loop};
use crate::bench::stand::Stand;
use anyhow::{Context as _, Result};

const KEYS: Keys = Keys::new(10_000);
/// What etcd 3.4 carries at most on two cores, with three members and the client on them, in puts and gets
/// a second: a constant, so that a run of one system alone can be compared with another one.
const ETCD_MOST: [(Call, f64); 2] = [(Call::Put, 10_000.0), (Call::Get, 14_000.0)];
const PARTS: [(&str, f64); 3] = [("25%", 0.25), ("50%", 0.5), ("75%", 0.75)];
/// At once under way.
const CALLERS: usize = 4_096;
const CONNECTED_AS: usize = 256;

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let servers = stand.start(3, &[]).await?;
    servers.fill(KEYS, 0).await?;
    let connections = servers
        .connections(&servers.leader_first(), CONNECTED_AS)
        .await?;
    for (call, most) in ETCD_MOST {
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
