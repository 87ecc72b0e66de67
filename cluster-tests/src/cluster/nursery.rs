//! Where child processes are born: on a thread that lives as long as this program.
//!
//! The kernel kills a child that asked for it (`setpriv --pdeathsig`) when the *thread* that started it
//! ends. Threads of a runtime come and go: one that has blocked (`block_in_place`) retires when it is
//! idle, and would take a member with it. This one stays, so a member dies with the program, however
//! that ends, and not before.

use anyhow::{Context, Result};
use std::io;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

type Birth = (Command, Sender<io::Result<Child>>);

/// Nothing if the machine has no thread left.
static NURSERY: LazyLock<Option<Sender<Birth>>> = LazyLock::new(|| {
    let (sender, births) = channel::<Birth>();
    let thread = std::thread::Builder::new().name("nursery".to_owned());
    let started = thread.spawn(move || {
        for (mut command, answer) in births {
            // Whoever asked has gone away: the child is dropped, not killed, and dies with us.
            drop(answer.send(command.spawn()));
        }
    });
    started.ok().map(|_| sender)
});

/// Starts it.
///
/// # Errors
/// It cannot be started.
pub fn spawn(command: Command) -> Result<Child> {
    let nursery = NURSERY
        .as_ref()
        .context("no thread to start processes on")?;
    let (answer, child) = channel();
    nursery
        .send((command, answer))
        .ok()
        .context("the thread that starts processes is gone")?;
    let child = child
        .recv()
        .context("the thread that starts processes is gone")?;
    child.context("start a process")
}
