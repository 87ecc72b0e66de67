//! The format for people and shell scripts: keys and values on lines of their own.

use super::render::{Answer, member_row, status_row};
use crate::ctl::go;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse};
use crate::proto::mvccpb::KeyValue;

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
        Answer::Members(response) => {
            for member in &response.members {
                out.line(&member_row(member).join(", "));
            }
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
