//! What openraft sends to one peer: entries on one long-lived stream, everything else unary.
//!
//! * Every call has a deadline. `RPCOption`'s is the heartbeat interval, which a loaded machine
//!   misses while nothing is wrong; heartbeats and votes get half an election timeout instead.
//!   (openraft gives up a heartbeat after one interval, whatever this says: as in etcd the interval
//!   must be longer than a round trip and an fsync.)
//! * The stream of entries has no deadline but a watchdog: sent and not answered for
//!   [`NetworkTimes::stall`] ends it as unreachable. Without it a stalled follower pins the leader's
//!   log for ever (openraft keeps every entry that is in flight), and half-open links never heal.
//!   What ends is the session: the connection may hold on to its body until a stalled peer reads
//!   again, so openraft's requests are taken back from it ([`super::valve`]).
//! * `pre_vote` is the real RPC. openraft's default grants it without asking.

use super::contacts::Contacts;
use super::links::{Links, PeerLinks};
use super::peer_meters::PeerMeter;
use super::receipts::Receipt;
use super::renewal::Renewal;
use super::snapshot_dir::SnapshotDir;
use super::snapshot_stream;
use super::supersede::Supersede;
use super::type_config::{MemberNode, TypeConfig, Vote};
use super::valve::{Valve, valve};
use super::wire;
use crate::proto::peer;
use crate::types::NodeId;
use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::alias::SnapshotOf;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Deadlines of calls to a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct NetworkTimes {
    /// Heartbeats, votes, leadership.
    pub control: Duration,
    /// Longest silence of a stream of entries that has unanswered requests.
    pub stall: Duration,
    /// Longest silence of a snapshot transfer.
    pub snapshot_stall: Duration,
}

impl NetworkTimes {
    pub(super) fn from_election_timeout(longest: Duration) -> Self {
        Self {
            control: longest / 2,
            stall: (longest * 4).max(Duration::from_secs(2)),
            snapshot_stall: Duration::from_secs(10),
        }
    }
}

/// The way to one peer, for one purpose of openraft's.
pub(super) struct PeerNetwork {
    pub node: NodeId,
    /// As it was when openraft first turned to the peer; [`Links`] may know better.
    pub member: MemberNode,
    pub links: Links,
    pub meter: Arc<PeerMeter>,
    pub times: NetworkTimes,
    pub heartbeat: bool,
    /// Housekeeping ends this peer's stream through it, to unpin the leader's log.
    pub kick: Arc<Notify>,
    pub contacts: Contacts,
    pub receipt: Receipt,
    pub renewal: Renewal,
    /// The next snapshot to send was just made: it is not old, however much is logged meanwhile.
    pub renewed: bool,
}

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;

fn unreachable(why: impl Display) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(why))
}

impl PeerNetwork {
    /// Looked up for every call: a member's address may change, and openraft keeps what it has.
    fn links(&self) -> RpcResult<PeerLinks> {
        self.links.to(self.node, &self.member).map_err(unreachable)
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        pre_vote: bool,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let mut client = self.links()?.control;
        let request = peer::VoteRequest {
            vote: Some(wire::vote_to_proto(&request.vote)),
            last_log: request.last_log_id.as_ref().map(wire::log_id_to_proto),
            pre_vote,
            leadership_transfer: request.leadership_transfer,
        };
        let answer = timeout(self.times.control, client.vote(request)).await;
        let answer = answer
            .map_err(unreachable)?
            .map_err(unreachable)?
            .into_inner();
        Ok(VoteResponse {
            vote: wire::vote_from_proto(answer.vote).map_err(unreachable)?,
            vote_granted: answer.granted,
            last_log_id: answer.last_log.map(wire::log_id_from_proto),
        })
    }
}

/// A heartbeat: one append without entries, on the control connection, with a deadline.
async fn send_heartbeat(
    links: PeerLinks,
    receipt: Receipt,
    deadline: Duration,
    request: AppendEntriesRequest<TypeConfig>,
) -> RpcResult<StreamAppendResult<TypeConfig>> {
    let mut client = links.control;
    let knows_nothing = request.prev_log_id.is_none();
    let vote = request.vote;
    let request = wire::append_to_proto(&request, receipt.last(&vote));
    let answer = timeout(deadline, client.heartbeat(request)).await;
    let answer = answer.map_err(unreachable)?.map_err(unreachable)?;
    let answer = wire::answer_from_proto(answer.into_inner()).map_err(unreachable)?;
    if knows_nothing && matches!(answer, Err(StreamAppendError::Conflict(_))) {
        // openraft would panic: nothing cannot conflict.
        return Err(unreachable(
            "a peer finds a conflict where nothing was claimed",
        ));
    }
    receipt.answered(&vote, &answer).map_err(unreachable)?;
    Ok(answer)
}

impl NetStreamAppend<TypeConfig> for PeerNetwork {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let links = self.links()?;
            let times = self.times;
            if self.heartbeat {
                let (node, contacts) = (self.node, self.contacts.clone());
                let (meter, receipt) = (self.meter.clone(), self.receipt.clone());
                let answers = input.then(move |request| {
                    let sent =
                        send_heartbeat(links.clone(), receipt.clone(), times.control, request);
                    let (meter, contacts) = (meter.clone(), contacts.clone());
                    async move {
                        let answer = sent.await;
                        if answer.is_ok() {
                            contacts.heard(node);
                        } else {
                            meter.heartbeat_failures.increment();
                            meter.send_failures.increment();
                        }
                        answer
                    }
                });
                return Ok(Box::pin(answers) as BoxStream<'s, _>);
            }
            // The first request is waited for before anything is dialled: openraft's backoff after a
            // failure is spent in its stream of requests, and a peer that is down would otherwise be
            // tried in a tight loop.
            let mut input = input;
            let Some(first) = input.next().await else {
                return Ok(Box::pin(stream::empty()) as BoxStream<'s, _>);
            };
            let sent = Arc::new(AtomicU64::new(0));
            let counter = sent.clone();
            let (vote, receipt) = (first.vote, self.receipt.clone());
            let whole = stream::iter([first]).chain(input);
            let (valve, whole) = valve(whole);
            let requests = Supersede::new(whole).map(move |request| {
                counter.fetch_add(1, Ordering::Relaxed);
                wire::append_to_proto(&request, receipt.last(&request.vote))
            });
            let mut client = links.entries;
            let answers = timeout(times.stall, client.append(requests)).await;
            let answers = answers
                .map_err(unreachable)?
                .map_err(unreachable)?
                .into_inner();
            let session = Session {
                _valve: valve,
                answers,
                sent,
                answered: 0,
                times,
                kick: self.kick.clone(),
                meter: self.meter.clone(),
                node: self.node,
                vote,
                receipt: self.receipt.clone(),
            };
            Ok(Box::pin(stream::unfold(Some(session), Session::next).fuse()) as BoxStream<'s, _>)
        })
    }
}

/// One stream of entries to a peer, seen from the answers' side.
struct Session {
    /// Takes openraft's requests back from the connection when the session ends.
    _valve: Box<dyn Valve>,
    answers: tonic::Streaming<peer::AppendResponse>,
    sent: Arc<AtomicU64>,
    answered: u64,
    times: NetworkTimes,
    kick: Arc<Notify>,
    meter: Arc<PeerMeter>,
    node: NodeId,
    /// The leader's.
    vote: Vote,
    receipt: Receipt,
}

type SessionItem = RpcResult<StreamAppendResult<TypeConfig>>;

impl Session {
    async fn next(session: Option<Self>) -> Option<(SessionItem, Option<Self>)> {
        let mut session = session?;
        match session.answer().await {
            Ok(None) => None,
            Ok(Some(answer)) => {
                session.answered += 1;
                // A refusal ends the session; openraft opens the next one where it belongs.
                let goes_on = answer.is_ok();
                Some((Ok(answer), goes_on.then_some(session)))
            }
            Err(error) => {
                session.meter.send_failures.increment();
                Some((Err(error), None))
            }
        }
    }

    async fn answer(&mut self) -> RpcResult<Option<StreamAppendResult<TypeConfig>>> {
        loop {
            let before = self.answered;
            let in_flight = self.sent.load(Ordering::Relaxed) > before;
            tokio::select! {
                answer = self.answers.message() => {
                    let Some(answer) = answer.map_err(unreachable)? else { return Ok(None) };
                    let answer = wire::answer_from_proto(answer).map_err(unreachable)?;
                    if let Err(went_back) = self.receipt.answered(&self.vote, &answer) {
                        let peer = format!("{:x}", self.node);
                        tracing::error!(peer, "a member has lost a part of its log: {went_back}");
                        return Err(unreachable(went_back));
                    }
                    return Ok(Some(answer));
                }
                () = self.kick.notified() => {
                    return Err(unreachable(format!(
                        "the stream to {:x} holds back the purge of the log", self.node
                    )));
                }
                () = tokio::time::sleep(self.times.stall) => {
                    // Only a whole period with the same request unanswered is a stall; an idle
                    // stream is woken once a period, which costs nothing.
                    if in_flight {
                        return Err(unreachable(format!(
                            "no answer from {:x} for {:?}", self.node, self.times.stall
                        )));
                    }
                }
            }
        }
    }
}

impl NetVote<TypeConfig> for PeerNetwork {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        self.ask_vote(request, false).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        self.ask_vote(request, true).await
    }
}

impl NetTransferLeader<TypeConfig> for PeerNetwork {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let mut client = self.links()?.control;
        let request = peer::TransferLeaderRequest {
            from_leader: Some(wire::vote_to_proto(request.from_leader())),
            to: *request.to_node_id(),
            last_log: request.last_log_id().map(wire::log_id_to_proto),
        };
        let answer = timeout(self.times.control, client.transfer_leader(request)).await;
        let answer = answer
            .map_err(unreachable)?
            .map_err(unreachable)?
            .into_inner();
        if !answer.accepted {
            return Err(unreachable(answer.reason));
        }
        Ok(Ok(()))
    }
}

impl NetSnapshot<TypeConfig> for PeerNetwork {
    type SnapshotData = SnapshotDir;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotDir>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let links = self
            .links()
            .map_err(|error| StreamingError::Unreachable(Unreachable::from_string(error)))?;
        // A disk that hangs must not keep this waiting when nobody leads here any more.
        let mut cancel = std::pin::pin!(cancel);
        if !std::mem::take(&mut self.renewed) {
            let renewed = tokio::select! {
                closed = &mut cancel => return Err(StreamingError::Closed(closed)),
                renewed = self.renewal.renewed(&snapshot) => renewed,
            };
            match renewed {
                Ok(false) => {}
                // openraft comes again at once, and is given the newer one.
                Ok(true) => {
                    self.renewed = true;
                    return Err(NetworkError::from_string("an old snapshot").into());
                }
                // Old as it is, it is whole.
                Err(error) => tracing::warn!(%error, "no newer snapshot"),
            }
        }
        let last = snapshot.meta.last_log_id;
        let transfer = snapshot_stream::send(links.bulk, vote, snapshot, self.times.snapshot_stall);
        let transfer = self.meter.snapshots_sent.counted(transfer);
        tokio::select! {
            closed = &mut cancel => Err(StreamingError::Closed(closed)),
            sent = transfer => match sent {
                Ok(answered) => {
                    if answered == vote {
                        self.receipt.matched(&vote, last);
                    }
                    Ok(SnapshotResponse::new(answered))
                }
                Err(error) => {
                    tracing::warn!(peer = format!("{:x}", self.node), %error, "snapshot not sent");
                    Err(StreamingError::Unreachable(Unreachable::from_string(error)))
                }
            },
        }
    }
}

impl NetBackoff<TypeConfig> for PeerNetwork {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}
