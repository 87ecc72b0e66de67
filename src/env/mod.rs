//! The outside world as values: network, disk, clock, randomness, threads.
//!
//! Nothing else in this crate opens a socket, asks the time of day, draws a random number, starts a
//! thread or touches a file (invariant 10; held by clippy's `disallowed-methods` and by `tidy`).
//! [`Env::real`] is production; the simulator passes its own. Elapsed time inside a member is
//! tokio's, which a simulator can stop and wind by itself.
//!
//! * [`network`]: connect and listen; streams are boxed so that TLS or a simulated link fits.
//! * [`cork`]: what a connection writes in one turn is sent at once.
//! * [`disk`]: what the Raft log needs of a file system, and nothing more.
//! * `disk_direct`: the real one's durable writes, past the page cache.
//! * [`disk_journal`]: a disk that writes down what it could still lose, for tests.
//! * [`disk_memory`]: a disk in memory whose power can be cut.
//! * [`clock`]: the time of day (elapsed time is tokio's) and randomness.
//! * [`process`]: what the process uses of the machine, for metrics.
//! * [`threads`]: threads that run blocking jobs in order, and the runtimes.

pub mod clock;
pub mod cork;
pub mod disk;
mod disk_direct;
pub mod disk_journal;
pub mod disk_memory;
pub mod disk_real;
pub mod network;
pub mod network_memory;
pub mod network_tcp;
pub mod process;
pub mod threads;

pub use clock::{Clock, Randomness};
pub use disk::{Disk, DiskFile};
pub use network::{Listener, Network, Stream};
pub use threads::{Threads, Worker};

use std::io;
use std::path::Path;
use std::sync::Arc;

/// One member's outside world.
#[derive(Clone)]
pub struct Env {
    pub network: Arc<dyn Network>,
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub randomness: Arc<dyn Randomness>,
    pub threads: Arc<dyn Threads>,
}

impl Env {
    /// TCP, the local file system, the system's clock and random source, real threads.
    pub fn real() -> Self {
        Self {
            network: Arc::new(network_tcp::Tcp),
            disk: Arc::new(disk_real::RealDisk),
            clock: Arc::new(clock::SystemClock),
            randomness: Arc::new(clock::SystemRandomness),
            threads: Arc::new(threads::RealThreads),
        }
    }

    /// With a journal of what its disk could still lose: see [`disk_journal`].
    ///
    /// # Errors
    /// The journal cannot be opened.
    pub fn with_sync_journal(mut self, path: &Path) -> io::Result<Self> {
        self.disk = Arc::new(disk_journal::JournalledDisk::open(self.disk, path)?);
        Ok(self)
    }
}
