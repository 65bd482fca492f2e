//! The invariants of the whole tree, recomputed from scratch and compared with what the database says.
//!
//! Used by the tests after every sequence of operations and by `cyx-server check`. Everything is read from one snapshot; each finding
//! is one sentence. An empty list means that counters, links and quota are exactly what the rows imply.
//!
//! Buckets are checked one after the other, and their tables are read a page at a time. What stays in memory is what counters are compared
//! with: some 100 bytes for each inode, page and blob of the bucket at hand, never their names, keys, metadata or contents.

mod rows;

use std::collections::{HashMap, HashSet};

use cyx_core::extent::{Page, PageId};
use cyx_core::ids::{BlobId, BucketId, InodeId, SegmentId, TxnId};
use sqlx::any::AnyRow;

use self::rows::{Key, Rows};
use super::model::{BucketRow, InodeKind, InodeRow};
use super::{BUCKET_COLUMNS, INODE_COLUMNS, sql};
use crate::db::{Conn, DbError};

/// Findings beyond this many are counted and not listed.
const FINDINGS_MAX: usize = 1000;
/// Rows of a table that are in memory at a time. With the largest metadata that is 80 MiB.
const PAGE: usize = 1000;

/// Checks everything. What is wrong, one sentence each.
///
/// # Errors
/// [`DbError`].
pub async fn check(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    let mut findings = Findings::default();
    let text = format!("SELECT {BUCKET_COLUMNS} FROM bucket b WHERE b.id > $1 ORDER BY b.id LIMIT {PAGE}");
    let mut by_owner: HashMap<[u8; 16], (i64, i64)> = HashMap::new();
    let mut after: Vec<u8> = Vec::new();
    loop {
        let query = sqlx::query(sqlx::AssertSqlSafe(text.clone())).bind(after);
        let buckets = query.fetch_all(&mut *conn).await?;
        let Some(last) = buckets.last() else { break };
        after = sql::bytes(last, 0)?;
        for row in &buckets {
            let bucket = BucketRow::read(row, 0)?;
            let sums = by_owner.entry(bucket.owner.0).or_default();
            sums.0 += bucket.used_bytes;
            sums.1 += bucket.superseded_bytes;
            Check { bucket: bucket.id, findings: &mut findings }.run(conn, &bucket).await?;
        }
    }
    check_accounts(conn, &by_owner, &mut findings).await?;
    check_strays(conn, &mut findings).await?;
    Ok(findings.listed())
}

#[derive(Default)]
struct Findings {
    first: Vec<String>,
    more: u64,
}

impl Findings {
    fn add(&mut self, finding: String) {
        if self.first.len() < FINDINGS_MAX {
            self.first.push(finding);
        } else {
            self.more += 1;
        }
    }

    fn listed(mut self) -> Vec<String> {
        if self.more > 0 {
            self.first.push(format!("{} more like these are not listed", self.more));
        }
        self.first
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

/// A page as its row says, and where it ends as its content says: at a place, or where its last child does.
struct PageFound {
    counts: Counts,
    says: i64,
    is: Result<i64, PageId>,
}

/// What counters are compared with, of an inode.
struct Facts {
    kind: InodeKind,
    nlink: u32,
    trashed: u32,
    size: u64,
    version: u64,
    root: PageId,
    deleted_ns: i64,
}

impl Facts {
    fn read(row: &AnyRow, at: usize) -> Result<(InodeId, Self), DbError> {
        let InodeRow { id, kind, nlink, trashed, size, version, root_page: root, deleted_ns, .. } =
            InodeRow::read(row, at)?;
        Ok((id, Self { kind, nlink, trashed, size, version, root, deleted_ns }))
    }

    fn is_directory(&self) -> bool {
        self.kind == InodeKind::Directory
    }

    const fn is_live(&self) -> bool {
        self.nlink > 0 || self.trashed > 0
    }
}

impl Check<'_> {
    fn found(&mut self, finding: impl std::fmt::Display) {
        self.findings.add(format!("bucket {}: {finding}", self.bucket));
    }

    /// Rows of this bucket, which is the first value of the condition.
    fn rows(&self, columns: &str, from: &str, key: &'static [Key]) -> Rows {
        Rows::new(self.bucket, columns, from, key)
    }

    async fn run(&mut self, conn: &mut Conn, bucket: &BucketRow) -> Result<(), DbError> {
        let mut inodes: HashMap<InodeId, Facts> = HashMap::new();
        let mut rows = self.rows(INODE_COLUMNS, "inode i WHERE i.bucket = $1", &[Key::Bytes("i.id")]);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let (id, facts) = Facts::read(row, 1)?;
                inodes.insert(id, facts);
            }
        }
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
        let files = inodes.values().filter(|inode| inode.kind == InodeKind::File && inode.is_live()).count();
        if i64::try_from(files) != Ok(bucket.files) {
            self.found(format!("says {} files and has {files}", bucket.files));
        }
        self.check_log(conn, bucket).await
    }

    async fn check_links(
        &mut self,
        conn: &mut Conn,
        bucket: &BucketRow,
        inodes: &HashMap<InodeId, Facts>,
    ) -> Result<(), DbError> {
        let mut links: HashMap<InodeId, Links> = HashMap::new();
        let mut parents: HashMap<InodeId, InodeId> = HashMap::new();
        const ENTRY: &[Key] = &[Key::Bytes("directory"), Key::Bytes("name"), Key::Number("epoch")];
        let mut rows = self.rows("child, kind, version", "entry WHERE bucket = $1", ENTRY);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let (directory, child): (InodeId, InodeId) = (sql::id(row, 0)?, sql::id(row, 3)?);
                let (kind, version) = (sql::int(row, 4)?, sql::uint::<u64>(row, 5)?);
                let Some(inode) = inodes.get(&child) else {
                    self.found(format!("an entry of {directory} leads to {child}, which does not exist"));
                    continue;
                };
                if i64::from(i32::from(inode.kind)) != kind {
                    self.found(format!("an entry has another kind than {child}"));
                }
                if version > bucket.sequence {
                    self.found(format!("the entry of {child} is newer than the newest change"));
                }
                links.entry(child).or_default().entries += 1;
                if inode.is_directory() {
                    links.entry(directory).or_default().subdirectories += 1;
                    parents.insert(child, directory);
                }
                if !inodes.get(&directory).is_some_and(Facts::is_directory) {
                    self.found(format!("an entry lies in {directory}, which is no directory"));
                }
            }
        }
        let mut rows = self.rows("child", "trash WHERE bucket = $1", &[Key::Bytes("id")]);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                links.entry(sql::id(row, 1)?).or_default().trashed += 1;
            }
        }
        let mut purged: HashSet<InodeId> = HashSet::new();
        let mut rows = self.rows("queued_ns", "purge WHERE bucket = $1", &[Key::Bytes("inode")]);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                purged.insert(sql::id(row, 0)?);
            }
        }
        for (id, inode) in inodes {
            let found = links.remove(id).unwrap_or_default();
            self.check_inode(bucket, *id, inode, &found, purged.contains(id));
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

    fn check_inode(&mut self, bucket: &BucketRow, id: InodeId, inode: &Facts, links: &Links, purged: bool) {
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
        inodes: &HashMap<InodeId, Facts>,
    ) -> Result<HashMap<PageId, Counts>, DbError> {
        let mut roots: HashMap<PageId, Counts> = HashMap::new();
        let mut newest: HashSet<InodeId> = HashSet::new();
        const VERSION: &[Key] = &[Key::Bytes("inode"), Key::Number("version")];
        let mut rows = self.rows("size, root_page, superseded_ns", "version WHERE bucket = $1", VERSION);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let (id, root): (InodeId, _) = (sql::id(row, 0)?, PageId(sql::array(row, 3)?));
                let Some(inode) = inodes.get(&id) else {
                    self.found(format!("a version belongs to {id}, which does not exist"));
                    continue;
                };
                let counts = roots.entry(root).or_default();
                counts.refs += 1;
                if sql::int(row, 4)? != 0 {
                    continue;
                }
                counts.live += i64::from(inode.is_live());
                let says = (inode.version, inode.size, inode.root);
                if !newest.insert(id) || says != (sql::uint(row, 1)?, sql::uint(row, 2)?, root) {
                    self.found(format!("inode {id} does not agree with its newest version"));
                }
            }
        }
        for (id, _) in inodes.iter().filter(|(id, inode)| inode.version > 0 && !newest.contains(*id)) {
            self.found(format!("inode {id} has no newest version"));
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
        let mut pages: HashMap<PageId, PageFound> = HashMap::new();
        let mut expected = roots.clone();
        let mut blobs: HashMap<BlobId, Counts> = HashMap::new();
        let columns = "level, first_offset, end_offset, refs, live_refs, content";
        let mut rows = self.rows(columns, "extent_page WHERE bucket = $1", &[Key::Bytes("id")]);
        loop {
            let some = rows.page(conn).await?;
            if some.is_empty() {
                break;
            }
            for row in &some {
                let (id, content) = (PageId(sql::array(row, 0)?), sql::bytes(row, 6)?);
                let page = Page::decode(&content).map_err(|_| DbError::Corrupt("an extent page"))?;
                let columns = (i64::from(page.level()), sql::as_int(page.first_offset()));
                if PageId::of(&content) != id || columns != (sql::int(row, 1)?, sql::int(row, 2)?) {
                    self.found(format!("page {id} is not what its row says"));
                }
                let counts = Counts { refs: sql::int(row, 4)?, live: sql::int(row, 5)? };
                let live = i64::from(counts.live > 0);
                let pass = |counts: &mut Counts| {
                    counts.refs += 1;
                    counts.live += live;
                };
                for child in page.children() {
                    pass(expected.entry(child.id).or_default());
                }
                for blob in page.blobs().collect::<HashSet<_>>() {
                    pass(blobs.entry(blob).or_default());
                }
                let is = match page.children().last() {
                    Some(last) => Err(last.id),
                    None => Ok(page.extents().last().map_or(0, |extent| sql::as_int(extent.end()))),
                };
                pages.insert(id, PageFound { counts, says: sql::int(row, 3)?, is });
            }
        }
        for (id, found) in &pages {
            let is = expected.remove(id).unwrap_or_default();
            if is != found.counts || is.refs == 0 {
                self.found(format!("page {id} says {:?} and has {is:?}", found.counts));
            }
            let end = found.is.unwrap_or_else(|last| pages.get(&last).map_or(0, |page| page.says));
            if end != found.says {
                self.found(format!("page {id} says it ends at {} and ends at {end}", found.says));
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
        let columns = "length, refs, live_refs, staged";
        let mut rows = self.rows(columns, "blob WHERE bucket = $1", &[Key::Bytes("id")]);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let (id, length): (BlobId, i64) = (sql::id(row, 0)?, sql::int(row, 1)?);
                let says = Counts { refs: sql::int(row, 2)?, live: sql::int(row, 3)? };
                let is = counts.get(&id).copied().unwrap_or_default();
                seen.insert(id);
                if says != is {
                    self.found(format!("blob {id} says {says:?} and has {is:?}"));
                }
                match sql::optional_id::<TxnId>(row, 4)? {
                    Some(txn) if is.refs == 0 => *staged.entry(txn).or_default() += length,
                    Some(_) => self.found(format!("blob {id} is staged and committed")),
                    None if is.refs == 0 => self.found(format!("nothing refers to blob {id}")),
                    None if is.live > 0 => used += length,
                    None => superseded += length,
                }
            }
        }
        for stray in counts.keys().filter(|id| !seen.contains(id)) {
            self.found(format!("blob {stray} is referred to and does not exist"));
        }
        let mut rows = self.rows("bytes", "staged WHERE bucket = $1", &[Key::Bytes("txn")]);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let (txn, says): (TxnId, i64) = (sql::id(row, 0)?, sql::int(row, 1)?);
                let is = staged.remove(&txn).unwrap_or(0);
                if says != is {
                    self.found(format!("{says} bytes are said to be staged under {txn}, {is} are"));
                }
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
        let placed = "blob WHERE bucket = $1 AND segment IS NOT NULL";
        let mut rows = self.rows("segment, length, segment_offset", placed, &[Key::Bytes("id")]);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let found = blobs.entry(sql::id(row, 1)?).or_default();
                let (length, offset) = (sql::int(row, 2)?, sql::int(row, 3)?);
                *found = (found.0 + 1, found.1 + length, found.2.max(offset + length));
            }
        }
        let mut all_slack = 0;
        let columns = "length, slack, live_blobs, freed_ns, k, m, present";
        let mut rows = self.rows(columns, "segment WHERE bucket = $1", &[Key::Bytes("id")]);
        loop {
            let page = rows.page(conn).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let id: SegmentId = sql::id(row, 0)?;
                let (length, slack) = (sql::int(row, 1)?, sql::int(row, 2)?);
                let (live, freed) = (sql::int(row, 3)?, sql::int(row, 4)?);
                let (count, placed, end) = blobs.remove(&id).unwrap_or_default();
                if live != count || (count == 0) != (freed != 0) {
                    self.found(format!("segment {id} says {live} blobs, freed at {freed}, and has {count}"));
                }
                // Blobs that went leave their room neither used nor free.
                if slack < 0 || placed + slack > length || end > length {
                    self.found(format!("the blobs of segment {id} do not fit into it"));
                }
                let scheme = super::model::scheme(row, 5)?;
                let present: u64 = sql::uint(row, 7)?;
                if (present.count_ones() as usize) < scheme.k() {
                    self.found(format!("segment {id} has fewer shards than it needs"));
                }
                if freed == 0 {
                    all_slack += slack;
                }
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
        let row = sqlx::query(text).bind(self.bucket.to_vec()).fetch_one(&mut *conn).await?;
        let (count, first, last) = (sql::int(&row, 0)?, sql::int(&row, 1)?, sql::int(&row, 2)?);
        if count > 0 && (last - first + 1 != count || last != sql::as_int(bucket.sequence)) {
            self.found(format!("the change log has {count} entries from {first} to {last} of {}", bucket.sequence));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_that_are_not_listed_are_counted() {
        let listed = |count: usize| {
            let mut findings = Findings::default();
            (0..count).for_each(|number| findings.add(number.to_string()));
            findings.listed()
        };
        assert_eq!(listed(FINDINGS_MAX).len(), FINDINGS_MAX);
        assert_eq!(listed(FINDINGS_MAX + 2).last().unwrap(), "2 more like these are not listed");
    }
}
