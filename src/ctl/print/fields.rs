//! One field a line, names and texts in quotes.

use super::render::{Answer, EndpointHash, EndpointHealth, EndpointStatus};
use crate::ctl::go;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    AlarmResponse, DeleteRangeResponse, LeaseTimeToLiveResponse, Member, PutResponse,
    RangeResponse, ResponseHeader, TxnResponse, WatchResponse,
};
use crate::proto::mvccpb::KeyValue;
use std::fmt::Display;

/// `None` for what has no such format.
pub(super) fn render(answer: &Answer) -> Option<String> {
    let mut out = Fields(String::new());
    match answer {
        Answer::Range(response, _) => out.range(response),
        Answer::Put(response) => out.put(response),
        Answer::Delete(response) => out.delete(response),
        Answer::Txn(response) => out.txn(response),
        Answer::Watch(response) => out.watch(response),
        Answer::LeaseGrant(response) => {
            out.lease(response.header.as_ref(), response.id, response.ttl);
        }
        Answer::LeaseRevoke(response, _) => out.header(response.header.as_ref()),
        Answer::LeaseKeepAlive(response) => {
            out.lease(response.header.as_ref(), response.id, response.ttl);
        }
        Answer::LeaseTimeToLive(response, _) => out.time_to_live(response),
        Answer::Leases(response) => {
            out.header(response.header.as_ref());
            for lease in &response.leases {
                out.field("ID", lease.id);
            }
        }
        Answer::Members(response) => {
            out.header(response.header.as_ref());
            response
                .members
                .iter()
                .for_each(|member| out.member(member));
        }
        Answer::EndpointStatus(all) => all.iter().for_each(|status| out.status(status)),
        Answer::EndpointHealth(all) => all.iter().for_each(|health| out.health(health)),
        Answer::EndpointHash(all) => all.iter().for_each(|hash| out.hash(hash)),
        Answer::Alarms(response) => out.alarms(response),
        Answer::MemberAdd(_)
        | Answer::MemberRemove(..)
        | Answer::MemberUpdate(..)
        | Answer::MemberPromote(..)
        | Answer::MoveLeader(..) => return None,
    }
    Some(out.0)
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

    fn watch(&mut self, response: &WatchResponse) {
        self.header(response.header.as_ref());
        for event in &response.events {
            self.field("Type", event.r#type().as_str_name());
            if let Some(kv) = &event.prev_kv {
                self.pair("Prev", kv);
            }
            self.pair("", &event.kv.clone().unwrap_or_default());
        }
    }

    fn lease(&mut self, header: Option<&ResponseHeader>, id: i64, ttl: i64) {
        self.header(header);
        self.field("ID", id);
        self.field("TTL", ttl);
    }

    fn time_to_live(&mut self, response: &LeaseTimeToLiveResponse) {
        self.lease(response.header.as_ref(), response.id, response.ttl);
        self.field("GrantedTTL", response.granted_ttl);
        for key in &response.keys {
            self.field("Key", go::quote(key));
        }
    }

    fn alarms(&mut self, response: &AlarmResponse) {
        self.header(response.header.as_ref());
        for alarm in &response.alarms {
            self.field("MemberID", alarm.member_id);
            self.field("AlarmType", alarm.alarm().as_str_name());
            self.0.push('\n');
        }
    }

    fn hash(&mut self, of: &EndpointHash) {
        self.header(of.hash.header.as_ref());
        self.text("Endpoint", &of.endpoint);
        self.field("Hash", of.hash.hash);
        self.0.push('\n');
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
