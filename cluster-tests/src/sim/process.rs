//! A run in a process of its own: what it came to, also where it came to nothing.
//!
//! Nothing that an earlier seed left in the process can reach a later one, and an abort, a panic or a hang
//! is a finding like any other, with its seed.

use super::asked::Run;
use super::summary::{Summary, kind};
use anyhow::{Context as _, Result, ensure};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_64;

/// A process that has used more of a processor than this for each simulated second, and a while more,
/// hangs. Time on the wall says nothing: the machine may have better to do.
const SLOWEST: u32 = 4;
const GRACE: Duration = Duration::from_secs(60);
/// One that uses none of it for so long hangs too.
const STANDSTILL: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_secs(1);
/// What the kernel counts a process's time in, of a second.
const TICKS: u64 = 100;
/// Lines of what a process said last that are told.
const LAST_WORDS: usize = 8;
/// Keeps what lies in [`scratch`]: for whoever looks into members' files.
const KEEP: &str = "QUORATE_SIM_KEEP";
/// What a simulator's members are to have planted.
pub const CANARY: &str = "QUORATE_CANARY";
/// Another simulator than the one beside this program.
const SIMULATOR: &str = "QUORATE_SIM_BIN";

/// Where the process `pid` has its members' files: in memory, if the machine has a place for that.
pub fn scratch(pid: u32) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    base.join(format!("quorate-sim-{pid}"))
}

/// Erases it, if it is there and nobody wants to look into it. Goes when it is dropped.
#[derive(Debug)]
pub struct Scratch(pub PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os(KEEP).is_none() && self.0.exists() {
            std::fs::remove_dir_all(&self.0).unwrap_or_default();
        }
    }
}

/// The program that simulates.
#[derive(Clone, Debug)]
pub struct Simulator {
    path: PathBuf,
    /// Which build of it, and with which bug: a green run of another one says nothing of this.
    pub build: String,
    /// The bug that its members have.
    pub canary: Option<String>,
}

/// What a run came to, and the lines that it told.
pub type Ended = (Summary, Vec<String>);

/// What a run is to leave beside its summary.
#[derive(Clone, Debug, Default)]
pub struct Telling {
    /// What was simulated, verdict and coverage, line by line.
    pub lines: bool,
    /// Where recording and report go.
    pub report: Option<PathBuf>,
    /// They are not kept of a run that passed.
    pub only_failed: bool,
}

impl Simulator {
    /// The one at `path`, or that the environment names, or beside this program. The bug that its members
    /// have may be the environment's, too.
    ///
    /// # Errors
    /// There is none.
    pub fn find(path: Option<&Path>, canary: Option<&str>) -> Result<Self> {
        let found = Self::healthy(path)?;
        let planted = std::env::var(CANARY).ok().filter(|name| !name.is_empty());
        Ok(match canary.map(str::to_owned).or(planted) {
            None => found,
            Some(canary) => found.planted(&canary),
        })
    }

    /// The same, with nothing planted whatever the environment says.
    ///
    /// # Errors
    /// There is none.
    pub fn healthy(path: Option<&Path>) -> Result<Self> {
        let named = || std::env::var_os(SIMULATOR).map(PathBuf::from);
        let path = match path.map(Path::to_owned).or_else(named) {
            Some(path) => path,
            None => {
                let here = std::env::current_exe().context("where this program is")?;
                here.with_file_name("quorate-sim")
            }
        };
        ensure!(
            path.is_file(),
            "there is no {}: scripts/simulate builds it",
            path.display()
        );
        let program = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self {
            path,
            build: format!("{:016x}", xxh3_64(&program)),
            canary: None,
        })
    }

    /// The same, whose members have that bug.
    pub fn planted(&self, canary: &str) -> Self {
        Self {
            path: self.path.clone(),
            build: format!("{}+{canary}", self.build),
            canary: Some(canary.to_owned()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the run ended, and the lines that it told.
    ///
    /// # Errors
    /// The simulator cannot be started.
    pub async fn run(&self, run: &Run, telling: &Telling) -> Result<Ended> {
        let mut command = Command::new(&self.path);
        command.args(["run", "--seed", &run.seed.to_string()]);
        command.args(["--seconds", &run.seconds.to_string()]);
        command.args(&run.wishes);
        if telling.lines {
            command.arg("--tell");
        }
        if let Some(report) = &telling.report {
            command.arg("--report").arg(report);
        }
        if telling.only_failed {
            command.arg("--only-failed");
        }
        // In a group of its own: Ctrl-C is for whoever sweeps.
        command
            .env(CANARY, self.canary.as_deref().unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().context("start the simulator")?;
        // Whoever is killed or aborts leaves its members' files.
        let scratch = child.id().map(|pid| Scratch(scratch(pid)));
        let patience = GRACE + Duration::from_secs(run.seconds) * SLOWEST;
        let hangs = hangs(child.id(), patience);
        let ended = tokio::select! {
            ended = child.wait_with_output() => Ok(ended.context("wait for the simulator")?),
            why = hangs => Err(why),
        };
        drop(scratch);
        let (mut summary, lines) = match ended {
            Err(why) => (
                failed("hang".to_owned(), format!("hang: {why}")),
                Vec::new(),
            ),
            Ok(output) => read(&output),
        };
        summary.seed = run.seed;
        summary.asked_seconds = run.seconds;
        summary.wishes.clone_from(&run.wishes);
        summary.build.clone_from(&self.build);
        Ok((summary, lines))
    }
}

/// Why the process is not waited for any longer; for ever, if it ends.
async fn hangs(pid: Option<u32>, patience: Duration) -> String {
    let (mut known, mut since) = (Duration::ZERO, Instant::now());
    while let Some(used) = pid.and_then(processor_time) {
        if used > patience {
            return format!("the process has used a processor for {patience:?} and did not end");
        }
        if used > known {
            (known, since) = (used, Instant::now());
        } else if since.elapsed() > STANDSTILL {
            return format!("the process did nothing for {STANDSTILL:?}");
        }
        sleep(LOOK).await;
    }
    std::future::pending().await
}

/// What the process has used of a processor; none: it is no more.
fn processor_time(pid: u32) -> Option<Duration> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the program's name, which may have anything in it: see proc(5).
    let (_, fields) = line.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let used = ticks()? + ticks()?;
    Some(Duration::from_millis(used * 1000 / TICKS))
}

fn failed(property: String, why: String) -> Summary {
    Summary {
        failed: vec![why],
        broken: vec![property],
        ..Summary::default()
    }
}

/// What a process that has ended says: the last line is its summary, if it came so far.
fn read(output: &Output) -> Ended {
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    if let Some(summary) = lines.last().and_then(|it| serde_json::from_str(it).ok()) {
        lines.pop();
        return (summary, lines);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let why = format!(
        "the process ended ({}): {}",
        output.status,
        last_words(&complaint)
    );
    let signal = output.status.signal();
    (failed(end_of(&complaint, signal), why), lines)
}

fn last_words(complaint: &str) -> String {
    let lines: Vec<&str> = complaint.lines().collect();
    let from = lines.len().saturating_sub(LAST_WORDS);
    lines.get(from..).unwrap_or_default().join(" | ")
}

/// What kind of end that was, the same for the same mistake: where it panicked, or else the signal, or
/// else what the simulator itself said.
fn end_of(complaint: &str, signal: Option<i32>) -> String {
    let mut places = complaint
        .lines()
        .filter_map(|line| line.split_once("panicked at "));
    if let Some((_, place)) = places.next_back() {
        return format!("panic at {}", place.trim_end_matches(':'));
    }
    match signal {
        Some(signal) => format!("signal {signal}"),
        None => {
            let said = complaint.lines().find_map(|it| it.strip_prefix("Error: "));
            format!("error: {}", kind(said.unwrap_or("it said nothing")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        Output {
            status: std::process::ExitStatus::from_raw(status),
            stdout: stdout.as_bytes().to_vec(),
            stderr: stderr.as_bytes().to_vec(),
        }
    }

    #[test]
    fn every_end_is_a_summary() {
        let summary = Summary {
            passed: true,
            operations: 9,
            ..Summary::default()
        };
        let line = serde_json::to_string(&summary).unwrap();
        let (read_again, lines) = read(&output(0, &format!("PASSED: well\n{line}\n"), ""));
        assert_eq!(
            (read_again, lines),
            (summary, vec!["PASSED: well".to_owned()])
        );

        let panicked = "thread 'simulation' panicked at src/raft/log.rs:12:5:\noh\nabort";
        let (aborted, _) = read(&output(6, "", panicked));
        assert_eq!(aborted.broken, ["panic at src/raft/log.rs:12:5"]);
        assert!(!aborted.passed && aborted.failed[0].contains("oh | abort"));
        assert_eq!(read(&output(9, "", "")).0.broken, ["signal 9"]);
        let said = "Error: the run did not end: 30 s were planned\n\nCaused by: x";
        let (errored, _) = read(&output(256, "half a line", said));
        assert_eq!(errored.broken, ["error: the run did not end"]);
    }

    #[test]
    fn a_process_uses_time() {
        let before = processor_time(std::process::id()).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        let after = processor_time(std::process::id()).unwrap();
        assert!(after > before && after - before < Duration::from_secs(60));
        assert_eq!(processor_time(u32::MAX), None);
    }

    #[tokio::test]
    async fn who_uses_too_much_hangs_and_who_ends_does_not() {
        let me = Some(std::process::id());
        let late = tokio::time::timeout(Duration::from_secs(5), hangs(me, Duration::ZERO));
        assert!(late.await.unwrap().contains("did not end"));
        let gone = tokio::time::timeout(Duration::from_millis(50), hangs(None, Duration::ZERO));
        assert!(gone.await.is_err());
    }

    #[tokio::test]
    async fn who_is_not_there_or_says_nothing_is_told() {
        assert!(Simulator::find(Some(Path::new("/nowhere")), None).is_err());
        let canary = Simulator::find(Some(Path::new("/bin/true")), Some("stale-read")).unwrap();
        assert!(canary.build.ends_with("+stale-read"));
        let run = Run {
            seed: 4,
            seconds: 30,
            wishes: vec!["--nodes".to_owned(), "5".to_owned()],
        };
        let (summary, _) = canary.run(&run, &Telling::default()).await.unwrap();
        assert_eq!(summary.broken, ["error: it said nothing"]);
        assert_eq!((summary.seed, summary.wishes.len()), (4, 2));
    }
}
