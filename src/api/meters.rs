//! How often each call came, how it ended and how long it took, under the names of
//! go-grpc-prometheus.
//!
//! A call costs a look through a short list, the most frequent first, and a few additions.

use super::grpc::PREFIX_BYTES;
use crate::telemetry::metrics::{Buckets, Counter, Durations};
use std::sync::Arc;
use tokio::time::Instant;
use tonic::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Unary,
    ServerStream,
    BidiStream,
}

impl CallKind {
    /// The value of the label `grpc_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

/// All calls of etcd 3.6 and of gRPC's health service, the most frequent first.
const CALLS: &[(&str, CallKind)] = &[
    ("/etcdserverpb.KV/Range", CallKind::Unary),
    ("/etcdserverpb.KV/Txn", CallKind::Unary),
    ("/etcdserverpb.KV/Put", CallKind::Unary),
    ("/etcdserverpb.KV/DeleteRange", CallKind::Unary),
    ("/etcdserverpb.Watch/Watch", CallKind::BidiStream),
    ("/etcdserverpb.Lease/LeaseGrant", CallKind::Unary),
    ("/etcdserverpb.Lease/LeaseKeepAlive", CallKind::BidiStream),
    ("/etcdserverpb.Lease/LeaseRevoke", CallKind::Unary),
    ("/etcdserverpb.Lease/LeaseTimeToLive", CallKind::Unary),
    ("/etcdserverpb.Lease/LeaseLeases", CallKind::Unary),
    ("/etcdserverpb.KV/Compact", CallKind::Unary),
    ("/v3lockpb.Lock/Lock", CallKind::Unary),
    ("/v3lockpb.Lock/Unlock", CallKind::Unary),
    ("/v3electionpb.Election/Campaign", CallKind::Unary),
    ("/v3electionpb.Election/Leader", CallKind::Unary),
    ("/v3electionpb.Election/Observe", CallKind::ServerStream),
    ("/v3electionpb.Election/Proclaim", CallKind::Unary),
    ("/v3electionpb.Election/Resign", CallKind::Unary),
    ("/etcdserverpb.Maintenance/Status", CallKind::Unary),
    ("/etcdserverpb.Maintenance/Alarm", CallKind::Unary),
    ("/etcdserverpb.Maintenance/Defragment", CallKind::Unary),
    ("/etcdserverpb.Maintenance/Downgrade", CallKind::Unary),
    ("/etcdserverpb.Maintenance/Hash", CallKind::Unary),
    ("/etcdserverpb.Maintenance/HashKV", CallKind::Unary),
    ("/etcdserverpb.Maintenance/MoveLeader", CallKind::Unary),
    ("/etcdserverpb.Maintenance/Snapshot", CallKind::ServerStream),
    ("/etcdserverpb.Cluster/MemberAdd", CallKind::Unary),
    ("/etcdserverpb.Cluster/MemberList", CallKind::Unary),
    ("/etcdserverpb.Cluster/MemberPromote", CallKind::Unary),
    ("/etcdserverpb.Cluster/MemberRemove", CallKind::Unary),
    ("/etcdserverpb.Cluster/MemberUpdate", CallKind::Unary),
    ("/etcdserverpb.Auth/AuthDisable", CallKind::Unary),
    ("/etcdserverpb.Auth/AuthEnable", CallKind::Unary),
    ("/etcdserverpb.Auth/AuthStatus", CallKind::Unary),
    ("/etcdserverpb.Auth/Authenticate", CallKind::Unary),
    ("/etcdserverpb.Auth/RoleAdd", CallKind::Unary),
    ("/etcdserverpb.Auth/RoleDelete", CallKind::Unary),
    ("/etcdserverpb.Auth/RoleGet", CallKind::Unary),
    ("/etcdserverpb.Auth/RoleGrantPermission", CallKind::Unary),
    ("/etcdserverpb.Auth/RoleList", CallKind::Unary),
    ("/etcdserverpb.Auth/RoleRevokePermission", CallKind::Unary),
    ("/etcdserverpb.Auth/UserAdd", CallKind::Unary),
    ("/etcdserverpb.Auth/UserChangePassword", CallKind::Unary),
    ("/etcdserverpb.Auth/UserDelete", CallKind::Unary),
    ("/etcdserverpb.Auth/UserGet", CallKind::Unary),
    ("/etcdserverpb.Auth/UserGrantRole", CallKind::Unary),
    ("/etcdserverpb.Auth/UserList", CallKind::Unary),
    ("/etcdserverpb.Auth/UserRevokeRole", CallKind::Unary),
    ("/grpc.health.v1.Health/Check", CallKind::Unary),
    ("/grpc.health.v1.Health/Watch", CallKind::ServerStream),
];

/// Codes in the order of their numbers, under Go's names.
const CODES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "Canceled"),
    (Code::Unknown, "Unknown"),
    (Code::InvalidArgument, "InvalidArgument"),
    (Code::DeadlineExceeded, "DeadlineExceeded"),
    (Code::NotFound, "NotFound"),
    (Code::AlreadyExists, "AlreadyExists"),
    (Code::PermissionDenied, "PermissionDenied"),
    (Code::ResourceExhausted, "ResourceExhausted"),
    (Code::FailedPrecondition, "FailedPrecondition"),
    (Code::Aborted, "Aborted"),
    (Code::OutOfRange, "OutOfRange"),
    (Code::Unimplemented, "Unimplemented"),
    (Code::Internal, "Internal"),
    (Code::Unavailable, "Unavailable"),
    (Code::DataLoss, "DataLoss"),
    (Code::Unauthenticated, "Unauthenticated"),
];

/// One call's numbers.
#[derive(Debug)]
pub struct CallMeter {
    path: &'static str,
    pub kind: CallKind,
    pub started: Counter,
    /// Messages of clients, and of ours.
    pub received: Counter,
    pub sent: Counter,
    handled: [Counter; CODES.len()],
    /// Only where it is wanted: it costs two looks at the clock.
    pub took: Option<Durations>,
}

impl CallMeter {
    /// The labels `grpc_service` and `grpc_method`.
    pub fn names(&self) -> (&'static str, &'static str) {
        let path = self.path.strip_prefix('/').unwrap_or(self.path);
        path.split_once('/').unwrap_or((path, ""))
    }

    /// The label `grpc_code` and how often a call ended so.
    pub fn handled(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.handled.iter().map(Counter::value);
        CODES.iter().map(|(_, name)| *name).zip(counts)
    }

    fn handle(&self, code: Code) {
        let number = usize::try_from(i32::from(code)).unwrap_or(usize::MAX);
        if let Some(counter) = self.handled.get(number) {
            counter.increment();
        }
    }
}

/// Numbers of all calls of a member.
#[derive(Debug)]
pub struct CallMeters {
    /// Last the calls of nobody, which nobody is shown.
    calls: Vec<CallMeter>,
    /// Bytes of messages with their frames, over all calls.
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
}

impl CallMeters {
    /// With `durations` it is also measured how long calls take.
    pub(super) fn new(durations: bool) -> Self {
        let meter = |&(path, kind)| CallMeter {
            path,
            kind,
            started: Counter::new(),
            received: Counter::new(),
            sent: Counter::new(),
            handled: Default::default(),
            took: durations.then(|| Durations::new(Buckets::Standard)),
        };
        let nobodys = ("", CallKind::Unary);
        Self {
            calls: CALLS.iter().chain([&nobodys]).map(meter).collect(),
            received_bytes: Counter::new(),
            sent_bytes: Counter::new(),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &CallMeter> {
        self.calls.iter().take(CALLS.len())
    }

    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>, path: &str) -> Metered {
        let number = CALLS.iter().position(|(known, _)| *known == path);
        let metered = Metered {
            meters: self.clone(),
            number: number.unwrap_or(CALLS.len()),
            begun: self.takes_time().then(Instant::now),
            code: Code::Cancelled,
        };
        metered.meter().started.increment();
        metered
    }

    fn received(&self, number: usize, bytes: usize) {
        self.calls[number].received.increment();
        self.received_bytes.add((PREFIX_BYTES + bytes) as u64);
    }

    fn takes_time(&self) -> bool {
        self.calls.first().is_some_and(|meter| meter.took.is_some())
    }
}

/// A call on its way. If it is dropped before anybody says how it ended, its client went away.
#[derive(Debug)]
pub(super) struct Metered {
    meters: Arc<CallMeters>,
    number: usize,
    begun: Option<Instant>,
    code: Code,
}

/// Where the messages of a client are counted, apart from the call's end.
#[derive(Clone, Debug)]
pub(super) struct Inward {
    meters: Arc<CallMeters>,
    number: usize,
}

impl Inward {
    /// A message of so many bytes came.
    pub(super) fn received(&self, bytes: usize) {
        self.meters.received(self.number, bytes);
    }
}

/// Finds where messages begin in a stream of frames that comes in any pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Of the current prefix, and of the message behind it, still to come.
    prefix: Vec<u8>,
    left: usize,
}

impl Frames {
    /// How many messages begin in the next piece.
    pub(super) fn begun_in(&mut self, mut piece: &[u8]) -> usize {
        let mut begun = 0;
        while !piece.is_empty() {
            let skipped = self.left.min(piece.len());
            self.left -= skipped;
            piece = &piece[skipped..];
            let taken = (PREFIX_BYTES - self.prefix.len()).min(piece.len());
            if taken > 0 && self.prefix.is_empty() {
                begun += 1;
            }
            self.prefix.extend_from_slice(&piece[..taken]);
            piece = &piece[taken..];
            if let &[_, a, b, c, d] = self.prefix.as_slice() {
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.prefix.clear();
            }
        }
        begun
    }
}

impl Metered {
    fn meter(&self) -> &CallMeter {
        &self.meters.calls[self.number]
    }

    pub(super) fn inward(&self) -> Inward {
        Inward {
            meters: self.meters.clone(),
            number: self.number,
        }
    }

    /// The one message of a unary call, of so many bytes, came.
    pub(super) fn received(&self, bytes: usize) {
        self.meters.received(self.number, bytes);
    }

    /// One or more messages went out, in so many bytes with their frames.
    pub(super) fn sent(&self, messages: usize, bytes: usize) {
        self.meter().sent.add(messages as u64);
        self.meters.sent_bytes.add(bytes as u64);
    }

    pub(super) fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        let meter = self.meter();
        meter.handle(self.code);
        if let (Some(took), Some(begun)) = (&meter.took, self.begun) {
            took.observe(begun.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handled(meters: &CallMeters, path: &str) -> Vec<(&'static str, u64)> {
        let meter = meters.all().find(|meter| meter.path == path).unwrap();
        meter.handled().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn a_call_ends_as_it_is_told_or_was_cancelled() {
        let meters = Arc::new(CallMeters::new(true));
        let path = "/etcdserverpb.KV/Put";
        let ok = meters.begin(path);
        ok.received(10);
        ok.sent(1, 25);
        ok.end(Code::Ok);
        meters.begin(path).end(Code::Unauthenticated);
        drop(meters.begin(path));
        assert_eq!(
            handled(&meters, path),
            [("OK", 1), ("Canceled", 1), ("Unauthenticated", 1)]
        );
        let put = meters.all().find(|meter| meter.path == path).unwrap();
        assert_eq!(put.names(), ("etcdserverpb.KV", "Put"));
        assert_eq!(put.started.value(), 3);
        assert_eq!(put.took.as_ref().unwrap().count(), 3);
        assert_eq!((put.received.value(), put.sent.value()), (1, 1));
        assert_eq!(meters.received_bytes.value(), 15);
        assert_eq!(meters.sent_bytes.value(), 25);
        meters.begin("/etcdserverpb.KV/Nothing").end(Code::Ok);
        assert_eq!(meters.all().count(), CALLS.len());
    }

    #[test]
    fn messages_are_counted_where_they_begin_however_they_are_cut() {
        let frame = |length: u32| {
            let body = vec![7; usize::try_from(length).unwrap()];
            [&[0][..], &length.to_be_bytes(), &body].concat()
        };
        let stream = [frame(3), frame(0), frame(300), frame(1)].concat();
        for piece in 1..stream.len() {
            let mut frames = Frames::default();
            let begun: usize = stream
                .chunks(piece)
                .map(|piece| frames.begun_in(piece))
                .sum();
            assert_eq!(begun, 4, "in pieces of {piece}");
        }
    }

    #[test]
    fn codes_stand_at_their_numbers() {
        for (number, (code, _)) in CODES.iter().enumerate() {
            assert_eq!(usize::try_from(i32::from(*code)).unwrap(), number);
        }
    }
}
