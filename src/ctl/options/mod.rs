//! The command line: [`global`] the flags of every command, then one file for each group of them.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "these comments are help texts, in etcdctl's notation"
)]

mod cluster;
mod global;
mod kv;
mod lease;
mod maintenance;
#[cfg(test)]
mod tests;

pub(super) use cluster::{Cluster, EndpointCommand, MemberCommand};
pub(super) use global::{Global, with_environment};
pub(super) use kv::{Compaction, Del, Get, Operation, Put, Txn};
pub(super) use lease::{Elect, LeaseCommand, Lock, Watch, WatchLine};
pub(super) use maintenance::{AlarmCommand, CheckCommand, Defrag, SnapshotCommand};

use super::go;
use clap::{ArgAction, Parser, Subcommand};
use std::ffi::OsString;

#[derive(Parser, Debug)]
#[command(
    name = "quorate",
    about = "A client for the etcd v3 API",
    disable_version_flag = true,
    args_override_self = true
)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Gets the key or a range of keys
    Get(Get),
    /// Puts the given key into the store
    Put(Put),
    /// Removes the specified key or range of keys [key, range_end)
    Del(Del),
    /// Txn processes all the requests in one transaction
    Txn(Txn),
    /// Compacts the event history in etcd
    Compaction(Compaction),
    /// Watches events stream on keys or prefixes
    Watch(Watch),
    /// Lease related commands
    Lease {
        #[command(subcommand)]
        command: LeaseCommand,
    },
    /// Acquires a named lock
    Lock(Lock),
    /// Observes and participates in leader election
    Elect(Elect),
    /// Endpoint related commands
    Endpoint {
        #[command(flatten)]
        cluster: Cluster,
        #[command(subcommand)]
        command: EndpointCommand,
    },
    /// Prints out the status of endpoints (etcdctl: endpoint status)
    Status(Cluster),
    /// Membership related commands
    Member {
        #[command(subcommand)]
        command: MemberCommand,
    },
    /// Alarm related commands
    Alarm {
        #[command(subcommand)]
        command: AlarmCommand,
    },
    /// Defragments the storage of the etcd members with given endpoints
    Defrag(Defrag),
    /// Transfers leadership to another etcd cluster member
    MoveLeader {
        /// <transferee-member-id>
        arguments: Vec<String>,
    },
    /// Manages etcd node snapshots
    Snapshot {
        #[command(subcommand)]
        command: SnapshotCommand,
    },
    /// Commands for checking properties of the etcd cluster
    Check {
        #[command(subcommand)]
        command: CheckCommand,
    },
    /// Prints the version
    Version,
}

/// Reads `words` as `P` declares them; switches take `=true` and `=false` as in Go.
pub(super) fn parse<P: Parser>(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<P, clap::Error> {
    let mut command = with_gos_switches(P::command());
    let mut matches = command.try_get_matches_from_mut(words)?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

fn with_gos_switches(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| match argument.get_action() {
            ArgAction::SetTrue => argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_value("false")
                .default_missing_value("true")
                .value_parser(go::parse_bool),
            _ => argument,
        })
        .mut_subcommands(with_gos_switches)
}
