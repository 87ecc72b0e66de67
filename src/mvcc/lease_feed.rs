//! Tells whoever keeps the leases' time what became of them.
//!
//! One listens, and only while this member leads; otherwise nothing is collected. What is collected
//! is bounded: a listener that falls behind is told so, and reads the leases anew.

use super::write_lease::PendingLeases;
use crate::types::{Lease, LeaseId};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Changes that may wait for the listener.
const CHANGES_MAX: usize = 1 << 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// Granted; if there was one of this id, it is another one now.
    Granted(Lease),
    Gone(LeaseId),
}

#[derive(Default)]
pub struct LeaseFeed {
    listener: Mutex<Option<Listener>>,
}

struct Listener {
    changes: Vec<LeaseChange>,
    overflown: bool,
    wake: Box<dyn Fn() + Send>,
}

impl LeaseFeed {
    /// From here on changes are collected. `wake` is called on the applying thread when there is
    /// something to take; it must only tell somebody.
    pub fn listen(&self, wake: Box<dyn Fn() + Send>) {
        *self.lock() = Some(Listener {
            changes: Vec::new(),
            overflown: false,
            wake,
        });
    }

    pub fn stop_listening(&self) {
        *self.lock() = None;
    }

    /// What was collected since the last call, in order; `None` if something is missing.
    pub fn take(&self) -> Option<Vec<LeaseChange>> {
        let mut listener = self.lock();
        let listener = listener.as_mut()?;
        (!listener.overflown).then(|| std::mem::take(&mut listener.changes))
    }

    /// The batch has been written and can be read.
    pub(super) fn publish(&self, leases: &PendingLeases) {
        if leases.rows().is_empty() {
            return;
        }
        let mut listener = self.lock();
        let Some(listener) = listener.as_mut() else {
            return;
        };
        let was_empty = listener.changes.is_empty();
        for (id, pending) in leases.rows() {
            match pending.now {
                Some(lease) if pending.is_new => listener.changes.push(LeaseChange::Granted(lease)),
                // A mark is the listener's own word.
                Some(_) => {}
                None => listener.changes.push(LeaseChange::Gone(*id)),
            }
        }
        if listener.changes.len() > CHANGES_MAX {
            listener.changes = Vec::new();
            listener.overflown = true;
        }
        if was_empty {
            (listener.wake)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Listener>> {
        // What it guards is whole at every step.
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
