//! Generates the wire types. Every `bytes` field is `bytes::Bytes`, so that a value read off a
//! socket travels to the log without being copied.
//!
//! The etcd services get no generated server: `src/api/` dispatches them by hand, because a
//! generated one costs a request four boxes and two 8 KiB buffers (`src/api/grpc.rs`).

use std::io::Result;

/// What clients speak.
const CLIENT_PROTOS: &[&str] = &[
    "proto/mvccpb/kv.proto",
    "proto/authpb/auth.proto",
    "proto/etcdserverpb/rpc.proto",
    "proto/v3lockpb/v3lock.proto",
    "proto/v3electionpb/v3election.proto",
    "proto/grpc/health/v1/health.proto",
];

/// What members speak among themselves.
const PEER_PROTOS: &[&str] = &["proto/peer.proto"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=proto");
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .compile_protos(CLIENT_PROTOS, &["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_protos(PEER_PROTOS, &["proto"])
}
