//! Every way to say no, with etcd's code and etcd's text. Clients match the text before the code.

use super::dispatch::Deadline;
use super::validate::Invalid;
use crate::node::{MoveFailure, NodeError, ReconfigureError, Refused};
use crate::state_machine::Refusal;
use tonic::{Code, Status};

const TOO_LARGE: (Code, &str) = (Code::InvalidArgument, "etcdserver: request is too large");
/// What the leader's answers to one batch may take on their way to another member.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const CORRUPT: (Code, &str) = (Code::DataLoss, "etcdserver: corrupt cluster");
const KEY_NOT_FOUND: (Code, &str) = (Code::InvalidArgument, "etcdserver: key not found");

fn status((code, text): (Code, &'static str)) -> Status {
    Status::new(code, text)
}

/// What the door itself refuses.
pub(super) fn invalid(invalid: Invalid) -> Status {
    status(match invalid {
        Invalid::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
        Invalid::NoOperation => KEY_NOT_FOUND,
        Invalid::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
        Invalid::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
        Invalid::SortOption => (Code::InvalidArgument, "etcdserver: invalid sort option"),
        Invalid::TooManyOperations => (
            Code::InvalidArgument,
            "etcdserver: too many operations in txn request",
        ),
        Invalid::DuplicateKey => (
            Code::InvalidArgument,
            "etcdserver: duplicate key given in txn request",
        ),
        Invalid::TooLarge => TOO_LARGE,
        Invalid::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
    })
}

/// What the state machine refuses.
pub(super) fn refused(refusal: Refusal) -> Status {
    status(match refusal {
        Refusal::Compacted => (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        ),
        Refusal::FutureRevision => (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        Refusal::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
        Refusal::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
        // Asked for by no client.
        Refusal::Fenced => (
            Code::Internal,
            "quorate: a leader's decision in a later term",
        ),
        Refusal::KeyNotFound => KEY_NOT_FOUND,
        Refusal::TooLarge => TOO_LARGE,
        Refusal::NoSpace => (
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        ),
        Refusal::Corrupt => CORRUPT,
        // Members' own commands: no client's request is refused so.
        Refusal::MemberRemoved | Refusal::MemberKnownElsewhere => {
            (Code::NotFound, "etcdserver: member not found")
        }
    })
}

/// Why the node could not carry it out. A deadline that passed was the client's own or etcd's
/// limit for every request, whichever came first, and the two have different names.
pub(super) fn failed(error: NodeError, deadline: Deadline) -> Status {
    status(match error {
        NodeError::Timeout => {
            if deadline.is_clients {
                (
                    Code::DeadlineExceeded,
                    "etcdserver: context deadline exceeded",
                )
            } else {
                (Code::Unavailable, "etcdserver: request timed out")
            }
        }
        NodeError::TimeoutLeaderFail => (
            Code::Unavailable,
            "etcdserver: request timed out, possibly due to previous leader failure",
        ),
        NodeError::TimeoutConnectionLost => (
            Code::Unavailable,
            "etcdserver: request timed out, possibly due to connection lost",
        ),
        // etcd sends this one without a code of its own: Unknown, although its table says
        // ResourceExhausted.
        NodeError::TooManyRequests => (Code::Unknown, "etcdserver: too many requests"),
        NodeError::Corrupt => CORRUPT,
        NodeError::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
    })
}

/// Why leadership did not move.
pub(super) fn not_moved(failure: MoveFailure) -> Status {
    status(match failure {
        MoveFailure::NotLeader => (Code::FailedPrecondition, "etcdserver: not leader"),
        MoveFailure::BadTransferee => (
            Code::FailedPrecondition,
            "etcdserver: bad leader transferee",
        ),
        // An internal error of etcd's, so without a code of its own.
        MoveFailure::TookTooLong => (
            Code::Unknown,
            "etcdserver: request timed out, leader transfer took too long",
        ),
    })
}

/// The command was carried out; only its answer cannot be brought here. In grpc-go's words.
pub(super) fn answer_too_long(bytes: u64) -> Status {
    Status::resource_exhausted(format!(
        "grpc: trying to send message larger than max ({bytes} vs. {ANSWER_BYTES_MAX})"
    ))
}

/// Why the membership was not changed. etcd sends "not enough started" without a code of its own:
/// Unknown, although its table says FailedPrecondition.
pub(super) fn not_reconfigured(error: ReconfigureError, deadline: Deadline) -> Status {
    let refused = match error {
        ReconfigureError::Failed(error) => return failed(error, deadline),
        ReconfigureError::Refused(refused) => refused,
    };
    let code = match refused {
        Refused::NotFound => Code::NotFound,
        Refused::IdExists
        | Refused::PeerUrlExists
        | Refused::TooManyLearners
        | Refused::NotLearner
        | Refused::LearnerNotReady => Code::FailedPrecondition,
        Refused::NotEnoughStarted => Code::Unknown,
        Refused::Unhealthy => Code::Unavailable,
    };
    Status::new(code, format!("etcdserver: {refused}"))
}

pub(super) fn bad_member_urls() -> Status {
    Status::invalid_argument("etcdserver: given member URLs are invalid")
}

pub(super) fn no_leader() -> Status {
    Status::unavailable("etcdserver: no leader")
}

pub(super) fn not_for_learners() -> Status {
    Status::failed_precondition("etcdserver: rpc not supported for learner")
}

/// etcd crashes.
pub(super) fn unknown_alarm_action(action: i32) -> Status {
    Status::invalid_argument(format!("quorate: {action} is no alarm action"))
}

/// A call that etcd has and we do not have yet.
pub(super) fn not_there_yet(service: &str, method: &str) -> Status {
    Status::unimplemented(format!("quorate: {service}/{method} is not there yet"))
}

pub(super) fn unknown_service(service: &str) -> Status {
    Status::unimplemented(format!("unknown service {service}"))
}

pub(super) fn unknown_method(service: &str, method: &str) -> Status {
    Status::unimplemented(format!("unknown method {method} for service {service}"))
}

#[cfg(test)]
mod tests;
