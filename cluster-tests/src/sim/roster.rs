//! What driver and laboratory share: who is there, and what the laboratory wants done.
//!
//! The laboratory runs on a host of its own and may not touch another one: it orders, and the driver
//! does it between two ticks, and says so.

use super::disk::{Damage, Part};
use crate::cluster::subject::Turn;
use crate::schedule::effect::Skew;
use crate::schedule::fault::Trouble;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What is to be done to the world.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Turn(Turn),
    /// Room for a member of this number.
    Enlist(usize),
    /// The founding members, or those a member that joins will find.
    Introduce(usize, Vec<usize>),
    Start(usize),
    Kill(usize),
    Retire(usize),
    /// As an operator would: SIGTERM.
    Stop(usize),
    Disks(BTreeMap<usize, Trouble>),
    Clocks(BTreeMap<usize, Skew>),
    Damage(usize, Part, Damage),
}

/// An order, and who waits for it. The answer is in words, where there is something to say.
pub(super) struct Ordered {
    pub(super) order: Order,
    pub(super) done: oneshot::Sender<Result<String>>,
}

/// A handle; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Roster(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) orders: Vec<Ordered>,
    /// Every number that was ever given.
    pub(super) enlisted: usize,
    pub(super) retired: BTreeSet<usize>,
    /// Processes that live, paused ones too.
    pub(super) running: BTreeSet<usize>,
    /// Why a process is no more that nobody killed.
    pub(super) ended: BTreeMap<usize, String>,
}

impl Roster {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders, and answers when it is done.
    pub(super) fn order(&self, order: Order) -> oneshot::Receiver<Result<String>> {
        let (done, waiting) = oneshot::channel();
        self.lock().orders.push(Ordered { order, done });
        waiting
    }

    pub(super) fn take_orders(&self) -> Vec<Ordered> {
        std::mem::take(&mut self.lock().orders)
    }
}
