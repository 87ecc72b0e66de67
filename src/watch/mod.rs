//! Floor 3: who hears of it.
//!
//! Every change of state is an event, and a watcher hears all events of its keys from some revision
//! on: in order, each once, a revision never in two parts. The [`Hub`] sees to it without ever
//! making the writer wait for a listener.
//!
//! ```text
//!   apply ── publish ──> inbox ── distribute ──> groups ──> a stream's queue ──> its reader
//!                          │ full                               │ full
//!                          v                                    v
//!                 everybody is behind                  this watcher is behind
//!                          └────────────> catch_up <────────────┘
//!                               reads the stored events, in bounded steps
//! ```
//!
//! **Publishing** is what the apply thread does of it: if nobody watches, one atomic load; else it
//! leaves the batch in the inbox and wakes the doors' side. Matching, copying and queueing happen
//! there ([`Hub::poll_distribute`]), so that ten thousand listeners cost the writer nothing.
//!
//! **Matching.** Watchers with the same [`Interest`] form a group; an index finds the groups of a
//! key in logarithmic time. An event is copied once out of the log's memory, whatever the number of
//! groups, and a group's list of events is one shared value, so that a door may encode it once for
//! all ([`Events::encoded`]).
//!
//! **Two states.** A watcher is *synced*: its events come from memory; or *catching up* from `next`:
//! they come from the store. It is the latter when it starts in the past, when its stream's queue is
//! full because the client does not read, when the inbox was full, and after a snapshot was
//! installed, which changes the state without events. Each watcher's `next`, the first revision that
//! it was not told, only ever rises; that is why no event is told twice and none is lost.
//!
//! **Joining.** A watcher that has caught up, or nearly, becomes synced *first*, at the revision after
//! the last distributed one, and then the small rest before it is read, before its stream takes
//! anything from its queue. So it joins however fast the store is written.
//!
//! * [`hub`]: what everybody shares; the inbox. [`stream`]: one client's end of it.
//! * [`registry`]: watchers, groups and queues. [`queue`]: what waits for one client.
//! * [`interests`] [`intervals`]: which groups want a key.
//! * [`limits`]: how much may wait. [`event`]: what is told. [`catch_up`]: reading it from the store.

pub mod catch_up;
pub mod event;
pub mod hub;
mod interests;
mod intervals;
mod limits;
mod queue;
mod registry;
pub mod stream;

#[cfg(test)]
mod tests;

pub use event::{Event, Events};
pub use hub::{Counts, Hub};
pub use interests::Interest;
pub use limits::Limits;
pub use queue::Notice;
pub use stream::{Ask, Created, Next, Refused, Stream, WatchId};
