//! `Maintenance.Downgrade`: may the cluster be taken down to an older version, and that it is to be.
//!
//! As in etcd the target is exactly one minor version below the cluster's. What etcd does next, to
//! lower the cluster's version and to rewrite its storage, has no meaning here: the state is noted,
//! replicated and shown in `Status`, until it is cancelled.

use super::dispatch::Call;
use super::{header, kv, status};
use crate::config::ETCD_VERSION;
use crate::proto::etcdserverpb::downgrade_request::DowngradeAction;
use crate::proto::etcdserverpb::{DowngradeRequest, DowngradeResponse};
use crate::state_machine::{Command, Outcome};
use crate::types::Revision;
use tonic::{Code, Status};

const WRONG_FORMAT: (Code, &str) = (
    Code::InvalidArgument,
    "etcdserver: wrong downgrade target version format",
);
const INVALID_TARGET: (Code, &str) = (
    Code::InvalidArgument,
    "etcdserver: invalid downgrade target version",
);
const IN_PROGRESS: (Code, &str) = (
    Code::FailedPrecondition,
    "etcdserver: cluster has a downgrade job in progress",
);
const NONE_IN_FLIGHT: (Code, &str) = (
    Code::FailedPrecondition,
    "etcdserver: no inflight downgrade job",
);
/// An internal error of etcd's, so without a code of its own.
const UNKNOWN_METHOD: (Code, &str) = (Code::Unknown, "etcdserver: unknown method");

/// Major and minor.
type ClusterVersion = (u64, u64);

pub(super) async fn downgrade(
    call: Call,
    request: DowngradeRequest,
) -> Result<DowngradeResponse, Status> {
    let refuse = |(code, text)| Err(Status::new(code, text));
    let Ok(action) = DowngradeAction::try_from(request.action) else {
        return refuse(UNKNOWN_METHOD);
    };
    let target = match (action, target(&request.version)) {
        (DowngradeAction::Cancel, _) => None,
        (_, Some(target)) => Some(target),
        (_, None) => return refuse(WRONG_FORMAT),
    };
    let barrier = call.node().read_barrier(call.deadline.at).await;
    barrier.map_err(|error| status::failed(error, call.deadline))?;
    let in_progress = call.node().downgrade_target().is_some();
    match target {
        None if !in_progress => return refuse(NONE_IN_FLIGHT),
        Some(target) if Some(target) != one_below(cluster_version()) => {
            return refuse(INVALID_TARGET);
        }
        Some(_) if in_progress => return refuse(IN_PROGRESS),
        None | Some(_) => {}
    }
    if action == DowngradeAction::Validate {
        let revision = call.node().revision();
        return Ok(answer(&call, revision));
    }
    let target = target.map(|(major, minor)| format!("{major}.{minor}.0").into());
    match kv::propose(&call, Command::Downgrade { target }).await? {
        (revision, Outcome::DowngradeNoted) => Ok(answer(&call, revision)),
        (_, other) => Err(kv::wrong_outcome(&other)),
    }
}

fn answer(call: &Call, revision: Revision) -> DowngradeResponse {
    let (major, minor) = cluster_version();
    DowngradeResponse {
        header: Some(header::at(call.node(), revision)),
        version: format!("{major}.{minor}"),
    }
}

/// The version that every member claims.
fn cluster_version() -> ClusterVersion {
    target(ETCD_VERSION).expect("our own version is well formed")
}

/// There is no way below the first of a major version.
fn one_below((major, minor): ClusterVersion) -> Option<ClusterVersion> {
    Some((major, minor.checked_sub(1)?))
}

/// `3.5` or `3.5.0`, with whatever a semantic version may end with; the patch does not count.
fn target(version: &str) -> Option<ClusterVersion> {
    let (numbers, suffix) = match version.find(['-', '+']) {
        Some(at) => version.split_at(at),
        None => (version, ""),
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    if !suffix.chars().all(is_word) {
        return None;
    }
    let mut numbers = numbers.split('.');
    let mut number = || {
        let digits = numbers.next()?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    };
    let (major, minor): (u64, u64) = (number()?, number()?);
    let patch: Option<u64> = match numbers.next() {
        None if suffix.is_empty() => Some(0),
        None => None,
        Some(patch) => patch.parse().ok(),
    };
    (patch.is_some() && numbers.next().is_none()).then_some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_version_with_or_without_its_patch() {
        for version in ["3.5", "3.5.0", "3.5.17", "3.5.0-rc.1", "3.5.0+build"] {
            assert_eq!(target(version), Some((3, 5)), "{version}");
        }
        for version in [
            "", "3", "3.", "v3.5", "3.5.", "3.5.0.0", "3.x", "3.-5", "+3.5", "3.5-rc", "3.5.0-ä",
        ] {
            assert_eq!(target(version), None, "{version}");
        }
    }

    #[test]
    fn one_minor_version_and_no_more() {
        assert_eq!(one_below((3, 6)), Some((3, 5)));
        assert_eq!(one_below((4, 0)), None);
    }
}
