//! `lease grant|revoke|timetolive|list|keep-alive`.

use super::go;
use super::options::LeaseCommand;
use super::print::{Answer, Format};
use super::run::{Done, Failure, Session, write_out};
use crate::client::{ClientError, KeepAlive};
use crate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
};
use crate::types::LeaseId;

pub(super) async fn run(session: &Session, command: &LeaseCommand) -> Result<Done, Failure> {
    match command {
        LeaseCommand::Grant { arguments } => grant(session, arguments).await,
        LeaseCommand::Revoke { arguments } => revoke(session, arguments).await,
        LeaseCommand::Timetolive { arguments, keys } => {
            time_to_live(session, arguments, *keys).await
        }
        LeaseCommand::List { .. } => {
            let response = session.client.lease_leases().await;
            session.print(&Answer::Leases(response.map_err(waited)?))
        }
        LeaseCommand::KeepAlive { arguments, once } => {
            let missing = "lease keep-alive command needs lease ID as argument";
            let id = lease_id(arguments, missing)?;
            if *once {
                keep_alive_once(session, id).await
            } else {
                keep_alive(session, id).await
            }
        }
    }
}

async fn grant(session: &Session, arguments: &[String]) -> Result<Done, Failure> {
    let [ttl] = arguments else {
        return Err(Failure::bad_arguments(
            "lease grant command needs TTL argument",
        ));
    };
    let ttl =
        go::parse_decimal(ttl).map_err(|why| Failure::bad_arguments(format!("bad TTL ({why})")))?;
    session.must_print(&Answer::LeaseGrant(LeaseGrantResponse::default()))?;
    let request = LeaseGrantRequest { ttl, id: 0 };
    let response = session.client.lease_grant(request).await;
    let response =
        response.map_err(|error| Failure::error(format!("failed to grant lease ({error})")))?;
    session.print(&Answer::LeaseGrant(response))
}

async fn revoke(session: &Session, arguments: &[String]) -> Result<Done, Failure> {
    let id = lease_id(arguments, "lease revoke command needs 1 argument")?;
    session.must_print(&Answer::LeaseRevoke(LeaseRevokeResponse::default(), id))?;
    let response = session.client.lease_revoke(LeaseRevokeRequest { id }).await;
    let response =
        response.map_err(|error| Failure::error(format!("failed to revoke lease ({error})")))?;
    session.print(&Answer::LeaseRevoke(response, id))
}

async fn time_to_live(
    session: &Session,
    arguments: &[String],
    keys: bool,
) -> Result<Done, Failure> {
    let missing = "lease timetolive command needs lease ID as argument";
    let id = lease_id(arguments, missing)?;
    let request = LeaseTimeToLiveRequest { id, keys };
    let response = session.client.lease_time_to_live(request).await;
    session.print(&Answer::LeaseTimeToLive(response.map_err(waited)?, keys))
}

async fn keep_alive_once(session: &Session, id: LeaseId) -> Result<Done, Failure> {
    let response = session.client.lease_keep_alive_once(id).await;
    session.print(&Answer::LeaseKeepAlive(response.map_err(waited)?))
}

/// Until the lease is gone.
async fn keep_alive(session: &Session, id: LeaseId) -> Result<Done, Failure> {
    let mut keep_alive = KeepAlive::new(&session.client, id);
    while let Some(answer) = keep_alive.next().await {
        session.show(&Answer::LeaseKeepAlive(answer))?;
    }
    if session.format == Format::Simple {
        write_out(format!("lease {id:016x} expired or revoked.\n").as_bytes())?;
    }
    Ok(Done::default())
}

fn lease_id(arguments: &[String], missing: &str) -> Result<LeaseId, Failure> {
    let [id] = arguments else {
        return Err(Failure::bad_arguments(missing));
    };
    go::parse_int(id, 16).map_err(|why| {
        Failure::bad_arguments(format!("bad lease ID arg ({why}), expecting ID in Hex"))
    })
}

/// etcdctl gives these calls no deadline, and an exit code of their own.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn waited(error: ClientError) -> Failure {
    Failure::bad_connection(error.to_string())
}
