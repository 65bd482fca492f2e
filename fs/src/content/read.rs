//! Reads content: what was changed from the journal, the rest from the version below it; and finds data and holes.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::changes::{Kind, Part};
use super::error::{ContentError, Result};
use super::records::{copy_from, copy_out};
use super::remote::Version;
use super::{Content, Origin, within};
use crate::journal::{JournalError, PlainRecord, Position};
use crate::vfs::Seek;

/// What a piece of a file is.
pub(super) enum Piece {
    /// Zeros that take no room.
    Hole,
    /// Bytes that are on this machine only.
    Written,
    /// Bytes of a version.
    Stored(Origin),
}

/// How often a read begins anew because a commit changed what it reads from.
const TRIES: usize = 16;

impl Content {
    /// Reads at most `len` bytes from `offset` on: fewer at the end of the file.
    ///
    /// # Errors
    /// [`ContentError::Deadline`], errors of the client and of the journal.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        within(self.store.options.deadline, self.read_now(offset, len)).await
    }

    async fn read_now(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.base().await?;
        let mut tries = 0;
        loop {
            let (base, range, parts) = {
                let inner = self.inner();
                let range = offset..offset.saturating_add(len as u64).min(inner.len);
                if range.is_empty() {
                    return Ok(Bytes::new());
                }
                (inner.base.clone(), range.clone(), inner.changes.parts(range))
            };
            let base = base.ok_or(JournalError::Damaged)?;
            for part in parts.iter().filter(|part| part.kind.is_none()) {
                self.prefetch.settle(&part.range).await;
                self.prefetch.note(&base, part.range.clone(), &self.store.prefetch);
            }
            if let [Part { kind: None, .. }] = &parts[..]
                && let Some(bytes) = self.prefetch.take(&base.known(), &range)
            {
                return Ok(bytes);
            }
            let mut out = vec![0; usize::try_from(range.end - range.start).map_err(|_| ContentError::TooLarge)?];
            match self.fill(&base, range.start, &parts, &mut out).await {
                Ok(()) => return Ok(Bytes::from(out)),
                // The record became part of a version and is gone; what is read is there now.
                Err(ContentError::Journal(JournalError::Damaged)) if tries < TRIES && self.moved_on(&parts) => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn moved_on(&self, parts: &[Part]) -> bool {
        let committed = self.inner().committed;
        let relocated = |part: &Part| match part.kind {
            Some(Kind::Data { position, .. } | Kind::Shared { position, .. }) => {
                position.sequence <= committed
                    || self.inner().changes.parts(part.range.clone()).iter().all(|now| now.kind != part.kind)
            }
            _ => false,
        };
        parts.iter().any(relocated)
    }

    async fn fill(&self, base: &Arc<dyn Version>, start: u64, parts: &[Part], out: &mut [u8]) -> Result<()> {
        for part in parts {
            let from = usize::try_from(part.range.start - start).unwrap_or(usize::MAX);
            let len = usize::try_from(part.range.end - part.range.start).unwrap_or(usize::MAX);
            let Some(room) = out.get_mut(from..).and_then(|rest| rest.get_mut(..len)) else { continue };
            match part.kind {
                None => match self.prefetch.take(&base.known(), &part.range) {
                    Some(bytes) => room.copy_from_slice(&bytes),
                    None => base.read(part.range.start, room).await?,
                },
                Some(Kind::Hole) => room.fill(0),
                Some(Kind::Data { position, skip }) => match self.store.journal.recently_written(position, false) {
                    Some(data) => copy_from(&data, skip, room)?,
                    None => copy_out(&self.record(position)?, skip, room)?,
                },
                Some(Kind::Shared { position, skip }) => {
                    let origin = self.inner().origins.get(&position.sequence).map(|origin| origin.skip(skip));
                    let Origin { version, offset } = origin.ok_or(JournalError::Damaged)?;
                    version.read(offset, room).await?;
                }
            }
        }
        Ok(())
    }

    fn record(&self, position: Position) -> Result<Arc<PlainRecord>> {
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, record)) = memo.as_ref().filter(|(sequence, _)| *sequence == position.sequence) {
            return Ok(Arc::clone(record));
        }
        let record = Arc::new(self.store.journal.read(position)?);
        *memo = Some((position.sequence, Arc::clone(&record)));
        Ok(record)
    }

    /// Where there is data, in order, inside a range and the file.
    pub(super) async fn data_segments(&self, range: Range<u64>) -> Result<Vec<Range<u64>>> {
        self.base().await?;
        let (base, range, parts) = {
            let inner = self.inner();
            let range = range.start..range.end.min(inner.len);
            if range.is_empty() {
                return Ok(Vec::new());
            }
            (inner.base.clone(), range.clone(), inner.changes.parts(range))
        };
        let base = base.ok_or(JournalError::Damaged)?;
        let mut found: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| match found.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => found.push(range),
        };
        let below = base.data_ranges(range).await?;
        for part in parts {
            match part.kind {
                Some(Kind::Hole) => {}
                Some(Kind::Data { .. } | Kind::Shared { .. }) => add(part.range),
                None => {
                    let first = below.partition_point(|data| data.end <= part.range.start);
                    for data in below[first..].iter().take_while(|data| data.start < part.range.end) {
                        add(data.start.max(part.range.start)..data.end.min(part.range.end));
                    }
                }
            }
        }
        Ok(found)
    }

    /// What a range inside the file is, in order and without gaps.
    pub(super) async fn pieces(&self, range: Range<u64>) -> Result<Vec<(Range<u64>, Piece)>> {
        self.base().await?;
        let (base, parts, origins) = {
            let inner = self.inner();
            (inner.base.clone(), inner.changes.parts(range.clone()), inner.origins.clone())
        };
        let base = base.ok_or(JournalError::Damaged)?;
        let below = base.data_ranges(range).await?;
        let mut pieces = Vec::new();
        for Part { range, kind } in parts {
            match kind {
                Some(Kind::Hole) => pieces.push((range, Piece::Hole)),
                Some(Kind::Data { .. }) => pieces.push((range, Piece::Written)),
                Some(Kind::Shared { position, skip }) => {
                    let origin = origins.get(&position.sequence).ok_or(JournalError::Damaged)?;
                    pieces.push((range, Piece::Stored(origin.skip(skip))));
                }
                None => {
                    let mut at = range.start;
                    let first = below.partition_point(|data| data.end <= range.start);
                    for data in below[first..].iter().take_while(|data| data.start < range.end) {
                        let data = data.start.max(range.start)..data.end.min(range.end);
                        if at < data.start {
                            pieces.push((at..data.start, Piece::Hole));
                        }
                        at = data.end;
                        let origin = Origin { version: Arc::clone(&base), offset: data.start };
                        pieces.push((data, Piece::Stored(origin)));
                    }
                    if at < range.end {
                        pieces.push((at..range.end, Piece::Hole));
                    }
                }
            }
        }
        Ok(pieces)
    }

    /// The next data, or the next hole, from `offset` on. The end of the file is a hole.
    ///
    /// # Errors
    /// [`ContentError::Nothing`] beyond the end, or behind the last data.
    pub async fn seek(&self, offset: u64, what: Seek) -> Result<u64> {
        within(self.store.options.deadline, self.seek_now(offset, what)).await
    }

    async fn seek_now(&self, offset: u64, what: Seek) -> Result<u64> {
        self.base().await?;
        let len = self.len();
        if offset >= len {
            return Err(ContentError::Nothing);
        }
        let data = self.data_segments(offset..len).await?;
        match what {
            Seek::Data => data.first().map(|first| first.start).ok_or(ContentError::Nothing),
            Seek::Hole => {
                Ok(data.first().filter(|first| first.start == offset).map_or(offset, |first| first.end.min(len)))
            }
        }
    }
}
