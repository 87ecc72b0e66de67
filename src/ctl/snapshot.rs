//! `snapshot save`: a member's backup in a file.

use super::go;
use super::options::SnapshotCommand;
use super::run::{Done, Failure, Session};
use crate::env::{Disk, DiskFile, Worker};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a backup ends with: the SHA-256 of all before.
const TRAILER_BYTES: usize = 32;

pub(super) async fn run(session: &Session, command: &SnapshotCommand) -> Result<Done, Failure> {
    match command {
        SnapshotCommand::Save { arguments } => save(session, arguments).await,
    }
}

async fn save(session: &Session, arguments: &[OsString]) -> Result<Done, Failure> {
    let [path] = arguments else {
        return Err(Failure::bad_arguments("snapshot save expects one argument"));
    };
    let endpoints = &session.global.endpoints;
    if endpoints.len() != 1 {
        return Err(Failure::interrupted(format!(
            "snapshot must be requested to one selected node, not multiple [{}]",
            endpoints.join(" ")
        )));
    }
    let fetching = fetch(session, Path::new(path));
    match session.global.command_timeout {
        // A backup takes as long as it takes, if nothing else is asked for.
        None => fetching.await?,
        Some(limit) => tokio::time::timeout(limit, fetching)
            .await
            .map_err(|_| Failure::interrupted("context deadline exceeded"))??,
    }
    let mut stdout = b"Snapshot saved at ".to_vec();
    stdout.extend_from_slice(path.as_bytes());
    stdout.push(b'\n');
    Ok(Done {
        stdout,
        ..Done::default()
    })
}

/// The file has its name once all of it is there and on disk.
async fn fetch(session: &Session, path: &Path) -> Result<(), Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let io = |error: std::io::Error| Failure::interrupted(go::system_error(&error));
    let worker = session.env.threads.worker("snapshot").map_err(io)?;
    let disk = Arc::clone(&session.env.disk);
    let opened = {
        let (disk, part) = (Arc::clone(&disk), part.clone());
        worker.run(move || create_anew(disk.as_ref(), &part)).await
    };
    let file = opened.map_err(io)?.map_err(|error| {
        let (name, why) = (part.display(), go::system_error(&error));
        Failure::interrupted(format!("could not open {name} (open {name}: {why})"))
    })?;
    let written = write(session, &worker, file.into()).await;
    let path = path.to_owned();
    worker
        .run(move || match written {
            Ok(()) => keep(disk.as_ref(), &part, &path).map_err(|error| {
                let (from, to, why) = (part.display(), path.display(), go::system_error(&error));
                Failure::interrupted(format!("could not rename {from} to {to} ({why})"))
            }),
            Err(failure) => {
                disk.remove_file(&part).unwrap_or_default();
                Err(failure)
            }
        })
        .await
        .map_err(io)?
}

fn create_anew(disk: &dyn Disk, part: &Path) -> std::io::Result<Box<dyn DiskFile>> {
    if disk.exists(part)? {
        disk.remove_file(part)?;
    }
    disk.create(part)
}

fn keep(disk: &dyn Disk, part: &Path, path: &Path) -> std::io::Result<()> {
    disk.rename(part, path)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => disk.sync_dir(dir),
        _ => disk.sync_dir(Path::new(".")),
    }
}

/// All that the member sends, checked and on disk.
async fn write(session: &Session, worker: &Worker, file: Arc<dyn DiskFile>) -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::interrupted(go::system_error(&error));
    let mut blobs = session.client.snapshot().await.map_err(interrupted)?;
    let mut check = Check::default();
    let mut length: u64 = 0;
    loop {
        let answer = blobs.message().await;
        let Some(answer) = answer.map_err(|status| interrupted(status.into()))? else {
            break;
        };
        let (offset, blob, file) = (length, answer.blob, Arc::clone(&file));
        length += blob.len() as u64;
        let add = move || {
            check.add(&blob);
            file.write_all_at(&blob, offset).map(|()| check)
        };
        check = worker.run(add).await.map_err(io)?.map_err(io)?;
    }
    check.end().map_err(Failure::interrupted)?;
    worker
        .run(move || file.sync())
        .await
        .map_err(io)?
        .map_err(io)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn interrupted(error: crate::client::ClientError) -> Failure {
    Failure::interrupted(error.to_string())
}

/// Sums up all but the last bytes, which are the sum.
#[derive(Default)]
struct Check {
    sum: Sha256,
    /// The last ones so far, [`TRAILER_BYTES`] at most.
    tail: Vec<u8>,
}

impl Check {
    fn add(&mut self, bytes: &Bytes) {
        if bytes.len() >= TRAILER_BYTES {
            let (before, tail) = bytes.split_at(bytes.len() - TRAILER_BYTES);
            self.sum.update(&self.tail);
            self.sum.update(before);
            self.tail = tail.to_vec();
        } else {
            self.tail.extend_from_slice(bytes);
            let before = self.tail.len().saturating_sub(TRAILER_BYTES);
            self.sum.update(self.tail.drain(..before).as_slice());
        }
    }

    fn end(self) -> Result<(), &'static str> {
        if self.tail.len() < TRAILER_BYTES {
            return Err("the snapshot ended before its checksum");
        }
        if self.sum.finalize().as_slice() == self.tail {
            Ok(())
        } else {
            Err("the snapshot's checksum does not match: it ended too early or is damaged")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_checked_however_it_is_cut() {
        let data: Vec<u8> = (0..200_u8).collect();
        let mut whole = data.clone();
        whole.extend_from_slice(&Sha256::digest(&data));
        for size in [1, 7, 31, 32, 33, 100, 232] {
            let mut check = Check::default();
            for chunk in whole.chunks(size) {
                check.add(&Bytes::copy_from_slice(chunk));
            }
            assert_eq!(check.end(), Ok(()), "in parts of {size}");
            let mut check = Check::default();
            for chunk in whole[..whole.len() - 1].chunks(size) {
                check.add(&Bytes::copy_from_slice(chunk));
            }
            assert!(check.end().is_err(), "cut, in parts of {size}");
        }
        assert!(Check::default().end().is_err());
    }
}
