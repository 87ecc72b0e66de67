//! Floor 9: picks the program by its name and first word, and nothing more. All that a binary's `main`
//! calls.

use crate::config::{self, Start};
use crate::env::Env;
use crate::{canary, ctl, server, telemetry};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
Usage:

  quorate serve [flags]                start a member (see: quorate serve --help)
  quorate get|put|del|txn|compaction   read and write
  quorate watch                        events as they come, and a command for each
  quorate lease grant|revoke|timetolive|list|keep-alive
  quorate lock|elect                   one at a time: hold, or run a command that may
  quorate status                       the state of the endpoints
  quorate endpoint status|health|hashkv
  quorate member list|add|remove|update|promote
  quorate alarm list|disarm
  quorate defrag|move-leader
  quorate snapshot save                a backup
  quorate check perf                   what the cluster bears
  quorate data restore|status          backups, without a cluster

Called by the name `etcd` it takes etcd's command line, called `etcdctl` etcdctl's, called `etcdutl`
etcdutl's.
";

/// The whole process: its command line and environment in, its exit code out.
pub fn run() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    let mut arguments: Vec<OsString> = arguments.collect();
    match (program, arguments.first().and_then(|word| word.to_str())) {
        ("etcd", _) => serve(arguments),
        ("etcdctl", _) => ctl::run(&arguments, &Env::real()),
        ("etcdutl", _) => ctl::run_etcdutl(&arguments, &Env::real()),
        (_, Some("data")) => ctl::run_data(&arguments[1..], &Env::real()),
        (_, Some("serve")) => serve(arguments.split_off(1)),
        (_, Some("help" | "-h" | "--help")) => print(USAGE),
        _ if arguments.is_empty() => print(USAGE),
        (_, Some("--version" | "-version" | "version")) => serve(vec!["--version".into()]),
        _ => ctl::run(&arguments, &Env::real()),
    }
}

fn serve(arguments: Vec<OsString>) -> ExitCode {
    let arguments = arguments.into_iter().map(OsString::into_string);
    let arguments: Vec<String> = match arguments.collect() {
        Ok(arguments) => arguments,
        Err(word) => return fail(&format!("{word:?} is no text"), 2),
    };
    // A variable that is not Unicode is nobody's option; etcd's are.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let command_line = match config::read(arguments, environment) {
        Ok(command_line) => command_line,
        Err(error) => return fail(&error.to_string(), error.exit_code),
    };
    let config = match command_line.start {
        Start::Serve(config) => *config,
        Start::Print(text) => return print(&text),
    };
    let env = match &config.sync_journal {
        None => Ok(Env::real()),
        Some(path) => Env::real().with_sync_journal(path),
    };
    let env = match env {
        Ok(env) => env,
        Err(error) => return fail(&format!("open the sync journal: {error}"), 1),
    };
    let log = telemetry::start(&config.log_level, env.clock.clone(), env.threads.as_ref());
    let _log = match log {
        Ok(guard) => guard,
        Err(error) => return fail(&format!("start logging: {error}"), 1),
    };
    end_on_panic();
    for warning in command_line.warnings.into_iter().chain(canary::note()) {
        tracing::warn!("{warning}");
    }
    match server::run(config, env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), 1),
    }
}

/// A task that panicked would leave a member behind that answers and no longer keeps its promises:
/// the process ends instead, and whoever supervises it starts it again.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn print(text: &str) -> ExitCode {
    // A reader that is gone, as in `quorate help | head -1`, has read enough.
    std::io::stdout()
        .write_all(text.as_bytes())
        .unwrap_or_default();
    ExitCode::SUCCESS
}

/// Ends the program with one sentence.
pub fn fail(sentence: &str, code: u8) -> ExitCode {
    std::io::stderr()
        .write_all(format!("quorate: {sentence}\n").as_bytes())
        .unwrap_or_default();
    ExitCode::from(code)
}
