//! Dispatch: parse, connect, call, print, exit with etcdctl's code.

use super::options::{Command, EndpointCommand, Global, MemberCommand, Options, with_environment};
use super::print::{self, Answer, Format};
use super::{endpoint, kv, txn};
use crate::client::{Client, ClientError};
use crate::config::{ETCD_VERSION, QUORATE_VERSION};
use crate::env::Env;
use crate::proto::etcdserverpb::MemberListRequest;
use clap::Parser;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

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
}

impl Session {
    /// A client of one endpoint, with its own deadline.
    pub(super) fn client_of(&self, endpoint: &str) -> Client {
        let Global {
            dial_timeout,
            command_timeout,
            ..
        } = self.global;
        let endpoints = [endpoint.to_owned()];
        Client::new(&self.env.network, &endpoints, dial_timeout, command_timeout)
    }

    pub(super) fn print(&self, answer: &Answer) -> Result<Done, Failure> {
        let stdout = print::render(self.format, self.global.hex, answer)?;
        Ok(Done {
            stdout,
            ..Done::default()
        })
    }
}

/// Runs one client command to its end. `arguments` are without the program's name.
pub fn run(arguments: &[OsString], env: &Env) -> ExitCode {
    let words = with_environment(arguments, |name| std::env::var_os(name));
    let options = match Options::try_parse_from(words) {
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
    match runtime.block_on(execute(options, env.clone())) {
        Ok(mut done) => {
            let failure = done.failure.take();
            finish(done, failure)
        }
        Err(failure) => finish(Done::default(), Some(failure)),
    }
}

async fn execute(options: Options, env: Env) -> Result<Done, Failure> {
    let Options { global, command } = options;
    let format = Format::parse(&global.write_out)?;
    if let Some(refusal) = global.refusal() {
        return Err(Failure::bad_arguments(refusal));
    }
    let Global {
        dial_timeout,
        command_timeout,
        ..
    } = global;
    let client = Client::new(
        &env.network,
        &global.endpoints,
        dial_timeout,
        command_timeout,
    );
    let session = Session {
        client,
        env,
        global,
        format,
    };
    match command {
        Command::Get(options) => kv::get(&session, &options).await,
        Command::Put(options) => kv::put(&session, &options).await,
        Command::Del(options) => kv::del(&session, &options).await,
        Command::Compaction(options) => kv::compaction(&session, &options).await,
        Command::Txn(options) => txn::run(&session, &options).await,
        Command::Status(options) => endpoint::status(&session, &options).await,
        Command::Endpoint(options) => match options.what {
            EndpointCommand::Status => endpoint::status(&session, &options.cluster).await,
            EndpointCommand::Health => endpoint::health(&session, &options.cluster).await,
        },
        Command::Member { command: MemberCommand::List { .. } } => {
            let request = MemberListRequest { linearizable: true };
            let response = session.client.member_list(request).await?;
            session.print(&Answer::Members(response))
        }
        Command::Version => Ok(Done {
            stdout: format!("etcdctl version: {ETCD_VERSION}\nAPI version: 3.6\nquorate version: {QUORATE_VERSION}\n")
                .into_bytes(),
            ..Done::default()
        }),
    }
}

/// Help is no failure; everything else is told in one line, in etcdctl's words where it has some.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
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
    let context = |kind| error.get(kind).map(ToString::to_string);
    let argument = context(clap::error::ContextKind::InvalidArg).unwrap_or_default();
    let text = match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown flag: {argument}"),
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
    };
    finish(Done::default(), Some(Failure::error(text)))
}

fn finish(done: Done, failure: Option<Failure>) -> ExitCode {
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
