//! Since when each peer has answered this leader without a break.
//!
//! What etcd reads off its long-lived connections: whether a member is there, and for how long. Only
//! a leader calls the others regularly, so only a leader knows.

use crate::types::NodeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone)]
pub struct Contacts {
    /// A longer silence is a break: several heartbeats of a loaded machine.
    gap: Duration,
    peers: Arc<Mutex<HashMap<NodeId, Contact>>>,
}

#[derive(Clone, Copy)]
struct Contact {
    since: Instant,
    last: Instant,
}

impl Contacts {
    pub(super) fn new(election_timeout: Duration) -> Self {
        Self {
            gap: (election_timeout * 2).max(Duration::from_secs(1)),
            peers: Arc::default(),
        }
    }

    /// A peer answered.
    pub(super) fn heard(&self, node: NodeId) {
        self.heard_at(node, Instant::now());
    }

    fn heard_at(&self, node: NodeId, now: Instant) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let contact = peers.entry(node).or_insert(Contact {
            since: now,
            last: now,
        });
        if now.saturating_duration_since(contact.last) > self.gap {
            contact.since = now;
        }
        contact.last = now;
    }

    /// How long a peer has been answering; `None` if it does not.
    pub fn connected_for(&self, node: NodeId) -> Option<Duration> {
        self.connected_at(node, Instant::now())
    }

    fn connected_at(&self, node: NodeId, now: Instant) -> Option<Duration> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let contact = peers.get(&node)?;
        let answers = now.saturating_duration_since(contact.last) <= self.gap;
        answers.then(|| contact.last.saturating_duration_since(contact.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_ends_a_contact_and_the_next_word_begins_a_new_one() {
        let contacts = Contacts::new(Duration::from_millis(300));
        let begun = Instant::now();
        let at = |tenths: u32| begun + Duration::from_millis(100) * tenths;
        assert_eq!(contacts.connected_at(7, at(0)), None);
        (0..60).for_each(|tenths| contacts.heard_at(7, at(tenths)));
        let all = Some(Duration::from_millis(5900));
        assert_eq!(contacts.connected_at(7, at(60)), all);
        assert_eq!(contacts.connected_at(7, at(69)), all);
        assert_eq!(contacts.connected_at(7, at(70)), None);
        contacts.heard_at(7, at(70));
        assert_eq!(contacts.connected_at(7, at(70)), Some(Duration::ZERO));
    }
}
