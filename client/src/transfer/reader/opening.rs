//! The frames of a piece that was fetched: completed, and opened where they lie or beside.

use std::ops::Range;
use std::sync::Arc;

use cyx_core::extent::Extent;
use cyx_crypto::frames::{BlobCipher, FrameTag};

use super::super::budget::PooledBuffer;
use super::super::fetch::Fetched;
use super::cached::{FrameCache, keep};

/// How the frames of one piece are opened.
pub(super) struct Job {
    pub(super) cipher: BlobCipher,
    /// Index of the first frame.
    pub(super) first: u64,
    /// Where the frames lie in the sealed blob.
    pub(super) sealed: Range<u64>,
    /// Plain bytes of the frames.
    pub(super) plain_len: usize,
    /// Those of them that are the piece.
    pub(super) wanted: Range<usize>,
}

/// A piece that was fetched.
pub(super) struct Opening {
    pub(super) fetched: Fetched,
    pub(super) job: Job,
    pub(super) sealed: PooledBuffer,
    /// Empty if the frames are to be opened where they lie.
    pub(super) plain: PooledBuffer,
    /// Where they are kept if they are authentic, and what they are.
    pub(super) keep: Option<(Arc<dyn FrameCache>, Extent)>,
    pub(super) tags: Vec<FrameTag>,
}

pub(super) struct Opened {
    pub(super) opening: Opening,
    pub(super) authentic: bool,
}

impl Opening {
    pub(super) fn open(mut self, coder: &cyx_core::erasure::Coder) -> Opened {
        let complete = self.fetched.complete(coder, &mut self.sealed.bytes);
        let Job { cipher, first, .. } = &self.job;
        if !complete {
            return Opened { opening: self, authentic: false };
        }
        self.tags.extend(cipher.tags_in(&self.sealed.bytes));
        // They are kept before it is known whether they are authentic, because what is opened where it lies is not sealed any more. Until they
        // are forgotten again, whoever finds them in the cache finds out as well.
        if let Some((cache, extent)) = &self.keep {
            keep(&**cache, extent, *first, &self.sealed.bytes);
        }
        let opened = if self.plain.bytes.is_empty() {
            cipher.open_within(*first, &mut self.sealed.bytes).map(drop)
        } else {
            cipher.open_into(*first, &self.sealed.bytes, &mut self.plain.bytes)
        };
        if let Some((cache, extent)) = self.keep.as_ref().filter(|_| opened.is_err()) {
            cache.forget(extent.blob, extent.header.frames_of(extent.blob_range()));
        }
        Opened { opening: self, authentic: opened.is_ok() }
    }
}
