//! One field a line, names and texts in quotes.

use super::render::{Answer, EndpointHealth, EndpointStatus};
use crate::ctl::go;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    DeleteRangeResponse, Member, PutResponse, RangeResponse, ResponseHeader, TxnResponse,
};
use crate::proto::mvccpb::KeyValue;
use std::fmt::Display;

pub(super) fn render(answer: &Answer) -> String {
    let mut out = Fields(String::new());
    match answer {
        Answer::Range(response, _) => out.range(response),
        Answer::Put(response) => out.put(response),
        Answer::Delete(response) => out.delete(response),
        Answer::Txn(response) => out.txn(response),
        Answer::Members(response) => {
            out.header(response.header.as_ref());
            response
                .members
                .iter()
                .for_each(|member| out.member(member));
        }
        Answer::EndpointStatus(all) => all.iter().for_each(|status| out.status(status)),
        Answer::EndpointHealth(all) => all.iter().for_each(|health| out.health(health)),
    }
    out.0
}

struct Fields(String);

impl Fields {
    fn field(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("\"{name}\" : {value}\n"));
    }

    fn text(&mut self, name: &str, value: &str) {
        self.field(name, go::quote(value.as_bytes()));
    }

    fn header(&mut self, header: Option<&ResponseHeader>) {
        let header = header.copied().unwrap_or_default();
        self.field("ClusterID", header.cluster_id);
        self.field("MemberID", header.member_id);
        self.field("Revision", header.revision);
        self.field("RaftTerm", header.raft_term);
    }

    fn pair(&mut self, prefix: &str, kv: &KeyValue) {
        self.field(&format!("{prefix}Key"), go::quote(&kv.key));
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.field(&format!("{prefix}Value"), go::quote(&kv.value));
        self.field(&format!("{prefix}Lease"), kv.lease);
    }

    fn range(&mut self, response: &RangeResponse) {
        self.header(response.header.as_ref());
        for kv in &response.kvs {
            self.pair("", kv);
        }
        self.field("More", response.more);
        self.field("Count", response.count);
    }

    fn put(&mut self, response: &PutResponse) {
        self.header(response.header.as_ref());
        if let Some(kv) = &response.prev_kv {
            self.pair("Prev", kv);
        }
    }

    fn delete(&mut self, response: &DeleteRangeResponse) {
        self.header(response.header.as_ref());
        self.field("Deleted", response.deleted);
        for kv in &response.prev_kvs {
            self.pair("Prev", kv);
        }
    }

    fn txn(&mut self, response: &TxnResponse) {
        self.header(response.header.as_ref());
        self.field("Succeeded", response.succeeded);
        for operation in &response.responses {
            match &operation.response {
                Some(Response::ResponseRange(response)) => self.range(response),
                Some(Response::ResponsePut(response)) => self.put(response),
                Some(Response::ResponseDeleteRange(response)) => self.delete(response),
                Some(Response::ResponseTxn(response)) => self.txn(response),
                None => {}
            }
        }
    }

    fn member(&mut self, member: &Member) {
        self.field("ID", member.id);
        self.text("Name", &member.name);
        for url in &member.peer_ur_ls {
            self.text("PeerURL", url);
        }
        for url in &member.client_ur_ls {
            self.text("ClientURL", url);
        }
        self.field("IsLearner", member.is_learner);
        self.0.push('\n');
    }

    fn status(&mut self, of: &EndpointStatus) {
        let status = &of.status;
        self.header(status.header.as_ref());
        self.text("Version", &status.version);
        self.field("DBSize", status.db_size);
        self.field("Leader", status.leader);
        self.field("IsLearner", status.is_learner);
        self.field("RaftIndex", status.raft_index);
        self.field("RaftTerm", status.raft_term);
        self.field("RaftAppliedIndex", status.raft_applied_index);
        self.field("Errors", format!("[{}]", status.errors.join(" ")));
        self.text("Endpoint", &of.endpoint);
        self.0.push('\n');
    }

    fn health(&mut self, health: &EndpointHealth) {
        self.text("Endpoint", &health.endpoint);
        self.field("Health", health.error.is_none());
        self.field("Took", go::duration(health.took));
        self.field("Error", health.error.as_deref().unwrap_or(""));
        self.0.push('\n');
    }
}
