//! A private network namespace: the laboratory runs itself again inside one, where it may do with
//! packets as it likes, and which the kernel takes away with its last process.
//!
//! Root may make one, and so may anybody where the kernel allows user namespaces.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the namespace that this program left when it entered one of its own.
const OUTSIDE: &str = "CLUSTER_TESTS_OUTSIDE";
/// How to get one, in the order in which it is tried.
const WAYS: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Whether this process runs in a network namespace made by [`enter`].
pub fn is_entered() -> bool {
    let outside = std::env::var_os(OUTSIDE);
    outside.is_some_and(|outside| namespace_of("self").is_ok_and(|here| here != outside))
}

/// Runs this program anew with the same arguments in a namespace of its own, in place of this one;
/// returns if it is there already. The process id stays.
///
/// # Errors
/// The kernel or the machine's owner allows no namespace; what it said.
pub fn enter() -> Result<()> {
    if is_entered() {
        return Ok(());
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let error = command(&arguments)?.exec();
    Err(error).context("run in a network namespace")
}

/// This program with `arguments` in a network namespace of its own, yet to be started.
///
/// # Errors
/// No way to a namespace is open.
pub fn command(arguments: &[OsString]) -> Result<Command> {
    let program = std::env::current_exe().context("where this program is")?;
    let mut refusals = Vec::new();
    for way in WAYS {
        let tried = Command::new("unshare").args(way).arg("true").output();
        let tried = tried.context("run unshare")?;
        if tried.status.success() {
            let mut command = Command::new("unshare");
            command.args(way).arg("--").arg(program).args(arguments);
            command.env(OUTSIDE, namespace_of("self")?);
            return Ok(command);
        }
        refusals.push(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
    }
    bail!(
        "no network namespace may be made here: {}",
        refusals.join("; ")
    )
}

/// What distinguishes the network namespace of a process: `net:[4026531840]`.
///
/// # Errors
/// The process is gone.
pub fn namespace_of(pid: &str) -> Result<OsString> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/net"));
    Ok(link.context("look at a namespace")?.into_os_string())
}

/// A program of the system's administrator, whose directory a user's `PATH` may lack.
///
/// # Errors
/// It is not there, and how to get it.
pub fn tool(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into(), Path::new("/sbin").into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            let package = if name == "nft" {
                "nftables"
            } else {
                "iproute2"
            };
            format!("no {name} on this machine: apt-get install {package}")
        })
}
