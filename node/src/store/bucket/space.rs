//! Giving space back: objects in which nothing is left are deleted, and what is left in those that are mostly dead is written anew.
//!
//! An object cannot be punched, so what is dead in it takes room until all of it goes. An object is written once and its number is never
//! used again, so one in which nothing is left stays that way.

use std::sync::PoisonError;

use cyx_core::units::MIB;
use redb::Durability;
use tokio::sync::oneshot;

use super::super::disk::VOLUME_MIN;
use super::super::index::Row;
use super::super::record::{RECORD_HEADER, VOLUME_HEADER};
use super::super::{ChunkState, Health, NewChunk, StoreError};
use super::objects::Fault;
use super::pack::Job;
use super::start::records;
use super::{BucketStore, Shared};

/// Ranges that are forgotten in one transaction.
const TOGETHER: usize = 2048;
/// Bytes of objects that one round reads to write them anew.
const ROUND: u64 = 256 * MIB;

/// Whether less than half of an object is of use. Damaged chunks cannot be written anew; those who store them again replace them.
fn is_wasteful(row: &Row) -> bool {
    let total = row.tail.saturating_sub(VOLUME_HEADER);
    !row.is_empty() && row.span < total / 2 && row.damaged.chunks == 0
}

impl BucketStore {
    /// Deletes what is dead. A bucket that does not answer is asked again another time.
    pub(super) async fn give_back(&self) -> Result<(), StoreError> {
        let done = async {
            self.shared.delete_doubtful().await?;
            self.shared.delete_dead().await?;
            self.compact().await
        };
        match done.await {
            Err(StoreError::Away | StoreError::Stopped) => return Ok(()),
            other => other?,
        }
        if self.shared.books.health() == Health::Full && self.shared.room() >= VOLUME_MIN {
            self.shared.books.set_full(false);
        }
        Ok(())
    }

    /// Writes anew what is left in objects that are mostly dead, one after the other: what an object takes meanwhile is given back before
    /// the next one.
    async fn compact(&self) -> Result<(), StoreError> {
        let index = &self.shared.books.index;
        let mut read = 0;
        for number in index.volumes() {
            let row = index.row(number);
            if is_wasteful(&row) && read < ROUND {
                read += row.tail;
                match self.write_anew(number).await {
                    // There may be room for a smaller one, and for this one when that is deleted.
                    Ok(()) | Err(StoreError::Full) => self.shared.delete_dead().await?,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn write_anew(&self, number: u32) -> Result<(), StoreError> {
        let bytes = match self.shared.objects.get(number).await {
            Ok(bytes) => bytes,
            // Reading its chunks finds that out.
            Err(Fault::Missing) => return Ok(()),
            Err(away) => return Err(self.shared.fault(away)),
        };
        let (key, parts) = (self.shared.key, bytes.clone());
        let kept = self.shared.books.blocking(move |books| {
            let mut kept = Vec::new();
            for found in records(&key, number, &parts) {
                let entry = books.index.get(found.header.id)?;
                let entry = entry.filter(|entry| (entry.volume, entry.offset) == (number, found.offset));
                kept.extend(entry.filter(|entry| entry.state != ChunkState::Damaged).map(|entry| (found, entry)));
            }
            Ok(kept)
        });
        let mut answers = Vec::new();
        for (found, seen) in kept.await? {
            let begin = usize::try_from(found.offset + RECORD_HEADER).map_err(|_| StoreError::OutOfRange)?;
            let end = begin + usize::try_from(seen.len).map_err(|_| StoreError::OutOfRange)?;
            let pieces = vec![bytes.slice(begin..end)];
            let chunk = NewChunk { id: found.header.id, tag: seen.tag, root: seen.root, pieces };
            let (reply, answer) = oneshot::channel();
            self.jobs.send(Job::Move { chunk, seen, reply }).map_err(|_| StoreError::Stopped)?;
            answers.push(answer);
        }
        for answer in answers {
            match answer.await.map_err(|_| StoreError::Stopped)? {
                // It went away or became another one while it was written.
                Ok(()) | Err(StoreError::OtherContent) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Deletes objects that may have arrived although putting them seemed to fail.
    async fn delete_doubtful(&self) -> Result<(), StoreError> {
        loop {
            let last = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).last().copied();
            let Some((number, len)) = last else { return Ok(()) };
            self.objects.delete(number).await.map_err(|fault| self.fault(fault))?;
            let mut doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
            // Another round may have been as far.
            if let Some(at) = doubtful.iter().position(|(doubtful, _)| *doubtful == number) {
                doubtful.swap_remove(at);
                self.release(len);
            }
        }
    }

    async fn delete_dead(&self) -> Result<(), StoreError> {
        let index = &self.books.index;
        for number in index.volumes().into_iter().filter(|number| index.row(*number).is_empty()) {
            self.objects.delete(number).await.map_err(|fault| self.fault(fault))?;
            self.books
                .blocking(move |books| books.index.write(Durability::Immediate, |tables| tables.drop_volume(number)))
                .await?;
        }
        // Nothing can be punched out of an object.
        self.books
            .blocking(|books| {
                loop {
                    let ranges = books.index.reclaimable(TOGETHER)?;
                    books.index.write(Durability::Immediate, |tables| {
                        ranges.iter().try_for_each(|(number, offset, _)| tables.reclaimed(*number, *offset))
                    })?;
                    if ranges.len() < TOGETHER {
                        return Ok(());
                    }
                }
            })
            .await
    }
}
