//! Endpoints and members.

use crate::ctl::go;
use clap::{Args, Subcommand};

#[derive(Args, Debug)]
pub(in crate::ctl) struct Cluster {
    /// Use all endpoints from the cluster member list
    #[arg(long, global = true)]
    pub(in crate::ctl) cluster: bool,
}

// Words behind these commands mean nothing, as in etcdctl.
#[derive(Subcommand, Debug)]
pub(in crate::ctl) enum EndpointCommand {
    /// Prints out the status of endpoints specified in `--endpoints` flag
    Status {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
    /// Checks the healthiness of endpoints specified in `--endpoints` flag
    Health {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
    /// Prints the KV history hash for each endpoint in --endpoints
    Hashkv {
        #[arg(hide = true)]
        arguments: Vec<String>,
        /// Maximum revision to hash (default: all revisions)
        #[arg(long, default_value = "0", allow_negative_numbers = true)]
        #[arg(value_parser = go::parse_decimal)]
        rev: i64,
    },
}

#[derive(Subcommand, Debug)]
pub(in crate::ctl) enum MemberCommand {
    /// Adds a member into the cluster
    Add {
        /// <memberName>
        arguments: Vec<String>,
        /// Comma separated peer URLs for the new member
        #[arg(long, default_value = "")]
        peer_urls: String,
        /// Indicates if the new member is raft learner
        #[arg(long)]
        learner: bool,
    },
    /// Removes a member from the cluster
    Remove {
        /// <memberID>
        arguments: Vec<String>,
    },
    /// Updates a member in the cluster
    Update {
        /// <memberID>
        arguments: Vec<String>,
        /// Comma separated peer URLs for the updated member
        #[arg(long, default_value = "")]
        peer_urls: String,
    },
    /// Promotes a non-voting member in the cluster
    Promote {
        /// <memberID>
        arguments: Vec<String>,
    },
    /// Lists all members in the cluster
    List {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
}
