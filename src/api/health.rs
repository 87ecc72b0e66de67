//! `grpc.health.v1`: the server as a whole is serving while it answers; single services have no
//! health of their own.

use super::dispatch::Call;
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

/// The one state there is to tell; after it the stream stays open.
pub(super) fn watch(request: &HealthCheckRequest) -> HealthCheckResponse {
    response(if request.service.is_empty() {
        ServingStatus::Serving
    } else {
        ServingStatus::ServiceUnknown
    })
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
