//! `defrag` and `move-leader`.

use super::endpoint::endpoints;
use super::go;
use super::options::Defrag;
use super::print::Answer;
use super::run::{Done, Failure, Session, complain, write_out};
use crate::proto::etcdserverpb::{
    DefragmentRequest, MoveLeaderRequest, MoveLeaderResponse, StatusRequest,
};

/// One endpoint after the other: an etcd stands still meanwhile.
pub(super) async fn defrag(session: &Session, options: &Defrag) -> Result<Done, Failure> {
    if !options.data_dir.is_empty() {
        return Err(Failure::bad_arguments(
            "--data-dir cannot be obeyed: a stopped member's space comes back by itself",
        ));
    }
    let mut has_failed = false;
    for endpoint in endpoints(session, options.cluster).await? {
        let client = session.client_of(&endpoint);
        match client.defragment(DefragmentRequest {}).await {
            Ok(_) => {
                let line = format!("Finished defragmenting etcd member[{endpoint}]\n");
                write_out(line.as_bytes())?;
            }
            Err(error) => {
                has_failed = true;
                complain(&format!(
                    "Failed to defragment etcd member[{endpoint}] ({error})"
                ));
            }
        }
    }
    Ok(Done {
        failure: has_failed.then(Failure::silent),
        ..Done::default()
    })
}

/// The leader itself must be among the endpoints.
pub(super) async fn move_leader(session: &Session, arguments: &[String]) -> Result<Done, Failure> {
    let [target] = arguments else {
        return Err(Failure::bad_arguments(
            "move-leader command needs 1 argument",
        ));
    };
    let target_id = go::parse_hexadecimal(target).map_err(Failure::bad_arguments)?;
    session.must_print(&Answer::MoveLeader(MoveLeaderResponse::default(), 0, 0))?;
    for endpoint in &session.global.endpoints {
        let client = session.client_of(endpoint);
        let status = client.status(StatusRequest {}).await?;
        let member = status.header.map_or(0, |header| header.member_id);
        if member == status.leader {
            let response = client.move_leader(MoveLeaderRequest { target_id }).await?;
            return session.print(&Answer::MoveLeader(response, member, target_id));
        }
    }
    Err(Failure::bad_arguments(format!(
        "no leader endpoint given at [{}]",
        session.global.endpoints.join(" ")
    )))
}
