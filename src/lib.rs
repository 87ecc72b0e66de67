//! Quorate: a replicated key-value store that speaks the etcd v3 protocol.
//!
//! The modules are the floors of the house, lowest first; imports go down only, and `tidy`
//! (a test) keeps it so. Read them in this order and you have walked the path of a put.
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | 0 | [`types`] [`proto`] [`config`] [`telemetry`] [`mod@env`] [`canary`] | words, wire messages, flags, logs, the outside world as values, planted bugs |
//! | 1 | [`storage`] | RocksDB: bytes, atomically |
//! | 2 | [`mvcc`] [`lease`] | revisions, views, history, compaction; when leases end |
//! | 3 | [`state_machine`] [`watch`] [`backup`] | what a committed command means; who hears of it; the state as one file |
//! | 4 | [`raft`] | openraft, the log, the network between members |
//! | 5 | [`node`] | tasks, time, leadership, limits |
//! | 6 | [`api`] [`client`] | the gRPC doors; the client |
//! | 7 | [`mod@http`] | health, metrics and the JSON gateway on the client port |
//! | 8 | [`server`] [`ctl`] | assembly; the command line |
//! | 9 | [`program`] | which of them this process is |
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod canary;
pub mod config;
pub mod env;
pub mod proto;
pub mod telemetry;
pub mod types;

pub mod storage;

pub mod lease;
pub mod mvcc;

pub mod backup;
pub mod state_machine;
pub mod watch;

pub mod raft;

pub mod node;

pub mod api;
pub mod client;

pub mod http;

pub mod ctl;
pub mod server;

pub mod program;

#[cfg(test)]
mod tidy;
