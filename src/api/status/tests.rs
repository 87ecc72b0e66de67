use super::*;
use tokio::time::Instant;

fn deadline(is_clients: bool) -> Deadline {
    Deadline {
        at: Instant::now(),
        is_clients,
    }
}

#[test]
fn a_passed_deadline_is_named_after_its_owner() {
    let clients = failed(NodeError::Timeout, deadline(true));
    assert_eq!(clients.code(), Code::DeadlineExceeded);
    let own = failed(NodeError::Timeout, deadline(false));
    assert_eq!(own.code(), Code::Unavailable);
    assert_eq!(own.message(), "etcdserver: request timed out");
}

/// Clients retry a write on Unavailable only if the text is not one of the timeouts, so a write
/// that may have happened must never say anything else.
#[test]
fn unknown_outcomes_never_look_like_a_plain_refusal() {
    for error in [
        NodeError::Timeout,
        NodeError::TimeoutLeaderFail,
        NodeError::TimeoutConnectionLost,
        NodeError::TooManyRequests,
        NodeError::Stopped,
    ] {
        let status = failed(error, deadline(false));
        assert!(status.message().starts_with("etcdserver: "), "{status:?}");
        if error.is_unknown_outcome() {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
    }
    assert_eq!(
        failed(NodeError::TooManyRequests, deadline(false)).code(),
        Code::Unknown
    );
}

/// The table of etcd's errors, as they come over the wire. Lock and Election, watchers and the
/// downgrade have theirs beside their services.
#[test]
fn every_code_and_text_is_etcds() {
    use Code::{
        DataLoss, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound, OutOfRange,
        ResourceExhausted, Unavailable, Unknown,
    };
    let own = |error| failed(error, deadline(false));
    let reconfigured = |why| not_reconfigured(ReconfigureError::Refused(why), deadline(false));
    let said = [
        (
            invalid(Invalid::EmptyKey),
            InvalidArgument,
            "key is not provided",
        ),
        (
            invalid(Invalid::NoOperation),
            InvalidArgument,
            "key not found",
        ),
        (
            invalid(Invalid::ValueProvided),
            InvalidArgument,
            "value is provided",
        ),
        (
            invalid(Invalid::LeaseProvided),
            InvalidArgument,
            "lease is provided",
        ),
        (
            invalid(Invalid::SortOption),
            InvalidArgument,
            "invalid sort option",
        ),
        (
            invalid(Invalid::TooManyOperations),
            InvalidArgument,
            "too many operations in txn request",
        ),
        (
            invalid(Invalid::DuplicateKey),
            InvalidArgument,
            "duplicate key given in txn request",
        ),
        (
            invalid(Invalid::TooLarge),
            InvalidArgument,
            "request is too large",
        ),
        (
            invalid(Invalid::LeaseTtlTooLarge),
            OutOfRange,
            "too large lease TTL",
        ),
        (
            refused(Refusal::Compacted),
            OutOfRange,
            "mvcc: required revision has been compacted",
        ),
        (
            refused(Refusal::FutureRevision),
            OutOfRange,
            "mvcc: required revision is a future revision",
        ),
        (
            refused(Refusal::LeaseNotFound),
            NotFound,
            "requested lease not found",
        ),
        (
            refused(Refusal::LeaseExists),
            FailedPrecondition,
            "lease already exists",
        ),
        (
            refused(Refusal::KeyNotFound),
            InvalidArgument,
            "key not found",
        ),
        (
            refused(Refusal::TooLarge),
            InvalidArgument,
            "request is too large",
        ),
        (
            refused(Refusal::NoSpace),
            ResourceExhausted,
            "mvcc: database space exceeded",
        ),
        (refused(Refusal::Corrupt), DataLoss, "corrupt cluster"),
        (own(NodeError::Corrupt), DataLoss, "corrupt cluster"),
        (own(NodeError::Stopped), Unavailable, "server stopped"),
        (own(NodeError::Timeout), Unavailable, "request timed out"),
        (
            failed(NodeError::Timeout, deadline(true)),
            DeadlineExceeded,
            "context deadline exceeded",
        ),
        (
            own(NodeError::TimeoutLeaderFail),
            Unavailable,
            "request timed out, possibly due to previous leader failure",
        ),
        (
            own(NodeError::TimeoutConnectionLost),
            Unavailable,
            "request timed out, possibly due to connection lost",
        ),
        (
            own(NodeError::TooManyRequests),
            Unknown,
            "too many requests",
        ),
        (
            not_moved(MoveFailure::NotLeader),
            FailedPrecondition,
            "not leader",
        ),
        (
            not_moved(MoveFailure::BadTransferee),
            FailedPrecondition,
            "bad leader transferee",
        ),
        (
            not_moved(MoveFailure::TookTooLong),
            Unknown,
            "request timed out, leader transfer took too long",
        ),
        (
            reconfigured(Refused::NotFound),
            NotFound,
            "member not found",
        ),
        (
            reconfigured(Refused::IdExists),
            FailedPrecondition,
            "member ID already exist",
        ),
        (
            reconfigured(Refused::PeerUrlExists),
            FailedPrecondition,
            "Peer URLs already exists",
        ),
        (
            reconfigured(Refused::TooManyLearners),
            FailedPrecondition,
            "too many learner members in cluster",
        ),
        (
            reconfigured(Refused::NotLearner),
            FailedPrecondition,
            "can only promote a learner member",
        ),
        (
            reconfigured(Refused::LearnerNotReady),
            FailedPrecondition,
            "can only promote a learner member which is in sync with leader",
        ),
        (
            reconfigured(Refused::NotEnoughStarted),
            Unknown,
            "re-configuration failed due to not enough started members",
        ),
        (
            reconfigured(Refused::Unhealthy),
            Unavailable,
            "unhealthy cluster",
        ),
        (
            bad_member_urls(),
            InvalidArgument,
            "given member URLs are invalid",
        ),
        (no_leader(), Unavailable, "no leader"),
        (
            not_for_learners(),
            FailedPrecondition,
            "rpc not supported for learner",
        ),
    ];
    for (status, code, text) in said {
        assert_eq!(status.code(), code, "{status:?}");
        assert_eq!(status.message(), format!("etcdserver: {text}"));
    }
}
