//! What a trap stands on.

use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::program::Program;
use crate::door::{Answer, Door};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestOp, TxnRequest, TxnResponse,
};
use std::path::{Path, PathBuf};
use tonic::{Code, Response, Status};

/// Of the shared cluster, and of those that lose members.
pub(super) const MEMBERS: usize = 3;

/// A cluster of three, and keys for one trap at a time.
#[derive(Debug)]
pub struct Ground {
    program: Program,
    shared: Cluster,
    dir: PathBuf,
    trap: u32,
}

impl Ground {
    /// # Errors
    /// The shared cluster does not come up.
    pub async fn open(program: Program, dir: &Path) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).context("erase what an earlier run left")?;
        }
        let shared = start(program, MEMBERS, dir.join("shared"), &[]).await?;
        Ok(Self {
            program,
            shared,
            dir: dir.to_owned(),
            trap: 0,
        })
    }

    pub(super) fn walk_to(&mut self, trap: u32) {
        self.trap = trap;
    }

    pub(super) fn program(&self) -> Program {
        self.program
    }

    pub(super) fn shared(&self) -> &Cluster {
        &self.shared
    }

    /// A key that only this trap uses.
    pub(super) fn key(&self, name: &str) -> Bytes {
        format!("trap{:02}/{name}", self.trap).into()
    }

    /// The end of the range of all keys of this trap.
    pub(super) fn end(&self) -> Bytes {
        format!("trap{:02}0", self.trap).into()
    }

    /// All keys of this trap.
    pub(super) fn all(&self) -> RangeRequest {
        RangeRequest {
            key: self.key(""),
            range_end: self.end(),
            ..RangeRequest::default()
        }
    }

    /// A door to a member of the shared cluster.
    pub(super) fn door(&self, node: usize) -> Result<Door> {
        self.shared.door(node, PATIENCE)
    }

    /// A cluster of the trap's own.
    pub(super) async fn own(&self, nodes: usize, flags: &[&str]) -> Result<Cluster> {
        let dir = self.dir.join(format!("trap{:02}", self.trap));
        start(self.program, nodes, dir, flags).await
    }

    /// Ends everything; the data goes.
    ///
    /// # Errors
    /// It cannot be erased.
    pub fn close(self) -> Result<()> {
        drop(self.shared);
        std::fs::remove_dir_all(&self.dir).context("erase the data")
    }
}

async fn start(program: Program, nodes: usize, dir: PathBuf, flags: &[&str]) -> Result<Cluster> {
    let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    if program == Program::Etcd {
        // Timers like Quorate's own.
        flags.extend(["--heartbeat-interval=50", "--election-timeout=300"].map(str::to_owned));
    }
    let spec = Spec {
        flags,
        ..Spec::new(program, nodes, Layout::claim()?, dir)
    };
    let mut cluster = Cluster::start(spec).await?;
    let all: Vec<usize> = cluster.nodes().collect();
    cluster.wait_serving(&all, PATIENCE).await?;
    Ok(cluster)
}

/// That a call is refused so.
pub(super) fn refused<T>(answer: Answer<T>, code: Code, text: &str) -> Result<()> {
    match answer {
        Ok(_) => bail!("answered instead of {code:?}: {text}"),
        Err(status) => is_status(&status, code, text),
    }
}

/// That a status is this one.
pub(super) fn is_status(status: &Status, code: Code, text: &str) -> Result<()> {
    ensure!(
        status.code() == code && status.message() == text,
        "{:?} {:?} instead of {code:?} {text:?}",
        status.code(),
        status.message()
    );
    Ok(())
}

/// The message of an answer.
pub(super) fn inner<T>(answer: Answer<Response<T>>) -> Answer<T> {
    answer.map(Response::into_inner)
}

pub(super) async fn range(door: &mut Door, range: RangeRequest) -> Answer<RangeResponse> {
    inner(door.kv.range(range).await)
}

pub(super) async fn put(door: &mut Door, key: Bytes, value: &'static str) -> Answer<PutResponse> {
    let put = PutRequest {
        key,
        value: value.into(),
        ..PutRequest::default()
    };
    inner(door.kv.put(put).await)
}

/// Deletes a range; how many keys, and the revision afterwards.
pub(super) async fn delete(door: &mut Door, key: Bytes, range_end: Bytes) -> Answer<(i64, i64)> {
    let delete = DeleteRangeRequest {
        key,
        range_end,
        prev_kv: false,
    };
    let answer = inner(door.kv.delete_range(delete).await)?;
    Ok((
        answer.deleted,
        answer.header.map_or(0, |header| header.revision),
    ))
}

pub(super) async fn compact(door: &mut Door, revision: i64) -> Answer<()> {
    let compact = CompactionRequest {
        revision,
        physical: false,
    };
    door.kv.compact(compact).await.map(drop)
}

pub(super) async fn txn(door: &mut Door, txn: TxnRequest) -> Answer<TxnResponse> {
    inner(door.kv.txn(txn).await)
}

/// A transaction without comparisons.
pub(super) fn just(operations: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        success: operations,
        ..TxnRequest::default()
    }
}

pub(super) fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

pub(super) fn put_op(key: Bytes, value: impl Into<Bytes>) -> RequestOp {
    op(Request::RequestPut(PutRequest {
        key,
        value: value.into(),
        ..PutRequest::default()
    }))
}

pub(super) fn delete_op(key: Bytes) -> RequestOp {
    op(Request::RequestDeleteRange(DeleteRangeRequest {
        key,
        ..DeleteRangeRequest::default()
    }))
}

pub(super) fn range_op(key: Bytes) -> RequestOp {
    op(Request::RequestRange(RangeRequest {
        key,
        ..RangeRequest::default()
    }))
}

/// That a key's value compares so.
pub(super) fn value_is(key: Bytes, result: CompareResult, value: &'static str) -> Compare {
    Compare {
        result: result as i32,
        target: CompareTarget::Value as i32,
        key,
        target_union: Some(TargetUnion::Value(value.into())),
        ..Compare::default()
    }
}

/// The store's revision, read linearizably.
pub(super) async fn revision(door: &mut Door) -> Answer<i64> {
    door.get("trap").await.map(|(revision, _)| revision)
}
