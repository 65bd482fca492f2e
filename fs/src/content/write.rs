//! Changes content: writes, appends, cuts, punches and copies, every step of it a record.

use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use cyx_core::extent::OFFSET_MAX;

use super::error::{ContentError, Result};
use super::read::Piece;
use super::{Content, within};
use crate::journal::format::WRITE_MAX;
use crate::journal::{Change, Record};

/// Copied in one go.
const COPY_STEP: u64 = 1 << 20;

impl Content {
    /// Writes bytes. Says where: fewer than there are if only for these there was room.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`], a full journal, errors of the client if the file could not be opened.
    pub async fn write(&self, offset: u64, data: Bytes) -> Result<Range<u64>> {
        within(self.store.options.deadline, self.base()).await?;
        let _in_order = self.writing.lock().await;
        self.write_in_order(offset, data).await
    }

    /// As [`Self::write`], at the end of the file, wherever that is.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn append(&self, data: Bytes) -> Result<Range<u64>> {
        within(self.store.options.deadline, self.base()).await?;
        let _in_order = self.writing.lock().await;
        let len = self.len();
        self.check_end(len, data.len() as u64)?;
        self.write_parts(None, data).await.map(|written| written.unwrap_or(len..len))
    }

    async fn write_in_order(&self, offset: u64, data: Bytes) -> Result<Range<u64>> {
        self.check_end(offset, data.len() as u64)?;
        self.write_parts(Some(offset), data).await.map(|written| written.unwrap_or(offset..offset))
    }

    /// Writes at `offset`, or else at the end of the file. Where; `None` if there are no bytes.
    async fn write_parts(&self, offset: Option<u64>, mut data: Bytes) -> Result<Option<Range<u64>>> {
        let mut written: Option<Range<u64>> = None;
        while !data.is_empty() {
            let part = data.split_to(data.len().min(WRITE_MAX));
            let (len, time_ns) = (part.len() as u64, now_ns());
            let next = written.as_ref().map(|written| written.end).or(offset);
            let write = |end: u64| {
                let offset = next.unwrap_or(end);
                self.check_end(offset, len).ok()?;
                let record = Record::Write { file: self.id, offset, time_ns, data: part.clone() };
                Some((record, Change::Write { offset, len, time_ns }))
            };
            match self.change_by(write, None).await {
                Ok(Some(Change::Write { offset, len, .. })) => {
                    written.get_or_insert(offset..offset).end = offset + len;
                }
                Ok(_) => return Err(ContentError::TooLarge),
                // Whoever goes on behind what is there hears of it.
                Err(error) if written.is_some() => {
                    tracing::debug!(%error, "there was room for a part of what was to be written");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    fn check_end(&self, offset: u64, len: u64) -> Result<()> {
        let most = self.store.options.file_max.min(OFFSET_MAX);
        if offset.checked_add(len).is_none_or(|end| end > most) { Err(ContentError::TooLarge) } else { Ok(()) }
    }

    /// Makes the file this long: what is beyond is gone, what is missing is a hole.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn set_len(&self, len: u64) -> Result<()> {
        within(self.store.options.deadline, self.base()).await?;
        self.check_end(0, len)?;
        let _in_order = self.writing.lock().await;
        self.set_len_in_order(len).await
    }

    async fn set_len_in_order(&self, len: u64) -> Result<()> {
        let time_ns = now_ns();
        self.change(&Record::Length { file: self.id, len, time_ns }, Change::Length { len, time_ns }).await
    }

    /// Makes the file this long if it is shorter. `writing` is held.
    async fn grow(&self, to: u64) -> Result<()> {
        let time_ns = now_ns();
        let grow = |len: u64| {
            let record = Record::Length { file: self.id, len: to, time_ns };
            (to > len).then_some((record, Change::Length { len: to, time_ns }))
        };
        self.change_by(grow, None).await.map(|_| ())
    }

    /// Makes a range zeros that take no room. The file grows if the range reaches beyond its end, unless its size is to be kept.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn punch(&self, range: Range<u64>, keep_size: bool) -> Result<()> {
        within(self.store.options.deadline, self.base()).await?;
        self.check_end(range.end, 0)?;
        let _in_order = self.writing.lock().await;
        let time_ns = now_ns();
        let punch = |len: u64| {
            let (start, end) = (range.start, range.end.min(len));
            let record = Record::Hole { file: self.id, start, end, time_ns };
            (start < end).then_some((record, Change::Hole { start, end, time_ns }))
        };
        self.change_by(punch, None).await?;
        if keep_size { Ok(()) } else { self.grow(range.end).await }
    }

    /// Makes sure that the file is at least as long as the range reaches, unless its size is to be kept. Room is not reserved:
    /// the journal and the account's quota bound what can be written.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn allocate(&self, range: Range<u64>, keep_size: bool) -> Result<()> {
        within(self.store.options.deadline, self.base()).await?;
        self.check_end(range.end, 0)?;
        let _in_order = self.writing.lock().await;
        if keep_size { Ok(()) } else { self.grow(range.end).await }
    }

    /// Sets the time of the last change of content, if the content is not committed: then the commit carries it. Otherwise it is
    /// an attribute like others, and `false`.
    ///
    /// # Errors
    /// A full journal.
    pub async fn set_mtime(&self, mtime_ns: i64) -> Result<bool> {
        let _in_order = self.writing.lock().await;
        if !self.is_dirty() {
            return Ok(false);
        }
        self.change(&Record::Time { file: self.id, mtime_ns }, Change::Time { mtime_ns }).await?;
        Ok(true)
    }

    /// Copies a range of a content of the same bucket to `offset`: what is stored by reference, holes as holes. Says how many bytes that
    /// were: fewer at the source's end.
    ///
    /// # Errors
    /// As [`Self::read`] and [`Self::write`].
    pub async fn clone_range(&self, source: &Self, range: Range<u64>, offset: u64) -> Result<u64> {
        let mut copied = 0;
        self.copy_pieces(source, range, offset, u64::MAX, &mut copied).await?;
        Ok(copied)
    }

    /// As [`Self::clone_range`], but fewer as well if `most` bytes had to be written, or if it failed behind some.
    ///
    /// # Errors
    /// As [`Self::clone_range`], if nothing was copied.
    pub async fn copy_range(&self, source: &Self, range: Range<u64>, offset: u64, most: u64) -> Result<u64> {
        let mut copied = 0;
        match self.copy_pieces(source, range, offset, most, &mut copied).await {
            Err(error) if copied == 0 => return Err(error),
            Err(error) => tracing::debug!(%error, "a part of what was to be copied was"),
            Ok(()) => {}
        }
        Ok(copied)
    }

    /// Copies a range until `most` bytes of it were written; notes how far it came.
    async fn copy_pieces(
        &self,
        source: &Self,
        range: Range<u64>,
        offset: u64,
        most: u64,
        copied: &mut u64,
    ) -> Result<()> {
        within(self.store.options.deadline, source.base()).await?;
        let range = range.start..range.end.min(source.len());
        if range.is_empty() {
            return Ok(());
        }
        self.check_end(offset, range.end - range.start)?;
        within(self.store.options.deadline, self.base()).await?;
        let place = |at: u64| offset + (at - range.start);
        let mut left = most;
        for (piece, what) in within(self.store.options.deadline, source.pieces(range.clone())).await? {
            let here = place(piece.start)..place(piece.end);
            match what {
                Piece::Hole => self.punch(here, false).await?,
                Piece::Stored(origin) if self.is_worth_sharing(source, &piece) => {
                    let _in_order = self.writing.lock().await;
                    let (time_ns, len) = (now_ns(), here.end - here.start);
                    let record = self.share_record(&origin, here.clone(), time_ns);
                    let change = Change::Share { offset: here.start, len, time_ns };
                    self.change_from(&record, change, Some(origin)).await?;
                }
                Piece::Stored(_) | Piece::Written => {
                    let some = piece.start..piece.end.min(piece.start.saturating_add(left));
                    let before = *copied;
                    self.copy_bytes(source, some, here.start, copied).await?;
                    left -= *copied - before;
                    if *copied < piece.end - range.start {
                        // That is as much as was wanted, or it was cut off meanwhile.
                        return Ok(());
                    }
                }
            }
            *copied = piece.end - range.start;
        }
        Ok(())
    }

    /// Writes what is shared with other files as bytes of its own. The times stay.
    pub(super) async fn unshare(&self) -> Result<()> {
        let _in_order = self.writing.lock().await;
        let (shared, mtime_ns) = {
            let inner = self.inner();
            let shared = inner.changes.runs(inner.len).shared.into_iter().filter_map(|(range, sequence, skip)| {
                inner.origins.get(&sequence).map(|origin| (range, origin.skip(skip)))
            });
            (shared.collect::<Vec<_>>(), inner.mtime_ns)
        };
        if shared.is_empty() {
            return Ok(());
        }
        for (range, origin) in shared {
            let mut at = range.start;
            while at < range.end {
                let mut bytes = vec![0; usize::try_from((range.end - at).min(COPY_STEP)).unwrap_or(0)];
                origin.version.read(origin.offset + (at - range.start), &mut bytes).await?;
                at = self.write_in_order(at, Bytes::from(bytes)).await?.end;
            }
        }
        self.change(&Record::Time { file: self.id, mtime_ns }, Change::Time { mtime_ns }).await
    }

    /// Few bytes are written again rather than kept as an extent of their own.
    fn is_worth_sharing(&self, source: &Self, piece: &Range<u64>) -> bool {
        let is_whole = piece.start == 0 && piece.end == source.len();
        self.id.bucket == source.id.bucket && (is_whole || piece.end - piece.start >= self.store.options.share_from)
    }

    /// Copies bytes, fewer if the source is shorter, and counts them.
    async fn copy_bytes(&self, source: &Self, range: Range<u64>, offset: u64, copied: &mut u64) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(COPY_STEP);
            let bytes = source.read(at, usize::try_from(len).unwrap_or(usize::MAX)).await?;
            if bytes.is_empty() {
                break;
            }
            let written = self.write(offset + (at - range.start), bytes).await?;
            at += written.end - written.start;
            *copied += written.end - written.start;
        }
        Ok(())
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
