//! The index: which chunk lies where, in which state, in one transactional file (`redb`).
//!
//! The volumes are the log and the index follows them: appending chunks commits without waiting for the disk, because a
//! restart replays what the volumes hold beyond the durable tail in their row. Every other change (renewals, trash, damage,
//! purges, keep-lists) commits durably, and with it all that went before. Table names carry the version of their layout.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cyx_core::chunk::Root;
use cyx_core::ids::{BucketTag, ChunkId};
use cyx_core::wire::{DecodeError, Reader, Writer};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::record::{VOLUME_HEADER, span};
use super::{ChunkInfo, ChunkState, StoreError};

const ENTRY_LEN: usize = 81;
const ROW_LEN: usize = 64;
/// Memory that the index may use for its pages.
const CACHE: usize = 16 << 20;

const CHUNKS: TableDefinition<'static, &[u8; 16], &[u8; ENTRY_LEN]> = TableDefinition::new("chunks.v1");
const TRASH: TableDefinition<'static, (u64, &[u8; 16]), ()> = TableDefinition::new("trash.v1");
const DAMAGED: TableDefinition<'static, &[u8; 16], u64> = TableDefinition::new("damaged.v1");
const VOLUMES: TableDefinition<'static, u32, &[u8; ROW_LEN]> = TableDefinition::new("volumes.v1");
const RECLAIM: TableDefinition<'static, (u32, u64), u64> = TableDefinition::new("reclaim.v1");
/// Values of the groups of chunks whose bytes are not on this machine.
const VALUES: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("values.v1");
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta.v1");

/// What the index knows about one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) volume: u32,
    /// Where its record begins.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) root: Root,
    pub(crate) tag: BucketTag,
    /// Unix second of its newest receipt.
    pub(crate) stored_at: u64,
    pub(crate) state: ChunkState,
    /// It is in the trash and was found damaged before: what takes it out of there finds it as it was.
    pub(crate) was_damaged: bool,
    /// Unix second of its last change of state.
    pub(crate) changed_at: u64,
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        let state: u8 = match self.state {
            ChunkState::Live => 1,
            ChunkState::Trashed => 2 + 2 * u8::from(self.was_damaged),
            ChunkState::Damaged => 3,
        };
        let len = u32::try_from(self.len).unwrap_or(u32::MAX);
        let parts: [&[u8]; 8] = [
            &self.volume.to_le_bytes(),
            &self.offset.to_le_bytes(),
            &len.to_le_bytes(),
            &self.root,
            &self.tag.0,
            &self.stored_at.to_le_bytes(),
            &[state],
            &self.changed_at.to_le_bytes(),
        ];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_LEN]) -> Result<Self, DecodeError> {
        let mut reader = Reader::bare(bytes);
        let mut entry = Self {
            volume: reader.u32()?,
            offset: reader.u64()?,
            len: u64::from(reader.u32()?),
            root: reader.array()?,
            tag: BucketTag(reader.array()?),
            stored_at: reader.u64()?,
            state: ChunkState::Live,
            was_damaged: false,
            changed_at: 0,
        };
        (entry.state, entry.was_damaged) = match reader.u8()? {
            1 => (ChunkState::Live, false),
            2 => (ChunkState::Trashed, false),
            3 => (ChunkState::Damaged, false),
            4 => (ChunkState::Trashed, true),
            _ => return Err(DecodeError::Invalid("chunk state")),
        };
        entry.changed_at = reader.u64()?;
        reader.end()?;
        Ok(entry)
    }

    /// Whether its bytes are good, as far as anybody knows.
    pub(crate) fn is_good(&self) -> bool {
        self.state != ChunkState::Damaged && !self.was_damaged
    }

    /// As it is in the trash from `now` on.
    pub(crate) fn trashed(self, now: u64) -> Self {
        Self { state: ChunkState::Trashed, was_damaged: !self.is_good(), changed_at: now, ..self }
    }

    /// As it is when it is taken out of the trash: no better than it was.
    pub(crate) fn restored(self, now: u64) -> Self {
        let state = if self.is_good() { ChunkState::Live } else { ChunkState::Damaged };
        Self { state, was_damaged: false, changed_at: now, ..self }
    }

    /// Whether a chunk to store is this one.
    pub(crate) fn is(&self, root: &Root, tag: BucketTag, len: u64) -> bool {
        self.root == *root && self.tag == tag && self.len == len
    }

    pub(crate) fn info(&self) -> ChunkInfo {
        ChunkInfo { len: self.len, root: self.root, tag: self.tag, stored_at: self.stored_at, state: self.state }
    }
}

/// Chunks and bytes of one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
}

/// What the index knows about one volume; summed up, about the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Records beyond this are not in the index yet.
    pub(crate) tail: u64,
    pub(crate) live: Sum,
    pub(crate) trash: Sum,
    pub(crate) damaged: Sum,
    /// Bytes of the volume that records of indexed chunks take.
    pub(crate) span: u64,
}

impl Row {
    fn encode(&self) -> [u8; ROW_LEN] {
        let mut writer = Writer::default();
        writer.u64(self.tail).u64(self.span);
        for sum in [self.live, self.trash, self.damaged] {
            writer.u64(sum.chunks).u64(sum.bytes);
        }
        let mut bytes = [0; ROW_LEN];
        bytes.copy_from_slice(&writer.finish());
        bytes
    }

    fn decode(bytes: &[u8; ROW_LEN]) -> Result<Self, DecodeError> {
        let mut reader = Reader::bare(bytes);
        let (tail, span) = (reader.u64()?, reader.u64()?);
        let mut sum = || Ok::<_, DecodeError>(Sum { chunks: reader.u64()?, bytes: reader.u64()? });
        Ok(Self { tail, span, live: sum()?, trash: sum()?, damaged: sum()? })
    }

    fn sum(&mut self, state: ChunkState) -> &mut Sum {
        match state {
            ChunkState::Live => &mut self.live,
            ChunkState::Trashed => &mut self.trash,
            ChunkState::Damaged => &mut self.damaged,
        }
    }

    fn count(&mut self, entry: &Entry) {
        self.span += span(entry.len);
        let sum = self.sum(entry.state);
        sum.chunks += 1;
        sum.bytes += entry.len;
    }

    fn discount(&mut self, entry: &Entry) {
        self.span = self.span.saturating_sub(span(entry.len));
        let sum = self.sum(entry.state);
        sum.chunks = sum.chunks.saturating_sub(1);
        sum.bytes = sum.bytes.saturating_sub(entry.len);
    }

    /// Whether no indexed chunk lies in the volume.
    pub(crate) fn is_empty(&self) -> bool {
        self.span == 0
    }

    fn add(&mut self, other: &Self, sign: bool) {
        let apply = |value: &mut u64, by: u64| {
            *value = if sign { value.saturating_add(by) } else { value.saturating_sub(by) };
        };
        apply(&mut self.tail, other.tail);
        apply(&mut self.span, other.span);
        for (mine, theirs) in
            [(&mut self.live, other.live), (&mut self.trash, other.trash), (&mut self.damaged, other.damaged)]
        {
            apply(&mut mine.chunks, theirs.chunks);
            apply(&mut mine.bytes, theirs.bytes);
        }
    }
}

#[derive(Default)]
struct Mirror {
    rows: BTreeMap<u32, Row>,
    total: Row,
}

/// The open index.
pub(crate) struct Index {
    db: Database,
    /// Whether the values of groups are kept here too.
    with_values: bool,
    /// Held from the beginning of a write transaction until the mirror shows it.
    writing: Mutex<()>,
    mirror: Mutex<Mirror>,
}

/// The tables of a running write transaction. Changes keep all tables and sums in step.
pub(crate) struct Tables<'t> {
    pub(crate) txn: &'t WriteTransaction,
    chunks: Table<'t, &'static [u8; 16], &'static [u8; ENTRY_LEN]>,
    trash: Table<'t, (u64, &'static [u8; 16]), ()>,
    damaged: Table<'t, &'static [u8; 16], u64>,
    reclaim: Table<'t, (u32, u64), u64>,
    values: Option<Table<'t, &'static [u8; 16], &'static [u8]>>,
    rows: BTreeMap<u32, Option<Row>>,
    mirror: MutexGuard<'t, Mirror>,
}

impl Index {
    /// Opens or makes the index file; one `with_values` keeps those of chunks' groups too.
    pub(crate) fn open(path: &Path, with_values: bool) -> Result<Self, StoreError> {
        let db = Database::builder().set_cache_size(CACHE).create(path)?;
        let index = Self { db, with_values, writing: Mutex::default(), mirror: Mutex::default() };
        index.write(Durability::Immediate, |tables| {
            let volumes = tables.txn.open_table(VOLUMES)?;
            for item in volumes.iter()? {
                let (number, row) = item?;
                let row = Row::decode(row.value())?;
                tables.mirror.total.add(&row, true);
                tables.mirror.rows.insert(number.value(), row);
            }
            tables.txn.open_table(META)?;
            Ok(())
        })?;
        Ok(index)
    }

    /// Runs one write transaction: all of it happens or nothing.
    pub(crate) fn write<R>(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Tables<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut txn = self.db.begin_write()?;
        txn.set_durability(durability).map_err(redb::Error::from)?;
        let (result, rows) = {
            let mut tables = Tables {
                txn: &txn,
                chunks: txn.open_table(CHUNKS)?,
                trash: txn.open_table(TRASH)?,
                damaged: txn.open_table(DAMAGED)?,
                reclaim: txn.open_table(RECLAIM)?,
                values: if self.with_values { Some(txn.open_table(VALUES)?) } else { None },
                rows: BTreeMap::new(),
                mirror: self.mirror(),
            };
            let result = change(&mut tables)?;
            (result, tables.save_rows()?)
        };
        txn.commit()?;
        let mut mirror = self.mirror();
        for (number, row) in rows {
            let old = mirror.rows.remove(&number).unwrap_or_default();
            mirror.total.add(&old, false);
            if let Some(row) = row {
                mirror.total.add(&row, true);
                mirror.rows.insert(number, row);
            }
        }
        Ok(result)
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a chunk up.
    pub(crate) fn get(&self, id: ChunkId) -> Result<Option<Entry>, StoreError> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(CHUNKS)?;
        let found = table.get(&id.0)?;
        Ok(found.map(|entry| Entry::decode(entry.value())).transpose()?)
    }

    /// The values of a chunk's groups, if they are here: one after the other.
    pub(crate) fn values(&self, id: ChunkId) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.with_values {
            return Ok(None);
        }
        let txn = self.db.begin_read()?;
        let table = txn.open_table(VALUES)?;
        Ok(table.get(&id.0)?.map(|values| values.value().to_vec()))
    }

    /// Up to `limit` chunks of a range, in order of their ids.
    pub(crate) fn range(
        &self,
        first: ChunkId,
        last: ChunkId,
        limit: usize,
    ) -> Result<Vec<(ChunkId, Entry)>, StoreError> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(CHUNKS)?;
        let mut found = Vec::new();
        for item in table.range::<&[u8; 16]>(&first.0..=&last.0)?.take(limit) {
            let (id, entry) = item?;
            found.push((ChunkId(*id.value()), Entry::decode(entry.value())?));
        }
        Ok(found)
    }

    /// Up to `limit` chunks that have been in the trash since `until` or longer, oldest first.
    pub(crate) fn trashed_until(&self, until: u64, limit: usize) -> Result<Vec<ChunkId>, StoreError> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(TRASH)?;
        let range = table.range::<(u64, &[u8; 16])>(..=(until, &[0xff; 16]))?;
        range.take(limit).map(|item| Ok(ChunkId(*item?.0.value().1))).collect()
    }

    /// Up to `limit` damaged chunks behind `after`, in the order of their ids.
    pub(crate) fn damaged(&self, after: Option<ChunkId>, limit: usize) -> Result<Vec<ChunkId>, StoreError> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(DAMAGED)?;
        let behind = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0));
        table
            .range::<&[u8; 16]>((behind, Bound::Unbounded))?
            .take(limit)
            .map(|item| Ok(ChunkId(*item?.0.value())))
            .collect()
    }

    /// Up to `limit` ranges of volumes whose chunks are gone but whose blocks are not given back yet.
    pub(crate) fn reclaimable(&self, limit: usize) -> Result<Vec<(u32, u64, u64)>, StoreError> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(RECLAIM)?;
        let take = |item: Result<_, redb::StorageError>| {
            let (place, len): (redb::AccessGuard<'_, (u32, u64)>, redb::AccessGuard<'_, u64>) = item?;
            let (volume, offset) = place.value();
            Ok((volume, offset, len.value()))
        };
        table.iter()?.take(limit).map(take).collect()
    }

    /// A value of the table of single facts.
    pub(crate) fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(META)?;
        Ok(table.get(name)?.map(|value| value.value().to_vec()))
    }

    /// The row of a volume; all zeros but the tail for an unknown one.
    pub(crate) fn row(&self, volume: u32) -> Row {
        self.mirror().rows.get(&volume).copied().unwrap_or(Row { tail: VOLUME_HEADER, ..Row::default() })
    }

    /// Volumes that have a row.
    pub(crate) fn volumes(&self) -> Vec<u32> {
        self.mirror().rows.keys().copied().collect()
    }

    /// The sum of all rows.
    pub(crate) fn total(&self) -> Row {
        self.mirror().total
    }

    /// Makes everything committed so far durable.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.write(Durability::Immediate, |_| Ok(()))
    }
}

impl Tables<'_> {
    pub(crate) fn get(&self, id: ChunkId) -> Result<Option<Entry>, StoreError> {
        let found = self.chunks.get(&id.0)?;
        Ok(found.map(|entry| Entry::decode(entry.value())).transpose()?)
    }

    /// Puts an entry in place of whatever the chunk had.
    pub(crate) fn put(&mut self, id: ChunkId, entry: &Entry) -> Result<(), StoreError> {
        if let Some(old) = self.get(id)? {
            self.forget(id, &old)?;
            if (old.volume, old.offset) != (entry.volume, entry.offset) {
                self.reclaim(old.volume, old.offset, span(old.len))?;
            }
        }
        self.chunks.insert(&id.0, &entry.encode())?;
        match entry.state {
            ChunkState::Live => {}
            ChunkState::Trashed => drop(self.trash.insert((entry.changed_at, &id.0), ())?),
            ChunkState::Damaged => drop(self.damaged.insert(&id.0, entry.changed_at)?),
        }
        self.row(entry.volume).count(entry);
        Ok(())
    }

    /// Removes a chunk; its blocks become reclaimable.
    pub(crate) fn remove(&mut self, id: ChunkId, entry: &Entry) -> Result<(), StoreError> {
        self.forget(id, entry)?;
        self.chunks.remove(&id.0)?;
        if let Some(values) = &mut self.values {
            values.remove(&id.0)?;
        }
        self.reclaim(entry.volume, entry.offset, span(entry.len))
    }

    fn forget(&mut self, id: ChunkId, entry: &Entry) -> Result<(), StoreError> {
        match entry.state {
            ChunkState::Live => {}
            ChunkState::Trashed => drop(self.trash.remove((entry.changed_at, &id.0))?),
            ChunkState::Damaged => drop(self.damaged.remove(&id.0)?),
        }
        self.row(entry.volume).discount(entry);
        Ok(())
    }

    /// Keeps the values of a chunk's groups if this index keeps any.
    pub(crate) fn put_values(&mut self, id: ChunkId, values: &[u8]) -> Result<(), StoreError> {
        if let Some(table) = self.values.as_mut().filter(|_| !values.is_empty()) {
            table.insert(&id.0, values)?;
        }
        Ok(())
    }

    /// Notes that nothing refers to a range of a volume any more.
    pub(crate) fn reclaim(&mut self, volume: u32, offset: u64, len: u64) -> Result<(), StoreError> {
        self.reclaim.insert((volume, offset), len)?;
        Ok(())
    }

    /// Notes that the blocks of a range have been given back.
    pub(crate) fn reclaimed(&mut self, volume: u32, offset: u64) -> Result<(), StoreError> {
        self.reclaim.remove((volume, offset))?;
        Ok(())
    }

    /// The row of a volume, to be changed.
    pub(crate) fn row(&mut self, volume: u32) -> &mut Row {
        let known = || self.mirror.rows.get(&volume).copied();
        let row = self.rows.entry(volume).or_insert_with(known);
        row.get_or_insert(Row { tail: VOLUME_HEADER, ..Row::default() })
    }

    /// Forgets a volume whose file is gone.
    pub(crate) fn drop_volume(&mut self, volume: u32) -> Result<(), StoreError> {
        self.rows.insert(volume, None);
        let range = (volume, 0)..=(volume, u64::MAX);
        self.reclaim.retain_in(range, |_, _| false)?;
        Ok(())
    }

    /// Sets a single fact.
    pub(crate) fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.txn.open_table(META)?.insert(name, value)?;
        Ok(())
    }

    fn save_rows(self) -> Result<BTreeMap<u32, Option<Row>>, StoreError> {
        if !self.rows.is_empty() {
            let mut volumes = self.txn.open_table(VOLUMES)?;
            for (number, row) in &self.rows {
                match row {
                    Some(row) => drop(volumes.insert(number, &row.encode())?),
                    None => drop(volumes.remove(number)?),
                }
            }
        }
        Ok(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(volume: u32, state: ChunkState) -> Entry {
        Entry {
            volume,
            offset: 4096,
            len: 5000,
            root: [1; 32],
            tag: BucketTag([2; 16]),
            stored_at: 7,
            state,
            was_damaged: false,
            changed_at: 8,
        }
    }

    #[test]
    fn entries_and_rows_are_frozen() {
        let bytes = entry(3, ChunkState::Trashed).encode();
        assert_eq!(hex::encode(&bytes[..16]), "03000000001000000000000088130000");
        assert_eq!(hex::encode(&bytes[64..]), "0700000000000000020800000000000000");
        assert_eq!(Entry::decode(&bytes), Ok(entry(3, ChunkState::Trashed)));
        let damaged = entry(3, ChunkState::Damaged).trashed(8);
        assert_eq!((damaged.encode()[72], Entry::decode(&damaged.encode())), (4, Ok(damaged)));
        assert_eq!(damaged.restored(8), entry(3, ChunkState::Damaged));
        assert_eq!(entry(3, ChunkState::Live).trashed(8).restored(8), entry(3, ChunkState::Live));
        let mut wrong = bytes;
        wrong[72] = 9;
        assert!(Entry::decode(&wrong).is_err());
        let row = Row { tail: 1, span: 2, live: Sum { chunks: 3, bytes: 4 }, ..Row::default() };
        assert_eq!(Row::decode(&row.encode()), Ok(row));
    }

    #[test]
    fn sums_follow_every_change_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let id = ChunkId([9; 16]);
        let index = Index::open(&path, false).unwrap();
        let put = |state| index.write(Durability::Immediate, |tables| tables.put(id, &entry(1, state))).unwrap();
        put(ChunkState::Live);
        assert_eq!(index.total().live, Sum { chunks: 1, bytes: 5000 });
        put(ChunkState::Trashed);
        assert_eq!((index.total().live, index.total().trash), (Sum::default(), Sum { chunks: 1, bytes: 5000 }));
        assert_eq!(index.trashed_until(8, 9).unwrap(), [id]);
        assert_eq!(index.trashed_until(7, 9).unwrap(), []);
        put(ChunkState::Damaged);
        assert_eq!(index.damaged(None, 9).unwrap(), [id]);
        assert_eq!(index.trashed_until(8, 9).unwrap(), []);
        drop(index);
        let index = Index::open(&path, false).unwrap();
        assert_eq!(index.total().damaged, Sum { chunks: 1, bytes: 5000 });
        assert_eq!(index.row(1).span, 8192);
        index.write(Durability::Immediate, |tables| tables.remove(id, &entry(1, ChunkState::Damaged))).unwrap();
        assert!(index.row(1).is_empty());
        assert_eq!(index.reclaimable(9).unwrap(), [(1, 4096, 8192)]);
        assert_eq!(index.get(id).unwrap(), None);
    }

    #[test]
    fn a_failed_change_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(&folder.path().join("index"), false).unwrap();
        let result: Result<(), _> = index.write(Durability::Immediate, |tables| {
            tables.put(ChunkId([9; 16]), &entry(1, ChunkState::Live))?;
            Err(StoreError::Stopped)
        });
        assert!(result.is_err());
        assert_eq!(index.total(), Row::default());
        assert_eq!(index.get(ChunkId([9; 16])).unwrap(), None);
    }
}
