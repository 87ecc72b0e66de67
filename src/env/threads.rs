//! Threads and runtimes. Blocking work runs on a [`Worker`]: a thread in production, inline under
//! simulation, so that a simulated member has no second thread whose timing could differ. What the
//! work takes there is a pause before it ([`Threads::later`], [`Worker::paused`]).
#![allow(clippy::disallowed_methods, reason = "env is the one home of threads")]

use super::network::BoxFuture;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Jobs that may wait for one worker; whoever comes with one more waits with it.
const WORKER_QUEUE_MAX: usize = 1024;

pub type Job = Box<dyn FnOnce() + Send>;
/// Passes the time that a job takes which begins now.
pub type Pause = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

pub trait Threads: Send + Sync + 'static {
    /// A place that runs jobs one after another, in the order given. `name` shows up in `top -H`.
    fn worker(&self, name: &str) -> io::Result<Worker>;
    /// Whether there is no second thread: jobs run at once on the caller's (the simulator).
    fn is_inline(&self) -> bool {
        false
    }
    /// Only where [`Self::is_inline`]: runs `job` on the caller's thread, now or after what the disk
    /// takes, never before an earlier one.
    fn later(&self, job: Job) {
        job();
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
    place: Place,
    room: Arc<Semaphore>,
}

/// Where jobs run.
#[derive(Clone)]
enum Place {
    Thread(mpsc::Sender<Job>),
    /// The caller's own.
    Here,
    /// The same, one after another, each after its pause.
    Paused(Pause, Arc<tokio::sync::Mutex<()>>),
}

impl Worker {
    /// A worker that runs each job at once on the caller's thread.
    pub fn inline() -> Self {
        Self::new(Place::Here)
    }

    /// One for a simulator: jobs run on the caller's thread, one after another, each when `pause` has
    /// passed. A disk that hangs is a pause that lasts.
    pub fn paused(pause: Pause) -> Self {
        Self::new(Place::Paused(pause, Arc::default()))
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            room: Arc::new(Semaphore::new(WORKER_QUEUE_MAX)),
        }
    }

    /// Runs `job` and waits for its value. `Err` only if the worker's thread is gone, which means
    /// that an earlier job panicked. If the caller stops waiting before the job's turn comes, it is
    /// left out.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let jobs = match &self.place {
            Place::Here => return Ok(job()),
            Place::Paused(pause, turn) => {
                let _turn = turn.lock().await;
                pause().await;
                return Ok(job());
            }
            Place::Thread(jobs) => jobs,
        };
        let gone = || io::Error::other("a worker thread is gone");
        let room = self.room.clone().acquire_owned().await;
        let room = room.map_err(|_| gone())?;
        let (sender, receiver) = oneshot::channel();
        jobs.send(Box::new(move || {
            let _room = room;
            if sender.is_closed() {
                return;
            }
            // The caller may have stopped waiting meanwhile.
            sender.send(job()).ok();
        }))
        .map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())
    }

    /// Queues a job that nobody waits for: for a `drop`, and for what may come later. It is not
    /// counted, so its caller bounds how many there are.
    pub fn post(&self, job: impl FnOnce() + Send + 'static) {
        match &self.place {
            Place::Here => job(),
            // The thread is gone: the process is ending, and the next start does such work again.
            Place::Thread(jobs) => jobs.send(Box::new(job)).unwrap_or_default(),
            Place::Paused(pause, turn) => {
                let (pause, turn) = (pause.clone(), turn.clone());
                drop(tokio::spawn(async move {
                    let _turn = turn.lock().await;
                    pause().await;
                    job();
                }));
            }
        }
    }
}

/// Lets another thread have the processor, for a wait of microseconds.
pub fn yield_now() {
    thread::yield_now();
}

/// Ends the process after a while, whatever it does then. A thread that hangs in the kernel, on a
/// dead disk, cannot be told to stop, and neither can a destructor that waits for it.
pub fn exit_after(limit: Duration) {
    thread::sleep(limit);
    std::process::exit(1);
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
        Ok(Worker::new(Place::Thread(jobs)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn a_job_whose_caller_is_gone_is_left_out() {
        let worker = RealThreads.worker("test").unwrap();
        let (release, held) = mpsc::channel::<()>();
        worker.post(move || {
            held.recv().ok();
        });
        let ran = Arc::new(AtomicBool::new(false));
        let flag = ran.clone();
        let mut given_up = Box::pin(worker.run(move || flag.store(true, Ordering::SeqCst)));
        assert!(futures_util::poll!(&mut given_up).is_pending());
        drop(given_up);
        release.send(()).unwrap();
        worker.run(|| ()).await.unwrap();
        assert!(!ran.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_full_queue_makes_its_callers_wait() {
        let worker = RealThreads.worker("test").unwrap();
        let (release, held) = mpsc::channel::<()>();
        worker.post(move || {
            held.recv().ok();
        });
        let mut waiting: Vec<_> = (0..=WORKER_QUEUE_MAX)
            .map(|number| Box::pin(worker.run(move || number)))
            .collect();
        for call in &mut waiting {
            assert!(futures_util::poll!(call).is_pending());
        }
        assert_eq!(worker.room.available_permits(), 0);
        release.send(()).unwrap();
        for (number, call) in waiting.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), number);
        }
    }
}
