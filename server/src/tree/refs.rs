//! The counters of extent pages and blobs.
//!
//! Every page and every blob has two: `refs` (anything refers to it, so it exists) and `live_refs` (something that counts against quota
//! does). Both cascade down the copy-on-write tree in the same way: a version counts for its root; a page that exists counts for the
//! pages and blobs below it, and one that is live counts for them as live. So a change goes down only where a counter leaves or
//! reaches zero, and sharing a tree of a million extents costs one increment.
//!
//! All steps of one call are summed per page before they are applied, the highest level first. What an old and a new
//! version share therefore never touches zero on the way.

use std::collections::HashMap;

use bytes::Bytes;
use cyx_core::extent::{Page, PageId};
use cyx_core::ids::{BlobId, TxnId};

use super::error::TreeError;
use super::plan::{NewBlob, NewPage};
use super::sql::{self, Value};
use super::work::Work;
use crate::db::{DbError, insert_many};

/// What a change adds to the two counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Delta {
    pub(super) refs: i64,
    pub(super) live: i64,
}

impl Delta {
    pub(super) const fn is_zero(self) -> bool {
        self.refs == 0 && self.live == 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.refs += other.refs;
        self.live += other.live;
    }
}

/// The two counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(super) struct Counters {
    pub(super) refs: i64,
    pub(super) live: i64,
}

impl Counters {
    /// Applies a change; what has to be passed on to what lies below.
    pub(super) fn apply(&mut self, delta: Delta) -> Result<Delta, DbError> {
        let before = *self;
        self.refs += delta.refs;
        self.live += delta.live;
        if self.live < 0 || self.refs < self.live {
            return Err(DbError::Corrupt("a counter of pages or blobs is wrong"));
        }
        let step = |before: i64, after: i64| i64::from(after > 0) - i64::from(before > 0);
        Ok(Delta { refs: step(before.refs, self.refs), live: step(before.live, self.live) })
    }
}

/// What a commit brings that may not be there yet.
#[derive(Debug, Default)]
pub(super) struct NewContent<'a> {
    /// New pages with the file offset behind their last extent.
    pub(super) pages: HashMap<PageId, (&'a NewPage, u64)>,
    /// New blobs.
    pub(super) blobs: HashMap<BlobId, &'a NewBlob>,
    /// The lengths that extents give their blobs.
    pub(super) lengths: Option<&'a HashMap<BlobId, u64>>,
    /// Where blobs may be staged.
    pub(super) staged: Option<TxnId>,
}

/// How a root's counters change.
#[derive(Debug, Clone, Copy)]
pub(super) struct RootStep {
    pub(super) root: PageId,
    pub(super) delta: Delta,
}

impl RootStep {
    pub(super) const fn new(root: PageId, refs: i64, live: i64) -> Self {
        Self { root, delta: Delta { refs, live } }
    }
}

struct PageState {
    level: u8,
    counters: Counters,
    found: Option<Counters>,
}

impl Work<'_> {
    /// Changes the counters of roots and of everything below them, and removes what nothing refers to any more.
    ///
    /// # Errors
    /// A refusal if a new page uses a blob that is not there.
    pub(super) async fn adjust(&mut self, roots: &[RootStep], new: &NewContent<'_>) -> Result<(), TreeError> {
        let mut pending: HashMap<PageId, Delta> = HashMap::new();
        for step in roots.iter().filter(|step| step.root != PageId::EMPTY) {
            pending.entry(step.root).or_default().add(step.delta);
        }
        let mut pages: HashMap<PageId, PageState> = HashMap::new();
        let mut blobs: HashMap<BlobId, Delta> = HashMap::new();
        loop {
            pending.retain(|_, delta| !delta.is_zero());
            self.load_counters(&pending, new, &mut pages).await?;
            let level = |id: &PageId| pages.get(id).map(|page| page.level);
            let Some(highest) = pending.keys().filter_map(level).max() else { break };
            let now: Vec<(PageId, Delta)> =
                pending.iter().filter(|(id, _)| level(id) == Some(highest)).map(|(id, delta)| (*id, *delta)).collect();
            let mut passed_on = HashMap::new();
            for (id, delta) in now {
                pending.remove(&id);
                let Some(page) = pages.get_mut(&id) else { continue };
                let step = page.counters.apply(delta)?;
                if !step.is_zero() {
                    passed_on.insert(id, step);
                }
            }
            self.pass_on(&passed_on, new, &mut pending, &mut blobs).await?;
        }
        self.write_pages(&pages, new).await?;
        self.adjust_blobs(&blobs, new).await
    }

    async fn load_counters(
        &mut self,
        pending: &HashMap<PageId, Delta>,
        new: &NewContent<'_>,
        pages: &mut HashMap<PageId, PageState>,
    ) -> Result<(), DbError> {
        let unknown: Vec<PageId> = pending.keys().filter(|id| !pages.contains_key(id)).copied().collect();
        let keys: Vec<[u8; 32]> = unknown.iter().map(|id| id.0).collect();
        let head = "SELECT id, level, refs, live_refs FROM extent_page WHERE bucket = $1 AND id IN (";
        for row in sql::fetch_in(self.conn, head, ")", &[Value::Bytes(&self.bucket.id.0)], &keys).await? {
            let counters = Counters { refs: sql::int(&row, 2)?, live: sql::int(&row, 3)? };
            let state = PageState { level: sql::uint(&row, 1)?, counters, found: Some(counters) };
            pages.insert(PageId(sql::array(&row, 0)?), state);
        }
        for id in unknown {
            if pages.contains_key(&id) {
                continue;
            }
            let (page, _) = new.pages.get(&id).ok_or(DbError::Corrupt("an extent page is missing"))?;
            pages.insert(id, PageState { level: page.page.level(), counters: Counters::default(), found: None });
        }
        Ok(())
    }

    /// Passes the steps of pages on to what lies below them.
    async fn pass_on(
        &mut self,
        steps: &HashMap<PageId, Delta>,
        new: &NewContent<'_>,
        pending: &mut HashMap<PageId, Delta>,
        blobs: &mut HashMap<BlobId, Delta>,
    ) -> Result<(), DbError> {
        let mut pass = |page: &Page, step: Delta| {
            for child in page.children() {
                pending.entry(child.id).or_default().add(step);
            }
            for blob in page.blobs().collect::<std::collections::HashSet<_>>() {
                blobs.entry(blob).or_default().add(step);
            }
        };
        let mut stored = Vec::new();
        for (id, step) in steps {
            match new.pages.get(id) {
                Some((page, _)) => pass(&page.page, *step),
                None => stored.push(id.0),
            }
        }
        let head = "SELECT id, content FROM extent_page WHERE bucket = $1 AND id IN (";
        // A few at a time: pages are large.
        for part in stored.chunks(256) {
            for row in sql::fetch_in(self.conn, head, ")", &[Value::Bytes(&self.bucket.id.0)], part).await? {
                let page = Page::decode(&sql::bytes(&row, 1)?).map_err(|_| DbError::Corrupt("an extent page"))?;
                if let Some(step) = steps.get(&PageId(sql::array(&row, 0)?)) {
                    pass(&page, *step);
                }
            }
        }
        Ok(())
    }

    async fn write_pages(&mut self, pages: &HashMap<PageId, PageState>, new: &NewContent<'_>) -> Result<(), DbError> {
        let mut gone = Vec::new();
        let mut changed: HashMap<Counters, Vec<[u8; 32]>> = HashMap::new();
        let mut fresh = Vec::new();
        for (id, page) in pages {
            match page.found {
                None => {
                    if let Some((content, end)) = new.pages.get(id) {
                        fresh.push(PageRow::new(content, *end, page.counters));
                    }
                }
                Some(_) if page.counters.refs == 0 => gone.push(id.0),
                Some(found) if found != page.counters => changed.entry(page.counters).or_default().push(id.0),
                Some(_) => {}
            }
        }
        let bucket = self.bucket.id.0;
        if insert_pages(self.conn, &bucket, &fresh).await? != fresh.len() as u64 {
            return Err(DbError::Corrupt("extent pages appeared in a locked bucket"));
        }
        for (counters, keys) in changed {
            let head = "UPDATE extent_page SET refs = $2, live_refs = $3 WHERE bucket = $1 AND id IN (";
            let values = [Value::Bytes(&bucket), Value::Int(counters.refs), Value::Int(counters.live)];
            sql::execute_in(self.conn, head, ")", &values, &keys).await?;
        }
        let head = "DELETE FROM extent_page WHERE bucket = $1 AND id IN (";
        sql::execute_in(self.conn, head, ")", &[Value::Bytes(&bucket)], &gone).await?;
        Ok(())
    }
}

/// A page to be written.
pub(super) struct PageRow {
    id: PageId,
    level: u8,
    first: u64,
    end: u64,
    counters: Counters,
    content: Bytes,
}

impl PageRow {
    pub(super) fn new(page: &NewPage, end: u64, counters: Counters) -> Self {
        Self {
            id: page.id,
            level: page.page.level(),
            first: page.page.first_offset(),
            end,
            counters,
            content: page.content.clone(),
        }
    }
}

/// Writes pages that are not there yet. How many were written.
pub(super) async fn insert_pages(
    conn: &mut crate::db::Conn,
    bucket: &[u8; 16],
    rows: &[PageRow],
) -> Result<u64, DbError> {
    let head = "INSERT INTO extent_page (bucket, id, level, first_offset, end_offset, refs, live_refs, content)";
    insert_many(conn, head, 8, "ON CONFLICT DO NOTHING", rows, |statement, row| {
        statement
            .bind(bucket.to_vec())
            .bind(row.id.to_vec())
            .bind(i64::from(row.level))
            .bind(sql::as_int(row.first))
            .bind(sql::as_int(row.end))
            .bind(row.counters.refs)
            .bind(row.counters.live)
            .bind(row.content.to_vec())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steps_from_and_to_zero_are_passed_on() {
        let mut counters = Counters::default();
        assert_eq!(counters.apply(Delta { refs: 2, live: 1 }).unwrap(), Delta { refs: 1, live: 1 });
        assert_eq!(counters.apply(Delta { refs: 1, live: 1 }).unwrap(), Delta::default());
        assert_eq!(counters.apply(Delta { refs: 0, live: -2 }).unwrap(), Delta { refs: 0, live: -1 });
        assert_eq!(counters.apply(Delta { refs: -3, live: 0 }).unwrap(), Delta { refs: -1, live: 0 });
        assert!(counters.apply(Delta { refs: -1, live: 0 }).is_err());
    }
}
