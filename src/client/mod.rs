//! Floor 6: a small client of the etcd API.
//!
//! [`Client`] goes round its endpoints and knows what may be said twice: a read may, on
//! `Unavailable`; a write may only if it was never sent. Whatever a write was answered, or if it was
//! not, is the caller's to know. [`connection`] opens channels through the environment's network.

mod connection;
mod retry;

pub use retry::{Client, ClientError};
