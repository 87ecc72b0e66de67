//! One member as a child process.
//!
//! Nothing outlives the laboratory: the member is started through `setpriv --pdeathsig`, so the kernel
//! kills it when this program ends, however that happens ([`super::nursery`]); and dropping a
//! [`Process`] kills it. Signals go to the one pid we own and have not reaped ([`Identity`]), so they
//! can never meet a stranger.

use super::identity::Identity;
use super::nursery;
use super::throttle::Throttle;
use crate::wait::{Look, until};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The unit of /proc's CPU times: USER_HZ is 100 on every architecture Linux still runs on.
const TICK: Duration = Duration::from_millis(10);
const PAGE_BYTES: u64 = 4096;

/// A program that can be started, killed and started again with the same arguments.
#[derive(Debug)]
pub struct Process {
    binary: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    environment: Vec<(String, String)>,
    /// Programs and their arguments that become the binary in the end.
    by: Vec<String>,
    child: Option<Child>,
    identity: Identity,
}

impl Process {
    pub fn new(binary: PathBuf, arguments: Vec<String>, log: PathBuf) -> Self {
        Self {
            binary,
            arguments,
            log,
            environment: Vec::new(),
            by: Vec::new(),
            child: None,
            identity: Identity::default(),
        }
    }

    /// Also with these variables, beside those of this process.
    #[must_use]
    pub fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// With these from the next start on.
    pub fn set_arguments(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// Started by this command line, with its own behind it; the command must become what it starts
    /// (exec), as `nsenter` does.
    pub fn run_by(&mut self, command: Vec<String>) {
        self.by = command;
    }

    /// As which process it runs, at any time.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Starts it; its output goes to the end of the log file.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.pid().is_some() {
            bail!("already running");
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log: File = log.with_context(|| format!("open {}", self.log.display()))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .args(&self.by)
            .arg(&self.binary)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // Ctrl-C at the terminal is for the laboratory, which ends its members itself.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log file")?)
            .stderr(log);
        let child = nursery::spawn(command);
        let child = child.with_context(|| self.binary.display().to_string())?;
        self.identity.start(child.id());
        self.child = Some(child);
        Ok(())
    }

    /// The process id while it runs. Reaps it when it has ended.
    pub fn pid(&mut self) -> Option<u32> {
        let child = self.child.as_mut()?;
        let end = self.identity.reap(|| match child.try_wait() {
            Ok(None) => None,
            end => Some(end),
        });
        if end.is_none() {
            return Some(child.id());
        }
        self.child = None;
        None
    }

    pub fn is_paused(&self) -> bool {
        self.identity.is_paused()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// `kill -9` without waiting; [`Process::kill`] waits.
    pub fn signal_kill(&mut self) {
        if let Some(child) = self.child.as_mut() {
            // It fails only if it has ended by itself.
            drop(child.kill());
        }
    }

    /// `kill -9`, and waits for the end. Fine if it does not run.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it has ended by itself.
            drop(child.kill());
            self.identity.reap(|| Some(child.wait()));
        }
    }

    /// SIGSTOP: the process stands still, its sockets stay open.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&mut self) -> Result<()> {
        self.reaped().pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&mut self) -> Result<()> {
        self.reaped().resume()
    }

    /// SIGTERM, and waits for the end. Fine if it does not run.
    ///
    /// # Errors
    /// It has not ended within `limit`; it is killed then.
    pub async fn terminate(&mut self, limit: Duration) -> Result<()> {
        if self.pid().is_none() {
            return Ok(());
        }
        if self.is_paused() {
            self.resume()?;
        }
        self.reaped().signal(Signal::SIGTERM)?;
        let ended = until(
            "the process to end on SIGTERM",
            limit,
            async || match self.pid() {
                None => Look::Ready(()),
                Some(pid) => Look::NotYet(format!("process {pid} runs")),
            },
        );
        let ended = ended.await;
        self.kill();
        ended
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// It still runs at the limit, or was never started.
    pub async fn exit_status(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = until("the process to exit", limit, async || {
            match &mut self.child {
                None => Look::Ready(None),
                Some(child) => match self.identity.reap(|| child.try_wait().transpose()) {
                    None => Look::NotYet("it runs".to_owned()),
                    Some(Ok(status)) => Look::Ready(Some(status)),
                    Some(Err(error)) => Look::NotYet(error.to_string()),
                },
            }
        });
        status.await?.context("it was not running")
    }

    /// Whom to signal, once it is known whether it has ended.
    fn reaped(&mut self) -> &Identity {
        self.pid();
        &self.identity
    }

    /// It gets this much of the CPU, from 1 to 99 percent, until the answer is dropped.
    pub fn throttle(&self, percent: u32) -> Throttle {
        Throttle::new(self.identity.clone(), percent)
    }

    /// CPU time used so far, all threads, user and system.
    ///
    /// # Errors
    /// It does not run.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        cpu_time_of(&self.pid().context("it does not run")?.to_string())
    }

    /// Bytes of memory that are resident.
    ///
    /// # Errors
    /// It does not run.
    pub fn resident_bytes(&mut self) -> Result<u64> {
        let pid = self.pid().context("it does not run")?;
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).context("read statm")?;
        let pages = statm
            .split_whitespace()
            .nth(1)
            .context("statm without a second field")?;
        Ok(pages.parse::<u64>().context("statm without numbers")? * PAGE_BYTES)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// CPU time of this very process.
///
/// # Errors
/// /proc is not there.
pub fn own_cpu_time() -> Result<Duration> {
    cpu_time_of("self")
}

fn cpu_time_of(pid: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read stat")?;
    // The second field, the command, is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("stat without a command")?;
    let ticks: u32 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u32>)
        .sum::<Result<u32, _>>()
        .context("stat without numbers")?;
    Ok(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &Path) -> Process {
        Process::new("/bin/sleep".into(), vec!["600".into()], dir.join("log"))
    }

    #[tokio::test]
    async fn it_can_be_killed_and_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path());
        process.start().unwrap();
        let first = process.pid().unwrap();
        assert!(process.start().is_err());
        process.kill();
        assert_eq!(process.pid(), None);
        process.start().unwrap();
        assert_ne!(process.pid(), Some(first));
        process.pause().unwrap();
        assert!(process.is_paused());
        process.terminate(Duration::from_secs(10)).await.unwrap();
        assert_eq!(process.pid(), None);
    }

    #[tokio::test]
    async fn its_end_and_its_output_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let arguments = vec!["-c".into(), "echo word; exit 3".into()];
        let mut process = Process::new("/bin/sh".into(), arguments, dir.path().join("log"));
        process.start().unwrap();
        let status = process.exit_status(Duration::from_secs(10)).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(std::fs::read_to_string(process.log()).unwrap(), "word\n");
    }

    /// Not before setpriv has become the program.
    fn is_sleep(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
    }

    #[tokio::test]
    async fn it_lives_longer_than_the_thread_that_started_it_and_dies_with_the_program() {
        const INSIDE: &str = "CLUSTER_TESTS_DIES";
        if let Some(file) = std::env::var_os(INSIDE) {
            let file = PathBuf::from(file);
            let mut process = sleeper(file.parent().unwrap());
            let starter = std::thread::spawn(move || {
                process.start().unwrap();
                process
            });
            let mut process = starter.join().unwrap();
            let pid = process.pid().unwrap();
            while !is_sleep(pid) {
                std::thread::yield_now();
            }
            std::fs::write(file, pid.to_string()).unwrap();
            std::process::abort();
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let name = "cluster::process::tests::it_lives_longer_than_the_thread_that_started_it_and_\
                    dies_with_the_program";
        let mut program = Command::new(std::env::current_exe().unwrap());
        program
            .args([name, "--exact"])
            .env(INSIDE, &file)
            .stdout(Stdio::null());
        assert!(!program.status().unwrap().success(), "it aborts");
        let pid: u32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
        until(
            "the process to die",
            Duration::from_secs(10),
            async || match is_sleep(pid) {
                false => Look::Ready(()),
                true => Look::NotYet("it sleeps".to_owned()),
            },
        )
        .await
        .unwrap();
    }

    #[test]
    fn time_and_memory_are_read() {
        let before = own_cpu_time().unwrap();
        let mut sum = 0_u64;
        while own_cpu_time().unwrap() < before + Duration::from_millis(30) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path());
        process.start().unwrap();
        assert!(process.resident_bytes().unwrap() > 0);
        assert!(process.cpu_time().unwrap() < Duration::from_secs(5));
    }
}
