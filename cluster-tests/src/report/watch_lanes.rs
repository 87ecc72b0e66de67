//! What watchers were told, by time.

use super::words::shortened;
use crate::history::recording::Recording;
use crate::history::watch::{Event, Kind, Tidings, Told, WatchStream};
use crate::judge::finding::Finding;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Lanes on a page: those with something wrong first, then of every workload those that were told most.
const LANES_MAX: usize = 12;
/// Points of a lane.
const POINTS_MAX: usize = 400;
/// Responses that are drawn before and after one that is wrong.
const NEAR: usize = 8;

#[derive(Clone, Debug, Default, Serialize)]
pub struct WatchLanes {
    pub lanes: Vec<Lane>,
    /// Watchers that there were.
    pub of: usize,
    /// Events that were delivered to all of them.
    pub events: u64,
}

/// A watcher, its streams after each other.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lane {
    pub watcher: String,
    pub workload: String,
    pub streams: Vec<Stream>,
    /// (when, last revision that it was told until then), thinned.
    pub points: Vec<(u64, i64)>,
    pub events: u64,
    pub flaws: Vec<Flaw>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Stream {
    pub node: usize,
    pub opened: u64,
    /// 0: from now on.
    pub start_revision: i64,
    pub ended: Option<u64>,
    /// Why it ended, or what the server said when it cancelled it.
    pub reason: String,
    /// The server's own word, and 0 or the revision that was compacted.
    pub cancelled: Option<i64>,
}

/// Where a judge found something.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Flaw {
    pub at: u64,
    /// The last revision before it, and its own.
    pub from: i64,
    pub to: i64,
    pub judge: String,
    pub title: String,
}

pub fn lanes(recording: &Recording, findings: &[Finding]) -> WatchLanes {
    let mut by_watcher: BTreeMap<&str, Vec<&WatchStream>> = BTreeMap::new();
    for stream in &recording.watches {
        by_watcher.entry(&stream.watcher).or_default().push(stream);
    }
    let mut flaws: BTreeMap<String, Vec<Flaw>> = BTreeMap::new();
    for finding in findings.iter().filter(|f| f.verdict.fails_run()) {
        for violation in &finding.violations {
            let place = violation.watch.and_then(|at| place(recording, at));
            if let Some((watcher, at, from, to)) = place {
                flaws.entry(watcher).or_default().push(Flaw {
                    at,
                    from,
                    to,
                    judge: finding.judge.clone(),
                    title: violation.title.clone(),
                });
            }
        }
    }
    let mut lanes: Vec<Lane> = by_watcher
        .into_iter()
        .map(|(watcher, streams)| {
            let flaws = flaws.remove(watcher).unwrap_or_default();
            lane(watcher, streams, flaws)
        })
        .collect();
    let of = lanes.len();
    let events = lanes.iter().map(|lane| lane.events).sum();
    rank(&mut lanes);
    lanes.truncate(LANES_MAX);
    WatchLanes { lanes, of, events }
}

/// Those with flaws first; then the busiest of every workload, the second of every workload, and on.
fn rank(lanes: &mut Vec<Lane>) {
    lanes.sort_by_key(|lane| Reverse(lane.events));
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    let mut ranked: Vec<(bool, usize, Lane)> = lanes
        .drain(..)
        .map(|lane| {
            let turn = turns.entry(lane.workload.clone()).or_default();
            *turn += 1;
            (lane.flaws.is_empty(), *turn, lane)
        })
        .collect();
    ranked.sort_by_key(|(whole, turn, _)| (*whole, *turn));
    lanes.extend(ranked.into_iter().map(|(.., lane)| lane));
}

fn lane(watcher: &str, mut streams: Vec<&WatchStream>, flaws: Vec<Flaw>) -> Lane {
    streams.sort_by_key(|stream| stream.opened);
    let mut points: Vec<(u64, i64)> = Vec::new();
    let mut events = 0;
    for stream in &streams {
        for told in &stream.told {
            let Some((_, last, count)) = revisions(told) else {
                continue;
            };
            events += count;
            points.push((told.at, last));
        }
    }
    // What is next to a flaw is drawn, whatever the stride.
    let near: BTreeSet<u64> = flaws.iter().map(|flaw| flaw.at).collect();
    let stride = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.len().saturating_sub(1);
    let points = points
        .iter()
        .enumerate()
        .filter(|(at, (when, _))| {
            let next = points
                .get(at + 1)
                .is_some_and(|next| near.contains(&next.0));
            at % stride == 0 || *at == last || next || near.contains(when)
        })
        .map(|(_, point)| *point)
        .collect();
    Lane {
        watcher: watcher.to_owned(),
        workload: streams
            .first()
            .map_or(String::new(), |first| first.workload.clone()),
        streams: streams.iter().map(|stream| described(stream)).collect(),
        points,
        events,
        flaws,
    }
}

fn described(stream: &WatchStream) -> Stream {
    let cancelled = stream.told.iter().find_map(|told| match &told.what {
        Tidings::Canceled {
            compact_revision,
            reason,
        } => Some((*compact_revision, reason.clone())),
        Tidings::Created | Tidings::Events { .. } | Tidings::Progress => None,
    });
    let ended = stream.ended.as_ref();
    let reason = match (&cancelled, ended) {
        (Some((_, reason)), _) if !reason.is_empty() => reason.clone(),
        (_, Some((_, reason))) => reason.clone(),
        _ => String::new(),
    };
    Stream {
        node: stream.node,
        opened: stream.opened,
        start_revision: stream.request.start_revision,
        ended: ended.map(|(at, _)| *at),
        reason,
        cancelled: cancelled.map(|(revision, _)| revision),
    }
}

/// (first, last revision, how many) of the events of a response.
fn revisions(told: &Told) -> Option<(i64, i64, u64)> {
    match &told.what {
        Tidings::Events { events, .. } => {
            let first = events.first()?.kv.mod_revision;
            let last = events.last()?.kv.mod_revision;
            Some((first, last, events.len() as u64))
        }
        Tidings::Created | Tidings::Progress | Tidings::Canceled { .. } => None,
    }
}

/// A response near one that is wrong.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Response {
    /// Its number on its stream, from 0.
    pub number: usize,
    pub at: u64,
    pub first: i64,
    pub last: i64,
    pub events: usize,
    pub wrong: bool,
    pub text: String,
}

/// The responses around one by (stream, response) number.
pub fn near(recording: &Recording, (stream, response): (usize, usize)) -> Vec<Response> {
    let Some(stream) = recording.watches.get(stream) else {
        return Vec::new();
    };
    let from = response.saturating_sub(NEAR);
    let told = stream.told.iter().enumerate().skip(from).take(2 * NEAR + 1);
    told.map(|(number, told)| {
        let (first, last, _) = revisions(told).unwrap_or((told.revision, told.revision, 0));
        let (events, text) = match &told.what {
            Tidings::Created => (0, format!("created at revision {}", told.revision)),
            Tidings::Progress => (
                0,
                format!("progress: nothing to come up to {}", told.revision),
            ),
            Tidings::Canceled { reason, .. } => (0, format!("cancelled: {reason}")),
            Tidings::Events { events, .. } => {
                let words: Vec<String> = events.iter().take(4).map(event_words).collect();
                (events.len(), words.join(", "))
            }
        };
        Response {
            number,
            at: told.at,
            first,
            last,
            events,
            wrong: number == response,
            text: shortened(&text),
        }
    })
    .collect()
}

fn event_words(event: &Event) -> String {
    match event.kind {
        Kind::Put => format!("put {}", event.kv),
        Kind::Delete => format!("delete {} @{}", event.kv.key, event.kv.mod_revision),
    }
}

/// (watcher, when, last revision before, its own) of a response by (stream, response) number.
pub fn place(
    recording: &Recording,
    (stream, response): (usize, usize),
) -> Option<(String, u64, i64, i64)> {
    let stream = recording.watches.get(stream)?;
    let told = stream.told.get(response)?;
    let earlier = stream.told.iter().take(response).rev();
    let from = earlier
        .filter_map(revisions)
        .map(|(_, last, _)| last)
        .next();
    let to = revisions(told).map_or(told.revision, |(first, ..)| first);
    let from = from.unwrap_or(match stream.request.start_revision {
        0 => to,
        start => start - 1,
    });
    Some((stream.watcher.clone(), told.at, from, to))
}
