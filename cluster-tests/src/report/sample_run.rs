//! A run made by hand, the same each time: three members, a minute, five faults and one that was not
//! done. With `broken`, a stale read and a watcher with a gap.

use super::sample_violations::plant;
use crate::cluster::weather::{Cut, Quality};
use crate::history::call::{
    Answer, Call, Compare, Done, Found, Pair, Range, Relation, Target, Txn,
};
use crate::history::operation::{Header, Operation, Outcome};
use crate::history::recording::{About, Recording};
use crate::history::timeline::{Life, LifeChange, Sample, WeatherChange, Window};
use crate::history::watch::{Event, Kind, Tidings, Told, WatchRequest, WatchStream};
use crate::schedule::fault::{Change, Fault, Scope, Shape, Who};
use crate::schedule::{Schedule, Step};

pub(super) const S: u64 = 1_000_000;
/// (from, node, term) of every leader.
const LEADERS: [(u64, usize, u64); 5] = [
    (300_000, 1, 1),
    (9_240_000, 2, 2),
    (18_930_000, 3, 3),
    (27_780_000, 1, 4),
    (46_310_000, 2, 5),
];
/// When nobody could serve.
const OUTAGES: [(u64, u64); 4] = [
    (8_000_000, 9_300_000),
    (18_000_000, 19_000_000),
    (26_000_000, 27_900_000),
    (45_000_000, 46_400_000),
];

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub(super) fn recording(broken: bool) -> Recording {
    let windows = windows();
    let mut recording = Recording {
        about: about(broken),
        schedule: schedule(&windows),
        weather: weather(),
        lives: lives(),
        samples: samples(),
        operations: operations(),
        windows,
        ..Recording::default()
    };
    recording.watches = watches(&recording, broken);
    if broken {
        plant(&mut recording);
    }
    recording
}

fn about(broken: bool) -> About {
    About {
        cluster: "quorate".into(),
        server: "quorate 0.1.0".into(),
        laboratory: "cluster-tests 0.1.0".into(),
        nodes: 3,
        seed: 1789,
        workloads: ["register", "bank", "watch"].map(String::from).into(),
        nemeses: [
            "isolate-leader",
            "kill-follower",
            "leader-deaf",
            "slow",
            "pause-leader",
            "replace",
        ]
        .map(String::from)
        .into(),
        command: "cargo run --release -p cluster-tests -- run --nodes 3 --time 60s --seed 1789 \
                  --workload register,bank,watch"
            .into(),
        started: "2026-11-26T04:00:00Z".into(),
        duration: 62 * S,
        healed: 50 * S,
        stopped: 60 * S,
        election_timeout_ms: 1000,
        carrier: "proxies".into(),
        canary: if broken { "stale-read" } else { "" }.into(),
        cannot: vec!["An MTU black hole: the userland proxies see bytes, not packets.".into()],
        ..About::default()
    }
}

fn window(
    step: usize,
    nemesis: &str,
    fault: Fault,
    text: &str,
    (began, ended): (u64, u64),
) -> Window {
    Window {
        step,
        nemesis: nemesis.into(),
        fault,
        text: text.into(),
        began,
        ended,
        leader: Some(1),
        struck: vec![1],
        skipped: None,
    }
}

fn windows() -> Vec<Window> {
    let cut = |shape| Fault::Partition {
        shape,
        how: Cut::Drop,
    };
    let mut windows = vec![
        window(
            0,
            "isolate-leader",
            cut(Shape::IsolateLeader),
            "n1 (leader) is cut from everybody",
            (8 * S, 14 * S),
        ),
        window(
            1,
            "kill-leader",
            Fault::Kill { who: Who::Leader },
            "n2 (leader) is killed",
            (18 * S, 22 * S),
        ),
        window(
            2,
            "leader-deaf",
            cut(Shape::LeaderDeaf),
            "n3 (leader) hears nobody, all hear it",
            (26 * S, 31 * S),
        ),
        window(
            3,
            "slow",
            Fault::Degrade {
                scope: Scope::All,
                quality: slow(),
            },
            "all links: 20 ms, up to 30 ms more",
            (36 * S, 42 * S),
        ),
        window(
            4,
            "pause-leader",
            Fault::Pause { who: Who::Leader },
            "n1 (leader) stands still",
            (45 * S, 50 * S),
        ),
        window(
            5,
            "replace",
            Fault::Members {
                change: Change::Replace,
            },
            "",
            (50 * S, 50 * S),
        ),
    ];
    for (number, leader) in [1, 2, 3, 1, 1, 2].into_iter().enumerate() {
        windows[number].leader = Some(leader);
        windows[number].struck = vec![leader];
    }
    windows[5].skipped = Some("this cluster's members cannot be changed".into());
    windows
}

fn slow() -> Quality {
    Quality {
        delay_ms: 20,
        jitter_ms: 30,
        ..Quality::default()
    }
}

fn schedule(windows: &[Window]) -> Schedule {
    let steps = windows.iter().map(|window| Step {
        at_ms: window.began / 1000,
        for_ms: (window.ended - window.began) / 1000,
        nemesis: window.nemesis.clone(),
        fault: window.fault.clone(),
    });
    Schedule {
        seed: 1789,
        nodes: 3,
        steps: steps.collect(),
        last_act: None,
        ends_ms: 60_000,
    }
}

fn weather() -> Vec<WeatherChange> {
    let cut = Quality::cut(Cut::Drop);
    let all = |quality: &Quality| {
        let pairs = [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)];
        pairs.map(|(from, to)| (from, to, quality.clone())).into()
    };
    let of = |ways: &[(usize, usize)]| ways.iter().map(|(a, b)| (*a, *b, cut.clone())).collect();
    let change = |at: u64, ways| WeatherChange { at, ways };
    vec![
        change(8 * S, of(&[(1, 2), (2, 1), (1, 3), (3, 1)])),
        change(14 * S, Vec::new()),
        change(26 * S, of(&[(1, 3), (2, 3)])),
        change(31 * S, Vec::new()),
        change(36 * S, all(&slow())),
        change(42 * S, Vec::new()),
    ]
}

fn lives() -> Vec<LifeChange> {
    let change = |at, node, life| LifeChange { at, node, life };
    vec![
        change(18 * S, 2, Life::Down),
        change(22 * S, 2, Life::Up),
        change(45 * S, 1, Life::Paused),
        change(50 * S, 1, Life::Up),
    ]
}

fn served(at: u64) -> bool {
    at > 300_000 && !OUTAGES.iter().any(|(from, to)| (*from..*to).contains(&at))
}

/// Entries agreed on by a moment: about a hundred a second while somebody serves.
fn agreed(at: u64) -> u64 {
    let lost = |(from, to): &(u64, u64)| at.min(*to).saturating_sub(*from);
    let lost: u64 = OUTAGES.iter().map(lost).sum();
    (at - lost.min(at)) / 10_000
}

fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for at in (100_000..60 * S).step_by(100_000) {
        for node in 1..=3usize {
            let down = node == 2 && (18 * S..22_400_000).contains(&at);
            let paused = node == 1 && (45 * S..50 * S).contains(&at);
            if down || paused {
                continue;
            }
            let cut = match node {
                1 => (8 * S..14 * S).contains(&at).then_some(8 * S),
                3 => (26 * S..31 * S).contains(&at).then_some(26 * S),
                _ => None,
            };
            let heard = cut.unwrap_or(at);
            let current = LEADERS.iter().rev().find(|(from, ..)| *from <= heard);
            let (_, leader, term) = current.copied().unwrap_or((0, 0, 0));
            let electing = OUTAGES
                .iter()
                .any(|(_, to)| (to.saturating_sub(250_000)..*to).contains(&at));
            let role = if node == leader {
                "leader"
            } else if electing && node == 2 {
                "candidate"
            } else {
                "follower"
            };
            let applied = agreed(heard);
            samples.push(Sample {
                at: at + node as u64 * 1000,
                node,
                member: node as u64,
                role: role.into(),
                term: term.max(1),
                leader: leader as u64,
                last_log: applied + 2,
                committed: applied,
                applied: applied.saturating_sub(1),
                revision: i64::try_from(applied / 2).unwrap(),
                snapshots_installed: u64::from(node == 2 && at > 23 * S && at < 45 * S),
                boot: u32::from(node == 2 && at > 22 * S),
                ..Sample::default()
            });
        }
    }
    samples
}

pub(super) fn pair(key: &str, value: u64, revision: i64) -> Pair {
    Pair {
        key: key.into(),
        value: value.to_string(),
        create_revision: 2,
        mod_revision: revision,
        version: 1 + revision / 7,
        lease: 0,
    }
}

fn operations() -> Vec<Operation> {
    let mut dice = Dice(7);
    let mut operations = Vec::new();
    for (workload, clients) in [("register", 4), ("bank", 3)] {
        for client in 0..clients {
            let mut at = 350_000 + dice.below(20_000);
            while at < 59_900_000 {
                let slow = if (36 * S..42 * S).contains(&at) {
                    60_000
                } else {
                    0
                };
                let mut took = 1500
                    + dice.below(4000)
                    + dice.below(60) * dice.below(60)
                    + slow
                    + dice.below(slow + 1);
                let key = format!("{workload}/{}", dice.below(5));
                let reads = dice.below(10) < 4;
                let value = dice.below(100);
                let call = if reads {
                    Call::Range(Range::one(key.clone()))
                } else if workload == "bank" {
                    Call::Txn(Txn {
                        compares: vec![Compare {
                            key: key.clone(),
                            relation: Relation::Equal,
                            target: Target::Value(value.to_string()),
                        }],
                        ..Txn::put(key.clone(), (value + 3).to_string())
                    })
                } else {
                    Call::Txn(Txn::put(key.clone(), value.to_string()))
                };
                let revision = i64::try_from(agreed(at + took) / 2).unwrap();
                let outcome = if served(at + took) {
                    let answer = if reads {
                        let kvs = vec![pair(&key, value, revision - 3)];
                        Answer::Range(Found {
                            kvs,
                            more: false,
                            count: 1,
                        })
                    } else {
                        let previous = Some(pair(&key, value, revision - 5));
                        Answer::Txn {
                            succeeded: true,
                            done: vec![Done::Put { previous }],
                        }
                    };
                    let header = Header {
                        revision,
                        term: 1,
                        member: 1,
                    };
                    Outcome::Ok { header, answer }
                } else if dice.below(3) == 0 {
                    took = 2000;
                    Outcome::Refused("etcdserver: no leader".into())
                } else {
                    took = 600_000 + dice.below(400_000);
                    Outcome::Unknown("deadline exceeded".into())
                };
                operations.push(Operation {
                    client: format!("{workload}.{client}"),
                    workload: workload.into(),
                    node: 1 + client % 3,
                    invoked: at,
                    completed: at + took,
                    call,
                    outcome,
                });
                at += took + 20_000 + dice.below(40_000);
            }
        }
    }
    operations.sort_by_key(|operation| operation.completed);
    operations
}

fn watches(recording: &Recording, broken: bool) -> Vec<WatchStream> {
    let mut watches = Vec::new();
    for node in 1..=3usize {
        let breaks: &[u64] = match node {
            1 => &[14_200_000, 50_100_000],
            2 => &[18_000_000],
            _ => &[],
        };
        let starts = [400_000]
            .into_iter()
            .chain(breaks.iter().map(|at| at + 300_000));
        let ends = breaks.iter().copied().map(Some).chain([None]);
        let mut next = 1;
        for (opened, ended) in starts.zip(ends) {
            let request = WatchRequest {
                start_revision: next,
                ..WatchRequest::default()
            };
            let mut told = vec![Told {
                at: opened,
                revision: next,
                what: Tidings::Created,
            }];
            for at in (opened..ended.unwrap_or(60 * S)).step_by(120_000) {
                let cut = node == 1 && (8 * S..14 * S).contains(&at);
                let revision = i64::try_from(agreed(at) / 2).unwrap();
                if cut || revision < next {
                    continue;
                }
                // A member that installed a snapshot forgot to tell what was in it.
                if broken && node == 2 && (23 * S..24 * S).contains(&at) {
                    next = revision + 1;
                    continue;
                }
                let event = |revision: i64| Event {
                    kind: Kind::Put,
                    kv: pair("watch/1", revision.unsigned_abs(), revision),
                    previous: None,
                };
                let events = (next..=revision).map(event).collect();
                told.push(Told {
                    at,
                    revision,
                    what: Tidings::Events {
                        events,
                        fragment: false,
                    },
                });
                next = revision + 1;
            }
            if node == 1 && ended.is_some_and(|ended| ended > 40 * S) {
                let reason = "etcdserver: mvcc: required revision has been compacted".into();
                let what = Tidings::Canceled {
                    compact_revision: next - 200,
                    reason,
                };
                told.push(Told {
                    at: ended.unwrap_or(0),
                    revision: next,
                    what,
                });
            }
            watches.push(WatchStream {
                watcher: format!("watch.{node}"),
                workload: "watch".into(),
                node,
                opened,
                request,
                told,
                ended: ended.map(|at| (at, "stream reset".into())),
            });
        }
    }
    assert!(!recording.operations.is_empty(), "watchers watch something");
    watches
}
