//! Entering chunks into the index once their bytes are durable, one decision each.

use cyx_core::chunk::Root;
use cyx_core::ids::{BucketTag, ChunkId};

use super::index::{Entry, Tables};
use super::record::{RecordHeader, span};
use super::{ChunkState, StoreError, Stored};

/// Where a chunk's record is.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) volume: u32,
    pub(crate) offset: u64,
    /// The time in the record's header.
    pub(crate) at: u64,
}

/// A chunk to enter.
pub(crate) struct Arrival {
    pub(crate) id: ChunkId,
    pub(crate) tag: BucketTag,
    pub(crate) root: Root,
    pub(crate) len: u64,
    /// Where it was written; otherwise it seems to be there already and only its time is renewed.
    pub(crate) placed: Option<Place>,
}

/// What the index decided about a chunk.
pub(crate) enum Decision {
    Stored(Stored),
    Refused(StoreError),
    /// It seemed to be there and is not: write it after all.
    Again,
}

/// Enters one chunk. `renewed` is set if that changed an entry that was there.
pub(crate) fn enter(
    tables: &mut Tables<'_>,
    arrival: &Arrival,
    now: u64,
    renewed: &mut bool,
) -> Result<Decision, StoreError> {
    let span = span(arrival.len);
    if let Some(place) = &arrival.placed {
        let row = tables.row(place.volume);
        row.tail = row.tail.max(place.offset + span);
    }
    let there = tables.get(arrival.id)?;
    let same = there.filter(|entry| entry.is(&arrival.root, arrival.tag, arrival.len));
    match (arrival.placed, there, same) {
        (placed, Some(_), None) => {
            if let Some(place) = placed {
                tables.reclaim(place.volume, place.offset, span)?;
            }
            Ok(Decision::Refused(StoreError::OtherContent))
        }
        (None, _, Some(entry)) if entry.is_good() => {
            tables.put(arrival.id, &Entry { stored_at: now, state: ChunkState::Live, changed_at: now, ..entry })?;
            *renewed = true;
            Ok(Decision::Stored(Stored { at: now, known: true }))
        }
        (None, ..) => Ok(Decision::Again),
        (Some(place), _, same) => {
            *renewed |= same.is_some();
            let entry = Entry {
                volume: place.volume,
                offset: place.offset,
                len: arrival.len,
                root: arrival.root,
                tag: arrival.tag,
                stored_at: place.at.max(same.map_or(0, |entry| entry.stored_at)),
                state: ChunkState::Live,
                was_damaged: false,
                changed_at: place.at,
            };
            tables.put(arrival.id, &entry)?;
            Ok(Decision::Stored(Stored { at: entry.stored_at, known: same.is_some() }))
        }
    }
}

/// Enters a whole record that was found in a volume without the index knowing of it.
pub(crate) fn enter_found(
    tables: &mut Tables<'_>,
    volume: u32,
    offset: u64,
    header: &RecordHeader,
) -> Result<(), StoreError> {
    match tables.get(header.id)? {
        Some(known) if known.is_good() || !known.is(&header.root, header.tag, header.len) => {
            tables.reclaim(volume, offset, span(header.len))
        }
        _ => tables.put(
            header.id,
            &Entry {
                volume,
                offset,
                len: header.len,
                root: header.root,
                tag: header.tag,
                stored_at: header.stored_at,
                state: ChunkState::Live,
                was_damaged: false,
                changed_at: header.stored_at,
            },
        ),
    }
}
