//! Recovery: bringing the index up to date with the volumes after a crash at any byte.
//!
//! An acknowledged chunk is whole in its volume, so replaying finds it. What is not whole was never acknowledged: it is
//! skipped, and cut off at the end of the file. Records begin at multiples of 4 KiB and their headers are keyed, so the scan finds the
//! next one behind a torn one; what the disk cannot read is skipped too, and left where it is. An index that was lost altogether is rebuilt the same way, from the beginning of every volume.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cyx_core::ids::ChunkId;
use cyx_core::units::MIB;
use redb::Durability;

use super::books::Books;
use super::disk::Shared;
use super::enter::enter_found;
use super::groups::GroupHasher;
use super::index::Entry;
use super::record::{ALIGN, RECORD_HEADER, RecordHeader, StoreKey, VOLUME_HEADER, record_len, span};
use super::volume::{DiskIo, Volume, is_loss};
use super::writer::Active;
use super::{ChunkState, StoreError};

/// Bytes read at a time.
const WINDOW: u64 = MIB;
/// Entries looked at in one transaction.
const LOST_BATCH: usize = 10_000;

struct Found {
    header: RecordHeader,
    offset: u64,
}

/// Opens all volumes, replays what the index does not know, notes what was lost, and says where to append.
pub(super) fn recover(shared: &Shared) -> Result<Active, StoreError> {
    let numbers = Volume::list(&shared.volume_folder).map_err(StoreError::io("list the volumes"))?;
    let known = shared.books.index.volumes();
    let highest = numbers.iter().chain(&known).copied().max().unwrap_or(0);
    // Volumes that have less than the index says, and how much.
    let mut short = BTreeMap::new();
    let missing = known.into_iter().filter(|number| !numbers.contains(number));
    let (deleted, lost): (Vec<_>, Vec<_>) = missing.partition(|number| shared.books.index.row(*number).is_empty());
    if !deleted.is_empty() {
        // Whoever deleted them may have ended before that was durable. One that is back after a power failure, and that the index has
        // forgotten, would bring back what was purged.
        let gone = shared.options.io.sync_names(&shared.volume_folder);
        gone.map_err(StoreError::io("make it durable that empty volumes are deleted"))?;
        shared
            .books
            .index
            .write(Durability::Immediate, |tables| deleted.iter().try_for_each(|number| tables.drop_volume(*number)))?;
    }
    for number in lost {
        tracing::error!(volume = number, "a volume is missing: its chunks are lost");
        short.insert(number, 0);
    }
    let mut last = None;
    for number in numbers {
        let io = Arc::clone(&shared.options.io);
        let volume = match Volume::open(&shared.volume_folder, number, &shared.key, io) {
            Ok(volume) => Arc::new(volume),
            // The others are still good. The file is left as it is, for whoever can make something of it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData || is_loss(&error) => {
                tracing::error!(volume = number, %error, "a volume cannot be used: its chunks are lost");
                short.insert(number, 0);
                continue;
            }
            Err(error) => return Err(StoreError::io("open a volume")(error)),
        };
        let len = volume.len().map_err(StoreError::io("size a volume"))?;
        if len.next_multiple_of(ALIGN) < shared.books.index.row(number).tail {
            tracing::error!(volume = number, len, "a volume ends early: the chunks behind its end are lost");
            short.insert(number, len);
        }
        shared.add_volume(&volume);
        last = replay(shared, &volume)?.then_some(volume);
    }
    mark_lost(&shared.books, &short)?;
    if let Some(volume) = last.filter(|volume| volume.number == highest) {
        let tail = shared.books.index.row(volume.number).tail;
        if tail + ALIGN <= shared.options.volume_max {
            return Ok(Active { volume, tail });
        }
    }
    let (io, next) = (Arc::clone(&shared.options.io), highest.saturating_add(1));
    let volume =
        Volume::create(&shared.volume_folder, next, &shared.key, io).map_err(StoreError::io("make a volume"))?;
    let volume = Arc::new(volume);
    shared.add_volume(&volume);
    Ok(Active { volume, tail: VOLUME_HEADER })
}

/// Marks as damaged what lies beyond the end of volumes that are shorter than they were, so that it is reported and stored again.
pub(super) fn mark_lost(books: &Books, short: &BTreeMap<u32, u64>) -> Result<(), StoreError> {
    if short.is_empty() {
        return Ok(());
    }
    let now = books.now();
    let mut from = ChunkId([0; 16]);
    loop {
        let entries = books.index.range(from, ChunkId([0xff; 16]), LOST_BATCH)?;
        let Some((last, _)) = entries.last().copied() else { return Ok(()) };
        books.index.write(Durability::Immediate, |tables| {
            for (id, entry) in entries {
                let end = entry.offset + record_len(entry.len);
                if short.get(&entry.volume).is_some_and(|len| end > *len) && entry.is_good() {
                    metrics::counter!("cyx_node_damage_found_total").increment(1);
                    let lost = match entry.state {
                        // Nobody wants it, unless a keep-list takes it out of there.
                        ChunkState::Trashed => Entry { was_damaged: true, ..entry },
                        _ => Entry { state: ChunkState::Damaged, changed_at: now, ..entry },
                    };
                    tables.put(id, &lost)?;
                }
            }
            Ok(())
        })?;
        match u128::from_be_bytes(last.0).checked_add(1) {
            Some(next) => from = ChunkId(next.to_be_bytes()),
            None => return Ok(()),
        }
    }
}

/// The key that the volumes of a directory carry, if there are any.
///
/// # Errors
/// If none says it and one cannot be read: with a new key, all that is in them would be lost for good.
pub(super) fn key_of_volumes(folder: &Path, io: &Arc<dyn DiskIo>) -> Result<Option<StoreKey>, StoreError> {
    let mut unread = None;
    for number in Volume::list(folder).map_err(StoreError::io("list the volumes"))? {
        match Volume::key(folder, number, Arc::clone(io)) {
            Ok(Some(key)) => return Ok(Some(key)),
            Ok(None) => {}
            Err(error) if is_loss(&error) => unread = Some(error),
            Err(error) => return Err(StoreError::io("read a volume")(error)),
        }
    }
    unread.map_or(Ok(None), |error| Err(StoreError::io("read a volume")(error)))
}

/// Enters what a volume holds behind what the index knows of it. Whether all of that could be read, so that more may be appended.
fn replay(shared: &Shared, volume: &Volume) -> Result<bool, StoreError> {
    let row = shared.books.index.row(volume.number);
    let len = volume.len().map_err(StoreError::io("size a volume"))?;
    if len <= row.tail {
        return Ok(volume.is_labelled);
    }
    volume.forget_cached(row.tail).map_err(StoreError::io("read a volume"))?;
    let (found, unread) = scan(&shared.key, volume, row.tail, len).map_err(StoreError::io("read a volume"))?;
    let is_read = volume.is_labelled && unread == 0;
    if found.is_empty() && !is_read {
        // Without a row, the file is left as it is.
        return Ok(false);
    }
    let end = found.last().map_or(row.tail, |last| last.offset + record_len(last.header.len));
    // What cannot be read now may be read again one day: it stays in the file, where an index that is made anew finds it, though no
    // later replay of this one does. Nor is anything cut off a file that does not say whose it is.
    let end = if volume.is_labelled && unread <= end { end } else { len };
    tracing::info!(volume = volume.number, chunks = found.len(), cut = len.saturating_sub(end), "replayed a volume");
    // The records may be whole in memory only; the index must not say more than the disk.
    volume.truncate(end.min(len)).map_err(StoreError::io("cut a volume"))?;
    shared.books.index.write(Durability::Immediate, |tables| {
        for Found { header, offset } in &found {
            enter_found(tables, volume.number, *offset, header)?;
        }
        let row = tables.row(volume.number);
        row.tail = row.tail.max(end.next_multiple_of(ALIGN));
        Ok(())
    })?;
    Ok(is_read)
}

/// All whole records from `at` on, in order, and where the last bytes end that the disk could not read, or 0.
fn scan(key: &StoreKey, volume: &Volume, mut at: u64, len: u64) -> io::Result<(Vec<Found>, u64)> {
    let (mut found, mut unread) = (Vec::new(), 0);
    while at + RECORD_HEADER < len {
        match record_at(key, volume, at, len) {
            Ok(Some(header)) => {
                found.push(Found { header, offset: at });
                at += span(header.len);
            }
            Ok(None) => at += ALIGN,
            Err(error) if is_loss(&error) => {
                if unread == 0 {
                    tracing::error!(volume = volume.number, offset = at, %error, "a part of a volume cannot be read");
                }
                at += ALIGN;
                unread = at;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, unread))
}

/// The record that begins at an offset, if one does and all of it is there.
fn record_at(key: &StoreKey, volume: &Volume, at: u64, len: u64) -> io::Result<Option<RecordHeader>> {
    let header = RecordHeader::decode(key, &volume.read(at, usize::try_from(RECORD_HEADER).unwrap_or_default())?);
    let Some(header) = header.ok().filter(|header| at + record_len(header.len) <= len) else { return Ok(None) };
    Ok(whole(volume, at, &header)?.then_some(header))
}

fn whole(volume: &Volume, offset: u64, header: &RecordHeader) -> io::Result<bool> {
    let mut hasher = GroupHasher::new(header.len);
    let mut at = 0;
    while at < header.len {
        let step = WINDOW.min(header.len - at);
        hasher.update(&volume.read(offset + RECORD_HEADER + at, usize::try_from(step).unwrap_or_default())?);
        at += step;
    }
    Ok(hasher.finish().is_some_and(|hashed| hashed.root == header.root))
}
