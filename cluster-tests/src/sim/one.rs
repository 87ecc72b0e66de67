//! One seed: a cluster, clients, a schedule; a recording of it all.

use super::world::{Setup, World};
use crate::cluster::subject::{Subject, serving};
use crate::dial;
use crate::history::recording::Recording;
use crate::run::conduct_on;
use crate::run::plan::Plan;
use crate::run::progress::Nobody;
use crate::run::site::Site;
use anyhow::{Context as _, Result, bail};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A cluster that does not come up in fair weather has failed.
const FOUNDING_PATIENCE: Duration = Duration::from_secs(20);
/// A run that takes so much longer than its schedule hangs.
const OVERTIME_MS: u64 = 120_000;

/// What a seed's run left.
#[derive(Debug)]
pub struct Outcome {
    pub recording: Recording,
    pub trace: u64,
    pub events: u64,
    /// Simulated microseconds.
    pub simulated_us: u64,
}

/// Runs the plan in this thread. One simulation a process: randomness, clocks and the network of the
/// process are its own from here on.
///
/// # Errors
/// The cluster does not come up, or the run does not end.
pub fn simulate(plan: &Plan, setup: Setup, tell_time: fn(u64)) -> Result<Outcome> {
    let mut world = World::new(setup, tell_time)?;
    dial::through(Arc::new(world.network()))?;
    let result: Arc<Mutex<Option<Result<Recording>>>> = Arc::default();
    let (place, plan_of_it) = (result.clone(), plan.clone());
    let mut members: Box<dyn Subject> = Box::new(world.members());
    world.set_laboratory(async move {
        let nodes = members.nodes();
        let recording = match serving(members.as_mut(), &nodes, FOUNDING_PATIENCE).await {
            Ok(()) => conduct_on(Site::of(members), &plan_of_it, &mut Nobody).await,
            Err(error) => Err(error.context("the cluster does not come up")),
        };
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(recording);
    });
    let limit_us = (plan.schedule.ends_ms + OVERTIME_MS) * 1000;
    while !world.tick()? {
        if world.now() > limit_us {
            bail!(
                "the run did not end: {} s were planned, it is at {} s",
                plan.schedule.ends_ms / 1000,
                world.now() / 1_000_000
            );
        }
    }
    let recording = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(Outcome {
        recording: recording.context("the laboratory left nothing")??,
        trace: world.trace().hash(),
        events: world.trace().events(),
        simulated_us: world.now(),
    })
}
