//! What a journal says when a mount starts: which files have changes that are not committed, and which notes are not done.
//!
//! Files are read in the order of their numbers, and only as long as their sequences follow each other. A tail that is torn is what a
//! power cut leaves behind the last fsync. A gap is damage: what lies behind it is set aside under another name and reported.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cyx_crypto::keys::MountKey;
use cyx_crypto::mount::RecordCipher;

use super::format::{self, Base, FileId, Intent, RECORD_MAX, Record};
use super::{JournalError, Position, Segment, State, disk, read_whole};

/// Longest file that is read: a full one and the longest record behind it.
const FILE_MAX: u64 = (1 << 30) + RECORD_MAX as u64;

/// A file with changes that are not committed, as far as is known.
pub struct ReplayedFile {
    /// What they are based on.
    pub base: Base,
    /// Where the record of that lies.
    pub base_at: Position,
    /// The changes in order.
    pub changes: Vec<(Position, Change)>,
    /// Commits that were on their way, the latest last.
    pub intents: Vec<(Position, Intent)>,
}

/// A change of a file's content; written bytes are read from the journal when they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Bytes.
    Write {
        /// Where.
        offset: u64,
        /// How many.
        len: u64,
        /// When.
        time_ns: i64,
    },
    /// Another length.
    Length {
        /// The length.
        len: u64,
        /// When.
        time_ns: i64,
    },
    /// A hole.
    Hole {
        /// First byte.
        start: u64,
        /// Behind the last.
        end: u64,
        /// When.
        time_ns: i64,
    },
    /// A time that was set.
    Time {
        /// The time.
        mtime_ns: i64,
    },
}

/// What was found.
#[derive(Default)]
pub struct Replayed {
    /// Files with changes.
    pub files: Vec<ReplayedFile>,
    /// Notes that are not done, in order.
    pub notes: Vec<(Position, u8, Bytes)>,
    /// Files of the journal that could not be read and were set aside.
    pub damaged: Vec<PathBuf>,
}

#[derive(Default)]
struct Gathered {
    base: Option<(Position, Base)>,
    upto: u64,
    changes: Vec<(Position, Change)>,
    intents: Vec<(Position, Intent)>,
}

pub(super) fn read(folder: &Path, key: &MountKey, state: &mut State) -> Result<Replayed, JournalError> {
    let mut replayed = Replayed::default();
    let mut gathered: BTreeMap<FileId, Gathered> = BTreeMap::new();
    let mut notes: Vec<(Position, u8, Bytes)> = Vec::new();
    let mut done = HashSet::new();
    let mut expected = None;
    let mut broken = false;
    for (number, path) in files(folder)? {
        state.next_file = state.next_file.max(number + 1);
        let bytes = read_whole(&path, FILE_MAX).map_err(disk(&path))?;
        let parsed = format::parse(&bytes, |id| RecordCipher::new(key, id));
        let parsed = match parsed {
            Ok(parsed) if !broken && expected.is_none_or(|expected| expected == parsed.first) => parsed,
            // Begun and not even its header written: nothing is lost.
            Err(_) if bytes.len() < format::FILE_HEADER_LEN => {
                std::fs::remove_file(&path).map_err(disk(&path))?;
                continue;
            }
            _ => {
                broken = true;
                replayed.damaged.push(set_aside(&path)?);
                continue;
            }
        };
        let id = parsed.file;
        let count = parsed.records.len() as u64;
        for (sequence, (record, at, len)) in (parsed.first..).zip(parsed.records) {
            let position =
                Position { sequence, file: number, offset: at as u64, len: u32::try_from(len).unwrap_or(u32::MAX) };
            gather(position, record, &mut gathered, &mut notes, &mut done);
        }
        expected = Some(parsed.first + count);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(disk(&path))?;
        let len = bytes.len() as u64;
        state.used += len;
        let cipher = Arc::new(RecordCipher::new(key, &id));
        state.segments.insert(number, Segment { path, file: Arc::new(file), cipher, len, pinned: 0, synced: len });
    }
    // What was set aside may have had sequences of its own; they are not used again, so that nobody mistakes one for another.
    state.next_sequence = expected.unwrap_or(1);
    let pinned = |positions: &mut dyn Iterator<Item = Position>, state: &mut State| {
        for position in positions {
            if let Some(segment) = state.segments.get_mut(&position.file) {
                segment.pinned += 1;
            }
        }
    };
    for (_, found) in gathered {
        let Gathered { base, upto, mut changes, mut intents } = found;
        changes.retain(|(position, _)| position.sequence > upto);
        intents.retain(|(position, _)| position.sequence > upto);
        let Some((base_at, base)) = base else { continue };
        if changes.is_empty() {
            continue;
        }
        changes.sort_by_key(|(position, _)| position.sequence);
        let positions = changes.iter().map(|(position, _)| *position);
        pinned(&mut positions.chain(intents.iter().map(|(position, _)| *position)).chain([base_at]), state);
        replayed.files.push(ReplayedFile { base, base_at, changes, intents });
    }
    notes.retain(|(position, ..)| !done.contains(&position.sequence));
    pinned(&mut notes.iter().map(|(position, ..)| *position), state);
    replayed.notes = notes;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))?;
    Ok(replayed)
}

fn gather(
    position: Position,
    record: Record,
    gathered: &mut BTreeMap<FileId, Gathered>,
    notes: &mut Vec<(Position, u8, Bytes)>,
    done: &mut HashSet<u64>,
) {
    let change = match &record {
        Record::Write { offset, time_ns, data, .. } => {
            Some(Change::Write { offset: *offset, len: data.len() as u64, time_ns: *time_ns })
        }
        Record::Length { len, time_ns, .. } => Some(Change::Length { len: *len, time_ns: *time_ns }),
        Record::Hole { start, end, time_ns, .. } => Some(Change::Hole { start: *start, end: *end, time_ns: *time_ns }),
        Record::Time { mtime_ns, .. } => Some(Change::Time { mtime_ns: *mtime_ns }),
        _ => None,
    };
    let file = record.file().map(|file| gathered.entry(file).or_default());
    match (record, file, change) {
        (Record::Note { tag, data }, ..) => notes.push((position, tag, data)),
        (Record::Done { sequence }, ..) => {
            done.insert(sequence);
        }
        (Record::Base(base), Some(file), _) => {
            file.upto = file.upto.max(base.upto);
            file.base = Some((position, base));
        }
        (Record::Intent(intent), Some(file), _) => file.intents.push((position, intent)),
        (_, Some(file), Some(change)) => file.changes.push((position, change)),
        _ => {}
    }
}

fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(disk(folder))? {
        let path = entry.map_err(disk(folder))?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".journal"));
        if let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn set_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let aside = path.with_extension("damaged");
    std::fs::rename(path, &aside).map_err(disk(path))?;
    Ok(aside)
}
