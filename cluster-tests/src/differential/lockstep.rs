//! The subject and the reference, step by step.

use super::answer::Answer;
use super::call::Call;
use super::difference::differ;
use super::exceptions;
use super::hashes::Hashes;
use super::members::Members;
use super::steps::{STREAMS, Step, WatchStep};
use super::watch::log::Log;
use super::watch::pair::{Creation, Pair};
use crate::cluster::program::Program;
use anyhow::{Context, Result};
use quorate::proto::etcdserverpb::WatchCreateRequest;
use std::path::Path;
use std::time::Duration;

/// How long the reference may need to tell of a write.
const PATIENCE: Duration = Duration::from_secs(20);

/// Both clusters, and everything that is open between them.
#[derive(Debug)]
pub struct Lockstep {
    subject: Members,
    reference: Members,
    streams: [Option<OpenStream>; STREAMS],
    log: Log,
    /// The store's.
    revision: i64,
    compacted: i64,
}

#[derive(Debug)]
struct OpenStream {
    member: usize,
    pair: Pair,
}

/// What became of a step in which both agreed.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The reference's answer, and whether it is another one for a known reason.
    Answered {
        answer: Answer,
        excused: bool,
    },
    Created(Creation),
    /// Revisions that watchers heard of, compared.
    Heard(usize),
    /// Not carried out, because the answer would be a matter of chance.
    Skipped,
}

impl Lockstep {
    /// Starts both, in `dir`, which must not exist.
    ///
    /// # Errors
    /// They do not come up.
    pub async fn start(subject: Program, dir: &Path, seed: u64, timers: &[&str]) -> Result<Self> {
        let nodes = match subject {
            Program::Quorate => 3,
            Program::Etcd => 1,
        };
        let start = |program, nodes, part: &str| {
            Box::pin(Members::start(program, nodes, dir.join(part), seed, timers))
        };
        let subject = start(subject, nodes, "subject").await?;
        let reference = start(Program::Etcd, 1, "reference").await?;
        let log = Log::open(reference.listener(1)?).await?;
        Ok(Self {
            subject,
            reference,
            streams: std::array::from_fn(|_| None),
            log,
            revision: 1,
            compacted: 0,
        })
    }

    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The member of the subject that is to carry out `step`.
    pub fn choose(&mut self, step: &Step) -> usize {
        let open = match step {
            Step::Watch { stream, .. } => self.streams.get(*stream).and_then(Option::as_ref),
            Step::Call(call) if call.is_leaders() => return self.subject.leader(),
            Step::Call(_) => None,
        };
        open.map_or_else(|| self.subject.any(), |open| open.member)
    }

    /// Carries a step out on both and compares.
    ///
    /// # Errors
    /// A [`Difference`](super::difference::Difference), or trouble.
    pub async fn carry_out(&mut self, step: &Step, member: usize) -> Result<Outcome> {
        // Where steps are repeated another one may lead.
        let member = match step {
            Step::Call(call) if call.is_leaders() => self.subject.leader(),
            _ => member,
        };
        if step.is_local() {
            self.subject.bring_up_to_date(member).await?;
        }
        match step {
            Step::Call(call) => self.call(call, member).await,
            Step::Watch { stream, what } => {
                let at = stream % STREAMS;
                self.watch(at, what, member).await
            }
        }
    }

    async fn call(&mut self, call: &Call, member: usize) -> Result<Outcome> {
        let mut theirs = self.reference.door(1)?;
        if let Call::Lock(lock) = call
            && lock.would_wait(&mut theirs).await?
        {
            return Ok(Outcome::Skipped);
        }
        if matches!(call, Call::Compact(_)) {
            self.read_log().await?;
            for open in self.streams.iter_mut().flatten() {
                self.subject.bring_up_to_date(open.member).await?;
                let pair = &mut open.pair;
                pair.cancel_readers_of_the_past(&self.log, self.revision)
                    .await?;
            }
        }
        let mut ours = self.subject.door(member)?;
        let owns = (self.subject.own(member)?, self.reference.own(1)?);
        let (our_answer, answer) =
            tokio::join!(call.send(&mut ours, owns.0), call.send(&mut theirs, owns.1));
        let same = our_answer == answer;
        let excused = !same
            && self.subject.program() == Program::Quorate
            && exceptions::is_known(call, &our_answer, &answer);
        if !same && !excused {
            // A process that has ended is what to look at first.
            let ends = [self.subject.ended()?, self.reference.ended()?]
                .concat()
                .concat();
            differ!(
                "answers of {} and of etcd differ\n{call:#?}\n{}: {our_answer:#?}\netcd: \
                 {answer:#?}\n{ends}",
                self.subject.describe(member),
                self.subject.program(),
            );
        }
        self.subject.note(member, call, &our_answer);
        self.learn(call, &answer).await?;
        Ok(Outcome::Answered { answer, excused })
    }

    /// Notes where the stores are.
    async fn learn(&mut self, call: &Call, answer: &Answer) -> Result<()> {
        if let Some(revision) = answer.revision() {
            self.revision = self.revision.max(revision);
        }
        if let (Call::Compact(compact), Answer::Compact(_)) = (call, answer) {
            self.compacted = self.compacted.max(compact.revision);
        }
        // What these write is more than what their answers tell.
        if matches!(call, Call::Lock(_)) {
            let (revision, _) = self.reference.door(1)?.get("s").await?;
            self.revision = self.revision.max(revision);
        }
        Ok(())
    }

    async fn read_log(&mut self) -> Result<()> {
        self.log.read_until(self.revision, PATIENCE).await
    }

    async fn watch(&mut self, at: usize, what: &WatchStep, member: usize) -> Result<Outcome> {
        self.read_log().await?;
        if let WatchStep::Create(create) = what {
            return self.create(at, create, member).await;
        }
        let slot = self.streams.get_mut(at).context("no such stream")?;
        let Some(open) = slot else {
            return Ok(Outcome::Skipped);
        };
        match what {
            WatchStep::Cancel(id) if open.pair.was_compacted(*id) => return Ok(Outcome::Skipped),
            WatchStep::Create(_) => {}
            WatchStep::Cancel(id) => {
                open.pair.cancel(*id, &self.log, self.revision).await?;
            }
            WatchStep::Progress => {
                if !open.pair.progress(&self.log, self.revision).await? {
                    return Ok(Outcome::Skipped);
                }
            }
            WatchStep::Compare => {
                let heard = open.pair.sync(&self.log, self.revision).await?;
                return Ok(Outcome::Heard(heard));
            }
            WatchStep::Close => {
                let heard = open.pair.sync(&self.log, self.revision).await?;
                *slot = None;
                return Ok(Outcome::Heard(heard));
            }
        }
        Ok(Outcome::Heard(0))
    }

    async fn create(
        &mut self,
        at: usize,
        create: &WatchCreateRequest,
        member: usize,
    ) -> Result<Outcome> {
        // etcd 3.4 forgets deletions at the very revision of a compaction.
        let start = create.start_revision;
        if start == self.compacted && self.log.loses_by_compaction(start) {
            return Ok(Outcome::Skipped);
        }
        let slot = self.streams.get_mut(at).context("no such stream")?;
        if slot.is_none() {
            let pair = Pair::open(self.subject.listener(member)?, self.reference.listener(1)?);
            *slot = Some(OpenStream { member, pair });
        }
        let open = slot.as_mut().context("no stream")?;
        if create.watch_id != 0 && open.pair.was_compacted(create.watch_id) {
            return Ok(Outcome::Skipped);
        }
        let created = open
            .pair
            .create(create.clone(), self.revision, self.compacted);
        Ok(Outcome::Created(created.await?))
    }

    /// Compares every stream to its end, and the members of the subject with each other.
    ///
    /// # Errors
    /// A difference.
    pub async fn finish(&mut self) -> Result<usize> {
        let mut heard = 0;
        self.read_log().await?;
        for open in self.streams.iter_mut().flatten() {
            heard += open.pair.sync(&self.log, self.revision).await?;
        }
        self.subject.agree().await?;
        Ok(heard)
    }

    /// Compares the whole history of one member and of the reference.
    ///
    /// # Errors
    /// A hash differs.
    pub(super) async fn compare_hashes(&mut self, hashes: &mut Hashes) -> Result<()> {
        let member = self.subject.any();
        self.subject.bring_up_to_date(member).await?;
        let (mut ours, mut theirs) = (self.subject.door(member)?, self.reference.door(1)?);
        let compared = hashes.compare(&mut ours, &mut theirs).await;
        compared.with_context(|| format!("hashes of {}", self.subject.describe(member)))
    }

    /// How many of how many requests went to followers.
    pub fn followers_share(&self) -> (usize, usize) {
        self.subject.followers_share()
    }
}
