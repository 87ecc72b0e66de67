//! Row 11: a lease for each client, renewed in a closed loop.

use crate::bench::connection::Connection;
use crate::bench::figures::{Figures, Unit};
use crate::bench::load::{Caller, closed_loop};
use crate::bench::stand::Stand;
use anyhow::{Context as _, Result};
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

const CLIENTS: usize = 64;
const TTL_SECONDS: i64 = 600;

pub(super) async fn measure(stand: &Stand) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut servers = stand.start(3, &[]).await?;
    // All on the leader, as etcd's own benchmark has it: a follower sends renewals on.
    let connections = servers.connections(&[servers.leader], CLIENTS).await?;
    let mut callers = Vec::new();
    for connection in connections.iter().cycle().take(CLIENTS) {
        callers.push(Renewer::open(connection).await?);
    }
    let (callers, _) = closed_loop(callers, Stand::WARM_UP).await?;
    let (_, measured) = servers.measured(callers, stand.duration).await?;
    let mut add =
        |what: &str, unit, value| figures.add(format!("lease keep-alive, {what}"), unit, value);
    add("rate", Unit::PerSecond, measured.outcome.per_second());
    add("p99", Unit::Millis, measured.outcome.quantile_ms(0.99));
    add("servers", Unit::Micros, measured.servers_us);
    add("client", Unit::Micros, measured.client_us);
    Ok(figures)
}

/// A lease and the stream on which it is renewed.
struct Renewer {
    id: i64,
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    responses: Streaming<LeaseKeepAliveResponse>,
}

impl Renewer {
    async fn open(connection: &Connection) -> Result<Self> {
        let mut client = connection.lease();
        let grant = LeaseGrantRequest {
            ttl: TTL_SECONDS,
            id: 0,
        };
        let id = client.lease_grant(grant).await.context("grant")?;
        let id = id.into_inner().id;
        let (requests, queue) = mpsc::channel(1);
        // etcd answers a stream with headers only when it answers something on it.
        requests.send(LeaseKeepAliveRequest { id }).await?;
        let responses = client.lease_keep_alive(ReceiverStream::new(queue)).await;
        let mut responses = responses.context("keep alive")?.into_inner();
        responses.message().await.context("the first renewal")?;
        Ok(Self {
            id,
            requests,
            responses,
        })
    }
}

impl Caller for Renewer {
    async fn call(&mut self) -> Result<(), Status> {
        let request = LeaseKeepAliveRequest { id: self.id };
        let sent = self.requests.send(request).await;
        sent.map_err(|_| Status::unavailable("the stream has ended"))?;
        match self.responses.message().await? {
            Some(answer) if answer.ttl > 0 => Ok(()),
            Some(_) => Err(Status::not_found("the lease has ended")),
            None => Err(Status::unavailable("the stream has ended")),
        }
    }
}
