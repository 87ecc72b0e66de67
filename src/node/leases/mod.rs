//! Leases at work: who keeps their time, who renews them, who ends them.
//!
//! Which leases there are is in the replicated state. When they end, only the leader knows:
//!
//! ```text
//! doors ──queue──> calls ──one message──> the leader's desk   (this member, or by way of peers)
//!                                           │ renews, tells what is left
//!                              clock ───────┘ revokes what has ended, notes what is left
//!                                │
//!                                └──commands with the leader's term──> propose
//! ```
//!
//! **Never shorter than promised.** A renewal is recorded, then a quorum confirms that this member
//! still leads, in a round that began after the record; only then is it acknowledged. A later leader
//! is therefore elected after that, and gives every lease its whole time from *its* beginning. Where
//! it starts from a checkpoint instead, the renewal has taken that back through the log first.
//!
//! **A leader of the past ends nothing.** Whoever was paused or cut off and wakes up finds leases
//! over that the present leader has renewed. Its revokes carry its term and are refused in any other
//! (`mvcc::write_lease`), and what it would acknowledge no quorum confirms.
//!
//! **A mass expiry stalls nobody.** Revokes are ordinary commands in the ordinary queue, at most
//! [`clock::REVOKES_MAX`] of them at a time.
//!
//! | file | what |
//! |---|---|
//! | [`desk`] | what the leader knows of its leases' time; shared by the two below |
//! | [`clock`] | takes and leaves office; ends leases; checkpoints |
//! | [`calls`] | questions to the leader, in batches, from here and from other members |
//! | [`doors`] | what [`super::Node`] offers |

mod calls;
mod clock;
mod desk;
mod doors;

pub use doors::TimeToLive;

pub(super) use clock::{Keepers, start};
pub(super) use doors::Leases;
