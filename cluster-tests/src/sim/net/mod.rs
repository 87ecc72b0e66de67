//! The simulated network: connections as TCP makes them, on links that have a weather.
//!
//! turmoil runs the hosts; its TCP is not used, because it lies where it matters most: it never
//! retransmits, a connection is made over a link that is cut one way, and a host that cannot be reached
//! refuses at once (`docs/architecture.md`). Here a piece that does not arrive is sent again later and
//! later, as Linux does, so that a link that heals goes on by itself after a while, or not before a
//! keep-alive gives it up; a connection needs both ways, and waits without an answer as long as one is
//! cut; what a dead process leaves is a reset, what a dead machine leaves is silence, until it is back and
//! knows nothing.
//!
//! | file | idea |
//! |---|---|
//! | [`fabric`] | hosts, listeners, connections; what a tick delivers; what the weather does |
//! | [`handshake`] | how a connection is made |
//! | [`pipe`] | one direction of a connection |
//! | [`stream`] | an end of it, as a stream of bytes; listening and connecting |
//!
//! Time is the driver's: a piece arrives in the first tick after it is due. Nothing here depends on the
//! order of a hash map, and every choice comes from the seed.

mod fabric;
mod handshake;
mod pipe;
mod stream;

pub use fabric::{Fabric, Parting};
pub use stream::HostNetwork;
