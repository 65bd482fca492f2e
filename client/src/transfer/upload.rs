//! Content out: a source is cut into blobs, each is sealed where it was read to, coded and put on nodes, several at a time as far
//! as memory allows. What comes out is [`Content`], which [`super::put`] commits.
//!
//! ```text
//! source ─fill─▶ buffer ─seal─▶ frames ─code─▶ shards, hashes ─place─▶ receipts ─▶ staged or kept for the commit
//!         (one at a time)       (blocking threads, in parallel)  (all nodes at once)
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cyx_core::extent::Extent;
use cyx_core::ids::TxnId;
use cyx_core::scheme::Scheme;
use cyx_core::units::{FRAME_PLAIN, FRAME_SEALED, FRAME_TAG, INLINE_MAX};
use cyx_crypto::frames::BlobCipher;
use cyx_crypto::keys::InodeKey;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use tokio::task::JoinSet;

use super::Transfer;
use super::budget::PooledBuffer;
use super::coded::{Coded, blocking, buffer_len, joined};
use super::content::{Content, SealedBlob, SegmentOutcome};
use super::lease::{LeaseUse, Leases};
use super::place::{Placed, place};
use super::progress::Progress;
use super::resume::{Finished, Resume, abort_staged};
use super::source::Feed;
use crate::error::{Error, Result};
use crate::tree::types::Bucket;

/// So often a segment is tried on other nodes before it gets narrower. The server may believe in nodes that are gone.
const RENEWALS: u32 = 2;

/// Uploads into one bucket, which share its placement leases. Cheap to clone. Call [`Self::finish`] at the end.
#[derive(Clone)]
pub struct Uploads {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) transfer: Transfer,
    pub(crate) bucket: Bucket,
    pub(crate) leases: Leases,
    /// What was staged under these is neither committed nor gone on with: whoever waited for it does so no more.
    unfinished: Mutex<Vec<TxnId>>,
}

/// An upload under way that cannot be gone on with. Dropped before it is over, it is left to [`Uploads::finish`].
pub(crate) struct UnderWay {
    shared: Arc<Shared>,
    txn: Option<TxnId>,
}

impl UnderWay {
    /// Nothing is left to do.
    pub(crate) fn over(mut self) {
        self.txn = None;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.shared.unfinished().extend(self.txn);
    }
}

impl Shared {
    fn unfinished(&self) -> MutexGuard<'_, Vec<TxnId>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How one segment is stored.
#[derive(Clone, Copy)]
pub(crate) struct SegmentOptions {
    /// Every shard has to be durable.
    pub(crate) all_shards: bool,
    /// Sealed bytes that will probably follow.
    pub(crate) coming: u64,
}

/// A segment that is stored.
pub(crate) struct Shipped {
    pub(crate) placed: Placed,
    pub(crate) lease: LeaseUse,
    pub(crate) scheme: Scheme,
}

/// One blob that has become one segment.
struct SentBlob {
    extent: Extent,
    blob: pb::Blob,
    shipped: Shipped,
    finished: Option<Finished>,
}

impl Uploads {
    pub(crate) fn new(transfer: &Transfer, bucket: &Bucket) -> Self {
        let leases = Leases::new(bucket.client().meta.clone(), transfer.pool().clone(), bucket.id);
        let (transfer, bucket, unfinished) = (transfer.clone(), bucket.clone(), Mutex::default());
        Self { shared: Arc::new(Shared { transfer, bucket, leases, unfinished }) }
    }

    pub(crate) fn under_way(&self, txn: TxnId) -> UnderWay {
        UnderWay { shared: Arc::clone(&self.shared), txn: Some(txn) }
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.shared.bucket
    }

    /// Says that about so many bytes for nodes will follow soon: asks for a lease and connects to its nodes meanwhile.
    pub fn expect(&self, bytes: u64) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.leases.prepare(sealed_len(bytes)).await });
    }

    /// Gives leases back that are not needed any more, and what uploads staged that were dropped and cannot be gone on with. Everything else
    /// has to be committed by now.
    pub async fn finish(&self) {
        let unfinished = std::mem::take(&mut *self.shared.unfinished());
        for txn in unfinished {
            self.abort_staged(txn).await;
        }
        self.shared.leases.release().await;
    }

    /// Nobody will ask for what was staged, so it need not count against the quota for days.
    pub(crate) async fn abort_staged(&self, txn: TxnId) {
        if let Err(error) = abort_staged(self.shared.bucket.client(), self.shared.bucket.id, txn).await {
            tracing::debug!(%error, "staged segments stay until they expire");
        }
    }

    /// Stores everything that a source has, and commits nothing.
    pub(crate) async fn send(
        &self,
        file: &InodeKey,
        mut feed: Feed,
        known: Option<u64>,
        options: SendOptions<'_>,
    ) -> Result<Content> {
        if known.is_none_or(|known| known <= INLINE_MAX) {
            let first = feed.peek(usize::try_from(INLINE_MAX + 1).unwrap_or(usize::MAX)).await?;
            if first.len() as u64 <= INLINE_MAX {
                options.progress.bytes(first.len() as u64);
                return inline(file, &first);
            }
        }
        let sent = Sent::default();
        Sending { uploads: self, file, options, known, sent, last_stage: Instant::now(), jobs: JoinSet::new() }
            .run(feed)
            .await
    }

    /// Codes and places one segment.
    pub(crate) async fn ship(
        &self,
        buffer: PooledBuffer,
        length: u64,
        scheme: Scheme,
        options: SegmentOptions,
    ) -> Result<Shipped> {
        let lease = self.shared.leases.take(length, options.coming).await?;
        let coder = self.shared.transfer.coder(scheme);
        let coded = blocking(move || Coded::code(&coder, buffer, length)).await?;
        self.ship_coded(coded, lease, options).await
    }

    /// Places one segment. Below the write quorum the same bytes are tried on other nodes, if there are, and then as a narrower segment.
    pub(crate) async fn ship_coded(
        &self,
        mut coded: Coded,
        mut lease: LeaseUse,
        options: SegmentOptions,
    ) -> Result<Shipped> {
        let Shared { transfer, leases, .. } = &*self.shared;
        let (pool, tuning, length) = (transfer.pool(), transfer.tuning(), coded.length);
        let (mut renewed, mut waiting) = (0, transfer.outage().waiting(tuning.outage));
        loop {
            if lease.scheme != coded.scheme {
                coded = coded.recode(transfer.budget(), transfer.coder(lease.scheme)).await?;
            }
            let short = match place(pool, tuning, &lease, &coded, options.all_shards).await {
                Ok(placed) => {
                    transfer.outage().is_over();
                    if placed.lease_is_poor {
                        leases.exchange(&lease, false).await;
                    }
                    return Ok(Shipped { placed, scheme: lease.scheme, lease });
                }
                Err(short) => short,
            };
            tracing::debug!(present = short.present, needed = short.needed, scheme = %coded.scheme, "too few nodes took a segment");
            if waiting.wait(short.present, short.needed, short.last.as_ref()).await {
                // What nodes have counted of what broke off is missing at the end of the lease.
                leases.exchange(&lease, false).await;
                pool.health().excuse(lease.nodes.iter().map(|node| node.node));
                continue;
            }
            let stale = short.last.as_ref().is_some_and(|error| error.problem.is_stale_grant());
            let others = leases.exchange(&lease, stale).await;
            drop(lease);
            let next = if renewed < RENEWALS && (others || options.all_shards) {
                renewed += 1;
                Some(leases.take(length, options.coming).await?)
            } else if options.all_shards {
                None
            } else {
                leases.narrower(coded.scheme, length).await?
            };
            let Some(next) = next else {
                if let Some(error) = short.last {
                    tracing::warn!(%error, "the last storage node that failed");
                }
                // They count as used while they are held, and whoever tries again takes more.
                leases.release_spent().await;
                return Err(Error::TooFewNodes {
                    what: "cannot store a segment".to_owned(),
                    reachable: short.present,
                    needed: short.needed,
                });
            };
            lease = next;
        }
    }
}

/// How content is sent.
pub(crate) struct SendOptions<'a> {
    pub(crate) all_shards: bool,
    pub(crate) progress: &'a dyn Progress,
    /// Transaction under which long uploads are staged.
    pub(crate) txn: TxnId,
    /// Remembers what is staged, if the upload can be resumed; then the transaction is its own.
    pub(crate) resume: Option<&'a mut Resume>,
}

/// At most [`INLINE_MAX`] bytes, sealed for the server's database.
pub(crate) fn inline(file: &InodeKey, plain: &[u8]) -> Result<Content> {
    if plain.is_empty() {
        return Ok(Content::default());
    }
    let blob = SealedBlob::draw(plain.len() as u64)?;
    let mut sealed = Vec::new();
    BlobCipher::new(&blob.key, blob.id, blob.header)
        .seal(plain, &mut sealed)
        .map_err(|_| Error::Internal("a blob is as long as its header says"))?;
    Ok(Content {
        size: plain.len() as u64,
        extents: vec![blob.extent(file, 0)],
        blobs: vec![blob.inline(sealed)],
        ..Content::default()
    })
}

/// What of one upload is done.
#[derive(Default)]
struct Sent {
    extents: BTreeMap<u64, Extent>,
    waiting: Content,
    waiting_bytes: u64,
    finished: Vec<Finished>,
    staged: bool,
}

struct Sending<'a> {
    uploads: &'a Uploads,
    file: &'a InodeKey,
    options: SendOptions<'a>,
    known: Option<u64>,
    sent: Sent,
    last_stage: Instant,
    jobs: JoinSet<Result<SentBlob>>,
}

impl Sending<'_> {
    async fn run(mut self, mut feed: Feed) -> Result<Content> {
        let (transfer, leases) = (&self.uploads.shared.transfer, &self.uploads.shared.leases);
        let mut offset = 0;
        loop {
            while let Some(done) = self.jobs.try_join_next() {
                self.absorb(joined(done)?).await?;
            }
            let left = self.known.map(|known| known.saturating_sub(offset));
            // Of a stream as much again as came already, and a first segment.
            let coming = left.unwrap_or(offset.max(transfer.tuning().frames * FRAME_PLAIN));
            let scheme = leases.scheme(sealed_len(coming)).await?;
            if let Some(resume) = self.options.resume.as_deref_mut()
                && let Some(lease) = leases.current().await
            {
                resume.hold(&lease)?;
            }
            // The first is an ordinary one: it tells which nodes lag before much waits for them.
            let known = if offset == 0 { 0 } else { self.known.unwrap_or(offset) };
            let full = transfer.tuning().segment_frames(scheme, known);
            let earlier = self.options.resume.as_ref().and_then(|resume| resume.finished_at(offset)).cloned();
            let frames = match (&earlier, left) {
                (Some(earlier), _) => earlier.header.frames(),
                // One frame more than is known to be there finds out whether there is more.
                (None, Some(left)) => full.min(left.div_ceil(FRAME_PLAIN).max(1)),
                (None, None) => full,
            };
            let buffer = self.room(buffer_len(scheme, frames * FRAME_SEALED)?).await?;
            let frames = usize::try_from(frames).map_err(|_| Error::Internal("a segment fits memory"))?;
            let (mut buffer, filled) = self.meanwhile(feed.fill(buffer, frames)).await?;
            if filled == 0 {
                break;
            }
            if let Some(earlier) = earlier
                && let Some(resume) = self.options.resume.as_deref()
            {
                let (kept, same) = resume.matches(&earlier, buffer, filled).await?;
                buffer = kept;
                if same {
                    self.sent.staged = true;
                    self.options.progress.bytes(filled);
                    self.sent.extents.insert(offset, earlier.extent(self.file));
                    self.sent.waiting.outcomes.push(earlier.outcome);
                    offset += filled;
                    continue;
                }
            }
            self.dispatch(buffer, filled, scheme, offset, sealed_len(coming.saturating_sub(filled)));
            offset += filled;
            if filled < frames as u64 * FRAME_PLAIN {
                break;
            }
        }
        while let Some(done) = self.jobs.join_next().await {
            self.absorb(joined(done)?).await?;
        }
        let mut content = self.sent.waiting;
        content.size = offset;
        content.extents = self.sent.extents.into_values().collect();
        content.staged = self.sent.staged.then_some(self.options.txn);
        Ok(content)
    }

    /// Waits for a source, which may take hours, and meanwhile hands over what is done: leases and receipts end.
    async fn meanwhile<T>(&mut self, filling: impl Future<Output = Result<T>>) -> Result<T> {
        let mut filling = std::pin::pin!(filling);
        loop {
            let hand_over = self.last_stage + self.uploads.shared.transfer.tuning().stage_after;
            tokio::select! {
                biased;
                filled = &mut filling => return filled,
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => self.absorb(joined(done)?).await?,
                () = tokio::time::sleep_until(hand_over.into()), if self.sent.waiting_bytes > 0 => self.stage().await?,
            }
        }
    }

    /// Waits for memory, and meanwhile for segments whose memory that may be.
    async fn room(&mut self, len: usize) -> Result<PooledBuffer> {
        let budget = self.uploads.shared.transfer.budget().clone();
        let mut lending = std::pin::pin!(budget.lend(len));
        loop {
            tokio::select! {
                biased;
                buffer = &mut lending => return Ok(buffer),
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => self.absorb(joined(done)?).await?,
            }
        }
    }

    fn dispatch(&mut self, buffer: PooledBuffer, filled: u64, scheme: Scheme, offset: u64, coming: u64) {
        let (uploads, file) = (self.uploads.clone(), self.file.clone());
        let options = SegmentOptions { all_shards: self.options.all_shards, coming };
        let fingerprints = self.options.resume.as_ref().map(|resume| resume.fingerprints());
        self.jobs.spawn(async move {
            let blob = SealedBlob::draw(filled)?;
            let lease = uploads.shared.leases.take(blob.header.sealed_len(), options.coming).await?;
            let coder = uploads.shared.transfer.coder(scheme);
            let sealing = blocking(move || {
                let cipher = BlobCipher::new(&blob.key, blob.id, blob.header);
                let coded = Coded::seal(&coder, buffer, &cipher)?;
                let fingerprint = fingerprints.map(|it| it.of_sealed(&cipher, blob.id, coded.sealed()));
                Ok((coded, blob, fingerprint))
            });
            let (coded, blob, fingerprint) = sealing.await?;
            let shipped = uploads.ship_coded(coded, lease, options).await?;
            let segment = shipped.placed.upload.segment.as_ref().map(|segment| segment.id.clone()).unwrap_or_default();
            let outcome = SegmentOutcome { scheme: shipped.scheme, present: shipped.placed.present };
            let finished = fingerprint.map(|fingerprint| Finished::new(&blob, offset, fingerprint, outcome));
            Ok(SentBlob { extent: blob.extent(&file, offset), blob: blob.placed(segment, 0), shipped, finished })
        });
    }

    async fn absorb(&mut self, sent: SentBlob) -> Result<()> {
        self.options.progress.bytes(sent.extent.len);
        self.sent.waiting_bytes += sent.blob.length;
        self.sent.extents.insert(sent.extent.file_offset, sent.extent);
        self.sent.waiting.blobs.push(sent.blob);
        self.sent.waiting.take_over(sent.shipped);
        self.sent.finished.extend(sent.finished);
        let tuning = self.uploads.shared.transfer.tuning();
        // On a slow link a little is worth much: there it is the time that counts.
        if self.sent.waiting_bytes >= tuning.stage || self.last_stage.elapsed() >= tuning.stage_after {
            self.stage().await?;
        }
        Ok(())
    }

    /// Hands over what is waiting, so that it is counted, kept, and found again after an interruption.
    async fn stage(&mut self) -> Result<()> {
        // Written down first: what was written and not staged is found out by asking, what was staged and not written is lost.
        if let Some(resume) = self.options.resume.as_deref_mut() {
            resume.record(std::mem::take(&mut self.sent.finished))?;
        }
        let waiting = &mut self.sent.waiting;
        let request = pb::StageRequest {
            bucket: bytes_of(self.uploads.shared.bucket.id),
            txn: bytes_of(self.options.txn),
            segments: std::mem::take(&mut waiting.segments),
            blobs: std::mem::take(&mut waiting.blobs),
            receipts: std::mem::take(&mut waiting.receipts),
        };
        self.uploads.shared.bucket.client().meta.stage(request).await?;
        waiting.settle();
        self.sent.waiting_bytes = 0;
        self.sent.staged = true;
        self.last_stage = Instant::now();
        self.uploads.shared.leases.release_spent().await;
        Ok(())
    }
}

impl Content {
    /// Adds a segment that was shipped.
    pub(crate) fn take_over(&mut self, shipped: Shipped) {
        self.outcomes.push(SegmentOutcome { scheme: shipped.scheme, present: shipped.placed.present });
        self.warning = self.warning.take().or_else(|| shipped.lease.warning.clone());
        self.segments.push(shipped.placed.upload);
        self.receipts.extend(shipped.placed.receipts);
        self.leases.push(shipped.lease);
    }
}

/// Sealed bytes of so many plain ones, if they are cut between frames.
pub(super) fn sealed_len(plain: u64) -> u64 {
    plain.saturating_add(plain.div_ceil(FRAME_PLAIN).saturating_mul(FRAME_TAG))
}
