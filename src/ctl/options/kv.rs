//! Keys and transactions.

use crate::ctl::go;
use clap::{Args, Parser};
use std::ffi::OsString;

/// The three commands that a transaction's lines may hold.
#[derive(Parser, Debug)]
#[command(name = "txn", no_binary_name = true, disable_help_flag = true)]
#[command(args_override_self = true)]
pub(in crate::ctl) enum Operation {
    Get(Get),
    Put(Put),
    Del(Del),
}

#[derive(Args, Debug, Clone)]
pub(in crate::ctl) struct Get {
    /// <key> [range_end]
    pub(in crate::ctl) arguments: Vec<OsString>,
    /// Get keys with matching prefix
    #[arg(long)]
    pub(in crate::ctl) prefix: bool,
    /// Get keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    pub(in crate::ctl) from_key: bool,
    /// Maximum number of results
    #[arg(long, default_value = "0", allow_negative_numbers = true)]
    #[arg(value_parser = go::parse_decimal)]
    pub(in crate::ctl) limit: i64,
    /// Specify the kv revision
    #[arg(long, default_value = "0", allow_negative_numbers = true)]
    #[arg(value_parser = go::parse_decimal)]
    pub(in crate::ctl) rev: i64,
    /// Order of results; ASCEND or DESCEND (ASCEND by default)
    #[arg(long, default_value = "")]
    pub(in crate::ctl) order: String,
    /// Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION
    #[arg(long, default_value = "")]
    pub(in crate::ctl) sort_by: String,
    /// Get only the keys
    #[arg(long)]
    pub(in crate::ctl) keys_only: bool,
    /// Get only the count
    #[arg(long)]
    pub(in crate::ctl) count_only: bool,
    /// Only write values when using the "simple" output format
    #[arg(long)]
    pub(in crate::ctl) print_value_only: bool,
    /// Linearizable(l) or Serializable(s)
    #[arg(long, default_value = "l")]
    pub(in crate::ctl) consistency: String,
}

#[derive(Args, Debug, Clone)]
pub(in crate::ctl) struct Put {
    /// <key> [value], the value from stdin if not given
    pub(in crate::ctl) arguments: Vec<OsString>,
    /// Lease ID (in hexadecimal) to attach to the key
    #[arg(long, default_value = "0", allow_hyphen_values = true)]
    pub(in crate::ctl) lease: String,
    /// Return the previous key-value pair before modification
    #[arg(long)]
    pub(in crate::ctl) prev_kv: bool,
    /// Updates the key using its current value
    #[arg(long)]
    pub(in crate::ctl) ignore_value: bool,
    /// Updates the key using its current lease
    #[arg(long)]
    pub(in crate::ctl) ignore_lease: bool,
}

#[derive(Args, Debug, Clone)]
pub(in crate::ctl) struct Del {
    /// <key> [range_end]
    pub(in crate::ctl) arguments: Vec<OsString>,
    /// Delete keys with matching prefix
    #[arg(long)]
    pub(in crate::ctl) prefix: bool,
    /// Delete keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    pub(in crate::ctl) from_key: bool,
    /// Return deleted key-value pairs
    #[arg(long)]
    pub(in crate::ctl) prev_kv: bool,
}

#[derive(Args, Debug)]
pub(in crate::ctl) struct Txn {
    #[arg(hide = true)]
    pub(in crate::ctl) arguments: Vec<String>,
    /// Input transaction in interactive mode
    #[arg(short, long)]
    pub(in crate::ctl) interactive: bool,
}

#[derive(Args, Debug)]
pub(in crate::ctl) struct Compaction {
    /// <revision>
    #[arg(allow_negative_numbers = true)]
    pub(in crate::ctl) arguments: Vec<String>,
    /// 'true' to wait for compaction to physically remove all old revisions
    #[arg(long)]
    pub(in crate::ctl) physical: bool,
}
