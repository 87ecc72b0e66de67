//! One log entry to be, and those who wait for its replies, in order.

use crate::node::NodeError;
use crate::raft::{CarriedOut, ForwardCall, Forwarded, ProposeFailure};
use crate::state_machine::codec::retain_commands;
use crate::state_machine::{BatchBuilder, Command, Reply};
use crate::types::NodeId;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A batch closes at this many commands or bytes, whichever comes first.
const COMMANDS_MAX: usize = 1024;
const BYTES_MAX: usize = 1 << 20;

/// Invariant: once closed, `bytes` holds as many commands as the waiters asked for, in their order.
pub(super) struct Batch {
    builder: BatchBuilder,
    pub(super) bytes: Bytes,
    waiters: Vec<Waiter>,
    /// When it was begun: who is late then is not let in.
    begun: Instant,
    /// The most patient waiter's.
    pub(super) deadline: Instant,
}

struct Waiter {
    deadline: Instant,
    reply: Answer,
}

enum Answer {
    /// One command of this member's own.
    Here(oneshot::Sender<Result<Reply, NodeError>>),
    /// So many of another member's, which asked this one because it leads.
    There(usize, oneshot::Sender<Forwarded>),
}

impl Waiter {
    fn commands(&self) -> usize {
        match self.reply {
            Answer::Here(_) => 1,
            Answer::There(commands, _) => commands,
        }
    }

    /// Whether anybody will hear the reply.
    fn waits(&self, now: Instant) -> bool {
        let has_left = match &self.reply {
            Answer::Here(reply) => reply.is_closed(),
            Answer::There(_, answer) => answer.is_closed(),
        };
        self.deadline > now && !has_left
    }

    /// It may have left: nobody hears it then.
    fn fail(self, error: NodeError) {
        match self.reply {
            Answer::Here(reply) => drop(reply.send(Err(error))),
            Answer::There(_, answer) => drop(answer.send(Err(ProposeFailure::Unknown))),
        }
    }
}

impl Batch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            builder: BatchBuilder::new(),
            bytes: Bytes::new(),
            waiters: Vec::new(),
            begun: now,
            deadline: now,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.builder.len() >= COMMANDS_MAX || self.builder.bytes() >= BYTES_MAX
    }

    /// Commands in it.
    pub(super) fn commands(&self) -> usize {
        self.waiters.iter().map(Waiter::commands).sum()
    }

    /// Adds a command. Work whose deadline has passed, or whose client has left, is dropped here, before
    /// it costs the cluster anything.
    pub(super) fn push(
        &mut self,
        command: &Command,
        deadline: Instant,
        reply: oneshot::Sender<Result<Reply, NodeError>>,
    ) {
        let reply = Answer::Here(reply);
        if self.admit(Waiter { deadline, reply }) {
            self.builder.push(command);
        }
    }

    /// Adds all commands of another member's batch.
    ///
    /// # Errors
    /// There is no room; a batch that is empty takes any.
    pub(super) fn splice(&mut self, call: ForwardCall) -> Result<(), ForwardCall> {
        let fits = self.builder.len() + call.commands <= COMMANDS_MAX
            && self.builder.bytes() + call.batch.len() <= BYTES_MAX;
        if !fits && !self.builder.is_empty() {
            return Err(call);
        }
        let waiter = Waiter {
            deadline: call.deadline,
            reply: Answer::There(call.commands, call.answer),
        };
        if self.admit(waiter) {
            self.builder.splice(&call.batch, call.commands);
        }
        Ok(())
    }

    fn admit(&mut self, waiter: Waiter) -> bool {
        let waits = waiter.waits(self.begun);
        if waits {
            self.deadline = self.deadline.max(waiter.deadline);
            self.waiters.push(waiter);
        } else {
            // In case the late one looks here before it looks at the clock.
            waiter.fail(NodeError::Timeout);
        }
        waits
    }

    /// No more is added. Whether there is anything in it.
    pub(super) fn close(&mut self) -> bool {
        self.bytes = self.builder.finish();
        !self.waiters.is_empty()
    }

    /// Whether somebody waits for it still.
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Takes out, of a batch that is in nobody's log, the commands nobody waits for any more.
    pub(super) fn leave_out_the_late(&mut self, now: Instant) {
        for late in self.take_out(|waiter| !waiter.waits(now)) {
            late.fail(NodeError::Timeout);
        }
    }

    /// Takes out, of a batch that is in nobody's log, what came from other members: this one does not
    /// lead, and they know better where to turn to.
    pub(super) fn refuse_other_members(&mut self, leader: Option<NodeId>) {
        let refused = self.take_out(|waiter| matches!(waiter.reply, Answer::There(..)));
        for waiter in refused {
            if let Answer::There(_, answer) = waiter.reply {
                // It may have given up.
                answer.send(Err(ProposeFailure::NotLeader(leader))).ok();
            }
        }
    }

    fn take_out(&mut self, goes: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        if !self.waiters.iter().any(&goes) {
            return Vec::new();
        }
        let mut stays = Vec::with_capacity(self.commands());
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        for waiter in std::mem::take(&mut self.waiters) {
            let goes = goes(&waiter);
            stays.extend(std::iter::repeat_n(!goes, waiter.commands()));
            if goes { &mut gone } else { &mut left }.push(waiter);
        }
        self.waiters = left;
        self.bytes = retain_commands(&self.bytes, |at| stays[at]);
        gone
    }

    /// Tells everybody what became of it.
    pub(super) fn answer(self, outcome: Result<CarriedOut, NodeError>) {
        let CarriedOut { at, replies } = match outcome {
            Ok(done) => done,
            Err(error) => {
                for waiter in self.waiters {
                    waiter.fail(error);
                }
                return;
            }
        };
        assert_eq!(replies.len(), self.commands(), "one reply a command");
        let mut replies = replies.into_iter();
        for waiter in self.waiters {
            // It may have left meanwhile.
            match waiter.reply {
                Answer::Here(reply) => {
                    let its = replies.next().expect("they were counted");
                    reply.send(Ok(its)).ok();
                }
                Answer::There(commands, answer) => {
                    let replies = replies.by_ref().take(commands).collect();
                    answer.send(Ok(CarriedOut { at, replies })).ok();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::codec::decode_batch;
    use crate::state_machine::{COMMAND_FORMAT_VERSION, Outcome};
    use crate::types::Position;
    use std::time::Duration;

    type Client = oneshot::Receiver<Result<Reply, NodeError>>;
    type Member = oneshot::Receiver<Forwarded>;

    fn compact(revision: i64) -> Command {
        Command::Compact { revision }
    }

    fn push(batch: &mut Batch, revision: i64, patience: u64) -> Client {
        let (reply, client) = oneshot::channel();
        let deadline = batch.begun + Duration::from_secs(patience);
        batch.push(&compact(revision), deadline, reply);
        client
    }

    fn call(revisions: &[i64], now: Instant) -> (ForwardCall, Member) {
        let mut builder = BatchBuilder::new();
        for revision in revisions {
            builder.push(&compact(*revision));
        }
        let (answer, member) = oneshot::channel();
        let call = ForwardCall {
            batch: builder.finish(),
            commands: revisions.len(),
            deadline: now + Duration::from_secs(5),
            answer,
        };
        (call, member)
    }

    fn splice(batch: &mut Batch, revisions: &[i64]) -> Member {
        let (call, member) = call(revisions, batch.begun);
        assert!(batch.splice(call).is_ok());
        member
    }

    /// The revisions that its commands name.
    fn commands(batch: &Batch) -> Vec<i64> {
        assert_eq!(batch.bytes[0], COMMAND_FORMAT_VERSION);
        let commands = decode_batch(batch.bytes.clone()).unwrap();
        assert_eq!(commands.len(), batch.commands());
        let revision = |command: &Command| match command {
            Command::Compact { revision } => *revision,
            other => panic!("{other:?}"),
        };
        commands.iter().map(revision).collect()
    }

    fn reply(revision: i64) -> Reply {
        Reply {
            revision,
            result: Ok(Outcome::Compacted),
        }
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_taken_out_before_it_is_proposed() {
        let now = Instant::now();
        let mut batch = Batch::new(now);
        let _first = push(&mut batch, 1, 5);
        let mut late = push(&mut batch, 2, 1);
        let gone = push(&mut batch, 3, 5);
        let there = splice(&mut batch, &[4, 5]);
        let _last = push(&mut batch, 6, 5);
        assert!(batch.close());
        assert_eq!(commands(&batch), [1, 2, 3, 4, 5, 6]);
        drop((gone, there));
        batch.leave_out_the_late(now + Duration::from_secs(1));
        assert_eq!(commands(&batch), [1, 6]);
        assert_eq!(late.try_recv().unwrap(), Err(NodeError::Timeout));
        batch.leave_out_the_late(now + Duration::from_secs(6));
        assert!(!batch.is_awaited());
        assert!(commands(&batch).is_empty());
    }

    #[test]
    fn who_is_late_when_a_batch_is_formed_is_not_let_in() {
        let mut batch = Batch::new(Instant::now());
        let mut late = push(&mut batch, 1, 0);
        assert!(!batch.close());
        assert_eq!(late.try_recv().unwrap(), Err(NodeError::Timeout));
    }

    #[test]
    fn every_member_gets_the_replies_of_its_own_commands() {
        let mut batch = Batch::new(Instant::now());
        let mut two = splice(&mut batch, &[10, 11]);
        let mut here = push(&mut batch, 12, 5);
        let mut three = splice(&mut batch, &[13, 14, 15]);
        assert!(batch.close());
        assert_eq!(commands(&batch), [10, 11, 12, 13, 14, 15]);
        let at = Position { term: 3, index: 9 };
        let replies = (10..16).map(reply).collect();
        batch.answer(Ok(CarriedOut { at, replies }));
        let of = |revisions: std::ops::Range<i64>| CarriedOut {
            at,
            replies: revisions.map(reply).collect(),
        };
        assert_eq!(two.try_recv().unwrap(), Ok(of(10..12)));
        assert_eq!(here.try_recv().unwrap(), Ok(reply(12)));
        assert_eq!(three.try_recv().unwrap(), Ok(of(13..16)));
    }

    #[test]
    fn a_member_that_does_not_lead_gives_back_what_came_from_others() {
        let mut batch = Batch::new(Instant::now());
        let mut there = splice(&mut batch, &[1, 2]);
        let mut here = push(&mut batch, 3, 5);
        assert!(batch.close());
        batch.refuse_other_members(Some(7));
        assert_eq!(commands(&batch), [3]);
        let refused = there.try_recv().unwrap();
        assert_eq!(refused, Err(ProposeFailure::NotLeader(Some(7))));
        assert!(here.try_recv().is_err(), "it goes on");
        batch.answer(Err(NodeError::Timeout));
        assert_eq!(here.try_recv().unwrap(), Err(NodeError::Timeout));
    }

    #[test]
    fn what_became_of_a_lost_batch_nobody_is_told() {
        let mut batch = Batch::new(Instant::now());
        let mut there = splice(&mut batch, &[1]);
        assert!(batch.close());
        batch.answer(Err(NodeError::TimeoutLeaderFail));
        assert_eq!(there.try_recv().unwrap(), Err(ProposeFailure::Unknown));
    }

    #[test]
    fn a_batch_without_room_leaves_the_next_one_to_another() {
        let now = Instant::now();
        let mut batch = Batch::new(now);
        let many: Vec<i64> = (0..1000).collect();
        let _there = splice(&mut batch, &many);
        assert!(!batch.is_full());
        let (more, _waits) = call(&many, now);
        let more = batch.splice(more).unwrap_err();
        let mut next = Batch::new(now);
        assert!(next.splice(more).is_ok());
        assert!(next.close());
        assert_eq!(next.commands(), 1000);
    }
}
