//! One member's doors, for one caller: the generated clients on a channel of their own, a deadline
//! on every call, and no retry that a history would not know of.

use crate::dial;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::lease_client::LeaseClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::request_op::Request as OpRequest;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use quorate::proto::etcdserverpb::{
    PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader, StatusRequest,
    StatusResponse, TxnRequest,
};
use quorate::proto::mvccpb::KeyValue;
use quorate::proto::v3electionpb::election_client::ElectionClient;
use quorate::proto::v3lockpb::lock_client::LockClient;
use std::time::Duration;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Keys per page of [`Door::dump`].
const PAGE_KEYS: i64 = 5_000;

/// A client of one member.
#[derive(Clone, Debug)]
pub struct Door {
    pub kv: KvClient<Channel>,
    pub maintenance: MaintenanceClient<Channel>,
    pub lease: LeaseClient<Channel>,
    pub watch: WatchClient<Channel>,
    pub cluster: ClusterClient<Channel>,
    pub lock: LockClient<Channel>,
    pub election: ElectionClient<Channel>,
}

impl Door {
    /// Dials when first used, and again after every loss of the connection.
    ///
    /// # Errors
    /// The URL is not one.
    pub fn open(url: &str, deadline: Duration) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .context("endpoint")?
            .connect_timeout(deadline.min(Duration::from_secs(1)))
            .timeout(deadline)
            .tcp_nodelay(true);
        let channel = dial::lazily(&endpoint);
        Ok(Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            maintenance: MaintenanceClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            watch: WatchClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            cluster: ClusterClient::new(channel.clone()),
            lock: LockClient::new(channel.clone()),
            election: ElectionClient::new(channel),
        })
    }

    /// Puts, and tells the revision.
    ///
    /// # Errors
    /// Whatever the member or the way to it says; the outcome is then unknown.
    pub async fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Answer<i64> {
        let request = PutRequest {
            key: key.into(),
            value: value.into(),
            ..Default::default()
        };
        let response = self.kv.put(request).await?.into_inner();
        Ok(revision(response.header.as_ref()))
    }

    /// Puts all pairs in one transaction, and tells the revision.
    ///
    /// # Errors
    /// As [`Door::put`].
    pub async fn put_all(&mut self, pairs: Vec<(Bytes, Bytes)>) -> Answer<i64> {
        let success = pairs
            .into_iter()
            .map(|(key, value)| RequestOp {
                request: Some(OpRequest::RequestPut(PutRequest {
                    key,
                    value,
                    ..Default::default()
                })),
            })
            .collect();
        let request = TxnRequest {
            success,
            ..Default::default()
        };
        Ok(revision(
            self.kv.txn(request).await?.into_inner().header.as_ref(),
        ))
    }

    /// A linearizable read of one key, with the store's revision.
    ///
    /// # Errors
    /// Whatever the member or the way to it says.
    pub async fn get(&mut self, key: impl Into<Bytes>) -> Answer<(i64, Option<KeyValue>)> {
        let request = RangeRequest {
            key: key.into(),
            ..Default::default()
        };
        let response = self.kv.range(request).await?.into_inner();
        Ok((
            revision(response.header.as_ref()),
            response.kvs.into_iter().next(),
        ))
    }

    /// Every key at a revision (0: the latest), read linearizably and in pages; with that revision.
    ///
    /// # Errors
    /// Any page fails.
    pub async fn dump(&mut self, at: i64) -> Result<(i64, Vec<KeyValue>)> {
        let mut at = at;
        let mut all: Vec<KeyValue> = Vec::new();
        loop {
            let mut key = all.last().map_or_else(Vec::new, |last| last.key.to_vec());
            key.push(0);
            let request = RangeRequest {
                key: key.into(),
                range_end: Bytes::from_static(&[0]),
                limit: PAGE_KEYS,
                revision: at,
                ..Default::default()
            };
            let page: RangeResponse = self.kv.range(request).await.context("a page")?.into_inner();
            if at == 0 {
                at = revision(page.header.as_ref());
                ensure!(at > 0, "an answer without a revision");
            }
            all.extend(page.kvs);
            if !page.more {
                return Ok((at, all));
            }
        }
    }

    /// # Errors
    /// Whatever the member or the way to it says.
    pub async fn status(&mut self) -> Answer<StatusResponse> {
        Ok(self
            .maintenance
            .status(StatusRequest {})
            .await?
            .into_inner())
    }
}

/// What a call brings: an answer, or the gRPC status.
pub type Answer<T> = std::result::Result<T, Status>;

fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}
