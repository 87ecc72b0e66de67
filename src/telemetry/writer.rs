//! A queue of lines and the thread that writes them.

use crate::env::Threads;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// Lines waiting for stderr. Beyond it lines are dropped.
const QUEUE_LINES: usize = 4096;
/// How long the end of the process waits for a stderr that takes nothing.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

enum Item {
    Line(String),
    /// Answer once everything before this is written.
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct Counters {
    /// Lines in the queue: what bounds it. The channel itself has no bound, so that the last flush
    /// always finds room.
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// Where lines go in. Never waits.
#[derive(Clone)]
pub(super) struct Queue {
    lines: Sender<Item>,
    counters: Arc<Counters>,
}

impl Queue {
    pub(super) fn push(&self, line: String) {
        let counters = &self.counters;
        if counters.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE_LINES
            || self.lines.send(Item::Line(line)).is_err()
        {
            counters.waiting.fetch_sub(1, Ordering::Relaxed);
            counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Dropping it writes what is queued.
pub struct Guard {
    lines: Sender<Item>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.lines.send(Item::Flush(done)).is_ok() {
            // Nobody reads stderr: then nobody misses the rest.
            written.recv_timeout(FLUSH_PATIENCE).unwrap_or_default();
        }
    }
}

pub(super) fn start(
    output: impl Write + Send + 'static,
    threads: &dyn Threads,
) -> io::Result<(Queue, Guard)> {
    let (lines, queued) = channel();
    let counters = Arc::new(Counters::default());
    let counted = Arc::clone(&counters);
    // Detached on purpose: it may hang in a write for as long as the pipe is full, and the guard
    // has waited for it as long as is reasonable.
    let thread = threads.spawn(
        "log-writer",
        Box::new(move || write(output, &queued, &counted)),
    )?;
    drop(thread);
    Ok((
        Queue {
            lines: lines.clone(),
            counters,
        },
        Guard { lines },
    ))
}

fn write(mut output: impl Write, queued: &Receiver<Item>, counters: &Counters) {
    // An error of stderr cannot be reported anywhere: go on, the next line may pass.
    while let Ok(item) = queued.recv() {
        let lost = counters.dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = format!(
                "{{\"level\":\"warn\",\"msg\":\"log lines were dropped, stderr was not read\",\
                 \"dropped\":{lost}}}\n"
            );
            output.write_all(line.as_bytes()).unwrap_or_default();
        }
        match item {
            Item::Line(line) => {
                output.write_all(line.as_bytes()).unwrap_or_default();
                counters.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Item::Flush(done) => {
                output.flush().unwrap_or_default();
                done.try_send(()).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::threads::RealThreads;
    use std::sync::{Condvar, Mutex};

    /// A pipe whose reader has gone for a walk until `open`.
    #[derive(Clone, Default)]
    struct Pipe {
        state: Arc<State>,
    }

    /// Whether it is open and what went through.
    type State = (Mutex<(bool, Vec<u8>)>, Condvar);

    impl Pipe {
        fn open(&self) {
            self.state.0.lock().unwrap().0 = true;
            self.state.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.state.0.lock().unwrap().1.clone()).unwrap()
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let state = self.state.0.lock().unwrap();
            let mut state = self.state.1.wait_while(state, |state| !state.0).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_pipe_drops_lines_and_counts_them_but_never_waits() {
        let pipe = Pipe::default();
        let (queue, guard) = start(pipe.clone(), &RealThreads).unwrap();
        let pushed = QUEUE_LINES + 100;
        for number in 0..pushed {
            queue.push(format!("{number}\n"));
        }
        pipe.open();
        drop(guard);
        let text = pipe.text();
        let written = text
            .lines()
            .filter(|line| line.parse::<usize>().is_ok())
            .count();
        let counted: usize = text
            .lines()
            .filter_map(|line| {
                line.split_once("\"dropped\":")?
                    .1
                    .strip_suffix('}')?
                    .parse::<usize>()
                    .ok()
            })
            .sum::<usize>();
        assert!(counted >= 99, "{counted}");
        assert_eq!(written + counted, pushed);
    }

    #[test]
    fn the_guard_writes_what_is_queued() {
        let pipe = Pipe::default();
        pipe.open();
        let (queue, guard) = start(pipe.clone(), &RealThreads).unwrap();
        queue.push("last words\n".into());
        drop(guard);
        assert_eq!(pipe.text(), "last words\n");
    }
}
