//! Dispatch: parse, connect, call, print, exit with etcdctl's code.

use super::options::{self, Command, EndpointCommand, Global, Options, with_environment};
use super::print::{self, Answer, Format};
use super::{
    alarm, check, elect, endpoint, kv, lease, lock, maintenance, member, snapshot, txn, watch,
};
use crate::client::{Client, ClientError};
use crate::config::{ETCD_VERSION, QUORATE_VERSION};
use crate::env::Env;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Why a command failed, with etcdctl's exit codes.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) code: u8,
}

impl Failure {
    /// The server, or nobody, answered.
    pub(super) fn error(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 1,
        }
    }

    /// Of the commands that wait without a deadline.
    pub(super) fn bad_connection(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 2,
        }
    }

    pub(super) fn interrupted(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 5,
        }
    }

    /// It is all said.
    pub(super) fn silent() -> Self {
        Self::error("")
    }

    pub(super) fn invalid_input(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 3,
        }
    }

    pub(super) fn bad_feature(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 4,
        }
    }

    pub(super) fn bad_arguments(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 128,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::error(error.to_string())
    }
}

/// What a command leaves behind: bytes for stdout, lines for stderr, and perhaps a failure after
/// all that.
#[derive(Default)]
pub(super) struct Done {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
    pub(super) failure: Option<Failure>,
}

/// What every command needs.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) env: Env,
    pub(super) global: Global,
    pub(super) format: Format,
    /// The last word was `--`, and nothing came after it.
    pub(super) ends_in_separator: bool,
}

impl Session {
    /// A client of one endpoint, with its own deadline.
    pub(super) fn client_of(&self, endpoint: &str) -> Client {
        self.client_of_all(&[endpoint.to_owned()])
    }

    /// A client with connections of its own.
    pub(super) fn client_of_all(&self, endpoints: &[String]) -> Client {
        self.patient_client(endpoints, self.global.timeout())
    }

    /// A client whose calls may take so long.
    pub(super) fn patient_client(&self, endpoints: &[String], timeout: Duration) -> Client {
        let dial_timeout = self.global.dial_timeout;
        Client::new(&self.env.network, endpoints, dial_timeout, timeout)
    }

    pub(super) fn print(&self, answer: &Answer) -> Result<Done, Failure> {
        let stdout = print::render(self.format, self.global.hex, answer)?;
        Ok(Done {
            stdout,
            ..Done::default()
        })
    }

    /// Prints at once: for commands that print more than one answer.
    pub(super) fn show(&self, answer: &Answer) -> Result<(), Failure> {
        write_out(&print::render(self.format, self.global.hex, answer)?)
    }

    /// Refuses a format that an answer cannot be printed in, before anything is done.
    pub(super) fn must_print(&self, answer: &Answer) -> Result<(), Failure> {
        print::render(self.format, self.global.hex, answer).map(drop)
    }
}

/// To stdout, without delay. An error means that its reader has gone: who prints for ever ends.
pub(super) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|_| Failure::silent())
}

/// A line to stderr, without delay.
pub(super) fn complain(text: &str) {
    // If nobody listens, there is nobody to tell that either.
    std::io::stderr()
        .write_all(format!("{text}\n").as_bytes())
        .unwrap_or_default();
}

/// Runs one client command to its end. `arguments` are without the program's name.
pub fn run(arguments: &[OsString], env: &Env) -> ExitCode {
    let words = with_environment(arguments, |name| std::env::var_os(name));
    let separator = words.iter().position(|word| word == "--");
    let ends_in_separator = separator.is_some_and(|at| at + 1 == words.len());
    let options = match options::parse(words) {
        Ok(options) => options,
        Err(error) => return misunderstood(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return finish(Done::default(), Some(Failure::error(error.to_string()))),
    };
    match runtime.block_on(execute(options, env.clone(), ends_in_separator)) {
        Ok(mut done) => {
            let failure = done.failure.take();
            finish(done, failure)
        }
        Err(failure) => finish(Done::default(), Some(failure)),
    }
}

async fn execute(options: Options, env: Env, ends_in_separator: bool) -> Result<Done, Failure> {
    let Options { global, command } = options;
    let format = Format::parse(&global.write_out)?;
    if let Some(refusal) = global.refusal() {
        return Err(Failure::bad_arguments(refusal));
    }
    let client = Client::new(
        &env.network,
        &global.endpoints,
        global.dial_timeout,
        global.timeout(),
    );
    let session = Session {
        client,
        env,
        global,
        format,
        ends_in_separator,
    };
    match command {
        Command::Get(options) => kv::get(&session, &options).await,
        Command::Put(options) => kv::put(&session, &options).await,
        Command::Del(options) => kv::del(&session, &options).await,
        Command::Compaction(options) => kv::compaction(&session, &options).await,
        Command::Txn(options) => txn::run(&session, &options).await,
        Command::Watch(options) => watch::run(&session, options).await,
        Command::Lease { command } => lease::run(&session, &command).await,
        Command::Lock(options) => lock::run(&session, &options).await,
        Command::Elect(options) => elect::run(&session, options).await,
        Command::Status(cluster) => endpoint::status(&session, &cluster).await,
        Command::Endpoint { cluster, command } => match command {
            EndpointCommand::Status { .. } => endpoint::status(&session, &cluster).await,
            EndpointCommand::Health { .. } => endpoint::health(&session, &cluster).await,
            EndpointCommand::Hashkv { rev, .. } => {
                endpoint::hash_kv(&session, &cluster, rev).await
            }
        },
        Command::Member { command } => member::run(&session, &command).await,
        Command::Alarm { command } => alarm::run(&session, &command).await,
        Command::Defrag(options) => maintenance::defrag(&session, &options).await,
        Command::MoveLeader { arguments } => maintenance::move_leader(&session, &arguments).await,
        Command::Snapshot { command } => snapshot::run(&session, &command).await,
        Command::Check { command } => check::run(&session, &command).await,
        Command::Version => Ok(Done {
            stdout: format!("etcdctl version: {ETCD_VERSION}\nAPI version: 3.6\nquorate version: {QUORATE_VERSION}\n")
                .into_bytes(),
            ..Done::default()
        }),
    }
}

/// Help is no failure.
pub(super) fn misunderstood(error: &clap::Error) -> ExitCode {
    // A group without its command is answered with help, as in etcdctl.
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if is_help {
        let stdout = error.to_string().into_bytes();
        return finish(
            Done {
                stdout,
                ..Done::default()
            },
            None,
        );
    }
    finish(
        Done::default(),
        Some(Failure::error(misunderstanding(error))),
    )
}

/// In one line, in etcdctl's words where it has some.
pub(super) fn misunderstanding(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string);
    let argument = context(clap::error::ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => match argument.strip_prefix('-') {
            Some(letters) if !letters.starts_with('-') => {
                let first = letters.chars().next().unwrap_or_default();
                format!("unknown shorthand flag: '{first}' in {argument}")
            }
            _ => format!("unknown flag: {argument}"),
        },
        ErrorKind::InvalidSubcommand => {
            let command = context(clap::error::ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("unknown command {command:?} for \"etcdctl\"")
        }
        ErrorKind::ValueValidation => {
            let flag = argument.split(' ').next().unwrap_or("");
            let value = context(clap::error::ContextKind::InvalidValue).unwrap_or_default();
            let why = std::error::Error::source(error).map(ToString::to_string);
            let why = why.unwrap_or_default();
            format!("invalid argument {value:?} for {flag:?} flag: {why}")
        }
        _ => {
            let text = error.to_string();
            text.lines()
                .next()
                .unwrap_or("")
                .trim_start_matches("error: ")
                .to_owned()
        }
    }
}

pub(super) fn finish(done: Done, failure: Option<Failure>) -> ExitCode {
    let mut stderr = done.stderr;
    if let Some(failure) = &failure
        && !failure.text.is_empty()
    {
        stderr.push_str(&format!("Error: {}\n", failure.text));
    }
    // A reader that is gone has read enough; there is nobody left to tell.
    let mut stdout = std::io::stdout();
    stdout
        .write_all(&done.stdout)
        .and_then(|()| stdout.flush())
        .unwrap_or_default();
    std::io::stderr()
        .write_all(stderr.as_bytes())
        .unwrap_or_default();
    ExitCode::from(failure.map_or(0, |failure| failure.code))
}
