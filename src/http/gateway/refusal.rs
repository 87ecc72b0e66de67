//! What an error looks like. Its fields are those of both generations of etcd's gateway: until 3.5
//! `error`, `message`, `code`; since 3.6 `code`, `message`, `details`.

use super::super::answer;
use crate::api::PlainBody;
use http::{Response, StatusCode};
use serde_json::json;
use tonic::{Code, Status};

/// grpc-gateway's status for a code.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An answer that is an error.
pub(super) fn refuse(status: &Status) -> Response<PlainBody> {
    let body = json!({
        "error": status.message(),
        "message": status.message(),
        "code": i32::from(status.code()),
        "details": [],
    });
    answer::whole(http_status(status.code()), answer::JSON, body.to_string())
}

/// An error as the last line of a stream.
pub(super) fn last_line(status: &Status) -> Vec<u8> {
    let code = i32::from(status.code());
    let http = http_status(status.code());
    let error = json!({
        "grpc_code": code,
        "http_code": http.as_u16(),
        "message": status.message(),
        "http_status": http.canonical_reason().unwrap_or(""),
        "code": code,
        "details": [],
    });
    let mut line = json!({"error": error}).to_string().into_bytes();
    line.push(b'\n');
    line
}
