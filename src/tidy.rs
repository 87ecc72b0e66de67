//! The house's order, held by an ordinary test: floors, homes of words, file length.
#![allow(clippy::disallowed_methods, reason = "the test reads the source tree")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules and the floor they live on. Imports go down only, and neighbours do not import each
/// other; floor 0 is common ground.
const FLOORS: &[(&str, u32)] = &[
    ("types", 0),
    ("proto", 0),
    ("config", 0),
    ("telemetry", 0),
    ("env", 0),
    ("canary", 0),
    ("storage", 1),
    ("mvcc", 2),
    ("lease", 2),
    ("state_machine", 3),
    ("watch", 3),
    ("backup", 3),
    ("raft", 4),
    ("node", 5),
    ("api", 6),
    ("client", 6),
    ("http", 7),
    ("server", 8),
    ("ctl", 8),
    ("program", 9),
];

/// Words that have one home: outside of it they are an error.
const HOMES: &[(&str, &[&str])] = &[
    ("openraft", &["raft"]),
    ("rocksdb", &["storage"]),
    ("tokio::net", &["env"]),
    ("std::net::Tcp", &["env"]),
    ("std::fs", &["env"]),
    ("std::thread", &["env"]),
    ("SystemTime", &["env"]),
    ("rand::", &["env"]),
];

const LINES_MAX: usize = 500;

/// Files of the floors' tests may use what they like; a floor's own code may not.
fn is_test(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name == "tests.rs"
        || name.ends_with("_test.rs")
        || name.ends_with("_tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The module a file belongs to: the first part of its path.
fn module(path: &Path) -> String {
    let relative = path.strip_prefix(root()).unwrap();
    let first = relative
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(module: &str) -> Option<u32> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// Production code: without comments, and without the unit tests at the end of a file.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let body = text
        .split("\n#[cfg(test)]\nmod ")
        .next()
        .unwrap()
        .to_owned();
    body.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap().to_owned()))
        .collect()
}

fn production() -> Vec<PathBuf> {
    sources(&root())
        .into_iter()
        .filter(|path| !is_test(path))
        .collect()
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for path in production() {
        let here = module(&path);
        let Some(my_floor) = floor(&here) else {
            continue;
        };
        for (number, line) in code(&path) {
            for part in line.split("crate::").skip(1) {
                let word: String = part
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let Some(their_floor) = floor(&word) else {
                    continue;
                };
                if word != here && their_floor >= my_floor && their_floor != 0 {
                    wrong.push(format!(
                        "{}:{number}: {here} imports {word}",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_stay_at_home() {
    let mut wrong = Vec::new();
    for path in production() {
        let here = module(&path);
        if here == "tidy" {
            continue;
        }
        for (number, line) in code(&path) {
            for (word, homes) in HOMES {
                if line.contains(word) && !homes.contains(&here.as_str()) {
                    wrong.push(format!(
                        "{}:{number}: {word:?} outside {homes:?}",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let laboratory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster-tests");
    let mut long = Vec::new();
    for path in sources(&root()).into_iter().chain(sources(&laboratory)) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > LINES_MAX {
            long.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    for path in production() {
        let here = module(&path);
        let exempt = ["lib", "main", "main_canaries", "tidy"].contains(&here.as_str());
        assert!(
            exempt || floor(&here).is_some(),
            "{} has no floor in tidy.rs",
            path.display()
        );
    }
}

/// `unsafe` has one home: libc's symbols in the simulator's own binary. Its crate has the workspace's
/// lints, word for word, with `deny` for `forbid`, which nothing could allow.
#[test]
fn unsafe_stays_with_the_shims() {
    let home = "cluster-tests/src/bin/quorate-sim/shim.rs";
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let laboratory = sources(&top.join("cluster-tests"));
    let allowing: Vec<_> = laboratory
        .iter()
        .filter(|path| fs::read_to_string(path).unwrap().contains("unsafe_code"))
        .map(|path| path.strip_prefix(top).unwrap().to_owned())
        .collect();
    assert_eq!(allowing, [Path::new(home)]);
    let lints = |manifest: &str, from: &str| -> Vec<String> {
        let text = fs::read_to_string(top.join(manifest)).unwrap();
        let lines = text
            .lines()
            .skip_while(|line| *line != format!("[{from}.rust]"));
        let ours = |line: &&str| !line.starts_with('[') || line.starts_with(&format!("[{from}."));
        let lines = lines.take_while(ours).map(|line| line.replace(from, ""));
        lines.filter(|line| !line.is_empty()).collect()
    };
    let mut expected = lints("Cargo.toml", "workspace.lints");
    assert_eq!(expected[1], "unsafe_code = \"forbid\"");
    "unsafe_code = \"deny\"".clone_into(&mut expected[1]);
    assert_eq!(lints("cluster-tests/Cargo.toml", "lints"), expected);
}
