//! The command line. Switches take `=true` and `=false` as in etcdctl.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "these comments are help texts, in etcdctl's notation"
)]

use super::go;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

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

#[derive(Args, Debug)]
pub(super) struct Global {
    /// gRPC endpoints
    #[arg(long, global = true, default_value = "127.0.0.1:2379")]
    #[arg(value_delimiter = ',')]
    pub(super) endpoints: Vec<String>,
    /// Set the output format
    #[arg(short = 'w', long, global = true, default_value = "simple")]
    pub(super) write_out: String,
    /// Print byte strings as hex encoded strings
    #[arg(long, global = true, default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) hex: bool,
    /// Dial timeout for client connections
    #[arg(long, global = true, default_value = "2s")]
    #[arg(value_parser = go::parse_duration)]
    pub(super) dial_timeout: Duration,
    /// Timeout for short running command (excluding dial timeout)
    #[arg(long, global = true, default_value = "5s")]
    #[arg(value_parser = go::parse_duration)]
    pub(super) command_timeout: Duration,
    /// Accepted for etcdctl's sake: there is no TLS yet
    #[arg(long, global = true, default_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    #[arg(action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) insecure_transport: bool,
    /// Accepted for etcdctl's sake
    #[arg(long, global = true, default_value = "2s", value_parser = go::parse_duration, hide = true)]
    pub(super) keepalive_time: Duration,
    /// Accepted for etcdctl's sake
    #[arg(long, global = true, default_value = "6s", value_parser = go::parse_duration, hide = true)]
    pub(super) keepalive_timeout: Duration,
    /// Accepted for etcdctl's sake
    #[arg(long, global = true, default_value = "false", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) debug: bool,
    /// Accepted for etcdctl's sake: it is about --discovery-srv
    #[arg(long, global = true, default_value = "true", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) insecure_discovery: bool,
    #[arg(long, global = true, default_value = "false", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) insecure_skip_tls_verify: bool,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(super) cacert: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(super) cert: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(super) key: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(super) user: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(super) password: String,
    #[arg(short = 'd', long, global = true, default_value = "", hide = true)]
    pub(super) discovery_srv: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(super) discovery_srv_name: String,
}

impl Global {
    /// One sentence about what is asked for and cannot be done: a command that went on without it
    /// would do something else than it was told.
    pub(super) fn refusal(&self) -> Option<String> {
        let tls = "there is no TLS yet";
        let users = "there is no authentication yet";
        let discovery = "there is no discovery yet";
        [
            ("cacert", !self.cacert.is_empty(), tls),
            ("cert", !self.cert.is_empty(), tls),
            ("key", !self.key.is_empty(), tls),
            (
                "insecure-skip-tls-verify",
                self.insecure_skip_tls_verify,
                tls,
            ),
            ("insecure-transport=false", !self.insecure_transport, tls),
            ("user", !self.user.is_empty(), users),
            ("password", !self.password.is_empty(), users),
            ("discovery-srv", !self.discovery_srv.is_empty(), discovery),
            (
                "discovery-srv-name",
                !self.discovery_srv_name.is_empty(),
                discovery,
            ),
        ]
        .into_iter()
        .find(|(_, is_given, _)| *is_given)
        .map(|(flag, _, why)| format!("--{flag} cannot be obeyed: {why}"))
        .or_else(|| self.endpoints.iter().find_map(|name| unusable(name)))
    }
}

/// Why an endpoint cannot be dialled at all.
fn unusable(endpoint: &str) -> Option<String> {
    let why = match endpoint.split_once("://") {
        Some(("https" | "unixs", _)) => "there is no TLS yet",
        Some(("unix", _)) => "there are no unix sockets yet",
        Some(("http", _)) | None => {
            let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
            let uri = format!("http://{address}").parse::<http::Uri>();
            match uri {
                Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => return None,
                _ => "not host:port",
            }
        }
        Some(_) => "unknown scheme",
    };
    Some(format!("endpoint {endpoint:?} cannot be used: {why}"))
}

/// The global flags; each `--a-b` is also `ETCDCTL_A_B`.
const VARIABLES: &[&str] = &[
    "endpoints",
    "write-out",
    "hex",
    "dial-timeout",
    "command-timeout",
    "debug",
    "insecure-transport",
    "insecure-discovery",
    "insecure-skip-tls-verify",
    "keepalive-time",
    "keepalive-timeout",
    "cacert",
    "cert",
    "key",
    "user",
    "password",
    "discovery-srv",
    "discovery-srv-name",
];

/// The command line with what the environment says in front of it, where a flag given by hand
/// overrides it. An empty variable is an unset one, as in etcdctl.
pub(super) fn with_environment(
    arguments: &[OsString],
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<OsString> {
    let by_hand = |flag: &str| {
        let flag = format!("--{flag}");
        let words = arguments.iter().take_while(|word| *word != "--");
        words.filter_map(|word| word.to_str()).any(|word| {
            word.strip_prefix(&flag)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    };
    let mut all = vec![OsString::from("quorate")];
    for flag in VARIABLES {
        let name = format!("ETCDCTL_{}", flag.to_uppercase().replace('-', "_"));
        let value = variable(&name).filter(|value| !value.is_empty());
        // A flag that may come several times adds up.
        if let Some(value) = value
            && !by_hand(flag)
        {
            let mut word = OsString::from(format!("--{flag}="));
            word.push(OsStr::new(&value));
            all.push(word);
        }
    }
    all.extend(arguments.iter().cloned());
    all
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
#[command(args_override_self = true)]
pub(super) enum Operation {
    Get(Get),
    Put(Put),
    Del(Del),
}

#[derive(Args, Debug, Clone)]
pub(super) struct Get {
    /// <key> [range_end]
    pub(super) arguments: Vec<OsString>,
    /// Get keys with matching prefix
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) prefix: bool,
    /// Get keys that are greater than or equal to the given key using byte compare
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
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
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) keys_only: bool,
    /// Get only the count
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) count_only: bool,
    /// Only write values when using the "simple" output format
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) print_value_only: bool,
    /// Linearizable(l) or Serializable(s)
    #[arg(long, default_value = "l")]
    pub(super) consistency: String,
}

#[derive(Args, Debug, Clone)]
pub(super) struct Put {
    /// <key> [value], the value from stdin if not given
    pub(super) arguments: Vec<OsString>,
    /// Lease ID (in hexadecimal) to attach to the key
    #[arg(long, default_value = "0", allow_hyphen_values = true)]
    pub(super) lease: String,
    /// Return the previous key-value pair before modification
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) prev_kv: bool,
    /// Updates the key using its current value
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) ignore_value: bool,
    /// Updates the key using its current lease
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) ignore_lease: bool,
}

#[derive(Args, Debug, Clone)]
pub(super) struct Del {
    /// <key> [range_end]
    pub(super) arguments: Vec<OsString>,
    /// Delete keys with matching prefix
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) prefix: bool,
    /// Delete keys that are greater than or equal to the given key using byte compare
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) from_key: bool,
    /// Return deleted key-value pairs
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) prev_kv: bool,
}

#[derive(Args, Debug)]
pub(super) struct Txn {
    #[arg(hide = true)]
    pub(super) arguments: Vec<String>,
    /// Input transaction in interactive mode
    #[arg(short, long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(super) interactive: bool,
}

#[derive(Args, Debug)]
pub(super) struct Compaction {
    /// <revision>
    #[arg(allow_negative_numbers = true)]
    pub(super) arguments: Vec<String>,
    /// 'true' to wait for compaction to physically remove all old revisions
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
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
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set, value_parser = go::parse_bool)]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str], variables: &[(&str, &str)]) -> Result<Options, clap::Error> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Options::try_parse_from(with_environment(&words, variable))
    }

    fn get(words: &[&str]) -> Get {
        match parse(words, &[]).unwrap().command {
            Command::Get(get) => get,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn booleans_are_gos() {
        for on in [
            "--prefix",
            "--prefix=t",
            "--prefix=1",
            "--prefix=TRUE",
            "--prefix=True",
        ] {
            assert!(get(&["get", "k", on]).prefix, "{on}");
        }
        for off in ["--prefix=f", "--prefix=0", "--prefix=False"] {
            assert!(!get(&["get", "k", off]).prefix, "{off}");
        }
        assert!(parse(&["get", "k", "--prefix=yes"], &[]).is_err());
    }

    #[test]
    fn a_flag_may_come_again() {
        let found = get(&[
            "get",
            "k",
            "--prefix",
            "--prefix=false",
            "--limit=1",
            "--limit=2",
        ]);
        assert_eq!((found.prefix, found.limit), (false, 2));
        let options = parse(
            &[
                "--hex",
                "get",
                "k",
                "--hex=false",
                "--endpoints=a:1,b:2",
                "--endpoints",
                "c:3",
            ],
            &[("ETCDCTL_ENDPOINTS", "d:4")],
        );
        let global = options.unwrap().global;
        assert!(!global.hex);
        assert_eq!(global.endpoints, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn the_environment_is_asked_unless_it_is_empty() {
        let variables = [
            ("ETCDCTL_ENDPOINTS", ""),
            ("ETCDCTL_HEX", "1"),
            ("ETCDCTL_WRITE_OUT", "json"),
            ("ETCDCTL_DIAL_TIMEOUT", ""),
            ("ETCDCTL_API", "3"),
        ];
        let global = parse(&["get", "k", "-w", "table"], &variables)
            .unwrap()
            .global;
        assert_eq!(global.endpoints, ["127.0.0.1:2379"]);
        assert!(global.hex);
        assert_eq!(global.write_out, "table");
        assert_eq!(global.refusal(), None);
        let global = parse(&["get", "k"], &[("ETCDCTL_ENDPOINTS", "a:1,b:2")])
            .unwrap()
            .global;
        assert_eq!(global.endpoints, ["a:1", "b:2"]);
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_in_one_sentence() {
        for (word, sentence) in [
            (
                "--cacert=ca.pem",
                "--cacert cannot be obeyed: there is no TLS yet",
            ),
            (
                "--user=root:pw",
                "--user cannot be obeyed: there is no authentication yet",
            ),
            (
                "--insecure-transport=false",
                "--insecure-transport=false cannot be obeyed: there is no TLS yet",
            ),
            (
                "--endpoints=https://h:1",
                "endpoint \"https://h:1\" cannot be used: there is no TLS yet",
            ),
            (
                "--endpoints=a b",
                "endpoint \"a b\" cannot be used: not host:port",
            ),
        ] {
            let global = parse(&["get", "k", word], &[]).unwrap().global;
            assert_eq!(global.refusal().as_deref(), Some(sentence));
        }
        let harmless = [
            "--debug",
            "--insecure-discovery",
            "--insecure-transport",
            "--keepalive-time=1s",
            "--keepalive-timeout=1s",
            "--endpoints=http://h:1",
        ];
        for word in harmless {
            assert_eq!(
                parse(&["get", "k", word], &[]).unwrap().global.refusal(),
                None
            );
        }
    }
}
