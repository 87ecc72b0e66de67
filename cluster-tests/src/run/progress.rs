//! Who watches a run: a terminal, which shows one line that lives, or, where nobody looks at it, a line
//! for each fault, and at which somebody may press Ctrl-C; or nobody at all.

use super::sampler::Leadership;
use crate::history::operation::Outcome;
use crate::history::recorder::Recorder;
use std::io::{IsTerminal as _, Write as _};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;

const PERIOD: Duration = Duration::from_millis(250);
const ERASE_LINE: &str = "\r\x1b[2K";

/// Who watches a run, and may end it before its time. A run asks nothing else of the outside.
pub trait Audience {
    /// The run has begun, and will last about `ends_ms`.
    fn begin(&mut self, recorder: &Recorder, leader: watch::Receiver<Leadership>, ends_ms: u64);

    /// One line of news.
    fn say(&mut self, text: &str);

    /// The run is over.
    fn end(&mut self);

    /// Ready when the run is to heal, to stop, and to judge what there is.
    fn interruption(&self) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// Nobody watches, and nobody interrupts: a simulation, which must not see the outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Audience for Nobody {
    fn begin(&mut self, _: &Recorder, _: watch::Receiver<Leadership>, _: u64) {}

    fn say(&mut self, _: &str) {}

    fn end(&mut self) {}

    fn interruption(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(std::future::pending())
    }
}

/// Standard output.
#[derive(Debug)]
pub struct Terminal {
    task: Option<JoinHandle<()>>,
    /// Somebody looks at it.
    live: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        let live = std::io::stdout().is_terminal();
        Self { task: None, live }
    }
}

impl Audience for Terminal {
    fn begin(&mut self, recorder: &Recorder, leader: watch::Receiver<Leadership>, ends_ms: u64) {
        self.task = Some(start(recorder, leader, ends_ms, self.live));
    }

    fn say(&mut self, text: &str) {
        if self.live {
            print!("{ERASE_LINE}");
        }
        println!("{text}");
    }

    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if self.live {
            print!("{ERASE_LINE}");
            // A terminal that is gone is nobody's trouble.
            std::io::stdout().flush().unwrap_or_default();
        }
    }

    fn interruption(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        // A machine without signals is not interrupted by them.
        Box::pin(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
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

/// Shows until it is aborted.
fn start(
    recorder: &Recorder,
    leader: watch::Receiver<Leadership>,
    ends_ms: u64,
    live: bool,
) -> JoinHandle<()> {
    let recorder = recorder.clone();
    tokio::spawn(async move {
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
    })
}

/// " 12.5"
fn seconds(us: u64) -> String {
    format!("{:>5}.{}", us / 1_000_000, us % 1_000_000 / 100_000)
}
