//! The format for people and shell scripts: keys and values on lines of their own.

use super::render::{Answer, hash_row, member_row, status_row};
use crate::ctl::go;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    AlarmMember, AlarmType, DeleteRangeResponse, LeaseTimeToLiveResponse, PutResponse,
    RangeResponse, ResponseHeader, TxnResponse, WatchResponse,
};
use crate::proto::mvccpb::KeyValue;
use crate::types::HexId;

pub(super) fn render(hex: bool, answer: &Answer) -> Vec<u8> {
    let mut out = Simple {
        bytes: Vec::new(),
        hex,
    };
    match answer {
        Answer::Range(response, value_only) => out.range(response, *value_only),
        Answer::Put(response) => out.put(response),
        Answer::Delete(response) => out.delete(response),
        Answer::Txn(response) => out.txn(response),
        Answer::Watch(response) => out.watch(response),
        Answer::LeaseGrant(response) => {
            let (id, ttl) = (response.id, response.ttl);
            out.line(&format!("lease {id:016x} granted with TTL({ttl}s)"));
        }
        Answer::LeaseRevoke(_, id) => out.line(&format!("lease {id:016x} revoked")),
        Answer::LeaseKeepAlive(response) => {
            let (id, ttl) = (response.id, response.ttl);
            out.line(&format!("lease {id:016x} keepalived with TTL({ttl})"));
        }
        Answer::LeaseTimeToLive(response, keys) => out.time_to_live(response, *keys),
        Answer::Leases(response) => {
            out.line(&format!("found {} leases", response.leases.len()));
            for lease in &response.leases {
                out.line(&format!("{:016x}", lease.id));
            }
        }
        Answer::Members(response) => {
            for member in &response.members {
                out.line(&member_row(member).join(", "));
            }
        }
        Answer::MemberAdd(response) => {
            let member = response.member.as_ref().map_or(0, |member| member.id);
            out.member(member, "added to", response.header.as_ref());
        }
        Answer::MemberRemove(response, id) => {
            out.member(*id, "removed from", response.header.as_ref());
        }
        Answer::MemberUpdate(response, id) => {
            out.member(*id, "updated in", response.header.as_ref());
        }
        Answer::MemberPromote(response, id) => {
            out.member(*id, "promoted in", response.header.as_ref());
        }
        Answer::EndpointHash(all) => {
            for hash in all {
                out.line(&hash_row(hash).join(", "));
            }
        }
        Answer::Alarms(response) => {
            for alarm in &response.alarms {
                out.alarm(alarm);
            }
        }
        Answer::MoveLeader(_, from, to) => {
            let (from, to) = (HexId(*from), HexId(*to));
            out.line(&format!("Leadership transferred from {from} to {to}"));
        }
        Answer::EndpointStatus(all) => {
            for status in all {
                out.line(&status_row(status).join(", "));
            }
        }
        Answer::EndpointHealth(all) => {
            for health in all.iter().filter(|health| health.error.is_none()) {
                let took = go::duration(health.took);
                let endpoint = &health.endpoint;
                out.line(&format!(
                    "{endpoint} is healthy: successfully committed proposal: took = {took}"
                ));
            }
        }
    }
    out.bytes
}

struct Simple {
    bytes: Vec<u8>,
    hex: bool,
}

impl Simple {
    fn line(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'\n');
    }

    fn pair(&mut self, kv: &KeyValue, value_only: bool) {
        let parts: &[&[u8]] = if value_only {
            &[&kv.value]
        } else {
            &[&kv.key, &kv.value]
        };
        for part in parts {
            if self.hex {
                let text: String = part.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                self.line(&text);
            } else {
                self.bytes.extend_from_slice(part);
                self.bytes.push(b'\n');
            }
        }
    }

    fn range(&mut self, response: &RangeResponse, value_only: bool) {
        for kv in &response.kvs {
            self.pair(kv, value_only);
        }
    }

    fn put(&mut self, response: &PutResponse) {
        self.line("OK");
        if let Some(kv) = &response.prev_kv {
            self.pair(kv, false);
        }
    }

    fn delete(&mut self, response: &DeleteRangeResponse) {
        self.line(&response.deleted.to_string());
        for kv in &response.prev_kvs {
            self.pair(kv, false);
        }
    }

    fn watch(&mut self, response: &WatchResponse) {
        for event in &response.events {
            self.line(event.r#type().as_str_name());
            if let Some(kv) = &event.prev_kv {
                self.pair(kv, false);
            }
            self.pair(&event.kv.clone().unwrap_or_default(), false);
        }
    }

    fn time_to_live(&mut self, response: &LeaseTimeToLiveResponse, keys: bool) {
        let (id, ttl, granted) = (response.id, response.ttl, response.granted_ttl);
        if granted == 0 && ttl == -1 {
            self.line(&format!("lease {id:016x} already expired"));
            return;
        }
        let text = format!("lease {id:016x} granted with TTL({granted}s), remaining({ttl}s)");
        self.bytes.extend_from_slice(text.as_bytes());
        if keys {
            self.bytes.extend_from_slice(b", attached keys([");
            self.bytes.extend_from_slice(&response.keys.join(&b' '));
            self.bytes.extend_from_slice(b"])");
        }
        self.line("");
    }

    fn member(&mut self, id: u64, what: &str, header: Option<&ResponseHeader>) {
        let cluster = header.map_or(0, |header| header.cluster_id);
        self.line(&format!("Member {id:16x} {what} cluster {cluster:16x}"));
    }

    /// Protobuf's text format, which leaves zeros out.
    fn alarm(&mut self, alarm: &AlarmMember) {
        let mut text = String::new();
        if alarm.member_id != 0 {
            text.push_str(&format!("memberID:{} ", alarm.member_id));
        }
        if alarm.alarm() != AlarmType::None {
            text.push_str(&format!("alarm:{} ", alarm.alarm().as_str_name()));
        }
        self.line(&text);
    }

    fn txn(&mut self, response: &TxnResponse) {
        self.line(if response.succeeded {
            "SUCCESS"
        } else {
            "FAILURE"
        });
        for operation in &response.responses {
            self.line("");
            match &operation.response {
                Some(Response::ResponseRange(response)) => self.range(response, false),
                Some(Response::ResponsePut(response)) => self.put(response),
                Some(Response::ResponseDeleteRange(response)) => self.delete(response),
                Some(Response::ResponseTxn(response)) => self.txn(response),
                None => {}
            }
        }
    }
}
