use super::*;
use crate::cluster::subject::{BoxFuture, LocalBoxFuture, Subject, Turn};
use crate::cluster::weather::Weather;
use crate::history::recorder::Recorder;
use crate::history::timeline::Life;
use crate::observe::Observer;
use crate::run::progress::Nobody;
use crate::schedule::effect::Skew;
use crate::schedule::fault::{Harm, Shape, Store, Trouble, Who};
use crate::workload::client::Members;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tokio::time::timeout;

/// Members that are nothing but what was said to them.
#[derive(Clone, Debug, Default)]
struct Dolls {
    said: Arc<Mutex<Vec<String>>>,
    running: Arc<Mutex<BTreeSet<usize>>>,
    /// Whoever was damaged does not run again.
    broken: Arc<Mutex<BTreeSet<usize>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dolls {
    fn three() -> Self {
        let dolls = Self::default();
        lock(&dolls.running).extend(1..=3);
        dolls
    }

    fn say(&self, what: impl Into<String>) {
        lock(&self.said).push(what.into());
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.said))
    }
}

impl Subject for Dolls {
    fn program(&self) -> String {
        "dolls".to_owned()
    }

    fn nodes(&self) -> Vec<usize> {
        vec![1, 2, 3]
    }

    fn client_url(&self, node: usize) -> String {
        // Nobody listens there.
        format!("http://127.0.0.{node}:1")
    }

    fn peer_url(&self, node: usize) -> String {
        self.client_url(node)
    }

    fn observer(&self, node: usize) -> Result<Observer> {
        Observer::new(&self.client_url(node), None)
    }

    fn limits(&self) -> Vec<String> {
        Vec::new()
    }

    fn cannot(&self, fault: &Fault, _: &World) -> Option<String> {
        matches!(fault, Fault::Clock { .. }).then(|| "dolls have no clock".to_owned())
    }

    fn set_weather<'a>(&'a mut self, _: &'a Weather) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn set_disks(&mut self, disks: &BTreeMap<usize, Trouble>) -> Result<()> {
        self.say(format!("disks {disks:?}"));
        Ok(())
    }

    fn set_clocks(&mut self, _: &BTreeMap<usize, Skew>) -> Result<()> {
        Ok(())
    }

    fn live<'a>(
        &'a mut self,
        turns: &'a [Turn],
        _: &'a mut StdRng,
        done: &'a mut (dyn FnMut(Turn) + Send),
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for turn in turns {
                self.say(format!("n{} {:?}", turn.node, turn.is));
                if !turn.runs() || lock(&self.broken).contains(&turn.node) {
                    lock(&self.running).remove(&turn.node);
                } else {
                    lock(&self.running).insert(turn.node);
                }
                done(*turn);
            }
            Ok(())
        })
    }

    fn has_ended(&mut self, node: usize) -> Result<Option<String>> {
        let runs = lock(&self.running).contains(&node);
        Ok((!runs).then(|| "it fell over".to_owned()))
    }

    fn damage<'a>(
        &'a mut self,
        node: usize,
        what: Store,
        how: Harm,
        _: &'a mut StdRng,
    ) -> BoxFuture<'a, Result<String>> {
        lock(&self.broken).insert(node);
        Box::pin(async move { Ok(format!("{how} {what}")) })
    }

    fn enlist(&mut self) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async { anyhow::bail!("three is all") })
    }

    fn introduce(&mut self, _: usize, _: &[String]) -> Result<()> {
        Ok(())
    }

    fn start(&mut self, _: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn kill(&mut self, node: usize) -> BoxFuture<'_, Result<()>> {
        self.say(format!("kill n{node}"));
        Box::pin(async { Ok(()) })
    }

    fn retire(&mut self, _: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn end(&mut self, _: Duration) -> LocalBoxFuture<'_, Vec<(usize, anyhow::Error)>> {
        Box::pin(async { Vec::new() })
    }
}

async fn conductor(dolls: &Dolls) -> Conductor {
    let site = Arc::new(Site::of(Box::new(dolls.clone())));
    let recorder = Recorder::default();
    let ground = Ground {
        members: Members::new(site.client_urls().await),
        recorder: recorder.clone(),
        stop: watch::channel(false).1,
        seed: 1,
    };
    let sampler = Sampler::start(&site, &recorder).await.unwrap();
    Conductor::new(&site, &ground, sampler, 1)
}

fn step(for_ms: u64, nemesis: &str, fault: Fault) -> Step {
    Step {
        at_ms: 0,
        for_ms,
        nemesis: nemesis.to_owned(),
        fault,
    }
}

#[tokio::test]
async fn who_ends_by_its_disk_comes_back_when_the_disk_is_well() {
    let dolls = Dolls::three();
    let mut conductor = conductor(&dolls).await;
    let fault = Fault::Disk {
        who: Who::Node(2),
        trouble: Trouble::SyncError,
    };
    let step = step(60_000, "disk-sync-error", fault);
    conductor.begin(0, &step, Duration::ZERO).await;
    conductor.make_it_so().await.unwrap();
    lock(&dolls.running).remove(&2);
    for _ in 0..3 {
        conductor.make_it_so().await.unwrap();
    }
    assert_eq!(dolls.said(), ["disks {2: SyncError}"]);
    conductor.end(|_| true).await;
    assert_eq!(dolls.said(), ["disks {}", "n2 Up"]);
    assert!(conductor.take_trouble().is_empty());
    let notes = conductor.ground.recorder.notes();
    let lives: Vec<Life> = notes.lives.iter().map(|change| change.life).collect();
    assert_eq!(lives, [Life::Down, Life::Up]);
    assert_eq!(notes.windows.first().unwrap().struck, [2]);
}

#[tokio::test]
async fn who_ends_for_no_reason_is_trouble_and_is_started_again() {
    let dolls = Dolls::three();
    let mut conductor = conductor(&dolls).await;
    lock(&dolls.running).remove(&3);
    conductor.make_it_so().await.unwrap();
    conductor.make_it_so().await.unwrap();
    assert_eq!(dolls.said(), ["n3 Up"]);
    let trouble = conductor.take_trouble();
    assert_eq!(trouble, ["n3 has ended by itself; it fell over"]);
}

#[tokio::test]
async fn who_does_not_run_on_with_its_damage_is_replaced() {
    let dolls = Dolls::three();
    let mut conductor = conductor(&dolls).await;
    let fault = Fault::Damage {
        who: Who::Node(1),
        what: Store::Log,
        how: Harm::Truncate,
    };
    let step = step(60_000, "damage-log", fault);
    conductor.begin(7, &step, Duration::ZERO).await;
    conductor.make_it_so().await.unwrap();
    conductor.make_it_so().await.unwrap();
    assert_eq!(dolls.said(), ["n1 Down"]);
    conductor.end(|_| true).await;
    // It was started, has ended, and stays down from here on.
    for _ in 0..3 {
        conductor.make_it_so().await.unwrap();
    }
    assert_eq!(dolls.said(), ["n1 Up"]);
    tokio::task::yield_now().await;
    assert_eq!(dolls.said(), ["kill n1"]);
    let notes = conductor.ground.recorder.notes();
    let windows: Vec<(usize, &str)> = notes
        .windows
        .iter()
        .map(|window| (window.step, window.text.as_str()))
        .collect();
    let damaged =
        "n1 is killed, and the end is cut off its log: n1; n1: the end is cut off its log";
    let replaced = "n1 does not run on with its damage and is replaced; it fell over";
    assert_eq!(windows, [(7, damaged), (7, replaced)]);
    assert!(conductor.trouble.is_empty());
}

#[tokio::test]
async fn the_last_act_ends_what_is_under_way_and_then_all_is_healed() {
    let dolls = Dolls::three();
    let mut conductor = conductor(&dolls).await;
    let clock = Fault::Clock {
        who: Who::One,
        offset_ms: 9,
        rate_per_mille: 0,
    };
    let schedule = Schedule {
        steps: vec![
            step(60_000, "kill-all", Fault::Kill { who: Who::All }),
            step(60_000, "clock-jump", clock),
        ],
        last_act: Some(LastAct {
            at_ms: 100,
            for_ms: 200,
            fault: Fault::Pause { who: Who::Rest },
        }),
        ends_ms: 400,
        ..Schedule::default()
    };
    let mut watchers = JoinSet::new();
    let mut nobody = Nobody;
    let conducted = conductor.conduct(&schedule, &mut watchers, &mut nobody);
    let interrupted = timeout(Duration::from_secs(30), conducted).await.unwrap();
    assert!(!interrupted && conductor.take_trouble().is_empty());
    let said = dolls.said();
    assert_eq!(said.iter().filter(|it| it.ends_with("Down")).count(), 3);
    // Two come back at once, the third stands still first.
    assert_eq!(said.iter().filter(|it| it.ends_with("Paused")).count(), 1);
    assert_eq!(said.iter().filter(|it| it.ends_with("Up")).count(), 3);
    let notes = conductor.ground.recorder.notes();
    let [killed, skipped, last] = notes.windows.as_slice() else {
        panic!("three windows: {:?}", notes.windows);
    };
    assert_eq!(skipped.skipped.as_deref(), Some("dolls have no clock"));
    assert_eq!(last.nemesis, "last-act");
    assert!(killed.ended <= last.began && last.ended - last.began >= 150_000);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_leader_does_not_eat_the_pause_between_two_faults() {
    let dolls = Dolls::three();
    // Nobody ever leads: each fault waits as long as it may.
    let mut conductor = conductor(&dolls).await;
    let kill = |at_ms, node| Step {
        at_ms,
        ..step(
            500,
            "kill-one",
            Fault::Kill {
                who: Who::Node(node),
            },
        )
    };
    let schedule = Schedule {
        steps: vec![kill(0, 1), kill(700, 2)],
        ends_ms: 1300,
        ..Schedule::default()
    };
    let mut watchers = JoinSet::new();
    conductor
        .conduct(&schedule, &mut watchers, &mut Nobody)
        .await;
    assert_eq!(dolls.said(), ["n1 Down", "n1 Up", "n2 Down", "n2 Up"]);
    let notes = conductor.ground.recorder.notes();
    let [first, second] = notes.windows.as_slice() else {
        panic!("two windows: {:?}", notes.windows);
    };
    assert!(first.ended < second.began, "{first:?} {second:?}");
}

#[tokio::test]
async fn who_was_damaged_and_left_since_reads_nothing_in_the_end() {
    let dolls = Dolls::three();
    let mut conductor = conductor(&dolls).await;
    conductor.damaged.insert(4, (0, "damage-log".to_owned()));
    conductor.examine().await.unwrap();
    // One that is still there would have to: nobody answers for it here.
    conductor.damaged.insert(3, (0, "damage-log".to_owned()));
    let error = conductor.examine().await.unwrap_err();
    assert!(error.to_string().contains("n3 was damaged"), "{error:#}");
}

#[tokio::test]
async fn a_shape_of_the_rest_says_whom_it_hits() {
    let dolls = Dolls::three();
    let mut conductor = conductor(&dolls).await;
    let fault = Fault::Partition {
        shape: Shape::Rest,
        how: crate::cluster::weather::Cut::Drop,
    };
    let step = step(100, "last-act", fault);
    conductor.begin(0, &step, Duration::ZERO).await;
    let notes = conductor.ground.recorder.notes();
    assert_eq!(notes.windows.first().unwrap().struck.len(), 1);
}
