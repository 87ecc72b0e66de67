//! The flags that every command takes, and their variables.

use crate::ctl::go;
use clap::Args;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(in crate::ctl) struct Global {
    /// gRPC endpoints
    #[arg(long, global = true, default_value = "127.0.0.1:2379")]
    #[arg(value_delimiter = ',')]
    pub(in crate::ctl) endpoints: Vec<String>,
    /// Set the output format
    #[arg(short = 'w', long, global = true, default_value = "simple")]
    pub(in crate::ctl) write_out: String,
    /// Print byte strings as hex encoded strings
    #[arg(long, global = true)]
    pub(in crate::ctl) hex: bool,
    /// Dial timeout for client connections
    #[arg(long, global = true, default_value = "2s")]
    #[arg(value_parser = go::parse_duration)]
    pub(in crate::ctl) dial_timeout: Duration,
    /// Timeout for short running command (excluding dial timeout; 5s by default)
    #[arg(long, global = true, value_parser = go::parse_duration)]
    pub(in crate::ctl) command_timeout: Option<Duration>,
    /// Accepted for etcdctl's sake: there is no TLS yet
    #[arg(long, global = true, default_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    #[arg(action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(in crate::ctl) insecure_transport: bool,
    /// Accepted for etcdctl's sake
    #[arg(long, global = true, default_value = "2s", value_parser = go::parse_duration, hide = true)]
    pub(in crate::ctl) keepalive_time: Duration,
    /// Accepted for etcdctl's sake
    #[arg(long, global = true, default_value = "6s", value_parser = go::parse_duration, hide = true)]
    pub(in crate::ctl) keepalive_timeout: Duration,
    /// Accepted for etcdctl's sake
    #[arg(long, global = true, hide = true)]
    pub(in crate::ctl) debug: bool,
    /// Accepted for etcdctl's sake: it is about --discovery-srv
    #[arg(long, global = true, default_value = "true", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set, value_parser = go::parse_bool)]
    pub(in crate::ctl) insecure_discovery: bool,
    #[arg(long, global = true, hide = true)]
    pub(in crate::ctl) insecure_skip_tls_verify: bool,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(in crate::ctl) cacert: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(in crate::ctl) cert: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(in crate::ctl) key: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(in crate::ctl) user: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(in crate::ctl) password: String,
    #[arg(short = 'd', long, global = true, default_value = "", hide = true)]
    pub(in crate::ctl) discovery_srv: String,
    #[arg(long, global = true, default_value = "", hide = true)]
    pub(in crate::ctl) discovery_srv_name: String,
}

impl Global {
    /// How long a call may take, with all its tries.
    pub(in crate::ctl) fn timeout(&self) -> Duration {
        self.command_timeout.unwrap_or(COMMAND_TIMEOUT)
    }

    /// One sentence about what is asked for and cannot be done: a command that went on without it
    /// would do something else than it was told.
    pub(in crate::ctl) fn refusal(&self) -> Option<String> {
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
pub(in crate::ctl) fn with_environment(
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
