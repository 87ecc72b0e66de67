//! The command line and the environment, read as etcd reads them.
//!
//! Go's `flag` package, not getopt: `-name x`, `--name x`, `-name=x` are one, there are no short
//! forms, a switch takes a value only behind `=`, and the first word that is no flag ends them.
//! Every flag `--a-b` is also `ETCD_A_B`; naming both is an error, because one would silently lose.

use super::Config;
use super::checked;
use crate::canary;
use std::collections::BTreeMap;

/// One option. `--version` and `--help` have no environment variable: `ETCD_VERSION` is set in
/// many containers and means something else there.
pub(super) struct Flag {
    pub(super) name: &'static str,
    /// The environment variable, where it is not `ETCD_` and the name.
    variable: Option<&'static str>,
    default: &'static str,
    help: &'static str,
    /// On or off: a value only behind `=`.
    is_switch: bool,
}

const fn switch_flag(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag {
        is_switch: true,
        ..flag(name, default, help)
    }
}

const fn flag(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        variable: None,
        default,
        help,
        is_switch: false,
    }
}

/// Our own option for tests and proxies; not shown by `--help`.
const PEER_DIAL: Flag = Flag {
    name: "peer-dial",
    variable: Some("QUORATE_PEER_DIAL"),
    default: "",
    help: "",
    is_switch: false,
};

/// For tests that cut the power: `env::disk_journal`.
const SYNC_JOURNAL: Flag = Flag {
    name: "sync-journal",
    variable: Some("QUORATE_SYNC_JOURNAL"),
    default: "",
    help: "",
    is_switch: false,
};

/// etcd 3.4's and 3.5's name.
const OLD_WATCH_PROGRESS: Flag = Flag {
    name: "experimental-watch-progress-notify-interval",
    variable: None,
    default: "",
    help: "",
    is_switch: false,
};

/// And of the other two.
const OLD_INITIAL_CHECK: Flag = Flag {
    name: "experimental-initial-corrupt-check",
    variable: None,
    default: "",
    help: "",
    is_switch: true,
};

const OLD_CHECK_TIME: Flag = Flag {
    name: "experimental-corrupt-check-time",
    variable: None,
    default: "",
    help: "",
    is_switch: false,
};

/// In the order of `--help`. Defaults are for the reader: `checked` fills them in.
const FLAGS: &[Flag] = &[
    flag("name", "default", "human-readable name of this member"),
    flag(
        "data-dir",
        "${name}.etcd",
        "directory of this member's data",
    ),
    flag(
        "listen-client-urls",
        "http://localhost:2379",
        "URLs to listen on for clients",
    ),
    flag(
        "advertise-client-urls",
        "http://localhost:2379",
        "this member's client URLs, for others",
    ),
    flag(
        "listen-peer-urls",
        "http://localhost:2380",
        "URLs to listen on for members",
    ),
    flag(
        "listen-metrics-urls",
        "",
        "more URLs for /metrics and /health",
    ),
    flag(
        "initial-advertise-peer-urls",
        "http://localhost:2380",
        "this member's peer URLs, for others",
    ),
    flag(
        "initial-cluster",
        "default=http://localhost:2380",
        "name=URL of every first member",
    ),
    flag(
        "initial-cluster-state",
        "new",
        "'new', or 'existing' to join a running cluster",
    ),
    flag(
        "initial-cluster-token",
        "etcd-cluster",
        "keeps apart clusters with the same URLs",
    ),
    flag(
        "heartbeat-interval",
        "50",
        "milliseconds between heartbeats",
    ),
    flag(
        "election-timeout",
        "300",
        "longest milliseconds without a leader before an election",
    ),
    flag(
        "snapshot-count",
        "10000",
        "log entries between two snapshots",
    ),
    flag(
        "quota-backend-bytes",
        "0",
        "bytes of data at which writes are refused; 0 is 2 GiB, -1 no quota",
    ),
    flag(
        "auto-compaction-mode",
        "periodic",
        "'periodic' keeps a time, 'revision' a number of revisions",
    ),
    flag(
        "auto-compaction-retention",
        "0",
        "what is kept: '1h', '10m', a number of hours, or of revisions; 0 is off",
    ),
    switch_flag(
        "strict-reconfig-check",
        "true",
        "refuse changes of the membership that would cost the quorum",
    ),
    flag("max-learners", "1", "most learners at a time"),
    flag("max-request-bytes", "1572864", "largest request"),
    flag("max-txn-ops", "128", "most operations in a transaction"),
    flag(
        "watch-progress-notify-interval",
        "10m",
        "how often an idle watcher that asks for it hears of progress",
    ),
    switch_flag(
        "initial-corrupt-check",
        "false",
        "compare what is on disk with the other members before starting",
    ),
    flag(
        "corrupt-check-time",
        "0s",
        "how often the leader compares every row of every member; 0 is never",
    ),
    flag(
        "feature-gates",
        "",
        "etcd 3.6's, as InitialCorruptCheck=true",
    ),
    flag(
        "metrics",
        "basic",
        "'basic', or 'extensive' to measure each call's duration too",
    ),
    flag(
        "log-level",
        "info",
        "debug, info, warn, error, panic or fatal",
    ),
];

fn all_flags() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().chain([
        &PEER_DIAL,
        &SYNC_JOURNAL,
        &OLD_WATCH_PROGRESS,
        &OLD_INITIAL_CHECK,
        &OLD_CHECK_TIME,
    ])
}

impl Flag {
    fn variable(&self) -> String {
        let derived = || format!("ETCD_{}", self.name.to_uppercase().replace('-', "_"));
        self.variable.map_or_else(derived, str::to_owned)
    }
}

/// One clear sentence, and what to exit with: 2 for a wrong command line, else 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct ConfigError {
    pub sentence: String,
    pub exit_code: u8,
}

impl ConfigError {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            exit_code: 1,
        }
    }

    fn usage(sentence: String) -> Self {
        Self {
            sentence,
            exit_code: 2,
        }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Serve(Box<Config>),
    /// Print this and leave.
    Print(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    pub start: Start,
    /// To be logged once there is a log.
    pub warnings: Vec<String>,
}

/// Reads the arguments behind `serve` and the environment.
pub fn read(
    arguments: impl IntoIterator<Item = String>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<CommandLine, ConfigError> {
    let mut given = match parse(arguments)? {
        Parsed::Given(given) => given,
        Parsed::Print(text) => {
            return Ok(CommandLine {
                start: Start::Print(text),
                warnings: Vec::new(),
            });
        }
    };
    let warnings = add_environment(&mut given, environment)?;
    let config = checked::config(&given)?;
    Ok(CommandLine {
        start: Start::Serve(Box::new(config)),
        warnings,
    })
}

/// The words given for each option, by flag name.
#[derive(Default)]
pub(super) struct Given {
    values: BTreeMap<&'static str, String>,
}

impl Given {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A switch, `default` where it is not given.
    pub(super) fn is_on(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => switch(name, Some(text)),
        }
    }
}

enum Parsed {
    Given(Given),
    Print(String),
}

fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Parsed, ConfigError> {
    let mut given = Given::default();
    let mut print = None;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(body) = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))
        else {
            return Err(not_a_flag(&argument));
        };
        if argument == "--" {
            if let Some(word) = arguments.next() {
                return Err(not_a_flag(&word));
            }
            break;
        }
        if argument == "-" {
            return Err(not_a_flag(&argument));
        }
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(ConfigError::usage(format!("bad flag syntax: {argument}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        match name {
            "version" | "help" | "h" => {
                let on = switch(name, value.as_deref())?;
                let text = if name == "version" {
                    version_text
                } else {
                    help_text
                };
                print = if on { print.or(Some(text())) } else { print };
            }
            _ => {
                let undefined =
                    || ConfigError::usage(format!("flag provided but not defined: -{name}"));
                let flag = all_flags()
                    .find(|flag| flag.name == name)
                    .ok_or_else(undefined)?;
                let missing = || ConfigError::usage(format!("flag needs an argument: -{name}"));
                let value = if flag.is_switch {
                    switch(name, value.as_deref())?.to_string()
                } else {
                    value.or_else(|| arguments.next()).ok_or_else(missing)?
                };
                given.values.insert(flag.name, value);
            }
        }
    }
    Ok(print.map_or(Parsed::Given(given), Parsed::Print))
}

fn not_a_flag(word: &str) -> ConfigError {
    ConfigError::new(format!("{word:?} is not a valid flag"))
}

fn switch(name: &str, value: Option<&str>) -> Result<bool, ConfigError> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(ConfigError::usage(format!(
            "invalid boolean value {other:?} for -{name}: parse error"
        ))),
    }
}

/// Adds what the environment says; answers what it says in vain.
fn add_environment(
    given: &mut Given,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (variable, value) in environment {
        let Some(flag) = all_flags().find(|flag| flag.variable() == variable) else {
            if variable.starts_with("ETCD_") {
                warnings.push(format!(
                    "unrecognized environment variable {variable}={value}"
                ));
            }
            continue;
        };
        if given.values.contains_key(flag.name) {
            return Err(ConfigError::new(format!(
                "conflicting environment variable {variable:?} is shadowed by corresponding \
                 command-line flag {:?} (either unset environment variable or disable flag)",
                flag.name
            )));
        }
        // An empty variable is an unset one, as in etcd.
        if !value.is_empty() {
            given.values.insert(flag.name, value);
        }
    }
    Ok(warnings)
}

/// Tools parse the first line.
fn version_text() -> String {
    use super::{ETCD_VERSION, QUORATE_VERSION};
    let (os, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    let canaries = canary::note().map_or_else(String::new, |note| note + "\n");
    format!(
        "etcd Version: {ETCD_VERSION}\nQuorate Version: {QUORATE_VERSION}\n\
         Git SHA: Not provided\nRust OS/Arch: {os}/{machine}\n{canaries}"
    )
}

fn help_text() -> String {
    let mut text = String::from(
        "Usage:\n\n  quorate serve [flags]\n    Start a member. Called by the name `etcd`, `serve` \
         may be left out.\n\n  quorate serve --version\n    Show the version.\n\n\
         Every flag --a-b may be given as the environment variable ETCD_A_B instead.\n\nFlags:\n\n",
    );
    for flag in FLAGS {
        text.push_str(&format!(
            "  --{} '{}'\n    {}.\n",
            flag.name, flag.default, flag.help
        ));
    }
    text
}
