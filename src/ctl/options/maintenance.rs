//! Alarms, space, snapshots, checks.

use clap::{Args, Subcommand};
use std::ffi::OsString;

#[derive(Subcommand, Debug)]
pub(in crate::ctl) enum AlarmCommand {
    /// Disarms all alarms
    Disarm {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
    /// Lists all alarms
    List {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
}

#[derive(Args, Debug)]
pub(in crate::ctl) struct Defrag {
    #[arg(hide = true)]
    pub(in crate::ctl) arguments: Vec<String>,
    /// Use all endpoints from the cluster member list
    #[arg(long)]
    pub(in crate::ctl) cluster: bool,
    /// Accepted for etcdctl's sake: it is about etcd's own files
    #[arg(long, default_value = "", hide = true)]
    pub(in crate::ctl) data_dir: String,
}

#[derive(Subcommand, Debug)]
pub(in crate::ctl) enum SnapshotCommand {
    /// Stores an etcd node backend snapshot to a given file
    Save {
        /// <filename>
        arguments: Vec<OsString>,
    },
}

#[derive(Subcommand, Debug)]
pub(in crate::ctl) enum CheckCommand {
    /// Check the performance of the etcd cluster
    Perf {
        #[arg(hide = true)]
        arguments: Vec<String>,
        /// The performance check's workload model: s(small), m(medium), l(large), xl(xLarge)
        #[arg(long, default_value = "s")]
        load: String,
        /// The prefix for writing the performance check's keys
        #[arg(long, default_value = "/etcdctl-check-perf/")]
        prefix: String,
        /// Compact storage with last revision after test is finished
        #[arg(long)]
        auto_compact: bool,
        /// Defragment storage after test is finished
        #[arg(long)]
        auto_defrag: bool,
    },
}
