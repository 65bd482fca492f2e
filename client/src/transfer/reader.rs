//! A file for reading: its verified version, and any range of it.
//!
//! What the server says about a file is asked for once and kept: extent pages (believed because the signed commit leads to
//! them), blobs and segments (believed because only the right bytes authenticate), and grants, which are renewed before they
//! end. Clones share all of it.
//!
//! | module | what it does |
//! |---|---|
//! | `map`, `pages` | what the server says about blobs and segments, extent pages |
//! | `access`, `moved` | grants to read, and where shards are now |
//! | `opening` | frames of a fetched piece: completed and opened |
//! | `cached` | reads through a cache of sealed frames, readers of known versions |
//! | `many` | many small files with one question |
//! | `edit` | new extent trees from those of a version |

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cyx_core::extent::{Extent, PageMap};
use cyx_core::ids::{BlobId, InodeId, NodeId, PlacementId, SegmentId};
use cyx_crypto::frames::{BlobCipher, FrameTag};
use cyx_crypto::wrap::{InodeKeyring, open_blob_key};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::Transfer;
use super::budget::{FrozenBuffer, PooledBuffer};
use super::coded::blocking;
use super::fetch::{AccessMap, Fetched, Means, SegmentAt, TooFew, fetch};
use super::liar::judge;
use crate::error::{Error, IntegrityError, Result};
use crate::tree::path::shown;
use crate::tree::types::{Bucket, Located, VerifiedVersion};
use crate::tree::version::Purpose;

mod access;
mod cached;
mod edit;
mod many;
mod map;
mod moved;
mod opening;
mod pages;

pub(crate) use access::RENEWALS_MAX;
pub(crate) use cached::keep_frames;
pub use cached::{FrameCache, KnownVersion};
pub(crate) use edit::Edit;
use opening::{Job, Opening};

/// Blobs asked for in one call.
const BLOBS_PER_CALL: usize = 1024;
/// Ranges of at most this many sealed bytes are opened where they are; larger ones on a thread of their own.
const SMALL: usize = 256 * 1024;
/// How often a range is read again without the nodes that lied.
const TRIES: usize = 6;

/// A version of a file, opened for reading. Cheap to clone.
#[derive(Clone)]
pub struct FileReader {
    shared: Arc<Shared>,
}

struct Shared {
    transfer: Transfer,
    bucket: Bucket,
    version: VerifiedVersion,
    purpose: Purpose,
    keys: InodeKeyring,
    what: String,
    /// Shared by the readers of all versions of a file: pages and blobs are found by ids that never change their meaning.
    map: Arc<Mutex<Map>>,
    /// Held while the server is asked about the file, so that what many want is asked for once. What is known can be read meanwhile.
    asking: Arc<tokio::sync::Mutex<()>>,
    access: Arc<Mutex<AccessMap>>,
    /// Nodes that sent other bytes than they were given to keep.
    liars: Mutex<HashSet<NodeId>>,
}

/// What is known about a file.
#[derive(Default)]
struct Map {
    pages: PageMap,
    /// How many look for extents now.
    looking: usize,
    blobs: HashMap<BlobId, BlobAt>,
    segments: HashMap<SegmentId, Arc<SegmentAt>>,
    placements: HashMap<PlacementId, Vec<NodeId>>,
}

#[derive(Clone)]
enum BlobAt {
    Inline(Bytes),
    Segment { segment: SegmentId, offset: u64 },
}

/// A run of a file that is read in one go.
#[derive(Clone)]
pub(crate) enum Piece {
    Hole(Range<u64>),
    Inline { extent: Extent, sealed: Bytes },
    Segment { extent: Extent, segment: Arc<SegmentAt>, offset: u64 },
}

impl Piece {
    /// The file bytes that it is.
    pub(crate) fn range(&self) -> Range<u64> {
        match self {
            Self::Hole(range) => range.clone(),
            Self::Inline { extent, .. } | Self::Segment { extent, .. } => extent.file_offset..extent.end(),
        }
    }
}

/// Plain bytes of a file.
pub(crate) struct Plain {
    buffer: FrozenBuffer,
    range: Range<usize>,
    frames: Option<WholeFrames>,
}

/// Whole frames of one blob: their tags say what their plain bytes are.
pub(crate) struct WholeFrames {
    pub(crate) blob: BlobId,
    /// Index of the first.
    pub(crate) first: u64,
    pub(crate) tags: Vec<FrameTag>,
}

/// Whole frames of one blob and what seals them.
pub(crate) struct Frames {
    pub(crate) cipher: BlobCipher,
    pub(crate) blob: BlobId,
    /// Index of the first.
    pub(crate) first: u64,
}

impl Plain {
    /// The frames that it is, if it is whole frames.
    pub(crate) fn frames(&self) -> Option<&WholeFrames> {
        self.frames.as_ref()
    }

    /// The bytes for somebody who has a bound of his own: they count as given back.
    fn into_bytes(self) -> Bytes {
        self.buffer.bytes().slice(self.range)
    }
}

impl std::ops::Deref for Plain {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }
}

impl Transfer {
    /// Opens the newest version of a file.
    ///
    /// # Errors
    /// Integrity errors if the server does not show what a writer signed; [`Error::IsDirectory`], network errors.
    pub async fn open(&self, bucket: &Bucket, located: &Located) -> Result<FileReader> {
        self.open_at(bucket, located, 0..u64::MAX).await
    }

    /// As [`Self::open`], to look after the file and not to read it: traffic is reserved only for what is read all the same.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_to_check(&self, bucket: &Bucket, located: &Located) -> Result<FileReader> {
        self.open_for(bucket, located, 0..u64::MAX, Purpose::Look).await
    }

    /// As [`Self::open`], when only a part will be read: the first answer is no larger than that needs.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_at(&self, bucket: &Bucket, located: &Located, range: Range<u64>) -> Result<FileReader> {
        self.open_for(bucket, located, range, Purpose::Read).await
    }

    async fn open_for(
        &self,
        bucket: &Bucket,
        located: &Located,
        range: Range<u64>,
        purpose: Purpose,
    ) -> Result<FileReader> {
        let what = shown(&located.name);
        match located.kind() {
            pb::InodeKind::File => {}
            pb::InodeKind::Directory => return Err(Error::IsDirectory(what)),
            _ => return Err(Error::invalid(format!("{what} is not a file"))),
        }
        let (version, pages, answer) = bucket.fetch_file_for(located.id, range, &what, purpose).await?;
        let keys = bucket.keyring_of(located.id, &located.key, answer.inode.as_ref(), &what).await?;
        let shared = Shared {
            transfer: self.clone(),
            bucket: bucket.clone(),
            version,
            purpose,
            keys,
            what,
            map: Arc::new(Mutex::new(Map { pages, ..Map::default() })),
            asking: Arc::default(),
            access: Arc::default(),
            liars: Mutex::default(),
        };
        let reader = FileReader { shared: Arc::new(shared) };
        reader.take(answer.blobs, answer.segments, answer.nodes, answer.placements)?;
        Ok(reader)
    }
}

impl FileReader {
    /// The version that is read.
    #[must_use]
    pub fn version(&self) -> VerifiedVersion {
        self.shared.version
    }

    /// Plain bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.version.size()
    }

    /// The file.
    #[must_use]
    pub fn inode(&self) -> InodeId {
        self.shared.version.inode()
    }

    /// Its name, as errors show it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.what
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        lock(&self.shared.map)
    }

    pub(crate) fn transfer(&self) -> &Transfer {
        &self.shared.transfer
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.shared.bucket
    }

    /// Nodes that sent other bytes than they were given to keep.
    #[must_use]
    pub fn liars(&self) -> Vec<NodeId> {
        lock(&self.shared.liars).iter().copied().collect()
    }

    /// The file bytes `range`; what lies beyond the end is cut off. Holes are zeros.
    ///
    /// # Errors
    /// [`Error::TooFewNodes`], integrity errors, network errors.
    pub async fn read_range(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let range = range.start..range.end.min(self.size());
        let len =
            usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| Error::invalid("too large a range"))?;
        let mut out = Vec::with_capacity(len);
        for piece in self.plan(range.clone()).await? {
            let end = piece.range().end;
            match self.read(&piece).await? {
                Some(plain) => out.extend_from_slice(&plain),
                None => out.resize(usize::try_from(end - range.start).unwrap_or(usize::MAX), 0),
            }
        }
        Ok(out)
    }

    /// The pieces that the file bytes `range` are, in order and without gaps.
    pub(crate) async fn plan(&self, range: Range<u64>) -> Result<Vec<Piece>> {
        let range = range.start..range.end.min(self.size());
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let extents = self.extents_in(range.clone()).await?;
        self.find_blobs(&extents).await?;
        let map = self.map();
        let mut pieces = Vec::with_capacity(extents.len());
        let mut at = range.start;
        for extent in extents {
            let Some(extent) = extent.clip(&range) else { continue };
            if extent.file_offset > at {
                pieces.push(Piece::Hole(at..extent.file_offset));
            }
            at = extent.end();
            self.cut(&map, &extent, &mut pieces)?;
        }
        if at < range.end {
            pieces.push(Piece::Hole(at..range.end));
        }
        Ok(pieces)
    }

    /// Asks where the blobs of extents lie, unless that is known.
    async fn find_blobs(&self, extents: &[Extent]) -> Result<()> {
        if self.map().unknown(extents).is_empty() {
            return Ok(());
        }
        let _turn = self.shared.asking.lock().await;
        // Somebody may have asked for the same meanwhile.
        let unknown = self.map().unknown(extents);
        for blobs in unknown.chunks(BLOBS_PER_CALL) {
            let request = pb::GetBlobsRequest {
                bucket: bytes_of(self.shared.bucket.id),
                ids: blobs.iter().copied().map(bytes_of).collect(),
                no_access: self.shared.purpose == Purpose::Look,
            };
            let answer = self.shared.bucket.client().meta.get_blobs(request).await?;
            self.take(answer.blobs, answer.segments, answer.nodes, answer.placements)?;
        }
        Ok(())
    }

    /// Cuts an extent into pieces of a size that memory is lent for.
    fn cut(&self, map: &Map, extent: &Extent, pieces: &mut Vec<Piece>) -> Result<()> {
        let withheld = || IntegrityError::Mismatch("it withholds a blob");
        let at = map.blobs.get(&extent.blob).ok_or_else(withheld)?;
        let most = self.shared.transfer.tuning().read_piece;
        let mut rest = extent.file_offset..extent.end();
        while !rest.is_empty() {
            let end = rest.end.min(rest.start.saturating_add(most));
            let Some(part) = extent.clip(&(rest.start..end)) else { break };
            rest.start = end;
            pieces.push(match at {
                BlobAt::Inline(sealed) => Piece::Inline { extent: part, sealed: sealed.clone() },
                BlobAt::Segment { segment, offset } => {
                    let segment = map.segments.get(segment).ok_or_else(withheld)?;
                    Piece::Segment { extent: part, segment: Arc::clone(segment), offset: *offset }
                }
            });
        }
        Ok(())
    }

    /// A long piece as two, if every shard of its bytes can be read as far as is known: the more pieces are under way, the less those nodes have
    /// to wait that are ahead of the others. Without one of the shards each would take as many bytes of others as the whole.
    pub(crate) fn in_halves(&self, piece: &Piece) -> Option<[Piece; 2]> {
        let Piece::Segment { extent, segment, offset } = piece else { return None };
        let half = self.shared.transfer.tuning().read_piece / 2;
        if extent.len <= half || !self.has_all_data(segment) {
            return None;
        }
        let middle = extent.file_offset + half;
        let part = |range: Range<u64>| {
            let extent = extent.clip(&range)?;
            Some(Piece::Segment { extent, segment: Arc::clone(segment), offset: *offset })
        };
        Some([part(extent.file_offset..middle)?, part(middle..extent.end())?])
    }

    /// Whether somebody is worth asking for each data shard of a segment.
    fn has_all_data(&self, segment: &SegmentAt) -> bool {
        let health = self.shared.transfer.pool().health();
        let liars = lock(&self.shared.liars).clone();
        let access = lock(&self.shared.access);
        let is_good = |holder: &Option<NodeId>| {
            let access = holder.filter(|node| !liars.contains(node)).and_then(|node| access.get(&node));
            access.is_some_and(|access| access.alive && !health.is_read_last(access.node))
        };
        segment.holders.iter().take(segment.scheme.k()).all(is_good)
    }

    /// Memory that reading a piece takes: sealed bytes, and plain ones unless those are opened where they lie.
    pub(crate) fn need(&self, piece: &Piece) -> Result<(usize, usize)> {
        match piece {
            Piece::Hole(_) => Ok((0, 0)),
            Piece::Inline { extent, .. } => Ok((0, self.job(extent)?.plain_len)),
            Piece::Segment { extent, .. } => {
                let job = self.job(extent)?;
                let sealed = usize::try_from(job.sealed.end - job.sealed.start);
                // What is kept in a cache is kept sealed, so there the plain bytes have a buffer of their own.
                let plain = if self.shared.transfer.cache().is_some() { job.plain_len } else { 0 };
                Ok((sealed.map_err(|_| Error::Internal("a piece fits memory"))?, plain))
            }
        }
    }

    /// Reads one piece; `None` for a hole.
    pub(crate) async fn read(&self, piece: &Piece) -> Result<Option<Plain>> {
        let (sealed, plain) = self.need(piece)?;
        let room = self.shared.transfer.budget().lend_two(sealed, plain).await;
        self.read_in(piece, room).await
    }

    /// As [`Self::read`], in the memory that [`Self::need`] asks for.
    pub(crate) async fn read_in(&self, piece: &Piece, room: (PooledBuffer, PooledBuffer)) -> Result<Option<Plain>> {
        match piece {
            Piece::Hole(_) => Ok(None),
            Piece::Inline { extent, sealed } => {
                let job = self.job(extent)?;
                let sealed = slice(sealed, &job.sealed).ok_or_else(|| self.not_authentic())?;
                let (_, mut plain) = room;
                job.cipher.open_into(job.first, sealed, &mut plain.bytes).map_err(|_| self.not_authentic())?;
                if let Some(cache) = self.shared.transfer.cache() {
                    cached::keep(&**cache, extent, job.first, sealed);
                }
                Ok(Some(Plain { buffer: plain.freeze(), range: job.wanted, frames: None }))
            }
            Piece::Segment { extent, segment, offset } => {
                self.read_segment(extent, segment, *offset, room).await.map(Some)
            }
        }
    }

    async fn read_segment(
        &self,
        extent: &Extent,
        segment: &Arc<SegmentAt>,
        offset: u64,
        room: (PooledBuffer, PooledBuffer),
    ) -> Result<Plain> {
        let transfer = &self.shared.transfer;
        let (mut job, mut segment) = (self.job(extent)?, Arc::clone(segment));
        let range = offset.saturating_add(job.sealed.start)..offset.saturating_add(job.sealed.end);
        if range.end > segment.length {
            return Err(IntegrityError::Mismatch("a blob lies beyond its segment").into());
        }
        let sealed_len = room.0.bytes.len();
        let (mut sealed, mut plain) = room;
        // Nodes that sent something and could not be asked for a proof of it: this read goes on without them.
        let mut unproven = HashSet::new();
        for _ in 0..TRIES {
            let fetched = self.fetch((extent.blob, &mut segment), &unproven, range.clone(), &mut sealed).await?;
            let keep = transfer.cache().map(|cache| (Arc::clone(cache), extent.clone()));
            let opening = Opening { fetched, job, sealed, plain, keep, tags: Vec::new() };
            let coder = transfer.coder(segment.scheme);
            let opened = if sealed_len <= SMALL {
                opening.open(&coder)
            } else {
                blocking(move || Ok(opening.open(&coder))).await?
            };
            if opened.authentic {
                let Opening { job, plain, sealed, tags, .. } = opened.opening;
                let whole = job.wanted == (0..job.plain_len);
                let frames = whole.then_some(WholeFrames { blob: extent.blob, first: job.first, tags });
                let opened = if plain.bytes.is_empty() { sealed } else { plain };
                return Ok(Plain { buffer: opened.freeze(), range: job.wanted, frames });
            }
            let most = (range.end - range.start).min(segment.shard_len);
            let access = self.access_to(&segment, &HashSet::new(), most, segment.shard_len).await?;
            let Opening { fetched, job: again, sealed: buffer, plain: room, .. } = opened.opening;
            let verdict = judge(transfer.pool(), &segment, &access, &fetched, &buffer.bytes).await;
            if verdict.liars.is_empty() && verdict.unproven.is_empty() {
                // Every node proves that it keeps what it was given: what it was given is not what the owner wrote.
                break;
            }
            // Others may have found out about the same ones meanwhile; this read has still to be done without them.
            lock(&self.shared.liars).extend(verdict.liars);
            unproven.extend(verdict.unproven);
            (job, sealed, plain) = (again, buffer, room);
        }
        Err(self.not_authentic())
    }

    /// Reads the bytes `range` of the segment in which a blob lies, wherever its shards are by now.
    async fn fetch(
        &self,
        (blob, segment): (BlobId, &mut Arc<SegmentAt>),
        unproven: &HashSet<NodeId>,
        range: Range<u64>,
        buffer: &mut PooledBuffer,
    ) -> Result<Fetched> {
        let transfer = &self.shared.transfer;
        let (mut renewals, mut waiting) = (0, transfer.outage().waiting(transfer.tuning().outage));
        let (mut worn, mut looked) = (HashSet::new(), false);
        let most = (range.end - range.start).min(segment.shard_len);
        loop {
            let access = self.access_to(segment, &worn, most, segment.shard_len).await?;
            let excluded = &lock(&self.shared.liars).clone() | unproven;
            let means = Means { pool: transfer.pool(), tuning: transfer.tuning(), reserve: transfer.reserve() };
            let fetching = fetch(means, segment, &access, &excluded, range.clone(), &mut buffer.bytes);
            match fetching.await {
                Ok(fetched) => {
                    transfer.outage().is_over();
                    return Ok(fetched);
                }
                Err(TooFew { stale, .. }) if !stale.is_empty() && renewals < RENEWALS_MAX => {
                    renewals += 1;
                    worn = self.worn(&access, &stale);
                }
                Err(TooFew { reachable, needed, lost, last, .. }) => {
                    if !std::mem::replace(&mut looked, true)
                        && let Some(now) = self.moved(blob, segment, &access).await
                    {
                        *segment = now;
                        continue;
                    }
                    // Whoever could not be asked may have the right bytes all the same.
                    let doubtful = segment.holders.iter().flatten().filter(|node| unproven.contains(node)).count();
                    let lost = lost.saturating_sub(doubtful);
                    let left = segment.scheme.n().saturating_sub(lost);
                    if left < needed {
                        return Err(Error::Lost {
                            what: format!("cannot read {}", self.shared.what),
                            lost,
                            left,
                            needed,
                        });
                    }
                    if waiting.wait(reachable, needed, last.as_ref()).await {
                        transfer.pool().health().excuse(segment.holders.iter().flatten().copied());
                        continue;
                    }
                    if let Some(error) = last {
                        tracing::warn!(%error, "the last storage node that failed");
                    }
                    return Err(Error::TooFewNodes {
                        what: format!("cannot read {}", self.shared.what),
                        reachable,
                        needed,
                    });
                }
            }
        }
    }

    /// Takes over what the server says, checked as far as it can be.
    fn take(
        &self,
        blobs: Vec<pb::Blob>,
        segments: Vec<pb::Segment>,
        nodes: Vec<pb::NodeAccess>,
        placements: Vec<pb::Placement>,
    ) -> Result<()> {
        self.take_access(nodes)?;
        let mut map = self.map();
        map.take_segments(segments, placements)?;
        map.take_blobs(blobs)
    }

    fn job(&self, extent: &Extent) -> Result<Job> {
        let broken = || IntegrityError::WrappedKey(self.shared.what.clone());
        let file = self.shared.keys.of_epoch(extent.key_epoch).map_err(|_| broken())?;
        let key = open_blob_key(file, extent.blob, extent.header, &extent.wrapped_key).map_err(|_| broken())?;
        let wanted = extent.blob_range();
        let frames = extent.header.frames_of(wanted.clone());
        let (plain, sealed) = (extent.header.plain_range(frames.clone()), extent.header.sealed_range(frames.clone()));
        let local = |at: u64| usize::try_from(at - plain.start).map_err(|_| Error::Internal("a piece fits memory"));
        Ok(Job {
            cipher: BlobCipher::new(&key, extent.blob, extent.header),
            first: frames.start,
            sealed,
            plain_len: local(plain.end)?,
            wanted: local(wanted.start)?..local(wanted.end)?,
        })
    }

    /// The frames that a range is exactly, of one blob; `None` if it is anything else.
    pub(crate) async fn frames_of(&self, range: Range<u64>) -> Result<Option<Frames>> {
        let pieces = self.plan(range.clone()).await?;
        let [Piece::Segment { extent, .. }] = &pieces[..] else { return Ok(None) };
        let job = self.job(extent)?;
        let whole = extent.file_offset == range.start && extent.end() == range.end && job.wanted == (0..job.plain_len);
        Ok(whole.then_some(Frames { cipher: job.cipher, blob: extent.blob, first: job.first }))
    }

    fn not_authentic(&self) -> Error {
        IntegrityError::Content(self.shared.what.clone()).into()
    }

    /// Every segment that the file bytes `range` lie in, once each.
    pub(crate) async fn segments(&self, range: Range<u64>) -> Result<Vec<Arc<SegmentAt>>> {
        let mut seen = HashSet::new();
        let segment = |piece: Piece| match piece {
            Piece::Segment { segment, .. } => Some(segment),
            Piece::Hole(_) | Piece::Inline { .. } => None,
        };
        let pieces = self.plan(range).await?;
        Ok(pieces.into_iter().filter_map(segment).filter(|segment| seen.insert(segment.id)).collect())
    }
}

fn slice<'a>(bytes: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
    bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
