//! `quorate-canaries`: the same binary with the bug that `QUORATE_CANARY` names planted in it.

use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match quorate::canary::plant_from_environment() {
        Ok(()) => quorate::program::run(),
        Err(error) => quorate::program::fail(&error.to_string(), 2),
    }
}
