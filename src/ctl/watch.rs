//! `watch`: prints events as they come, and runs a command for each.

use super::kv::range;
use super::options::{self, Watch as Options, WatchLine};
use super::print::Answer;
use super::run::{Done, Failure, Session, complain, misunderstanding, write_out};
use super::{exec, go};
use crate::client::Watch;
use crate::proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::ffi::{OsStr, OsString};
use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;
use tokio::sync::{broadcast, mpsc};

const BAD_NUMBER: &str = "bad number of arguments";
const BAD_NUMBER_ENVIRONMENT: &str = "bad number of arguments (found conflicting environment key)";
const BAD_NUMBER_SEPARATOR: &str = "bad number of arguments (found separator --, but no commands)";

/// Lines of the interactive mode that were read and not yet understood.
const LINES_MAX: usize = 16;
/// Requests for progress that a watch has not passed on yet.
const PROGRESS_MAX: usize = 16;

/// What is watched, and what is run for each event.
#[derive(Debug, PartialEq)]
struct Plan {
    request: WatchCreateRequest,
    command: Vec<OsString>,
}

/// Key and end of the range from the environment, where there is a key.
type FromEnvironment = Option<(OsString, Option<OsString>)>;

pub(super) async fn run(session: &Session, options: Options) -> Result<Done, Failure> {
    let from_environment = environment(|name| std::env::var_os(name))?;
    if options.interactive {
        session.must_print(&Answer::Watch(WatchResponse::default()))?;
        return Err(interact(session, from_environment).await);
    }
    if session.ends_in_separator {
        return Err(Failure::bad_arguments(BAD_NUMBER_SEPARATOR));
    }
    if !options.arguments.is_empty() && from_environment.is_some() {
        return Err(Failure::bad_arguments(BAD_NUMBER_ENVIRONMENT));
    }
    let plan = plan(options, from_environment).map_err(Failure::bad_arguments)?;
    session.must_print(&Answer::Watch(WatchResponse::default()))?;
    let (_, no_requests) = broadcast::channel(1);
    follow(session, &plan, no_requests).await?;
    Err(Failure::interrupted("watch is canceled by the server"))
}

fn environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<FromEnvironment, Failure> {
    let given = |name| variable(name).filter(|value| !value.is_empty());
    match (given("ETCDCTL_WATCH_KEY"), given("ETCDCTL_WATCH_RANGE_END")) {
        (None, Some(end)) => Err(Failure::bad_arguments(format!(
            "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={}",
            go::quote(end.as_bytes())
        ))),
        (None, None) => Ok(None),
        (Some(key), end) => Ok(Some((key, end))),
    }
}

/// Words of more than a key and an end are ignored, with the end, as in etcdctl.
fn plan(options: Options, from_environment: FromEnvironment) -> Result<Plan, &'static str> {
    let words: Vec<OsString> = from_environment
        .into_iter()
        .flat_map(|(key, end)| [Some(key), end])
        .flatten()
        .chain(options.arguments)
        .collect();
    let (key, end) = match words.as_slice() {
        [] => return Err(BAD_NUMBER),
        [_, _] if options.prefix => {
            return Err("`range_end` and `--prefix` are mutually exclusive");
        }
        [key, end] => (key, Some(end)),
        [key, ..] => (key, None),
    };
    let (key, range_end) = range(key, end, options.prefix, false);
    Ok(Plan {
        request: WatchCreateRequest {
            key,
            range_end,
            start_revision: options.rev,
            prev_kv: options.prev_kv,
            progress_notify: options.progress_notify,
            // The member need not make one message of what does not fit one.
            fragment: true,
            ..WatchCreateRequest::default()
        },
        command: options.command,
    })
}

/// One watch to its end. Whatever comes from `progress` is passed on.
async fn follow(
    session: &Session,
    plan: &Plan,
    mut progress: broadcast::Receiver<()>,
) -> Result<(), Failure> {
    let mut watch = Watch::new(&session.client, plan.request.clone());
    loop {
        let answer = tokio::select! {
            answer = watch.next() => answer,
            Ok(()) = progress.recv() => {
                watch.request_progress();
                continue;
            }
        };
        match answer {
            None => return Ok(()),
            Some(Ok(answer)) => tell(session, &plan.command, answer).await?,
            Some(Err(error)) => {
                complain(&format!("watch was canceled ({error})"));
                let end = WatchResponse {
                    canceled: true,
                    ..WatchResponse::default()
                };
                session.show(&Answer::Watch(end))?;
            }
        }
    }
}

async fn tell(
    session: &Session,
    command: &[OsString],
    answer: WatchResponse,
) -> Result<(), Failure> {
    if answer.canceled {
        complain("watch was canceled (etcdserver: mvcc: required revision has been compacted)");
    }
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    if answer.events.is_empty() && !answer.canceled {
        write_out(format!("progress notify: {revision}\n").as_bytes())?;
    }
    let answer = Answer::Watch(answer);
    session.show(&answer)?;
    let Answer::Watch(answer) = answer else {
        return Ok(());
    };
    if command.is_empty() {
        return Ok(());
    }
    for event in answer.events {
        let quoted = |bytes: &[u8]| OsString::from(go::quote(bytes));
        let kind = quoted(event.r#type().as_str_name().as_bytes());
        let kv = event.kv.unwrap_or_default();
        let variables = [
            ("ETCD_WATCH_REVISION", revision.to_string().into()),
            ("ETCD_WATCH_EVENT_TYPE", kind),
            ("ETCD_WATCH_KEY", quoted(&kv.key)),
            ("ETCD_WATCH_VALUE", quoted(&kv.value)),
        ];
        if let Err(ended) = exec::run(command, &variables).await {
            let command = exec::quoted(command);
            complain(&format!("command {command} error ({})", ended.text));
            return Err(Failure::silent());
        }
    }
    Ok(())
}

/// What a line of the interactive mode asks for.
#[derive(Debug, PartialEq)]
enum Line {
    Watch(Box<Plan>),
    Progress,
    /// Complained of, and the next line read.
    Wrong(String),
}

/// Reads lines until there are no more, which is a failure, or until a line or a watch fails.
async fn interact(session: &Session, from_environment: FromEnvironment) -> Failure {
    let mut lines = match lines(session) {
        Ok(lines) => lines,
        Err(failure) => return failure,
    };
    let (progress, _) = broadcast::channel(PROGRESS_MAX);
    let mut watches = FuturesUnordered::new();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            Some(ended) = watches.next() => match ended {
                Ok(()) => continue,
                Err(failure) => return failure,
            },
        };
        let Some(line) = line else {
            return Failure::invalid_input("Error reading watch request line: EOF");
        };
        match understand(&line, &from_environment) {
            Ok(Line::Watch(plan)) => {
                let progress = progress.subscribe();
                watches.push(async move { follow(session, &plan, progress).await });
            }
            // Without a watch nobody listens.
            Ok(Line::Progress) => drop(progress.send(())),
            Ok(Line::Wrong(text)) => complain(&text),
            Err(failure) => return failure,
        }
    }
}

/// The lines of stdin, read on a thread of their own: reading blocks.
fn lines(session: &Session) -> Result<mpsc::Receiver<String>, Failure> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    let read = move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match stdin.read_until(b'\n', &mut line) {
                Ok(length) if length > 0 && line.ends_with(b"\n") => {}
                _ => return,
            }
            line.pop();
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    };
    let started = session.env.threads.spawn("stdin", Box::new(read));
    // It may wait for a line for ever, and ends with the process.
    started.map_err(|error| Failure::error(error.to_string()))?;
    Ok(receiver)
}

fn understand(line: &str, from_environment: &FromEnvironment) -> Result<Line, Failure> {
    let words = go::words(line).ok_or_else(|| Failure::invalid_input("unexpected EOF"))?;
    let Some(first) = words.first() else {
        let text = format!("Invalid command: {line} (watch and progress supported)");
        return Ok(Line::Wrong(text));
    };
    if first == "progress" {
        return Ok(Line::Progress);
    }
    if first != "watch" {
        let text = format!("Invalid command {line} (only support watch)");
        return Ok(Line::Wrong(text));
    }
    let words = words.get(1..).unwrap_or_default();
    if words.is_empty() && from_environment.is_none() {
        let text = format!("Invalid command {line} (command type or key is not provided)");
        return Ok(Line::Wrong(text));
    }
    let separator = words.iter().position(|word| word == OsStr::new("--"));
    if separator.is_some_and(|at| at + 1 == words.len()) {
        return Err(Failure::bad_arguments(BAD_NUMBER_SEPARATOR));
    }
    let WatchLine { watch } = options::parse(words.to_vec())
        .map_err(|error| Failure::bad_arguments(misunderstanding(&error)))?;
    let has_command = !watch.command.is_empty();
    if watch.arguments.is_empty() && from_environment.is_none() && !has_command {
        return Err(Failure::bad_arguments(BAD_NUMBER));
    }
    if !watch.arguments.is_empty() && from_environment.is_some() {
        return Err(Failure::bad_arguments(BAD_NUMBER_ENVIRONMENT));
    }
    Ok(match plan(watch, from_environment.clone()) {
        Ok(plan) => Line::Watch(Box::new(plan)),
        Err(why) => Line::Wrong(format!("Invalid command {line} ({why})")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(line: &str, from_environment: &FromEnvironment) -> Plan {
        match understand(line, from_environment).unwrap() {
            Line::Watch(plan) => *plan,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_a_plan() {
        let plan = planned("watch \"a b\" --prefix --rev=7 -- echo 'x y'", &None);
        assert_eq!(
            (&plan.request.key[..], &plan.request.range_end[..]),
            (&b"a b"[..], &b"a c"[..])
        );
        assert_eq!(plan.request.start_revision, 7);
        assert_eq!(plan.command, ["echo", "x y"]);
        let from = Some((OsString::from("k"), Some(OsString::from("m"))));
        let plan = planned("watch --prev-kv", &from);
        assert_eq!(
            (&plan.request.key[..], &plan.request.range_end[..]),
            (&b"k"[..], &b"m"[..])
        );
        assert!(plan.request.prev_kv);
        assert_eq!(understand("progress", &None).unwrap(), Line::Progress);
    }

    #[test]
    fn a_wrong_line_is_complained_of_or_ends_all() {
        for (line, text) in [
            ("", "Invalid command:  (watch and progress supported)"),
            ("foo", "Invalid command foo (only support watch)"),
            (
                "watch",
                "Invalid command watch (command type or key is not provided)",
            ),
            (
                "watch a --prefix b",
                "Invalid command watch a --prefix b (`range_end` and `--prefix` are mutually exclusive)",
            ),
            (
                "watch -- echo",
                "Invalid command watch -- echo (bad number of arguments)",
            ),
        ] {
            assert_eq!(
                understand(line, &None).unwrap(),
                Line::Wrong(text.to_owned())
            );
        }
        for (line, text) in [
            ("watch a --bad", "unknown flag: --bad"),
            ("watch a --", BAD_NUMBER_SEPARATOR),
            ("watch --rev 3", BAD_NUMBER),
        ] {
            let failure = understand(line, &None).unwrap_err();
            assert_eq!((failure.text.as_str(), failure.code), (text, 128));
        }
        let from = Some((OsString::from("k"), None));
        assert_eq!(
            understand("watch a", &from).unwrap_err().text,
            BAD_NUMBER_ENVIRONMENT
        );
    }

    #[test]
    fn an_end_needs_a_key() {
        let only_end = |name: &str| (name == "ETCDCTL_WATCH_RANGE_END").then(|| "x".into());
        assert_eq!(
            environment(only_end).unwrap_err().text,
            "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"x\""
        );
        assert_eq!(environment(|_| None).unwrap(), None);
    }
}
