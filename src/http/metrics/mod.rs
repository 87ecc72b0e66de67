//! `/metrics`: etcd's names, with the meaning they have there.
//!
//! Every number is read off its owner when the page is asked for. What has no true value here is
//! left out; `docs/compatibility.md` lists it.
//!
//! | file | what |
//! |---|---|
//! | [`server`] | leadership, proposals, reads, health, versions |
//! | [`storage`] | the log's syncs, the store's commits, keys and revisions |
//! | [`leases`] | leases granted, revoked, renewed, expired |
//! | [`watching`] | watchers and their events |
//! | [`network`] | peers: bytes, round trips, failures |
//! | [`calls`] | gRPC, as go-grpc-prometheus has it |
//! | [`process`] | what the process uses |

mod calls;
mod leases;
mod network;
mod process;
mod server;
mod storage;
mod watching;

use super::answer;
use super::checks::Checks;
use super::health::Health;
use crate::api::{Doors, PlainBody};
use crate::telemetry::metrics::Page;
use http::header::HeaderValue;
use http::{Response, StatusCode};

pub(super) fn page(health: &Health, checks: [&Checks; 2], doors: &Doors) -> Response<PlainBody> {
    let mut page = Page::default();
    server::write(&mut page, &health.node);
    server::write_health(&mut page, health, checks);
    storage::write(&mut page, &health.node);
    leases::write(&mut page, &health.node);
    watching::write(&mut page, &health.node);
    network::write(&mut page, &health.node, doors.meters());
    calls::write(&mut page, doors.meters());
    process::write(&mut page);
    let content_type = HeaderValue::from_static(Page::CONTENT_TYPE);
    answer::whole(StatusCode::OK, content_type, page.into_text())
}
