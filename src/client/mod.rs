//! Floor 6: a client of the etcd API.
//!
//! [`Client`] goes round its endpoints and knows what may be said twice: a read may, on
//! `Unavailable`; a write may only if it was never sent. Whatever a write was answered, or if it was
//! not, is the caller's to know. [`connection`] opens channels through the environment's network;
//! [`kv`], [`lease`], [`cluster`] and [`maintenance`] are the calls.
//!
//! [`Watch`] and [`KeepAlive`] are streams that move to the next member when theirs is lost. They
//! are driven by whoever awaits them: there is no task behind them. [`session`] makes locks and
//! elections of them, with nothing but keys, so they work with any etcd.

mod cluster;
mod connection;
mod kv;
mod lease;
mod maintenance;
mod retry;
mod session;
mod watch;

pub use lease::KeepAlive;
pub use retry::{Client, ClientError};
pub use session::{Place, Session, by_age, prefix_end};
pub use watch::Watch;

#[cfg(test)]
mod streams_tests;
