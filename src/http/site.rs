//! From a path to a page.

use super::answer;
use super::checks::Checks;
use super::gateway::Gateway;
use super::health::Health;
use super::metrics;
use super::query::Query;
use crate::api::{Doors, Plain, PlainBody};
use crate::config::{ETCD_CLUSTER_VERSION, ETCD_STORAGE_VERSION, ETCD_VERSION};
use crate::env::network::BoxFuture;
use crate::node::Node;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    HeaderMap, HeaderValue,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;

/// Everything a member says over plain HTTP. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    inside: Arc<Inside>,
    part: Part,
}

/// What of it a port shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Everything, and scripts of any origin may read it.
    Clients,
    /// Metrics and health.
    Metrics,
}

struct Inside {
    health: Health,
    livez: Checks,
    readyz: Checks,
    doors: Doors,
    gateway: Gateway,
}

impl Site {
    /// `request_timeout` is how long a check may wait for a read.
    ///
    /// # Errors
    /// If this build is not whole.
    pub fn new(node: Node, doors: Doors, request_timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            inside: Arc::new(Inside {
                health: Health::new(node, request_timeout),
                livez: Checks::livez(),
                readyz: Checks::readyz(),
                gateway: Gateway::new(doors.clone())?,
                doors,
            }),
            part: Part::Clients,
        })
    }

    /// The same for the ports of `--listen-metrics-urls`.
    pub fn for_metrics(&self) -> Self {
        Self {
            inside: self.inside.clone(),
            part: Part::Metrics,
        }
    }
}

impl Plain for Site {
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<PlainBody>> {
        let inside = self.inside.clone();
        if self.part == Part::Metrics {
            return Box::pin(async move { inside.health_or_metrics(&request).await });
        }
        Box::pin(async move {
            let mut response = if request.method() == Method::OPTIONS {
                answer::empty()
            } else {
                inside.answer(request).await
            };
            allow_every_origin(response.headers_mut());
            response
        })
    }
}

impl Inside {
    async fn answer(&self, request: Request<Incoming>) -> Response<PlainBody> {
        let path = request.uri().path();
        // The name that the gateway had in its youth.
        let path = match path.strip_prefix("/v3beta/") {
            Some(rest) => format!("/v3/{rest}"),
            None => path.to_owned(),
        };
        if path.starts_with("/v3/") {
            return self.gateway.answer(&path, request).await;
        }
        if path == "/version" {
            return version(request.method());
        }
        self.health_or_metrics(&request).await
    }

    async fn health_or_metrics(&self, request: &Request<Incoming>) -> Response<PlainBody> {
        let path = request.uri().path();
        if path == "/metrics" {
            return metrics::page(&self.health, [&self.livez, &self.readyz], &self.doors);
        }
        let list = [("/livez", &self.livez), ("/readyz", &self.readyz)]
            .into_iter()
            .find_map(|(name, checks)| Some((checks, path.strip_prefix(name)?)));
        if list.is_none() && path != "/health" {
            return answer::not_found();
        }
        if let Err(refusal) = answer::only_get(request.method()) {
            return *refusal;
        }
        let query = Query::of(request.uri().query());
        match list {
            Some((checks, rest)) => checks.answer(rest, &query, &self.health).await,
            None => self.health.answer(&query).await,
        }
    }
}

fn version(method: &Method) -> Response<PlainBody> {
    if let Err(refusal) = answer::only_get(method) {
        return *refusal;
    }
    let body = format!(
        r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{ETCD_CLUSTER_VERSION}","storage":"{ETCD_STORAGE_VERSION}"}}"#
    );
    answer::whole(StatusCode::OK, answer::JSON, body)
}

/// etcd's `--cors` is `*` unless it is given, which it cannot be here.
fn allow_every_origin(headers: &mut HeaderMap) {
    let mut allow = |name, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    allow(
        ACCESS_CONTROL_ALLOW_HEADERS,
        "accept, content-type, authorization",
    );
    allow(
        ACCESS_CONTROL_ALLOW_METHODS,
        "POST, GET, OPTIONS, PUT, DELETE",
    );
    allow(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
}
