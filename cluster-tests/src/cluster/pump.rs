//! Carries one direction of one connection from socket to socket, through a [`Wire`].

use super::sky::View;
use super::weather::{Cut, Quality};
use super::wire::Wire;
use std::future::pending;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

/// What is read at once at most.
const READ_BYTES_MAX: usize = 64 << 10;

/// Why a pump ended, if not by an ordinary end of the stream: both ends are to be reset.
#[derive(Debug)]
pub struct Broken;

/// Carries what comes until its stream ends, and then the end.
///
/// # Errors
/// A side is gone, the weather resets the connection, or bytes vanished and the way is open again.
pub async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut view: View,
) -> Result<(), Broken> {
    let mut buffer = vec![0; READ_BYTES_MAX];
    let mut wire = Wire::default();
    let mut quality = view.quality();
    let mut ended = false;
    // Nobody takes the bytes any more, and their sender cannot know.
    let mut void = false;
    loop {
        if ended && wire.is_empty() && !wire.has_lost() && !void {
            if to.shutdown().await.is_ok() {
                return Ok(());
            }
            void = hides(&view)?;
        }
        let due = wire.due();
        let arriving = due.is_some_and(|due| due <= Instant::now());
        let room = if ended { 0 } else { wire.room(&quality) };
        let space = buffer.get_mut(..room.min(READ_BYTES_MAX));
        tokio::select! {
            biased;
            () = view.changed() => {
                let (now, back) = (view.quality(), view.back());
                if resets(&now) || resets(&back) || wire.is_torn(&now) {
                    return Err(Broken);
                }
                if void && back.cut != Some(Cut::Drop) {
                    return Err(Broken);
                }
                if now != quality {
                    wire.turn(Instant::now(), &now);
                    quality = now;
                }
            }
            written = to.write(wire.front()), if arriving => match written {
                Ok(count) if count > 0 => wire.arrived(count),
                _ => {
                    void = hides(&view)?;
                    wire.discard();
                }
            },
            () = wait(due), if !arriving => {}
            read = from.read(space.unwrap_or_default()), if room > 0 => {
                // Not what the weather was when the wait began: a cut lets nothing through that
                // comes after it.
                let now = view.quality();
                match read {
                    Ok(0) => ended = true,
                    // A reset is swallowed by a cut like anything else.
                    Err(_) if now.cut == Some(Cut::Drop) => ended = true,
                    Err(_) => return Err(Broken),
                    Ok(_) if void => {}
                    Ok(count) => {
                        let piece = buffer.get(..count).unwrap_or_default();
                        view.with_way(|way| wire.carry(piece, Instant::now(), &now, way));
                    }
                }
                if ended && now.cut == Some(Cut::Drop) {
                    wire.lose();
                }
            }
        }
    }
}

/// Whether connections on such a way are reset.
fn resets(quality: &Quality) -> bool {
    quality.cut == Some(Cut::Reset)
}

/// Whether the way back hides that a receiver is gone; else the connection is broken.
fn hides(view: &View) -> Result<bool, Broken> {
    if view.back().cut == Some(Cut::Drop) {
        Ok(true)
    } else {
        Err(Broken)
    }
}

async fn wait(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
