//! The invariants of the whole tree, recomputed from scratch and compared with what the database says.
//!
//! Used by the tests after every sequence of operations and by `cyx-server check`. Everything is read from one snapshot; each finding
//! is one sentence. An empty list means that counters, links and quota are exactly what the rows imply.

use std::collections::{HashMap, HashSet};

use cyx_core::extent::{Page, PageId};
use cyx_core::ids::{BlobId, BucketId, InodeId, SegmentId, TxnId};
use sqlx::any::AnyRow;

use super::model::{BucketRow, InodeRow};
use super::{BUCKET_COLUMNS, INODE_COLUMNS, sql};
use crate::db::{Conn, DbError};

/// Findings beyond this many are not listed.
const FINDINGS_MAX: usize = 1000;

/// Checks everything. What is wrong, one sentence each.
///
/// # Errors
/// [`DbError`].
pub async fn check(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    let mut findings = Findings::default();
    let text = format!("SELECT {BUCKET_COLUMNS} FROM bucket b ORDER BY b.id");
    let buckets = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut *conn).await?;
    let mut by_owner: HashMap<[u8; 16], (i64, i64)> = HashMap::new();
    for row in &buckets {
        let bucket = BucketRow::read(row, 0)?;
        let sums = by_owner.entry(bucket.owner.0).or_default();
        sums.0 += bucket.used_bytes;
        sums.1 += bucket.superseded_bytes;
        Check { bucket: bucket.id, findings: &mut findings }.run(conn, &bucket).await?;
    }
    check_accounts(conn, &by_owner, &mut findings).await?;
    check_strays(conn, &mut findings).await?;
    Ok(findings.0)
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, finding: String) {
        if self.0.len() < FINDINGS_MAX {
            self.0.push(finding);
        }
    }
}

async fn check_accounts(
    conn: &mut Conn,
    by_owner: &HashMap<[u8; 16], (i64, i64)>,
    findings: &mut Findings,
) -> Result<(), DbError> {
    let rows = sqlx::query("SELECT id, used_bytes, superseded_bytes FROM account").fetch_all(conn).await?;
    for row in &rows {
        let id: [u8; 16] = sql::array(row, 0)?;
        let says = (sql::int(row, 1)?, sql::int(row, 2)?);
        let is = by_owner.get(&id).copied().unwrap_or_default();
        if says != is {
            findings.add(format!(
                "account {} says {says:?} bytes used and superseded, its buckets sum up to {is:?}",
                hex::encode(id)
            ));
        }
    }
    Ok(())
}

/// Rows of buckets that do not exist.
async fn check_strays(conn: &mut Conn, findings: &mut Findings) -> Result<(), DbError> {
    for table in [
        "bucket_member",
        "writer_entry",
        "inode",
        "entry",
        "trash",
        "purge",
        "version",
        "extent_page",
        "blob",
        "staged",
        "write_lease",
        "change",
        "mutation_result",
    ] {
        let text = format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM bucket b WHERE b.id = t.bucket)"
        );
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&mut *conn).await?;
        if count > 0 {
            findings.add(format!("{count} rows of {table} belong to no bucket"));
        }
    }
    let text = "SELECT CAST(COUNT(*) AS BIGINT) FROM segment s WHERE s.freed_ns = 0 \
                AND NOT EXISTS (SELECT 1 FROM bucket b WHERE b.id = s.bucket)";
    let count: i64 = sqlx::query_scalar(text).fetch_one(&mut *conn).await?;
    if count > 0 {
        findings.add(format!("{count} segments in use belong to no bucket"));
    }
    let text = "SELECT CAST(COUNT(*) AS BIGINT) FROM segment_override o \
                WHERE NOT EXISTS (SELECT 1 FROM segment s WHERE s.id = o.segment)";
    let count: i64 = sqlx::query_scalar(text).fetch_one(&mut *conn).await?;
    if count > 0 {
        findings.add(format!("{count} overrides belong to no segment"));
    }
    Ok(())
}

struct Check<'a> {
    bucket: BucketId,
    findings: &'a mut Findings,
}

#[derive(Default)]
struct Links {
    entries: i64,
    subdirectories: i64,
    trashed: i64,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
struct Counts {
    refs: i64,
    live: i64,
}

struct PageFound {
    page: Page,
    counts: Counts,
    end: i64,
}

impl Check<'_> {
    fn found(&mut self, finding: impl std::fmt::Display) {
        self.findings.add(format!("bucket {}: {finding}", self.bucket));
    }

    async fn rows(&self, conn: &mut Conn, text: &str) -> Result<Vec<AnyRow>, DbError> {
        let query = sqlx::query(sqlx::AssertSqlSafe(text.to_owned())).bind(self.bucket.to_vec());
        Ok(query.fetch_all(conn).await?)
    }

    async fn run(&mut self, conn: &mut Conn, bucket: &BucketRow) -> Result<(), DbError> {
        let text = format!("SELECT {INODE_COLUMNS} FROM inode i WHERE i.bucket = $1");
        let rows = self.rows(conn, &text).await?;
        let inodes: HashMap<InodeId, InodeRow> =
            rows.iter().map(|row| InodeRow::read(row, 0).map(|inode| (inode.id, inode))).collect::<Result<_, _>>()?;
        self.check_links(conn, bucket, &inodes).await?;
        let roots = self.check_versions(conn, &inodes).await?;
        let blobs = self.check_pages(conn, &roots).await?;
        let (used, superseded) = self.check_blobs(conn, &blobs).await?;
        let slack = self.check_segments(conn).await?;
        if (used + slack, superseded) != (bucket.used_bytes, bucket.superseded_bytes) {
            let says = (bucket.used_bytes, bucket.superseded_bytes);
            self.found(format!(
                "says {says:?} bytes used and superseded, its blobs sum up to {:?}",
                (used + slack, superseded)
            ));
        }
        let files =
            inodes.values().filter(|inode| inode.kind == super::model::InodeKind::File && inode.is_live()).count();
        if i64::try_from(files) != Ok(bucket.files) {
            self.found(format!("says {} files and has {files}", bucket.files));
        }
        self.check_log(conn, bucket).await
    }

    async fn check_links(
        &mut self,
        conn: &mut Conn,
        bucket: &BucketRow,
        inodes: &HashMap<InodeId, InodeRow>,
    ) -> Result<(), DbError> {
        let mut links: HashMap<InodeId, Links> = HashMap::new();
        let mut parents: HashMap<InodeId, InodeId> = HashMap::new();
        for row in self.rows(conn, "SELECT directory, child, kind, version FROM entry WHERE bucket = $1").await? {
            let (directory, child): (InodeId, InodeId) = (sql::id(&row, 0)?, sql::id(&row, 1)?);
            let Some(inode) = inodes.get(&child) else {
                self.found(format!("an entry of {directory} leads to {child}, which does not exist"));
                continue;
            };
            if i64::from(i32::from(inode.kind)) != sql::int(&row, 2)? {
                self.found(format!("an entry has another kind than {child}"));
            }
            if sql::uint::<u64>(&row, 3)? > bucket.sequence {
                self.found(format!("the entry of {child} is newer than the newest change"));
            }
            links.entry(child).or_default().entries += 1;
            if inode.is_directory() {
                links.entry(directory).or_default().subdirectories += 1;
                parents.insert(child, directory);
            }
            if !inodes.get(&directory).is_some_and(InodeRow::is_directory) {
                self.found(format!("an entry lies in {directory}, which is no directory"));
            }
        }
        for row in self.rows(conn, "SELECT child FROM trash WHERE bucket = $1").await? {
            links.entry(sql::id(&row, 0)?).or_default().trashed += 1;
        }
        let purged = self.rows(conn, "SELECT inode FROM purge WHERE bucket = $1").await?;
        let purged: HashSet<InodeId> = purged.iter().map(|row| sql::id(row, 0)).collect::<Result<_, _>>()?;
        for inode in inodes.values() {
            let found = links.remove(&inode.id).unwrap_or_default();
            self.check_inode(bucket, inode, &found, purged.contains(&inode.id));
        }
        for stray in links.keys() {
            self.found(format!("the trash or an entry names {stray}, which does not exist"));
        }
        for stray in purged.iter().filter(|id| !inodes.contains_key(id)) {
            self.found(format!("{stray} is to be purged and does not exist"));
        }
        self.check_loops(&parents);
        if bucket.deleted_ns == 0 && !inodes.contains_key(&bucket.root) {
            self.found("has no root directory");
        }
        Ok(())
    }

    fn check_inode(&mut self, bucket: &BucketRow, inode: &InodeRow, links: &Links, purged: bool) {
        let id = inode.id;
        let nlink = i64::from(inode.nlink);
        if i64::from(inode.trashed) != links.trashed {
            self.found(format!("inode {id} says {} trash entries and has {}", inode.trashed, links.trashed));
        }
        let linked = id == bucket.root || links.entries > 0;
        if inode.is_directory() {
            let removed = nlink == 0 && links.subdirectories == 0 && !linked;
            // What is being cleared away loses its subdirectories without counting.
            if nlink != 2 + links.subdirectories && !removed && !purged {
                self.found(format!("directory {id} says {nlink} links and has {}", 2 + links.subdirectories));
            }
            if links.entries + links.trashed > 1 {
                self.found(format!("directory {id} has several names"));
            }
        } else if nlink != links.entries {
            self.found(format!("inode {id} says {nlink} links and has {}", links.entries));
        }
        if linked != (inode.deleted_ns == 0) {
            self.found(format!("inode {id} is linked: {linked}, deleted at {}", inode.deleted_ns));
        }
        let kept = linked || links.trashed > 0 || purged || (inode.nlink == 0 && inode.deleted_ns != 0);
        if !kept {
            self.found(format!("nothing leads to inode {id} and nothing will clear it away"));
        }
    }

    fn check_loops(&mut self, parents: &HashMap<InodeId, InodeId>) {
        let mut good: HashSet<InodeId> = HashSet::new();
        for start in parents.keys() {
            let (mut at, mut path) = (*start, Vec::new());
            let mut on_path = HashSet::new();
            while let Some(parent) = parents.get(&at).filter(|_| !good.contains(&at)) {
                if !on_path.insert(at) {
                    self.found(format!("directory {at} lies below itself"));
                    break;
                }
                path.push(at);
                at = *parent;
            }
            good.extend(path);
        }
    }

    /// The counters that roots give to pages.
    async fn check_versions(
        &mut self,
        conn: &mut Conn,
        inodes: &HashMap<InodeId, InodeRow>,
    ) -> Result<HashMap<PageId, Counts>, DbError> {
        let mut roots: HashMap<PageId, Counts> = HashMap::new();
        let mut newest: HashSet<InodeId> = HashSet::new();
        let text = "SELECT inode, version, size, root_page, superseded_ns FROM version WHERE bucket = $1";
        for row in self.rows(conn, text).await? {
            let (id, root): (InodeId, _) = (sql::id(&row, 0)?, PageId(sql::array(&row, 3)?));
            let Some(inode) = inodes.get(&id) else {
                self.found(format!("a version belongs to {id}, which does not exist"));
                continue;
            };
            let counts = roots.entry(root).or_default();
            counts.refs += 1;
            if sql::int(&row, 4)? != 0 {
                continue;
            }
            counts.live += i64::from(inode.is_live());
            let says = (inode.version, inode.size, inode.root_page);
            if !newest.insert(id) || says != (sql::uint(&row, 1)?, sql::uint(&row, 2)?, root) {
                self.found(format!("inode {id} does not agree with its newest version"));
            }
        }
        for inode in inodes.values().filter(|inode| inode.version > 0 && !newest.contains(&inode.id)) {
            self.found(format!("inode {} has no newest version", inode.id));
        }
        roots.remove(&PageId::EMPTY);
        Ok(roots)
    }

    /// The counters that pages give to blobs.
    async fn check_pages(
        &mut self,
        conn: &mut Conn,
        roots: &HashMap<PageId, Counts>,
    ) -> Result<HashMap<BlobId, Counts>, DbError> {
        let text =
            "SELECT id, level, first_offset, end_offset, refs, live_refs, content FROM extent_page WHERE bucket = $1";
        let mut pages: HashMap<PageId, PageFound> = HashMap::new();
        for row in self.rows(conn, text).await? {
            let (id, content) = (PageId(sql::array(&row, 0)?), sql::bytes(&row, 6)?);
            let page = Page::decode(&content).map_err(|_| DbError::Corrupt("an extent page"))?;
            let columns = (i64::from(page.level()), sql::as_int(page.first_offset()));
            if PageId::of(&content) != id || columns != (sql::int(&row, 1)?, sql::int(&row, 2)?) {
                self.found(format!("page {id} is not what its row says"));
            }
            let counts = Counts { refs: sql::int(&row, 4)?, live: sql::int(&row, 5)? };
            pages.insert(id, PageFound { page, counts, end: sql::int(&row, 3)? });
        }
        let mut expected = roots.clone();
        let mut blobs: HashMap<BlobId, Counts> = HashMap::new();
        for found in pages.values() {
            let live = i64::from(found.counts.live > 0);
            let pass = |counts: &mut Counts| {
                counts.refs += 1;
                counts.live += live;
            };
            for child in found.page.children() {
                pass(expected.entry(child.id).or_default());
            }
            for blob in found.page.blobs().collect::<HashSet<_>>() {
                pass(blobs.entry(blob).or_default());
            }
        }
        for (id, found) in &pages {
            let is = expected.remove(id).unwrap_or_default();
            if is != found.counts || is.refs == 0 {
                self.found(format!("page {id} says {:?} and has {is:?}", found.counts));
            }
            let end = match found.page.children().last() {
                Some(last) => pages.get(&last.id).map_or(0, |page| page.end),
                None => found.page.extents().last().map_or(0, |extent| sql::as_int(extent.end())),
            };
            if end != found.end {
                self.found(format!("page {id} says it ends at {} and ends at {end}", found.end));
            }
        }
        for stray in expected.keys() {
            self.found(format!("page {stray} is referred to and does not exist"));
        }
        Ok(blobs)
    }

    async fn check_blobs(&mut self, conn: &mut Conn, counts: &HashMap<BlobId, Counts>) -> Result<(i64, i64), DbError> {
        let (mut used, mut superseded) = (0, 0);
        let mut seen = HashSet::new();
        let mut staged: HashMap<TxnId, i64> = HashMap::new();
        let text = "SELECT id, length, refs, live_refs, staged FROM blob WHERE bucket = $1";
        for row in self.rows(conn, text).await? {
            let (id, length): (BlobId, i64) = (sql::id(&row, 0)?, sql::int(&row, 1)?);
            let says = Counts { refs: sql::int(&row, 2)?, live: sql::int(&row, 3)? };
            let is = counts.get(&id).copied().unwrap_or_default();
            seen.insert(id);
            if says != is {
                self.found(format!("blob {id} says {says:?} and has {is:?}"));
            }
            match sql::optional_id::<TxnId>(&row, 4)? {
                Some(txn) if is.refs == 0 => *staged.entry(txn).or_default() += length,
                Some(_) => self.found(format!("blob {id} is staged and committed")),
                None if is.refs == 0 => self.found(format!("nothing refers to blob {id}")),
                None if is.live > 0 => used += length,
                None => superseded += length,
            }
        }
        for stray in counts.keys().filter(|id| !seen.contains(id)) {
            self.found(format!("blob {stray} is referred to and does not exist"));
        }
        for row in self.rows(conn, "SELECT txn, bytes FROM staged WHERE bucket = $1").await? {
            let (txn, says): (TxnId, i64) = (sql::id(&row, 0)?, sql::int(&row, 1)?);
            let is = staged.remove(&txn).unwrap_or(0);
            if says != is {
                self.found(format!("{says} bytes are said to be staged under {txn}, {is} are"));
            }
        }
        for stray in staged.keys() {
            self.found(format!("blobs are staged under {stray}, which does not exist"));
        }
        Ok((used, superseded))
    }

    /// The slack of segments in use.
    async fn check_segments(&mut self, conn: &mut Conn) -> Result<i64, DbError> {
        let mut blobs: HashMap<SegmentId, (i64, i64, i64)> = HashMap::new();
        let text = "SELECT segment, length, segment_offset FROM blob WHERE bucket = $1 AND segment IS NOT NULL";
        for row in self.rows(conn, text).await? {
            let found = blobs.entry(sql::id(&row, 0)?).or_default();
            let (length, offset) = (sql::int(&row, 1)?, sql::int(&row, 2)?);
            *found = (found.0 + 1, found.1 + length, found.2.max(offset + length));
        }
        let mut all_slack = 0;
        let text = "SELECT id, length, slack, live_blobs, freed_ns, k, m, present FROM segment WHERE bucket = $1";
        for row in self.rows(conn, text).await? {
            let id: SegmentId = sql::id(&row, 0)?;
            let (length, slack) = (sql::int(&row, 1)?, sql::int(&row, 2)?);
            let (live, freed) = (sql::int(&row, 3)?, sql::int(&row, 4)?);
            let (count, placed, end) = blobs.remove(&id).unwrap_or_default();
            if live != count || (count == 0) != (freed != 0) {
                self.found(format!("segment {id} says {live} blobs, freed at {freed}, and has {count}"));
            }
            // Blobs that went leave their room neither used nor free.
            if slack < 0 || placed + slack > length || end > length {
                self.found(format!("the blobs of segment {id} do not fit into it"));
            }
            let scheme = super::model::scheme(&row, 5)?;
            let present: u64 = sql::uint(&row, 7)?;
            if (present.count_ones() as usize) < scheme.k() {
                self.found(format!("segment {id} has fewer shards than it needs"));
            }
            if freed == 0 {
                all_slack += slack;
            }
        }
        for stray in blobs.keys() {
            self.found(format!("a blob lies in segment {stray}, which this bucket does not have"));
        }
        Ok(all_slack)
    }

    async fn check_log(&mut self, conn: &mut Conn, bucket: &BucketRow) -> Result<(), DbError> {
        let text = "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(MIN(sequence), 0) AS BIGINT), \
                    CAST(COALESCE(MAX(sequence), 0) AS BIGINT) FROM change WHERE bucket = $1";
        for row in self.rows(conn, text).await? {
            let (count, first, last) = (sql::int(&row, 0)?, sql::int(&row, 1)?, sql::int(&row, 2)?);
            if count > 0 && (last - first + 1 != count || last != sql::as_int(bucket.sequence)) {
                self.found(format!("the change log has {count} entries from {first} to {last} of {}", bucket.sequence));
            }
        }
        let writers = super::buckets::writer_list(conn, bucket).await;
        match writers {
            Ok(list) if list.len() as u64 == bucket.writers => {}
            Ok(_) => self.found("says another number of writer entries than it has"),
            Err(_) => self.found("has a writer list that is not valid"),
        }
        Ok(())
    }
}
