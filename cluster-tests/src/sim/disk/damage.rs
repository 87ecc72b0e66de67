//! Damage to the files of a member that is down.

use super::SimDisk;
use super::syncs::unseen;
use quorate::env::Disk;
use rand::Rng;
use rand::rngs::StdRng;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit is turned.
    FlipBit,
    /// The end is missing.
    Truncate,
}

/// Which files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Of the segments of the Raft log, where something was written.
    Log,
    /// Tables and manifest of the current state.
    State,
    /// All of the snapshots', half-received ones among them. Tables are the same files as the
    /// state's, under another name, as they are on any disk.
    Snapshot,
}

/// A file that can be damaged, and how many bytes from its beginning.
struct Target {
    path: PathBuf,
    bytes: u64,
    in_memory: bool,
}

impl SimDisk {
    /// Damages one file of a member that does not run: answers what was done to which, or `None` if
    /// there is none (or it cannot be read).
    pub fn damage(&self, part: Part, damage: Damage, random: &mut StdRng) -> Option<String> {
        let targets = self.targets(part).ok()?;
        let number = random.random_range(0..targets.len().max(1));
        let target = targets.get(number)?;
        let at = random.random_range(0..target.bytes);
        let bit = random.random_range(0..8_u32);
        self.hurt(target, damage, at, 1 << bit).ok()?;
        let name = target.path.strip_prefix(self.root());
        let name = name.unwrap_or(&target.path).display();
        Some(match damage {
            Damage::FlipBit => format!("bit {bit} of byte {at} of {name} turned"),
            Damage::Truncate => format!("{name} cut off at byte {at}"),
        })
    }

    fn hurt(&self, target: &Target, damage: Damage, at: u64, bits: u8) -> io::Result<()> {
        let (memory, path) = (&self.inner.memory, target.path.as_path());
        match (damage, target.in_memory) {
            (Damage::FlipBit, true) => memory.flip(path, at, bits),
            (Damage::Truncate, true) => memory.truncate(path, at),
            (Damage::FlipBit, false) => unseen(|| {
                let file = OpenOptions::new().read(true).write(true).open(path)?;
                let mut byte = [0];
                file.read_exact_at(&mut byte, at)?;
                file.write_all_at(&[byte[0] ^ bits], at)
            }),
            (Damage::Truncate, false) => OpenOptions::new().write(true).open(path)?.set_len(at),
        }
    }

    fn targets(&self, part: Part) -> io::Result<Vec<Target>> {
        let mut targets = match part {
            Part::Log => self.segments()?,
            Part::State => {
                let Some(dir) = self.state()? else {
                    return Ok(Vec::new());
                };
                let is_its = |name: &str| name.ends_with(".sst") || name.starts_with("MANIFEST");
                real_files(&dir, &is_its)?
            }
            Part::Snapshot => real_files(&self.root().join("member/snapshot"), &|_| true)?,
        };
        targets.retain(|target| target.bytes > 0);
        targets.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(targets)
    }

    fn segments(&self) -> io::Result<Vec<Target>> {
        let (memory, dir) = (&self.inner.memory, Path::new("member/log"));
        let mut found = Vec::new();
        for name in memory.list(dir)? {
            if !name.ends_with(".log") {
                continue;
            }
            let path = dir.join(name);
            let bytes = memory.bytes(&path)?;
            // What follows was prepared and never used.
            let used = bytes.iter().rposition(|byte| *byte != 0);
            found.push(Target {
                path,
                bytes: used.map_or(0, |last| last as u64 + 1),
                in_memory: true,
            });
        }
        Ok(found)
    }

    /// The directory that `state.current` names.
    fn state(&self) -> io::Result<Option<PathBuf>> {
        let current = Path::new("member/state.current");
        if !self.inner.memory.exists(current)? {
            return Ok(None);
        }
        let name = self.inner.memory.bytes(current)?;
        let name = String::from_utf8_lossy(&name).trim().to_owned();
        let dir = self.root().join("member").join(name);
        Ok(dir.is_dir().then_some(dir))
    }
}

/// Those below `dir` whose names are `wanted`.
fn real_files(dir: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Target>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if metadata.is_dir() {
            found.extend(real_files(&path, wanted)?);
        } else if wanted(&name) {
            found.push(Target {
                path,
                bytes: metadata.len(),
                in_memory: false,
            });
        }
    }
    Ok(found)
}
