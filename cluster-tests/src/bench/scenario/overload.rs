//! Row 19: three times as many puts as fit, at a fixed rate.
//!
//! The client's calls cost the machine as much as ever, answered or refused; that is in the figure.

use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, approximate, closed_loop};
use crate::bench::open::{Arrivals, open_loop};
use crate::bench::stand::{Running, Stand};
use anyhow::Result;

const KEYS: Keys = Keys::new(10_000);
const CLIENTS: usize = 256;
const TIMES: f64 = 3.0;
/// At once under way: more than any queue of a server holds.
const CALLERS: usize = 20_000;

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut servers = stand.start(3, &[]).await?;
    servers.fill(KEYS, 0).await?;
    let connections = servers
        .connections(&servers.leader_first(), CALLERS)
        .await?;
    let callers = KvCaller::many(&connections, Call::Put, KEYS, CLIENTS);
    let (callers, _) = closed_loop(callers, Stand::WARM_UP).await?;
    let (_, fits) = closed_loop(callers, stand.duration).await?;
    let fits = fits.flawless()?.per_second();
    let before = memory(&mut servers)?;

    let callers = KvCaller::many(&connections, Call::Put, KEYS, CALLERS);
    let arrivals = Arrivals {
        per_second: TIMES * fits,
        duration: stand.duration,
    };
    let seen = open_loop(callers, arrivals).await?;
    let after = memory(&mut servers)?;
    let mut add = |what: &str, unit, value| figures.add(format!("overload, {what}"), unit, value);
    add("goodput", Unit::Ratio, seen.outcome.per_second() / fits);
    add("memory", Unit::Ratio, after / before);
    add("p99", Unit::Millis, seen.outcome.quantile_ms(0.99));
    let offered = approximate(seen.offered);
    let refused = approximate(seen.outcome.failed()) / offered;
    add("refused", Unit::Ratio, refused);
    add("unasked", Unit::Ratio, approximate(seen.unasked) / offered);
    Ok(figures)
}

fn memory(servers: &mut Running) -> Result<f64> {
    let mut sum = 0.0;
    for node in servers.nodes() {
        sum += servers.resident_mb(node)?;
    }
    Ok(sum)
}
