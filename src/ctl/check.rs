//! `check perf`: whether the cluster bears a load for a minute, and how well.

use super::go;
use super::options::CheckCommand;
use super::run::{Done, Failure, Session, write_out};
use crate::client::{Client, prefix_end};
use crate::proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest,
};
use crate::types::Revision;
use bytes::Bytes;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const KEY_BYTES: usize = 256;
const VALUE_BYTES: usize = 1024;
const SECONDS: u32 = 60;
/// For what is done after the load.
const CLEANING_MAX: Duration = Duration::from_secs(30);

/// Below this part of the writes that were asked for, the cluster is too slow.
const THROUGHPUT_MIN: f64 = 0.9;
const SLOWEST_MAX_SECONDS: f64 = 0.5;
const DEVIATION_MAX_SECONDS: f64 = 0.1;

/// etcdctl's.
#[derive(Clone, Copy)]
struct Load {
    writes_per_second: u32,
    clients: usize,
}

impl Load {
    fn parse(text: &str) -> Option<Self> {
        let (writes_per_second, clients) = match text {
            "s" | "small" => (150, 50),
            "m" | "medium" => (1000, 200),
            "l" | "large" => (8000, 500),
            "xl" | "xLarge" => (15000, 1000),
            _ => return None,
        };
        Some(Self {
            writes_per_second,
            clients,
        })
    }
}

pub(super) async fn run(session: &Session, command: &CheckCommand) -> Result<Done, Failure> {
    let CheckCommand::Perf {
        load,
        prefix,
        auto_compact,
        auto_defrag,
        ..
    } = command;
    let load = Load::parse(load)
        .ok_or_else(|| Failure::bad_feature(format!("unknown load option {load}")))?;
    let prefix = Bytes::copy_from_slice(prefix.as_bytes());
    must_be_empty(session, &prefix).await?;
    let measured = measure(session, load, &prefix).await;
    let revision = clean(session, &prefix).await?;
    if *auto_compact {
        compact(session, revision).await?;
    }
    if *auto_defrag {
        defragment(session).await?;
    }
    let (verdict, has_passed) = measured.verdict(load);
    Ok(Done {
        stdout: verdict.into_bytes(),
        failure: (!has_passed).then(Failure::silent),
        ..Done::default()
    })
}

async fn must_be_empty(session: &Session, prefix: &Bytes) -> Result<(), Failure> {
    let request = RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        ..RangeRequest::default()
    };
    if session.client.range(request).await?.kvs.is_empty() {
        return Ok(());
    }
    let (quoted, plain) = (go::quote(prefix), String::from_utf8_lossy(prefix));
    Err(Failure::invalid_input(format!(
        "prefix {quoted} has keys. Delete with etcdctl del --prefix {plain} first"
    )))
}

/// What became of the writes.
#[derive(Default)]
struct Measured {
    took: Duration,
    seconds: Vec<f64>,
    errors: BTreeMap<String, usize>,
}

/// The load, evenly spread over time: write n is due n steps after the start, and waits if every
/// client is busy.
async fn measure(session: &Session, load: Load, prefix: &Bytes) -> Measured {
    let start = Instant::now();
    let end = start + Duration::from_secs(SECONDS.into());
    let step = Duration::from_secs(1) / load.writes_per_second;
    let next = AtomicU32::new(0);
    let writing = join_all((0..load.clients).map(|_| async {
        // Connections of its own, as etcdctl has them.
        let client = session.client_of_all(&session.global.endpoints);
        let mut mine = Measured::default();
        loop {
            let due = start + step * next.fetch_add(1, Ordering::Relaxed);
            if due >= end {
                return mine;
            }
            tokio::time::sleep_until(due).await;
            if Instant::now() >= end {
                return mine;
            }
            write_one(session, &client, prefix, &mut mine).await;
        }
    }));
    let (all, ()) = tokio::join!(writing, show_progress(start));
    let mut measured = Measured {
        took: start.elapsed(),
        ..Measured::default()
    };
    for of_client in all {
        measured.seconds.extend(of_client.seconds);
        for (text, count) in of_client.errors {
            *measured.errors.entry(text).or_default() += count;
        }
    }
    measured
}

async fn write_one(session: &Session, client: &Client, prefix: &Bytes, measured: &mut Measured) {
    let mut key = prefix.to_vec();
    key.extend_from_slice(&session.env.randomness.next_u64().to_be_bytes());
    key.resize(prefix.len() + KEY_BYTES, 0);
    let request = PutRequest {
        key: key.into(),
        value: vec![0; VALUE_BYTES].into(),
        ..PutRequest::default()
    };
    let sent = Instant::now();
    match client.put(request).await {
        Ok(_) => measured.seconds.push(sent.elapsed().as_secs_f64()),
        Err(error) => *measured.errors.entry(error.to_string()).or_default() += 1,
    }
}

/// A line that a terminal shows over and over, a second after the other.
async fn show_progress(start: Instant) {
    if !std::io::stdout().is_terminal() {
        return;
    }
    for second in 0..=SECONDS {
        tokio::time::sleep_until(start + Duration::from_secs(second.into())).await;
        let line = format!("\r{}", bar(second));
        write_out(line.as_bytes()).unwrap_or_default();
    }
    write_out(b"\n").unwrap_or_default();
}

/// `" 15 / 60 Boooooooooooooooom            !  25.00% 45s"`: etcdctl's.
fn bar(second: u32) -> String {
    let width = usize::try_from(SECONDS).unwrap_or_default();
    let done = usize::try_from(second).unwrap_or_default();
    let filled = if done < width {
        format!("{}m{}", "o".repeat(done), "_".repeat(width - done - 1))
    } else {
        "o".repeat(width)
    };
    let percent = f64::from(second) * 100.0 / f64::from(SECONDS);
    let left = SECONDS - second;
    format!(" {second:2} / {SECONDS} B{filled}! {percent:6.2}% {left:2}s")
}

async fn clean(session: &Session, prefix: &Bytes) -> Result<Revision, Failure> {
    let request = DeleteRangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        ..DeleteRangeRequest::default()
    };
    let client = session.patient_client(&session.global.endpoints, CLEANING_MAX);
    let response = client.delete_range(request).await?;
    Ok(response.header.map_or(0, |header| header.revision))
}

async fn compact(session: &Session, revision: Revision) -> Result<(), Failure> {
    write_out(format!("Compacting with revision {revision}\n").as_bytes())?;
    let request = CompactionRequest {
        revision,
        physical: true,
    };
    let client = session.patient_client(&session.global.endpoints, CLEANING_MAX);
    client.compact(request).await?;
    write_out(format!("Compacted with revision {revision}\n").as_bytes())
}

async fn defragment(session: &Session) -> Result<(), Failure> {
    for endpoint in &session.global.endpoints {
        let quoted = go::quote(endpoint.as_bytes());
        write_out(format!("Defragmenting {quoted}\n").as_bytes())?;
        let client = session.patient_client(std::slice::from_ref(endpoint), CLEANING_MAX);
        client.defragment(DefragmentRequest {}).await?;
        write_out(format!("Defragmented {quoted}\n").as_bytes())?;
    }
    Ok(())
}

impl Measured {
    /// etcdctl's lines, and whether all is well.
    #[allow(clippy::cast_precision_loss, reason = "counts of a minute's writes")]
    fn verdict(&self, load: Load) -> (String, bool) {
        let mut text = String::new();
        let mut has_passed = self.errors.is_empty();
        if !has_passed {
            text.push_str("FAIL: too many errors\n");
        }
        for (error, count) in &self.errors {
            text.push_str(&format!("FAIL: ERROR({error}) -> {count}\n"));
        }
        let count = self.seconds.len().max(1) as f64;
        let per_second = self.seconds.len() as f64 / self.took.as_secs_f64();
        let slowest = self.seconds.iter().copied().fold(0.0, f64::max);
        let mean = self.seconds.iter().sum::<f64>() / count;
        let squares = self.seconds.iter().map(|second| (second - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        let whole = per_second.floor() + 1.0;
        let mut judge = |is_good: bool, good: String, bad: String| {
            text.push_str(if is_good { &good } else { &bad });
            has_passed &= is_good;
        };
        judge(
            per_second / f64::from(load.writes_per_second) > THROUGHPUT_MIN,
            format!("PASS: Throughput is {whole:.0} writes/s\n"),
            format!("FAIL: Throughput too low: {whole:.0} writes/s\n"),
        );
        judge(
            slowest <= SLOWEST_MAX_SECONDS,
            format!("PASS: Slowest request took {slowest:.6}s\n"),
            format!("Slowest request took too long: {slowest:.6}s\n"),
        );
        judge(
            deviation <= DEVIATION_MAX_SECONDS,
            format!("PASS: Stddev is {deviation:.6}s\n"),
            format!("Stddev too high: {deviation:.6}s\n"),
        );
        text.push_str(if has_passed { "PASS\n" } else { "FAIL\n" });
        (text, has_passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_etcdctls() {
        let load = Load::parse("small").unwrap();
        let good = Measured {
            took: Duration::from_secs(60),
            seconds: vec![0.002; 9000],
            errors: BTreeMap::new(),
        };
        assert_eq!(
            good.verdict(load),
            (
                "PASS: Throughput is 151 writes/s\nPASS: Slowest request took 0.002000s\n\
                 PASS: Stddev is 0.000000s\nPASS\n"
                    .to_owned(),
                true
            )
        );
        let bad = Measured {
            took: Duration::from_secs(60),
            seconds: [vec![0.0; 3000], vec![1.0; 3000]].concat(),
            errors: BTreeMap::from([("context deadline exceeded".to_owned(), 3)]),
        };
        assert_eq!(
            bad.verdict(load),
            (
                "FAIL: too many errors\nFAIL: ERROR(context deadline exceeded) -> 3\n\
                 FAIL: Throughput too low: 101 writes/s\n\
                 Slowest request took too long: 1.000000s\nStddev too high: 0.500000s\nFAIL\n"
                    .to_owned(),
                false
            )
        );
        assert!(Load::parse("tiny").is_none());
    }

    #[test]
    fn the_bar_is_as_long_at_its_end_as_at_its_start() {
        assert!(bar(0).starts_with("  0 / 60 Bm___"));
        assert!(bar(30).contains("oom__") && bar(30).ends_with("!  50.00% 30s"));
        assert_eq!(bar(0).len(), bar(SECONDS).len());
    }
}
