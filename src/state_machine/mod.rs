//! Floor 3: what a committed command means.
//!
//! No async, no clock, no randomness, no network: the same log gives the same logical state on
//! every member. An error inside apply is a [`Reply`] or it stops the process; there is no third
//! kind (invariant 5).

pub mod command;
pub mod outcome;

pub use command::Command;
pub use outcome::{Outcome, Refusal, Reply};
