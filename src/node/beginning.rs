//! How a member begins: as a founder, as one that joins, or as what it was before.

use super::bootstrap::ask_founders;
use super::founding::Founding;
use super::join::{Place, find_place};
use crate::config::{ClusterState, Config};
use crate::env::Env;
use crate::raft::log::{SegmentedLog, Vote};
use crate::raft::{Links, Pins};
use crate::types::{ClusterId, HexId, NodeId};
use anyhow::{Context, ensure};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::oneshot;

pub(super) enum Beginning {
    /// The directory says who this is, and the flags that name a cluster do not matter.
    Again(ClusterId, NodeId),
    Founding(Founding, NodeId),
    Joining(Place),
}

impl Beginning {
    /// `owner`: whose directory it is, if somebody's who may take part in elections.
    ///
    /// # Errors
    /// One sentence: what is wrong with the flags, or that nobody lets this member join.
    pub(super) async fn find(
        config: &Config,
        env: &Env,
        owner: Option<(ClusterId, NodeId)>,
    ) -> anyhow::Result<Self> {
        let joins = config.initial_cluster_state == ClusterState::Existing;
        match owner {
            // As etcd does: the flags count where there is no member yet.
            Some((cluster, node)) if joins || Founding::is_by_default(config) => {
                Ok(Self::Again(cluster, node))
            }
            None if joins => find_place(config, env).await.map(Self::Joining),
            Some(_) | None => {
                let founding =
                    Founding::new(&config.initial_cluster, &config.initial_cluster_token);
                let node = founding
                    .id_of(&config.name)
                    .with_context(|| format!("{:?} is not in --initial-cluster", config.name))?;
                Ok(Self::Founding(founding, node))
            }
        }
    }

    pub(super) fn identity(&self) -> (ClusterId, NodeId) {
        match self {
            Self::Again(cluster, node) => (*cluster, *node),
            Self::Founding(founding, node) => (founding.cluster, *node),
            Self::Joining(place) => (place.cluster, place.node),
        }
    }

    /// Whom this member knows before it knows the membership.
    pub(super) fn founders(&self) -> BTreeSet<NodeId> {
        match self {
            Self::Again(..) => BTreeSet::new(),
            Self::Founding(founding, _) => founding.members.keys().copied().collect(),
            Self::Joining(place) => place.members.iter().map(|member| member.id).collect(),
        }
    }

    /// Before the first start of consensus: makes sure that this member's id has no other
    /// directory.
    pub(super) async fn prepare(
        &self,
        links: &Links,
        pins: &Pins,
        log: &SegmentedLog,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let (cluster, node) = self.identity();
        if !log.is_pristine() {
            // A crash after the first entry and before the directory was marked: it was asked then.
            return Ok(());
        }
        tracing::info!(member = %HexId(node), cluster = %HexId(cluster), "first start");
        match self {
            Self::Again(..) => Ok(()),
            Self::Founding(founding, _) => {
                ask_founders(&founding.members, links, pins, patience).await
            }
            Self::Joining(place) => {
                ensure!(
                    pins.origin() == 0,
                    "a data directory that was restored from a backup founds a cluster and joins \
                     none: start it with --initial-cluster-state new, or remove it"
                );
                place.claim(links, patience).await?;
                // From now on the log can be told from one that was lost.
                save_first_vote(log).await.context("begin the Raft log")
            }
        }
    }
}

/// A vote for nobody, which any other is higher than.
async fn save_first_vote(log: &SegmentedLog) -> std::io::Result<()> {
    let (durable, waiting) = oneshot::channel();
    let nobody = Vote {
        term: 0,
        node: 0,
        committed: false,
    };
    let done = Box::new(move |result| {
        // The start was given up: nobody waits.
        durable.send(result).ok();
    });
    log.save_vote(nobody, done)?;
    let writer_is_gone = |_| std::io::Error::other("the log's writer is gone");
    waiting.await.map_err(writer_is_gone)?
}
