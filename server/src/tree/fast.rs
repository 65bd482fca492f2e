//! The short way for runs of new small files.
//!
//! A mutation of the shape *create a file, commit its first version with one leaf page and inline blobs* needs no counters of its own: what it
//! writes is new and refers to nothing else. A run of them is checked with one question per table and written with one insert
//! per table. Whatever is unusual about a run (a name that is taken, an id in use, a quota that may not suffice) sends all of it
//! through the general path, which decides and explains. Both ways leave the same rows and give the same answers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cyx_core::ids::{InodeId, TxnId};
use cyx_core::writers::WriterList;
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;

use super::attributes::of_inode;
use super::blobs::{BlobInsert, insert_blobs};
use super::commit::{NewVersion, insert_versions};
use super::error::TreeError;
use super::model::{EntryRow, InodeKind, InodeRow, Place, Token};
use super::namespace::{entries, inodes, insert_entries, insert_inodes, named, new_inode, newest, result_of};
use super::plan::CommitPlan;
use super::refs::{Counters, PageRow, insert_pages};
use super::request::{Create, Mutation, Operation};
use super::sql::{self, Value};
use super::work::Work;
use crate::db::DbError;

/// Shorter runs gain nothing.
const RUN_MIN: usize = 4;
const ONE: Counters = Counters { refs: 1, live: 1 };

/// A mutation of the right shape.
pub(super) struct SmallFile<'a> {
    pub(super) txn: TxnId,
    time_ns: Option<i64>,
    create: &'a Create,
    plan: &'a CommitPlan,
}

/// The mutations at the beginning of `mutations` that have the right shape, were not done before and do not repeat each other.
pub(super) fn run_of<'a>(
    mutations: &'a [Result<Mutation, pb::MutationResult>],
    done: &HashMap<TxnId, pb::MutationResult>,
) -> Vec<SmallFile<'a>> {
    let mut seen = HashSet::new();
    let run = mutations.iter().map_while(|mutation| {
        let mutation = mutation.as_ref().ok()?;
        let fresh = !done.contains_key(&mutation.txn) && seen.insert(mutation.txn);
        shape(mutation).filter(|_| fresh)
    });
    run.collect()
}

fn shape(mutation: &Mutation) -> Option<SmallFile<'_>> {
    let [Operation::Create(create), Operation::Commit(plan)] = mutation.operations.as_slice() else { return None };
    let simple = create.kind == InodeKind::File
        && plan.inode == create.inode
        && plan.base == 0
        && plan.pages.len() == 1
        && plan.reused.is_empty()
        && plan.upload.segments.is_empty()
        && plan.staged.is_none()
        && plan.used.len() == plan.upload.blobs.len()
        && plan.upload.blobs.values().all(|blob| matches!(blob.place, Place::Inline(_)));
    simple.then_some(SmallFile { txn: mutation.txn, time_ns: mutation.time_ns, create, plan })
}

/// Does a whole run, or nothing.
pub(super) async fn try_run(
    work: &mut Work<'_>,
    run: &[SmallFile<'_>],
    writers: &Arc<WriterList>,
) -> Result<Option<Vec<pb::MutationResult>>, TreeError> {
    if run.len() < RUN_MIN
        || !may_sign(work, run, writers)
        || !ids_are_free(work, run).await?
        || !names_are_free(work, run).await?
    {
        return Ok(None);
    }
    let bytes: u64 = run.iter().flat_map(|file| file.plan.upload.blobs.values()).map(|blob| blob.length).sum();
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    work.bucket.used_bytes += bytes;
    match work.check_quota().await {
        Ok(()) => {}
        Err(TreeError::Refused(_)) => {
            work.bucket.used_bytes -= bytes;
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    write(work, run).await.map(Some)
}

/// Every file makes two changes, and its writer must be allowed to sign the second.
fn may_sign(work: &Work<'_>, run: &[SmallFile<'_>], writers: &WriterList) -> bool {
    let (list, first) = (writers.len() as u64, work.next_sequence());
    list == work.bucket.writers
        && run.iter().zip(0_u64..).all(|(file, index)| {
            let sequence = first + index * 2 + 1;
            file.plan.may_make(sequence) && writers.may_sign(file.plan.writer, sequence).is_some()
        })
}

async fn ids_are_free(work: &mut Work<'_>, run: &[SmallFile<'_>]) -> Result<bool, DbError> {
    let inode_ids: Vec<[u8; 16]> = run.iter().map(|file| file.create.inode.0).collect();
    let blob_ids: Vec<[u8; 16]> =
        run.iter().flat_map(|file| file.plan.upload.blobs.keys()).map(|blob| blob.0).collect();
    let page_ids: Vec<[u8; 32]> = run.iter().flat_map(|file| &file.plan.pages).map(|page| page.id.0).collect();
    let distinct = all_distinct(&inode_ids) && all_distinct(&blob_ids) && all_distinct(&page_ids);
    let values = [Value::Bytes(&work.bucket.id.0)];
    let conn = &mut *work.conn;
    Ok(distinct
        && sql::fetch_in(conn, "SELECT 1 FROM inode WHERE bucket = $1 AND id IN (", ")", &values, &inode_ids)
            .await?
            .is_empty()
        && sql::fetch_in(conn, "SELECT 1 FROM blob WHERE bucket = $1 AND id IN (", ")", &values, &blob_ids)
            .await?
            .is_empty()
        && sql::fetch_in(conn, "SELECT 1 FROM extent_page WHERE bucket = $1 AND id IN (", ")", &values, &page_ids)
            .await?
            .is_empty())
}

fn all_distinct<K: std::hash::Hash + Eq>(keys: &[K]) -> bool {
    let mut seen = HashSet::with_capacity(keys.len());
    keys.iter().all(|key| seen.insert(key))
}

async fn names_are_free(work: &mut Work<'_>, run: &[SmallFile<'_>]) -> Result<bool, DbError> {
    let mut by_directory: HashMap<InodeId, Vec<Token>> = HashMap::new();
    for file in run {
        by_directory.entry(file.create.directory).or_default().extend_from_slice(&file.create.names);
    }
    let directories: Vec<InodeId> = by_directory.keys().copied().collect();
    let found = inodes(work.conn, work.bucket.id, &directories).await?;
    let usable =
        |directory: &InodeId| found.get(directory).is_some_and(|inode| inode.is_directory() && inode.deleted_ns == 0);
    if !directories.iter().all(usable) {
        return Ok(false);
    }
    let is_newest = |file: &SmallFile<'_>| {
        let directory = found.get(&file.create.directory);
        directory.zip(file.create.names.last()).is_some_and(|(inode, name)| name.epoch >= inode.key_epoch)
    };
    if !run.iter().all(is_newest) {
        return Ok(false);
    }
    for (directory, tokens) in by_directory {
        if !all_distinct(&tokens) || !entries(work.conn, work.bucket.id, directory, &tokens).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn write(work: &mut Work<'_>, run: &[SmallFile<'_>]) -> Result<Vec<pb::MutationResult>, TreeError> {
    let (bucket, now) = (work.bucket.id, work.now);
    let mut results = Vec::with_capacity(run.len());
    let (mut inode_rows, mut entry_rows) = (Vec::with_capacity(run.len()), Vec::with_capacity(run.len()));
    let (mut page_rows, mut blob_rows) = (Vec::with_capacity(run.len()), Vec::with_capacity(run.len()));
    let mut versions: Vec<NewVersion<'_>> = Vec::with_capacity(run.len());
    let mut touched: HashMap<InodeId, i64> = HashMap::new();
    for SmallFile { create, plan, time_ns, .. } in run {
        let stamp = time_ns.unwrap_or(now);
        touched.insert(create.directory, stamp);
        let created = new_inode(create, now);
        let entry = EntryRow {
            directory: create.directory,
            token: newest(&create.names)?.clone(),
            child: create.inode,
            kind: create.kind,
            wrapped_key: create.wrapped_key.clone(),
            version: work.next_sequence(),
        };
        work.record(named(Kind::Created, &entry));
        let committed = InodeRow {
            size: plan.size,
            version: 1,
            root_page: plan.root,
            mtime_ns: plan.mtime_ns,
            ctime_ns: created.ctime_ns.max(stamp),
            ..created.clone()
        };
        let sequence = work.record(of_inode(Kind::Content, &committed));
        versions.push(NewVersion { plan, sequence });
        let content = pb::OperationResult { inode: Some(committed.to_pb()), ..pb::OperationResult::default() };
        results.push(pb::MutationResult {
            operations: vec![result_of(&entry, &created), content],
            ..pb::MutationResult::default()
        });
        for page in &plan.pages {
            let end = page.page.extents().last().map_or(0, cyx_core::extent::Extent::end);
            page_rows.push(PageRow::new(page, end, ONE));
        }
        blob_rows.extend(plan.upload.blobs.values().map(|blob| BlobInsert { blob, counters: ONE, staged: None }));
        inode_rows.push(committed);
        entry_rows.push(entry);
    }
    work.bucket.files += i64::try_from(run.len()).unwrap_or(i64::MAX);
    let inserted = insert_inodes(work.conn, bucket, &inode_rows).await?;
    let entered = insert_entries(work.conn, bucket, &entry_rows).await?;
    if inserted != run.len() as u64 || entered != run.len() as u64 {
        return Err(DbError::Corrupt("rows appeared in a locked bucket").into());
    }
    insert_pages(work.conn, &bucket.0, &page_rows).await?;
    insert_blobs(work.conn, &bucket.0, &blob_rows).await?;
    insert_versions(work.conn, bucket, &versions, now).await?;
    for (directory, stamp) in touched {
        work.stamp = stamp;
        work.touch_directory(directory, 0).await?;
    }
    Ok(results)
}
