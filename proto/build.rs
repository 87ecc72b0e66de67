//! What is made before the program is: the wire types, and the order of its functions.
//!
//! Every `bytes` field of a wire type is `bytes::Bytes`, so that a value read off a socket travels to
//! the log without being copied.
//!
//! The etcd services get no generated server: `src/api/` dispatches them by hand, because a
//! generated one costs a request four boxes and two 8 KiB buffers (`src/api/grpc.rs`). The JSON
//! gateway needs no types, only descriptions of them (`src/http/gateway/methods.rs`).

use std::io::Result;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

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

/// The functions that members run, the busiest first (`scripts/order`).
const ORDER: &str = "scripts/lib/order.txt";

fn main() -> Result<()> {
    generate_wire_types()?;
    order_functions();
    Ok(())
}

fn generate_wire_types() -> Result<()> {
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

/// Side by side in the program's text, so that a member at rest holds a third of it in memory and not
/// all, and a busy one finds more of it in the processor's caches.
fn order_functions() {
    println!("cargo:rerun-if-changed={ORDER}");
    let order = fs::read_to_string(ORDER).unwrap_or_default();
    // Another compiler spells the names otherwise, and may bring another linker.
    let is_of = |compiler: String| order.starts_with(&format!("# {compiler}"));
    if links_with_lld() && compiler().is_some_and(is_of) {
        // Of this directory, where cargo has rustc work.
        println!("cargo:rustc-link-arg-bin=quorate=-Wl,--symbol-ordering-file={ORDER}");
        println!("cargo:rustc-link-arg-bin=quorate=-Wl,--no-warn-symbol-ordering");
    }
}

/// The line that names it.
fn compiler() -> Option<String> {
    let rustc = env::var_os("RUSTC")?;
    let output = Command::new(rustc).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()
}

/// Whether the linker is the one that rustc brings along for this target: others do not know the option.
fn links_with_lld() -> bool {
    let target = env::var("TARGET").unwrap_or_default();
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let another = env::var_os("RUSTC_LINKER").is_some() || flags.contains("link");
    target == "x86_64-unknown-linux-gnu" && !another
}
