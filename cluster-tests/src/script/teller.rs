//! Reads a story line by line, as goldenscript gives them, and has them done.

use super::stage::Stage;
use super::words::Words;
use goldenscript::{Command, Runner};
use std::error::Error;
use std::path::PathBuf;
use tokio::runtime::Handle;

/// Lines that explain how it came to that.
const LAST_LINES: usize = 8;

/// One story's teller. It belongs to the thread that tells: members die with the thread that started
/// them.
pub struct Teller {
    runtime: Handle,
    stage: Stage,
    /// What was told so far, for a story that breaks off.
    told: Vec<String>,
}

impl Teller {
    /// Data and logs go to `dir`.
    pub fn new(runtime: Handle, dir: PathBuf) -> Self {
        Self {
            runtime,
            stage: Stage::new(dir),
            told: Vec::new(),
        }
    }

    /// The last lines of the transcript.
    pub fn last_lines(&self) -> &[String] {
        let begin = self.told.len().saturating_sub(LAST_LINES);
        self.told.get(begin..).unwrap_or_default()
    }
}

/// With all that led to it.
fn plain(error: &anyhow::Error) -> Box<dyn Error> {
    format!("{error:#}").into()
}

impl Runner for Teller {
    fn run(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut words = Words::of(command).map_err(|error| plain(&error))?;
        let performed = self.runtime.block_on(self.stage.perform(&mut words));
        if let Ok(told) = &performed {
            let number = command.line_number;
            let lines = told.lines().map(|line| format!("line {number}: {line}"));
            self.told.extend(lines);
        }
        performed.map_err(|error| {
            let dir = self.stage.dir().display().to_string();
            plain(&error.context(format!("(data and logs: {dir})")))
        })
    }

    fn end_script(&mut self) -> Result<(), Box<dyn Error>> {
        let closed = self.runtime.block_on(self.stage.close());
        closed.map_err(|error| plain(&error))
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        // Of a story that broke off: links and loads end within the runtime that they began in.
        let _inside = self.runtime.enter();
        self.stage.abandon();
    }
}
