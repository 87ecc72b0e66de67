//! gRPC, as go-grpc-prometheus has it: every call and every code is there from the start, so that a
//! rate has something to begin with.

use crate::api::{CallMeter, CallMeters};
use crate::telemetry::metrics::{Counter, Kind, Page};

fn labels(call: &CallMeter) -> [(&'static str, &'static str); 3] {
    let (service, method) = call.names();
    [
        ("grpc_method", method),
        ("grpc_service", service),
        ("grpc_type", call.kind.name()),
    ]
}

pub(super) fn write(page: &mut Page, calls: &CallMeters) {
    let mut each = |name, help, counter: fn(&CallMeter) -> &Counter| {
        page.family(name, Kind::Counter, help);
        for call in calls.all() {
            page.sample(name, &labels(call), counter(call).value());
        }
    };
    each(
        "grpc_server_started_total",
        "Total number of RPCs started on the server.",
        |call| &call.started,
    );
    each(
        "grpc_server_msg_received_total",
        "Total number of RPC stream messages received on the server.",
        |call| &call.received,
    );
    each(
        "grpc_server_msg_sent_total",
        "Total number of gRPC stream messages sent by the server.",
        |call| &call.sent,
    );
    let name = "grpc_server_handled_total";
    page.family(
        name,
        Kind::Counter,
        "Total number of RPCs completed on the server, regardless of success or failure.",
    );
    for call in calls.all() {
        let [method, service, kind] = labels(call);
        for (code, count) in call.handled() {
            page.sample(name, &[("grpc_code", code), method, service, kind], count);
        }
    }
    if calls.all().all(|call| call.took.is_none()) {
        return;
    }
    let name = "grpc_server_handling_seconds";
    page.family(
        name,
        Kind::Histogram,
        "Histogram of response latency (seconds) of gRPC that had been application-level handled \
         by the server.",
    );
    for call in calls.all() {
        if let Some(took) = &call.took {
            page.durations(name, &labels(call), took);
        }
    }
}
