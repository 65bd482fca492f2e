//! A commit, checked as far as it can be without the database.
//!
//! What is established here, outside of any transaction: every page is canonical, hashes to its id and is reached from the root; the
//! extents are in order, do not overlap and end within the size; every new blob is used and as long as its extents say; segments
//! have possible geometry and enough shards; the receipts are signed by the nodes they name; the commit is signed by a key
//! that is or was in the bucket's writer list. What remains for the transaction is in `commit.rs`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use cyx_core::chunk::{Root, chunk_id};
use cyx_core::commit::{self, Commit};
use cyx_core::error::ErrorCode;
use cyx_core::extent::{Page, PageId, PageMap, Reused, tree};
use cyx_core::grant::CLOCK_SKEW_SECONDS;
use cyx_core::ids::{
    BlobId, BucketId, ChunkId, GrantId, InodeId, KeyId, LeaseId, NodeId, PlacementId, SegmentId, TxnId,
};
use cyx_core::receipt::Receipt;
use cyx_core::scheme::Scheme;
use cyx_core::segment::shard_len;
use cyx_core::units::{CHUNK_MAX, FRAME_TAG, INLINE_MAX, RECEIPT_LIFETIME_SECONDS};
use cyx_core::writers::WriterList;
use cyx_proto::convert::{self, InvalidField};
use cyx_proto::meta::v1 as pb;

use super::error::TreeError;
use super::model::Place;

/// Most pages of one commit: over four million extents.
pub const PAGES_MAX: usize = 16_384;
/// Most new blobs of one commit or one staging call.
pub const BLOBS_MAX: usize = 65_536;
/// Most segments of one commit or one staging call.
pub const SEGMENTS_MAX: usize = 4096;
/// Most receipts of one commit or one staging call.
pub const RECEIPTS_MAX: usize = 16_384;
/// Most sealed bytes of an inline blob, in the smallest frames there are.
const INLINE_SEALED_MAX: u64 = INLINE_MAX + 4 * FRAME_TAG;

/// What the check of an upload needs to know of the storage network.
pub trait Network: Send + Sync {
    /// The public key of a node.
    fn node_key(&self, node: NodeId) -> Option<[u8; 32]>;
    /// The grant under which a node must have stored what was uploaded under a lease.
    fn store_grant_id(&self, lease: LeaseId, node: NodeId) -> GrantId;
}

impl Network for crate::placement::Placements {
    fn node_key(&self, node: NodeId) -> Option<[u8; 32]> {
        Self::node_key(self, node)
    }

    fn store_grant_id(&self, lease: LeaseId, node: NodeId) -> GrantId {
        Self::store_grant_id(self, lease, node)
    }
}

/// What is known while mutations are checked.
#[derive(Clone)]
pub struct PlanContext {
    /// The bucket.
    pub bucket: BucketId,
    /// Who may sign.
    pub writers: Arc<WriterList>,
    /// The nodes.
    pub network: Arc<dyn Network>,
    /// Largest file.
    pub file_max: u64,
    /// Unix seconds.
    pub now: u64,
}

/// A page that the server may not have.
#[derive(Debug, Clone)]
pub struct NewPage {
    /// Its id.
    pub id: PageId,
    /// What it holds.
    pub page: Page,
    /// The canonical bytes.
    pub content: Bytes,
}

impl NewPage {
    /// The blobs it refers to, each once.
    #[must_use]
    pub fn blobs(&self) -> HashSet<BlobId> {
        self.page.blobs().collect()
    }
}

/// A blob that the server may not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBlob {
    /// Its id.
    pub id: BlobId,
    /// Sealed bytes.
    pub length: u64,
    /// Where they are.
    pub place: Place,
}

/// A segment that the server does not have.
#[derive(Debug, Clone)]
pub struct NewSegment {
    /// Its id.
    pub id: SegmentId,
    /// How it was coded.
    pub scheme: Scheme,
    /// Sealed bytes in it.
    pub length: u64,
    /// Where its shards are.
    pub placement: PlacementId,
    /// Bit i: shard i is stored.
    pub present: u64,
    /// Shards that are elsewhere, by shard.
    pub overrides: Vec<(u8, NodeId)>,
    /// BLAKE3 of each chunk.
    pub roots: Vec<Root>,
    /// The lease it was uploaded under.
    pub lease: LeaseId,
    /// For each shard, who has signed for it.
    pub signers: Vec<Signers>,
}

/// Who has signed for a shard, under a grant of its segment's lease.
#[derive(Debug, Clone, Default)]
pub struct Signers {
    /// The nodes that have it as the segment describes it.
    pub holders: Vec<NodeId>,
    /// The nodes that have other bytes of its name.
    pub others: Vec<NodeId>,
}

impl NewSegment {
    /// Whether shard `index` is stored.
    #[must_use]
    pub fn has(&self, index: usize) -> bool {
        index < self.scheme.n() && self.present >> index & 1 == 1
    }

    fn check(upload: pb::SegmentUpload) -> Result<Self, TreeError> {
        let segment = convert::required(upload.segment, "segment")?;
        let scheme = convert::scheme(segment.scheme, "scheme")?;
        let id = convert::id(&segment.id, "segment")?;
        if segment.length == 0 || shard_len(scheme, segment.length) > CHUNK_MAX {
            return Err(TreeError::invalid(format!("segment {id} has an impossible length")));
        }
        let present = segment.present;
        if u32::try_from(scheme.n()).is_ok_and(|n| present.checked_shr(n).unwrap_or(0) != 0) {
            return Err(TreeError::invalid(format!("segment {id} has shards that its scheme does not have")));
        }
        if (present.count_ones() as usize) < scheme.write_quorum() {
            return Err(TreeError::invalid(format!(
                "segment {id} has {} shards of {scheme} and needs {}",
                present.count_ones(),
                scheme.write_quorum()
            )));
        }
        let mut overrides = Vec::with_capacity(segment.overrides.len().min(scheme.n()));
        for entry in &segment.overrides {
            let shard = usize::try_from(entry.shard).unwrap_or(usize::MAX);
            let fits = shard < scheme.n() && present >> shard & 1 == 1;
            let (true, Ok(shard)) = (fits, u8::try_from(shard)) else {
                return Err(InvalidField { field: "overrides" }.into());
            };
            overrides.push((shard, convert::id(&entry.node, "overrides")?));
        }
        if !overrides.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(InvalidField { field: "overrides" }.into());
        }
        Ok(Self {
            id,
            scheme,
            length: segment.length,
            placement: convert::id(&segment.placement, "placement")?,
            present,
            overrides,
            roots: convert::roots(&segment.roots, scheme, "roots")?,
            lease: convert::id(&upload.lease, "lease")?,
            signers: Vec::new(),
        })
    }
}

struct Proven {
    node: NodeId,
    grant: GrantId,
    length: u64,
    root: Root,
}

/// Chunks that nodes have signed for.
#[derive(Default)]
struct Proofs(HashMap<ChunkId, Vec<Proven>>);

impl Proofs {
    /// Believes the receipts that are what they claim to be, not too old and not of a time to come. Others prove nothing, which is
    /// noticed where a proof is missing.
    fn of(receipts: &[Bytes], network: &dyn Network, now: u64) -> Self {
        let mut proofs: HashMap<ChunkId, Vec<Proven>> = HashMap::new();
        for bytes in receipts {
            let Ok(claimed) = Receipt::read_unchecked(bytes) else { continue };
            let Some(key) = network.node_key(claimed.node) else { continue };
            let Ok(receipt) = Receipt::verify(bytes, &key) else { continue };
            let age = now.saturating_sub(receipt.issued);
            if age > RECEIPT_LIFETIME_SECONDS || receipt.issued > now + CLOCK_SKEW_SECONDS {
                continue;
            }
            for chunk in receipt.chunks {
                proofs.entry(chunk.id).or_default().push(Proven {
                    node: receipt.node,
                    grant: receipt.grant,
                    length: u64::from(chunk.length),
                    root: chunk.root,
                });
            }
        }
        Self(proofs)
    }

    /// Who has signed for a shard under a grant of its segment's lease.
    fn signers(&self, segment: &NewSegment, shard: u8, network: &dyn Network) -> Signers {
        let length = shard_len(segment.scheme, segment.length);
        let mut signers = Signers::default();
        for proof in self.0.get(&chunk_id(segment.id, shard)).map_or(&[][..], Vec::as_slice) {
            if network.store_grant_id(segment.lease, proof.node) != proof.grant {
                continue;
            }
            let fits = proof.length == length && segment.roots.get(usize::from(shard)) == Some(&proof.root);
            if fits { &mut signers.holders } else { &mut signers.others }.push(proof.node);
        }
        signers
    }
}

/// Segments, what lies in them, and what proves them: a staging call, or the content of a commit.
#[derive(Debug)]
pub struct UploadPlan {
    /// New blobs by id.
    pub blobs: HashMap<BlobId, NewBlob>,
    /// New segments.
    pub segments: Vec<NewSegment>,
}

impl UploadPlan {
    /// Checks what can be checked without the database.
    ///
    /// # Errors
    /// [`TreeError::Refused`].
    pub fn check(
        segments: Vec<pb::SegmentUpload>,
        blobs: Vec<pb::Blob>,
        receipts: &[Bytes],
        network: &dyn Network,
        now: u64,
    ) -> Result<Self, TreeError> {
        if segments.len() > SEGMENTS_MAX || blobs.len() > BLOBS_MAX || receipts.len() > RECEIPTS_MAX {
            return Err(TreeError::refused(ErrorCode::TooLarge, "too many segments, blobs or receipts in one call"));
        }
        let proofs = Proofs::of(receipts, network, now);
        let mut segments: Vec<NewSegment> = segments.into_iter().map(NewSegment::check).collect::<Result<_, _>>()?;
        for segment in &mut segments {
            let shards = 0..u8::try_from(segment.scheme.n()).unwrap_or(u8::MAX);
            segment.signers = shards.map(|shard| proofs.signers(segment, shard, network)).collect();
        }
        let lengths: HashMap<SegmentId, u64> = segments.iter().map(|segment| (segment.id, segment.length)).collect();
        if lengths.len() != segments.len() {
            return Err(TreeError::invalid("a segment is named twice"));
        }
        let mut found = HashMap::with_capacity(blobs.len());
        for blob in blobs {
            let blob = check_blob(blob, &lengths)?;
            let id = blob.id;
            if found.insert(id, blob).is_some() {
                return Err(TreeError::invalid(format!("blob {id} is named twice")));
            }
        }
        Ok(Self { blobs: found, segments })
    }
}

fn check_blob(blob: pb::Blob, segments: &HashMap<SegmentId, u64>) -> Result<NewBlob, TreeError> {
    let id: BlobId = convert::id(&blob.id, "blob")?;
    if blob.length <= FRAME_TAG {
        return Err(TreeError::invalid(format!("blob {id} is shorter than one sealed byte")));
    }
    let place = match convert::required(blob.place, "place")? {
        pb::blob::Place::Inline(bytes) => {
            if bytes.len() as u64 != blob.length || blob.length > INLINE_SEALED_MAX {
                return Err(TreeError::invalid(format!(
                    "inline blob {id} has another length than it says, or is too long"
                )));
            }
            Place::Inline(bytes)
        }
        pb::blob::Place::Segment(place) => {
            let segment: SegmentId = convert::id(&place.segment, "segment")?;
            let end = place.offset.checked_add(blob.length);
            let known = segments.get(&segment).copied().unwrap_or(i64::MAX.unsigned_abs());
            if end.is_none_or(|end| end > known) {
                return Err(TreeError::invalid(format!("blob {id} does not lie inside its segment")));
            }
            Place::Segment { segment, offset: place.offset }
        }
    };
    Ok(NewBlob { id, length: blob.length, place })
}

/// A commit that is sound in itself.
#[derive(Debug)]
pub struct CommitPlan {
    /// The file.
    pub inode: InodeId,
    /// The version that it replaces.
    pub base: u64,
    /// Root of the extents of that, if it was named.
    pub base_root: Option<PageId>,
    /// Plain bytes.
    pub size: u64,
    /// Root of the extents.
    pub root: PageId,
    /// Who signed.
    pub writer: KeyId,
    /// The signature, which was checked against that key.
    pub signature: Bytes,
    /// New time of the last change of content.
    pub mtime_ns: i64,
    /// Where blobs may have been staged.
    pub staged: Option<TxnId>,
    /// Of the file's key that wraps the keys of new blobs.
    pub key_epoch: u32,
    /// Pages that are new, the higher before the lower.
    pub pages: Vec<NewPage>,
    /// Pages that must be there.
    pub reused: Vec<Reused>,
    /// Blobs that the new pages use and their sealed lengths.
    pub used: HashMap<BlobId, u64>,
    /// Blobs and segments.
    pub upload: UploadPlan,
}

impl CommitPlan {
    /// Checks what can be checked without the database.
    ///
    /// # Errors
    /// [`TreeError::Refused`].
    pub fn check(commit: pb::Commit, context: &PlanContext) -> Result<Self, TreeError> {
        let inode = convert::id(&commit.inode, "inode")?;
        if commit.size > context.file_max {
            return Err(TreeError::refused(ErrorCode::TooLarge, "the file is larger than this server allows"));
        }
        if commit.base_version >= i64::MAX.unsigned_abs() {
            return Err(InvalidField { field: "base_version" }.into());
        }
        if commit.pages.len() > PAGES_MAX {
            return Err(TreeError::refused(ErrorCode::TooLarge, "too many pages in one commit"));
        }
        let root = convert::page_id(&commit.root_page, "root_page")?;
        let (pages, reused) = check_pages(commit.pages, root, commit.size)?;
        let used = blobs_of(&pages)?;
        let (network, now) = (&*context.network, context.now);
        let upload = UploadPlan::check(commit.segments, commit.blobs, &commit.receipts, network, now)?;
        for blob in upload.blobs.values() {
            match used.get(&blob.id) {
                Some(Used { sealed, .. }) if *sealed != blob.length => {
                    return Err(TreeError::invalid(format!(
                        "blob {} has another length than its extents say",
                        blob.id
                    )));
                }
                Some(Used { plain, .. }) if matches!(blob.place, Place::Inline(_)) && *plain > INLINE_MAX => {
                    return Err(TreeError::invalid(format!("blob {} is too long to be inline", blob.id)));
                }
                Some(_) => {}
                None => return Err(TreeError::invalid(format!("no extent uses blob {}", blob.id))),
            }
        }
        let base_root = match &*commit.base_root {
            [] => None,
            _ if commit.base_version == 0 => return Err(InvalidField { field: "base_root" }.into()),
            root => Some(convert::page_id(root, "base_root")?),
        };
        let plan = Self {
            inode,
            base: commit.base_version,
            base_root,
            size: commit.size,
            root,
            writer: convert::id(&commit.writer, "writer")?,
            signature: commit.signature,
            mtime_ns: commit.mtime_ns,
            key_epoch: commit.key_epoch,
            staged: if commit.staged.is_empty() { None } else { Some(convert::id(&commit.staged, "staged")?) },
            pages,
            reused,
            used: used.into_iter().map(|(id, used)| (id, used.sealed)).collect(),
            upload,
        };
        plan.check_signature(context)?;
        Ok(plan)
    }

    /// What was signed.
    #[must_use]
    pub fn signed(&self, bucket: BucketId) -> Commit {
        Commit {
            bucket,
            inode: self.inode,
            version: self.base + 1,
            base: self.base,
            size: self.size,
            root: self.root,
            writer: self.writer,
        }
    }

    /// Whether its signature agrees with being the change of this number.
    #[must_use]
    pub fn may_make(&self, sequence: u64) -> bool {
        commit::seen(&self.signature).is_none_or(|seen| seen < sequence)
    }

    fn check_signature(&self, context: &PlanContext) -> Result<(), TreeError> {
        let Some(key) = context.writers.ever(self.writer) else {
            return Err(TreeError::refused(
                ErrorCode::PermissionDenied,
                "the bucket's writer list does not have this key",
            ));
        };
        self.signed(context.bucket)
            .verify(&key, &self.signature)
            .map_err(|_| TreeError::invalid("the commit's signature is not valid"))
    }
}

fn check_pages(pages: Vec<pb::Page>, root: PageId, size: u64) -> Result<(Vec<NewPage>, Vec<Reused>), TreeError> {
    let mut contents: HashMap<PageId, Bytes> = HashMap::with_capacity(pages.len());
    let mut decoded = PageMap::with_capacity(pages.len());
    for sent in pages {
        let id = convert::page_id(&sent.id, "page")?;
        if PageId::of(&sent.content) != id {
            return Err(TreeError::invalid(format!("page {id} does not hash to its id")));
        }
        let page = Page::decode(&sent.content)
            .map_err(|error| TreeError::invalid(format!("page {id} is not a page of extents: {error}")))?;
        if contents.insert(id, sent.content).is_some() {
            return Err(TreeError::invalid(format!("page {id} is sent twice")));
        }
        decoded.insert(id, page);
    }
    let tree::NewTree { new, reused } = tree::check_new(&decoded, root, size)?;
    if new.len() != decoded.len() {
        return Err(TreeError::invalid("a page is sent that the root does not lead to"));
    }
    let mut pages: Vec<NewPage> = new
        .into_iter()
        .filter_map(|id| Some(NewPage { id, page: decoded.remove(&id)?, content: contents.remove(&id)? }))
        .collect();
    pages.sort_by_key(|page| std::cmp::Reverse(page.page.level()));
    Ok((pages, reused))
}

struct Used {
    plain: u64,
    sealed: u64,
}

fn blobs_of(pages: &[NewPage]) -> Result<HashMap<BlobId, Used>, TreeError> {
    let mut used = HashMap::new();
    for extent in pages.iter().flat_map(|page| page.page.extents()) {
        let (plain, sealed) = (extent.header.plain_len(), extent.header.sealed_len());
        match used.entry(extent.blob) {
            Entry::Vacant(vacant) => {
                vacant.insert(Used { plain, sealed });
            }
            Entry::Occupied(occupied) if occupied.get().plain == plain && occupied.get().sealed == sealed => {}
            Entry::Occupied(_) => {
                return Err(TreeError::invalid(format!("two extents disagree about blob {}", extent.blob)));
            }
        }
    }
    Ok(used)
}
