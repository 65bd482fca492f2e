//! Reads through a cache of sealed frames, readers of versions that are known from elsewhere, and readers of what was just
//! committed. A frame that lies in the cache is read without asking anybody; the cache is not believed either, because every
//! frame authenticates when it is opened.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cyx_core::extent::{Extent, OFFSET_MAX, PageId};
use cyx_core::ids::{BlobId, InodeId};
use cyx_core::units::FRAME_TAG;
use cyx_crypto::keys::InodeKey;
use cyx_crypto::wrap::InodeKeyring;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{BlobAt, FileReader, Piece, Plain, Shared};
use crate::error::{Error, Result};
use crate::transfer::Transfer;
use crate::tree::types::{Bucket, VerifiedVersion};
use crate::tree::version::Purpose;

/// Room for sealed bytes that each thread keeps at most: enough for the longest read of the kernel.
const ROOM_MAX: usize = (1 << 20) + (1 << 17);
/// Pieces of one read that are fetched from nodes at a time.
const PIECES_AT_ONCE: usize = 8;

/// A place for sealed frames, and for extent pages if it wants. Nothing that it gives back is believed.
pub trait FrameCache: Send + Sync + 'static {
    /// Whether it has all of these frames of a blob.
    fn has(&self, blob: BlobId, frames: Range<u64>) -> bool;
    /// Reads one sealed frame; `false` if it is not there with exactly this length.
    fn get(&self, blob: BlobId, frame: u64, sealed: &mut [u8]) -> bool;
    /// Keeps one sealed frame, or not.
    fn put(&self, blob: BlobId, frame: u64, sealed: &[u8]);
    /// Reads frames that follow each other, of `frame` sealed bytes each but the last; `false` if one is not there with exactly its length.
    fn get_run(&self, blob: BlobId, first: u64, frame: usize, sealed: &mut [u8]) -> bool {
        (first..).zip(sealed.chunks_mut(frame)).all(|(at, room)| self.get(blob, at, room))
    }

    /// Keeps frames that follow each other, of `frame` sealed bytes each but the last, or not.
    fn put_run(&self, blob: BlobId, first: u64, frame: usize, sealed: &[u8]) {
        (first..).zip(sealed.chunks(frame)).for_each(|(at, bytes)| self.put(blob, at, bytes));
    }

    /// Drops frames that turned out not to be authentic.
    fn forget(&self, blob: BlobId, frames: Range<u64>);

    /// Whether it has this extent page.
    fn has_page(&self, _: PageId) -> bool {
        false
    }

    /// Reads an extent page.
    fn page(&self, _: PageId) -> Option<Vec<u8>> {
        None
    }

    /// Keeps an extent page, or not.
    fn put_page(&self, _: PageId, _: &[u8]) {}
}

/// A version that was verified before and remembered where nobody else can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownVersion {
    /// The file.
    pub inode: InodeId,
    /// Number of the version, 0 for none.
    pub version: u64,
    /// Plain bytes.
    pub size: u64,
    /// Root of the extent pages.
    pub root: PageId,
}

impl From<KnownVersion> for VerifiedVersion {
    fn from(known: KnownVersion) -> Self {
        Self { inode: known.inode, version: known.version, size: known.size, root: known.root }
    }
}

impl From<VerifiedVersion> for KnownVersion {
    fn from(verified: VerifiedVersion) -> Self {
        Self { inode: verified.inode, version: verified.version, size: verified.size, root: verified.root }
    }
}

/// Keeps the frames of a blob, the first of which has this index.
pub(crate) fn keep(cache: &dyn FrameCache, extent: &Extent, first: u64, sealed: &[u8]) {
    keep_frames(cache, extent.blob, extent.header.frame_plain(), first, sealed);
}

/// As [`keep`], for a blob that no extent has yet.
pub(crate) fn keep_frames(cache: &dyn FrameCache, blob: BlobId, frame_plain: u32, first: u64, sealed: &[u8]) {
    cache.put_run(blob, first, sealed_frame(frame_plain), sealed);
}

/// Sealed bytes of a frame that is not the last.
fn sealed_frame(frame_plain: u32) -> usize {
    frame_plain as usize + usize::try_from(FRAME_TAG).unwrap_or(16)
}

impl Transfer {
    /// A reader of a version that was verified before. Nothing is asked until something is read.
    #[must_use]
    pub fn open_known(&self, bucket: &Bucket, keys: InodeKeyring, known: KnownVersion, what: String) -> FileReader {
        let shared = Shared {
            transfer: self.clone(),
            bucket: bucket.clone(),
            version: known.into(),
            purpose: Purpose::Read,
            keys,
            what,
            map: Arc::default(),
            asking: Arc::default(),
            access: Arc::default(),
            liars: Mutex::default(),
        };
        FileReader { shared: Arc::new(shared) }
    }

    /// Opens the newest version of a file by its id; the first answer covers `range`.
    ///
    /// # Errors
    /// As [`Transfer::open`].
    pub async fn open_newest(
        &self,
        bucket: &Bucket,
        inode: InodeId,
        key: &InodeKey,
        range: Range<u64>,
        what: String,
    ) -> Result<FileReader> {
        let (version, pages, answer) = bucket.fetch_file(inode, range, &what).await?;
        let keys = bucket.keyring_of(inode, key, answer.inode.as_ref(), &what).await?;
        let reader = self.open_known(bucket, keys, version.into(), what);
        reader.keep_pages(pages.iter());
        reader.map().pages = pages;
        reader.take(answer.blobs, answer.segments, answer.nodes, answer.placements)?;
        Ok(reader)
    }
}

impl FileReader {
    /// All keys of the file.
    #[must_use]
    pub fn keyring(&self) -> &InodeKeyring {
        &self.shared.keys
    }

    /// Reads the file bytes from `offset` on into a buffer, as far as the file goes, through the cache; what lies beyond the
    /// end and holes are zeros.
    ///
    /// # Errors
    /// As [`Self::read_range`].
    pub async fn read_cached(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let range = offset..offset.saturating_add(out.len() as u64).min(self.size());
        let extents = if range.is_empty() { Vec::new() } else { self.extents_in(range.clone()).await? };
        let parts: Vec<Extent> = extents.iter().filter_map(|extent| extent.clip(&range)).collect();
        let places = parts.iter().map(|part| place_of(out, offset, part)).collect::<Result<Vec<_>>>()?;
        zero_between(out, places);
        let most = self.shared.transfer.tuning().read_piece;
        let mut absent = Vec::new();
        for part in parts {
            let mut rest = Some(part);
            while let Some(left) = rest {
                let end = left.file_offset.saturating_add(most);
                if let Some(part) = left.clip(&(left.file_offset..end))
                    && !self.read_from_cache(&part, place_in(out, offset, &part)?)?
                {
                    absent.push(part);
                }
                rest = left.clip(&(end..OFFSET_MAX));
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        let pieces = self.pieces_of(&absent).await?;
        self.read_pieces(pieces, offset, out).await
    }

    /// What has to be fetched for these extents; where their blobs lie is asked for, if it is not known.
    async fn pieces_of(&self, extents: &[Extent]) -> Result<Vec<Piece>> {
        self.find_blobs(extents).await?;
        let map = self.map();
        let mut pieces = Vec::with_capacity(extents.len());
        for part in extents {
            self.cut(&map, part, &mut pieces)?;
        }
        Ok(pieces)
    }

    async fn read_pieces(&self, pieces: Vec<Piece>, offset: u64, out: &mut [u8]) -> Result<()> {
        let reads = stream::iter(pieces).map(|piece| async move {
            let plain = self.read(&piece).await?;
            Ok::<_, Error>((piece.range(), plain))
        });
        let mut reads = reads.buffered(PIECES_AT_ONCE);
        while let Some((range, plain)) = reads.try_next().await? {
            let Some(plain) = plain else { continue };
            let start = usize::try_from(range.start - offset).unwrap_or(usize::MAX);
            let room = out.get_mut(start..).and_then(|rest| rest.get_mut(..plain.len()));
            room.ok_or(Error::Internal("a piece lies in the range that was asked for"))?.copy_from_slice(&plain);
        }
        Ok(())
    }

    /// Brings a range into the cache, as far as it is not there. Gives what came, by its place in the file and in no order; that memory does not
    /// count as the engine's any more.
    ///
    /// # Errors
    /// As [`Self::read_range`].
    pub async fn warm(&self, range: Range<u64>) -> Result<Vec<(Range<u64>, Bytes)>> {
        let Some(cache) = self.shared.transfer.cache() else { return Ok(Vec::new()) };
        let range = range.start..range.end.min(self.size());
        let extents = self.extents_in(range.clone()).await?;
        let parts = extents.iter().filter_map(|extent| extent.clip(&range));
        let absent: Vec<Extent> =
            parts.filter(|part| !cache.has(part.blob, part.header.frames_of(part.blob_range()))).collect();
        let mut pieces = self.pieces_of(&absent).await?;
        pieces.retain(|piece| matches!(piece, Piece::Segment { .. }));
        // The cache has its own copy of what is sealed, so it is opened where it lies.
        let reads = stream::iter(pieces).map(|piece| async move {
            let room = self.shared.transfer.budget().lend_two(self.need(&piece)?.0, 0).await;
            let plain = self.read_in(&piece, room).await?;
            Ok((piece.range(), plain.map(Plain::into_bytes).unwrap_or_default()))
        });
        reads.buffer_unordered(PIECES_AT_ONCE).try_collect().await
    }

    /// The ranges of the file that have content, in order, inside `range`.
    ///
    /// # Errors
    /// As [`Self::read_range`].
    pub async fn data_ranges(&self, range: Range<u64>) -> Result<Vec<Range<u64>>> {
        let range = range.start..range.end.min(self.size());
        let extents = self.extents_in(range.clone()).await?;
        let mut found: Vec<Range<u64>> = Vec::with_capacity(extents.len());
        for part in extents.iter().filter_map(|extent| extent.clip(&range)) {
            match found.last_mut() {
                Some(last) if last.end == part.file_offset => last.end = part.end(),
                _ => found.push(part.file_offset..part.end()),
            }
        }
        Ok(found)
    }

    /// Reads an extent that the cache has completely; `false` if it has not.
    fn read_from_cache(&self, part: &Extent, out: &mut [u8]) -> Result<bool> {
        let Some(cache) = self.shared.transfer.cache() else { return Ok(false) };
        let frames = part.header.frames_of(part.blob_range());
        if !cache.has(part.blob, frames.clone()) {
            return Ok(false);
        }
        let job = self.job(part)?;
        let length = usize::try_from(job.sealed.end - job.sealed.start);
        let length = length.map_err(|_| Error::Internal("a piece fits memory"))?;
        let opened = with_room(length, |sealed| {
            if !cache.get_run(part.blob, job.first, sealed_frame(part.header.frame_plain()), sealed) {
                return Ok(None);
            }
            if job.wanted == (0..job.plain_len) && out.len() == job.plain_len {
                return Ok(Some(job.cipher.open_into(job.first, sealed, out)));
            }
            let mut plain = vec![0; job.plain_len];
            let opened = job.cipher.open_into(job.first, sealed, &mut plain);
            match plain.get(job.wanted.clone()).filter(|wanted| wanted.len() == out.len()) {
                Some(wanted) => out.copy_from_slice(wanted),
                None => return Err(Error::Internal("a piece is as long as its extent")),
            }
            Ok(Some(opened))
        })?;
        let Some(opened) = opened else { return Ok(false) };
        if opened.is_err() {
            tracing::debug!(blob = %part.blob, "cached frames are not authentic");
            cache.forget(part.blob, frames);
            return Ok(false);
        }
        Ok(true)
    }

    /// A reader of the version that was committed over this one, which knows what this one knows.
    pub(crate) fn successor(&self, version: VerifiedVersion) -> Self {
        let before = &self.shared;
        let shared = Shared {
            transfer: before.transfer.clone(),
            bucket: before.bucket.clone(),
            version,
            purpose: before.purpose,
            keys: before.keys.clone(),
            what: before.what.clone(),
            map: Arc::clone(&before.map),
            asking: Arc::clone(&before.asking),
            access: Arc::clone(&before.access),
            liars: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Tells the reader the bytes of a blob that lies in the server's database.
    pub(crate) fn knows_inline(&self, blob: BlobId, sealed: Bytes) {
        if let Some(cache) = self.shared.transfer.cache() {
            // Inline blobs are one frame.
            cache.put(blob, 0, &sealed);
        }
        self.map().blobs.insert(blob, BlobAt::Inline(sealed));
    }
}

/// Where the bytes of an extent go in a buffer that begins at `offset`.
fn place_of(out: &[u8], offset: u64, part: &Extent) -> Result<Range<usize>> {
    let start = part.file_offset.checked_sub(offset).and_then(|start| usize::try_from(start).ok());
    let end = start.zip(usize::try_from(part.len).ok()).and_then(|(start, len)| start.checked_add(len));
    let place = start.zip(end).filter(|(_, end)| *end <= out.len());
    place.map(|(start, end)| start..end).ok_or(Error::Internal("an extent lies in the range that was asked for"))
}

/// As [`place_of`], and the bytes that are there.
fn place_in<'a>(out: &'a mut [u8], offset: u64, part: &Extent) -> Result<&'a mut [u8]> {
    let place = place_of(out, offset, part)?;
    Ok(&mut out[place])
}

/// Makes zeros of what lies between these places, which are in order, and around them.
fn zero_between(out: &mut [u8], places: Vec<Range<usize>>) {
    let mut from = 0;
    for place in places {
        out.get_mut(from..place.start).unwrap_or_default().fill(0);
        from = place.end;
    }
    out.get_mut(from..).unwrap_or_default().fill(0);
}

/// Gives room for sealed bytes, in which there is what was there before: the thread's own, because memory that is new for every read is
/// zeroed for every read.
fn with_room<T>(len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local!(static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    if len > ROOM_MAX {
        return work(&mut vec![0; len]);
    }
    let mut room = ROOM.take();
    if room.len() < len {
        room.resize(len, 0);
    }
    let done = work(&mut room[..len]);
    ROOM.set(room);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_becomes_zeros_and_nothing_else() {
        let zeroed = |places: &[Range<usize>]| {
            let mut out = *b"abcdefgh";
            zero_between(&mut out, places.to_vec());
            out
        };
        assert_eq!(&zeroed(&[]), b"\0\0\0\0\0\0\0\0");
        assert_eq!(&zeroed(&[0..3, 3..8]), b"abcdefgh");
        assert_eq!(&zeroed(&[1..2, 2..4, 6..7]), b"\0bcd\0\0g\0");
        assert_eq!(&zeroed(&[0..3, 5..8]), b"abc\0\0fgh");
    }

    #[test]
    fn room_is_as_long_as_asked_for_however_it_was_used_before() {
        for len in [5, 70_000, 3, 0, ROOM_MAX + 1, 12] {
            let lent = with_room(len, |room| {
                // Whoever reads inside of a read has room of its own.
                with_room(7, |inner| inner.fill(1));
                room.fill(2);
                room.len()
            });
            assert_eq!(lent, len);
        }
    }
}
