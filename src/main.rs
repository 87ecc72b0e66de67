//! The binary: what it does is [`quorate::program`]'s.

use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// RocksDB's C++ too: it takes malloc's place. A tenth of the CPU of a put (docs/performance.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    quorate::program::run()
}
