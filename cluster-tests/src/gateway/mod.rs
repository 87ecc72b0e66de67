//! The JSON gateway beside a real etcd's: the same HTTP requests to both, in lockstep; every answer
//! must be the same to the byte, ids and what a single member says of itself masked.
//!
//! etcd 3.4 writes errors as its gateway did then, so of an error status, code and text are compared.
//! What 3.4 does not have, or has differently from current etcd, is in [`cases`] as such, with the
//! reason.

mod cases;
mod client;

use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::program::Program;
use anyhow::{Context, Result, bail, ensure};
use cases::{Case, Compared};
use client::Reply;
use std::path::Path;

/// What stands before values that differ between two clusters that agree. A value ends at its quote.
const MASKED: &[&str] = &[r#""cluster_id":""#, r#""member_id":""#, r#""raft_term":""#];

/// Sends everything to both and compares.
///
/// # Errors
/// An answer differs.
pub async fn run(dir: &Path) -> Result<()> {
    let dir = dir.join("gateway");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("erase what an earlier run left")?;
    }
    let ours = start(Program::Quorate, &dir.join("quorate")).await?;
    let theirs = start(Program::Etcd, &dir.join("etcd")).await?;
    let (ours_at, theirs_at) = (ours.client_address(1), theirs.client_address(1));
    let (mut same, mut excused) = (0, 0);
    for case in cases::all() {
        let (left, right) =
            tokio::join!(client::ask(&ours_at, &case), client::ask(&theirs_at, &case));
        let (left, right) = (
            left.with_context(|| format!("{} to Quorate", case.path))?,
            right.with_context(|| format!("{} to etcd", case.path))?,
        );
        if let Compared::Not { why } = case.compared {
            println!("  {:<36} not compared: {why}", case.path);
            excused += 1;
            continue;
        }
        let (left, right) = (seen(&case, &left)?, seen(&case, &right)?);
        if left != right {
            bail!(
                "POST {} {}\nQuorate: {left}\netcd:    {right}",
                case.path,
                case.body
            );
        }
        same += 1;
    }
    drop((ours, theirs));
    println!("gateway: {same} answers, no difference; {excused} not compared");
    std::fs::remove_dir_all(&dir).context("erase the data")
}

async fn start(program: Program, dir: &Path) -> Result<Cluster> {
    let spec = Spec::new(program, 1, Layout::claim()?, dir.to_owned());
    let mut cluster = Cluster::start(spec).await?;
    cluster.wait_serving(&[1], PATIENCE).await?;
    Ok(cluster)
}

/// What of a reply must be the same.
fn seen(case: &Case, reply: &Reply) -> Result<String> {
    if reply.status == 200 {
        ensure!(
            reply.content_type == "application/json",
            "{}: content type {:?}",
            case.path,
            reply.content_type
        );
        return Ok(format!("200 {}", masked(&reply.body, case)));
    }
    let error: serde_json::Value = serde_json::from_str(&reply.body)
        .with_context(|| format!("{}: {:?} is no JSON", case.path, reply.body))?;
    let text = match case.compared {
        Compared::Code => "",
        _ => error["message"].as_str().unwrap_or_default(),
    };
    let status = match reply.status {
        // FailedPrecondition and Canceled, which have another status since 3.6.
        412 => 400,
        408 => 499,
        other => other,
    };
    Ok(format!("{status} code {} {text}", error["code"]))
}

/// The body with ids and sizes out of it.
fn masked(body: &str, case: &Case) -> String {
    let mut text = body.to_owned();
    for key in MASKED.iter().chain(case.masked) {
        let mut rest = text.as_str();
        let mut out = String::with_capacity(text.len());
        while let Some((before, after)) = rest.split_once(key) {
            out.push_str(before);
            out.push_str(key);
            out.push('*');
            rest = after.find('"').map_or("", |end| &after[end..]);
        }
        out.push_str(rest);
        text = out;
    }
    for gone in case.ours_alone {
        text = text.replace(gone, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_masked_and_nothing_else() {
        let case = Case {
            masked: &[r#""ID":""#],
            ..Case::exact("/", "")
        };
        let body =
            r#"{"header":{"member_id":"12","revision":"3"},"members":[{"ID":"12","name":"n"}]}"#;
        assert_eq!(
            masked(body, &case),
            r#"{"header":{"member_id":"*","revision":"3"},"members":[{"ID":"*","name":"n"}]}"#
        );
    }
}
