//! libc's calls that must be the simulation's: randomness, clocks, and what RocksDB does to its files.
//!
//! The binary has functions of their names, so everything in the process, the C++ code too, calls these
//! and not libc's; crates that look a symbol up by its name find them because the binary is linked with
//! `-rdynamic` (`build.rs`). What is not the simulation's goes on to the kernel.
//!
//! * Randomness: once [`seed`] was called, each thread has a stream of the seed's; that of the
//!   simulation's thread does not depend on how often others draw. Whatever drew before keeps what it
//!   has: the simulation runs on a thread that was started afterwards.
//! * Clocks: from the first [`set_clock`] on time is what was set last, on every thread: RocksDB's compare
//!   the age of a file with times that the simulation's thread noted. It begins in 2100, so that whatever they
//!   would do at a certain time they never do: a real wait for a moment of then does not end. Processor time
//!   is always real. Sleeps end at once: RocksDB's threads wait a second after an error.
//! * C++'s `new`, of what has the size of RocksDB's column families: RocksDB keeps them in a hash table by
//!   their addresses, and flushes them in its order. Their places are next to each other, so that this order
//!   does not depend on what else its threads have allocated.
//! * Files: [`cluster_tests::sim::disk::syncs`] says whether a call fails, and notes what is durable.
#![allow(unsafe_code, reason = "functions that C code calls, with C's pointers")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "a system call's answer is a long, whatever it is of"
)]

use cluster_tests::sim::disk::syncs;
use cluster_tests::sim::env::EPOCH_S;
use libc::{
    c_char, c_int, c_long, c_uint, c_void, off_t, size_t, ssize_t, time_t, timespec, timeval,
};
use std::cell::Cell;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What the clocks since the boot show at simulated time 0, seconds: no machine has been up so long.
const UPTIME_S: i64 = 1_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Bytes of a `new` that gets such a place; a column family has 3088.
const PLACED: RangeInclusive<size_t> = 3 << 10..=PLACE_BYTES;
const PLACE_BYTES: usize = 4 << 10;
/// More than any run needs; a place is not used again. Only what is touched is memory.
const PLACES_BYTES: usize = 4 << 30;

/// Where they begin; 0: nobody needed one yet.
static PLACES: AtomicUsize = AtomicUsize::new(0);

/// Simulated nanoseconds, or [`REAL`].
static NOW: AtomicU64 = AtomicU64::new(REAL);
/// Time is the kernel's.
const REAL: u64 = u64::MAX;

static IS_SEEDED: AtomicBool = AtomicBool::new(false);
static SEED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Words drawn on this thread.
    static DRAWN: Cell<u64> = const { Cell::new(0) };
    /// Whether it is the simulation's.
    static IS_SIMULATION: Cell<bool> = const { Cell::new(false) };
    /// Bytes of the places that this thread has given away.
    static PLACED_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// From now on all randomness that the process takes from the kernel is a function of `seed`.
pub(crate) fn seed(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    IS_SEEDED.store(true, Ordering::Release);
}

/// It is so many nanoseconds since the simulation began, whose thread this is.
pub(crate) fn set_clock(nanos: u64) {
    IS_SIMULATION.set(true);
    NOW.store(nanos, Ordering::Relaxed);
}

/// Clocks are the kernel's again.
pub(crate) fn clock_off() {
    NOW.store(REAL, Ordering::Relaxed);
}

/// The thread's next random word: splitmix64.
fn next() -> u64 {
    let drawn = DRAWN.get().wrapping_add(1);
    DRAWN.set(drawn);
    let state = SEED.load(Ordering::Relaxed);
    let z = state.wrapping_add(drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn is_simulated() -> bool {
    NOW.load(Ordering::Relaxed) != REAL
}

/// Simulated seconds and nanoseconds of the clock `id`, if it is simulated.
fn simulated(id: libc::clockid_t) -> Option<(i64, i64)> {
    let base = match id {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => {
            EPOCH_S.cast_signed()
        }
        libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID => return None,
        _ => UPTIME_S,
    };
    let now = Some(NOW.load(Ordering::Relaxed)).filter(|now| *now != REAL)?;
    let seconds = i64::try_from(now / SECOND_NS).unwrap_or(i64::MAX - base);
    let nanos = i64::try_from(now % SECOND_NS).unwrap_or(0);
    Some((base.saturating_add(seconds), nanos))
}

/// What a failing call of libc's returns.
fn fail(errno: c_int) -> c_int {
    // SAFETY: libc gives every thread a place for its `errno`.
    unsafe { libc::__errno_location().write(errno) };
    -1
}

/// # Safety
/// As libc's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(
    buffer: *mut c_void,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    if !IS_SEEDED.load(Ordering::Acquire) {
        // SAFETY: the caller's promise is the kernel's.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as ssize_t };
    }
    let mut place = buffer.cast::<u8>();
    let mut left = length;
    while left > 0 {
        let word = next().to_le_bytes();
        let count = left.min(word.len());
        // SAFETY: `count` bytes of the caller's `length` are left at `place`.
        unsafe {
            place.copy_from_nonoverlapping(word.as_ptr(), count);
            place = place.add(count);
        }
        left -= count;
    }
    ssize_t::try_from(length).unwrap_or(ssize_t::MAX)
}

/// # Safety
/// As libc's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getentropy(buffer: *mut c_void, length: size_t) -> c_int {
    if length > 256 {
        return fail(libc::EIO);
    }
    // SAFETY: the caller's promise.
    let given = unsafe { getrandom(buffer, length, 0) };
    if usize::try_from(given) == Ok(length) {
        0
    } else {
        -1
    }
}

/// # Safety
/// As libc's: `at` can be written to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(id: libc::clockid_t, at: *mut timespec) -> c_int {
    match simulated(id) {
        Some((tv_sec, tv_nsec)) => {
            // SAFETY: the caller's promise.
            unsafe { at.write(timespec { tv_sec, tv_nsec }) };
            0
        }
        // SAFETY: the caller's promise is the kernel's.
        None => unsafe { libc::syscall(libc::SYS_clock_gettime, id, at) as c_int },
    }
}

/// What RocksDB asks for the time of day.
///
/// # Safety
/// As libc's: `at` can be written to, or is null; `zone`, long obsolete, too.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn gettimeofday(at: *mut timeval, zone: *mut c_void) -> c_int {
    match simulated(libc::CLOCK_REALTIME) {
        Some((tv_sec, nanos)) if !at.is_null() => {
            let tv_usec = nanos / 1000;
            // SAFETY: the caller's promise.
            unsafe { at.write(timeval { tv_sec, tv_usec }) };
            0
        }
        // SAFETY: the caller's promise is the kernel's.
        _ => unsafe { libc::syscall(libc::SYS_gettimeofday, at, zone) as c_int },
    }
}

/// # Safety
/// As libc's: `at` can be written to, or is null.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn time(at: *mut time_t) -> time_t {
    let mut now = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it is ours.
    unsafe { clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    if !at.is_null() {
        // SAFETY: the caller's promise.
        unsafe { at.write(now.tv_sec) };
    }
    now.tv_sec
}

/// How threads of C++'s standard library, and Rust's, sleep.
///
/// # Safety
/// As libc's: `time` can be read; `left` can be written to, or is null.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    if is_simulated() {
        return 0;
    }
    // SAFETY: the caller's promise is the kernel's.
    unsafe { libc::syscall(libc::SYS_nanosleep, time, left) as c_int }
}

/// # Safety
/// As libc's: `time` can be read; `left` can be written to, or is null.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_nanosleep(
    clock: libc::clockid_t,
    flags: c_int,
    time: *const timespec,
    left: *mut timespec,
) -> c_int {
    if is_simulated() {
        return 0;
    }
    // SAFETY: the caller's promise is the kernel's.
    unsafe { libc::syscall(libc::SYS_clock_nanosleep, clock, flags, time, left) as c_int }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn usleep(micros: libc::useconds_t) -> c_int {
    let time = timespec {
        tv_sec: i64::from(micros / 1_000_000),
        tv_nsec: i64::from(micros % 1_000_000) * 1000,
    };
    // SAFETY: it is ours, and nobody wants to know what is left.
    unsafe { nanosleep(&raw const time, std::ptr::null_mut()) }
}

/// How much room a file system has: nobody knows. RocksDB would take a disk that has room again, as the
/// real one below always has, for a reason to go on, on a thread of its own.
///
/// # Safety
/// As libc's: `path` ends with a zero; `found` can be written to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn statvfs(_: *const c_char, _: *mut libc::statvfs) -> c_int {
    fail(libc::ENOSYS)
}

/// Syncs of `fd`, by the system call `number`.
fn sync(number: c_long, fd: c_int) -> c_int {
    match syncs::sync(fd) {
        // SAFETY: a number is all that the kernel is given.
        Ok(()) => unsafe { libc::syscall(number, fd) as c_int },
        Err(errno) => fail(errno),
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn fsync(fd: c_int) -> c_int {
    sync(libc::SYS_fsync, fd)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(libc::SYS_fdatasync, fd)
}

/// # Safety
/// As libc's: `length` bytes can be read at `bytes`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, length: size_t) -> ssize_t {
    match syncs::write(fd, length) {
        // SAFETY: the caller's promise is the kernel's.
        Ok(()) => unsafe { libc::syscall(libc::SYS_write, fd, bytes, length) as ssize_t },
        Err(errno) => fail(errno) as ssize_t,
    }
}

/// Two names for the same: C code has either, by how it was compiled.
macro_rules! positioned {
    ($($name:ident: $pointer:ty, $number:expr, $seen:expr;)*) => {$(
        /// # Safety
        /// As libc's: the pointer is good for `length` bytes.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            fd: c_int,
            bytes: $pointer,
            length: size_t,
            offset: off_t,
        ) -> ssize_t {
            match $seen(fd, length) {
                // SAFETY: the caller's promise is the kernel's.
                Ok(()) => unsafe { libc::syscall($number, fd, bytes, length, offset) as ssize_t },
                Err(errno) => fail(errno) as ssize_t,
            }
        }
    )*};
}

positioned! {
    pwrite: *const c_void, libc::SYS_pwrite64, syncs::write;
    pwrite64: *const c_void, libc::SYS_pwrite64, syncs::write;
    pread: *mut c_void, libc::SYS_pread64, |fd, _| syncs::read(fd);
    pread64: *mut c_void, libc::SYS_pread64, |fd, _| syncs::read(fd);
}

/// The simulation's next place; one thread has them.
fn place() -> Option<usize> {
    let given = PLACED_BYTES.get();
    if given + PLACE_BYTES > PLACES_BYTES {
        return None;
    }
    let mut base = PLACES.load(Ordering::Relaxed);
    if base == 0 {
        // SAFETY: new memory, wherever the kernel has room.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PLACES_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        base = mapped as usize;
        PLACES.store(base, Ordering::Release);
    }
    PLACED_BYTES.set(given + PLACE_BYTES);
    Some(base + given)
}

/// `operator new(size_t)`.
#[unsafe(export_name = "_Znwm")]
pub(crate) extern "C" fn operator_new(size: size_t) -> *mut c_void {
    let is_placed = PLACED.contains(&size) && IS_SIMULATION.get();
    if let Some(place) = is_placed.then(place).flatten() {
        return place as *mut c_void;
    }
    // SAFETY: any size is good.
    let memory = unsafe { libc::malloc(size.max(1)) };
    if memory.is_null() {
        // C++ would throw what nobody here can throw; the simulator has to be given more memory.
        std::process::abort();
    }
    memory
}

/// # Safety
/// As C++'s: null, or what [`operator_new`] gave.
#[unsafe(export_name = "_ZdlPv")]
pub(crate) unsafe extern "C" fn operator_delete(memory: *mut c_void) {
    let base = PLACES.load(Ordering::Acquire);
    let is_placed = base != 0 && (base..base + PLACES_BYTES).contains(&(memory as usize));
    if !is_placed {
        // SAFETY: what is no place is malloc's.
        unsafe { libc::free(memory) };
    }
}

/// # Safety
/// As [`operator_delete`]'s.
#[unsafe(export_name = "_ZdlPvm")]
pub(crate) unsafe extern "C" fn operator_delete_sized(memory: *mut c_void, _: size_t) {
    // SAFETY: the caller's promise.
    unsafe { operator_delete(memory) };
}
