//! What waits to go into the log: this member's own commands, and other members' batches.

use super::batch::Batch;
use crate::node::NodeError;
use crate::raft::ForwardCall;
use crate::state_machine::{Command, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// One command of this member's own.
pub(super) struct Proposal {
    pub(super) command: Command,
    pub(super) bytes: usize,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Reply, NodeError>>,
}

/// Forms batches of both. Each can fill a batch alone, so that they take turns in going first.
pub(super) struct Intake {
    own: mpsc::Receiver<Proposal>,
    own_bytes: Arc<AtomicUsize>,
    others: mpsc::Receiver<ForwardCall>,
    /// Did not fit into the last batch.
    held: Option<ForwardCall>,
    others_first: bool,
}

impl Intake {
    /// `own_bytes` are the bytes of all commands in `own`: what is taken out is subtracted.
    pub(super) fn new(
        own: mpsc::Receiver<Proposal>,
        own_bytes: Arc<AtomicUsize>,
        others: mpsc::Receiver<ForwardCall>,
    ) -> Self {
        Self {
            own,
            own_bytes,
            others,
            held: None,
            others_first: false,
        }
    }

    /// Everything that waits, as soon as something does, up to the limits of a batch and without what
    /// nobody waits for. None when nothing of this member's own can come any more.
    pub(super) async fn next(&mut self) -> Option<Batch> {
        loop {
            let mut batch = Batch::new(Instant::now());
            if self.held.is_none() {
                tokio::select! {
                    proposal = self.own.recv() => self.push(&mut batch, proposal?),
                    Some(call) = self.others.recv() => self.held = Some(call),
                }
            }
            self.others_first = !self.others_first;
            if self.others_first {
                self.take_others(&mut batch);
            }
            self.take_own(&mut batch);
            self.take_others(&mut batch);
            if batch.close() {
                return Some(batch);
            }
        }
    }

    fn take_own(&mut self, batch: &mut Batch) {
        while !batch.is_full()
            && let Ok(proposal) = self.own.try_recv()
        {
            self.push(batch, proposal);
        }
    }

    /// As long as there is room; what finds none is held for the next batch.
    fn take_others(&mut self, batch: &mut Batch) {
        while let Some(call) = self.held.take().or_else(|| self.others.try_recv().ok()) {
            if let Err(call) = batch.splice(call) {
                self.held = Some(call);
                return;
            }
        }
    }

    fn push(&self, batch: &mut Batch, proposal: Proposal) {
        self.own_bytes.fetch_sub(proposal.bytes, Ordering::Relaxed);
        batch.push(&proposal.command, proposal.deadline, proposal.reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::BatchBuilder;
    use crate::state_machine::command::Put;
    use bytes::Bytes;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Two of them fill a batch.
    fn large() -> Command {
        Command::Put(Put {
            key: Bytes::from_static(b"k"),
            value: Bytes::from(vec![0; 600 << 10]),
            lease: 0,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        })
    }

    /// Both queues with so many large commands, one command a batch of the others. What they answer to is
    /// returned: who leaves is not waited for.
    fn full(own: usize, others: usize) -> (Intake, Vec<Box<dyn std::any::Any>>) {
        let (own_queue, own_waiting) = mpsc::channel(own);
        let (others_queue, others_waiting) = mpsc::channel(others);
        let deadline = Instant::now() + PATIENCE;
        let mut clients: Vec<Box<dyn std::any::Any>> = Vec::new();
        for _ in 0..own {
            let (reply, client) = oneshot::channel();
            let proposal = Proposal {
                command: large(),
                bytes: 0,
                deadline,
                reply,
            };
            assert!(own_queue.try_send(proposal).is_ok());
            clients.push(Box::new(client));
        }
        for _ in 0..others {
            let mut builder = BatchBuilder::new();
            builder.push(&large());
            let (answer, member) = oneshot::channel();
            let call = ForwardCall {
                batch: builder.finish(),
                commands: 1,
                deadline,
                answer,
            };
            assert!(others_queue.try_send(call).is_ok());
            clients.push(Box::new(member));
        }
        clients.push(Box::new(own_queue));
        clients.push(Box::new(others_queue));
        let own_bytes = Arc::new(AtomicUsize::new(0));
        let intake = Intake::new(own_waiting, own_bytes, others_waiting);
        (intake, clients)
    }

    #[tokio::test]
    async fn neither_queue_waits_until_the_other_is_empty() {
        const EACH: usize = 8;
        let (mut intake, _clients) = full(EACH, EACH);
        for _ in 0..4 {
            assert!(intake.next().await.is_some());
        }
        let left = (intake.own.len(), intake.others.len());
        assert!(left.0 <= EACH - 2 && left.1 <= EACH - 2, "left: {left:?}");
    }

    #[tokio::test]
    async fn everything_that_waits_becomes_batches() {
        let (mut intake, clients) = full(3, 4);
        let mut commands = 0;
        while commands < 7 {
            commands += intake.next().await.unwrap().commands();
        }
        assert_eq!(commands, 7);
        drop(clients);
        assert!(intake.next().await.is_none());
    }
}
