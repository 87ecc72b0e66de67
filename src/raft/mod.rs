//! Floor 4: consensus. openraft lives here and nowhere else, pinned to one exact release.
//!
//! ```text
//!   node/ ──> consensus ──> openraft ──> log_store ──> log/          (one fsync per group)
//!                │                  ├──> network ────> links         (a stream per peer)
//!                │                  └──> applier ────> state_machine (a thread of its own)
//!   peers ──> peer_service (identity checked, values checked) ──┘
//! ```
//!
//! What openraft leaves to us, and where it is closed:
//!
//! | gap | closed in |
//! |---|---|
//! | no byte limits on messages and appends | [`log_store`] (`READ_BYTES_MAX`), `node/propose` (batch bytes) |
//! | a write on a leader without quorum never returns | `node/propose`: deadlines |
//! | a slow follower pins the leader's log | [`network`] (stall watchdog, kick), `node/housekeeping` |
//! | a slow state machine blocks heartbeats and votes | [`incoming`] (`APPLY_LAG_MAX`), [`applier`] (own thread) |
//! | a node id reused with an empty disk votes twice | [`identity`]: incarnations, pinned by peers, claimed in the log |
//! | a follower whose log went back stops the leader, not itself | [`receipts`]: the follower stops for good |
//! | `pre_vote` is granted by default | [`network`], [`peer_service`]: the real RPC |
//! | an answer to entries counts for a later notice, too fresh for a read index | [`quorum_round`]: a round of our own |
//! | who needs a snapshot gets the last one, however old | [`renewal`]: a newer one is made first |
//! | a leader without quorum still calls itself leader | [`consensus::Consensus::status`] |
//! | a fatal error leaves a live process behind | [`consensus::Consensus::stopped`]: the process ends |

mod address_book;
mod applier;
mod consensus;
mod contacts;
mod factory;
mod formats;
mod halt;
mod identity;
mod incoming;
mod inspect;
mod leader_watch;
mod links;
pub mod log;
mod log_store;
mod membership;
mod network;
mod pace;
mod peer_forward;
mod peer_hashes;
mod peer_members;
mod peer_meters;
mod peer_service;
mod prober;
mod quorum_round;
mod receipts;
mod renewal;
mod sends;
mod settings;
mod snapshot;
mod snapshot_dir;
mod snapshot_receive;
mod snapshot_stream;
mod state_copy;
mod state_dir;
mod status;
mod supersede;
mod transfer_meter;
mod type_config;
mod valve;
mod wire;

#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod suite_tests;
#[cfg(test)]
mod transfer_tests;

pub use address_book::AddressBook;
pub use applier::{Applier, SharedStore};
pub use consensus::{CarriedOut, Consensus, Parts, ProposeFailure, Proposed, ReadFailure, Timers};
pub use contacts::Contacts;
pub use formats::check_formats;
pub use halt::Halt;
pub use identity::{Census, Pins, REMOVED, SelfIdentity, tells_removal};
pub use leader_watch::{LeaderHint, LeaderWatch};
pub use links::{Client, LinkTimes, Links, PeerLinks, stranger, was_never_sent};
pub use membership::{
    ChangeFailure, InForce, Member, MembershipChange, founding_entry, members_of,
};
pub use pace::Pace;
pub use peer_forward::{FORWARDS_MAX, ForwardCall, Forwarded};
pub use peer_hashes::HashUnknown;
pub use peer_members::Desk;
pub use peer_meters::{PeerMeter, PeerMeters};
pub use peer_service::{LeaseCall, PeerService};
pub use prober::probe;
pub use sends::Sends;
pub use snapshot::Snapshots;
pub use snapshot_receive::Receiver;
pub use state_copy::StateCopy;
pub use state_dir::StateDir;
pub use status::{Role, Status};
pub use transfer_meter::TransferMeter;
pub use type_config::{MemberNode, Membership};
