//! How a connection is made: it needs both ways, and whoever hears nothing asks again.

use super::fabric::{Fabric, State};
use super::pipe::{Freight, Pipe};
use super::stream::End;
use crate::cluster::weather::Cut;
use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use tokio::sync::oneshot;

/// Linux sends a SYN again after a second, then after two, four, …
const SYN_US: u64 = 1_000_000;
/// Connections that wait to be accepted.
const BACKLOG: usize = 128;

/// A connection that is being made.
#[derive(Debug)]
pub(super) struct Knock {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) address: String,
    pub(super) due: u64,
    pub(super) attempts: u32,
    /// On its way back.
    pub(super) answer: Option<io::Result<(u64, u64)>>,
    pub(super) waiting: oneshot::Sender<io::Result<End>>,
}

#[derive(Debug, Default)]
pub(super) struct Listener {
    pub(super) host: usize,
    pub(super) queue: VecDeque<End>,
    pub(super) waker: Option<Waker>,
}

impl State {
    /// Connections that are being made. Answers those that are made, or are not.
    #[allow(clippy::type_complexity, reason = "whom to tell, and what")]
    pub(super) fn knock(
        &mut self,
        fabric: &Fabric,
        wakers: &mut Vec<Waker>,
    ) -> Vec<(oneshot::Sender<io::Result<End>>, io::Result<End>)> {
        let mut told = Vec::new();
        let knocks = std::mem::take(&mut self.knocks);
        for mut knock in knocks {
            if knock.waiting.is_closed() {
                if let Some(Ok((reads, writes))) = knock.answer {
                    self.give_up(reads, writes);
                }
                continue;
            }
            if knock.due > self.now {
                self.knocks.push(knock);
                continue;
            }
            let there = self.weather.way(knock.from, knock.to);
            let back = self.weather.way(knock.to, knock.from);
            let refused = [&there, &back]
                .into_iter()
                .any(|way| way.cut == Some(Cut::Reset));
            let silent = self.off.contains(&knock.to) || self.off.contains(&knock.from);
            // A handshake needs both ways.
            let hangs = silent
                || there.cut == Some(Cut::NewOnly)
                || back.cut == Some(Cut::NewOnly)
                || self.loses(&there, 0)
                || self.loses(&back, 0);
            if hangs {
                // What was made meanwhile and never told is given up by the end that does not hear.
                knock.due = self.now + (SYN_US << knock.attempts.min(5));
                knock.attempts += 1;
                self.knocks.push(knock);
                continue;
            }
            match knock.answer.take() {
                Some(answer) => {
                    let peer = knock.address.clone();
                    let end =
                        answer.map(|(reads, writes)| End::new(fabric.clone(), reads, writes, peer));
                    told.push((knock.waiting, end));
                }
                None => {
                    knock.answer = Some(if refused {
                        Err(io::ErrorKind::ConnectionRefused.into())
                    } else {
                        self.open(fabric, &knock, wakers)
                    });
                    knock.due = self.now + self.delay(knock.to, knock.from);
                    self.knocks.push(knock);
                }
            }
        }
        told
    }

    /// The dialler of a connection that the other host has made already is gone.
    fn give_up(&mut self, reads: u64, writes: u64) {
        if let Some(pipe) = self.pipes.get_mut(&reads) {
            pipe.receiver_gone = true;
        }
        if let Some(pipe) = self.pipes.get_mut(&writes) {
            pipe.sender_gone = true;
            self.send(writes, Freight::Fin);
        }
        self.tidy(reads);
    }

    /// The other host's side of a handshake: (what the dialler reads, what it writes).
    fn open(
        &mut self,
        fabric: &Fabric,
        knock: &Knock,
        wakers: &mut Vec<Waker>,
    ) -> io::Result<(u64, u64)> {
        let listener = self.listeners.get_mut(&knock.address);
        let Some(listener) = listener.filter(|listener| listener.queue.len() < BACKLOG) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (writes, reads) = (self.next, self.next + 1);
        self.next += 2;
        self.pipes
            .insert(writes, Pipe::new(knock.from, knock.to, reads));
        self.pipes
            .insert(reads, Pipe::new(knock.to, knock.from, writes));
        let peer = format!("10.0.0.{}:{}", knock.from, 40_000 + writes % 20_000);
        let end = End::new(fabric.clone(), writes, reads, peer);
        listener.queue.push_back(end);
        wakers.extend(listener.waker.take());
        Ok((reads, writes))
    }
}
