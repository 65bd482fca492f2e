//! Appends records.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cyx_core::ids::random_bytes;
use cyx_crypto::mount::RecordCipher;

use super::format::{self, FILE_HEADER_LEN, RECORD_OVERHEAD, Record};
use super::{Journal, JournalError, Position, Segment, State, disk, file_name, owner, unsynced};

/// Bytes beyond the limit for what moves to the end, besides what it moves out of, and half of them for what is small.
const RESERVE: u64 = 4 << 20;
/// Who waits for room says so again after this time.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// So long waits at most who waits for room while nothing is kept that could give way.
const BRIEFLY: Duration = Duration::from_secs(2);

/// How much room a record may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// What the journal may have.
    Usual,
    /// Half of what is beyond it as well: for what is small and does not wait for content to be sent, such as removals. Otherwise nothing could
    /// be removed from a journal that is full of what cannot be sent.
    Small,
    /// Whatever the disk has: for what is there twice for a while, because it is given up where it was before.
    Twice,
}

impl Journal {
    /// Appends a record, which is pinned. Waits for room, within limits. It is durable after [`Self::sync`].
    ///
    /// # Errors
    /// [`JournalError::Full`], [`JournalError::Disk`].
    pub async fn append(&self, record: &Record) -> Result<Position, JournalError> {
        self.with_room(|| self.offer(record)).await
    }

    /// Appends a record, pinned, if there is room now.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn offer(&self, record: &Record) -> Result<Option<Position>, JournalError> {
        self.offer_to(Room::Usual, record)
    }

    /// As [`Self::offer`], with this much room.
    ///
    /// # Errors
    /// As [`Self::offer`].
    pub fn offer_to(&self, room: Room, record: &Record) -> Result<Option<Position>, JournalError> {
        self.offer_within(record, self.limit_of(room))
    }

    fn limit_of(&self, room: Room) -> u64 {
        match room {
            Room::Usual => self.limit(),
            Room::Small => self.limit().saturating_add(RESERVE / 2),
            Room::Twice => u64::MAX,
        }
    }

    fn offer_within(&self, record: &Record, limit: u64) -> Result<Option<Position>, JournalError> {
        let mut state = self.state();
        if !has_room(&state, &[record], limit) {
            return Ok(None);
        }
        Self::if_disk_has_room(&mut state, length(&[record]), |state| self.write(state, record))
    }

    /// Appends two records, pinned, if there is room for both now. If only the first can be written, it is not pinned.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn offer_both(
        &self,
        room: Room,
        first: &Record,
        second: &Record,
    ) -> Result<Option<[Position; 2]>, JournalError> {
        let mut state = self.state();
        if !has_room(&state, &[first, second], self.limit_of(room)) {
            return Ok(None);
        }
        Self::if_disk_has_room(&mut state, length(&[first, second]), |state| {
            let first = self.write(state, first)?;
            let second = self.write(state, second).inspect_err(|_| {
                if let Some(segment) = state.segments.get_mut(&first.file) {
                    segment.pinned -= 1;
                }
            })?;
            Ok([first, second])
        })
    }

    /// Tries something that needs room until it succeeds, each time room was set free.
    ///
    /// # Errors
    /// [`JournalError::Full`] when patience ends, and what the attempt says.
    pub async fn with_room<T>(
        &self,
        mut attempt: impl FnMut() -> Result<Option<T>, JournalError>,
    ) -> Result<T, JournalError> {
        let began = tokio::time::Instant::now();
        let deadline = began + self.shared.limits.patience;
        loop {
            let freed = self.shared.freed.notified();
            let mut freed = std::pin::pin!(freed);
            freed.as_mut().enable();
            if let Some(done) = attempt()? {
                return Ok(done);
            }
            let now = tokio::time::Instant::now();
            // Of a disk that others filled nothing here sets room free, but for what was read.
            if now >= deadline || (now >= began + BRIEFLY && self.has_nothing()) {
                return Err(JournalError::Full);
            }
            self.shared.hungry.notify_one();
            self.remove_soon();
            // Asked for again now and then: what was tried to set room free may have failed.
            let _ = tokio::time::timeout_at(deadline.min(now + ASK_AGAIN), freed).await;
        }
    }

    /// Appends a record, pinned, without waiting for room: one that will set room free. Only the disk bounds it: of many small files there are
    /// as many such records before the oldest file of the journal is free, and without them it never would be.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_now(&self, record: &Record) -> Result<Position, JournalError> {
        self.at_any_rate(|| self.write(&mut self.state(), record))
    }

    /// As [`Self::append_now`], for what moves to the end, within bounds: it takes room before it sets some free, and a full disk has none for
    /// that.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_moved(&self, record: &Record) -> Result<Position, JournalError> {
        self.offer_within(record, self.utmost())?.ok_or(JournalError::Full)
    }

    /// Bytes that it may have while something moves.
    fn utmost(&self) -> u64 {
        // What is kept is there twice while it moves, and so is what a file has that is to be removed.
        let besides = self.shared.besides.load(Ordering::Acquire);
        self.limit().saturating_add(besides).saturating_add(self.shared.limits.file).saturating_add(RESERVE)
    }

    fn write(&self, state: &mut State, record: &Record) -> Result<Position, JournalError> {
        if state.broken || state.ended {
            return Err(JournalError::Broken);
        }
        if !state.claimed {
            owner::claim(&self.shared.folder)?;
            state.claimed = true;
        }
        let full = |segment: &Segment| segment.len >= self.shared.limits.file;
        let active = state.active.filter(|number| state.segments.get(number).is_some_and(|found| !full(found)));
        let number = match active {
            Some(number) => number,
            None => self.begin_file(state)?,
        };
        let sequence = state.next_sequence;
        let State { segments, active, sealed, .. } = &mut *state;
        let segment = segments.get_mut(&number).ok_or(JournalError::Broken)?;
        let sealed = format::seal_over(sealed, &segment.cipher, sequence, record).ok_or(JournalError::Full)?;
        if let Err(error) = segment.file.write_all_at(sealed, segment.len) {
            // Part of it may be there, under this sequence: nothing else may be sealed with it in this file.
            let path = segment.path.clone();
            *active = None;
            // On a full disk its room is needed.
            let _ = segment.file.set_len(segment.len);
            // One before it that is needed goes on with the order.
            let is_unused = segment.len == FILE_HEADER_LEN as u64;
            if is_unused && state.segments.range(..number).any(|(_, before)| before.pinned > 0) {
                state.segments.remove(&number);
                state.used -= FILE_HEADER_LEN as u64;
                remove_unused(&path);
                self.unmark(state, number);
            }
            return Err(disk(&path)(error));
        }
        let position = Position {
            sequence,
            file: number,
            offset: segment.len,
            len: u32::try_from(sealed.len()).unwrap_or(u32::MAX),
        };
        segment.len += sealed.len() as u64;
        segment.pinned += 1;
        state.used += sealed.len() as u64;
        state.next_sequence += 1;
        if let Record::Write { data, .. } = record {
            self.recent().put(sequence, data);
        }
        Ok(position)
    }

    pub(super) fn begin_file(&self, state: &mut State) -> Result<u64, JournalError> {
        let number = state.next_file;
        let path = self.shared.folder.join(file_name(number));
        let id: [u8; 16] = random_bytes();
        let header = format::file_header(&id, state.next_sequence);
        let create = || -> io::Result<File> {
            let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            // On a full disk there may be room for its name alone, each time that it is tried.
            file.write_all(&header).inspect_err(|_| remove_unused(&path))?;
            Ok(file)
        };
        state.next_file += 1;
        unsynced::begin(&self.shared.folder, number).map_err(disk(&path))?;
        state.fresh.insert(number);
        let file = match create() {
            Ok(file) => file,
            Err(error) => {
                self.unmark(state, number);
                return Err(disk(&path)(error));
            }
        };
        let segment = Segment {
            path,
            file: Arc::new(file),
            cipher: Arc::new(RecordCipher::new(&self.shared.key, &id)),
            len: header.len() as u64,
            pinned: 0,
            synced: 0,
        };
        state.used += segment.len;
        state.segments.insert(number, segment);
        state.active = Some(number);
        Ok(number)
    }

    /// There is no such file after all. If its mark stays, it goes with those of others.
    fn unmark(&self, state: &mut State, number: u64) {
        if unsynced::end(&self.shared.folder, number).is_ok() {
            state.fresh.remove(&number);
        }
    }
}

fn has_room(state: &State, records: &[&Record], limit: u64) -> bool {
    state.used + length(records) <= limit
}

/// Bytes that records take at most.
fn length(records: &[&Record]) -> u64 {
    records.iter().map(|record| (record.plain_len() + RECORD_OVERHEAD + FILE_HEADER_LEN) as u64).sum()
}

/// Removes a file that nothing was promised of.
pub(super) fn remove_unused(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(%error, path = %path.display(), "an empty file of the journal stays");
    }
}
