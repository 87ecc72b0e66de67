//! Faults whose moment or measure the laboratory's schedules cannot name, with real processes and real
//! disks; one story a file. Partitions, pauses and power cuts are the laboratory's ([`crate::run`]).
//!
//! | story | fault |
//! |---|---|
//! | [`kill`] | kill -9 of any member, of the leader, of all, under load |
//! | [`snapshot`] | a follower returns after the log that it lacks is gone |
//! | [`idle_watchers`] | watchers that ask for everything and do not read |
//! | [`leases`] | ten thousand end at once, and a leader sleeps through it |
//! | [`single`] | a member alone acknowledges only what is on disk |
//! | [`grow`] | members come, are lost, are replaced, and leave, the leader among them |
//! | [`kubernetes`] | kill -9 of the leader under what a Kubernetes control plane does |
//! | [`hostile`] | garbage, oversized and endless requests |
//!
//! The crash of the log itself, sync point by sync point, is the log's own suite.
//!
//! Everything random comes from the seed, which is printed; moments are chosen as counts of
//! acknowledged writes, so that a schedule means the same on a slow machine. [`arena`] is what the
//! stories share.

pub mod arena;
pub mod grow;
pub mod history;
pub mod hostile;
pub mod hostile_bytes;
pub mod idle_watchers;
pub mod judge;
pub mod kill;
pub mod kubernetes;
pub mod leases;
pub mod single;
pub mod snapshot;
pub mod workload;

use crate::cluster::carrier::Wiring;
use crate::cluster::namespace;
use crate::cluster::program::Program;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::time::Instant;

/// What a run of the suite is told.
#[derive(Clone, Debug)]
pub struct Context {
    pub program: Program,
    /// What faults cut.
    pub wiring: Wiring,
    pub seed: u64,
    /// Of the kill story.
    pub rounds: usize,
    /// Where data directories go; those of a story that failed stay.
    pub dir: PathBuf,
}

/// The stories, in the order they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Story {
    Single,
    Hostile,
    Kill,
    Snapshot,
    IdleWatchers,
    Leases,
    Grow,
    Kubernetes,
}

impl Story {
    pub const ALL: [Self; 8] = [
        Self::Single,
        Self::Hostile,
        Self::Kill,
        Self::Snapshot,
        Self::IdleWatchers,
        Self::Leases,
        Self::Grow,
        Self::Kubernetes,
    ];

    /// Etcd does not tell what it purged; a leader of 3.4 that wakes up
    /// revokes by way of its successor.
    fn runs_on(self, program: Program) -> bool {
        match self {
            Self::Single | Self::Hostile | Self::Kill | Self::Grow | Self::Kubernetes => true,
            Self::Snapshot | Self::IdleWatchers | Self::Leases => program == Program::Quorate,
        }
    }

    async fn tell(self, context: &Context) -> Result<String> {
        match self {
            Self::Single => single::tell(context).await,
            Self::Hostile => hostile::tell(context).await,
            Self::Kill => kill::tell(context).await,
            Self::Snapshot => snapshot::tell(context).await,
            Self::IdleWatchers => idle_watchers::tell(context).await,
            Self::Leases => leases::tell(context).await,
            Self::Grow => grow::tell(context).await,
            Self::Kubernetes => kubernetes::tell(context).await,
        }
    }
}

/// Tells the stories and prints a line for each at the end.
///
/// # Errors
/// One of them failed.
pub async fn run(context: &Context, stories: &[Story]) -> Result<()> {
    if context.wiring == Wiring::Packets {
        namespace::enter()?;
    }
    println!("faults on {}, seed {}", context.program, context.seed);
    let mut lines = Vec::new();
    let mut failed = 0;
    for story in stories
        .iter()
        .filter(|story| story.runs_on(context.program))
    {
        let start = Instant::now();
        // Boxed: the stories' futures are large.
        let outcome = Box::pin(story.tell(context)).await;
        let seconds = start.elapsed().as_secs();
        lines.push(match outcome {
            Ok(summary) => format!("passed  {story:?} ({seconds} s): {summary}"),
            Err(error) => {
                failed += 1;
                format!("FAILED  {story:?} ({seconds} s): {error:#}")
            }
        });
        println!("{}", lines.last().map_or("", String::as_str));
    }
    println!("\n{}", lines.join("\n"));
    if failed > 0 {
        bail!(
            "{failed} of {} stories failed; again: cluster-tests faults --seed {}",
            lines.len(),
            context.seed
        );
    }
    Ok(())
}
