//! JSON as Go's `encoding/json` makes it of etcd's messages: fields in their order, zero ones left
//! out, bytes in base64, numbers as numbers, `<`, `>` and `&` escaped.

use super::render::{Answer, EndpointHash, EndpointHealth, EndpointStatus};
use crate::ctl::go;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    AlarmMember, DeleteRangeResponse, HashKvResponse, LeaseStatus, LeaseTimeToLiveResponse, Member,
    PutResponse, RangeResponse, ResponseHeader, ResponseOp, StatusResponse, TxnResponse,
    WatchResponse,
};
use crate::proto::mvccpb::{Event, KeyValue};

pub(super) fn render(answer: &Answer) -> String {
    let mut text = match answer {
        Answer::Range(response, _) => range(response),
        Answer::Put(response) => put(response),
        Answer::Delete(response) => delete(response),
        Answer::Txn(response) => txn(response),
        Answer::Watch(response) => watch(response),
        Answer::LeaseGrant(response) => {
            let mut object = lease(response.header.as_ref(), response.id, response.ttl);
            object.raw("Error", &string(&response.error));
            object.end()
        }
        Answer::LeaseRevoke(response, _) => Object::with_header(response.header.as_ref()).end(),
        Answer::LeaseKeepAlive(response) => {
            lease(response.header.as_ref(), response.id, response.ttl).end()
        }
        Answer::LeaseTimeToLive(response, _) => time_to_live(response),
        Answer::Leases(response) => {
            let mut object = Object::within_header(response.header.as_ref());
            object.raw(
                "leases",
                &array(&response.leases, |lease: &LeaseStatus| {
                    format!("{{\"id\":{}}}", lease.id)
                }),
            );
            object.end()
        }
        Answer::Members(response) => members(response.header.as_ref(), None, &response.members),
        Answer::MemberAdd(response) => members(
            response.header.as_ref(),
            response.member.as_ref(),
            &response.members,
        ),
        Answer::MemberRemove(response, _) => {
            members(response.header.as_ref(), None, &response.members)
        }
        Answer::MemberUpdate(response, _) => {
            members(response.header.as_ref(), None, &response.members)
        }
        Answer::MemberPromote(response, _) => {
            members(response.header.as_ref(), None, &response.members)
        }
        Answer::Alarms(response) => {
            let mut object = Object::with_header(response.header.as_ref());
            object.list("alarms", &response.alarms, alarm);
            object.end()
        }
        Answer::MoveLeader(response, ..) => Object::with_header(response.header.as_ref()).end(),
        Answer::EndpointHash(all) => array(all, |of: &EndpointHash| {
            let mut object = Object::new();
            object.raw("Endpoint", &string(&of.endpoint));
            object.raw("HashKV", &hash_kv(&of.hash));
            object.end()
        }),
        Answer::EndpointStatus(all) => array(all, |of: &EndpointStatus| {
            let mut object = Object::new();
            object.raw("Endpoint", &string(&of.endpoint));
            object.raw("Status", &status(&of.status));
            object.end()
        }),
        Answer::EndpointHealth(all) => array(all, |health: &EndpointHealth| {
            let mut object = Object::new();
            object.raw("endpoint", &string(&health.endpoint));
            object.raw("health", &health.error.is_none().to_string());
            object.raw("took", &string(&go::duration(health.took)));
            object.text("error", health.error.as_deref().unwrap_or(""));
            object.end()
        }),
    };
    text.push('\n');
    text
}

fn header(header: &ResponseHeader) -> String {
    Object::within_header(Some(header)).end()
}

fn pair(kv: &KeyValue) -> String {
    let mut object = Object::new();
    object.bytes("key", &kv.key);
    object.number("create_revision", kv.create_revision);
    object.number("mod_revision", kv.mod_revision);
    object.number("version", kv.version);
    object.bytes("value", &kv.value);
    object.number("lease", kv.lease);
    object.end()
}

fn range(response: &RangeResponse) -> String {
    let mut object = Object::with_header(response.header.as_ref());
    object.list("kvs", &response.kvs, pair);
    object.switch("more", response.more);
    object.number("count", response.count);
    object.end()
}

fn put(response: &PutResponse) -> String {
    let mut object = Object::with_header(response.header.as_ref());
    if let Some(kv) = &response.prev_kv {
        object.raw("prev_kv", &pair(kv));
    }
    object.end()
}

fn delete(response: &DeleteRangeResponse) -> String {
    let mut object = Object::with_header(response.header.as_ref());
    object.number("deleted", response.deleted);
    object.list("prev_kvs", &response.prev_kvs, pair);
    object.end()
}

fn txn(response: &TxnResponse) -> String {
    let mut object = Object::with_header(response.header.as_ref());
    object.switch("succeeded", response.succeeded);
    object.list("responses", &response.responses, operation);
    object.end()
}

/// Go shows the oneof's own names.
fn operation(operation: &ResponseOp) -> String {
    let (name, text) = match &operation.response {
        Some(Response::ResponseRange(response)) => ("ResponseRange", range(response)),
        Some(Response::ResponsePut(response)) => ("ResponsePut", put(response)),
        Some(Response::ResponseDeleteRange(response)) => ("ResponseDeleteRange", delete(response)),
        Some(Response::ResponseTxn(response)) => ("ResponseTxn", txn(response)),
        None => return "{\"Response\":null}".to_owned(),
    };
    format!("{{\"Response\":{{\"{name}\":{text}}}}}")
}

/// Go's client has a type of its own for this one: its fields are always there.
fn watch(response: &WatchResponse) -> String {
    let mut object = Object::new();
    object.raw("Header", &header(&response.header.unwrap_or_default()));
    // A watch that ended without the member's word has no list at all.
    let events = match response.header {
        Some(_) => array(&response.events, event),
        None => "null".to_owned(),
    };
    object.raw("Events", &events);
    object.raw("CompactRevision", &response.compact_revision.to_string());
    object.raw("Canceled", &response.canceled.to_string());
    object.raw("Created", &response.created.to_string());
    object.end()
}

fn event(event: &Event) -> String {
    let mut object = Object::new();
    object.number("type", event.r#type.into());
    if let Some(kv) = &event.kv {
        object.raw("kv", &pair(kv));
    }
    if let Some(kv) = &event.prev_kv {
        object.raw("prev_kv", &pair(kv));
    }
    object.end()
}

/// So are those of leases.
fn lease(header: Option<&ResponseHeader>, id: i64, ttl: i64) -> Object {
    let mut object = Object::within_header(header);
    object.raw("ID", &id.to_string());
    object.raw("TTL", &ttl.to_string());
    object
}

fn time_to_live(response: &LeaseTimeToLiveResponse) -> String {
    let mut object = Object::within_header(response.header.as_ref());
    object.raw("id", &response.id.to_string());
    object.raw("ttl", &response.ttl.to_string());
    object.raw("granted-ttl", &response.granted_ttl.to_string());
    let keys = match response.keys.as_slice() {
        [] => "null".to_owned(),
        keys => array(keys, |key| format!("\"{}\"", base64(key))),
    };
    object.raw("keys", &keys);
    object.end()
}

fn alarm(alarm: &AlarmMember) -> String {
    let mut object = Object::new();
    object.unsigned("memberID", alarm.member_id);
    object.number("alarm", alarm.alarm.into());
    object.end()
}

fn hash_kv(response: &HashKvResponse) -> String {
    let mut object = Object::with_header(response.header.as_ref());
    object.unsigned("hash", response.hash.into());
    object.number("compact_revision", response.compact_revision);
    object.number("hash_revision", response.hash_revision);
    object.end()
}

fn members(header: Option<&ResponseHeader>, added: Option<&Member>, all: &[Member]) -> String {
    let mut object = Object::with_header(header);
    if let Some(added) = added {
        object.raw("member", &member(added));
    }
    object.list("members", all, member);
    object.end()
}

fn member(member: &Member) -> String {
    let mut object = Object::new();
    object.unsigned("ID", member.id);
    object.text("name", &member.name);
    object.list("peerURLs", &member.peer_ur_ls, |url| string(url));
    object.list("clientURLs", &member.client_ur_ls, |url| string(url));
    object.switch("isLearner", member.is_learner);
    object.end()
}

fn status(status: &StatusResponse) -> String {
    let mut object = Object::with_header(status.header.as_ref());
    object.text("version", &status.version);
    object.number("dbSize", status.db_size);
    object.unsigned("leader", status.leader);
    object.unsigned("raftIndex", status.raft_index);
    object.unsigned("raftTerm", status.raft_term);
    object.unsigned("raftAppliedIndex", status.raft_applied_index);
    object.list("errors", &status.errors, |error| string(error));
    object.number("dbSizeInUse", status.db_size_in_use);
    object.switch("isLearner", status.is_learner);
    object.text("storageVersion", &status.storage_version);
    object.number("dbSizeQuota", status.db_size_quota);
    if let Some(downgrade) = &status.downgrade_info {
        let mut info = Object::new();
        info.switch("enabled", downgrade.enabled);
        info.text("targetVersion", &downgrade.target_version);
        object.raw("downgradeInfo", &info.end());
    }
    object.end()
}

/// An object whose zero fields are left out.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self(String::from("{"))
    }

    fn with_header(of: Option<&ResponseHeader>) -> Self {
        let mut object = Self::new();
        if let Some(of) = of {
            object.raw("header", &header(of));
        }
        object
    }

    /// A header's own fields, and whatever follows.
    fn within_header(of: Option<&ResponseHeader>) -> Self {
        let mut object = Self::new();
        if let Some(header) = of {
            object.unsigned("cluster_id", header.cluster_id);
            object.unsigned("member_id", header.member_id);
            object.number("revision", header.revision);
            object.unsigned("raft_term", header.raft_term);
        }
        object
    }

    fn raw(&mut self, name: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&format!("\"{name}\":{json}"));
    }

    fn number(&mut self, name: &str, value: i64) {
        if value != 0 {
            self.raw(name, &value.to_string());
        }
    }

    fn unsigned(&mut self, name: &str, value: u64) {
        if value != 0 {
            self.raw(name, &value.to_string());
        }
    }

    fn switch(&mut self, name: &str, value: bool) {
        if value {
            self.raw(name, "true");
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.raw(name, &string(value));
        }
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.raw(name, &format!("\"{}\"", base64(value)));
        }
    }

    fn list<T>(&mut self, name: &str, items: &[T], item: impl Fn(&T) -> String) {
        if !items.is_empty() {
            self.raw(name, &array(items, item));
        }
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn array<T>(items: &[T], item: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(","))
}

fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                json.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            // The last bytes that are not there become padding.
            let shown = place <= chunk.len();
            text.push(if shown {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
        assert_eq!(base64(b"line\nbin\x01\xff\"q\\"), "bGluZQpiaW4B/yJxXA==");
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        assert_eq!(
            string("a<b>&\"c\\\n\u{1}é"),
            r#""a\u003cb\u003e\u0026\"c\\\n\u0001é""#
        );
    }

    #[test]
    fn an_answer_looks_like_etcdctls() {
        let header = ResponseHeader {
            revision: 23,
            ..ResponseHeader::default()
        };
        let range = RangeResponse {
            header: Some(header),
            ..RangeResponse::default()
        };
        let operation = ResponseOp {
            response: Some(Response::ResponseRange(range)),
        };
        let header = ResponseHeader {
            cluster_id: u64::MAX,
            member_id: 1,
            revision: 23,
            raft_term: 2,
        };
        let response = TxnResponse {
            header: Some(header),
            succeeded: false,
            responses: vec![operation],
        };
        assert_eq!(
            render(&Answer::Txn(response)),
            "{\"header\":{\"cluster_id\":18446744073709551615,\"member_id\":1,\"revision\":23,\
             \"raft_term\":2},\"responses\":[{\"Response\":{\"ResponseRange\":{\"header\":\
             {\"revision\":23}}}}]}\n"
        );
    }
}
