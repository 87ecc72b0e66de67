//! Those who are behind: for whom to read, and what becomes of what was read.

use super::Registry;
use crate::watch::catch_up::{Caught, Plan, Planned};
use crate::watch::queue::{Notice, count};
use std::sync::Arc;

impl Registry {
    /// Chooses for whom the stream reads next. Those near enough become synced at once: what the plan
    /// reads must then be told before anything else of the stream.
    pub(super) fn plan(&mut self, stream: u64) -> Option<Plan> {
        let queue = self.streams.get(&stream)?;
        let (mut near, mut far, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for &serial in &queue.catching_up {
            let watcher = self.watchers.get(&serial);
            let Some(watcher) = watcher.filter(|it| it.queued == 0) else {
                continue;
            };
            let group = self.groups.get(&watcher.group)?;
            let planned = Planned {
                serial,
                id: watcher.id,
                interest: Arc::clone(&group.interest),
                with_previous: watcher.with_previous,
                next: watcher.next,
            };
            if watcher.next > self.published {
                waiting.push(planned);
            } else if watcher.next + self.limits.join_revisions > self.published {
                near.push(planned);
            } else {
                far.push(planned);
            }
        }
        // Who waits for what is still to come has nothing to read.
        for planned in waiting {
            self.sync(planned.serial, planned.next);
        }
        let queue = self.streams.get_mut(&stream)?;
        if !far.is_empty() && (near.is_empty() || queue.far_is_next) {
            queue.far_is_next = false;
            return Plan::new(far, None, self.limits);
        }
        queue.far_is_next = true;
        let until = self.published;
        for planned in &near {
            self.sync(planned.serial, until + 1);
        }
        Plan::new(near, Some(until), self.limits)
    }

    /// Takes note of what a plan found. Answers what to tell, and what is still to be read first.
    pub(in crate::watch) fn caught_up(
        &mut self,
        plan: Plan,
        caught: Caught,
    ) -> (Vec<Notice>, Option<Plan>) {
        let mut notices = Vec::with_capacity(caught.found.len() + caught.lost.len());
        for (serial, notice) in caught.found {
            // It may have been cancelled meanwhile.
            if self.watchers.contains_key(&serial) {
                self.events_sent += notice.events().map_or(0, |events| count(events));
                notices.push(notice);
            }
        }
        for serial in caught.lost {
            if let Some(watcher) = self.watchers.get(&serial) {
                notices.push(Notice::Compacted {
                    id: watcher.id,
                    revision: caught.compacted,
                });
                self.remove(serial);
            }
        }
        let Some(until) = plan.until else {
            for planned in &plan.watchers {
                if let Some(watcher) = self.watchers.get_mut(&planned.serial) {
                    watcher.next = watcher.next.max(caught.next);
                }
            }
            return (notices, None);
        };
        if caught.next > until {
            return (notices, None);
        }
        let mut rest = plan.watchers;
        rest.retain(|planned| self.watchers.contains_key(&planned.serial));
        for planned in &mut rest {
            planned.next = planned.next.max(caught.next);
        }
        (notices, Plan::new(rest, Some(until), self.limits))
    }
}
