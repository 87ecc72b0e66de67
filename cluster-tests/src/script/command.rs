//! `cluster-tests script FILE...`: tells stories and compares them with what is recorded.

use super::teller::Teller;
use anyhow::{Context as _, Result, bail, ensure};
use similar::TextDiff;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// What can be asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Stories: cluster-tests/scripts/*.script.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Record what is seen; read the difference that it makes.
    #[arg(long)]
    pub update: bool,
    /// So many stories at a time, each on a cluster of its own.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Where members have their data and logs.
    #[arg(long, default_value = "target/partition/scripts")]
    pub dir: PathBuf,
}

/// How a story went.
enum Outcome {
    AsRecorded,
    Recorded,
    Differs(String),
}

/// Tells them all; true if all went as recorded.
///
/// # Errors
/// A file cannot be read, or is named twice.
pub fn run(arguments: &Arguments, runtime: &Handle) -> Result<bool> {
    let mut waiting = Vec::new();
    for file in arguments.files.iter().rev() {
        let name = name(file)?;
        ensure!(
            !waiting.iter().any(|(_, known)| *known == name),
            "{name} is named twice"
        );
        waiting.push((file.clone(), name));
    }
    let count = waiting.len();
    let waiting = Mutex::new(waiting);
    let failed = Mutex::new(Vec::new());
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop()
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.clamp(1, count) {
            scope.spawn(|| {
                while let Some((file, name)) = next() {
                    let began = Instant::now();
                    let outcome = tell(&file, &name, arguments, runtime);
                    if !report(&name, &outcome, began.elapsed()) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = began.elapsed().as_secs_f64();
    let stories = if count == 1 { "story" } else { "stories" };
    if failed.is_empty() {
        let how = if arguments.update {
            "recorded"
        } else {
            "as written"
        };
        println!("{count} {stories} {how}, in {seconds:.1} s");
    } else {
        let (bad, names) = (failed.len(), failed.join(", "));
        println!("{bad} of {count} {stories} went otherwise, in {seconds:.1} s: {names}");
    }
    Ok(failed.is_empty())
}

fn name(file: &Path) -> Result<String> {
    let name = file.file_stem().and_then(|stem| stem.to_str());
    Ok(name
        .with_context(|| format!("{} has no name", file.display()))?
        .to_owned())
}

fn tell(file: &Path, name: &str, arguments: &Arguments, runtime: &Handle) -> Result<Outcome> {
    let written = std::fs::read_to_string(file);
    let written = written.with_context(|| format!("read {}", file.display()))?;
    let mut teller = Teller::new(runtime.clone(), arguments.dir.join(name));
    let seen = match goldenscript::generate(&mut teller, &written) {
        Ok(seen) => seen,
        Err(error) => {
            let before = teller.last_lines().join("\n");
            bail!("{}: {error}\nbefore:\n{before}", file.display())
        }
    };
    drop(teller);
    if seen == written {
        return Ok(Outcome::AsRecorded);
    }
    if arguments.update {
        std::fs::write(file, seen).with_context(|| format!("write {}", file.display()))?;
        return Ok(Outcome::Recorded);
    }
    Ok(Outcome::Differs(difference(file, &written, &seen)))
}

/// The lines of two transcripts that differ, in the form of `diff -u`.
fn difference(file: &Path, written: &str, seen: &str) -> String {
    let file = file.display().to_string();
    let lines = TextDiff::from_lines(written, seen);
    let mut unified = lines.unified_diff();
    unified.header(&file, "as seen").to_string()
}

/// Shows it; true if it went well.
fn report(name: &str, outcome: &Result<Outcome>, took: Duration) -> bool {
    let seconds = took.as_secs_f64();
    match outcome {
        Ok(Outcome::AsRecorded) => println!("{name}: as written, {seconds:.1} s"),
        Ok(Outcome::Recorded) => println!("{name}: RECORDED, {seconds:.1} s"),
        Ok(Outcome::Differs(difference)) => {
            println!("{name}: OTHERWISE, {seconds:.1} s\n{difference}");
        }
        Err(error) => println!("{name}: BROKE OFF, {seconds:.1} s: {error:#}"),
    }
    matches!(outcome, Ok(Outcome::AsRecorded | Outcome::Recorded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_the_lines_around() {
        let written = "put a 1\n---\n@2\n\nget a\n---\na=1 @2\n";
        let seen = written.replace("a=1", "a=0");
        let difference = difference(Path::new("x.script"), written, &seen);
        assert!(difference.starts_with("--- x.script\n+++ as seen\n@@"));
        assert!(difference.contains("-a=1 @2\n+a=0 @2\n"), "{difference}");
        assert!(!difference.contains("put a 1"), "{difference}");
    }

    /// Every story says first what it is about, and is in the table of the README.
    #[test]
    fn every_story_is_listed() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let readme = std::fs::read_to_string(home.join("README.md")).unwrap();
        let mut count = 0;
        for entry in std::fs::read_dir(home.join("scripts")).unwrap() {
            let file = entry.unwrap().path();
            let name = name(&file).unwrap();
            assert!(readme.contains(&format!("| `{name}` |")), "{name}");
            let script = std::fs::read_to_string(&file).unwrap();
            assert!(
                script.starts_with("# ") && script.contains("\n---\n"),
                "{name}"
            );
            count += 1;
        }
        assert!(count >= 15);
    }

    #[test]
    fn a_line_that_nobody_understands_is_named() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let told = |script: &str| {
            let dir = tempfile::tempdir().unwrap();
            let mut teller = Teller::new(runtime.handle().clone(), dir.path().join("data"));
            goldenscript::generate(&mut teller, script)
                .unwrap_err()
                .to_string()
        };
        for (script, error) in [
            ("\nfly away\n---\n", "'fly' failed at line 2"),
            ("fly\n---\n", "there is no command \"fly\""),
            ("start members=3\n---\n", "start does not know members="),
            ("put a 1\n---\n", "put is asked of a member"),
            ("leader: put a\n---\n", "put: the value is missing"),
            ("cut leader\n---\n", "no cluster yet"),
            ("wait happiness\n---\n", "\"happiness\" is none of"),
        ] {
            let said = told(script);
            assert!(said.contains(error), "{said}");
        }
    }
}
