//! What one side of a watch stream has said so far, watcher by watcher.

use quorate::proto::etcdserverpb::WatchResponse;
use quorate::proto::mvccpb::Event;
use std::collections::BTreeMap;

/// One thing that a watcher heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `revision`: the store's.
    Created {
        revision: i64,
        canceled: bool,
        reason: String,
    },
    /// All events of one revision, in order.
    Events { revision: i64, events: Vec<Event> },
    /// `revision`: in the header.
    Canceled {
        revision: i64,
        compact_revision: i64,
        reason: String,
    },
}

/// Everything that was said, sorted.
#[derive(Debug, Default)]
pub struct Heard {
    watchers: BTreeMap<i64, Watcher>,
    /// The ids in the answers to creations; -1 for a refusal.
    pub created: Vec<i64>,
    /// Revisions of answers to progress requests.
    pub progress: Vec<i64>,
    /// How the stream ended, if it has.
    pub ended: Option<String>,
    /// Promises that were broken, in words.
    pub broken: Vec<String>,
}

#[derive(Debug, Default)]
struct Watcher {
    items: Vec<Item>,
    created: bool,
    /// Of the last event, whether or not it was taken.
    last_revision: i64,
    /// The last message was one of several.
    in_fragments: bool,
}

impl Heard {
    /// Takes a message apart.
    pub fn hear(&mut self, message: WatchResponse) {
        let header = message.header.as_ref().map_or(0, |header| header.revision);
        let id = message.watch_id;
        if message.created {
            self.created.push(id);
        }
        if id == -1 && !message.created && !message.canceled {
            self.note_progress(header);
            return;
        }
        let watcher = self.watchers.entry(id).or_default();
        if message.created {
            // An id may be used again once its watcher has ended.
            watcher.created = true;
            watcher.last_revision = 0;
            watcher.items.push(Item::Created {
                revision: header,
                canceled: message.canceled,
                reason: message.cancel_reason.clone(),
            });
        } else if !watcher.created {
            let events = message.events.len();
            let canceled = message.canceled;
            let what =
                format!("watcher {id}, which is none, hears {events} events; canceled: {canceled}");
            self.broken.push(what);
        }
        if let Err(broken) = watcher.hear_events(message.events, header) {
            self.broken.push(format!("watcher {id}: {broken}"));
        }
        watcher.in_fragments = message.fragment;
        if message.canceled && !message.created {
            watcher.created = false;
            watcher.items.push(Item::Canceled {
                revision: header,
                compact_revision: message.compact_revision,
                reason: message.cancel_reason,
            });
        }
    }

    /// Nothing at or below the revision of a progress message may come after it.
    fn note_progress(&mut self, revision: i64) {
        self.progress.push(revision);
        for watcher in self.watchers.values_mut() {
            watcher.last_revision = watcher.last_revision.max(revision);
        }
    }

    /// The newest revision whose events `id` has heard, taken or not.
    pub fn last_revision(&self, id: i64) -> i64 {
        self.watchers
            .get(&id)
            .map_or(0, |watcher| watcher.last_revision)
    }

    /// Whether `id` has been told that it ended, and that was not taken yet.
    pub fn is_canceled(&self, id: i64) -> bool {
        self.watchers.get(&id).is_some_and(|watcher| {
            let mut items = watcher.items.iter();
            items.any(|item| matches!(item, Item::Canceled { .. }))
        })
    }

    /// What `id` has heard since it was last asked.
    pub fn take(&mut self, id: i64) -> Vec<Item> {
        let watcher = self.watchers.get_mut(&id);
        watcher
            .map(|watcher| std::mem::take(&mut watcher.items))
            .unwrap_or_default()
    }

    /// Ids of all that have heard something that was not taken.
    pub fn unread(&self) -> Vec<i64> {
        let unread = self
            .watchers
            .iter()
            .filter(|(_, watcher)| !watcher.items.is_empty());
        unread.map(|(id, _)| *id).collect()
    }
}

impl Watcher {
    fn hear_events(&mut self, events: Vec<Event>, header: i64) -> Result<(), String> {
        let mut may_continue = self.in_fragments;
        let mut outcome = Ok(());
        for event in events {
            let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            if revision > header {
                outcome = Err(format!("an event of {revision} under a header of {header}"));
            }
            if revision < self.last_revision {
                let last = self.last_revision;
                outcome = Err(format!("an event of {revision} after {last} was told"));
            }
            match self.items.last_mut() {
                Some(Item::Events {
                    revision: open,
                    events,
                }) if *open == revision && may_continue => events.push(event),
                _ => {
                    if revision == self.last_revision {
                        outcome = Err(format!("revision {revision} in two parts, or twice"));
                    }
                    self.items.push(Item::Events {
                        revision,
                        events: vec![event],
                    });
                }
            }
            self.last_revision = self.last_revision.max(revision);
            may_continue = true;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::proto::etcdserverpb::ResponseHeader;
    use quorate::proto::mvccpb::KeyValue;

    fn message(header: i64, revisions: &[i64], fragment: bool) -> WatchResponse {
        let event = |revision: &i64| Event {
            kv: Some(KeyValue {
                mod_revision: *revision,
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        WatchResponse {
            header: Some(ResponseHeader {
                revision: header,
                ..ResponseHeader::default()
            }),
            events: revisions.iter().map(event).collect(),
            fragment,
            ..WatchResponse::default()
        }
    }

    fn hear(messages: &[(i64, &[i64], bool)]) -> Heard {
        let mut heard = Heard::default();
        heard.hear(WatchResponse {
            created: true,
            ..message(1, &[], false)
        });
        for (header, revisions, fragment) in messages {
            heard.hear(message(*header, revisions, *fragment));
        }
        heard
    }

    #[test]
    fn where_messages_are_cut_makes_no_difference() {
        let mut whole = hear(&[(4, &[2, 2, 3, 4], false)]);
        let mut cut = hear(&[(4, &[2, 2, 3], false), (4, &[4], false)]);
        let mut fragments = hear(&[(4, &[2], true), (4, &[2, 3], true), (4, &[4], false)]);
        let expected = whole.take(0);
        assert_eq!(expected.len(), 4);
        assert_eq!(cut.take(0), expected);
        assert_eq!(fragments.take(0), expected);
        for heard in [whole, cut, fragments] {
            assert_eq!(heard.broken, Vec::<String>::new());
        }
    }

    #[test]
    fn a_broken_promise_is_named() {
        for broken in [
            hear(&[(3, &[2], false), (3, &[2, 3], false)]),
            hear(&[(3, &[3], false), (3, &[2], false)]),
            hear(&[(2, &[3], false)]),
        ] {
            assert_eq!(broken.broken.len(), 1, "{broken:?}");
        }
        let mut overtaken = hear(&[]);
        overtaken.hear(WatchResponse {
            watch_id: -1,
            ..message(5, &[], false)
        });
        overtaken.hear(message(6, &[5, 6], false));
        assert_eq!(overtaken.broken.len(), 1, "{overtaken:?}");
        let mut ended = hear(&[]);
        ended.take(0);
        ended.hear(WatchResponse {
            canceled: true,
            ..message(2, &[], false)
        });
        assert_eq!(ended.broken, Vec::<String>::new());
        ended.hear(message(3, &[3], false));
        assert_eq!(ended.broken.len(), 1, "{ended:?}");
    }
}
