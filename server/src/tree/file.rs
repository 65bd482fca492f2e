//! All that is needed to read a file, from one snapshot: pages from the root to the leaves of the range, the blobs that touch it, their
//! segments, and who holds their shards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use cyx_core::extent::{OFFSET_MAX, Page, PageId};
use cyx_core::ids::{BlobId, BucketId, InodeId, NodeId, PlacementId, SegmentId};
use cyx_core::scheme::Scheme;
use cyx_core::segment::shard_len;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::commit::{newest_versions, version};
use super::error::TreeError;
use super::model::{BlobRow, Place, VersionRow};
use super::namespace::{inode, inodes};
use super::sql::{self, Value};
use crate::db::{Conn, DbError};
use crate::placement::{self, Placement, ReadFrom};

/// Bytes of pages in one answer.
const PAGES_BYTES: usize = 1024 * 1024;
/// Blobs in one answer.
const BLOBS: usize = 4096;
/// Bytes of inline blobs in one answer.
const INLINE_BYTES: usize = 2 * 1024 * 1024;
/// Most pages of one question.
pub const PAGES_MAX: usize = 64;
/// Most blobs of one question.
pub const BLOBS_MAX: usize = 1024;

/// Most files of one question.
pub const FILES_MAX: usize = 256;
/// Bytes of pages, and of inline blobs, in one answer about many files.
const FILES_BYTES: usize = 4 * 1024 * 1024;

/// Where blobs lie.
#[derive(Debug, Default)]
pub struct Located {
    /// The blobs.
    pub blobs: Vec<BlobRow>,
    /// Their segments.
    pub segments: Vec<pb::Segment>,
    /// The segments' placements.
    pub placements: Vec<pb::Placement>,
    /// Every node that holds one of the shards, with the bytes of those that it holds.
    pub nodes: Vec<ReadFrom>,
}

/// A file, as far as one answer goes.
#[derive(Debug)]
pub struct File {
    /// The answer; the nodes are still missing.
    pub answer: pb::GetFileResponse,
    /// The nodes that the caller needs access to.
    pub nodes: Vec<ReadFrom>,
}

/// Reads a file.
///
/// # Errors
/// `NOT_FOUND` if there is no such inode or version.
pub async fn file(
    conn: &mut Conn,
    bucket: BucketId,
    id: InodeId,
    wanted: u64,
    range: Range<u64>,
) -> Result<File, TreeError> {
    let found = inode(conn, bucket, id).await?;
    let found = found.ok_or_else(|| TreeError::not_found("there is no such inode in this bucket"))?;
    let record = if found.version == 0 && wanted == 0 { None } else { version(conn, bucket, id, wanted).await? };
    let Some(record) = record else {
        if wanted != 0 {
            return Err(TreeError::not_found("there is no such version of this file"));
        }
        let answer =
            pb::GetFileResponse { inode: Some(found.to_pb()), complete: true, ..pb::GetFileResponse::default() };
        return Ok(File { answer, nodes: Vec::new() });
    };
    let walked = walk(conn, bucket, record.root_page, &range).await?;
    let located = locate(conn, bucket, &walked.blobs).await?;
    let mut complete = walked.complete && located.blobs.len() == walked.blobs.len();
    let mut inline = 0;
    let mut blobs = Vec::with_capacity(located.blobs.len());
    for blob in &located.blobs {
        if let Place::Inline(bytes) = &blob.place {
            inline += bytes.len();
            if inline > INLINE_BYTES {
                complete = false;
                continue;
            }
        }
        blobs.push(blob.to_pb());
    }
    let answer = pb::GetFileResponse {
        inode: Some(found.to_pb()),
        version: Some(VersionRow::to_pb(&record)),
        pages: walked.pages,
        blobs,
        segments: located.segments,
        nodes: Vec::new(),
        placements: located.placements,
        complete,
    };
    Ok(File { answer, nodes: located.nodes })
}

/// Files, as far as one answer goes.
#[derive(Debug)]
pub struct Files {
    /// The answer; the nodes are still missing.
    pub answer: pb::GetFilesResponse,
    /// The nodes that the caller needs access to.
    pub nodes: Vec<ReadFrom>,
}

/// Reads the newest versions of files: of each as much as its root page leads to. The questions are asked once for all of them.
///
/// # Errors
/// [`DbError`].
pub async fn files(conn: &mut Conn, bucket: BucketId, ids: &[InodeId]) -> Result<Files, DbError> {
    let ids = sql::distinct(ids.iter().copied());
    let found = inodes(conn, bucket, &ids).await?;
    let versions = newest_versions(conn, bucket, &ids).await?;
    let roots = versions.values().map(|record| record.root_page).filter(|root| *root != PageId::EMPTY);
    let pages = root_pages(conn, bucket, &sql::distinct(roots)).await?;
    let mut chosen = Vec::with_capacity(ids.len());
    let mut blobs = Vec::new();
    for inode in ids.iter().filter_map(|id| found.get(id)) {
        let record = versions.get(&inode.id);
        let root = match record.map(|record| record.root_page).filter(|root| *root != PageId::EMPTY) {
            None => None,
            Some(root) => match pages.get(&root) {
                Some(page) => Some((root, page)),
                // It does not fit.
                None => continue,
            },
        };
        let own: Vec<BlobId> = sql::distinct(root.iter().flat_map(|(_, (page, _))| page.blobs()));
        if blobs.len() + own.len() > BLOBS {
            continue;
        }
        blobs.extend_from_slice(&own);
        chosen.push((inode, record, root, own));
    }
    let located = locate(conn, bucket, &sql::distinct(blobs)).await?;
    let by_id: HashMap<BlobId, &BlobRow> = located.blobs.iter().map(|blob| (blob.id, blob)).collect();
    let mut inline = 0;
    let mut answer = pb::GetFilesResponse::default();
    for (inode, record, root, own) in chosen {
        let mut complete = root.is_none_or(|(_, (page, _))| page.level() == 0);
        let mut blobs = Vec::with_capacity(own.len());
        for blob in own.iter().filter_map(|id| by_id.get(id)) {
            if let Place::Inline(bytes) = &blob.place {
                inline += bytes.len();
                if inline > FILES_BYTES {
                    complete = false;
                    continue;
                }
            }
            blobs.push(blob.to_pb());
        }
        complete &= blobs.len() == own.len();
        let root =
            root.map(|(id, (_, content))| pb::Page { id: Bytes::copy_from_slice(&id.0), content: content.clone() });
        let version = record.map(VersionRow::to_pb);
        answer.files.push(pb::FoundFile { inode: Some(inode.to_pb()), version, root, blobs, complete });
    }
    (answer.segments, answer.placements) = (located.segments, located.placements);
    Ok(Files { answer, nodes: located.nodes })
}

/// Pages with their content, as many of them as one answer has room for.
async fn root_pages(
    conn: &mut Conn,
    bucket: BucketId,
    ids: &[PageId],
) -> Result<HashMap<PageId, (Page, Bytes)>, DbError> {
    let (mut pages, mut bytes) = (HashMap::with_capacity(ids.len()), 0);
    for part in ids.chunks(64) {
        for (id, content) in contents(conn, bucket, part).await? {
            bytes += content.len();
            let page = Page::decode(&content).map_err(|_| DbError::Corrupt("an extent page"))?;
            pages.insert(id, (page, content));
        }
        if bytes > FILES_BYTES {
            break;
        }
    }
    Ok(pages)
}

struct Walked {
    pages: Vec<pb::Page>,
    blobs: Vec<BlobId>,
    complete: bool,
}

/// Follows the tree of pages level by level, as far as one answer goes.
async fn walk(conn: &mut Conn, bucket: BucketId, root: PageId, range: &Range<u64>) -> Result<Walked, DbError> {
    let mut walked = Walked { pages: Vec::new(), blobs: Vec::new(), complete: true };
    let mut seen = HashSet::new();
    let mut bytes = 0;
    // Pages with the file offset behind which nothing below them reaches.
    let mut level: Vec<PageId> = if root == PageId::EMPTY { Vec::new() } else { vec![root] };
    while !level.is_empty() {
        let mut below = Vec::new();
        for part in level.chunks(16) {
            if bytes > PAGES_BYTES {
                walked.complete = false;
                break;
            }
            let mut contents = contents(conn, bucket, part).await?;
            for id in part {
                let content = contents.remove(id).ok_or(DbError::Corrupt("an extent page is missing"))?;
                let page = Page::decode(&content).map_err(|_| DbError::Corrupt("an extent page"))?;
                bytes += content.len();
                walked.pages.push(pb::Page { id: Bytes::copy_from_slice(&id.0), content });
                below.extend(children_in(&page, range));
                for extent in page.extents().iter().filter(|extent| extent.clip(range).is_some()) {
                    if seen.insert(extent.blob) {
                        walked.blobs.push(extent.blob);
                    }
                }
            }
        }
        level = below;
    }
    if walked.blobs.len() > BLOBS {
        walked.blobs.truncate(BLOBS);
        walked.complete = false;
    }
    Ok(walked)
}

fn children_in<'a>(page: &'a Page, range: &'a Range<u64>) -> impl Iterator<Item = PageId> + 'a {
    let children = page.children();
    let end_of = move |at: usize| children.get(at + 1).map_or(OFFSET_MAX, |next| next.first_offset);
    let touches = move |(at, child): &(usize, &cyx_core::extent::Child)| {
        child.first_offset < range.end && end_of(*at) > range.start
    };
    children.iter().enumerate().filter(touches).map(|(_, child)| child.id)
}

async fn contents(conn: &mut Conn, bucket: BucketId, ids: &[PageId]) -> Result<HashMap<PageId, Bytes>, DbError> {
    let keys: Vec<[u8; 32]> = ids.iter().map(|id| id.0).collect();
    let head = "SELECT id, content FROM extent_page WHERE bucket = $1 AND id IN (";
    let rows = sql::fetch_in(conn, head, ")", &[Value::Bytes(&bucket.0)], &keys).await?;
    rows.iter().map(|row| Ok((PageId(sql::array(row, 0)?), sql::bytes(row, 1)?.into()))).collect()
}

/// Those of the pages that exist, in the order asked.
///
/// # Errors
/// [`DbError`].
pub async fn pages(conn: &mut Conn, bucket: BucketId, ids: &[PageId]) -> Result<Vec<pb::Page>, DbError> {
    let mut found = contents(conn, bucket, ids).await?;
    let page = |id: &PageId| Some(pb::Page { id: Bytes::copy_from_slice(&id.0), content: found.remove(id)? });
    Ok(ids.iter().filter_map(page).collect())
}

/// Those of the blobs that exist, in the order asked, with where their bytes are.
///
/// # Errors
/// [`DbError`].
pub async fn locate(conn: &mut Conn, bucket: BucketId, ids: &[BlobId]) -> Result<Located, DbError> {
    let keys: Vec<[u8; 16]> = ids.iter().map(|id| id.0).collect();
    let head = format!("{} WHERE bucket = $1 AND id IN (", BlobRow::SELECT);
    let rows = sql::fetch_in(conn, &head, ")", &[Value::Bytes(&bucket.0)], &keys).await?;
    let found: Result<HashMap<BlobId, BlobRow>, DbError> =
        rows.iter().map(|row| BlobRow::read(row).map(|blob| (blob.id, blob))).collect();
    let mut found = found?;
    let blobs: Vec<BlobRow> = ids.iter().filter_map(|id| found.remove(id)).collect();
    let segment_ids = sql::distinct(blobs.iter().filter_map(|blob| match blob.place {
        Place::Inline(_) => None,
        Place::Segment { segment, .. } => Some(segment),
    }));
    let segments = segments(conn, bucket, &segment_ids).await?;
    let mut placements = HashMap::new();
    for segment in &segments {
        if let std::collections::hash_map::Entry::Vacant(vacant) = placements.entry(segment.placement) {
            let found = placement::rows::load(conn, segment.placement).await?;
            vacant.insert(found.ok_or(DbError::Corrupt("a placement is missing"))?);
        }
    }
    let mut bytes: BTreeMap<NodeId, u64> = BTreeMap::new();
    for segment in &segments {
        for node in holders(segment, &placements) {
            *bytes.entry(node).or_default() += shard_len(segment.scheme, segment.length);
        }
    }
    let nodes = bytes.into_iter().map(|(node, bytes)| ReadFrom { node, bytes }).collect();
    let mut placements: Vec<&Placement> = placements.values().collect();
    placements.sort_by_key(|placement| placement.id);
    let placements = placements.into_iter().map(placement_pb).collect();
    Ok(Located { segments: segments.iter().map(SegmentRow::to_pb).collect(), placements, nodes, blobs })
}

fn placement_pb(placement: &Placement) -> pb::Placement {
    pb::Placement {
        id: bytes_of(placement.id),
        scheme: Some(placement.scheme.into()),
        nodes: placement.nodes.iter().map(|node| bytes_of(*node)).collect(),
    }
}

fn holders(segment: &SegmentRow, placements: &HashMap<PlacementId, Placement>) -> Vec<NodeId> {
    let placed = placements.get(&segment.placement).map_or(&[][..], |placement| &placement.nodes);
    let at = |shard: usize| {
        let moved = segment.overrides.iter().find(|(at, _)| *at == shard).map(|(_, node)| *node);
        moved.or_else(|| placed.get(shard).copied())
    };
    (0..segment.scheme.n()).filter(|shard| segment.present >> shard & 1 == 1).filter_map(at).collect()
}

struct SegmentRow {
    id: SegmentId,
    scheme: Scheme,
    length: u64,
    placement: PlacementId,
    present: u64,
    roots: Bytes,
    audited_ns: i64,
    overrides: Vec<(usize, NodeId)>,
}

impl SegmentRow {
    fn to_pb(&self) -> pb::Segment {
        let overrides = self.overrides.iter().map(|(shard, node)| pb::Override {
            shard: u32::try_from(*shard).unwrap_or(u32::MAX),
            node: bytes_of(*node),
        });
        pb::Segment {
            id: bytes_of(self.id),
            scheme: Some(self.scheme.into()),
            length: self.length,
            placement: bytes_of(self.placement),
            present: self.present,
            overrides: overrides.collect(),
            roots: self.roots.clone(),
            audited_ns: self.audited_ns,
        }
    }
}

async fn segments(conn: &mut Conn, bucket: BucketId, ids: &[SegmentId]) -> Result<Vec<SegmentRow>, DbError> {
    let keys: Vec<[u8; 16]> = ids.iter().map(|id| id.0).collect();
    let head =
        "SELECT id, k, m, length, placement, present, roots, audited_ns FROM segment WHERE bucket = $1 AND id IN (";
    let mut found: HashMap<SegmentId, SegmentRow> = HashMap::with_capacity(keys.len());
    for row in sql::fetch_in(conn, head, ")", &[Value::Bytes(&bucket.0)], &keys).await? {
        let segment = SegmentRow {
            id: sql::id(&row, 0)?,
            scheme: super::model::scheme(&row, 1)?,
            length: sql::uint(&row, 3)?,
            placement: sql::id(&row, 4)?,
            present: sql::uint(&row, 5)?,
            roots: sql::bytes(&row, 6)?.into(),
            audited_ns: sql::int(&row, 7)?,
            overrides: Vec::new(),
        };
        found.insert(segment.id, segment);
    }
    let head = "SELECT segment, shard, node FROM segment_override WHERE segment IN (";
    for row in sql::fetch_in(conn, head, ") ORDER BY segment, shard", &[], &keys).await? {
        if let Some(segment) = found.get_mut(&sql::id(&row, 0)?) {
            segment.overrides.push((sql::uint(&row, 1)?, sql::id(&row, 2)?));
        }
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}
