//! The trace: a hash of all that happened, in order. Two runs of one seed have the same.

use rustc_hash::FxHasher;
use std::fs::File;
use std::hash::Hasher;
use std::io::{BufWriter, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Where every event is written too, for whoever compares two runs that should be the same.
static DUMP: OnceLock<Option<Mutex<BufWriter<File>>>> = OnceLock::new();
/// Bytes of an event that are written.
const SHOWN: usize = 100;
const DUMP_TO: &str = "QUORATE_SIM_TRACE";

fn dump() -> Option<Mutex<BufWriter<File>>> {
    let path = std::env::var_os(DUMP_TO)?;
    let file = File::create(path).ok()?;
    Some(Mutex::new(BufWriter::new(file)))
}

/// A handle; clones fold into one trace. A simulation has one thread.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: Arc<AtomicU64>,
    events: Arc<AtomicU64>,
}

impl Trace {
    /// Something happened at `now` to whatever has the number `what`.
    pub fn bytes(&self, now: u64, what: u64, bytes: &[u8]) {
        let mut hasher = FxHasher::default();
        hasher.write_u64(self.hash.load(Ordering::Relaxed));
        hasher.write_u64(now);
        hasher.write_u64(what);
        hasher.write(bytes);
        self.hash.store(hasher.finish(), Ordering::Relaxed);
        self.events.fetch_add(1, Ordering::Relaxed);
        if let Some(dump) = DUMP.get_or_init(dump) {
            let text = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes));
            let line = format!("{now} {what:x} {} {:?}", bytes.len(), text);
            let mut dump = dump.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(dump, "{line}").unwrap_or_default();
        }
    }

    /// Of all so far; what was to be written is then in its file.
    pub fn hash(&self) -> u64 {
        if let Some(dump) = DUMP.get_or_init(dump) {
            let mut dump = dump.lock().unwrap_or_else(PoisonError::into_inner);
            dump.flush().unwrap_or_default();
        }
        self.hash.load(Ordering::Relaxed)
    }

    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}
