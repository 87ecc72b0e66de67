//! Quorate from outside: the state machine by its commands, members in this process by their doors,
//! the program by its command line. One program, because what is generic in a member is compiled
//! again for each.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may"
)]
#![allow(unreachable_pub, reason = "nothing here is reachable from anywhere")]

mod common;
mod support;

mod state_machine;
mod state_model;
mod state_store;

mod backup;
mod corruption;
mod http;
mod lease;
mod lock;
mod lost_log;
mod maintenance;
mod members;
mod membership;
mod metrics;
mod overload;
mod snapshots;
mod start;
mod watch;
mod watch_members;

mod binary;
