//! Content that is stored but not committed yet: a file's extents, and what the server needs to take them over.

use bytes::Bytes;
use cyx_core::commit::Commit;
use cyx_core::extent::{BlobHeader, Extent, PageId, tree};
use cyx_core::ids::{BlobId, InodeId, TimeOrdered as _, TxnId};
use cyx_core::scheme::Scheme;
use cyx_crypto::keys::{BlobKey, InodeKey};
use cyx_crypto::wrap::{InodeKeyring, open_blob_key, seal_blob_key};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::lease::LeaseUse;
use crate::error::{Error, IntegrityError, Result};
use crate::tree::types::Bucket;

/// One blob and where it lies in its file.
pub(crate) struct SealedBlob {
    pub(crate) id: BlobId,
    pub(crate) key: BlobKey,
    pub(crate) header: BlobHeader,
}

impl SealedBlob {
    /// A new blob of `plain` bytes, at least 1.
    pub(crate) fn draw(plain: u64) -> Result<Self> {
        let header = BlobHeader::new(plain).map_err(|_| Error::Internal("a blob has a possible length"))?;
        Ok(Self { id: BlobId::now(), key: BlobKey::make(), header })
    }

    /// The whole blob as an extent of a file.
    pub(crate) fn extent(&self, file: &InodeKey, file_offset: u64) -> Extent {
        Extent {
            file_offset,
            len: self.header.plain_len(),
            blob: self.id,
            blob_offset: 0,
            key_epoch: file.epoch(),
            header: self.header,
            wrapped_key: seal_blob_key(file, self.id, self.header, &self.key),
        }
    }

    /// The blob as a part of a segment.
    pub(crate) fn placed(&self, segment: Bytes, offset: u64) -> pb::Blob {
        let place = pb::blob::Place::Segment(pb::BlobPlace { segment, offset });
        pb::Blob { id: bytes_of(self.id), length: self.header.sealed_len(), place: Some(place) }
    }

    /// The blob with its bytes.
    pub(crate) fn inline(&self, sealed: Vec<u8>) -> pb::Blob {
        let place = pb::blob::Place::Inline(sealed.into());
        pb::Blob { id: bytes_of(self.id), length: self.header.sealed_len(), place: Some(place) }
    }
}

fn rewrap(extent: &mut Extent, from: &InodeKey, to: &InodeKey) -> Result<()> {
    let key = open_blob_key(from, extent.blob, extent.header, &extent.wrapped_key)
        .map_err(|_| IntegrityError::WrappedKey("a blob".to_owned()))?;
    extent.wrapped_key = seal_blob_key(to, extent.blob, extent.header, &key);
    extent.key_epoch = to.epoch();
    Ok(())
}

/// An extent of one file as an extent of another: the blob is the same, its key is wrapped under the other's.
///
/// # Errors
/// [`IntegrityError::WrappedKey`].
pub(crate) fn rewrapped(extent: &Extent, from: &InodeKeyring, to: &InodeKey) -> Result<Extent> {
    let old = from.of_epoch(extent.key_epoch).map_err(|_| IntegrityError::WrappedKey("a blob".to_owned()))?;
    let mut extent = extent.clone();
    rewrap(&mut extent, old, to)?;
    Ok(extent)
}

/// How well one segment was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentOutcome {
    /// Its scheme.
    pub scheme: Scheme,
    /// Shards that are durable.
    pub present: usize,
}

/// What is stored of a file and has to be committed.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) size: u64,
    /// In order of their offsets.
    pub(crate) extents: Vec<Extent>,
    /// Blobs, segments and receipts that the server does not know yet.
    pub(crate) blobs: Vec<pb::Blob>,
    pub(crate) segments: Vec<pb::SegmentUpload>,
    pub(crate) receipts: Vec<Bytes>,
    /// The leases of those segments, once for each.
    pub(crate) leases: Vec<LeaseUse>,
    /// Transaction under which the rest was staged.
    pub(crate) staged: Option<TxnId>,
    pub(crate) outcomes: Vec<SegmentOutcome>,
    pub(crate) warning: Option<String>,
}

impl Content {
    /// The commit of this content as version `base + 1` of a file.
    pub(crate) fn commit(
        &self,
        bucket: &Bucket,
        inode: InodeId,
        base: u64,
        mtime_ns: i64,
    ) -> Result<(pb::Commit, Commit)> {
        let built = tree::build(&self.extents)?;
        let signed = bucket.sign_commit(inode, base, self.size, built.root);
        let page = |(id, content): (PageId, Vec<u8>)| pb::Page { id: id.to_vec().into(), content: content.into() };
        let message = pb::Commit {
            inode: bytes_of(inode),
            base_version: base,
            // The caller has just asked for the version.
            base_root: Bytes::new(),
            size: self.size,
            root_page: built.root.to_vec().into(),
            pages: built.pages.into_iter().map(page).collect(),
            blobs: self.blobs.clone(),
            segments: self.segments.clone(),
            receipts: self.receipts.clone(),
            writer: bytes_of(signed.commit.writer),
            signature: signed.signature.to_vec().into(),
            mtime_ns,
            key_epoch: self.extents.iter().map(|extent| extent.key_epoch).max().unwrap_or(0),
            staged: self.staged.map(bytes_of).unwrap_or_default(),
        };
        Ok((message, signed.commit))
    }

    /// Wraps every blob's key for another file: the content becomes that file's.
    pub(crate) fn rewrap(&mut self, from: &InodeKey, to: &InodeKey) -> Result<()> {
        for extent in &mut self.extents {
            rewrap(extent, from, to)?;
        }
        Ok(())
    }

    /// The server knows everything now.
    pub(crate) fn settle(&mut self) {
        self.leases.clear();
    }

    /// About as many bytes as its commit takes on the wire.
    pub(crate) fn wire_size(&self) -> usize {
        let blob = |blob: &pb::Blob| match &blob.place {
            Some(pb::blob::Place::Inline(bytes)) => bytes.len() + 32,
            _ => 64,
        };
        let receipts: usize = self.receipts.iter().map(Bytes::len).sum();
        512 + self.extents.len() * 160
            + self.blobs.iter().map(blob).sum::<usize>()
            + receipts
            + self.segments.len() * 640
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrapped_content_opens_under_the_new_key_only() {
        let (old, new) = (InodeKey::make(), InodeKey::make());
        let blob = SealedBlob::draw(100).unwrap();
        let mut content = Content { size: 100, extents: vec![blob.extent(&old, 0)], ..Content::default() };
        content.rewrap(&old, &new).unwrap();
        let extent = &content.extents[0];
        assert!(open_blob_key(&new, blob.id, blob.header, &extent.wrapped_key).unwrap() == blob.key);
        assert!(open_blob_key(&old, blob.id, blob.header, &extent.wrapped_key).is_err());
        assert!(content.rewrap(&old, &new).is_err());
    }
}
