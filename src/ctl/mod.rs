//! Floor 8: the client's command line, with etcdctl's commands, flags and output.
//!
//! Whatever is written for `etcdctl` works with `quorate`, to the byte: [`options`] is the grammar
//! of the command line, [`mod@run`] the dispatch, [`mod@print`] the formats, [`go`] what comes from
//! Go's own formatting; the rest is one file for each group of commands. [`lock`] and [`elect`] are
//! recipes over keys and leases (`client::session`), [`exec`] runs what they and [`watch`] are told
//! to run. [`data`] works on files, as etcdutl does. Where etcdctl panics, we have a sentence; `docs/compatibility.md` lists the differences.

mod alarm;
mod check;
mod data;
mod elect;
mod endpoint;
mod exec;
mod go;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod member;
mod options;
mod print;
mod run;
mod signal;
mod snapshot;
mod txn;
mod watch;

pub use data::{run_data, run_etcdutl};
pub use run::run;
