//! The command line. Switches take `=true` and `=false` as in etcdctl.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "these comments are help texts, in etcdctl's notation"
)]

use super::go;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::time::Duration;

#[derive(Parser, Debug)]
#[command(
    name = "quorate",
    about = "A client for the etcd v3 API",
    disable_version_flag = true
)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Args, Debug)]
pub(super) struct Global {
    /// gRPC endpoints
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_ENDPOINTS",
        default_value = "127.0.0.1:2379"
    )]
    #[arg(value_delimiter = ',')]
    pub(super) endpoints: Vec<String>,
    /// Set the output format
    #[arg(
        short = 'w',
        long,
        global = true,
        env = "ETCDCTL_WRITE_OUT",
        default_value = "simple"
    )]
    pub(super) write_out: String,
    /// Print byte strings as hex encoded strings
    #[arg(long, global = true, env = "ETCDCTL_HEX", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set)]
    pub(super) hex: bool,
    /// Dial timeout for client connections
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_DIAL_TIMEOUT",
        default_value = "2s"
    )]
    #[arg(value_parser = go::parse_duration)]
    pub(super) dial_timeout: Duration,
    /// Timeout for short running command (excluding dial timeout)
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_COMMAND_TIMEOUT",
        default_value = "5s"
    )]
    #[arg(value_parser = go::parse_duration)]
    pub(super) command_timeout: Duration,
    /// Accepted for etcdctl's sake: there is no TLS yet
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_INSECURE_TRANSPORT",
        default_value = "true"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub(super) insecure_transport: bool,
    /// Accepted for etcdctl's sake
    #[arg(long, global = true, default_value = "2s", value_parser = go::parse_duration, hide = true)]
    pub(super) keepalive_time: Duration,
    /// Accepted for etcdctl's sake
    #[arg(long, global = true, default_value = "6s", value_parser = go::parse_duration, hide = true)]
    pub(super) keepalive_timeout: Duration,
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
    /// Endpoint related commands
    Endpoint(Endpoint),
    /// Prints out the status of endpoints (etcdctl: endpoint status)
    Status(Cluster),
    /// Membership related commands
    Member {
        #[command(subcommand)]
        command: MemberCommand,
    },
    /// Prints the version
    Version,
}

/// The three commands that a transaction's lines may hold.
#[derive(Parser, Debug)]
#[command(name = "txn", no_binary_name = true, disable_help_flag = true)]
pub(super) enum Operation {
    Get(Get),
    Put(Put),
    Del(Del),
}

#[derive(Args, Debug, Clone)]
pub(super) struct Get {
    /// <key> [range_end]
    pub(super) arguments: Vec<String>,
    /// Get keys with matching prefix
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) prefix: bool,
    /// Get keys that are greater than or equal to the given key using byte compare
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) from_key: bool,
    /// Maximum number of results
    #[arg(long, default_value = "0", allow_negative_numbers = true)]
    #[arg(value_parser = go::parse_decimal)]
    pub(super) limit: i64,
    /// Specify the kv revision
    #[arg(long, default_value = "0", allow_negative_numbers = true)]
    #[arg(value_parser = go::parse_decimal)]
    pub(super) rev: i64,
    /// Order of results; ASCEND or DESCEND (ASCEND by default)
    #[arg(long, default_value = "")]
    pub(super) order: String,
    /// Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION
    #[arg(long, default_value = "")]
    pub(super) sort_by: String,
    /// Get only the keys
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) keys_only: bool,
    /// Get only the count
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) count_only: bool,
    /// Only write values when using the "simple" output format
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) print_value_only: bool,
    /// Linearizable(l) or Serializable(s)
    #[arg(long, default_value = "l")]
    pub(super) consistency: String,
}

#[derive(Args, Debug, Clone)]
pub(super) struct Put {
    /// <key> [value], the value from stdin if not given
    pub(super) arguments: Vec<String>,
    /// Lease ID (in hexadecimal) to attach to the key
    #[arg(long, default_value = "0", allow_hyphen_values = true)]
    pub(super) lease: String,
    /// Return the previous key-value pair before modification
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) prev_kv: bool,
    /// Updates the key using its current value
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) ignore_value: bool,
    /// Updates the key using its current lease
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) ignore_lease: bool,
}

#[derive(Args, Debug, Clone)]
pub(super) struct Del {
    /// <key> [range_end]
    pub(super) arguments: Vec<String>,
    /// Delete keys with matching prefix
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) prefix: bool,
    /// Delete keys that are greater than or equal to the given key using byte compare
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) from_key: bool,
    /// Return deleted key-value pairs
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) prev_kv: bool,
}

#[derive(Args, Debug)]
pub(super) struct Txn {
    #[arg(hide = true)]
    pub(super) arguments: Vec<String>,
    /// Input transaction in interactive mode
    #[arg(short, long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) interactive: bool,
}

#[derive(Args, Debug)]
pub(super) struct Compaction {
    /// <revision>
    #[arg(allow_negative_numbers = true)]
    pub(super) arguments: Vec<String>,
    /// 'true' to wait for compaction to physically remove all old revisions
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) physical: bool,
}

#[derive(Args, Debug)]
pub(super) struct Endpoint {
    #[arg(value_enum)]
    pub(super) what: EndpointCommand,
    #[command(flatten)]
    pub(super) cluster: Cluster,
}

#[derive(Args, Debug)]
pub(super) struct Cluster {
    /// Use all endpoints from the cluster member list
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) cluster: bool,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointCommand {
    /// Prints out the status of endpoints specified in `--endpoints` flag
    Status,
    /// Checks the healthiness of endpoints specified in `--endpoints` flag
    Health,
}

#[derive(Subcommand, Debug)]
pub(super) enum MemberCommand {
    /// Lists all members in the cluster
    List {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
}
