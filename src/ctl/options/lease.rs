//! Watches, leases, and what is made of them: locks and elections.

use crate::ctl::go;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;

#[derive(Args, Debug, Clone)]
pub(in crate::ctl) struct Watch {
    /// [key or prefix] [range_end]
    pub(in crate::ctl) arguments: Vec<OsString>,
    /// [exec-command arg1 arg2 ...], run for each event
    #[arg(last = true)]
    pub(in crate::ctl) command: Vec<OsString>,
    /// Interactive mode
    #[arg(short, long)]
    pub(in crate::ctl) interactive: bool,
    /// Watch on a prefix if prefix is set
    #[arg(long)]
    pub(in crate::ctl) prefix: bool,
    /// Revision to start watching
    #[arg(long, default_value = "0", allow_negative_numbers = true)]
    #[arg(value_parser = go::parse_decimal)]
    pub(in crate::ctl) rev: i64,
    /// Get the previous key-value pair before the event happens
    #[arg(long)]
    pub(in crate::ctl) prev_kv: bool,
    /// Get periodic watch progress notification from server
    #[arg(long)]
    pub(in crate::ctl) progress_notify: bool,
}

/// What follows `watch` on a line of the interactive mode.
#[derive(Parser, Debug)]
#[command(name = "watch", no_binary_name = true, disable_help_flag = true)]
#[command(args_override_self = true)]
pub(in crate::ctl) struct WatchLine {
    #[command(flatten)]
    pub(in crate::ctl) watch: Watch,
}

#[derive(Subcommand, Debug)]
pub(in crate::ctl) enum LeaseCommand {
    /// Creates leases
    Grant {
        /// <ttl>
        arguments: Vec<String>,
    },
    /// Revokes leases
    Revoke {
        /// <leaseID>
        arguments: Vec<String>,
    },
    /// Get lease information
    Timetolive {
        /// <leaseID>
        arguments: Vec<String>,
        /// Get keys attached to this lease
        #[arg(long)]
        keys: bool,
    },
    /// List all active leases
    List {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
    /// Keeps leases alive (renew)
    KeepAlive {
        /// <leaseID>
        arguments: Vec<String>,
        /// Resets the keep-alive time to its original value and exits immediately
        #[arg(long)]
        once: bool,
    },
}

#[derive(Args, Debug)]
pub(in crate::ctl) struct Lock {
    /// <lockname> [exec-command arg1 arg2 ...]
    pub(in crate::ctl) arguments: Vec<OsString>,
    /// Timeout for session
    #[arg(long, default_value = "10", allow_negative_numbers = true)]
    #[arg(value_parser = go::parse_decimal)]
    pub(in crate::ctl) ttl: i64,
}

#[derive(Args, Debug)]
pub(in crate::ctl) struct Elect {
    /// <election-name> [proposal]
    pub(in crate::ctl) arguments: Vec<OsString>,
    /// [exec-command arg1 arg2 ...], run once elected
    #[arg(last = true)]
    pub(in crate::ctl) command: Vec<OsString>,
    /// Observation mode
    #[arg(short, long)]
    pub(in crate::ctl) listen: bool,
}
