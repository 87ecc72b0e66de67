//! Floor 0: what a member says of itself.
//!
//! Log lines are JSON objects on stderr in etcd's shape (`level`, `ts`, `caller`, `msg`, then the
//! fields), because people and tools wait for etcd's texts in them. [`json`] makes a line out of an
//! event; [`writer`] takes it to stderr on a thread of its own through a bounded queue. If nobody
//! reads the pipe, lines are dropped and counted: a full pipe must never stop a request (etcd
//! #22214 hung linearizable reads that way).
//!
//! [`metrics`] holds what counts and measures; each floor keeps its own counters, and the page for
//! Prometheus is made when it is asked for.

mod json;
pub mod metrics;
mod writer;

pub use writer::Guard;

use crate::env::{Clock, Threads};
use std::io;
use std::sync::Arc;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

/// Starts logging for the whole process. Keep the guard until the end: dropping it writes what is
/// still queued, for a bounded time. `level` is one of etcd's.
///
/// # Errors
/// If there is no thread to be had, or somebody has set up tracing before.
pub fn start(level: &str, clock: Arc<dyn Clock>, threads: &dyn Threads) -> io::Result<Guard> {
    let (queue, guard) = writer::start(io::stderr(), threads)?;
    let subscriber = tracing_subscriber::registry()
        .with(json::JsonLines::new(clock, queue))
        .with(filter(level));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok(guard)
}

/// Our own code at the level asked for; libraries only from warnings up, unless it is `debug`.
/// `panic` and `fatal` are zap's: nothing below an error passes.
fn filter(level: &str) -> Targets {
    let own = match level {
        "debug" => Level::DEBUG,
        "warn" => Level::WARN,
        "error" | "panic" | "fatal" => Level::ERROR,
        _ => Level::INFO,
    };
    let libraries = if own == Level::DEBUG {
        Level::INFO
    } else {
        own.min(Level::WARN)
    };
    Targets::new()
        .with_default(LevelFilter::from_level(libraries))
        .with_target("quorate", LevelFilter::from_level(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quieter_than_we_are() {
        let info = filter("info");
        assert!(info.would_enable("quorate::raft", &Level::INFO));
        assert!(!info.would_enable("quorate::raft", &Level::DEBUG));
        assert!(info.would_enable("openraft::core", &Level::WARN));
        assert!(!info.would_enable("openraft::core", &Level::INFO));
        let debug = filter("debug");
        assert!(debug.would_enable("quorate::raft", &Level::DEBUG));
        assert!(!debug.would_enable("h2::codec", &Level::DEBUG));
        let error = filter("fatal");
        assert!(!error.would_enable("quorate", &Level::WARN));
        assert!(!error.would_enable("openraft", &Level::WARN));
    }
}
