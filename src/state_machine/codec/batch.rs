//! Batches of commands: one log entry each.

use super::CodecError;
use super::command::{put_command, read_command};
use super::words::Reader;
use crate::state_machine::command::Command;
use bytes::{BufMut, Bytes, BytesMut};

/// The first byte of every batch of commands and of replies.
pub const COMMAND_FORMAT_VERSION: u8 = 1;

/// Bytes of the length in front of a command.
const LENGTH_BYTES: usize = 4;

/// Collects commands for one log entry.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    encoded: BytesMut,
    commands: usize,
}

impl BatchBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commands.
    pub fn len(&self) -> usize {
        self.commands
    }

    pub fn is_empty(&self) -> bool {
        self.commands == 0
    }

    /// How many bytes, encoded.
    pub fn bytes(&self) -> usize {
        self.encoded.len()
    }

    pub fn push(&mut self, command: &Command) {
        self.start();
        push_record(&mut self.encoded, command);
        self.commands += 1;
    }

    /// Adds all of a batch of so many commands, which [`decode_batch`] has understood.
    pub fn splice(&mut self, batch: &[u8], commands: usize) {
        debug_assert_eq!(batch.first(), Some(&COMMAND_FORMAT_VERSION));
        self.start();
        self.encoded
            .extend_from_slice(batch.get(1..).unwrap_or_default());
        self.commands += commands;
    }

    /// The batch. The builder is empty again.
    pub fn finish(&mut self) -> Bytes {
        self.start();
        self.commands = 0;
        self.encoded.split().freeze()
    }

    fn start(&mut self) {
        if self.encoded.is_empty() {
            self.encoded.put_u8(COMMAND_FORMAT_VERSION);
        }
    }
}

fn push_record(out: &mut BytesMut, command: &Command) {
    let start = out.len();
    out.put_u32_le(0);
    put_command(out, command);
    // A command is far smaller than 4 GiB: the door limits requests. One that is not would be
    // refused by every decoder, not misread.
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).unwrap_or(u32::MAX);
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

pub(super) fn check_version(bytes: &[u8]) -> Result<&[u8], CodecError> {
    match bytes.split_first() {
        Some((&COMMAND_FORMAT_VERSION, rest)) => Ok(rest),
        Some((&version, _)) if version > COMMAND_FORMAT_VERSION => {
            Err(CodecError::NewerFormat(version))
        }
        Some(_) | None => Err(CodecError::Malformed),
    }
}

/// Hands each record of a batch to `record`.
fn each_record<'a>(
    batch: &'a [u8],
    mut record: impl FnMut(&'a [u8]) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let mut rest = check_version(batch)?;
    while !rest.is_empty() {
        let (length, behind) = rest
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or(CodecError::Malformed)?;
        let length = usize::try_from(u32::from_le_bytes(*length));
        let length = length.map_err(|_| CodecError::Malformed)?;
        let (body, behind) = behind
            .split_at_checked(length)
            .ok_or(CodecError::Malformed)?;
        record(body)?;
        rest = behind;
    }
    Ok(())
}

/// Decodes all commands, or none. Keys and values are slices of `bytes`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the commands share these bytes from here on"
)]
pub fn decode_batch(bytes: Bytes) -> Result<Vec<Command>, CodecError> {
    let mut commands = Vec::new();
    each_record(&bytes, |body| {
        let mut reader = Reader::new(&bytes, body);
        commands.push(read_command(&mut reader)?);
        reader.end()
    })?;
    Ok(commands)
}

/// A batch with those commands, told by their place, that `keep` keeps. Damage is left to
/// [`decode_batch`]: such a batch stays as it is.
pub fn retain_commands(batch: &Bytes, keep: impl Fn(usize) -> bool) -> Bytes {
    let mut kept = BytesMut::with_capacity(batch.len());
    kept.put_u8(COMMAND_FORMAT_VERSION);
    let mut at = 0;
    let walked = each_record(batch, |body| {
        if keep(at) {
            // Its length was read from four bytes.
            kept.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
            kept.extend_from_slice(body);
        }
        at += 1;
        Ok(())
    });
    if walked.is_ok() {
        kept.freeze()
    } else {
        batch.clone()
    }
}

/// Whether every command of a batch is a put: work of microseconds each, whatever the state holds.
/// Looks at the commands' tags only; damage is left to [`decode_batch`].
pub fn is_puts_only(batch: &[u8]) -> bool {
    let mut puts = true;
    let looked = each_record(batch, |body| {
        puts &= body.first() == Some(&super::command::PUT);
        Ok(())
    });
    looked.is_ok() && puts
}
