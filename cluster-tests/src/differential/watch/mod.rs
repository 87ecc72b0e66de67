//! Watch streams, compared event by event.
//!
//! Two servers that behave alike still cut what they send into different messages, and mix the
//! watchers of a stream in any order. So a stream is taken apart ([`heard`]): for each watcher, that
//! it was created, the events of each revision, that it ended. While doing so the promises of
//! `etcd-semantics` are held against each server alone: revisions rise, a revision is one message
//! unless it was asked for in fragments, no header is older than its events.
//!
//! What to wait for before two watchers can be compared comes from a third one, which watches
//! everything on the reference from the first revision on ([`log`]): the last event that a watcher
//! must get is known, and both are heard out until then ([`pair`]). What comes too much is found at
//! the next comparison.

pub mod heard;
pub mod log;
pub mod pair;
pub mod stream;
