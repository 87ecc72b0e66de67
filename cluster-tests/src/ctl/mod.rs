//! The same command lines to `quorate` and to Debian's `etcdctl`, each against a fresh etcd of its
//! own at the same addresses; what they print, say and exit with must be equal.
//!
//! [`lines`] are the commands that end by themselves, [`stories`] those that wait for something,
//! [`tool`] runs them, [`mask`] takes out what no two runs have in common. What differs on purpose
//! is in `docs/compatibility.md` and, where it is met here, in [`mask::EXIT_CODES`].

pub mod lines;
pub mod mask;
pub mod stories;
pub mod tool;

use crate::cluster::layout::Layout;
use crate::cluster::local::{Cluster, PATIENCE, Spec};
use crate::cluster::program::Program;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use tool::{Recording, Tool};

/// Runs everything with both and compares.
///
/// # Errors
/// A command line differs, or an etcd cannot be started.
pub async fn run(dir: &Path) -> Result<()> {
    let dir = dir.join("ctl");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("erase what an earlier run left")?;
    }
    std::fs::create_dir_all(&dir)?;
    // Called through a link, as a newcomer's scripts do.
    let ours = std::fs::canonicalize(&dir)?.join("etcdctl");
    std::os::unix::fs::symlink(std::fs::canonicalize(Program::Quorate.binary()?)?, &ours)?;
    let layout = Layout::claim()?;
    let theirs = Box::pin(record(on_path("etcdctl")?, layout, dir.join("theirs"))).await?;
    let ours = Box::pin(record(ours, layout, dir.join("ours"))).await?;
    compare(&ours, &theirs)?;
    std::fs::remove_dir_all(&dir).context("erase the data")
}

/// All that one tool does, in order.
async fn record(program: PathBuf, layout: Layout, dir: PathBuf) -> Result<Vec<Recording>> {
    let mut all = Vec::new();
    let spec = |nodes, part: &str| Spec::new(Program::Etcd, nodes, layout, dir.join(part));
    let mut one = Cluster::start(spec(1, "one")).await?;
    one.wait_serving(&[1], PATIENCE).await?;
    let mut tool = Tool::new(program.clone(), vec![one.client_address(1)], dir.clone());
    lines::alone(&mut tool, &mut all).await?;
    stories::run(&mut tool, &mut all).await?;
    lines::last(&mut tool, &mut all).await?;
    drop(one);
    let mut three = Cluster::start(spec(3, "three")).await?;
    three.wait_serving(&[1, 2, 3], PATIENCE).await?;
    three.wait_leader(&[1, 2, 3], PATIENCE).await?;
    let endpoints = (1..=3).map(|node| three.client_address(node)).collect();
    let mut tool = Tool::new(program, endpoints, dir);
    lines::together(&mut tool, &mut all).await?;
    Ok(all)
}

fn compare(ours: &[Recording], theirs: &[Recording]) -> Result<()> {
    ensure!(ours.len() == theirs.len(), "not as many commands were run");
    let mut differing = 0;
    for (ours, theirs) in ours.iter().zip(theirs) {
        if mask::common(ours) != mask::common(theirs) {
            differing += 1;
            println!("--- etcdctl\n{theirs}--- quorate\n{ours}");
        }
    }
    println!("{} command lines compared", ours.len());
    if differing > 0 {
        bail!("{differing} of {} command lines differ", ours.len());
    }
    Ok(())
}

fn on_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|dir| dir.join(name));
    let found = files.find(|path| path.is_file());
    found.with_context(|| format!("no {name} on the path: apt-get install etcd-client"))
}
