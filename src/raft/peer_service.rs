//! The peer port: what this member does when another one calls.
//!
//! Each call is checked (`identity`) before its body is looked at, and every value is checked for
//! what openraft takes for granted: the caller speaks for itself, entries are consecutive, formats
//! are known. What openraft answers is passed back as a value, never as a transport error.

use super::consensus::{Consensus, ReadFailure};
use super::halt::Halt;
use super::identity::{Caller, Pins};
use super::incoming;
use super::links::PEER_MESSAGE_BYTES_MAX;
use super::peer_forward::{self, ForwardCall};
use super::peer_hashes;
use super::peer_members::{self, Desk};
use super::peer_meters::PeerMeters;
use super::snapshot_receive::{Receiver, Refused, higher_vote, plausible};
use super::type_config::{TypeConfig, Vote, position_of};
use super::wire::{self, WireError};
use crate::env::Worker;
use crate::proto::peer;
use crate::proto::peer::peer_server::{Peer, PeerServer};
use crate::telemetry::metrics::ConnectionTraffic;
use crate::types::NodeId;
use futures_util::stream::BoxStream;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};

/// Questions about leases from another member, for the doors' side: the leases' clock is there.
pub struct LeaseCall {
    pub request: peer::LeaseRequest,
    pub answer: oneshot::Sender<peer::LeaseResponse>,
}

/// What the service is made of. Consensus comes later than the port: a starting member answers
/// `Hello` before it may vote.
#[derive(Clone)]
pub struct PeerService {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    pins: Pins,
    consensus: OnceLock<Consensus>,
    desk: OnceLock<Arc<dyn Desk>>,
    receiver: Receiver,
    meters: PeerMeters,
    /// This data directory has taken part in Raft before.
    started: bool,
    forwards: Semaphore,
    /// To whoever fills the log.
    forward_calls: OnceLock<mpsc::Sender<ForwardCall>>,
    inspector: Worker,
    /// To whoever answers for leases.
    lease_calls: OnceLock<mpsc::Sender<LeaseCall>>,
    /// Reasons to stop the process.
    halt: mpsc::Sender<Halt>,
}

impl PeerService {
    pub fn new(
        name: String,
        pins: Pins,
        receiver: Receiver,
        meters: PeerMeters,
        started: bool,
        inspector: Worker,
        halt: mpsc::Sender<Halt>,
    ) -> Self {
        let shared = Arc::new(Shared {
            name,
            pins,
            consensus: OnceLock::new(),
            desk: OnceLock::new(),
            receiver,
            meters,
            started,
            forwards: Semaphore::new(peer_forward::FORWARDS_MAX),
            forward_calls: OnceLock::new(),
            inspector,
            lease_calls: OnceLock::new(),
            halt,
        });
        Self { shared }
    }

    /// Opens the calls that need consensus.
    pub fn set_consensus(&self, consensus: Consensus, desk: Arc<dyn Desk>) {
        // A second one would be a bug of the assembly; the first stays. So below.
        self.shared.desk.set(desk).ok();
        self.shared.consensus.set(consensus).ok();
    }

    /// Opens the call with commands; a full queue refuses at once.
    pub fn set_forward_calls(&self, queue: mpsc::Sender<ForwardCall>) {
        self.shared.forward_calls.set(queue).ok();
    }

    /// Opens the call about leases; a full queue refuses at once.
    pub fn set_lease_calls(&self, queue: mpsc::Sender<LeaseCall>) {
        self.shared.lease_calls.set(queue).ok();
    }

    pub fn into_server(self) -> PeerServer<Self> {
        PeerServer::new(self)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX)
    }

    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let caller = self.shared.pins.check(request.metadata()).await?;
        // Now it is known whose connection this is.
        let traffic = request.extensions().get::<Option<Arc<ConnectionTraffic>>>();
        if let Some(Some(traffic)) = traffic {
            traffic.belongs_to(|| self.shared.meters.of(caller.node).traffic.clone());
        }
        Ok(caller)
    }

    fn consensus(&self) -> Result<&Consensus, Status> {
        self.shared
            .consensus
            .get()
            .ok_or_else(|| Status::unavailable("this member is starting"))
    }

    /// Reads an append and stops the process if a newer build wrote it, or if it shows that this
    /// member has lost what it had acknowledged.
    fn read_append(
        &self,
        caller: Caller,
        request: peer::AppendRequest,
    ) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
        let acknowledged = request.acknowledged;
        let request = wire::append_from_proto(request).map_err(|error| self.refuse(&error))?;
        speaks_for_itself(caller, request.vote.leader_id.voted_for)?;
        if !request.vote.committed {
            return Err(Status::invalid_argument(
                "entries from somebody who was not elected",
            ));
        }
        if let Some(acknowledged) = acknowledged
            && let Some(reason) = self
                .consensus()?
                .has_lost(&request.vote, acknowledged.index)
        {
            self.shared
                .halt
                .try_send(Halt::LogLost(reason.clone()))
                .ok();
            return Err(Status::failed_precondition(reason));
        }
        Ok(request)
    }

    fn refuse(&self, error: &WireError) -> Status {
        if matches!(error, WireError::NewerFormat { .. }) {
            self.shared
                .halt
                .try_send(Halt::NewerFormat(error.to_string()))
                .ok();
        }
        Status::invalid_argument(error.to_string())
    }

    fn refuse_snapshot(&self, reason: Refused) -> Status {
        reason.into_status(&self.shared.halt)
    }

    /// The vote of a snapshot's sender, who must have been elected.
    fn sender_of(&self, caller: Caller, vote: Option<peer::Vote>) -> Result<Vote, Status> {
        let vote = wire::vote_from_proto(vote).map_err(|error| self.refuse(&error))?;
        speaks_for_itself(caller, vote.leader_id.voted_for)?;
        if !vote.committed {
            return Err(Status::invalid_argument(
                "a snapshot from somebody who was not elected",
            ));
        }
        Ok(vote)
    }
}

fn speaks_for_itself(caller: Caller, node: NodeId) -> Result<(), Status> {
    if caller.node == node {
        return Ok(());
    }
    Err(Status::invalid_argument(
        "a member may only speak for itself",
    ))
}

pub(super) fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("consensus has stopped: {error}"))
}

#[tonic::async_trait]
impl Peer for PeerService {
    type AppendStream = BoxStream<'static, Result<peer::AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let caller = self.caller(&request).await?;
        let consensus = self.consensus()?;
        let service = self.clone();
        let read = move |request| service.read_append(caller, request);
        Ok(Response::new(incoming::answered(
            consensus,
            request.into_inner(),
            read,
        )))
    }

    async fn heartbeat(
        &self,
        request: Request<peer::AppendRequest>,
    ) -> Result<Response<peer::AppendResponse>, Status> {
        let caller = self.caller(&request).await?;
        let consensus = self.consensus()?;
        let request = self.read_append(caller, request.into_inner())?;
        let answer = incoming::taken(consensus, request).await?;
        Ok(Response::new(wire::answer_to_proto(&answer)))
    }

    async fn vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteResponse>, Status> {
        let caller = self.caller(&request).await?;
        let consensus = self.consensus()?;
        let request = request.into_inner();
        let vote = wire::vote_from_proto(request.vote).map_err(|error| self.refuse(&error))?;
        speaks_for_itself(caller, vote.leader_id.voted_for)?;
        if vote.committed {
            return Err(Status::invalid_argument("a candidate is not elected yet"));
        }
        let mut ask = VoteRequest::new(vote, request.last_log.map(wire::log_id_from_proto));
        ask.leadership_transfer = request.leadership_transfer;
        let answer = if request.pre_vote {
            consensus.raft().pre_vote(ask).await
        } else {
            consensus.raft().vote(ask).await
        };
        let answer = answer.map_err(stopped)?;
        Ok(Response::new(peer::VoteResponse {
            vote: Some(wire::vote_to_proto(&answer.vote)),
            granted: answer.vote_granted,
            last_log: answer.last_log_id.as_ref().map(wire::log_id_to_proto),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderResponse>, Status> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let from =
            wire::vote_from_proto(request.from_leader).map_err(|error| self.refuse(&error))?;
        speaks_for_itself(caller, from.leader_id.voted_for)?;
        let last = request.last_log.map(wire::log_id_from_proto);
        let request = TransferLeaderRequest::new(from, request.to, last);
        let answer = self
            .consensus()?
            .raft()
            .handle_transfer_leader(request)
            .await
            .map_err(stopped)?;
        let reason = answer
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        Ok(Response::new(peer::TransferLeaderResponse {
            accepted: answer.is_ok(),
            reason,
        }))
    }

    async fn offer_snapshot(
        &self,
        request: Request<peer::SnapshotOffer>,
    ) -> Result<Response<peer::SnapshotAnswer>, Status> {
        let caller = self.caller(&request).await?;
        let status = self.consensus()?.status();
        let offer = request.into_inner();
        let vote = self.sender_of(caller, offer.vote)?;
        if let Some(higher) = higher_vote(&status, &vote) {
            return Ok(Response::new(peer::SnapshotAnswer {
                held_bytes: Vec::new(),
                vote: Some(wire::vote_to_proto(&higher)),
            }));
        }
        let last = offer.last.map(wire::position_from_proto);
        plausible(last, &vote, status.committed)?;
        let offered = self.shared.receiver.offered(vote.leader_id.term, offer);
        let held_bytes = offered.await;
        let held_bytes = held_bytes.map_err(|reason| self.refuse_snapshot(reason))?;
        Ok(Response::new(peer::SnapshotAnswer {
            held_bytes,
            vote: None,
        }))
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<peer::SnapshotFrame>>,
    ) -> Result<Response<peer::SnapshotReceipt>, Status> {
        let caller = self.caller(&request).await?;
        let consensus = self.consensus()?;
        let meter = self.shared.meters.of(caller.node);
        let receiving = self.shared.receiver.receive(request.into_inner());
        let received = meter.snapshots_received.counted(receiving).await;
        let (vote, snapshot) = received.map_err(|reason| self.refuse_snapshot(reason))?;
        let vote = self.sender_of(caller, Some(wire::vote_to_proto(&vote)))?;
        let last = snapshot.meta.last_log_id.as_ref().map(position_of);
        plausible(last, &vote, consensus.status().committed)?;
        consensus.heard_leader();
        let answer = consensus
            .raft()
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)?;
        let vote = Some(wire::vote_to_proto(&answer.vote));
        Ok(Response::new(peer::SnapshotReceipt { vote }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        let caller = self.caller(&request).await?;
        let vote = wire::vote_from_proto(request.into_inner().vote).ok();
        let asker = vote.map(|vote| (caller.node, vote));
        let answer = self.consensus()?.read_index_for(asker).await;
        let position = answer.map_err(|failure| match failure {
            ReadFailure::NotLeader(_) => Status::failed_precondition("not leader"),
            ReadFailure::NoQuorum => Status::unavailable("no quorum"),
            ReadFailure::Stopped => stopped("fatal"),
        })?;
        Ok(Response::new(peer::ReadIndexResponse {
            leader: self.shared.pins.me().node,
            position: Some(wire::position_to_proto(position)),
        }))
    }

    async fn forward(
        &self,
        request: Request<peer::ForwardRequest>,
    ) -> Result<Response<peer::ForwardResponse>, Status> {
        self.caller(&request).await?;
        let consensus = self.consensus()?;
        let calls = self.shared.forward_calls.get();
        // Certainly not taken: the caller tries again.
        let calls = calls.ok_or_else(|| Status::failed_precondition("this member is starting"))?;
        let _place = self.shared.meters.forwarded.raised();
        let (permits, batch) = (&self.shared.forwards, request.into_inner());
        let answer = peer_forward::forward(consensus, calls, permits, batch);
        answer.await.map(Response::new)
    }

    async fn lease(
        &self,
        request: Request<peer::LeaseRequest>,
    ) -> Result<Response<peer::LeaseResponse>, Status> {
        self.caller(&request).await?;
        let queue = self.shared.lease_calls.get();
        let queue = queue.ok_or_else(|| Status::unavailable("this member is starting"))?;
        let (answer, answered) = oneshot::channel();
        let request = request.into_inner();
        let call = LeaseCall { request, answer };
        let queued = queue.try_send(call);
        queued.map_err(|_| Status::resource_exhausted("too many questions about leases"))?;
        // The caller has its own patience, and goes when it is over.
        let response = answered.await.map_err(stopped)?;
        Ok(Response::new(response))
    }

    async fn hello(
        &self,
        request: Request<peer::HelloRequest>,
    ) -> Result<Response<peer::HelloResponse>, Status> {
        let caller = self.caller(&request).await?;
        Ok(Response::new(peer::HelloResponse {
            known_incarnation: caller.known.unwrap_or(0),
            incarnation: self.shared.pins.me().incarnation,
            started: self.shared.started,
            origin: self.shared.pins.origin(),
        }))
    }

    async fn marks(
        &self,
        request: Request<peer::MarksRequest>,
    ) -> Result<Response<peer::MarksResponse>, Status> {
        self.caller(&request).await?;
        let store = self.consensus()?.store().load_full();
        Ok(Response::new(peer_hashes::marks(&store)))
    }

    async fn deep_hash(
        &self,
        request: Request<peer::DeepHashRequest>,
    ) -> Result<Response<peer::DeepHashResponse>, Status> {
        self.caller(&request).await?;
        let store = self.consensus()?.store().load_full();
        let revision = request.into_inner().revision;
        let hashed = peer_hashes::deep_hash(store, &self.shared.inspector, revision);
        Ok(Response::new(hashed.await?))
    }

    async fn change_members(
        &self,
        request: Request<peer::ChangeMembersRequest>,
    ) -> Result<Response<peer::ChangeMembersResponse>, Status> {
        self.caller(&request).await?;
        self.consensus()?;
        let desk = self.shared.desk.get();
        let desk = desk.ok_or_else(|| Status::unavailable("this member is starting"))?;
        let answer = desk.change_members(request.into_inner()).await;
        Ok(Response::new(answer))
    }

    async fn claim(
        &self,
        request: Request<peer::ClaimRequest>,
    ) -> Result<Response<peer::ClaimResponse>, Status> {
        let caller = self.caller(&request).await?;
        let answer = peer_members::claim(self.consensus()?, caller).await;
        Ok(Response::new(answer))
    }

    async fn roster(
        &self,
        _: Request<peer::RosterRequest>,
    ) -> Result<Response<peer::RosterResponse>, Status> {
        let me = self.shared.pins.me();
        let answer = peer_members::roster(me.cluster, self.consensus()?).await;
        Ok(Response::new(answer))
    }

    async fn inspect(
        &self,
        request: Request<peer::InspectRequest>,
    ) -> Result<Response<peer::InspectResponse>, Status> {
        let me = self.shared.pins.me();
        let mut answer = peer::InspectResponse {
            cluster_id: me.cluster,
            member_id: me.node,
            name: self.shared.name.clone(),
            incarnation: me.incarnation,
            role: "starting".to_owned(),
            ..peer::InspectResponse::default()
        };
        let Some(consensus) = self.shared.consensus.get() else {
            return Ok(Response::new(answer));
        };
        super::inspect::fill(&mut answer, consensus);
        if request.into_inner().with_hash {
            let store = consensus.store().load_full();
            let hashed = self
                .shared
                .inspector
                .run(move || store.state_hash())
                .await
                .map_err(|error| Status::internal(error.to_string()))?;
            let (at, hash) = hashed.map_err(|error| Status::internal(error.to_string()))?;
            answer.hashed_at = at.map(wire::position_to_proto);
            answer.state_hash = hash.to_vec().into();
        }
        Ok(Response::new(answer))
    }
}
