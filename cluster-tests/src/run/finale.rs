//! How the members are at the end, clients at rest.

use super::site::Site;
use crate::cluster::local::PATIENCE;
use crate::cluster::subject;
use crate::history::recording::Final;
use crate::observe::PATIENCE as ANSWER_PATIENCE;
use crate::workload::wire::pair;
use anyhow::{Context as _, Result};
use quorate::proto::etcdserverpb::LeaseLeasesRequest;
use std::fmt::Write as _;

/// Every member's state at one revision, its hash, its leases. What cannot be had is trouble.
pub async fn look(site: &Site, trouble: &mut Vec<String>) -> Vec<Final> {
    if let Some(mut subject) = site.ours().await {
        let all = subject.nodes();
        if let Err(error) = subject::serving(subject.as_mut(), &all, PATIENCE).await {
            trouble.push(format!("{error:#}"));
            return Vec::new();
        }
        // Different hashes at one position are the judges' matter: here it is only waited for.
        if let Err(error) = subject::same_state(subject.as_ref(), &all, PATIENCE).await {
            trouble.push(format!("{error:#}"));
        }
    }
    let mut finale: Vec<Final> = Vec::new();
    for node in site.nodes().await {
        // All at the first one's revision.
        let at = finale.first().map_or(0, |first| first.revision);
        match member(site, node, at).await {
            Ok(last) => finale.push(last),
            Err(error) => trouble.push(format!("n{node} at the end: {error:#}")),
        }
    }
    finale
}

async fn member(site: &Site, node: usize, at: i64) -> Result<Final> {
    let mut door = site.door(node, PATIENCE).await?;
    let (revision, state) = door.dump(at).await.context("read all")?;
    let leases = door.lease.lease_leases(LeaseLeasesRequest {}).await;
    let leases = leases.context("list the leases")?.into_inner().leases;
    let seen = site
        .observer(node)
        .await?
        .look(true, ANSWER_PATIENCE)
        .await?;
    let mut hash = String::new();
    if let Some(fingerprint) = &seen.fingerprint {
        for byte in &fingerprint.hash {
            write!(hash, "{byte:02x}").unwrap_or_default();
        }
    }
    Ok(Final {
        node,
        revision,
        hash,
        hashed_at: seen.fingerprint.map_or(0, |fingerprint| fingerprint.at),
        state: state.into_iter().map(pair).collect(),
        leases: leases.into_iter().map(|lease| lease.id).collect(),
    })
}
