//! What every story needs: a cluster in a directory of its own, clients, and the verdict.

use super::Context;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::faults::history::History;
use crate::faults::judge::{Verdict, judge};
use crate::faults::workload::{Load, Plan};
use crate::wait::{Look, until};
use anyhow::{Context as _, Result, bail, ensure};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// A cluster under test and the history of its clients.
#[derive(Debug)]
pub struct Arena {
    pub cluster: Cluster,
    pub history: History,
    load: Option<Load>,
    generation: u64,
    seed: u64,
    story: &'static str,
    dir: PathBuf,
}

impl Arena {
    /// Starts a cluster and waits until every member serves.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn open(
        context: &Context,
        story: &'static str,
        nodes: usize,
        flags: &[&str],
    ) -> Result<Self> {
        let dir = context.dir.join(story);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).context("erase what an earlier run left")?;
        }
        let spec = Spec {
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            wiring: context.wiring,
            seed: context.seed,
            ..Spec::new(
                context.program,
                nodes,
                context.wiring.layout()?,
                dir.clone(),
            )
        };
        let mut cluster = Cluster::start(spec).await?;
        let all: Vec<usize> = cluster.nodes().collect();
        cluster.wait_serving(&all, PATIENCE).await?;
        let history = History::default();
        let seed = context.seed;
        Ok(Self {
            cluster,
            history,
            load: None,
            generation: 0,
            seed,
            story,
            dir,
        })
    }

    /// Says what happens.
    pub fn say(&self, text: &str) {
        println!("[{}] {text}", self.story);
    }

    /// Clients begin to write and read; each load has keys of its own.
    ///
    /// # Errors
    /// Never with valid URLs.
    pub fn start_load(&mut self, clients: usize, pinned: bool, reads: u32) -> Result<()> {
        self.generation += 1;
        let deadline = Duration::from_secs(2);
        let plan = Plan {
            clients,
            deadline,
            reads,
            pinned,
            seed: self.seed,
        };
        let urls = self.cluster.client_urls();
        self.load = Some(Load::start(&urls, plan, self.generation, &self.history)?);
        Ok(())
    }

    /// A key that the current load overwrites again and again.
    pub fn register(&self) -> String {
        format!("r{}.0", self.generation)
    }

    pub async fn stop_load(&mut self) {
        if let Some(load) = self.load.take() {
            load.stop().await;
        }
    }

    /// Waits until so many more writes are acknowledged.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn wait_acknowledged(&self, more: usize, limit: Duration) -> Result<()> {
        let goal = self.history.acknowledged() + more;
        until(
            format!("{more} more acknowledged writes"),
            limit,
            async || match self.history.acknowledged() {
                enough if enough >= goal => Look::Ready(()),
                less => Look::NotYet(format!("{less} of {goal}")),
            },
        )
        .await
    }

    /// Waits for a write on one of `nodes`, invoked from now on, and tells how long it took.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn wait_first_acknowledged(
        &self,
        nodes: &[usize],
        limit: Duration,
    ) -> Result<Duration> {
        let since = Instant::now();
        until(
            format!("a write acknowledged by one of {nodes:?}"),
            limit,
            async || match self.history.acknowledged_since(since, nodes).first() {
                Some(operation) => Look::Ready(operation.completed - since),
                None => Look::NotYet("none yet".to_owned()),
            },
        )
        .await
    }

    /// Stops the clients, waits until every member holds the same state, and judges everything
    /// that any client was told so far.
    ///
    /// # Errors
    /// The violation.
    pub async fn judge(&mut self) -> Result<(Verdict, String)> {
        self.stop_load().await;
        let all: Vec<usize> = self.cluster.nodes().collect();
        self.cluster.wait_serving(&all, PATIENCE).await?;
        let hash = self.cluster.wait_same_state(&all, PATIENCE).await?;
        let mut first = None;
        for node in all {
            let mut door = self.cluster.door(node, PATIENCE)?;
            // All at the first one's revision: a write of unknown outcome may still land.
            let at = first.as_ref().map_or(0, |(revision, _)| *revision);
            let dump = door
                .dump(at)
                .await
                .with_context(|| format!("read all of node {node}"))?;
            match &first {
                None => first = Some(dump),
                Some(first) => ensure!(*first == dump, "node {node} shows another state"),
            }
        }
        let (revision, state) = first.context("no members")?;
        let operations = self.history.all();
        let verdict = tokio::task::block_in_place(|| judge(&operations, &state, revision))?;
        if verdict.acknowledged == 0 {
            bail!("nothing was acknowledged: there was nothing to judge");
        }
        Ok((verdict, hash))
    }

    /// As [`Arena::judge`], then the directory goes. That of a story that failed stays.
    ///
    /// # Errors
    /// The violation.
    pub async fn close(mut self) -> Result<Verdict> {
        let dir = self.dir.clone();
        let (verdict, hash) = self
            .judge()
            .await
            .with_context(|| format!("data and logs: {}", dir.display()))?;
        self.say(&format!("{verdict}; every member has hash {hash}"));
        self.erase()?;
        Ok(verdict)
    }

    /// For stories that judge for themselves: waits until every member holds the same state, whose
    /// hash it answers, and the directory goes.
    ///
    /// # Errors
    /// They do not.
    pub async fn close_unjudged(mut self) -> Result<String> {
        self.stop_load().await;
        let all: Vec<usize> = self.cluster.nodes().collect();
        let hash = self.cluster.wait_same_state(&all, PATIENCE).await?;
        self.erase()?;
        Ok(hash)
    }

    /// Ends the cluster; its directory goes. For stories with judges of their own.
    ///
    /// # Errors
    /// The directory cannot be erased.
    pub fn erase(self) -> Result<()> {
        drop(self.cluster);
        std::fs::remove_dir_all(&self.dir).context("erase the data")
    }
}
