//! Many small files up: each is sealed under its own keys, then they are packed, then the pack is coded. A pack is one round of
//! requests to the nodes and one call of the server, however many files are in it.

use std::ops::Range;

use cyx_core::error::ErrorCode;
use cyx_core::units::INLINE_MAX;
use cyx_crypto::frames::BlobCipher;
use zeroize::Zeroizing;

use super::budget::PooledBuffer;
use super::coded::{blocking, buffer_len};
use super::content::{Content, SealedBlob, SegmentOutcome};
use super::put::{Place, Put, PutOptions, Settled, Target};
use super::resume::FileIdentity;
use super::source::Source;
use super::upload::{SegmentOptions, Shipped, Uploads, inline};
use crate::error::{Error, Result};

/// Mutations of one call.
const MUTATIONS: usize = 500;
/// Bytes of one call, about.
const CALL_BYTES: usize = 2 << 20;

/// A small file, read already.
pub struct SmallFile {
    /// Where it goes.
    pub place: Place,
    /// Its bytes, at most [`cyx_core::units::PACK_FILE_MAX`].
    pub plain: Zeroizing<Vec<u8>>,
    /// How.
    pub options: PutOptions,
}

/// A file on its way.
struct Packed {
    at: usize,
    file: SmallFile,
    target: Target,
    identity: FileIdentity,
    content: Content,
    /// Where its sealed bytes are in the pack.
    range: Option<(SealedBlob, Range<u64>)>,
}

impl Uploads {
    /// Uploads small files, in as few calls as possible. Results are in the order of the files.
    ///
    /// # Errors
    /// None of its own: what goes wrong with a file is in its place.
    pub async fn put_small(&self, files: Vec<SmallFile>) -> Vec<Result<Put>> {
        let mut results: Vec<Option<Result<Put>>> = files.iter().map(|_| None).collect();
        let mut batch: Vec<Packed> = Vec::new();
        let (mut pack_bytes, mut call_bytes) = (0, 0);
        for (at, file) in files.into_iter().enumerate() {
            let packed = match self.prepare_small(at, file) {
                Ok(packed) => packed,
                Err(error) => {
                    results[at] = Some(Err(error));
                    continue;
                }
            };
            let sealed = packed.range.as_ref().map_or(0, |(_, range)| range.end);
            let wire = packed.content.wire_size() + 512;
            let full = batch.len() >= MUTATIONS
                || call_bytes + wire > CALL_BYTES
                || (pack_bytes > 0 && pack_bytes + sealed > self.shared.transfer.tuning().pack);
            if full && !batch.is_empty() {
                Box::pin(self.put_batch(std::mem::take(&mut batch), pack_bytes, &mut results)).await;
                (pack_bytes, call_bytes) = (0, 0);
            }
            pack_bytes += sealed;
            call_bytes += wire;
            batch.push(packed);
        }
        Box::pin(self.put_batch(batch, pack_bytes, &mut results)).await;
        results.into_iter().map(|result| result.unwrap_or(Err(Error::Internal("a file has no result")))).collect()
    }

    fn prepare_small(&self, at: usize, file: SmallFile) -> Result<Packed> {
        let target = Target::decide(&file.place, file.options.condition)?;
        let identity = target.identity().unwrap_or_else(|| FileIdentity::draw(&self.shared.bucket));
        if file.plain.len() as u64 <= INLINE_MAX {
            let content = inline(&identity.key, &file.plain)?;
            return Ok(Packed { at, file, target, identity, content, range: None });
        }
        let blob = SealedBlob::draw(file.plain.len() as u64)?;
        let content = Content {
            size: file.plain.len() as u64,
            extents: vec![blob.extent(&identity.key, 0)],
            ..Content::default()
        };
        let sealed = blob.header.sealed_len();
        Ok(Packed { at, file, target, identity, content, range: Some((blob, 0..sealed)) })
    }

    async fn put_batch(&self, mut batch: Vec<Packed>, sealed: u64, results: &mut [Option<Result<Put>>]) {
        if batch.is_empty() {
            return;
        }
        let mut shipped = None;
        if sealed > 0 {
            match self.ship_pack(batch, sealed).await {
                Ok((packed, segment)) => {
                    batch = packed;
                    shipped = Some(segment);
                }
                Err((packed, error)) => {
                    let (inline, lost): (Vec<_>, Vec<_>) = packed.into_iter().partition(|file| file.range.is_none());
                    for file in lost {
                        results[file.at] = Some(Err(error.repeated()));
                    }
                    batch = inline;
                }
            }
        }
        Box::pin(self.commit_batch(batch, shipped, results)).await;
    }

    /// Seals all files of a batch into one segment and stores it.
    async fn ship_pack(
        &self,
        mut batch: Vec<Packed>,
        sealed: u64,
    ) -> std::result::Result<(Vec<Packed>, Shipped), (Vec<Packed>, Error)> {
        let scheme = match self.shared.leases.scheme(sealed).await {
            Ok(scheme) => scheme,
            Err(error) => return Err((batch, error)),
        };
        let mut at = 0;
        for file in &mut batch {
            if let Some((_, range)) = &mut file.range {
                *range = at..at + (range.end - range.start);
                at = range.end;
            }
        }
        let length = match buffer_len(scheme, sealed) {
            Ok(length) => length,
            Err(error) => return Err((batch, error)),
        };
        let mut buffer = self.shared.transfer.budget().lend(length).await;
        let all_shards = batch.iter().any(|file| file.file.options.all_shards);
        let sealing = blocking(move || {
            let sealed = seal_all(&batch, &mut buffer);
            Ok((batch, buffer, sealed))
        });
        let (batch, buffer) = match sealing.await {
            Ok((batch, buffer, Ok(()))) => (batch, buffer),
            Ok((batch, _, Err(error))) => return Err((batch, error)),
            Err(error) => return Err((Vec::new(), error)),
        };
        match self.ship(buffer, sealed, scheme, SegmentOptions { all_shards, coming: 0 }).await {
            Ok(shipped) => Ok((batch, shipped)),
            Err(error) => Err((batch, error)),
        }
    }

    async fn commit_batch(&self, batch: Vec<Packed>, shipped: Option<Shipped>, results: &mut [Option<Result<Put>>]) {
        let mut batch = batch;
        let mut outcome = None;
        let mut carrier = Content::default();
        if let Some(shipped) = shipped {
            outcome = Some(SegmentOutcome { scheme: shipped.scheme, present: shipped.placed.present });
            let segment = shipped.placed.upload.segment.as_ref().map(|segment| segment.id.clone()).unwrap_or_default();
            for file in &mut batch {
                if let Some((blob, range)) = &file.range {
                    file.content.blobs = vec![blob.placed(segment.clone(), range.start)];
                }
            }
            carrier.take_over(shipped);
        }
        // The first file of the pack hands over the segment; if that one fails, the next one does.
        let mut rest = batch;
        while !rest.is_empty() {
            rest = self.apply_batch(rest, &mut carrier, outcome, results).await;
        }
        carrier.settle();
    }

    /// Applies a batch; gives back those that have to be tried again because the file that carried their segment failed.
    async fn apply_batch(
        &self,
        mut batch: Vec<Packed>,
        carrier: &mut Content,
        outcome: Option<SegmentOutcome>,
        results: &mut [Option<Result<Put>>],
    ) -> Vec<Packed> {
        let carries =
            (!carrier.segments.is_empty()).then(|| batch.iter().position(|file| file.range.is_some())).flatten();
        if let Some(carries) = carries {
            batch[carries].content.segments.clone_from(&carrier.segments);
            batch[carries].content.receipts.clone_from(&carrier.receipts);
        }
        let mut mutations = Vec::with_capacity(batch.len());
        let mut commits = Vec::with_capacity(batch.len());
        let mut sent = Vec::with_capacity(batch.len());
        for file in batch {
            let Packed { target, identity, content, .. } = &file;
            match self.mutation(&file.file.place, target, identity, content, &file.file.options) {
                Ok((mutation, commit)) => {
                    mutations.push(mutation);
                    commits.push(commit);
                    sent.push(file);
                }
                Err(error) => results[file.at] = Some(Err(error)),
            }
        }
        let mut answers = match self.shared.bucket.apply(mutations).await {
            Ok(answers) => answers.into_iter(),
            Err(error) => {
                for file in sent {
                    results[file.at] = Some(Err(error.repeated()));
                }
                return Vec::new();
            }
        };
        let mut again = Vec::new();
        let mut carried = carries.is_none();
        for (file, commit) in sent.into_iter().zip(commits) {
            let is_carrier = !file.content.segments.is_empty();
            match self.settle(answers.next(), &commit, &file.file.place.name) {
                Ok(Settled::Done) => {
                    if is_carrier {
                        carried = true;
                        carrier.segments.clear();
                        carrier.receipts.clear();
                    }
                    results[file.at] = Some(Ok(done(&file, commit.version, outcome, carrier.warning.as_ref())));
                }
                Ok(Settled::Lost(error))
                    if !is_carrier && !carried && file.range.is_some() && error.code() == ErrorCode::NotFound =>
                {
                    again.push(file);
                }
                // The pack is not good any more for anybody: its files are sent anew, one by one.
                Err(error) if error.code() == ErrorCode::Restage && file.range.is_some() => {
                    results[file.at] = Some(self.put_alone(file.file).await);
                }
                // The race is decided as for a single file, whose content is sent anew: it is small.
                Ok(Settled::Lost(_)) => results[file.at] = Some(self.put_alone(file.file).await),
                Err(_) if !is_carrier && !carried && file.range.is_some() => again.push(file),
                Err(error) => results[file.at] = Some(Err(error)),
            }
        }
        again
    }

    async fn put_alone(&self, file: SmallFile) -> Result<Put> {
        let SmallFile { mut place, mut plain, options } = file;
        place.found = self.shared.bucket.lookup_one(&place.directory, &place.name).await?;
        let source = Source::Bytes(std::mem::take(&mut *plain).into());
        self.put(place, source, None, &PutOptions { resumable: false, ..options }, &super::progress::Silent).await
    }
}

fn seal_all(batch: &[Packed], buffer: &mut PooledBuffer) -> Result<()> {
    for file in batch {
        let Some((blob, range)) = &file.range else { continue };
        let place = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let room = place.and_then(|(start, end)| buffer.bytes.get_mut(start..end));
        let room = room.ok_or(Error::Internal("a pack is large enough for its files"))?;
        BlobCipher::new(&blob.key, blob.id, blob.header)
            .seal_frames(0, &file.file.plain, room)
            .map_err(|_| Error::Internal("a blob is as long as its header says"))?;
    }
    Ok(())
}

fn done(file: &Packed, version: u64, outcome: Option<SegmentOutcome>, warning: Option<&String>) -> Put {
    Put {
        inode: file.identity.inode,
        version,
        size: file.content.size,
        name: file.file.place.name.clone(),
        segments: outcome.filter(|_| file.range.is_some()).into_iter().collect(),
        warning: warning.filter(|_| file.range.is_some()).cloned(),
    }
}
