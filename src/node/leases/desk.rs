//! The leader's desk: the leases' clock, while this member leads.

use crate::lease::{Ended, LeaseClock, Left, Renewal};
use crate::mvcc::{LeaseChange, Store};
use crate::node::NodeMeters;
use crate::types::{Lease, LeaseId, LeaseMark};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What somebody wants to know of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Renew(LeaseId),
    /// How much is left.
    Look(LeaseId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is no such lease.
    Gone,
    /// Its time is over and it is being revoked: ask again.
    Ending,
    Alive(Left),
}

pub(super) struct Desk {
    office: Mutex<Option<Office>>,
    /// Moments of the clock are durations since then.
    origin: Instant,
    /// There is a change for the clock's task to look at.
    changed: Notify,
    meters: Arc<NodeMeters>,
}

/// Held for one term.
struct Office {
    term: u64,
    clock: LeaseClock,
    /// What it listens to.
    store: Arc<Store>,
}

impl Drop for Office {
    fn drop(&mut self) {
        self.store.lease_feed().stop_listening();
    }
}

/// Nobody is in office here, or not in the term that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotInOffice;

/// Questions as they were received: the term in which, and what is known so far.
pub(super) struct Received {
    pub(super) term: u64,
    /// One a question; `None` for one that only looks.
    pub(super) renewals: Vec<Option<Renewal>>,
}

/// What is to be done now.
pub(super) struct Due {
    pub(super) ended: Vec<Ended>,
    pub(super) marks: Vec<LeaseMark>,
    /// When there will be something again.
    pub(super) next: Option<Instant>,
}

impl Desk {
    pub(super) fn new(meters: Arc<NodeMeters>) -> Self {
        Self {
            office: Mutex::new(None),
            origin: Instant::now(),
            changed: Notify::new(),
            meters,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Office>> {
        // The clock is whole at every step.
        self.office.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Takes the office of `term`. `leases` were read from `store` after its feed was listened to.
    pub(super) fn open(&self, term: u64, store: Arc<Store>, leases: &[Lease], grace: Duration) {
        let mut clock = LeaseClock::default();
        let now = self.now();
        for lease in leases {
            clock.inherited(lease, now, grace);
        }
        *self.lock() = Some(Office { term, clock, store });
    }

    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    /// Runs `work` in the office of `term` (or of whichever term, if none is given), after what
    /// became of leases has been entered.
    fn in_office<T>(
        &self,
        term: Option<u64>,
        work: impl FnOnce(&mut Office, Duration) -> T,
    ) -> Result<T, NotInOffice> {
        let mut office = self.lock();
        let now = self.now();
        let Some(open) = office.as_mut() else {
            return Err(NotInOffice);
        };
        if term.is_some_and(|term| term != open.term) {
            return Err(NotInOffice);
        }
        let Some(changes) = open.store.lease_feed().take() else {
            tracing::warn!("too many changes of leases at once: their clock begins anew");
            *office = None;
            self.changed.notify_one();
            return Err(NotInOffice);
        };
        for change in changes {
            match change {
                LeaseChange::Granted(lease) => open.clock.granted(&lease, now),
                LeaseChange::Gone(id) => open.clock.gone(id),
            }
        }
        Ok(work(open, now))
    }

    /// Records renewals. They count once a quorum has confirmed the term, and the marks that they
    /// found were taken back.
    pub(super) fn receive(&self, questions: &[Question]) -> Result<Received, NotInOffice> {
        self.in_office(None, |office, now| Received {
            term: office.term,
            renewals: questions
                .iter()
                .map(|question| match question {
                    Question::Renew(id) => Some(office.clock.renew(*id, now)),
                    Question::Look(_) => None,
                })
                .collect(),
        })
    }

    /// The answers, once they may be given.
    pub(super) fn answers(
        &self,
        questions: &[Question],
        received: &Received,
    ) -> Result<Vec<Answer>, NotInOffice> {
        let answers = self.in_office(Some(received.term), |office, now| {
            let answer =
                |(question, renewal): (&Question, &Option<Renewal>)| match (question, renewal) {
                    (_, Some(Renewal::Unknown)) => Answer::Gone,
                    (_, Some(Renewal::Ending)) => Answer::Ending,
                    (_, Some(Renewal::Renewed { ttl, mark })) => {
                        if let Some(mark) = mark {
                            office.clock.unmarked(mark);
                        }
                        let (seconds, ttl) = (*ttl, *ttl);
                        Answer::Alive(Left { seconds, ttl })
                    }
                    (Question::Look(id) | Question::Renew(id), None) => {
                        let left = office.clock.left(*id, now);
                        left.map_or(Answer::Gone, Answer::Alive)
                    }
                };
            questions
                .iter()
                .zip(&received.renewals)
                .map(answer)
                .collect::<Vec<_>>()
        })?;
        let renewed = |renewal: &&Option<Renewal>| matches!(renewal, Some(Renewal::Renewed { .. }));
        let renewed = received.renewals.iter().filter(renewed).count();
        self.meters.leases_renewed.add(renewed as u64);
        Ok(answers)
    }

    /// What is to be done in `term`: at most so many revokes and marks.
    pub(super) fn due(
        &self,
        term: u64,
        revokes_max: usize,
        marks_max: usize,
    ) -> Result<Due, NotInOffice> {
        self.in_office(Some(term), |office, now| Due {
            ended: office.clock.take_ended(now, revokes_max),
            marks: office.clock.take_marks(now, marks_max),
            next: office.clock.next().map(|at| self.origin + at),
        })
    }

    pub(super) fn revoked(&self) {
        self.meters.leases_expired.increment();
    }

    /// A revoke failed: the lease is looked at again after `pause`.
    pub(super) fn not_revoked(&self, term: u64, ended: &Ended, pause: Duration) {
        // Out of office there is nothing to try again.
        self.in_office(Some(term), |office, now| {
            office.clock.not_revoked(ended, now + pause, now);
        })
        .ok();
    }

    /// When leases end, as far as this member knows.
    pub(super) fn ends(&self, leases: &[Lease]) -> HashMap<LeaseId, Duration> {
        let ends = self.in_office(None, |office, _| {
            let end = |lease: &Lease| Some((lease.id, office.clock.end(lease.id)?));
            leases.iter().filter_map(end).collect()
        });
        ends.unwrap_or_default()
    }

    /// Wakes the clock's task. Called on the applying thread too.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Returns when the clock's task should look again.
    pub(super) async fn woken(&self) {
        self.changed.notified().await;
    }
}
