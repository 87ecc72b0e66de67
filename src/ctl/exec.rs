//! The command that a watch, a lock or an election runs, and how it ended, in Go's words.

use super::go;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use tokio::process::Command;

/// A command that did not end well.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) text: String,
    /// Its own; 255 if a signal ended it; 1 if it never ran.
    pub(super) code: u8,
}

/// Runs a command, not an empty one, to its end, with `variables` added to the environment. It has
/// our stdout and stderr, and no stdin, as in etcdctl.
pub(super) async fn run(command: &[OsString], variables: &[(&str, OsString)]) -> Result<(), Ended> {
    let (program, arguments) = match command {
        [program, arguments @ ..] => (program.as_os_str(), arguments),
        [] => (OsStr::new(""), command),
    };
    let status = Command::new(program)
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .status()
        .await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ended(status)),
        Err(error) => Err(Ended {
            text: not_started(program, &error),
            code: 1,
        }),
    }
}

/// The command as Go's `%q` shows a list.
pub(super) fn quoted(command: &[OsString]) -> String {
    let words = command.iter().map(|word| go::quote(word.as_bytes()));
    format!("[{}]", words.collect::<Vec<_>>().join(" "))
}

fn not_started(program: &OsStr, error: &std::io::Error) -> String {
    let is_path = program.as_bytes().contains(&b'/');
    let is_unknown = matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::PermissionDenied
    );
    if is_unknown && !is_path {
        let name = go::quote(program.as_bytes());
        return format!("exec: {name}: executable file not found in $PATH");
    }
    let name = program.to_string_lossy();
    format!("fork/exec {name}: {}", go::system_error(error))
}

fn ended(status: ExitStatus) -> Ended {
    if let Some(code) = status.code() {
        return Ended {
            text: format!("exit status {code}"),
            code: u8::try_from(code).unwrap_or(1),
        };
    }
    let signal = status.signal().unwrap_or_default();
    let dumped = if status.core_dumped() {
        " (core dumped)"
    } else {
        ""
    };
    Ended {
        text: format!("signal: {}{dumped}", signal_name(signal)),
        code: 255,
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn end_of(words: &[&str]) -> Result<(), (String, u8)> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let variables = [("QUORATE_TEST", OsString::from("7"))];
        let ended = run(&words, &variables).await;
        ended.map_err(|ended| (ended.text, ended.code))
    }

    #[tokio::test]
    async fn how_a_command_ended_is_told_as_go_tells_it() {
        assert_eq!(end_of(&["true"]).await, Ok(()));
        for (words, text, code) in [
            (&["sh", "-c", "exit $QUORATE_TEST"][..], "exit status 7", 7),
            (&["sh", "-c", "kill -9 $$"], "signal: killed", 255),
            (
                &["no-such-program"],
                "exec: \"no-such-program\": executable file not found in $PATH",
                1,
            ),
            (
                &["/no/such/program"],
                "fork/exec /no/such/program: no such file or directory",
                1,
            ),
        ] {
            assert_eq!(
                end_of(words).await,
                Err((text.to_owned(), code)),
                "{words:?}"
            );
        }
    }
}
