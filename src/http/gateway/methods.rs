//! JSON and protobuf. The mapping is proto3's own, with grpc-gateway's choices for etcd: names as in
//! `proto/` (both spellings are understood), 64-bit integers as strings, bytes as base64, enums by
//! name, defaults left out, unknown fields ignored.

use super::messages::framed;
use super::paths::CALLS;
use anyhow::Context;
use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use std::collections::BTreeMap;

/// The descriptors of `proto/`, written by the build.
static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/etcd_descriptors.bin"));

const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);
const WRITE: SerializeOptions = SerializeOptions::new()
    .stringify_64_bit_integers(true)
    .use_enum_numbers(false)
    .use_proto_field_name(true)
    .skip_default_fields(true);

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Method {
    /// `/etcdserverpb.KV/Put`.
    pub(super) path: &'static str,
    pub(super) takes_stream: bool,
    pub(super) gives_stream: bool,
    question: MessageDescriptor,
    answer: MessageDescriptor,
}

/// All calls by their paths in the gateway.
pub(super) struct Methods(BTreeMap<&'static str, Method>);

impl Methods {
    /// # Errors
    /// If the build's descriptors lack a call.
    pub(super) fn new() -> anyhow::Result<Self> {
        let pool = DescriptorPool::decode(DESCRIPTORS).context("read the built-in descriptors")?;
        let known = |(path, call): &(&'static str, &'static str)| {
            let (service, name) = call
                .strip_prefix('/')
                .and_then(|call| call.split_once('/'))
                .context("a call's path has two parts")?;
            let method = pool
                .get_service_by_name(service)
                .and_then(|service| service.methods().find(|method| method.name() == name))
                .with_context(|| format!("{call} is not among the built-in descriptors"))?;
            let method = Method {
                path: call,
                takes_stream: method.is_client_streaming(),
                gives_stream: method.is_server_streaming(),
                question: method.input(),
                answer: method.output(),
            };
            Ok((*path, method))
        };
        CALLS
            .iter()
            .map(known)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    pub(super) fn get(&self, path: &str) -> Option<&Method> {
        self.0.get(path)
    }
}

impl Method {
    /// The first JSON object of `json` as one gRPC frame; nothing at all counts as `{}`, and what
    /// follows is not looked at, as in Go's decoder.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub(super) fn question(&self, json: &[u8]) -> Result<Bytes, String> {
        let json = if json.trim_ascii().is_empty() {
            b"{}"
        } else {
            json
        };
        let mut json = serde_json::Deserializer::from_slice(json);
        let question = self.question.clone();
        let message = DynamicMessage::deserialize_with_options(question, &mut json, &READ)
            .map_err(|error| error.to_string())?;
        framed(&message.encode_to_vec()).ok_or_else(|| "the request is too long".to_owned())
    }

    /// Appends an answer's JSON to `out`.
    ///
    /// # Errors
    /// Only if the doors answered with something else: a bug of ours.
    pub(super) fn answer(&self, message: Bytes, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let message = DynamicMessage::decode(self.answer.clone(), message)?;
        let mut json = serde_json::Serializer::new(out);
        message.serialize_with_options(&mut json, &WRITE)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb::{
        RangeRequest, RangeResponse, ResponseHeader, TxnRequest, WatchResponse, compare, request_op,
    };
    use crate::proto::mvccpb::{Event, KeyValue, event::EventType};

    fn question<M: Message + Default>(path: &str, json: &str) -> Result<M, String> {
        let methods = Methods::new().unwrap();
        let frame = methods.get(path).unwrap().question(json.as_bytes())?;
        Ok(M::decode(frame.slice(5..)).unwrap())
    }

    fn answer(path: &str, message: &impl Message) -> String {
        let methods = Methods::new().unwrap();
        let mut out = Vec::new();
        let message = message.encode_to_vec().into();
        methods
            .get(path)
            .unwrap()
            .answer(message, &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_call_has_its_descriptors() {
        let methods = Methods::new().unwrap();
        assert_eq!(methods.0.len(), CALLS.len());
        let streams = |path| {
            let method = methods.get(path).unwrap();
            (method.takes_stream, method.gives_stream)
        };
        assert_eq!(streams("/v3/kv/put"), (false, false));
        assert_eq!(streams("/v3/maintenance/snapshot"), (false, true));
        assert_eq!(streams("/v3/watch"), (true, true));
        assert!(CALLS.is_sorted());
    }

    #[test]
    fn both_spellings_numbers_and_strings_and_both_base64s_are_understood() {
        let expected = RangeRequest {
            key: Bytes::from_static(b"\xfb\xff"),
            range_end: Bytes::from_static(b"b"),
            limit: 7,
            revision: 9_007_199_254_740_993,
            sort_order: 2,
            ..RangeRequest::default()
        };
        for json in [
            r#"{"key":"+/8=","range_end":"Yg==","limit":7,"revision":"9007199254740993","sort_order":"DESCEND"}"#,
            r#"{"key":"-_8=","rangeEnd":"Yg","limit":"7","revision":9007199254740993,"sortOrder":2,"new":[{}]} more"#,
        ] {
            assert_eq!(
                question::<RangeRequest>("/v3/kv/range", json).unwrap(),
                expected
            );
        }
        for json in ["", "  \n", "{}", r#"{"key":null}"#] {
            let empty = question::<RangeRequest>("/v3/kv/range", json).unwrap();
            assert_eq!(empty, RangeRequest::default());
        }
        for json in [
            "x",
            "[",
            "1",
            r#"{"key":1}"#,
            r#"{"key":"!"}"#,
            r#"{"limit":"x"}"#,
        ] {
            assert!(
                question::<RangeRequest>("/v3/kv/range", json).is_err(),
                "{json}"
            );
        }
    }

    #[test]
    fn choices_lie_flat() {
        let json = r#"{
            "compare":[{"key":"Zm9v","target":"VERSION","result":"EQUAL","version":"0"}],
            "success":[{"request_put":{"key":"Zm9v","value":"YmFy"}}],
            "failure":[{"requestRange":{"key":"Zm9v"}}]
        }"#;
        let txn = question::<TxnRequest>("/v3/kv/txn", json).unwrap();
        let union = txn.compare[0].target_union.clone();
        assert_eq!(union, Some(compare::TargetUnion::Version(0)));
        let Some(request_op::Request::RequestPut(put)) = &txn.success[0].request else {
            panic!("{txn:?}")
        };
        assert_eq!(put.value, "bar");
    }

    #[test]
    fn an_answer_is_written_as_etcd_writes_it() {
        let header = ResponseHeader {
            cluster_id: 14_841_639_068_965_178_418,
            member_id: 1,
            revision: 2,
            raft_term: 3,
        };
        let kv = KeyValue {
            key: "foo".into(),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            value: Bytes::from_static(&[0xfb, 0xff]),
            lease: 0,
        };
        let range = RangeResponse {
            header: Some(header),
            kvs: vec![kv.clone()],
            more: false,
            count: 1,
        };
        let head = r#"{"header":{"cluster_id":"14841639068965178418","member_id":"1","revision":"2","raft_term":"3"}"#;
        let pair = r#"{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"+/8="}"#;
        assert_eq!(
            answer("/v3/kv/range", &range),
            format!(r#"{head},"kvs":[{pair}],"count":"1"}}"#)
        );
        let watch = WatchResponse {
            header: Some(header),
            created: true,
            events: vec![Event {
                r#type: EventType::Delete.into(),
                kv: Some(kv),
                prev_kv: None,
            }],
            ..WatchResponse::default()
        };
        assert_eq!(
            answer("/v3/watch", &watch),
            format!(r#"{head},"created":true,"events":[{{"type":"DELETE","kv":{pair}}}]}}"#)
        );
    }
}
