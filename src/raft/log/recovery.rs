//! From the files of a directory back to the state, the index, and the place to go on.
//!
//! The rules, and why they hold:
//!
//! * **Every segment that holds records opens with a state record**, which also says where the
//!   segment before ended. A segment's last group is synced before the next segment gets its first
//!   byte, so every segment but the last must be whole up to that end; what stands after it is
//!   never looked at again.
//! * **The last one may be torn.** Its records are read up to the first that is not valid. A group
//!   is written only after the group before it was synced, so the power cut can have torn only the
//!   last group: if a header of a *later* group stands anywhere behind the bad place, durable bytes
//!   were damaged, and the log does not open.
//! * **Nothing cuts its file short.** Neither a power cut nor this program changes a segment's length
//!   before the next one is durable, so a last segment that is shorter than it was made has lost its
//!   end, and the log does not open.
//! * **Nothing is written after a torn tail.** The log goes on in a new segment. A later recovery
//!   therefore never meets half of an old group behind new records.
//! * **A log begins with segment 1.** A segment leaves only when the state record of a later one is
//!   durable, so if no segment has a state record, there never was anything but the first: a log
//!   whose oldest file has a higher number has lost its vote and its entries, and is not empty.
//!
//! What no log can tell: damage to the very last group that was synced looks like a torn write. Who
//! can tell is the leader that this member had acknowledged it to (`raft/receipts`).

use super::entry::Vote;
use super::error::LogError;
use super::index::{Index, Place};
use super::nursery::Spare;
use super::record::{ALIGNMENT, HEADER_BYTES, Header, Record, SegmentStart, header_at};
use super::segment::{
    FORMAT_VERSION, Found, RECORDS_AT, Segment, SegmentHeader, Sequence, parse_segment_name,
    parse_spare_name, segment_name, spare_name,
};
use crate::env::{Disk, DiskFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result: what the log holds, and what the writer needs to continue.
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) vote: Option<Vote>,
    /// Segments with records, oldest first, with the greatest index among their entries.
    pub(super) segments: Vec<(Segment, Option<u64>)>,
    /// The records of the last of them, as they were read, from [`RECORDS_AT`] on.
    pub(super) last_records: Vec<u8>,
    /// What the next segment's state record has to say.
    pub(super) start: SegmentStart,
    pub(super) next_sequence: Sequence,
    pub(super) next_incarnation: u64,
    /// Files that hold nothing.
    pub(super) unused: Vec<PathBuf>,
}

struct OpenSegment {
    path: PathBuf,
    segment: Segment,
    /// Its state record, if that is valid.
    start: Option<SegmentStart>,
}

/// Reads everything, changes nothing.
pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered, LogError> {
    let (files, mut unused, mut incarnation) = open_files(disk, dir)?;
    // The last segment with a state record; those behind it hold at most a torn first group.
    let used = files
        .iter()
        .rposition(|file| file.start.is_some())
        .map_or(0, |last| last + 1);
    if let Some(first) = files.first()
        && used == 0
        && first.segment.header.sequence > 1
    {
        let reason = "no state here, and the segments before are gone: the vote and the entries of \
                      this log are lost";
        return Err(first.damaged(RECORDS_AT, reason));
    }
    for file in &files[used..] {
        file.refuse_short()?;
        let bytes = read_all(file)?;
        refuse_later_group(file, &bytes, RECORDS_AT, 0)?;
        unused.push(file.path.clone());
    }

    let mut replay = Replay::default();
    let mut segments = Vec::with_capacity(used);
    let (mut end, mut last_records) = ((0, 0), Vec::new());
    for (at, file) in files[..used].iter().enumerate() {
        let bytes = read_all(file)?;
        let next = files[..used].get(at + 1);
        let sealed = match next {
            None => None,
            Some(next) => Some(
                next.start
                    .ok_or_else(|| next.damaged(RECORDS_AT, "no state"))?,
            ),
        };
        let (greatest, reader) = replay.segment(file, &bytes, at == 0, sealed)?;
        match sealed {
            None => {
                file.refuse_short()?;
                refuse_later_group(file, &bytes, reader.offset(), reader.group)?;
            }
            Some(sealed) => {
                if (reader.offset(), reader.link) != (sealed.previous_end, sealed.previous_link) {
                    return Err(file.damaged(
                        reader.offset(),
                        "no valid record here, and the next segment says that there was one",
                    ));
                }
            }
        }
        end = (reader.offset(), reader.link);
        if next.is_none() {
            last_records.extend_from_slice(reader.read_so_far());
        }
        segments.push((file.segment.clone(), greatest));
    }
    replay.refuse_missing_front(&files)?;

    let next_sequence = match files[..used].last().or(files.first()) {
        None => 1,
        Some(file) if used == 0 => file.segment.header.sequence,
        Some(file) => file.segment.header.sequence.saturating_add(1),
    };
    for file in &files {
        incarnation = incarnation.max(file.segment.header.incarnation);
    }
    Ok(Recovered {
        start: SegmentStart {
            vote: replay.vote,
            purged: replay.index.purged(),
            last: replay.index.last(),
            previous_end: end.0,
            previous_link: end.1,
        },
        index: replay.index,
        vote: replay.vote,
        segments,
        last_records,
        next_sequence,
        next_incarnation: incarnation.saturating_add(1),
        unused,
    })
}

/// Opens every segment and looks at its first bytes. Also: the spares, and the greatest incarnation
/// that any of their names or headers tells.
fn open_files(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<(Vec<OpenSegment>, Vec<PathBuf>, u64), LogError> {
    let mut files: Vec<OpenSegment> = Vec::new();
    let (mut spares, mut incarnation) = (Vec::new(), 0);
    // Names sort by sequence.
    for name in disk.list(dir).map_err(LogError::io("list", dir))? {
        let path = dir.join(&name);
        if let Some(of_name) = parse_spare_name(&name) {
            incarnation = incarnation.max(of_name);
            let file = disk.open(&path).map_err(LogError::io("open", &path))?;
            if let Some(header) = known_header(&*file, &path)? {
                incarnation = incarnation.max(header.incarnation);
            }
            spares.push(path);
        } else if let Some(sequence) = parse_segment_name(&name) {
            let file = disk.open(&path).map_err(LogError::io("open", &path))?;
            let found = known_header(&*file, &path)?;
            let header = found
                .filter(|header| header.sequence == sequence)
                .ok_or_else(|| damaged(&path, 0, "the segment's header is not valid"))?;
            let missing = files
                .last()
                .map(|last| last.segment.header.sequence.saturating_add(1));
            if let Some(missing) = missing.filter(|missing| *missing != sequence) {
                return Err(damaged(
                    &dir.join(segment_name(missing)),
                    0,
                    "the file is missing",
                ));
            }
            let bytes = file.len().map_err(LogError::io("measure", &path))?;
            let segment = Segment {
                header,
                file: Arc::from(file),
                bytes,
            };
            let start = read_start(&segment, &path)?;
            files.push(OpenSegment {
                path,
                segment,
                start,
            });
        }
    }
    Ok((files, spares, incarnation))
}

/// Looks at the versions alone.
pub(super) fn check_formats(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    for name in disk.list(dir).map_err(LogError::io("list", dir))? {
        if parse_spare_name(&name).is_some() || parse_segment_name(&name).is_some() {
            let path = dir.join(&name);
            let file = disk.open(&path).map_err(LogError::io("open", &path))?;
            known_header(&*file, &path)?;
        }
    }
    Ok(())
}

fn known_header(file: &dyn DiskFile, path: &Path) -> Result<Option<SegmentHeader>, LogError> {
    match SegmentHeader::read(file, path)? {
        Found::Header(header) => Ok(Some(header)),
        Found::Nothing => Ok(None),
        Found::Newer(found) => Err(LogError::NewerFormat {
            file: path.to_owned(),
            found,
            known: FORMAT_VERSION,
        }),
    }
}

fn read_start(segment: &Segment, path: &Path) -> Result<Option<SegmentStart>, LogError> {
    let mut bytes = [0; 256];
    if segment.bytes < RECORDS_AT + bytes.len() as u64 {
        // Shorter than that only because it was cut at its end: then it is whole.
        let mut all = vec![0; usize::try_from(segment.bytes).unwrap_or(0)];
        segment
            .file
            .read_exact_at(&mut all, 0)
            .map_err(LogError::io("read", path))?;
        let from = usize::try_from(RECORDS_AT).unwrap_or(usize::MAX);
        let rest = all.get(from..).unwrap_or_default();
        bytes[..rest.len()].copy_from_slice(rest);
    } else {
        segment
            .file
            .read_exact_at(&mut bytes, RECORDS_AT)
            .map_err(LogError::io("read", path))?;
    }
    let mut reader = Reader {
        bytes: &bytes,
        at: 0,
        seed: 0,
        link: 0,
        group: 0,
    };
    reader.seed = segment.header.seed();
    reader.link = reader.seed;
    Ok(match reader.next() {
        Some((_, _, Record::State(start))) => Some(start),
        _ => None,
    })
}

fn read_all(file: &OpenSegment) -> Result<Vec<u8>, LogError> {
    let length = usize::try_from(file.segment.bytes).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    file.segment
        .file
        .read_exact_at(&mut bytes, 0)
        .map_err(LogError::io("read", &file.path))?;
    Ok(bytes)
}

fn damaged(file: &Path, offset: u64, reason: &str) -> LogError {
    LogError::Damaged {
        file: file.to_owned(),
        offset,
        reason: reason.to_owned(),
    }
}

impl OpenSegment {
    fn damaged(&self, offset: u64, reason: &str) -> LogError {
        damaged(&self.path, offset, reason)
    }

    /// Of a segment that no later one has sealed.
    fn refuse_short(&self) -> Result<(), LogError> {
        let (made, found) = (u64::from(self.segment.header.bytes), self.segment.bytes);
        if found >= made {
            return Ok(());
        }
        Err(self.damaged(
            found,
            &format!("the file ends here, and was made with {made} bytes"),
        ))
    }
}

/// `group` is the group that was being read when the record at `offset` proved invalid.
fn refuse_later_group(
    file: &OpenSegment,
    bytes: &[u8],
    offset: u64,
    group: u32,
) -> Result<(), LogError> {
    let seed = file.segment.header.seed();
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let later = (from..bytes.len().saturating_sub(HEADER_BYTES - 1))
        .step_by(ALIGNMENT)
        .find(|at| header_at(&bytes[*at..], seed).is_some_and(|header| header.group > group));
    match later {
        None => Ok(()),
        Some(later) => Err(file.damaged(
            offset,
            &format!("a valid later record follows at offset {later}"),
        )),
    }
}

/// Walks the valid records of a segment.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    seed: u32,
    /// Link of the record before.
    link: u32,
    /// Group of the record to come.
    group: u32,
}

impl Reader<'_> {
    fn offset(&self) -> u64 {
        self.at as u64
    }

    /// The bytes of the records so far.
    fn read_so_far(&self) -> &[u8] {
        let from = usize::try_from(RECORDS_AT).unwrap_or(usize::MAX);
        self.bytes.get(from..self.at).unwrap_or_default()
    }

    /// The next record with its offset and header; `None` at the first that is not valid.
    fn next(&mut self) -> Option<(u64, Header, Record)> {
        let bytes = self.bytes.get(self.at..)?;
        let header = header_at(bytes, self.seed)?;
        if header.previous != self.link || header.group != self.group {
            return None;
        }
        let record = header.record(header.payload(bytes)?)?;
        let offset = self.offset();
        self.at = self.at.checked_add(header.record_bytes()?)?;
        self.link = header.link;
        self.group += u32::from(header.is_last_of_group());
        Some((offset, header, record))
    }
}

#[derive(Default)]
struct Replay {
    index: Index,
    vote: Option<Vote>,
}

impl Replay {
    /// Applies the records of a segment up to its sealed end, or to the first that is not valid.
    /// Answers the greatest index among its entries.
    fn segment<'a>(
        &mut self,
        file: &OpenSegment,
        bytes: &'a [u8],
        is_first: bool,
        sealed: Option<SegmentStart>,
    ) -> Result<(Option<u64>, Reader<'a>), LogError> {
        let header = file.segment.header;
        let at = usize::try_from(RECORDS_AT).unwrap_or(usize::MAX);
        let mut reader = Reader {
            bytes,
            at,
            seed: header.seed(),
            link: header.seed(),
            group: 0,
        };
        let mut greatest = None;
        while sealed.is_none_or(|next| reader.offset() < next.previous_end)
            && let Some((offset, record_header, record)) = reader.next()
        {
            let wrong = |reason: &str| file.damaged(offset, reason);
            match record {
                Record::State(start) if offset == RECORDS_AT => {
                    if is_first {
                        self.index.start_after(start.purged, start.last);
                        self.vote = start.vote;
                    } else if (start.vote, start.purged, start.last)
                        != (self.vote, self.index.purged(), self.index.last())
                    {
                        return Err(wrong("the state does not continue the segment before"));
                    }
                }
                Record::State(_) => return Err(wrong("a state in the middle of a segment")),
                Record::Entry(position) => {
                    if self.index.next().is_some_and(|next| next != position.index) {
                        return Err(wrong("an entry is not the next one"));
                    }
                    let place = Place {
                        sequence: header.sequence,
                        offset: u32::try_from(offset).map_err(|_| wrong("a file over 4 GiB"))?,
                        payload_bytes: record_header.payload_bytes,
                    };
                    self.index.push_written(position, place);
                    greatest = greatest.max(Some(position.index));
                }
                Record::Vote(vote) => self.vote = Some(vote),
                Record::Truncate(keep) => {
                    let purged = self.index.purged();
                    if keep.is_some_and(|keep| purged.is_some_and(|gone| keep.index < gone.index)) {
                        return Err(wrong("a truncation below the purged entries"));
                    }
                    self.index.truncate_after(keep);
                }
                Record::Purge(upto) => self.index.purge(upto),
            }
        }
        Ok((greatest, reader))
    }

    /// The oldest segment left says which entries came before it. They must have been purged, or
    /// segments are missing that were never allowed to go.
    fn refuse_missing_front(&self, files: &[OpenSegment]) -> Result<(), LogError> {
        let Some(first) = files.first() else {
            return Ok(());
        };
        let Some(before) = first.start.and_then(|start| start.last) else {
            return Ok(());
        };
        if self
            .index
            .purged()
            .is_some_and(|purged| purged.index >= before.index)
        {
            return Ok(());
        }
        let missing = first.segment.header.sequence.saturating_sub(1);
        Err(damaged(
            &first.path.with_file_name(segment_name(missing)),
            0,
            "the file is missing",
        ))
    }
}

/// Puts away the files that hold nothing: a full-sized one is used again. The newest goes first and
/// durably, so that the names a power cut leaves are consecutive.
pub(super) fn tidy_up(
    disk: &dyn Disk,
    dir: &Path,
    unused: &[PathBuf],
    spare_bytes: u64,
) -> Result<Vec<Spare>, LogError> {
    let mut spares: Vec<Spare> = Vec::new();
    for path in unused.iter().rev() {
        let file = disk.open(path).map_err(LogError::io("open", path))?;
        let bytes = file.len().map_err(LogError::io("measure", path))?;
        match known_header(&*file, path)? {
            Some(header) if spares.is_empty() && bytes == spare_bytes => {
                let name = dir.join(spare_name(header.incarnation));
                if name != *path {
                    disk.rename(path, &name)
                        .map_err(LogError::io("recycle", path))?;
                }
                spares.push(Spare {
                    path: name,
                    file: Arc::from(file),
                    bytes,
                });
            }
            _ => disk
                .remove_file(path)
                .map_err(LogError::io("remove", path))?,
        }
        disk.sync_dir(dir)
            .map_err(LogError::io("sync directory", dir))?;
    }
    Ok(spares)
}
