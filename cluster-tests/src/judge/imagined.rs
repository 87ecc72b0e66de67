//! A perfect store of one member, for the judges' own tests: it answers every call rightly and notes
//! what it did as a recording. What is wrong is put into the recording by hand.

use crate::history::call::{Act, Answer, Call, Done, Found, Pair, Range, Txn};
use crate::history::operation::{Header, Operation, Outcome};
use crate::history::recording::{Final, Recording};
use crate::history::watch::{Event, Kind, Tidings, Told, WatchRequest, WatchStream};
use crate::judge::case::Case;
use crate::judge::finding::{Finding, Verdict};
use crate::judge::log::state::{View, holds};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Imagined {
    pub recording: Recording,
    state: BTreeMap<String, Pair>,
    /// States by revision, for reads of the past.
    past: BTreeMap<i64, BTreeMap<String, Pair>>,
    pub revision: i64,
    /// Microseconds; every call takes ten and begins when the one before is over.
    pub now: u64,
    pub keeps_past: bool,
}

impl Imagined {
    /// With a watcher over everything, by which nothing is hidden.
    pub fn new() -> Self {
        let mut imagined = Self {
            revision: 1,
            now: 1000,
            keeps_past: true,
            ..Self::default()
        };
        imagined.watch(WatchRequest {
            range: Range::all(),
            start_revision: 1,
            prev_kv: true,
            ..WatchRequest::default()
        });
        imagined.past.insert(1, BTreeMap::new());
        imagined
    }

    /// Opens a stream; it is told everything from now on that it asked for.
    pub fn watch(&mut self, request: WatchRequest) -> usize {
        self.recording.watches.push(WatchStream {
            watcher: format!("watch.{}", self.recording.watches.len()),
            workload: "watch".into(),
            node: 1,
            opened: self.now,
            request,
            told: vec![Told {
                at: self.now,
                revision: self.revision,
                what: Tidings::Created,
            }],
            ended: None,
        });
        self.recording.watches.len() - 1
    }

    pub fn put(&mut self, client: &str, key: &str, value: &str) -> usize {
        self.call(client, Call::Txn(Txn::put(key, value)))
    }

    pub fn get(&mut self, client: &str, key: &str) -> usize {
        self.call(client, Call::Range(Range::one(key)))
    }

    pub fn delete(&mut self, client: &str, key: &str) -> usize {
        self.call(client, Call::Txn(Txn::delete(Range::one(key))))
    }

    /// 0: the key is not there.
    pub fn revision_of(&self, key: &str) -> i64 {
        self.state.get(key).map_or(0, |pair| pair.mod_revision)
    }

    /// Done at once and answered rightly; its number in the recording.
    pub fn call(&mut self, client: &str, call: Call) -> usize {
        let answer = self.answer(&call);
        let header = Header {
            revision: self.revision,
            term: 2,
            member: 1,
        };
        let workload = client.split('.').next().unwrap_or_default().to_owned();
        self.recording.operations.push(Operation {
            client: client.to_owned(),
            workload,
            node: 1,
            invoked: self.now,
            completed: self.now + 10,
            call,
            outcome: Outcome::Ok { header, answer },
        });
        self.now += 20;
        self.recording.operations.len() - 1
    }

    /// Done, or not, without an answer.
    pub fn unknown(&mut self, client: &str, call: Call, done: bool) -> usize {
        let number = if done {
            self.call(client, call)
        } else {
            let (state, revision) = (self.state.clone(), self.revision);
            let told: Vec<usize> = self
                .recording
                .watches
                .iter()
                .map(|w| w.told.len())
                .collect();
            let number = self.call(client, call);
            for (stream, told) in self.recording.watches.iter_mut().zip(told) {
                stream.told.truncate(told);
            }
            self.past.retain(|at, _| *at <= revision);
            (self.state, self.revision) = (state, revision);
            number
        };
        self.recording.operations[number].outcome = Outcome::Unknown("timeout".into());
        number
    }

    pub fn refused(&mut self, client: &str, call: Call, why: &str) -> usize {
        let number = self.unknown(client, call, false);
        self.recording.operations[number].outcome = Outcome::Refused(why.into());
        number
    }

    fn answer(&mut self, call: &Call) -> Answer {
        match call {
            Call::Range(range) => Answer::Range(self.found(range)),
            Call::Txn(txn) => self.txn(txn),
            Call::Compact { .. } => Answer::Compacted,
            Call::Grant { id, ttl } => Answer::Lease { id: *id, ttl: *ttl },
            Call::KeepAlive { id } => Answer::Lease { id: *id, ttl: 10 },
            Call::Revoke { id } => {
                self.expire(*id);
                Answer::Revoked
            }
        }
    }

    fn found(&self, range: &Range) -> Found {
        let state = match range.revision {
            0 => &self.state,
            at => self.past.range(..=at).next_back().unwrap().1,
        };
        let pairs = state.values().filter(|pair| range.contains(&pair.key));
        let mut kvs: Vec<Pair> = pairs.cloned().collect();
        let count = i64::try_from(kvs.len()).unwrap();
        let limit = usize::try_from(range.limit).unwrap();
        let more = limit != 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        Found { kvs, more, count }
    }

    fn txn(&mut self, txn: &Txn) -> Answer {
        let succeeded = txn.compares.iter().all(|compare| {
            let pair = self.state.get(&compare.key);
            holds(compare, pair.map(view).as_ref())
        });
        let acts = if succeeded { &txn.then } else { &txn.otherwise };
        let at = self.revision + 1;
        let mut events = Vec::new();
        let done = acts.iter().map(|act| self.act(act, at, &mut events));
        let done = done.collect();
        self.commit(&events);
        Answer::Txn { succeeded, done }
    }

    fn act(&mut self, act: &Act, at: i64, events: &mut Vec<Event>) -> Done {
        match act {
            Act::Get(range) => Done::Get(self.found(range)),
            Act::Put { key, value, lease } => {
                let previous = self.state.get(key).cloned();
                let pair = Pair {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: previous
                        .as_ref()
                        .map_or(at, |before| before.create_revision),
                    mod_revision: at,
                    version: previous.as_ref().map_or(0, |before| before.version) + 1,
                    lease: *lease,
                };
                self.state.insert(key.clone(), pair.clone());
                events.push(Event {
                    kind: Kind::Put,
                    kv: pair,
                    previous: previous.clone(),
                });
                Done::Put { previous }
            }
            Act::Delete(range) => {
                let gone = self.state.values().filter(|pair| range.contains(&pair.key));
                let previous: Vec<Pair> = gone.cloned().collect();
                for pair in &previous {
                    self.remove(pair, at, events);
                }
                Done::Deleted { previous }
            }
        }
    }

    fn remove(&mut self, pair: &Pair, at: i64, events: &mut Vec<Event>) {
        self.state.remove(&pair.key);
        let kv = Pair {
            key: pair.key.clone(),
            mod_revision: at,
            ..Pair::default()
        };
        events.push(Event {
            kind: Kind::Delete,
            kv,
            previous: Some(pair.clone()),
        });
    }

    /// The lease ends, and with it its keys.
    pub fn expire(&mut self, lease: i64) {
        let at = self.revision + 1;
        let of = |pair: &&Pair| pair.lease == lease;
        let gone: Vec<Pair> = self.state.values().filter(of).cloned().collect();
        let mut events = Vec::new();
        for pair in &gone {
            self.remove(pair, at, &mut events);
        }
        self.commit(&events);
    }

    fn commit(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.revision += 1;
        if self.keeps_past {
            self.past.insert(self.revision, self.state.clone());
        }
        let (at, revision) = (self.now + 5, self.revision);
        for stream in &mut self.recording.watches {
            let request = &stream.request;
            let wanted = |event: &&Event| {
                let filtered = match event.kind {
                    Kind::Put => request.no_put,
                    Kind::Delete => request.no_delete,
                };
                request.range.contains(&event.kv.key) && !filtered
            };
            let mut events: Vec<Event> = events.iter().filter(wanted).cloned().collect();
            if events.is_empty() || stream.ended.is_some() || revision < request.start_revision {
                continue;
            }
            if !request.prev_kv {
                for event in &mut events {
                    event.previous = None;
                }
            }
            let what = Tidings::Events {
                events,
                fragment: false,
            };
            stream.told.push(Told { at, revision, what });
        }
    }

    /// The recording, with the state at the end on three members.
    pub fn end(mut self) -> Recording {
        let state: Vec<Pair> = self.state.values().cloned().collect();
        self.recording.finale = (1..=3)
            .map(|node| Final {
                node,
                revision: self.revision,
                hash: "abc".into(),
                hashed_at: 10,
                state: state.clone(),
                ..Final::default()
            })
            .collect();
        self.recording.about.nodes = 3;
        self.recording.about.election_timeout_ms = 1000;
        self.recording.about.duration = self.now;
        self.recording.about.stopped = self.now;
        self.recording
    }
}

fn view(pair: &Pair) -> View<'_> {
    View {
        key: &pair.key,
        value: &pair.value,
        create_revision: pair.create_revision,
        mod_revision: pair.mod_revision,
        version: pair.version,
        lease: pair.lease,
    }
}

/// The finding of a judge by its name.
pub fn finding(judge: fn(&Case<'_>) -> Vec<Finding>, name: &str, recording: &Recording) -> Finding {
    let findings = judge(&Case::new(recording));
    let mut named = findings.into_iter().filter(|finding| finding.judge == name);
    named.next().unwrap()
}

pub fn verdict(judge: fn(&Case<'_>) -> Vec<Finding>, name: &str, recording: &Recording) -> Verdict {
    finding(judge, name, recording).verdict
}

/// The answer of an operation, to spoil it.
pub fn answer_of(recording: &mut Recording, number: usize) -> &mut Answer {
    match &mut recording.operations[number].outcome {
        Outcome::Ok { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

pub fn header_of(recording: &mut Recording, number: usize) -> &mut Header {
    match &mut recording.operations[number].outcome {
        Outcome::Ok { header, .. } => header,
        other => panic!("{other:?}"),
    }
}

/// The pairs of a read's answer, to spoil them.
pub fn found_in(recording: &mut Recording, number: usize) -> &mut Found {
    match answer_of(recording, number) {
        Answer::Range(found) => found,
        other => panic!("{other:?}"),
    }
}

/// The events of a response, to spoil them.
pub fn events_of(recording: &mut Recording, stream: usize, response: usize) -> &mut Vec<Event> {
    match &mut recording.watches[stream].told[response].what {
        Tidings::Events { events, .. } => events,
        other => panic!("{other:?}"),
    }
}
