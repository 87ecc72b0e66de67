//! The generated wire types. Messages of the etcd API and of the peer protocol (`proto/`).
#![allow(clippy::all, clippy::pedantic, unreachable_pub, missing_docs, reason = "generated code")]
