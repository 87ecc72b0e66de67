//! That libc's calls are really the simulation's, all the way down to RocksDB: `quorate-sim self-test`.

mod member;

use super::shim;
use anyhow::{Context, Result, bail, ensure};
use cluster_tests::sim::disk::{Caller, Now, Operation, SimDisk};
use cluster_tests::sim::env::EPOCH_S;
use cluster_tests::sim::trace::Trace;
use quorate::env::Disk;
use quorate::storage::{Engine, EngineOptions, Family};
use rand::rngs::{OsRng, StdRng};
use rand::{SeedableRng, TryRngCore};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const STATE: &str = "member/state-000001";

/// A promise and what shows that it is kept.
type Test = (&'static str, fn() -> Result<()>);
/// How a disk is ill, and how that begins.
type Ill = (&'static str, fn(&SimDisk));

pub(crate) fn run() -> Result<()> {
    let tests: [Test; 6] = [
        ("randomness is the seed's", randomness),
        ("time is what is set", clocks),
        ("a power cut takes what was not synced", power_cut),
        ("RocksDB keeps what it flushed", engine),
        ("RocksDB hears of errors", errors),
        (
            "a member comes back with all that it acknowledged",
            member::run,
        ),
    ];
    for (name, test) in tests {
        test().with_context(|| format!("not so: {name}"))?;
        println!("{name}");
    }
    Ok(())
}

/// Words from the kernel's randomness, as `rand` and as a hash map take them.
fn words() -> Result<(u64, u64)> {
    let drawn = thread::spawn(|| (OsRng.try_next_u64(), RandomState::new().hash_one(1)));
    let Ok((word, hash)) = drawn.join() else {
        bail!("a thread panicked");
    };
    Ok((word?, hash))
}

fn randomness() -> Result<()> {
    ensure!(
        words()? != words()?,
        "before there is a seed it is the kernel's"
    );
    shim::seed(5);
    let first = words()?;
    ensure!(words()? == first, "every thread has the seed's stream");
    shim::seed(6);
    let second = words()?;
    ensure!(second.0 != first.0 && second.1 != first.1, "another seed");
    Ok(())
}

fn clocks() -> Result<()> {
    let epoch = UNIX_EPOCH + Duration::from_secs(EPOCH_S);
    shim::set_clock(5_000_000_007);
    let (wall, begun) = (SystemTime::now(), Instant::now());
    shim::set_clock(6_000_000_007);
    let elapsed = begun.elapsed();
    let elsewhere = thread::spawn(SystemTime::now).join();
    shim::clock_off();
    ensure!(wall == epoch + Duration::new(5, 7), "{wall:?}");
    ensure!(elapsed == Duration::from_secs(1), "{elapsed:?}");
    let Ok(elsewhere) = elsewhere else {
        bail!("a thread panicked");
    };
    ensure!(elsewhere == epoch + Duration::new(6, 7), "every thread's");
    ensure!(SystemTime::now() < epoch, "afterwards it is real");
    Ok(())
}

/// A member's disk, and where its next boots are.
struct Lab {
    dir: PathBuf,
    disk: SimDisk,
    boots: u64,
}

impl Lab {
    fn new() -> Result<Self> {
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() {
            shm.to_owned()
        } else {
            std::env::temp_dir()
        };
        let dir = base.join(format!("quorate-sim-self-test-{}", std::process::id()));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let disk = SimDisk::new(&dir.join("n1.1"), 1, 1, Now::default(), Trace::default())?;
        disk.create_dir_all(&disk.root().join("member"))?;
        disk.sync_dir(disk.root())?;
        Ok(Self {
            dir,
            disk,
            boots: 1,
        })
    }

    fn state(&self) -> PathBuf {
        self.disk.root().join(STATE)
    }

    /// A crash of whoever has `software`: dropped only when the image is taken.
    fn crash<T>(&mut self, power: Option<u64>, software: T) -> Result<()> {
        self.boots += 1;
        let root = self.dir.join(format!("n1.{}", self.boots));
        let next = match power {
            None => self.disk.kill(&root)?,
            Some(seed) => {
                let mut random = StdRng::seed_from_u64(seed);
                self.disk.power_cut(&root, &mut random)?
            }
        };
        drop(software);
        std::mem::replace(&mut self.disk, next).remove_root()?;
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).unwrap_or_default();
    }
}

/// What RocksDB does with its `CURRENT`, by the calls that it does it with.
fn power_cut() -> Result<()> {
    let mut lab = Lab::new()?;
    fs::create_dir(lab.state())?;
    File::open(lab.disk.root().join("member"))?.sync_all()?;
    let replace = |lab: &Lab, text: &str| -> Result<()> {
        let (beside, current) = (lab.state().join("tmp"), lab.state().join("CURRENT"));
        fs::write(&beside, text)?;
        File::open(&beside)?.sync_data()?;
        Ok(fs::rename(beside, current)?)
    };
    let current = |lab: &Lab| fs::read_to_string(lab.state().join("CURRENT"));
    replace(&lab, "old")?;
    File::open(lab.state())?.sync_all()?;
    replace(&lab, "new")?;
    lab.crash(None, ())?;
    ensure!(current(&lab)? == "new", "a kill loses nothing");
    lab.crash(Some(1), ())?;
    ensure!(current(&lab)? == "old", "a power cut loses the rename");
    replace(&lab, "new")?;
    File::open(lab.state())?.sync_all()?;
    lab.crash(Some(2), ())?;
    ensure!(current(&lab)? == "new", "it was durable");
    Ok(())
}

fn open(lab: &Lab) -> Result<Engine> {
    let options = EngineOptions {
        settles: true,
        ..EngineOptions::small()
    };
    Ok(Engine::open(&lab.state(), &options)?)
}

fn put(engine: &Engine, key: &str) -> Result<()> {
    let mut batch = engine.batch();
    batch.put(Family::Current, key.as_bytes(), &[7; 2000]);
    batch.put(Family::Meta, b"last", key.as_bytes());
    Ok(engine.write(batch)?)
}

fn has(engine: &Engine, key: &str) -> Result<bool> {
    Ok(engine
        .latest()
        .get(Family::Current, key.as_bytes())?
        .is_some())
}

/// Every crash in turn, each after a flush and a write that is not flushed. Answers the names and
/// lengths of the files that the last one left.
fn engine_life() -> Result<BTreeMap<String, u64>> {
    let mut lab = Lab::new()?;
    for round in 0..8 {
        let engine = open(&lab)?;
        for earlier in 0..round {
            ensure!(
                has(&engine, &format!("flushed {earlier}"))?,
                "{earlier} in {round}"
            );
            ensure!(
                !has(&engine, &format!("lost {earlier}"))?,
                "{earlier} in {round}"
            );
        }
        put(&engine, &format!("flushed {round}"))?;
        engine.flush()?;
        if round == 5 {
            let snapshots = lab.disk.root().join("member/snapshot");
            lab.disk.create_dir_all(&snapshots)?;
            engine.checkpoint(&snapshots.join("data"))?;
        }
        put(&engine, &format!("lost {round}"))?;
        lab.crash((round % 2 == 0).then_some(round), engine)?;
    }
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(lab.state())? {
        let entry = entry?;
        found.insert(
            entry.file_name().to_string_lossy().into_owned(),
            entry.metadata()?.len(),
        );
    }
    // RocksDB's own diary has the kernel's time in it.
    found.retain(|name, _| !name.starts_with("LOG"));
    Ok(found)
}

fn engine() -> Result<()> {
    let first = engine_life()?;
    ensure!(first.keys().any(|name| name.ends_with(".sst")), "{first:?}");
    let again = engine_life()?;
    ensure!(first == again, "{first:?} and then {again:?}");
    Ok(())
}

fn errors() -> Result<()> {
    let mut lab = Lab::new()?;
    let engine = open(&lab)?;
    put(&engine, "safe")?;
    engine.flush()?;
    lab.crash(None, engine)?;
    let ills: [Ill; 4] = [
        ("writes fail", |disk| {
            disk.trouble()
                .fail_often(Caller::Engine, Operation::Write, 1.0);
        }),
        ("a sync fails once", |disk| {
            disk.trouble().fail_next(Caller::Engine, Operation::Sync, 1);
        }),
        ("syncs fail", |disk| {
            disk.trouble()
                .fail_often(Caller::Engine, Operation::Sync, 1.0);
        }),
        ("the disk is full", |disk| disk.set_room(Some(500))),
    ];
    for (number, (ill, begin)) in ills.into_iter().enumerate() {
        let engine = open(&lab)?;
        ensure!(has(&engine, "safe")?, "before {ill}");
        put(&engine, ill)?;
        begin(&lab.disk);
        ensure!(engine.flush().is_err(), "{ill}, and nobody hears of it");
        lab.crash((number % 2 == 0).then_some(number as u64), engine)?;
        lab.disk.heal();
    }
    lab.disk
        .trouble()
        .fail_often(Caller::Engine, Operation::Read, 1.0);
    ensure!(
        open(&lab).is_err() || has(&open(&lab)?, "safe").is_err(),
        "a read that fails"
    );
    lab.disk.heal();
    ensure!(has(&open(&lab)?, "safe")?, "after all");
    Ok(())
}
