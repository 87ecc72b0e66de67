//! All connections of all hosts.

use super::handshake::{Knock, Listener};
use super::pipe::{Freight, Pipe};
use super::stream::{End, Listening};
use crate::cluster::weather::{Cut, Quality, Weather};
use crate::sim::trace::Trace;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::sync::oneshot;

/// How late a piece is that others overtook on another path.
const OVERTAKEN_US: RangeInclusive<u64> = 1000..=100_000;

/// How a host goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The process dies; its kernel resets its connections.
    Process,
    /// The machine is off: nobody says anything.
    Machine,
}

/// A handle; clones are one network.
#[derive(Clone, Debug)]
pub struct Fabric(Arc<Mutex<State>>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) now: u64,
    pub(super) weather: Weather,
    latency_us: RangeInclusive<u64>,
    /// The most bytes that one write takes.
    piece_bytes_max: usize,
    random: StdRng,
    trace: Trace,
    pub(super) next: u64,
    pub(super) pipes: BTreeMap<u64, Pipe>,
    /// Pipes on which something is under way.
    busy: BTreeSet<u64>,
    pub(super) knocks: Vec<Knock>,
    pub(super) listeners: BTreeMap<String, Listener>,
    /// Machines that are off.
    pub(super) off: BTreeSet<usize>,
}

impl Fabric {
    /// `latency_us`: what every piece takes at least, and at most in good weather.
    pub fn new(seed: u64, latency_us: RangeInclusive<u64>, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: 0,
            weather: Weather::clear(),
            latency_us,
            piece_bytes_max: usize::MAX,
            random: StdRng::seed_from_u64(seed),
            trace,
            next: 0,
            pipes: BTreeMap::new(),
            busy: BTreeSet::new(),
            knocks: Vec::new(),
            listeners: BTreeMap::new(),
            off: BTreeSet::new(),
        })))
    }

    /// From now on a write takes at most so many bytes, as a socket may: what is sent at once arrives in
    /// pieces.
    pub fn set_piece_bytes_max(&self, bytes: usize) {
        self.lock().piece_bytes_max = bytes.max(1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs with the network, and wakes afterwards whom the change concerns: a waker may run anything.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Vec<Waker>) -> T) -> T {
        let mut wakers = Vec::new();
        let answer = change(&mut self.lock(), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        answer
    }

    /// From now on.
    pub fn set_weather(&self, weather: &Weather) {
        self.change(|state, wakers| {
            state.weather = weather.clone();
            let reset: Vec<u64> = state
                .pipes
                .iter()
                .filter(|(_, pipe)| state.weather.way(pipe.from, pipe.to).cut == Some(Cut::Reset))
                .map(|(number, _)| *number)
                .collect();
            for number in reset {
                state.sever(number, wakers);
            }
        });
    }

    /// Time is `now`: what is due arrives.
    pub fn tick(&self, now: u64) {
        let fabric = self.clone();
        let opened = self.change(|state, wakers| {
            state.now = now;
            state.deliver(wakers);
            state.knock(&fabric, wakers)
        });
        for (waiting, end) in opened {
            // Whoever asked may have given up; the end that is dropped says so to the other.
            drop(waiting.send(end));
        }
    }

    /// A host goes. Called before what runs on it is dropped.
    pub fn parts(&self, host: usize, parting: Parting) {
        let dropped = self.change(|state, wakers| {
            if parting == Parting::Machine {
                state.off.insert(host);
            }
            let theirs = |pipe: &Pipe| pipe.from == host || pipe.to == host;
            let numbers: Vec<u64> = state
                .pipes
                .iter()
                .filter(|(_, pipe)| theirs(pipe))
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                state.leave(number, host, parting, wakers);
            }
            state.knocks.retain(|knock| knock.from != host);
            let gone: Vec<String> = state
                .listeners
                .iter()
                .filter(|(_, listener)| listener.host == host)
                .map(|(address, _)| address.clone())
                .collect();
            let gone = gone.iter().filter_map(|one| state.listeners.remove(one));
            gone.collect::<Vec<Listener>>()
        });
        drop(dropped);
    }

    /// A machine is on again.
    pub fn returns(&self, host: usize) {
        self.lock().off.remove(&host);
    }

    pub(super) fn listen(&self, host: usize, address: &str) -> io::Result<Listening> {
        let mut state = self.lock();
        if state.listeners.contains_key(address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let listener = Listener {
            host,
            ..Listener::default()
        };
        state.listeners.insert(address.to_owned(), listener);
        Ok(Listening::new(self.clone(), address.to_owned()))
    }

    pub(super) fn accept(&self, address: &str, waker: &Waker) -> Option<io::Result<End>> {
        let mut state = self.lock();
        let Some(listener) = state.listeners.get_mut(address) else {
            return Some(Err(io::ErrorKind::NotConnected.into()));
        };
        let end = listener.queue.pop_front();
        if end.is_none() {
            listener.waker = Some(waker.clone());
        }
        end.map(Ok)
    }

    pub(super) fn unlisten(&self, address: &str) {
        let gone = self.lock().listeners.remove(address);
        drop(gone);
    }

    pub(super) fn connect(
        &self,
        from: usize,
        to: usize,
        address: &str,
    ) -> oneshot::Receiver<io::Result<End>> {
        let (waiting, answer) = oneshot::channel();
        let mut state = self.lock();
        let due = state.now + state.delay(from, to);
        state.knocks.push(Knock {
            from,
            to,
            address: address.to_owned(),
            due,
            attempts: 0,
            answer: None,
            waiting,
        });
        answer
    }

    /// Takes what it can of `bytes`; none: it must wait.
    pub(super) fn write(
        &self,
        number: u64,
        bytes: &[u8],
        waker: &Waker,
    ) -> Option<io::Result<usize>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(pipe) = state.pipes.get_mut(&number) else {
            return Some(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(kind) = pipe.broken {
            return Some(Err(kind.into()));
        }
        let count = bytes.len().min(pipe.room()).min(state.piece_bytes_max);
        if count == 0 && !bytes.is_empty() {
            pipe.writer = Some(waker.clone());
            return None;
        }
        let bytes = bytes.get(..count).unwrap_or_default();
        // Between members travel tables, which hold the random name that RocksDB gave itself; what the
        // log and the clients get of it all is in the trace byte for byte.
        let among_members = pipe.from != 0 && pipe.to != 0;
        let seen = if among_members { &[][..] } else { bytes };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        state
            .trace
            .bytes(state.now, number ^ length.rotate_left(32), seen);
        state.send(number, Freight::Bytes(Bytes::copy_from_slice(bytes)));
        Some(Ok(count))
    }

    pub(super) fn read(
        &self,
        number: u64,
        buffer: &mut tokio::io::ReadBuf<'_>,
        waker: &Waker,
    ) -> Option<io::Result<()>> {
        self.change(|state, wakers| {
            let Some(pipe) = state.pipes.get_mut(&number) else {
                return Some(Err(io::ErrorKind::NotConnected.into()));
            };
            let answer = pipe.read(buffer);
            if answer.is_none() {
                pipe.reader = Some(waker.clone());
            } else if pipe.room() > 0 {
                wakers.extend(pipe.writer.take());
            }
            answer
        })
    }

    /// Nothing more will be sent.
    pub(super) fn finish(&self, number: u64) {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(pipe) = state.pipes.get_mut(&number)
            && !pipe.sender_gone
        {
            pipe.sender_gone = true;
            if pipe.broken.is_none() {
                state.send(number, Freight::Fin);
            }
        }
    }

    /// An end is dropped: it sends no more, and reads no more.
    pub(super) fn close(&self, writes: u64, reads: u64) {
        self.finish(writes);
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(pipe) = state.pipes.get_mut(&reads) {
            pipe.receiver_gone = true;
        }
        state.tidy(writes);
        state.tidy(reads);
    }
}

impl State {
    /// What a piece takes on this way now.
    pub(super) fn delay(&mut self, from: usize, to: usize) -> u64 {
        let base = self.random.random_range(self.latency_us.clone());
        let way = self.weather.way(from, to);
        base + self.extra(&way)
    }

    /// What the weather adds.
    fn extra(&mut self, way: &Quality) -> u64 {
        let mut extra = way.delay_ms * 1000;
        if way.jitter_ms > 0 {
            extra += self.random.random_range(0..=way.jitter_ms * 1000);
        }
        // What it was overtaken by waits for it in the receiver's kernel: nobody sees another order, but
        // everybody behind it is late.
        let overtaken = way.reorder_per_mille;
        if overtaken > 0 && self.random.random_range(0..1000) < overtaken {
            extra += self.random.random_range(OVERTAKEN_US);
        }
        extra
    }

    /// Whether a piece of so many bytes is lost.
    pub(super) fn loses(&mut self, way: &Quality, bytes: usize) -> bool {
        way.cut == Some(Cut::Drop)
            || way.largest.is_some_and(|largest| bytes > largest)
            || (way.loss_per_mille > 0 && self.random.random_range(0..1000) < way.loss_per_mille)
    }

    pub(super) fn send(&mut self, number: u64, freight: Freight) {
        let Some((from, to)) = self.pipes.get(&number).map(|pipe| (pipe.from, pipe.to)) else {
            return;
        };
        let delay = self.delay(from, to);
        let rate = self.weather.way(from, to).rate;
        if let Some(pipe) = self.pipes.get_mut(&number) {
            pipe.send(self.now, delay, rate, freight);
            self.busy.insert(number);
        }
    }

    fn deliver(&mut self, wakers: &mut Vec<Waker>) {
        for number in self.busy.clone() {
            self.deliver_one(number, wakers);
        }
    }

    fn deliver_one(&mut self, number: u64, wakers: &mut Vec<Waker>) {
        let now = self.now;
        while let Some(pipe) = self.pipes.get(&number) {
            let (from, to) = (pipe.from, pipe.to);
            let Some(bytes) = pipe.due(now).map(Freight::len) else {
                break;
            };
            let (way, back) = (self.weather.way(from, to), self.weather.way(to, from));
            let silent = self.off.contains(&to) || self.off.contains(&from);
            let lost = silent || self.loses(&way, bytes);
            let heard = back.cut != Some(Cut::Drop);
            let Some(pipe) = self.pipes.get_mut(&number) else {
                break;
            };
            if lost {
                pipe.retransmit(now);
                break;
            }
            if pipe.forgotten {
                // The machine is back, and knows of no such connection.
                self.sever(number, wakers);
                break;
            }
            pipe.arrive(heard);
            wakers.extend(pipe.reader.take());
            if pipe.room() > 0 {
                wakers.extend(pipe.writer.take());
            }
            if let Some(kind) = pipe.broken {
                // A reset tells both ends.
                let back = pipe.back;
                if let Some(back) = self.pipes.get_mut(&back) {
                    back.sever(kind);
                    wakers.extend(back.wakers());
                }
            }
        }
        let Some(pipe) = self.pipes.get_mut(&number) else {
            self.busy.remove(&number);
            return;
        };
        if pipe.lags() && self.weather.way(pipe.to, pipe.from).cut != Some(Cut::Drop) {
            pipe.acknowledge();
            wakers.extend(pipe.writer.take());
        }
        if pipe.is_idle() {
            self.busy.remove(&number);
        }
        self.tidy(number);
    }

    /// Both directions of a connection end at once.
    fn sever(&mut self, number: u64, wakers: &mut Vec<Waker>) {
        let back = self.pipes.get(&number).map(|pipe| pipe.back);
        for number in [Some(number), back].into_iter().flatten() {
            if let Some(pipe) = self.pipes.get_mut(&number) {
                pipe.sever(io::ErrorKind::ConnectionReset);
                wakers.extend(pipe.wakers());
            }
            self.tidy(number);
        }
    }

    /// A direction of which one end is at a host that goes.
    fn leave(&mut self, number: u64, host: usize, parting: Parting, wakers: &mut Vec<Waker>) {
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return;
        };
        if pipe.from == host {
            let alive = !pipe.sender_gone && pipe.broken.is_none();
            pipe.sender_gone = true;
            match parting {
                // What was sent arrives before the reset, if nothing is lost.
                Parting::Process if alive => self.send(number, Freight::Reset),
                Parting::Process => {}
                Parting::Machine => pipe.vanish(),
            }
        } else {
            pipe.receiver_gone = true;
            pipe.forgotten = true;
            wakers.extend(pipe.reader.take());
        }
    }

    pub(super) fn tidy(&mut self, number: u64) {
        let over = self.pipes.get(&number).is_some_and(|pipe| {
            pipe.is_over() || (pipe.broken.is_some() && pipe.sender_gone && pipe.receiver_gone)
        });
        if over {
            self.pipes.remove(&number);
            self.busy.remove(&number);
        }
    }
}
