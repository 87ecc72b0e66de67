//! Nodes by time: roles, terms, positions, the weather.

use super::figures::end_of;
use crate::cluster::weather::{Cut, Quality};
use crate::history::recording::Recording;
use crate::history::timeline::{Life, Sample, WeatherChange};
use crate::schedule::fault::in_words;
use serde::Serialize;

/// Positions of one node that are drawn.
const POSITIONS_MAX: usize = 500;
/// Changes of the weather that are kept: a link that flaps ten times a second for an hour has more.
const CHANGES_MAX: usize = 3000;
/// A member that is not heard of for so many of its usual intervals is drawn as silent from then on.
const INTERVALS_SILENT: u64 = 5;
const SILENT_MIN_US: u64 = 500_000;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Strip {
    pub nodes: Vec<Node>,
    pub weather: Vec<Change>,
    pub qualities: Vec<Way>,
    /// Changes of the weather that there were, where not all are here.
    pub weather_of: Option<usize>,
}

/// From when on; ways that are not clear: from, to, number of the quality.
type Change = (u64, Vec<(usize, usize, usize)>);

#[derive(Clone, Debug, Default, Serialize)]
pub struct Node {
    pub node: usize,
    pub spans: Vec<Span>,
    /// (when, last log, committed, applied, revision), thinned.
    pub positions: Vec<(u64, u64, u64, u64, i64)>,
    /// (when, how many had been installed).
    pub snapshots: Vec<(u64, u64)>,
    /// When it was seen started anew.
    pub boots: Vec<u64>,
    /// (from, to, percent of a processor).
    pub slowed: Vec<(u64, u64, u32)>,
}

/// A stretch of time in one role and term; of one that is down, paused or gone: term 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    pub from: u64,
    pub to: u64,
    /// As a sample says it; or `down`, `paused`, `power-cut`, `gone`.
    pub role: String,
    pub term: u64,
}

/// How a link looks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Way {
    /// Nothing passes.
    pub cut: bool,
    pub text: String,
}

pub fn strip(recording: &Recording) -> Strip {
    let end = end_of(recording);
    let last = recording.samples.iter().map(|sample| sample.node);
    let lives = recording.lives.iter().map(|change| change.node);
    let nodes = last.chain(lives).max().unwrap_or(0);
    let nodes = nodes.max(recording.about.nodes);
    let mut strip = Strip {
        nodes: (1..=nodes)
            .map(|node| of_node(recording, node, end))
            .collect(),
        ..Strip::default()
    };
    weather(&recording.weather, &mut strip);
    strip
}

fn of_node(recording: &Recording, node: usize, end: u64) -> Node {
    let mut samples: Vec<&Sample> = recording
        .samples
        .iter()
        .filter(|sample| sample.node == node)
        .collect();
    samples.sort_by_key(|sample| sample.at);
    let lives = lives(recording, node, end);
    let mut spans: Vec<Span> = Vec::new();
    for (from, to, life) in &lives {
        if let Some(role) = word(*life) {
            spans.push(Span {
                from: *from,
                to: *to,
                role: role.to_owned(),
                term: 0,
            });
        }
    }
    let absent: Vec<(u64, u64)> = spans.iter().map(|span| (span.from, span.to)).collect();
    for span in spoken(&samples, end) {
        spans.extend(without(&span, &absent));
    }
    spans.sort_by_key(|span| span.from);
    let mut described = Node {
        node,
        spans,
        positions: thinned(&samples),
        ..Node::default()
    };
    for pair in samples.windows(2) {
        let [before, after] = pair else { continue };
        if after.boot > before.boot {
            described.boots.push(after.at);
        } else if after.snapshots_installed > before.snapshots_installed {
            described
                .snapshots
                .push((after.at, after.snapshots_installed));
        }
    }
    for (from, to, life) in lives {
        if let Life::Slowed(percent) = life {
            described.slowed.push((from, to, percent));
        }
    }
    described
}

/// What one cannot be and be in a role.
fn word(life: Life) -> Option<&'static str> {
    match life {
        Life::Up | Life::Slowed(_) => None,
        Life::Paused => Some("paused"),
        Life::Down => Some("down"),
        Life::PowerCut => Some("power-cut"),
        Life::Gone => Some("gone"),
    }
}

/// (from, to, how), of a node, from its first change on.
fn lives(recording: &Recording, node: usize, end: u64) -> Vec<(u64, u64, Life)> {
    let mut changes: Vec<(u64, Life)> = recording
        .lives
        .iter()
        .filter(|change| change.node == node)
        .map(|change| (change.at, change.life))
        .collect();
    changes.sort_by_key(|(at, _)| *at);
    let ends: Vec<u64> = changes.iter().skip(1).map(|(at, _)| *at).collect();
    let ends = ends.into_iter().chain([end]);
    changes
        .into_iter()
        .zip(ends)
        .map(|((from, life), to)| (from, to, life))
        .filter(|(from, to, _)| from < to)
        .collect()
}

/// Stretches of samples in one role and term, with holes where the member was not heard of.
fn spoken(samples: &[&Sample], end: u64) -> Vec<Span> {
    let mut gaps: Vec<u64> = samples
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    gaps.sort_unstable();
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(SILENT_MIN_US);
    let silent = (usual * INTERVALS_SILENT).max(SILENT_MIN_US);
    let mut spans: Vec<Span> = Vec::new();
    for (at, sample) in samples.iter().enumerate() {
        let next = samples.get(at + 1).map_or(end, |next| next.at);
        let to = if next.saturating_sub(sample.at) > silent {
            sample.at + usual
        } else {
            next
        };
        match spans.last_mut() {
            Some(last)
                if last.to == sample.at && last.role == sample.role && last.term == sample.term =>
            {
                last.to = to;
            }
            _ => spans.push(Span {
                from: sample.at,
                to,
                role: sample.role.clone(),
                term: sample.term,
            }),
        }
    }
    spans
}

/// What is left of a span outside of `holes`, which are sorted and apart.
fn without(span: &Span, holes: &[(u64, u64)]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut from = span.from;
    for (start, end) in holes {
        if *end <= from || *start >= span.to {
            continue;
        }
        if *start > from {
            left.push(Span {
                from,
                to: *start,
                ..span.clone()
            });
        }
        from = *end;
    }
    if from < span.to {
        left.push(Span {
            from,
            ..span.clone()
        });
    }
    left
}

fn thinned(samples: &[&Sample]) -> Vec<(u64, u64, u64, u64, i64)> {
    let stride = samples.len().div_ceil(POSITIONS_MAX).max(1);
    let last = samples.len().saturating_sub(1);
    samples
        .iter()
        .enumerate()
        .filter(|(at, _)| at % stride == 0 || *at == last)
        .map(|(_, s)| (s.at, s.last_log, s.committed, s.applied, s.revision))
        .collect()
}

fn weather(changes: &[WeatherChange], strip: &mut Strip) {
    let mut kinds: Vec<Quality> = Vec::new();
    let stride = changes.len().div_ceil(CHANGES_MAX).max(1);
    if stride > 1 {
        strip.weather_of = Some(changes.len());
    }
    let last = changes.len().saturating_sub(1);
    for (at, change) in changes.iter().enumerate() {
        // The last one heals; without it all links would stay cut to the end of the page.
        if at % stride != 0 && at != last {
            continue;
        }
        let mut ways = Vec::new();
        for (from, to, quality) in &change.ways {
            let known = kinds.iter().position(|kind| kind == quality);
            let number = known.unwrap_or_else(|| {
                kinds.push(quality.clone());
                kinds.len() - 1
            });
            ways.push((*from, *to, number));
        }
        strip.weather.push((change.at, ways));
    }
    strip.qualities = kinds
        .iter()
        .map(|quality| Way {
            cut: matches!(quality.cut, Some(Cut::Drop | Cut::Reset)),
            text: in_words(quality),
        })
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span {
            from,
            to,
            role: "leader".into(),
            term: 2,
        }
    }

    #[test]
    fn a_role_has_holes_where_its_node_was_down() {
        let holes = [(2, 4), (6, 12)];
        assert_eq!(without(&span(0, 10), &holes), [span(0, 2), span(4, 6)]);
        assert_eq!(without(&span(3, 5), &holes), [span(4, 5)]);
        assert_eq!(without(&span(7, 11), &holes), []);
    }

    #[test]
    fn a_member_that_is_not_heard_of_is_in_no_role() {
        let sample = |at: u64, term: u64| Sample {
            at,
            term,
            role: "follower".into(),
            ..Sample::default()
        };
        let samples: Vec<Sample> = [0, 1, 2, 30, 31]
            .map(|tenth| sample(tenth * 100_000, 1 + u64::from(tenth > 30)))
            .into();
        let spans = spoken(&samples.iter().collect::<Vec<_>>(), 3_200_000);
        let edges: Vec<(u64, u64, u64)> = spans.iter().map(|s| (s.from, s.to, s.term)).collect();
        assert_eq!(
            edges,
            [
                (0, 300_000, 1),
                (3_000_000, 3_100_000, 1),
                (3_100_000, 3_200_000, 2)
            ]
        );
    }
}
