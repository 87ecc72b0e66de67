//! What the terminal shows meanwhile: one line that lives, or, where nobody watches, a line for each
//! fault.

use super::sampler::Leadership;
use crate::history::operation::Outcome;
use crate::history::recorder::Recorder;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;

const PERIOD: Duration = Duration::from_millis(250);
const ERASE_LINE: &str = "\r\x1b[2K";

/// Shows until it is stopped.
#[derive(Debug)]
pub struct Progress {
    task: JoinHandle<()>,
    live: bool,
}

impl Progress {
    pub fn say(&self, text: &str) {
        if self.live {
            print!("{ERASE_LINE}");
        }
        println!("{text}");
    }

    pub fn stop(self) {
        self.task.abort();
        if self.live {
            print!("{ERASE_LINE}");
            // A terminal that is gone is nobody's trouble.
            std::io::stdout().flush().unwrap_or_default();
        }
    }
}

/// What was counted so far.
#[derive(Default)]
struct Count {
    operations: usize,
    ok: usize,
    refused: usize,
    unknown: usize,
}

pub fn start(recorder: &Recorder, leader: watch::Receiver<Leadership>, ends_ms: u64) -> Progress {
    let live = std::io::stdout().is_terminal();
    let recorder = recorder.clone();
    let task = tokio::spawn(async move {
        let mut ticks = interval(PERIOD);
        let mut count = Count::default();
        let mut told = 0;
        loop {
            ticks.tick().await;
            let mut lines = Vec::new();
            let faults = {
                let notes = recorder.notes();
                for operation in notes.operations.iter().skip(count.operations) {
                    match operation.outcome {
                        Outcome::Ok { .. } => count.ok += 1,
                        Outcome::Refused(_) => count.refused += 1,
                        Outcome::Unknown(_) => count.unknown += 1,
                    }
                }
                count.operations = notes.operations.len();
                for window in notes.windows.iter().skip(told) {
                    let began = seconds(window.began);
                    lines.push(match &window.skipped {
                        Some(why) => format!("{began}  {}: skipped: {why}", window.nemesis),
                        None => format!("{began}  {}: {}", window.nemesis, window.text),
                    });
                }
                told = notes.windows.len();
                let now = notes
                    .windows
                    .iter()
                    .filter(|w| w.began == w.ended && w.skipped.is_none());
                now.map(|window| window.nemesis.clone()).collect::<Vec<_>>()
            };
            let now = *leader.borrow();
            let who = now
                .leader
                .map_or("nobody leads".to_owned(), |node| format!("n{node} leads"));
            let what = if faults.is_empty() {
                "calm".to_owned()
            } else {
                faults.join(" + ")
            };
            for line in lines {
                println!("{}{line}", if live { ERASE_LINE } else { "" });
            }
            if live {
                print!(
                    "{ERASE_LINE}{} of {} s  {what}  |  {} answers, {} refused, {} unknown  |  {who}, term {}",
                    seconds(recorder.now()),
                    ends_ms / 1000,
                    count.ok,
                    count.refused,
                    count.unknown,
                    now.term,
                );
                std::io::stdout().flush().unwrap_or_default();
            }
        }
    });
    Progress { task, live }
}

/// " 12.5"
fn seconds(us: u64) -> String {
    format!("{:>5}.{}", us / 1_000_000, us % 1_000_000 / 100_000)
}
