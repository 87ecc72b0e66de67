//! One of the two programs, and what it was seen to do.

use crate::wait::{Look, until};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use quorate::client::Client;
use quorate::env::Env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

/// A command that has not done by then what it is awaited to do never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one command line did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    pub line: String,
    pub stdout: String,
    pub stderr: String,
    /// -1: ended by a signal.
    pub code: i32,
}

impl fmt::Display for Recording {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "$ etcdctl {}", self.line)?;
        for line in self.stdout.lines() {
            writeln!(formatter, "  out: {line}")?;
        }
        for line in self.stderr.lines() {
            writeln!(formatter, "  err: {line}")?;
        }
        writeln!(formatter, "  exit {}", self.code)
    }
}

/// A program and the cluster it is told to talk to.
pub struct Tool {
    program: PathBuf,
    endpoints: Vec<String>,
    dir: PathBuf,
}

impl Tool {
    /// `dir` is for files that commands write.
    pub fn new(program: PathBuf, endpoints: Vec<String>, dir: PathBuf) -> Self {
        Self {
            program,
            endpoints,
            dir,
        }
    }

    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The laboratory's own client, for what happens beside the commands.
    pub fn client(&self) -> Client {
        Client::new(&Env::real().network, &self.endpoints, PATIENCE, PATIENCE)
    }

    /// Runs a line to its end.
    ///
    /// # Errors
    /// It does not end.
    pub async fn run(&self, line: &str) -> Result<Recording> {
        self.run_with(line, &[], "").await
    }

    /// With variables, and text for stdin.
    ///
    /// # Errors
    /// It does not end.
    pub async fn run_with(
        &self,
        line: &str,
        variables: &[(&str, &str)],
        stdin: &str,
    ) -> Result<Recording> {
        let mut running = self.start(line, variables)?;
        running.say(stdin).await?;
        running.end().await
    }

    /// Starts a line that waits for something.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&self, line: &str, variables: &[(&str, &str)]) -> Result<Running> {
        let words = words(line);
        let mut command = Command::new(&self.program);
        if !words.iter().any(|word| word.starts_with("--endpoints")) {
            command.arg(format!("--endpoints={}", self.endpoints.join(",")));
        }
        let mut child = command
            .args(&words)
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ETCDCTL_API", "3")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        let stdout = Arc::new(Mutex::new(Vec::new()));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let readers = [
            tokio::spawn(read(child.stdout.take(), Arc::clone(&stdout))),
            tokio::spawn(read(child.stderr.take(), Arc::clone(&stderr))),
        ];
        Ok(Running {
            line: line.to_owned(),
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
            readers,
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// A command that has been started.
pub struct Running {
    line: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: [JoinHandle<()>; 2],
}

impl Running {
    /// # Errors
    /// It does not read.
    pub async fn say(&mut self, text: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("stdin is closed")?;
        // Who refuses its arguments reads nothing.
        stdin.write_all(text.as_bytes()).await.unwrap_or_default();
        stdin.flush().await.unwrap_or_default();
        Ok(())
    }

    /// Waits until what it printed ends so.
    ///
    /// # Errors
    /// It never does.
    pub async fn prints(&self, ending: &str) -> Result<()> {
        self.prints_after("", ending).await
    }

    /// Waits until it printed `part`, and then, or with it, `ending`.
    ///
    /// # Errors
    /// It never does.
    pub async fn prints_after(&self, part: &str, ending: &str) -> Result<()> {
        let what = format!("etcdctl {} to print {ending:?}", self.line);
        until(what, PATIENCE, async || {
            let printed = text_of(&self.stdout);
            let after = printed.find(part).map(|at| &printed[at..]);
            if after.is_some_and(|after| after.ends_with(ending)) {
                Look::Ready(())
            } else {
                Look::NotYet(format!("{printed}{}", text_of(&self.stderr)))
            }
        })
        .await
    }

    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().context("it has ended")?;
        kill(Pid::from_raw(i32::try_from(id)?), signal).context("send a signal")
    }

    /// Closes its stdin and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub async fn end(mut self) -> Result<Recording> {
        drop(self.stdin.take());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ensure!(
            ended.is_ok(),
            "etcdctl {} does not end; it said {}{}",
            self.line,
            text_of(&self.stdout),
            text_of(&self.stderr)
        );
        let code = ended??.code().unwrap_or(-1);
        for reader in &mut self.readers {
            reader.await.context("read what it says")?;
        }
        Ok(Recording {
            line: self.line,
            stdout: text_of(&self.stdout),
            stderr: text_of(&self.stderr),
            code,
        })
    }
}

/// Bytes that are no text are shown by their numbers.
fn text_of(bytes: &Mutex<Vec<u8>>) -> String {
    let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

async fn read(from: Option<impl AsyncRead + Unpin>, to: Arc<Mutex<Vec<u8>>>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 {
            return;
        }
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        to.extend_from_slice(&buffer[..length]);
    }
}

/// Blanks part words; `'…'` is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for character in line.chars() {
        if character == '\'' {
            is_quoted = !is_quoted;
            word.get_or_insert_default();
        } else if character.is_whitespace() && !is_quoted {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(character);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_make_one_word() {
        assert_eq!(words("a 'b c' '' d"), ["a", "b c", "", "d"]);
    }
}
