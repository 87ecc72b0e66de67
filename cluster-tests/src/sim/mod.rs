//! The same laboratory in one thread: members, network, clock and disk simulated, every run repeatable.
//!
//! | file | idea |
//! |---|---|
//! | [`net`] | connections as TCP makes them, on links with a weather |
//! | [`disk`] | a member's disk: what is durable, what can be wrong with it |
//! | [`host`] | one host on a runtime of its own, whose time can stand still |
//! | [`mod@env`] | what a member is given for the outside world |
//! | `seat` | a member's place: its disk, which stays, and its process, which comes and goes |
//! | [`world`] | the driver: makes time, does what is ordered |
//! | `roster` [`members`] | what laboratory and driver share; the cluster as a run sees it |
//! | [`trace`] | a hash of all that happened |
//! | [`swarm`] | what a seed means |
//! | [`hunt`] | the planted bugs: how many seeds each takes |
//! | [`one`] [`summary`] | one seed, and what it came to |
//! | [`telling`] | one seed in words |
//! | [`command`] [`asked`] | the command line; what a run is asked for beside its seed |
//! | [`process`] | a run in a process of its own: what an abort or a hang is, too |
//! | [`sweep`] [`ledger`] | many seeds; what all of them came to |
//! | [`shrink`] [`culprit`] | the smallest schedule that still fails in the same way |

pub mod asked;
pub mod command;
pub mod culprit;
pub mod disk;
pub mod env;
pub mod host;
pub mod hunt;
pub mod ledger;
pub mod members;
pub mod net;
pub mod one;
pub mod process;
mod roster;
mod seat;
pub mod shrink;
pub mod summary;
pub mod swarm;
pub mod sweep;
pub mod telling;
pub mod trace;
pub mod world;

use anyhow::{Result, bail};
use quorate::config::{Config, Start};

/// A member's configuration from etcd's flags.
///
/// # Errors
/// They are wrong.
pub fn config_of(words: &[String]) -> Result<Config> {
    let read = quorate::config::read(words.iter().cloned(), [])?;
    match read.start {
        Start::Serve(config) => Ok(*config),
        Start::Print(text) => bail!("{text}"),
    }
}
