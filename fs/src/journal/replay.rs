//! What a journal says when a mount starts: which files have changes that are not committed, and which notes are not done.
//!
//! Files are read in the order of their numbers. A torn end is what a power cut leaves behind the last fsync; fresh files behind it are left
//! out with it. Anything else that cannot be read is damage: what lies behind it was promised as well and is taken; the damaged file stays
//! under another name, and it is told.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cyx_crypto::keys::MountKey;
use cyx_crypto::mount::RecordCipher;
use cyx_crypto::mount::salvage::{Found, Salvaged, salvage};

use super::damaged_read::read_whole;
use super::format::{self, Base, FileId, Intent, RECORD_MAX, Record, Share};
use super::{JournalError, Position, Segment, State, disk, removal, unsynced};

/// What the names of files end with.
pub(super) const ENDING: &str = "journal";
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

/// A change of a file's content; written bytes, and what is shared, are read from the journal when they are needed.
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
    /// Bytes of another file, by reference.
    Share {
        /// Where.
        offset: u64,
        /// How many.
        len: u64,
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
    /// Copies of files of the journal that could not be read completely.
    pub damaged: Vec<PathBuf>,
    /// Records that are missing, as far as can be told.
    pub lost: u64,
    /// Somebody else had the folder before, and left nothing that is not sent.
    pub taken_over: bool,
}

#[derive(Default)]
struct Gathered {
    base: Option<(Position, Base)>,
    upto: u64,
    changes: Vec<(Position, Change)>,
    intents: Vec<(Position, Intent)>,
}

/// A file of the journal as it was read.
struct Read {
    number: u64,
    path: PathBuf,
    len: u64,
    found: Salvaged,
    key: MountKey,
}

/// The file behind one that is taken.
#[derive(Clone, Copy)]
struct Next {
    /// The sequence that it begins with.
    first: u64,
    /// Nobody was promised anything of it.
    is_fresh: bool,
}

/// What is being put together from all files.
#[derive(Default)]
struct Replay {
    replayed: Replayed,
    gathered: BTreeMap<FileId, Gathered>,
    done: HashSet<u64>,
    /// The sequence that comes next.
    expected: Option<u64>,
}

/// Reads a file with the key that opens it: the newest, or one of before if no record opens with that.
fn open(bytes: &[u8], key: &MountKey, older: &[MountKey]) -> Option<(Salvaged, MountKey)> {
    let mut first = None;
    for key in std::iter::once(key).chain(older) {
        let Ok(found) = salvage(bytes, |id| RecordCipher::new(key, id)) else { continue };
        let nothing_there = bytes.len() == format::FILE_HEADER_LEN;
        if nothing_there || !found.records.is_empty() {
            return Some((found, key.clone()));
        }
        first = first.or(Some((found, key.clone())));
    }
    first
}

/// Whether there are records that were promised, and none of them opens.
pub(super) fn is_sealed_otherwise(folder: &Path, key: &MountKey, older: &[MountKey]) -> Result<bool, JournalError> {
    let (fresh, mut is_some) = (unsynced::found(folder)?, false);
    for (_, path) in numbered(folder, ENDING)?.into_iter().filter(|(number, _)| !fresh.contains(number)) {
        let bytes = read_whole(&path, FILE_MAX).map_err(disk(&path))?;
        if bytes.len() <= format::FILE_HEADER_LEN {
            continue;
        }
        match open(&bytes, key, older) {
            Some((found, _)) if !found.records.is_empty() => return Ok(false),
            Some(_) => is_some = true,
            None => {}
        }
    }
    Ok(is_some)
}

pub(super) fn read(
    folder: &Path,
    key: &MountKey,
    older: &[MountKey],
    state: &mut State,
) -> Result<Replayed, JournalError> {
    let mut replay = Replay::default();
    let mut before: Option<Read> = None;
    state.next_file = state.next_file.max(removal::finish(folder)?);
    state.fresh = unsynced::found(folder)?;
    // What is missing behind a file that cannot be read at all is in that file.
    let (mut first, mut is_cut_off, mut is_gap) = (None, false, false);
    for (number, path) in numbered(folder, ENDING)? {
        state.next_file = state.next_file.max(number + 1);
        let is_fresh = state.fresh.contains(&number);
        // Whatever happened before it, what was promised is never left out.
        is_cut_off &= is_fresh;
        if is_cut_off {
            std::fs::remove_file(&path).map_err(disk(&path))?;
            continue;
        }
        let bytes = read_whole(&path, FILE_MAX).map_err(disk(&path))?;
        let opened = if bytes.len() < format::FILE_HEADER_LEN { None } else { open(&bytes, key, older) };
        // Begun and not even its header written, or no record behind it: nothing is lost.
        let is_unwritten = match &opened {
            None => {
                let header = bytes.get(..format::FILE_HEADER_LEN);
                header.is_none_or(|header| is_fresh && header.iter().all(|byte| *byte == 0))
            }
            Some((found, _)) => is_fresh && found.torn > 0 && found.records.is_empty() && found.damaged.is_empty(),
        };
        if is_unwritten {
            std::fs::remove_file(&path).map_err(disk(&path))?;
            match opened {
                // Its first write may have failed; then the next one begins as it does.
                Some((found, _)) => first = first.or(Some(found.first)),
                None => is_cut_off = is_fresh,
            }
            continue;
        }
        let Some((found, key)) = opened else {
            replay.replayed.damaged.push(set_aside(&path)?);
            is_gap = true;
            continue;
        };
        let is_fresh = is_fresh && !std::mem::take(&mut is_gap);
        let read = Read { number, path, len: bytes.len() as u64, found, key };
        let next = Some(Next { first: read.found.first, is_fresh });
        is_cut_off = match before.take() {
            Some(before) => replay.take(before, next, state)?,
            None => is_fresh && first.is_some_and(|first| first < read.found.first),
        };
        if is_cut_off {
            std::fs::remove_file(&read.path).map_err(disk(&read.path))?;
        } else {
            before = Some(read);
        }
    }
    if let Some(last) = before {
        replay.take(last, None, state)?;
    }
    for number in state.fresh.extract_if(.., |number| !state.segments.contains_key(number)) {
        unsynced::end(folder, number).map_err(disk(folder))?;
    }
    replay.finish(folder, state)
}

impl Replay {
    /// Takes what was found in a file. If the next one begins with the last sequence here, its write failed, and the one in the next file
    /// counts. Says whether a power cut has taken the end, so that the next one does not count.
    fn take(&mut self, file: Read, next: Option<Next>, state: &mut State) -> Result<bool, JournalError> {
        let Read { number, path, len, found, key } = file;
        let first = found.records.first().map(|first| first.sequence);
        if let (Some(first), Some(expected)) = (first, self.expected)
            && first < expected
        {
            // Records of another journal, or of an old copy of this one.
            self.replayed.damaged.push(set_aside(&path)?);
            return Ok(false);
        }
        let mut expected = self.expected.or(first).unwrap_or(found.first);
        let failed =
            found.records.last().map(|last| last.sequence).filter(|last| next.is_some_and(|next| next.first == *last));
        for record in found.records.into_iter().filter(|record| Some(record.sequence) != failed) {
            let Found { sequence, record, at, len } = record;
            self.replayed.lost += sequence - expected;
            expected = sequence + 1;
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            self.gather(Position { sequence, file: number, offset: at as u64, len }, record);
        }
        self.expected = Some(expected);
        let ends_damaged = found.damaged.last().is_some_and(|damaged| damaged.end as u64 == len);
        let is_cut_off = !ends_damaged && next.is_some_and(|next| next.is_fresh && next.first > expected);
        let next = next.filter(|_| !is_cut_off);
        // What comes after the last record of all cannot be counted.
        self.replayed.lost += u64::from(ends_damaged && next.is_none());
        // An end is torn where the journal went on with the same sequence, or ended.
        let torn = found.torn > 0 && next.is_none_or(|next| next.first == expected);
        if torn {
            tracing::info!(bytes = found.torn, "an end of the journal was not written completely");
        }
        if !found.damaged.is_empty() || (found.torn > 0 && !torn) {
            self.replayed.damaged.push(keep_aside(&path)?);
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(disk(&path))?;
        state.used += len;
        let cipher = Arc::new(RecordCipher::new(&key, &found.file));
        // What a killed program left may still be in the kernel's memory alone: whoever makes something durable makes this durable first.
        state.segments.insert(number, Segment { path, file: Arc::new(file), cipher, len, pinned: 0, synced: 0 });
        Ok(is_cut_off)
    }

    fn finish(self, folder: &Path, state: &mut State) -> Result<Replayed, JournalError> {
        let Self { mut replayed, gathered, done, expected } = self;
        // What was set aside may have had sequences of its own; nothing that is there has a greater one.
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
            if changes.is_empty() {
                continue;
            }
            let Some((base_at, base)) = base else {
                // Without its keys nobody can tell what file it was; whoever can find out finds the bytes.
                replayed.lost += changes.len() as u64;
                let mut files: Vec<u64> = changes.iter().map(|(position, _)| position.file).collect();
                files.dedup();
                for segment in files.iter().filter_map(|number| state.segments.get(number)) {
                    replayed.damaged.push(keep_aside(&segment.path)?);
                }
                continue;
            };
            changes.sort_by_key(|(position, _)| position.sequence);
            let positions = changes.iter().map(|(position, _)| *position);
            pinned(&mut positions.chain(intents.iter().map(|(position, _)| *position)).chain([base_at]), state);
            replayed.files.push(ReplayedFile { base, base_at, changes, intents });
        }
        replayed.notes.retain(|(position, ..)| !done.contains(&position.sequence));
        pinned(&mut replayed.notes.iter().map(|(position, ..)| *position), state);
        replayed.damaged.sort_unstable();
        replayed.damaged.dedup();
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))?;
        Ok(replayed)
    }

    fn gather(&mut self, position: Position, record: Record) {
        let change = match &record {
            Record::Write { offset, time_ns, data, .. } => {
                Some(Change::Write { offset: *offset, len: data.len() as u64, time_ns: *time_ns })
            }
            Record::Length { len, time_ns, .. } => Some(Change::Length { len: *len, time_ns: *time_ns }),
            Record::Hole { start, end, time_ns, .. } => {
                Some(Change::Hole { start: *start, end: *end, time_ns: *time_ns })
            }
            Record::Time { mtime_ns, .. } => Some(Change::Time { mtime_ns: *mtime_ns }),
            Record::Share(Share { offset, len, time_ns, .. }) => {
                Some(Change::Share { offset: *offset, len: *len, time_ns: *time_ns })
            }
            _ => None,
        };
        let file = record.file().map(|file| self.gathered.entry(file).or_default());
        match (record, file, change) {
            (Record::Note { tag, data }, ..) => self.replayed.notes.push((position, tag, data)),
            (Record::Done { sequences }, ..) => self.done.extend(sequences),
            (Record::Base(base), Some(file), _) => {
                file.upto = file.upto.max(base.upto);
                file.base = Some((position, base));
            }
            (Record::Intent(intent), Some(file), _) => file.intents.push((position, intent)),
            (_, Some(file), Some(change)) => file.changes.push((position, change)),
            _ => {}
        }
    }
}

/// The files of a folder that are named by a number and this ending, in order.
pub(super) fn numbered(folder: &Path, ending: &str) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(disk(folder))? {
        let path = entry.map_err(disk(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ending));
        let number = name.and_then(|name| u64::from_str_radix(name.strip_suffix('.')?, 16).ok());
        if let Some(number) = number {
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

/// Gives a file that is still needed a second name under which it stays.
fn keep_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let aside = path.with_extension("damaged");
    if aside.exists() {
        return Ok(aside);
    }
    if std::fs::hard_link(path, &aside).is_err() {
        // Not every filesystem has second names.
        std::fs::copy(path, &aside).map_err(disk(&aside))?;
    }
    Ok(aside)
}
