//! A consistent look at the state: everything that a view answers is of one published batch.

use super::counting::Counting;
use super::head::Head;
use super::range::{check_revision, range};
use super::state_cursor::Source;
use super::store::Published;
use super::{Error, Refusal};
use crate::storage::View;
use crate::types::{Position, RangeQuery, RangeResult, Revision};
use std::sync::Arc;

/// Cheap to make (a microsecond), borrowed from its store, and blind to later writes.
pub struct ReadView<'a> {
    view: View<'a>,
    published: Arc<Published>,
}

impl<'a> ReadView<'a> {
    pub(super) fn new(view: View<'a>, published: Arc<Published>) -> Self {
        Self { view, published }
    }

    pub fn revision(&self) -> Revision {
        self.published.head.revision
    }

    pub fn applied(&self) -> Option<Position> {
        self.published.head.applied
    }

    /// The last compaction; negative if there was none.
    pub fn compacted(&self) -> Revision {
        self.published.head.compacted
    }

    pub fn head(&self) -> &Head {
        &self.published.head
    }

    pub(super) fn published(&self) -> &Published {
        &self.published
    }

    pub(super) fn rows(&self) -> &View<'a> {
        &self.view
    }

    pub fn range(&self, query: &RangeQuery) -> Result<Result<RangeResult, Refusal>, Error> {
        if let Err(refusal) = check_revision(&self.published.head, query.revision) {
            return Ok(Err(refusal));
        }
        range(&self.counting(), query).map(Ok)
    }

    pub fn source(&self) -> Source<'_> {
        Source {
            view: &self.view,
            overlay: None,
            filter: None,
        }
    }

    fn counting(&self) -> Counting<'_> {
        Counting {
            source: self.source(),
            index: &self.published.index,
            revision: self.published.head.revision,
        }
    }
}
