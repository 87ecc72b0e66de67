//! Questions to the leader: what waits goes as one message, its answers come back as one.
//!
//! One batch is under way at a time; while it is, the next one forms by itself. All questions are
//! harmless to ask twice, so a batch that got no answer is simply asked again, of whoever leads then,
//! as long as somebody waits for it.

use super::clock::Parts;
use super::desk::{Answer, Question};
use crate::lease::{Left, Renewal};
use crate::node::NodeError;
use crate::proto::peer;
use crate::proto::peer::lease_answer::State;
use crate::raft::{LeaderHint, LeaseCall, Links, MemberNode, PeerService};
use crate::types::{LeaseMark, NodeId, Position};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// Questions that may wait; one more is refused with "too many requests".
const QUEUE_QUESTIONS_MAX: usize = 16_384;
/// Questions of one message. With the answers well below what a peer message may hold.
const BATCH_QUESTIONS_MAX: usize = 16_384;
/// Batches of other members that may wait for this one, and that are answered at a time.
const PEER_BATCHES_MAX: usize = 64;
/// How long to wait for news of a leader before asking again.
const LEADER_PATIENCE: Duration = Duration::from_millis(20);
/// Pause before asking again after a lease that is being revoked.
const ENDING_PAUSE: Duration = Duration::from_millis(20);

/// An answer, and the position in the log up to which it counts.
pub(super) type Told = (Answer, Position);

struct Waiting {
    question: Question,
    answer: oneshot::Sender<Told>,
}

/// The doors' end of the queue.
pub(super) struct Asking {
    queue: mpsc::Sender<Waiting>,
}

impl Asking {
    /// Questions that wait, and how many may.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let limit = self.queue.max_capacity();
        (limit - self.queue.capacity(), limit)
    }

    /// Asks the leader, until the lease is either there or gone.
    pub(super) async fn ask(
        &self,
        question: Question,
        deadline: Instant,
    ) -> Result<(Option<Left>, Position), NodeError> {
        loop {
            match self.once(question, deadline).await? {
                (Answer::Alive(left), at) => return Ok((Some(left), at)),
                (Answer::Gone, at) => return Ok((None, at)),
                (Answer::Ending, _) => tokio::time::sleep(ENDING_PAUSE).await,
            }
        }
    }

    async fn once(&self, question: Question, deadline: Instant) -> Result<Told, NodeError> {
        let (answer, told) = oneshot::channel();
        let waiting = Waiting { question, answer };
        self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NodeError::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => NodeError::Stopped,
        })?;
        match timeout_at(deadline, told).await {
            Ok(Ok(told)) => Ok(told),
            Ok(Err(_)) => Err(NodeError::Stopped),
            Err(_) => Err(NodeError::Timeout),
        }
    }
}

/// The other end: takes the questions to whoever leads.
pub(super) struct Calls {
    waiting: mpsc::Receiver<Waiting>,
    parts: Arc<Parts>,
    links: Links,
}

impl Calls {
    pub(super) fn new(parts: Arc<Parts>, links: Links) -> (Self, Asking) {
        let (queue, waiting) = mpsc::channel(QUEUE_QUESTIONS_MAX);
        let calls = Self {
            waiting,
            parts,
            links,
        };
        (calls, Asking { queue })
    }

    /// Runs until every [`Asking`] is gone.
    pub(super) async fn run(mut self) {
        let mut leaders = self.parts.consensus.leader_watch();
        while let Some(first) = self.waiting.recv().await {
            let mut batch = vec![first];
            loop {
                while batch.len() < BATCH_QUESTIONS_MAX
                    && let Ok(more) = self.waiting.try_recv()
                {
                    batch.push(more);
                }
                batch.retain(|waiting| !waiting.answer.is_closed());
                if batch.is_empty() {
                    break;
                }
                let questions: Vec<_> = batch.iter().map(|waiting| waiting.question).collect();
                let Some((answers, at)) = self.ask(leaders.hint(), &questions).await else {
                    leaders.changed(LEADER_PATIENCE).await;
                    continue;
                };
                for (waiting, answer) in batch.drain(..).zip(answers) {
                    // The client may have left.
                    waiting.answer.send((answer, at)).ok();
                }
                break;
            }
        }
    }

    async fn ask(
        &self,
        leader: LeaderHint,
        questions: &[Question],
    ) -> Option<(Vec<Answer>, Position)> {
        let patience = self.parts.consensus.timers().election * 2;
        match leader {
            LeaderHint::Me => self.parts.answer(questions, patience).await,
            LeaderHint::Other(leader, member) => {
                timeout(patience, self.forward(leader, &member, questions))
                    .await
                    .ok()?
            }
            LeaderHint::Nobody => None,
        }
    }

    async fn forward(
        &self,
        leader: NodeId,
        member: &MemberNode,
        questions: &[Question],
    ) -> Option<(Vec<Answer>, Position)> {
        let mut client = self.links.to(leader, member).ok()?.entries;
        let request = peer::LeaseRequest {
            questions: questions.iter().map(to_wire).collect(),
        };
        let response = client.lease(request).await.ok()?.into_inner();
        let at = response.at?;
        let answers: Vec<_> = response.answers.iter().map(from_wire).collect();
        (answers.len() == questions.len()).then_some((
            answers,
            Position {
                term: at.term,
                index: at.index,
            },
        ))
    }
}

impl Parts {
    /// Answers as the leader; `None` if this member is not, or a quorum does not confirm it in time.
    async fn answer(
        &self,
        questions: &[Question],
        patience: Duration,
    ) -> Option<(Vec<Answer>, Position)> {
        let received = self.desk.receive(questions).ok()?;
        let marked: Vec<_> = received.renewals.iter().filter_map(taken_back).collect();
        if !marked.is_empty() {
            self.mark(received.term, marked).await.ok()?;
        }
        // A round that begins now, after the renewals were recorded, and of the very term.
        let at = self.barrier.wait(Instant::now() + patience).await.ok()?;
        if at.term != received.term {
            return None;
        }
        let answers = self.desk.answers(questions, &received).ok()?;
        Some((answers, at))
    }
}

/// What a renewal must take back before it counts.
fn taken_back(renewal: &Option<Renewal>) -> Option<LeaseMark> {
    match renewal {
        Some(Renewal::Renewed {
            mark: Some(mark), ..
        }) => Some(LeaseMark {
            id: mark.id,
            granted_at: mark.granted_at,
            remaining: 0,
        }),
        _ => None,
    }
}

/// Batches that other members send.
pub(super) struct PeerCalls {
    calls: mpsc::Receiver<LeaseCall>,
    parts: Arc<Parts>,
}

impl PeerCalls {
    /// Opens the peer port's call.
    pub(super) fn new(parts: Arc<Parts>, peers: &PeerService) -> Self {
        let (queue, calls) = mpsc::channel(PEER_BATCHES_MAX);
        peers.set_lease_calls(queue);
        Self { calls, parts }
    }

    pub(super) async fn run(mut self) {
        let mut answering = JoinSet::new();
        while let Some(call) = self.calls.recv().await {
            while answering.len() >= PEER_BATCHES_MAX {
                answering.join_next().await;
            }
            while answering.try_join_next().is_some() {}
            let parts = self.parts.clone();
            answering.spawn(async move {
                let questions: Vec<_> = call.request.questions.iter().map(question).collect();
                let patience = parts.consensus.timers().election * 2;
                let answered = parts.answer(&questions, patience).await;
                let response =
                    answered.map_or_else(peer::LeaseResponse::default, |(answers, at)| {
                        peer::LeaseResponse {
                            answers: answers.iter().map(answer_to_wire).collect(),
                            at: Some(peer::Position {
                                term: at.term,
                                index: at.index,
                            }),
                        }
                    });
                // The other member may have given up.
                call.answer.send(response).ok();
            });
        }
    }
}

fn to_wire(question: &Question) -> peer::LeaseQuestion {
    let (id, renew) = match question {
        Question::Renew(id) => (*id, true),
        Question::Look(id) => (*id, false),
    };
    peer::LeaseQuestion { id, renew }
}

fn question(question: &peer::LeaseQuestion) -> Question {
    if question.renew {
        Question::Renew(question.id)
    } else {
        Question::Look(question.id)
    }
}

fn answer_to_wire(answer: &Answer) -> peer::LeaseAnswer {
    let (state, left) = match answer {
        Answer::Gone => (State::Gone, None),
        Answer::Ending => (State::Ending, None),
        Answer::Alive(left) => (State::Alive, Some(left)),
    };
    peer::LeaseAnswer {
        state: state.into(),
        seconds: left.map_or(0, |left| left.seconds),
        ttl: left.map_or(0, |left| left.ttl),
    }
}

fn from_wire(answer: &peer::LeaseAnswer) -> Answer {
    match answer.state() {
        State::Gone => Answer::Gone,
        State::Ending => Answer::Ending,
        State::Alive => Answer::Alive(Left {
            seconds: answer.seconds,
            ttl: answer.ttl,
        }),
    }
}
