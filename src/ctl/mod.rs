//! Floor 8: the client's command line, with etcdctl's commands, flags and output.
//!
//! Whatever is written for `etcdctl` works with `quorate`, to the byte: [`options`] is the grammar
//! of the command line, [`mod@run`] the dispatch, [`kv`], [`txn`] and [`endpoint`] the commands,
//! [`mod@print`] the formats, [`go`] what comes from Go's own formatting. Where etcdctl panics, we have
//! a sentence; `docs/compatibility.md` lists the differences.

mod endpoint;
mod go;
mod kv;
mod options;
mod print;
mod run;
mod txn;

pub use run::run;
