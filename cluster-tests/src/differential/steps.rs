//! A run is a list of steps, which can be carried out again, or some of them.

use super::call::Call;
use super::revisions::{Moved, Translate};
use quorate::proto::etcdserverpb::WatchCreateRequest;

/// Watch streams that are open at the same time.
pub const STREAMS: usize = 4;

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Call(Call),
    Watch { stream: usize, what: WatchStep },
}

#[derive(Clone, Debug, PartialEq)]
pub enum WatchStep {
    /// Opens the stream if need be.
    Create(WatchCreateRequest),
    Cancel(i64),
    Progress,
    /// Both sides are heard out until the present and compared.
    Compare,
    Close,
}

/// A step as it was carried out.
#[derive(Clone, Debug)]
pub struct Done {
    pub step: Step,
    /// Of the subject: which member was asked.
    pub member: usize,
    /// The store's revision afterwards.
    pub revision: i64,
}

impl Step {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Call(call) => call.kind(),
            Self::Watch { what, .. } => match what {
                WatchStep::Create(_) => "watch create",
                WatchStep::Cancel(_) => "watch cancel",
                WatchStep::Progress => "watch progress",
                WatchStep::Compare => "watch compare",
                WatchStep::Close => "watch close",
            },
        }
    }

    /// Whether the member that carries it out must have applied everything.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Call(call) => call.is_local(),
            Self::Watch { .. } => true,
        }
    }

    /// The same step in a run in which revisions are other ones.
    pub fn translated(&self, moved: &Moved) -> Self {
        let mut step = self.clone();
        let mut of = |revision: &mut i64| *revision = moved.translate(*revision);
        match &mut step {
            Self::Call(call) => call.revisions(&mut of),
            Self::Watch {
                what: WatchStep::Create(create),
                ..
            } => of(&mut create.start_revision),
            Self::Watch { .. } => {}
        }
        step
    }
}
