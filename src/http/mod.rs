//! Floor 7: plain HTTP, on the client port beside gRPC and on ports of its own.
//!
//! Whatever is no gRPC call comes here ([`Site`] is what the listener gets): probes, scrapers, people
//! with `curl`. HTTP/1.1 and HTTP/2 alike.
//!
//! | path | file | what |
//! |---|---|---|
//! | all | [`site`] | from a path to a page; what every answer carries |
//! | `/health` | [`health`] | whether this member serves, for load balancers |
//! | `/livez` `/readyz` | [`checks`] | the same in single checks, for kubelets |
//! | `/metrics` | [`metrics`] | what Prometheus reads |
//! | `/v3/...` | [`gateway`] | every gRPC call as JSON |
//! | `/version` | [`site`] | what we claim to be |
//!
//! Texts, codes and headers are etcd's, down to the doubled line end of a failed check: probes and
//! scripts compare them.

mod answer;
mod checks;
mod gateway;
mod health;
mod metrics;
mod query;
mod site;

pub use site::Site;
