//! Floor 6: the gRPC doors that clients knock at.
//!
//! A request's way: [`listen`] accepts a connection and finds out what it speaks; plain HTTP goes to
//! the room above ([`plain`]), gRPC comes here: [`dispatch`] knows the path
//! and hands the bytes to the call's own file; there the message is checked as etcd checks it
//! ([`validate`]: nothing that etcd refuses at its door ever reaches the log), turned into a
//! `Command` or a `RangeQuery` ([`convert`]), carried out by the node, and the answer turned back.
//! Wire types stop here (invariant 3).
//!
//! The doors do without tonic's generated servers. A unary call through them costs four boxes, two
//! 8 KiB buffers and a copy of the message; [`grpc`] does with one buffer for the answer and slices
//! of the connection's own buffer for the question, and it says etcd's words where tonic has its
//! own (messages over the limit, unknown methods). What a new call needs: a line in `dispatch`, a
//! function in its service's file.
//!
//! | file | what |
//! |---|---|
//! | [`listen`] [`preface`] [`authority`] | accept, HTTP settings, orderly stop; clients that say nothing, or too much |
//! | [`plain`] | what is no call, and who answers it |
//! | [`dispatch`] | paths, what every call has in common (deadline, `hasleader`, learner) |
//! | [`unanswered`] | what is said of a call that nobody answers |
//! | [`grpc`] [`stream`] | frames, limits, metadata, trailers; calls that go on |
//! | [`meters`] | how often each call came, and how it ended |
//! | [`kv`] [`watch`] [`lease`] [`cluster`] [`maintenance`] [`health`] | one gRPC service each; [`downgrade`] is a call of the fifth |
//! | [`lock`] [`election`] [`mod@line`] | the same, built on the others; the line that people stand in |
//! | [`hashes`] [`snapshot`] | more of `Maintenance` |
//! | [`txn_wire`] | decoding of transactions nested deeper than prost allows, bounded |
//! | [`watch_wire`] | events to bytes, once for all who want them |
//! | [`validate`] [`duplicates`] | etcd's checks before a proposal |
//! | [`convert`] [`header`] [`status`] | wire to command, outcome to wire, errors to etcd's words |

mod authority;
mod cluster;
mod convert;
mod dispatch;
mod downgrade;
mod duplicates;
mod election;
mod grpc;
mod hashes;
mod header;
mod health;
mod kv;
mod lease;
mod line;
mod listen;
mod lock;
mod maintenance;
mod meters;
mod plain;
mod preface;
mod snapshot;
mod status;
mod stream;
mod txn_wire;
mod unanswered;
mod validate;
mod watch;
mod watch_wire;

pub use dispatch::{Doors, Limits};
pub use grpc::ReplyBody;
pub use listen::{Port, serve};
pub use meters::{CallKind, CallMeter, CallMeters};
pub use plain::{Plain, PlainBody};
