//! `quorate-sim-canaries`: the same simulator, of members that have the bug that `QUORATE_CANARY` names.

#[path = "main.rs"]
mod simulator;

use anyhow::Result;
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    match quorate::canary::plant_from_environment() {
        Ok(()) => simulator::main(),
        Err(error) => Ok(quorate::program::fail(&error.to_string(), 2)),
    }
}
