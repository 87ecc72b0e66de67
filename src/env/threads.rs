//! Threads and runtimes. Blocking work runs on a [`Worker`]: a thread in production, inline under
//! simulation, so that a simulated member has no second thread whose timing could differ.
#![allow(clippy::disallowed_methods, reason = "env is the one home of threads")]

use super::network::BoxFuture;
use std::io;
use std::sync::mpsc;
use std::thread;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

pub trait Threads: Send + Sync + 'static {
    /// A place that runs jobs one after another, in the order given. `name` shows up in `top -H`.
    fn worker(&self, name: &str) -> io::Result<Worker>;
    /// Whether there is no second thread: jobs run at once on the caller's (the simulator).
    fn is_inline(&self) -> bool {
        false
    }
    /// Runs `body` to its end beside everything else. It is joined through the answer.
    fn spawn(&self, name: &str, body: Job) -> io::Result<Joiner>;
    /// Processors this process may use.
    fn cores(&self) -> usize {
        1
    }
    /// Runs a future on a current-thread runtime of its own: a request costs half of what a
    /// multi-thread runtime makes of it. A simulator runs it on its one runtime.
    fn runtime(&self, name: &str, future: BoxFuture<'static, ()>) -> io::Result<()>;
}

/// Waits for a thread. Dropping it detaches.
pub struct Joiner(Option<thread::JoinHandle<()>>);

impl Joiner {
    /// Blocks until the thread ended; `Err` if it panicked.
    pub fn join(mut self) -> Result<(), String> {
        match self.0.take().map(thread::JoinHandle::join) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err("a thread panicked".to_owned()),
        }
    }
}

/// Runs blocking jobs in order. Cheap to clone; the thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
}

impl Worker {
    /// A worker that runs each job at once on the caller's thread: for the simulator.
    pub fn inline() -> Self {
        Self { jobs: None }
    }

    /// Runs `job` and waits for its value. `Err` only if the worker's thread is gone, which means
    /// that an earlier job panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let Some(jobs) = &self.jobs else {
            return Ok(job());
        };
        let (sender, receiver) = oneshot::channel();
        let gone = || io::Error::other("a worker thread is gone");
        jobs.send(Box::new(move || {
            // The caller may have stopped waiting; the job still ran, which is all that was asked.
            sender.send(job()).ok();
        }))
        .map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())
    }
}

/// Lets another thread have the processor, for a wait of microseconds.
pub fn yield_now() {
    thread::yield_now();
}

#[derive(Debug, Clone, Copy)]
pub struct RealThreads;

impl Threads for RealThreads {
    fn worker(&self, name: &str) -> io::Result<Worker> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    job();
                }
            })?;
        Ok(Worker { jobs: Some(jobs) })
    }

    fn spawn(&self, name: &str, body: Job) -> io::Result<Joiner> {
        Ok(Joiner(Some(
            thread::Builder::new().name(name.to_owned()).spawn(body)?,
        )))
    }

    fn cores(&self) -> usize {
        thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    fn runtime(&self, name: &str, future: BoxFuture<'static, ()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let body = move || runtime.block_on(future);
        thread::Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(())
    }
}
