//! From a path to a call, and what every call has in common.

use super::grpc::{self, Metadata, ReplyBody};
use super::meters::CallMeters;
use super::stream::{self, Messages, Replies};
use super::{
    cluster, downgrade, election, hashes, health, kv, lease, lock, maintenance, snapshot, status,
    txn_wire, unanswered, validate, watch,
};
use crate::config::Config;
use crate::node::Node;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use prost::Message;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

/// What a message may be longer than a request: etcd's allowance for framing.
const RECEIVE_SLACK_BYTES: usize = 512 * 1024;

/// How long the message of a call may take to arrive, whatever the client would wait. Our own limit
/// on the work begins after it, as etcd's does.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(60);

/// Limits of the doors, from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest entry of the log.
    pub max_request_bytes: usize,
    /// Operations along one path of a transaction.
    pub max_txn_ops: usize,
    /// How often an idle watcher that asks for it hears of progress.
    pub watch_progress_interval: Duration,
    /// etcd's own limit on how long a request may take.
    pub request_timeout: Duration,
    /// Whether it is measured how long calls take.
    pub measures_durations: bool,
}

impl Limits {
    pub fn of(config: &Config) -> Self {
        Self {
            max_request_bytes: config.max_request_bytes,
            max_txn_ops: config.max_txn_ops,
            watch_progress_interval: config.watch_progress_interval,
            request_timeout: config.request_timeout(),
            measures_durations: config.extensive_metrics,
        }
    }

    /// The longest message that is taken, and the longest that a fragment may be.
    pub(super) fn receive_bytes_max(&self) -> usize {
        self.max_request_bytes.saturating_add(RECEIVE_SLACK_BYTES)
    }
}

/// All gRPC services of a member. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    inside: Arc<Inside>,
}

struct Inside {
    node: Node,
    limits: Limits,
    meters: Arc<CallMeters>,
}

/// When to give up, and whose wish that is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) is_clients: bool,
}

impl Deadline {
    fn new(now: Instant, asked: Option<Duration>, own: Duration) -> Self {
        match asked {
            Some(asked) if asked < own => Self {
                at: now + asked,
                is_clients: true,
            },
            _ => Self {
                at: now + own,
                is_clients: false,
            },
        }
    }
}

/// One call on its way through.
#[derive(Clone)]
pub(super) struct Call {
    doors: Doors,
    pub(super) deadline: Deadline,
    /// The encoded request; 0 on a stream.
    pub(super) message_bytes: usize,
}

impl Call {
    pub(super) fn node(&self) -> &Node {
        &self.doors.inside.node
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.doors.inside.limits
    }

    /// A new deadline of our own, for one more piece of work of a stream.
    pub(super) fn next_deadline(&self) -> Deadline {
        Deadline::new(Instant::now(), None, self.limits().request_timeout)
    }
}

/// Which calls a learner answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Learner {
    Never,
    /// The call looks for itself.
    Itself,
}

impl Doors {
    pub fn new(node: Node, limits: Limits) -> Self {
        Self {
            inside: Arc::new(Inside {
                node,
                limits,
                meters: Arc::new(CallMeters::new(limits.measures_durations)),
            }),
        }
    }

    /// What is counted of calls.
    pub fn meters(&self) -> &CallMeters {
        &self.inside.meters
    }

    /// The longest message of a request.
    pub fn message_bytes_max(&self) -> usize {
        self.inside.limits.receive_bytes_max()
    }

    /// Answers one HTTP/2 request. Never fails: a refusal is an answer.
    pub async fn answer<B>(self, request: Request<B>) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        if let Err(response) = grpc::check_call(&request) {
            grpc::drain(&mut request.into_body()).await;
            return *response;
        }
        match request.uri().path() {
            "/etcdserverpb.KV/Range" => {
                self.unary(request, Learner::Itself, message, kv::range)
                    .await
            }
            "/etcdserverpb.KV/Put" => self.unary(request, Learner::Never, message, kv::put).await,
            "/etcdserverpb.KV/Txn" => self.unary(request, Learner::Never, txn, kv::txn).await,
            _ => Box::pin(self.answer_rare(request)).await,
        }
    }

    /// Calls that are no hot path. In a box: the task of a call has room for the largest that it may
    /// become, and is copied four times as it is spawned and as it ends.
    async fn answer_rare<B>(self, request: Request<B>) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        match request.uri().path() {
            "/etcdserverpb.KV/DeleteRange" => {
                self.unary(request, Learner::Never, message, kv::delete_range)
                    .await
            }
            "/etcdserverpb.KV/Compact" => {
                self.unary(request, Learner::Never, message, kv::compact)
                    .await
            }
            "/etcdserverpb.Watch/Watch" => self.stream(request, Learner::Never, watch::watch),
            "/etcdserverpb.Lease/LeaseGrant" => {
                self.unary(request, Learner::Never, message, lease::grant)
                    .await
            }
            "/etcdserverpb.Lease/LeaseRevoke" => {
                self.unary(request, Learner::Never, message, lease::revoke)
                    .await
            }
            "/etcdserverpb.Lease/LeaseKeepAlive" => {
                self.stream(request, Learner::Never, lease::keep_alive)
            }
            "/etcdserverpb.Lease/LeaseTimeToLive" => {
                self.unary(request, Learner::Never, message, lease::time_to_live)
                    .await
            }
            "/etcdserverpb.Lease/LeaseLeases" => {
                self.unary(request, Learner::Never, message, lease::leases)
                    .await
            }
            "/etcdserverpb.Cluster/MemberList" => {
                self.unary(request, Learner::Never, message, cluster::member_list)
                    .await
            }
            "/etcdserverpb.Cluster/MemberAdd" => {
                self.unary(request, Learner::Never, message, cluster::member_add)
                    .await
            }
            "/etcdserverpb.Cluster/MemberRemove" => {
                self.unary(request, Learner::Never, message, cluster::member_remove)
                    .await
            }
            "/etcdserverpb.Cluster/MemberUpdate" => {
                self.unary(request, Learner::Never, message, cluster::member_update)
                    .await
            }
            "/etcdserverpb.Cluster/MemberPromote" => {
                self.unary(request, Learner::Never, message, cluster::member_promote)
                    .await
            }
            "/etcdserverpb.Maintenance/Status" => {
                self.unary(request, Learner::Itself, message, maintenance::status)
                    .await
            }
            "/etcdserverpb.Maintenance/Alarm" => {
                self.unary(request, Learner::Never, message, maintenance::alarm)
                    .await
            }
            "/etcdserverpb.Maintenance/Defragment" => {
                self.unary(request, Learner::Never, message, maintenance::defragment)
                    .await
            }
            "/etcdserverpb.Maintenance/MoveLeader" => {
                self.unary(request, Learner::Never, message, maintenance::move_leader)
                    .await
            }
            "/etcdserverpb.Maintenance/Downgrade" => {
                self.unary(request, Learner::Never, message, downgrade::downgrade)
                    .await
            }
            "/v3lockpb.Lock/Lock" => self.stream(request, Learner::Never, lock::lock),
            "/v3lockpb.Lock/Unlock" => {
                self.unary(request, Learner::Never, message, lock::unlock)
                    .await
            }
            "/v3electionpb.Election/Campaign" => {
                self.stream(request, Learner::Never, election::campaign)
            }
            "/v3electionpb.Election/Proclaim" => {
                self.unary(request, Learner::Never, message, election::proclaim)
                    .await
            }
            "/v3electionpb.Election/Leader" => {
                self.unary(request, Learner::Never, message, election::leader)
                    .await
            }
            "/v3electionpb.Election/Observe" => {
                self.stream(request, Learner::Never, election::observe)
            }
            "/v3electionpb.Election/Resign" => {
                self.unary(request, Learner::Never, message, election::resign)
                    .await
            }
            "/etcdserverpb.Maintenance/HashKV" => {
                self.unary(request, Learner::Never, message, hashes::hash_kv)
                    .await
            }
            "/etcdserverpb.Maintenance/Hash" => {
                self.unary(request, Learner::Never, message, hashes::hash)
                    .await
            }
            "/etcdserverpb.Maintenance/Snapshot" => {
                self.stream(request, Learner::Itself, snapshot::snapshot)
            }
            "/grpc.health.v1.Health/Check" => {
                self.unary(request, Learner::Itself, message, health::check)
                    .await
            }
            "/grpc.health.v1.Health/Watch" => self.stream(request, Learner::Itself, health::watch),
            path => {
                let response = grpc::refuse(&unanswered::status(path));
                grpc::drain(&mut request.into_body()).await;
                response
            }
        }
    }

    async fn unary<B, Question, Answer, Answering>(
        self,
        request: Request<B>,
        learner: Learner,
        decode: fn(Bytes) -> Result<Question, Status>,
        call: fn(Call, Question) -> Answering,
    ) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Unpin,
        Answer: Message,
        Answering: Future<Output = Result<Answer, Status>>,
    {
        let metered = self.inside.meters.begin(request.uri().path());
        let answer = async {
            let (call_of, bytes) = self.receive(request, learner).await?;
            metered.received(bytes.len());
            call(call_of, decode(bytes)?).await
        };
        match answer.await {
            Ok(answer) => {
                let response = grpc::reply(&answer);
                match response.body().message_bytes() {
                    Some(bytes) => {
                        metered.sent(1, bytes);
                        metered.end(Code::Ok);
                    }
                    None => metered.end(Code::ResourceExhausted),
                }
                response
            }
            Err(status) => {
                metered.end(status.code());
                grpc::refuse(&status)
            }
        }
    }

    /// The message of a call and its deadline, once what every call must satisfy is checked.
    async fn receive<B>(
        self,
        request: Request<B>,
        learner: Learner,
    ) -> Result<(Call, Bytes), Status>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, mut body) = request.into_parts();
        let limits = self.inside.limits;
        let arrived = Instant::now();
        let metadata = Metadata::read(&head.headers);
        let asked = metadata.as_ref().ok().and_then(|said| said.timeout);
        let patience = asked.map_or(ARRIVAL_PATIENCE, |asked| asked.min(ARRIVAL_PATIENCE));
        let limit = limits.receive_bytes_max();
        let bytes = grpc::read_message(&head.headers, &mut body, limit, patience).await?;
        let metadata = metadata?;
        let left = asked.map(|asked| asked.saturating_sub(arrived.elapsed()));
        let deadline = Deadline::new(Instant::now(), left, limits.request_timeout);
        self.admit(learner, metadata)?;
        Ok((
            Call {
                doors: self,
                deadline,
                message_bytes: bytes.len(),
            },
            bytes,
        ))
    }

    /// A call with a task of its own, which reads and writes as it likes. A client that wants a
    /// leader is told when there has been none for a while.
    fn stream<B, Serving>(
        self,
        request: Request<B>,
        learner: Learner,
        serve: fn(Call, Messages, Replies) -> Serving,
    ) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        Serving: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let metered = self.inside.meters.begin(request.uri().path());
        let (head, body) = request.into_parts();
        let limits = self.inside.limits;
        let metadata = Metadata::read(&head.headers)
            .and_then(|metadata| self.admit(learner, metadata).map(|()| metadata));
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(status) => {
                metered.end(status.code());
                return grpc::refuse(&status);
            }
        };
        let messages = Messages::new(&head.headers, body, limits.receive_bytes_max());
        let messages = messages.counted(metered.inward());
        let node = self.inside.node.clone();
        let call = Call {
            doors: self,
            deadline: Deadline::new(Instant::now(), metadata.timeout, limits.request_timeout),
            message_bytes: 0,
        };
        let answers = stream::open(move |replies| {
            let serving = serve(call, messages, replies);
            async move {
                tokio::select! {
                    served = serving => served,
                    () = passed(metadata.timeout) => {
                        Err(Status::deadline_exceeded("context deadline exceeded"))
                    }
                    () = node.leaderless(), if metadata.require_leader => Err(status::no_leader()),
                }
            }
        });
        grpc::reply_stream(answers.counted(metered))
    }

    /// What every call must satisfy.
    fn admit(&self, learner: Learner, metadata: Metadata) -> Result<(), Status> {
        if learner == Learner::Never && self.inside.node.is_learner() {
            return Err(status::not_for_learners());
        }
        if metadata.require_leader && !self.inside.node.has_leader() {
            return Err(status::no_leader());
        }
        Ok(())
    }
}

/// Returns when a stream's time is over; a client that named none has all the time there is.
async fn passed(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn message<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| grpc::malformed(&error))
}

/// A transaction nested too deep has more operations along its path than any limit allows.
fn txn(bytes: Bytes) -> Result<crate::proto::etcdserverpb::TxnRequest, Status> {
    txn_wire::decode(bytes).map_err(|error| match error {
        txn_wire::TxnDecodeError::Malformed(error) => grpc::malformed(&error),
        txn_wire::TxnDecodeError::TooDeep => status::invalid(validate::Invalid::TooManyOperations),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;

    #[test]
    fn the_task_of_a_call_has_no_room_for_rare_ones() {
        fn size<F>(_: fn(Doors, Request<Empty<Bytes>>) -> F) -> usize {
            size_of::<F>()
        }
        let (hot, rare) = (size(Doors::answer), size(Doors::answer_rare));
        assert!(hot < rare, "{hot} bytes, and {rare} of a rare call");
        assert!(hot <= 3 << 10, "{hot} bytes");
    }

    #[test]
    fn the_shorter_deadline_wins_and_keeps_its_owner() {
        let own = Duration::from_secs(7);
        assert!(!Deadline::new(Instant::now(), None, own).is_clients);
        assert!(!Deadline::new(Instant::now(), Some(own), own).is_clients);
        assert!(Deadline::new(Instant::now(), Some(Duration::from_secs(1)), own).is_clients);
    }
}
