//! What is said of a call that no service here answers.

use super::status as statuses;
use tonic::Status;

/// Calls that etcd 3.6 has and that are not there yet. Everything else is unknown, as in etcd.
const NOT_YET: &[(&str, &[&str])] = &[
    ("etcdserverpb.KV", &[]),
    ("grpc.health.v1.Health", &[]),
    ("etcdserverpb.Watch", &[]),
    ("etcdserverpb.Lease", &[]),
    ("etcdserverpb.Cluster", &[]),
    ("etcdserverpb.Maintenance", &[]),
    (
        "etcdserverpb.Auth",
        &[
            "AuthEnable",
            "AuthDisable",
            "AuthStatus",
            "Authenticate",
            "UserAdd",
            "UserGet",
            "UserList",
            "UserDelete",
            "UserChangePassword",
            "UserGrantRole",
            "UserRevokeRole",
            "RoleAdd",
            "RoleGet",
            "RoleList",
            "RoleDelete",
            "RoleGrantPermission",
            "RoleRevokePermission",
        ],
    ),
    ("v3lockpb.Lock", &[]),
    ("v3electionpb.Election", &[]),
];

/// Why there is no answer to a call.
pub(super) fn status(path: &str) -> Status {
    let Some((service, method)) = path
        .strip_prefix('/')
        .and_then(|path| path.rsplit_once('/'))
    else {
        return Status::unimplemented(format!("malformed method name: {path:?}"));
    };
    match NOT_YET.iter().find(|(name, _)| *name == service) {
        None => statuses::unknown_service(service),
        Some((_, methods)) if methods.contains(&method) => statuses::not_there_yet(service, method),
        Some(_) => statuses::unknown_method(service, method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_nobody_answers_says_why() {
        let text = |path: &str| status(path).message().to_owned();
        assert_eq!(
            text("/etcdserverpb.Nobody/Range"),
            "unknown service etcdserverpb.Nobody"
        );
        assert_eq!(
            text("/etcdserverpb.KV/RangeStream"),
            "unknown method RangeStream for service etcdserverpb.KV"
        );
        assert_eq!(
            text("/etcdserverpb.Auth/AuthEnable"),
            "quorate: etcdserverpb.Auth/AuthEnable is not there yet"
        );
        assert_eq!(text("/nothing"), "malformed method name: \"/nothing\"");
        assert_eq!(
            text("nothing/at/all"),
            "malformed method name: \"nothing/at/all\""
        );
    }
}
