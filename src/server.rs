//! Assembly of a member and its doors.

use crate::config::Config;
use crate::env::Env;

/// Runs a member until it is told to stop.
pub fn run(_config: Config, _env: Env) -> anyhow::Result<()> {
    anyhow::bail!("a member cannot be assembled yet")
}
