//! How costs grow: put, get, list and memory against the number of keys, on one member.

use crate::bench::System;
use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Call, Keys, KvCaller, closed_loop};
use crate::bench::stand::Stand;
use anyhow::Result;

/// With their names; etcd goes up to the third.
pub const SIZES: [(u64, &str); 4] = [
    (10_000, "10k"),
    (100_000, "100k"),
    (1_000_000, "1M"),
    (10_000_000, "10M"),
];
const CALLS: [(Call, usize); 3] = [(Call::Put, 64), (Call::Get, 64), (Call::List(1000), 1)];

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut servers = stand
        .start(1, &["--quota-backend-bytes=17179869184"])
        .await?;
    let up_to = if stand.system == System::Quorate {
        4
    } else {
        3
    };
    let mut filled = 0;
    for (count, size) in SIZES.into_iter().take(up_to) {
        let keys = Keys::new(count);
        servers.fill(keys, filled).await?;
        servers.come_to_rest().await?;
        filled = count;
        for (call, clients) in CALLS {
            let connections = servers.connections(&[1], clients).await?;
            let callers = KvCaller::many(&connections, call, keys, clients);
            let (callers, _) = closed_loop(callers, Stand::WARM_UP).await?;
            let (_, measured) = servers.measured(callers, stand.duration).await?;
            let name = format!("{} with {size} keys", call.name());
            figures.add(name, Unit::Micros, measured.servers_us);
        }
        let memory = servers.resident_mb(1)?;
        figures.add(format!("memory with {size} keys"), Unit::Megabytes, memory);
    }
    Ok(figures)
}
