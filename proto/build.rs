//! Generates the wire types. Every `bytes` field is `bytes::Bytes`, so that a value read off a
//! socket travels to the log without being copied.
//!
//! The etcd services get no generated server: `src/api/` dispatches them by hand, because a
//! generated one costs a request four boxes and two 8 KiB buffers (`src/api/grpc.rs`). The JSON
//! gateway needs no types, only descriptions of them (`src/http/gateway/methods.rs`).

use std::env;
use std::io::Result;
use std::path::PathBuf;

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
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .file_descriptor_set_path(out.join("etcd_descriptors.bin"))
        .compile_protos(CLIENT_PROTOS, &["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_protos(PEER_PROTOS, &["proto"])
}
