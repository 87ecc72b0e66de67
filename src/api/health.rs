//! `grpc.health.v1`: the server as a whole is serving while it answers; single services have no
//! health of their own.

use super::dispatch::Call;
use super::stream::{Messages, Replies};
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::Status;

#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that every call has"
)]
pub(super) fn check(
    _call: Call,
    request: HealthCheckRequest,
) -> std::future::Ready<Result<HealthCheckResponse, Status>> {
    std::future::ready(if request.service.is_empty() {
        Ok(response(ServingStatus::Serving))
    } else {
        Err(Status::not_found("unknown service"))
    })
}

/// The one state there is to tell; after it the stream stays open until the client goes.
pub(super) async fn watch(
    _call: Call,
    mut messages: Messages,
    replies: Replies,
) -> Result<(), Status> {
    let request: Option<HealthCheckRequest> = messages.next().await?;
    let request = request.ok_or_else(|| Status::internal("protocol error: no request message"))?;
    let state = response(if request.service.is_empty() {
        ServingStatus::Serving
    } else {
        ServingStatus::ServiceUnknown
    });
    if replies.send(&state).await.is_ok() {
        replies.gone().await;
    }
    Ok(())
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
