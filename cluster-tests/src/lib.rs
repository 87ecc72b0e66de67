//! The partition laboratory: clusters of real processes with real disks, links that can be cut,
//! histories and the judges that read them.
//!
//! | module | what it is |
//! |---|---|
//! | [`cluster`] | the driver: processes, links, topologies, the daemon behind `scripts/cluster` |
//! | [`wait`] | polling a condition against a deadline: nothing here sleeps and hopes |
//! | [`dial`] | opening channels: over TCP, or a simulated network |
//! | [`door`] | one member's gRPC doors, without hidden retries |
//! | [`raw`] | calls whose request is bytes |
//! | [`observe`] | what a member says of itself, for judges |
//! | [`schedule`] | which faults, when, as data; what each makes of the world |
//! | [`workload`] | what the clients do |
//! | [`history`] | what was asked and told, and what befell the cluster: a run as data |
//! | [`judge`] | what a run must not show |
//! | [`run`] | a cluster, clients and faults together; the judges and the report after |
//! | [`canaries`] | planted bugs, until a judge catches each |
//! | [`report`] | what a run looks like: one page that opens offline, the sentence, the matrix |
//! | [`script`] | stories of partitions: readable transcripts with recorded output |
//! | [`sim`] | the same in one thread: network, clock and disk simulated |
//! | [`faults`] | the faults a cluster must survive, one story a file |
//! | [`demo`] | the tour that `scripts/demo` gives |
//! | [`traps`] | the thirty traps of the etcd API, one test each, on etcd and on Quorate |
//! | [`differential`] | the same requests to Quorate and to a real etcd, every answer compared |
//! | [`gateway`] | the same HTTP requests to both, every answer compared |
//! | [`ctl`] | the same command lines to `quorate` and to `etcdctl` |
//! | [`mod@bench`] | the same load on Quorate and on etcd, in turn |
#![allow(clippy::print_stdout, reason = "the laboratory talks to a terminal")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod bench;
pub mod canaries;
pub mod cluster;
pub mod ctl;
pub mod demo;
pub mod dial;
pub mod differential;
pub mod door;
pub mod faults;
pub mod gateway;
pub mod history;
pub mod judge;
pub mod observe;
pub mod raw;
pub mod report;
pub mod run;
pub mod schedule;
pub mod script;
pub mod sim;
pub mod traps;
pub mod wait;
pub mod workload;
