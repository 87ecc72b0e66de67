//! Floor 2: when leases end, as the one who leads sees it.
//!
//! Which leases there are is replicated, and `mvcc` has it (`mvcc::lease_rows`). When one ends is
//! not: renewals are far too many for the log. Only the leader keeps the time, in memory, in a
//! [`LeaseClock`]; a new leader starts a new one, in which every lease has its full time again, or
//! what was left of it at its last checkpoint. So a lease may live longer than was granted, and
//! never shorter.
//!
//! Pure data, as everything on this floor: no clock is read here, time comes in with every call.
//!
//! * [`clock`]: the queue of ends and of checkpoints.

pub mod clock;

pub use clock::{Ended, LeaseClock, Left, Renewal};
