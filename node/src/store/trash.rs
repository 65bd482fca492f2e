//! Trash, keep-lists and giving space back: everything that can end in a chunk's death, and what stands in its way.
//!
//! A chunk dies in three durable steps: it goes to the trash, seven days later it is purged from the index, and only then
//! are its blocks punched out of the volume. A restart between any two of them carries on. When the server's database
//! begins another life, the second step stops until the operator says that the new life is right; and whoever asks for it says as of
//! which time, because this machine's clock may have jumped.

use cyx_core::ids::{ChunkId, ID_LEN};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::units::NODE_TRASH_SECONDS;
use redb::{Durability, ReadableTable as _, TableDefinition};

use super::books::Books;
use super::disk::Shared;
use super::volume::Volume;
use super::{ChunkState, KeepOutcome, MISSING_MAX, StoreError};

const INCARNATION: &str = "incarnation";
const HELD: &str = "incarnation to confirm";
/// Chunks looked at or changed in one transaction.
const STEP: usize = 2048;

/// First and last chunk id of a range.
type IdRange<'a> = (&'a [u8; ID_LEN], &'a [u8; ID_LEN]);

/// Ranges of the keep-lists applied under the current incarnation → (sequence, whether it was finished).
const KEEP_LISTS: TableDefinition<'static, IdRange<'static>, (u64, bool)> = TableDefinition::new("keep-lists.v1");

fn incarnation(bytes: Option<Vec<u8>>) -> Option<Incarnation> {
    bytes.and_then(|bytes| bytes.try_into().ok()).map(Incarnation::from_bytes)
}

impl Books {
    pub(super) fn trash(&self, ids: &[ChunkId], before: u64) -> Result<u32, StoreError> {
        let now = self.now();
        let mut moved = 0;
        for step in ids.chunks(STEP) {
            moved += self.index.write(Durability::Immediate, |tables| {
                let mut moved = 0;
                for id in step {
                    match tables.get(*id)? {
                        Some(entry) if entry.state != ChunkState::Trashed && entry.stored_at < before => {
                            tables.put(*id, &entry.trashed(now))?;
                            moved += 1;
                        }
                        _ => {}
                    }
                }
                Ok(moved)
            })?;
        }
        Ok(moved)
    }

    pub(super) fn note_incarnation(&self, spoken: Incarnation) -> Result<(), StoreError> {
        let known = incarnation(self.index.meta(INCARNATION)?);
        match known {
            Some(known) if spoken.to_bytes() <= known.to_bytes() => return Ok(()),
            Some(known) => tracing::warn!(
                ?known,
                ?spoken,
                "the server's database was restored: the trash is kept until the operator confirms"
            ),
            None => tracing::info!(?spoken, "first contact with the server's database"),
        }
        self.index.write(Durability::Immediate, |tables| {
            tables.set_meta(INCARNATION, &spoken.to_bytes())?;
            if known.is_some() {
                tables.set_meta(HELD, &spoken.to_bytes())?;
            }
            tables.txn.delete_table(KEEP_LISTS)?;
            Ok(())
        })
    }

    pub(super) fn held_incarnation(&self) -> Result<Option<Incarnation>, StoreError> {
        Ok(incarnation(self.index.meta(HELD)?))
    }

    pub(super) fn confirm_incarnation(&self, confirmed: Incarnation) -> Result<bool, StoreError> {
        if self.held_incarnation()? != Some(confirmed) {
            return Ok(false);
        }
        self.index.write(Durability::Immediate, |tables| tables.set_meta(HELD, &[]))?;
        tracing::info!(?confirmed, "the operator confirmed the server's database: the trash is emptied again");
        Ok(true)
    }

    pub(super) fn apply_keep_list(&self, list: &KeepList, keep: &[ChunkId]) -> Result<KeepOutcome, StoreError> {
        self.note_incarnation(list.incarnation)?;
        if incarnation(self.index.meta(INCARNATION)?) != Some(list.incarnation) {
            return Err(StoreError::StaleKeepList);
        }
        self.note_keep_list(list, false)?;
        let mut outcome = KeepOutcome::default();
        let mut keep = keep.iter().copied().peekable();
        let mut next = Some(list.first);
        while let Some(first) = next {
            let found = self.index.range(first, list.last, STEP)?;
            next = match found.last() {
                Some((id, _)) if found.len() == STEP => successor(*id),
                _ => None,
            };
            let mut moves = Vec::new();
            for (id, entry) in found {
                while let Some(missing) = keep.next_if(|kept| *kept < id) {
                    note_missing(&mut outcome, missing);
                }
                let kept = keep.next_if_eq(&id).is_some();
                match (kept, entry.state) {
                    (true, ChunkState::Trashed) => moves.push((id, kept)),
                    (false, ChunkState::Live | ChunkState::Damaged) if entry.stored_at < list.before => {
                        moves.push((id, kept));
                    }
                    _ => {}
                }
            }
            self.apply_moves(&moves, list.before, &mut outcome)?;
        }
        for missing in keep {
            note_missing(&mut outcome, missing);
        }
        self.note_keep_list(list, true)?;
        Ok(outcome)
    }

    /// Moves chunks that a keep-list decided on, those to keep out of the trash and the others into it, unless they changed since they
    /// were looked at.
    fn apply_moves(&self, moves: &[(ChunkId, bool)], before: u64, outcome: &mut KeepOutcome) -> Result<(), StoreError> {
        if moves.is_empty() {
            return Ok(());
        }
        let now = self.now();
        self.index.write(Durability::Immediate, |tables| {
            for (id, kept) in moves {
                let Some(entry) = tables.get(*id)? else { continue };
                match (kept, entry.state) {
                    (false, ChunkState::Live | ChunkState::Damaged) if entry.stored_at < before => {
                        outcome.trashed_chunks += 1;
                        outcome.trashed_bytes += entry.len;
                        tables.put(*id, &entry.trashed(now))?;
                    }
                    (true, ChunkState::Trashed) => {
                        outcome.restored_chunks += 1;
                        tables.put(*id, &entry.restored(now))?;
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// Refuses a list that an applied one has overtaken; notes the others, first as begun and then as finished.
    fn note_keep_list(&self, list: &KeepList, finished: bool) -> Result<(), StoreError> {
        self.index.write(Durability::Immediate, |tables| {
            let mut table = tables.txn.open_table(KEEP_LISTS)?;
            let mut overtaken = Vec::new();
            for item in table.iter()? {
                let (range, applied) = item?;
                let ((first, last), (sequence, done)) = (range.value(), applied.value());
                let (first, last) = (ChunkId(*first), ChunkId(*last));
                let same = (first, last) == (list.first, list.last);
                let overlaps = first <= list.last && list.first <= last;
                if overlaps && (sequence > list.sequence || (same && sequence == list.sequence && done)) {
                    return Err(StoreError::StaleKeepList);
                }
                if first >= list.first && last <= list.last && !same {
                    overtaken.push((first, last));
                }
            }
            for (first, last) in overtaken {
                table.remove((&first.0, &last.0))?;
            }
            table.insert((&list.first.0, &list.last.0), (list.sequence, finished))?;
            Ok(())
        })
    }

    /// Forgets what had been in the trash long enough at `as_of`, unless the operator has to confirm an incarnation first. Its bytes.
    pub(super) fn purge(&self, as_of: Option<u64>) -> Result<u64, StoreError> {
        let mut purged = 0;
        let Some(until) = as_of.and_then(|as_of| as_of.checked_sub(NODE_TRASH_SECONDS)) else { return Ok(purged) };
        if self.held_incarnation()?.is_some() {
            return Ok(purged);
        }
        loop {
            let ids = self.index.trashed_until(until, STEP)?;
            purged += self.index.write(Durability::Immediate, |tables| {
                let mut purged = 0;
                for id in &ids {
                    // It may have been restored since it was listed.
                    if let Some(entry) = tables.get(*id)?
                        && entry.state == ChunkState::Trashed
                        && entry.changed_at <= until
                    {
                        tables.remove(*id, &entry)?;
                        purged += entry.len;
                    }
                }
                Ok(purged)
            })?;
            if ids.len() < STEP {
                return Ok(purged);
            }
        }
    }
}

impl Shared {
    pub(super) fn expire_trash(&self, as_of: Option<u64>) -> Result<u64, StoreError> {
        let purged = self.books.purge(as_of)?;
        self.give_back()?;
        if self.books.health() == super::Health::Full && self.room() >= super::disk::VOLUME_MIN {
            self.books.set_full(false);
        }
        Ok(purged)
    }

    /// Deletes volumes in which nothing is left, and punches what is dead out of the others.
    ///
    /// What is dead in memory only may be alive again after a crash, so the index is made durable between looking and acting.
    pub(crate) fn give_back(&self) -> Result<(), StoreError> {
        let active = self.active.load(std::sync::atomic::Ordering::SeqCst);
        let is_dead = |number: &u32| u64::from(*number) < active && self.books.index.row(*number).is_empty();
        let dead: Vec<u32> = self.books.index.volumes().into_iter().filter(is_dead).collect();
        if !dead.is_empty() {
            self.books.index.flush()?;
            for number in &dead {
                self.remove_volume(*number);
                match std::fs::remove_file(Volume::path(&self.volume_folder, *number)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(StoreError::Io { doing: "delete an empty volume", source: error });
                    }
                    _ => {}
                }
            }
            // A volume that is back after a power failure, and that the index has forgotten, would bring back what was purged.
            let gone = self.options.io.sync_names(&self.volume_folder);
            gone.map_err(StoreError::io("make it durable that empty volumes are deleted"))?;
            self.books.index.write(Durability::Immediate, |tables| {
                dead.iter().try_for_each(|number| tables.drop_volume(*number))
            })?;
        }
        loop {
            let ranges = self.books.index.reclaimable(STEP)?;
            if ranges.is_empty() {
                return Ok(());
            }
            self.books.index.flush()?;
            for (number, offset, len) in &ranges {
                if let Some(volume) = self.volume(*number) {
                    volume.punch(*offset, *len).map_err(StoreError::io("give back space"))?;
                }
            }
            self.books.index.write(Durability::Immediate, |tables| {
                ranges.iter().try_for_each(|(number, offset, _)| tables.reclaimed(*number, *offset))
            })?;
        }
    }
}

fn note_missing(outcome: &mut KeepOutcome, id: ChunkId) {
    if outcome.missing.len() < MISSING_MAX {
        outcome.missing.push(id);
    }
}

/// The next id, or `None` after the last one.
fn successor(id: ChunkId) -> Option<ChunkId> {
    u128::from_be_bytes(id.0).checked_add(1).map(|next| ChunkId(next.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_one_another() {
        assert_eq!(successor(ChunkId([0xff; 16])), None);
        let mut bytes = [0; 16];
        bytes[15] = 0xff;
        let mut next = [0; 16];
        next[14] = 1;
        assert_eq!(successor(ChunkId(bytes)), Some(ChunkId(next)));
    }
}
