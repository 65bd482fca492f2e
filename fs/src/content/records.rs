//! Keeps changes of a content as records of the journal: appends and applies them, finds them again after a crash, and moves
//! them out of files of the journal that are to be removed.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cyx_client::transfer::KnownVersion;
use cyx_crypto::wrap::InodeKeyring;
use tokio::time::Instant;

use super::changes::Kind;
use super::error::{ContentError, Result};
use super::store::{Shared, Store, lock};
use super::{Content, Inner, InodeFacts, Origin};
use crate::journal::format::WRITE_DATA_AT;
use crate::journal::{Base, Change, FileId, JournalError, Pins, Position, Record, ReplayedFile, Room, Share};

impl Inner {
    pub(super) fn base_record(&self, file: FileId) -> Record {
        let known = self.base.as_ref().map(|base| base.known());
        let known = known.unwrap_or(KnownVersion {
            inode: file.inode,
            version: 0,
            size: 0,
            root: cyx_core::extent::PageId::EMPTY,
        });
        Record::Base(Base {
            file,
            version: known.version,
            size: known.size,
            root: known.root,
            keys: self.keys.all().cloned().collect(),
            upto: self.committed,
        })
    }

    /// Applies a change that a record says.
    fn apply(&mut self, position: Position, change: Change) {
        let sequence = position.sequence;
        match change {
            Change::Write { offset, len, time_ns } => {
                self.changes.set(offset..offset + len, Kind::Data { position, skip: 0 }, sequence);
                self.stream.written(offset..offset + len, self.len);
                self.grown += (offset + len).saturating_sub(self.len).min(len);
                self.len = self.len.max(offset + len);
                self.mtime_ns = time_ns;
                self.changed_ns = time_ns;
            }
            Change::Length { len, time_ns } => {
                // What is cut off must not come back when the file grows again.
                self.changes.set(len..self.len.max(len), Kind::Hole, sequence);
                self.stream.restart(len);
                self.len = len;
                self.mtime_ns = time_ns;
                self.changed_ns = time_ns;
            }
            Change::Hole { start, end, time_ns } => {
                self.changes.set(start..end, Kind::Hole, sequence);
                self.stream.restart(self.len);
                self.mtime_ns = time_ns;
                self.changed_ns = time_ns;
            }
            Change::Share { offset, len, time_ns } => {
                self.changes.set(offset..offset + len, Kind::Shared { position, skip: 0 }, sequence);
                self.len = self.len.max(offset + len);
                self.stream.restart(self.len);
                self.mtime_ns = time_ns;
                self.changed_ns = time_ns;
            }
            Change::Time { mtime_ns } => self.mtime_ns = mtime_ns,
        }
        self.newest = self.newest.max(sequence);
    }
}

impl Store {
    /// Lets go of what an earlier run wrote to a file, if that does not go on yet.
    ///
    /// # Errors
    /// If what is in the journal makes no sense; if its disk failed.
    pub(crate) async fn discard_replayed(&self, file: FileId) -> Result<()> {
        let Some(replayed) = lock(&self.shared.replayed).remove(&file) else { return Ok(()) };
        Content::replay(&self.shared, file, replayed)?.discard().await
    }
}

impl Content {
    /// A content with the changes that were found in the journal.
    pub(super) fn replay(store: &Arc<Shared>, id: FileId, found: ReplayedFile) -> Result<Self> {
        let ReplayedFile { base, base_at, changes, intents } = found;
        let mut keys = base.keys.into_iter();
        let newest = keys.next().ok_or(JournalError::Damaged)?;
        let keys = InodeKeyring::from_keys(newest, keys.collect());
        let known = KnownVersion { inode: id.inode, version: base.version, size: base.size, root: base.root };
        let what = format!("file {}", id.inode);
        let version = store.known(id.bucket, keys.clone(), known, &what)?;
        let facts = InodeFacts { id: id.inode, keys, version: base.version, size: base.size, what };
        let content = Self::new(store, id, facts);
        {
            let mut inner = content.inner();
            inner.base = Some(version);
            inner.logged = true;
            inner.committed = base.upto;
            inner.pins.add(base_at);
            for (position, intent) in intents {
                inner.pins.add(position);
                inner.intents.push(intent);
            }
            for (position, change) in changes {
                if matches!(change, Change::Share { .. }) {
                    let Record::Share(share) = Record::decode(&store.journal.read(position)?).map_err(damaged)? else {
                        return Err(JournalError::Damaged.into());
                    };
                    inner.origins.insert(position.sequence, origin_of(store, share)?);
                }
                inner.pins.add(position);
                inner.apply(position, change);
            }
            let now = Instant::now();
            (inner.since, inner.latest) = (Some(now), Some(now));
        }
        Ok(content)
    }

    /// Appends a record and applies it. `writing` is held.
    pub(super) async fn change(&self, record: &Record, change: Change) -> Result<()> {
        self.change_from(record, change, None).await
    }

    /// As [`Self::change`]; with where the bytes are, if they are another file's.
    pub(super) async fn change_from(&self, record: &Record, change: Change, origin: Option<Origin>) -> Result<()> {
        self.change_by(|_| Some((record.clone(), change)), origin).await.map(|_| ())
    }

    /// As [`Self::change_from`], what the length of the file makes of it. That is looked at when there is room: until then somebody else's version,
    /// which has another length, may be taken over. The change that was made; `None` if there was nothing to be done.
    pub(super) async fn change_by(
        &self,
        what: impl Fn(u64) -> Option<(Record, Change)>,
        origin: Option<Origin>,
    ) -> Result<Option<Change>> {
        if self.store.is_gone(self.id.bucket) {
            // It could never be committed, and would be kept for ever.
            return Err(ContentError::Gone);
        }
        let journal = &self.store.journal;
        let options = &self.store.options;
        let is_long = |inner: &Inner| inner.grown >= options.grown;
        let done = journal.with_room(|| {
            // Appended and applied in one step, so that everything is applied in the order in which it is found again.
            let mut inner = self.inner();
            let Some((record, change)) = what(inner.len) else { return Ok(Some(None)) };
            let is_cut = matches!(change, Change::Length { len, .. } if len < inner.len);
            let room = match is_cut {
                // What it is filled from is given up for it.
                _ if inner.filling => Room::Twice,
                true => Room::Small,
                false => Room::Usual,
            };
            let position = if inner.logged {
                journal.offer_to(room, &record)?
            } else {
                // First what it is based on: without that it could not be found again.
                let both = journal.offer_both(room, &inner.base_record(self.id), &record)?;
                both.map(|[base, position]| {
                    inner.pins.add(base);
                    inner.logged = true;
                    position
                })
            };
            let Some(position) = position else { return Ok(None) };
            let (was_dirty, was_long) = (inner.is_dirty(), is_long(&inner));
            let had_piece = inner.stream.has_piece(options);
            inner.pins.add(position);
            inner.apply(position, change);
            if let Some(origin) = &origin {
                inner.origins.insert(position.sequence, origin.clone());
            }
            let now = Instant::now();
            inner.latest = Some(now);
            if !was_dirty {
                inner.since = Some(now);
            }
            let has_piece = !had_piece && inner.stream.has_piece(options);
            Ok(Some(Some((change, !was_dirty, !was_long && is_long(&inner), has_piece))))
        });
        let Some((change, became_dirty, became_long, has_piece)) = done.await? else { return Ok(None) };
        if has_piece {
            self.store.mark_stream(self.id);
        }
        if became_dirty {
            self.store.mark_dirty(self.id);
        } else if became_long {
            self.store.wake.notify_one();
        }
        Ok(Some(change))
    }

    /// The record that says that a range is another file's.
    pub(super) fn share_record(&self, origin: &Origin, range: Range<u64>, time_ns: i64) -> Record {
        let KnownVersion { inode, version, size, root } = origin.version.known();
        let keys = origin.version.keys().all().cloned().collect();
        let (offset, len, from) = (range.start, range.end - range.start, origin.offset);
        Record::Share(Share { file: self.id, offset, len, time_ns, inode, version, size, root, from, keys })
    }

    /// Notes in the journal that nothing is left to be committed; gives back the pins. If that fails, the next change notes it, or whoever
    /// looks after what is to be committed.
    pub(super) fn clean(&self, inner: &mut Inner) -> Result<Pins> {
        inner.logged = false;
        let note = self.store.journal.append_now(&inner.base_record(self.id))?;
        let mut pins = std::mem::take(&mut inner.pins);
        pins.add(note);
        (inner.lost, inner.soon, inner.failures, inner.told) = (false, false, 0, false);
        (inner.since, inner.latest, inner.pause, inner.failed) = (None, None, None, None);
        inner.intents.clear();
        self.store.journal.intended(self.id, u64::MAX);
        Ok(pins)
    }

    /// Notes in the journal that nothing is left to be committed, if that is so and could not be noted when it became so.
    pub(super) fn clean_late(&self) -> Result<()> {
        let pins = {
            let mut inner = self.inner();
            if inner.is_dirty() || inner.is_settled() {
                return Ok(());
            }
            self.clean(&mut inner).inspect_err(|_| inner.pause(false))?
        };
        self.store.mark_clean(self.id);
        self.store.journal.release(pins);
        Ok(())
    }

    /// Writes what a file of the journal holds of this content to its end, so that the file can be removed.
    pub(super) fn relocate(&self, file: u64) -> Result<()> {
        let Ok(_one) = self.committing.try_lock() else { return Ok(()) };
        let pins = {
            let mut inner = self.inner();
            if !inner.is_dirty() || !inner.pins.are_in(file) {
                return Ok(());
            }
            let journal = &self.store.journal;
            let time_ns = inner.mtime_ns;
            let kept: Vec<(Range<u64>, Kind)> = inner.changes.kept_by(file).collect();
            for (range, kind) in kept {
                let record = match kind {
                    Kind::Hole => Record::Hole { file: self.id, start: range.start, end: range.end, time_ns },
                    Kind::Data { position, skip } => {
                        let record = journal.read(position)?;
                        let mut data = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
                        copy_out(&record, skip, &mut data)?;
                        Record::Write { file: self.id, offset: range.start, time_ns, data: Bytes::from(data) }
                    }
                    Kind::Shared { position, skip } => {
                        let origin = inner.origins.get(&position.sequence).ok_or(JournalError::Damaged)?;
                        self.share_record(&origin.skip(skip), range.clone(), time_ns)
                    }
                };
                let position = journal.append_moved(&record)?;
                inner.pins.add(position);
                let kind = match kind {
                    Kind::Hole => Kind::Hole,
                    Kind::Data { .. } => Kind::Data { position, skip: 0 },
                    Kind::Shared { position: before, skip } => {
                        if let Some(origin) = inner.origins.get(&before.sequence).map(|origin| origin.skip(skip)) {
                            inner.origins.insert(position.sequence, origin);
                        }
                        Kind::Shared { position, skip: 0 }
                    }
                };
                inner.changes.set(range, kind, position.sequence);
                inner.newest = position.sequence;
            }
            let len = inner.len;
            let ends = [inner.base_record(self.id), Record::Length { file: self.id, len, time_ns }];
            let intents: Vec<Record> = inner.intents.iter().copied().map(Record::Intent).collect();
            for record in ends.into_iter().chain(intents) {
                let position = journal.append_moved(&record)?;
                inner.pins.add(position);
                inner.newest = position.sequence;
            }
            inner.pins.split_off_file(file)
        };
        self.store.journal.release(pins);
        Ok(())
    }
}

impl Origin {
    /// What lies further behind.
    pub(super) fn skip(&self, bytes: u64) -> Self {
        Self { version: Arc::clone(&self.version), offset: self.offset + bytes }
    }
}

fn damaged(_: cyx_core::wire::DecodeError) -> JournalError {
    JournalError::Damaged
}

fn origin_of(store: &Shared, share: Share) -> Result<Origin> {
    let Share { file, inode, version, size, root, from, keys, .. } = share;
    let mut keys = keys.into_iter();
    let newest = keys.next().ok_or(JournalError::Damaged)?;
    let keys = InodeKeyring::from_keys(newest, keys.collect());
    let known = KnownVersion { inode, version, size, root };
    let version = store.known(file.bucket, keys, known, &format!("file {inode}"))?;
    Ok(Origin { version, offset: from })
}

/// Copies written bytes out of a record.
pub(super) fn copy_out(record: &[u8], skip: u64, room: &mut [u8]) -> Result<(), JournalError> {
    copy_from(record.get(WRITE_DATA_AT..).unwrap_or_default(), skip, room)
}

/// Copies written bytes.
pub(super) fn copy_from(written: &[u8], skip: u64, room: &mut [u8]) -> Result<(), JournalError> {
    let bytes = usize::try_from(skip).ok().and_then(|skip| written.get(skip..)?.get(..room.len()));
    room.copy_from_slice(bytes.ok_or(JournalError::Damaged)?);
    Ok(())
}
