//! Commits that change parts of files and keep the rest: only what was written becomes new blobs, every other extent stays the
//! blob that it was or becomes one of another file's, and what was never written stays a hole. What many files have written goes
//! into the same segments, so that a thousand small changes are a few rounds of requests to the nodes and one call of the server.
//!
//! ```text
//! Uploads::prepare    written ranges ─▶ blobs ─▶ segments on nodes, or inline ─▶ new pages over the old tree ─▶ signed commits
//! Patches::intents    what will be committed, to be remembered before
//! Patches::commit     one call; a file whose version was committed by somebody else meanwhile is lost and changes nothing
//! ```

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cyx_core::commit::Commit;
use cyx_core::extent::Extent;
use cyx_core::ids::TxnId;
use cyx_core::units::{FRAME_PLAIN, INLINE_MAX};
use cyx_crypto::frames::BlobCipher;
use cyx_crypto::keys::InodeKey;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::coded::{Coded, blocking, buffer_len, joined};
use super::content::SealedBlob;
use super::reader::{Edit, FileReader, FrameCache, KnownVersion, keep_frames};
use super::upload::{SegmentOptions, Shipped, Uploads, sealed_len};
use crate::error::{Error, Result};

mod ahead;
mod append;
mod commit;
mod share;

pub use ahead::{Ahead, OnItsWay};
pub use commit::{Patched, Patches, WriteLease};
pub use share::Shared;

/// Plain bytes that are read from a source at a time: a multiple of the frame.
const STEP: usize = 256 * 1024;
/// Segments on their way at a time; memory bounds them as well.
const SEGMENTS_AT_ONCE: usize = 4;
/// Inline blobs of one file, at most; more ranges than that are packed.
const INLINE_RUNS: usize = 16;

/// Where the plain bytes that were written come from.
pub trait PlainSource: Send + Sync + 'static {
    /// Fills `plain` with the file's bytes from `offset` on. May block: it is called where that is allowed.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_at(&self, offset: u64, plain: &mut [u8]) -> io::Result<()>;

    /// The file's bytes of a range as they lie in memory, in order, if all of them do. They need not be there for long: whoever asks takes
    /// them now.
    fn take_held(&self, range: Range<u64>) -> Option<Vec<Bytes>> {
        let _ = range;
        None
    }
}

/// Changes of one file.
pub struct Patch {
    /// The version they are based on.
    pub base: FileReader,
    /// Plain bytes of the file afterwards.
    pub size: u64,
    /// Ranges that were written: in order, not empty, not overlapping each other, `holes` or `shared`, inside `size`.
    pub data: Vec<Range<u64>>,
    /// Ranges that are zeros now, likewise.
    pub holes: Vec<Range<u64>>,
    /// Ranges that are those of other files, likewise.
    pub shared: Vec<Shared>,
    /// Where `data` comes from.
    pub source: Arc<dyn PlainSource>,
    /// Parts of `data` whose storing has begun already, in order.
    pub ahead: Vec<OnItsWay>,
    /// The time of the last change of content that the file gets, in Unix nanoseconds.
    pub mtime_ns: i64,
    /// When that was decided: the file's ctime.
    pub changed_ns: i64,
    /// Transaction under which it is committed: the same one again gets the same answer.
    pub txn: TxnId,
}

struct Prepared {
    base: FileReader,
    message: pb::Commit,
    signed: Commit,
    next: KnownVersion,
    txn: TxnId,
    changed_ns: i64,
    inline: Vec<(cyx_core::ids::BlobId, Bytes)>,
}

/// A segment and the patches that have blobs in it.
struct Carried {
    upload: pb::SegmentUpload,
    receipts: Vec<Bytes>,
    users: Vec<usize>,
    known: bool,
    /// In use until the server knows the segment.
    _lease: super::lease::LeaseUse,
}

/// A blob that is to be made.
struct Wanted {
    patch: usize,
    range: Range<u64>,
    source: Arc<dyn PlainSource>,
}

impl Wanted {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn sealed_len(&self) -> u64 {
        sealed_len(self.len())
    }
}

struct Made {
    patch: usize,
    offset: u64,
    blob: SealedBlob,
    at: u64,
}

impl Uploads {
    /// Stores what patches have written and prepares their commits. Results are in the order of the patches.
    pub async fn prepare(&self, patches: Vec<Patch>) -> Patches {
        let mut files: Vec<Building> = patches.into_iter().map(Building::new).collect();
        let (mut wanted, mut begun) = (Vec::new(), Vec::new());
        let (mut total, mut room) = (0, append::TOGETHER_MAX);
        for (at, file) in files.iter_mut().enumerate() {
            file.take_over_small_extents(&mut room).await;
            total += file.written();
            let ahead = std::mem::take(&mut file.patch.ahead);
            if file.is_inline() {
                if let Err(error) = file.make_inline().await {
                    file.error = Some(error);
                }
            } else {
                let source = &file.patch.source;
                let ranges = rest_of(&file.patch.data, &ahead);
                wanted.extend(ranges.into_iter().map(|range| Wanted { patch: at, range, source: Arc::clone(source) }));
                begun.extend(ahead.into_iter().map(|part| (at, part, Arc::clone(source))));
            }
        }
        let carried = match self.ship_all(wanted, begun, total, &mut files).await {
            Ok(carried) => carried,
            Err(error) => {
                fail_all(&mut files, &error);
                Vec::new()
            }
        };
        let mut prepared = Vec::with_capacity(files.len());
        for file in files {
            prepared.push(self.sign(file).await);
        }
        Patches { uploads: self.clone(), files: prepared, carried }
    }

    /// Cuts what was written into blobs and these into segments, and stores them.
    async fn ship_all(
        &self,
        wanted: Vec<Wanted>,
        begun: Vec<(usize, OnItsWay, Arc<dyn PlainSource>)>,
        total: u64,
        files: &mut [Building],
    ) -> Result<Vec<Carried>> {
        if wanted.is_empty() && begun.is_empty() {
            return Ok(Vec::new());
        }
        let tuning = self.shared.transfer.tuning();
        let mut coming: u64 = wanted.iter().map(Wanted::sealed_len).sum();
        let scheme = self.shared.leases.scheme(coming).await?;
        // A large file that is committed in parts is a large one all the same.
        let whole = if let [file] = &*files { total.max(file.patch.size) } else { total };
        let full = tuning.segment_plain(scheme, whole);
        let mut segments: Vec<Vec<Wanted>> = Vec::new();
        let mut room = 0;
        for run in wanted {
            let mut rest = run.range.clone();
            while rest.start < rest.end {
                let end = rest.end.min(rest.start.saturating_add(full));
                let len = end - rest.start;
                if len > room || segments.is_empty() {
                    segments.push(Vec::new());
                    room = full;
                }
                room = room.saturating_sub(len);
                let piece = Wanted { patch: run.patch, range: rest.start..end, source: Arc::clone(&run.source) };
                if let Some(last) = segments.last_mut() {
                    last.push(piece);
                }
                rest.start = end;
            }
        }
        let mut carried = Vec::with_capacity(segments.len());
        let mut jobs: JoinSet<Result<ahead::StoredFor>> = JoinSet::new();
        let mut waiting = segments.into_iter();
        for (patch, part, source) in begun {
            let (uploads, after) = (self.clone(), coming);
            jobs.spawn(async move { Ok(uploads.arrived(patch, part, source, after).await) });
        }
        let mut unstaged = 0;
        let stage_under = (files.len() == 1).then(|| files[0].patch.txn);
        loop {
            while jobs.len() < SEGMENTS_AT_ONCE {
                let Some(segment) = waiting.next() else { break };
                coming = coming.saturating_sub(segment.iter().map(Wanted::sealed_len).sum());
                let (uploads, after) = (self.clone(), coming);
                jobs.spawn(async move {
                    let shipped = uploads.ship_segment(segment, scheme, after).await?;
                    Ok(shipped.map(|shipped| vec![shipped]))
                });
            }
            let Some(done) = jobs.join_next().await else { break };
            let stored = match joined(done) {
                Ok(Ok(stored)) => stored,
                Ok(Err((error, users))) => {
                    fail(files, &users, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (shipped, made) in stored {
                let id = shipped.placed.upload.segment.as_ref().map(|segment| segment.id.clone()).unwrap_or_default();
                let mut users = Vec::new();
                for made in made {
                    unstaged += made.blob.header.sealed_len();
                    users.push(made.patch);
                    let file = &mut files[made.patch];
                    file.extents.push(made.blob.extent(&file.key, made.offset));
                    file.blobs.push(made.blob.placed(id.clone(), made.at));
                }
                users.dedup();
                let Shipped { placed, lease, .. } = shipped;
                carried.push(Carried {
                    upload: placed.upload,
                    receipts: placed.receipts,
                    users,
                    known: false,
                    _lease: lease,
                });
            }
            if let Some(txn) = stage_under.filter(|_| unstaged >= tuning.stage) {
                self.stage_patch(txn, &mut files[0], &mut carried).await?;
                unstaged = 0;
            }
        }
        Ok(carried)
    }

    /// Hands over what a long patch has stored so far: receipts and leases end.
    async fn stage_patch(&self, txn: TxnId, file: &mut Building, carried: &mut Vec<Carried>) -> Result<()> {
        let bucket = &self.shared.bucket;
        let request = pb::StageRequest {
            bucket: bytes_of(bucket.id),
            txn: bytes_of(txn),
            segments: carried.iter().map(|segment| segment.upload.clone()).collect(),
            blobs: std::mem::take(&mut file.blobs),
            receipts: carried.iter().flat_map(|segment| segment.receipts.iter().cloned()).collect(),
        };
        bucket.client().meta.stage(request).await?;
        carried.clear();
        file.staged = true;
        self.shared.leases.release_spent().await;
        Ok(())
    }

    /// Seals blobs into one segment and stores it.
    async fn ship_segment(
        &self,
        wanted: Vec<Wanted>,
        scheme: cyx_core::scheme::Scheme,
        coming: u64,
    ) -> Result<std::result::Result<(Shipped, Vec<Made>), (Error, Vec<usize>)>> {
        let users: Vec<usize> = wanted.iter().map(|piece| piece.patch).collect();
        let mut made = Vec::with_capacity(wanted.len());
        let mut sealed = 0;
        for piece in &wanted {
            let blob = SealedBlob::draw(piece.range.end - piece.range.start)?;
            let len = blob.header.sealed_len();
            made.push(Made { patch: piece.patch, offset: piece.range.start, blob, at: sealed });
            sealed += len;
        }
        // Long runs would push out what is read again and again, for a file that most likely is not, and whose pages the kernel still has.
        let short = self.shared.transfer.tuning().segment_plain(scheme, 0);
        let is_long = wanted.iter().any(|piece| piece.range.end - piece.range.start > short);
        let cache = self.shared.transfer.cache().filter(|_| !is_long).cloned();
        let mut buffer = self.shared.transfer.budget().lend(buffer_len(scheme, sealed)?).await;
        let lease = match self.shared.leases.take(sealed, coming).await {
            Ok(lease) => lease,
            Err(error) => return Ok(Err((error, users))),
        };
        let coder = self.shared.transfer.coder(scheme);
        let sealing = blocking(move || {
            if let ([piece], [only], None) = (&wanted[..], &made[..], &cache)
                && let Some(pieces) = piece.source.take_held(piece.range.clone())
            {
                let cipher = BlobCipher::new(&only.blob.key, only.blob.id, only.blob.header);
                let coded = Coded::seal_pieces(&coder, buffer, &cipher, &pieces)?;
                return Ok((coded, made));
            }
            for (piece, made) in wanted.iter().zip(&made) {
                let at = usize::try_from(made.at).unwrap_or(usize::MAX);
                let len = usize::try_from(made.blob.header.sealed_len()).unwrap_or(usize::MAX);
                let room = buffer.bytes.get_mut(at..).and_then(|rest| rest.get_mut(..len));
                let room = room.ok_or(Error::Internal("a segment is large enough for its blobs"))?;
                seal(piece, &made.blob, room, cache.as_deref())?;
            }
            Ok((Coded::code(&coder, buffer, sealed)?, made))
        });
        let (coded, made) = match sealing.await {
            Ok(coded) => coded,
            Err(error) => return Ok(Err((error, users))),
        };
        match self.ship_coded(coded, lease, SegmentOptions { all_shards: false, coming }).await {
            Ok(shipped) => Ok(Ok((shipped, made))),
            Err(error) => Ok(Err((error, users))),
        }
    }

    /// Puts new extents over the old tree and signs the commit.
    async fn sign(&self, mut file: Building) -> Result<Prepared> {
        if let Some(error) = file.error.take() {
            return Err(error);
        }
        let Building { patch, key, mut extents, blobs, staged, inline, .. } = file;
        extents.sort_unstable_by_key(|extent| extent.file_offset);
        let mut edits: Vec<Edit> = Vec::with_capacity(patch.data.len() + patch.holes.len());
        let mut rest = extents.into_iter().peekable();
        for range in &patch.data {
            let mut own = Vec::new();
            while let Some(extent) = rest.next_if(|extent| extent.file_offset < range.end) {
                own.push(extent);
            }
            edits.push(Edit { range: range.clone(), extents: own });
        }
        edits.extend(patch.holes.iter().map(|range| Edit { range: range.clone(), extents: Vec::new() }));
        for shared in &patch.shared {
            edits.push(Edit { range: shared.range.clone(), extents: shared.extents(&key).await? });
        }
        edits.sort_unstable_by_key(|edit| edit.range.start);
        let base = patch.base.version();
        let built = patch.base.edited(patch.size, &edits).await?;
        let bucket = &self.shared.bucket;
        let signed = bucket.sign_commit(base.inode(), base.version(), patch.size, built.root);
        let page = |(id, content): (cyx_core::extent::PageId, Vec<u8>)| pb::Page {
            id: id.to_vec().into(),
            content: content.into(),
        };
        let message = pb::Commit {
            inode: bytes_of(base.inode()),
            base_version: base.version(),
            base_root: if base.version() == 0 { Bytes::new() } else { base.root().to_vec().into() },
            size: patch.size,
            root_page: built.root.to_vec().into(),
            pages: built.pages.into_iter().map(page).collect(),
            blobs,
            segments: Vec::new(),
            receipts: Vec::new(),
            writer: bytes_of(signed.commit.writer),
            signature: signed.signature.to_vec().into(),
            mtime_ns: patch.mtime_ns,
            key_epoch: key.epoch(),
            staged: if staged { bytes_of(patch.txn) } else { Bytes::new() },
        };
        let next =
            KnownVersion { inode: base.inode(), version: signed.commit.version, size: patch.size, root: built.root };
        let Patch { base, txn, changed_ns, .. } = patch;
        Ok(Prepared { base, message, signed: signed.commit, next, txn, changed_ns, inline })
    }
}

/// A patch while its blobs are made.
struct Building {
    patch: Patch,
    key: InodeKey,
    extents: Vec<Extent>,
    blobs: Vec<pb::Blob>,
    inline: Vec<(cyx_core::ids::BlobId, Bytes)>,
    staged: bool,
    error: Option<Error>,
}

impl Building {
    fn new(patch: Patch) -> Self {
        let key = patch.base.keyring().newest().clone();
        Self { patch, key, extents: Vec::new(), blobs: Vec::new(), inline: Vec::new(), staged: false, error: None }
    }

    fn written(&self) -> u64 {
        self.patch.data.iter().map(|range| range.end - range.start).sum()
    }

    fn is_inline(&self) -> bool {
        self.written() <= INLINE_MAX && self.patch.data.len() <= INLINE_RUNS
    }

    async fn make_inline(&mut self) -> Result<()> {
        for range in &self.patch.data {
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let blob = SealedBlob::draw(range.end - range.start)?;
            let mut plain = Zeroizing::new(vec![0; len]);
            let (source, offset) = (Arc::clone(&self.patch.source), range.start);
            let plain = blocking(move || {
                source.read_at(offset, &mut plain).map_err(Error::local(std::path::Path::new("journal")))?;
                Ok(plain)
            });
            let mut sealed = Vec::new();
            BlobCipher::new(&blob.key, blob.id, blob.header)
                .seal(&plain.await?, &mut sealed)
                .map_err(|_| Error::Internal("a blob is as long as its header says"))?;
            self.inline.push((blob.id, Bytes::copy_from_slice(&sealed)));
            self.extents.push(blob.extent(&self.key, range.start));
            self.blobs.push(blob.inline(sealed));
        }
        Ok(())
    }
}

/// What is left of ranges without the parts whose storing has begun; both are in order.
fn rest_of(data: &[Range<u64>], begun: &[OnItsWay]) -> Vec<Range<u64>> {
    let mut rest = Vec::with_capacity(data.len());
    let mut begun = begun.iter().peekable();
    for range in data {
        let mut at = range.start;
        while let Some(part) = begun.next_if(|part| part.range.start < range.end) {
            if at < part.range.start {
                rest.push(at..part.range.start);
            }
            at = part.range.end;
        }
        if at < range.end {
            rest.push(at..range.end);
        }
    }
    rest
}

/// Each file fails for the reason for which its segment could not be stored.
fn fail(files: &mut [Building], users: &[usize], error: &Error) {
    for user in users {
        if let Some(file) = files.get_mut(*user).filter(|file| file.error.is_none()) {
            file.error = Some(error.repeated());
        }
    }
}

fn fail_all(files: &mut [Building], error: &Error) {
    let users: Vec<usize> = (0..files.len()).filter(|at| !files[*at].is_inline()).collect();
    fail(files, &users, error);
}

/// Seals one blob where it lies in a segment.
fn seal(piece: &Wanted, blob: &SealedBlob, room: &mut [u8], cache: Option<&dyn FrameCache>) -> Result<()> {
    let cipher = BlobCipher::new(&blob.key, blob.id, blob.header);
    let frames_per_step = STEP as u64 / FRAME_PLAIN;
    let mut plain = Zeroizing::new(vec![0; STEP]);
    let mut frame = 0;
    while frame < blob.header.frames() {
        let frames = frame..(frame + frames_per_step).min(blob.header.frames());
        let (from, to) = (blob.header.plain_range(frames.clone()), blob.header.sealed_range(frames.clone()));
        let len = usize::try_from(from.end - from.start).unwrap_or(usize::MAX);
        let part = plain.get_mut(..len).ok_or(Error::Internal("a step holds its frames"))?;
        piece
            .source
            .read_at(piece.range.start + from.start, part)
            .map_err(Error::local(std::path::Path::new("journal")))?;
        let place = usize::try_from(to.start).unwrap_or(usize::MAX)..usize::try_from(to.end).unwrap_or(usize::MAX);
        let sealed = room.get_mut(place).ok_or(Error::Internal("a blob is as long as its header says"))?;
        cipher.seal_frames(frame, part, sealed).map_err(|_| Error::Internal("a blob is as long as its header says"))?;
        if let Some(cache) = cache {
            keep_frames(cache, blob.id, blob.header.frame_plain(), frame, sealed);
        }
        frame = frames.end;
    }
    Ok(())
}
