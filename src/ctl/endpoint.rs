//! `endpoint status|health|hashkv`: each endpoint is asked by itself.

use super::options::Cluster;
use super::print::{Answer, EndpointHash, EndpointHealth, EndpointStatus, Format};
use super::run::{Done, Failure, Session};
use crate::client::ClientError;
use crate::proto::etcdserverpb::{HashKvRequest, MemberListRequest, RangeRequest, StatusRequest};
use crate::types::Revision;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

pub(super) async fn status(session: &Session, options: &Cluster) -> Result<Done, Failure> {
    let endpoints = endpoints(session, options.cluster).await?;
    let asked = endpoints
        .iter()
        .map(|endpoint| async move { session.client_of(endpoint).status(StatusRequest {}).await });
    let answers = join_all(asked).await;
    let mut found = Vec::new();
    let mut stderr = String::new();
    for (endpoint, answer) in endpoints.into_iter().zip(answers) {
        match answer {
            Ok(status) => found.push(EndpointStatus { endpoint, status }),
            Err(error) => stderr.push_str(&format!(
                "Failed to get the status of endpoint {endpoint} ({error})\n"
            )),
        }
    }
    let failure = (!stderr.is_empty()).then(|| Failure::error(""));
    let done = session.print(&Answer::EndpointStatus(found))?;
    Ok(Done {
        stderr,
        failure,
        ..done
    })
}

/// Healthy is who answers a linearizable read, even with a refusal of permission.
pub(super) async fn health(session: &Session, options: &Cluster) -> Result<Done, Failure> {
    let endpoints = endpoints(session, options.cluster).await?;
    let asked = endpoints.into_iter().map(|endpoint| async move {
        let start = Instant::now();
        let key = Bytes::from_static(b"health");
        let client = session.client_of(&endpoint);
        let request = RangeRequest {
            key,
            ..Default::default()
        };
        let error = match client.range(request).await {
            Ok(_) => None,
            Err(ClientError::Status(status)) if status.code() == tonic::Code::PermissionDenied => {
                None
            }
            Err(error) => Some(error.to_string()),
        };
        EndpointHealth {
            endpoint,
            took: start.elapsed(),
            error,
        }
    });
    let all = join_all(asked).await;
    let mut stderr = String::new();
    for sick in all.iter().filter(|_| session.format == Format::Simple) {
        if let Some(error) = &sick.error {
            stderr.push_str(&format!(
                "{} is unhealthy: failed to commit proposal: {error}\n",
                sick.endpoint
            ));
        }
    }
    let is_sick = all.iter().any(|health| health.error.is_some());
    let failure = is_sick.then(|| Failure::error("unhealthy cluster"));
    let done = session.print(&Answer::EndpointHealth(all))?;
    Ok(Done {
        stderr,
        failure,
        ..done
    })
}

pub(super) async fn hash_kv(
    session: &Session,
    options: &Cluster,
    revision: Revision,
) -> Result<Done, Failure> {
    let endpoints = endpoints(session, options.cluster).await?;
    let request = HashKvRequest { revision };
    let asked = endpoints
        .iter()
        .map(|endpoint| async move { session.client_of(endpoint).hash_kv(request).await });
    let answers = join_all(asked).await;
    let mut found = Vec::new();
    let mut stderr = String::new();
    let mut failure = None;
    for (endpoint, answer) in endpoints.into_iter().zip(answers) {
        match answer {
            Ok(hash) => found.push(EndpointHash { endpoint, hash }),
            Err(error) => {
                stderr.push_str(&format!(
                    "Failed to get the hash of endpoint {endpoint} ({error})\n"
                ));
                failure = Some(Failure::from(error));
            }
        }
    }
    let done = session.print(&Answer::EndpointHash(found))?;
    Ok(Done {
        stderr,
        failure,
        ..done
    })
}

/// Those of the command line, or those of the cluster's members.
pub(super) async fn endpoints(session: &Session, of_cluster: bool) -> Result<Vec<String>, Failure> {
    if !of_cluster {
        return Ok(session.global.endpoints.clone());
    }
    let request = MemberListRequest { linearizable: true };
    let response = session.client.member_list(request).await.map_err(|error| {
        let what = "failed to fetch endpoints from etcd cluster member list";
        Failure::error(format!("{what}: {error}"))
    })?;
    Ok(response
        .members
        .into_iter()
        .flat_map(|member| member.client_ur_ls)
        .collect())
}
