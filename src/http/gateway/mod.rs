//! `/v3/...`: every gRPC call as a POST of JSON, as etcd's grpc-gateway has it.
//!
//! A request is translated and handed to the doors in this process, as if it had come over HTTP/2;
//! what they answer is translated back. So a call's checks, errors, deadlines and streams are the
//! doors' own, and a new call costs one line in [`paths`].
//!
//! | file | what |
//! |---|---|
//! | [`paths`] | which path is which call |
//! | [`methods`] | JSON and protobuf, by the descriptors that the build keeps of `proto/` |
//! | [`objects`] | a stream of requests: one JSON object after the other |
//! | [`messages`] | gRPC's frames: a question made of bytes, an answer taken apart |
//! | [`relay`] | from one to the other; streams of answers, a line each |
//! | [`refusal`] | what an error looks like |

mod messages;
mod methods;
mod objects;
mod paths;
mod refusal;
mod relay;

pub(super) use relay::Gateway;
