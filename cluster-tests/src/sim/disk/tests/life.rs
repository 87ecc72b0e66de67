//! Lives of the engine's side drawn by lot, and what a power cut leaves of each.

use super::*;
use std::collections::BTreeMap;

/// The engine's side as it should be.
#[derive(Default)]
struct Model {
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// What was written, and how much of it was synced.
    files: Vec<(Vec<u8>, usize)>,
}

/// Writes, syncs, renames, removals and kills in any order, then a power cut: each name that was
/// durable is there and no other, with all that was synced and nothing that was not written.
fn engine_life(seed: u64) -> (BTreeMap<String, Vec<u8>>, u64) {
    let mut lab = Lab::new();
    lab.state();
    let mut random = StdRng::seed_from_u64(seed);
    let dir = "member/state-000001";
    let mut model = Model::default();
    for (name, bytes) in [("1.sst", "table"), ("CURRENT", "old"), ("MANIFEST-1", "m")] {
        model.names.insert(name.to_owned(), model.files.len());
        model.files.push((bytes.into(), bytes.len()));
    }
    model.durable = model.names.clone();
    for step in 0..random.random_range(5..80_u8) {
        let name = format!("{}.tmp", random.random_range(0..4));
        let path = format!("{dir}/{name}");
        match random.random_range(0..10) {
            0..4 => {
                lab.engine_append(&path, &[step; 7]);
                let number = *model.names.entry(name).or_insert(model.files.len());
                if number == model.files.len() {
                    model.files.push((Vec::new(), 0));
                }
                model.files[number].0.extend([step; 7]);
            }
            4 | 5 => {
                if let Some(number) = model.names.get(&name) {
                    lab.engine_sync(&path);
                    model.files[*number].1 = model.files[*number].0.len();
                }
            }
            6 => {
                if let Some(number) = model.names.remove(&name) {
                    fs::rename(lab.at(&path), lab.at(dir).join("CURRENT")).unwrap();
                    model.names.insert("CURRENT".to_owned(), number);
                }
            }
            7 => {
                if model.names.remove(&name).is_some() {
                    fs::remove_file(lab.at(&path)).unwrap();
                }
            }
            8 => {
                lab.engine_sync(dir);
                model.durable = model.names.clone();
            }
            _ => lab.kill(),
        }
    }
    // The other side has its own model: here only that it is the same for the same seed.
    let log = lab.disk.create(&lab.at("member/log/1.log")).unwrap();
    log.write_all_at(&[1; 5000], 0).unwrap();
    lab.power_cut(seed);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(lab.at(dir)).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let bytes = lab.engine_read(&format!("{dir}/{name}")).unwrap();
        found.insert(name, bytes);
    }
    let names: Vec<_> = found.keys().collect();
    assert_eq!(
        names,
        model.durable.keys().collect::<Vec<_>>(),
        "seed {seed}"
    );
    for (name, number) in &model.durable {
        let (written, synced) = &model.files[*number];
        assert!(written.starts_with(&found[name]), "seed {seed}: {name}");
        assert!(found[name].len() >= *synced, "seed {seed}: {name}");
    }
    if let Some(log) = read_file(&lab.disk, &lab.at("member/log/1.log")).unwrap() {
        found.insert("log".to_owned(), log);
    }
    // What is there now is durable: another cut takes nothing.
    lab.power_cut(seed + 1);
    for (name, bytes) in &found {
        if name != "log" {
            assert_eq!(
                lab.engine_read(&format!("{dir}/{name}")).as_ref(),
                Some(bytes)
            );
        }
    }
    (found, lab.trace.hash())
}

#[test]
fn a_power_cut_leaves_what_was_synced_and_at_most_what_was_written() {
    let mut torn = 0;
    for seed in 0..200 {
        let (found, trace) = engine_life(seed);
        let (again, same) = engine_life(seed);
        assert!(
            found == again && trace == same,
            "seed {seed} is not repeatable"
        );
        torn += found.values().filter(|bytes| bytes.len() % 7 != 0).count();
    }
    assert!(torn > 20, "files are torn too");
}
