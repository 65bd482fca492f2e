//! The short way for runs of new inodes.
//!
//! A mutation of the shape *create an inode*, or *create a file and commit its first version with one leaf page and inline blobs*, needs no
//! counters of its own: what it writes is new and refers to nothing else but the directory it lies in. A run of them, of one caller or of many,
//! is written with one statement per table, and what the rows would collide with is found by writing them. If anything is unusual about a
//! run (a name that is taken, an id in use, a quota that may not suffice) nothing of it stays: the caller tries shorter runs and sends what
//! is left through the general path, which decides and explains. Both ways leave the same rows and give the same answers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cyx_core::extent::PageId;
use cyx_core::ids::{BlobId, InodeId, TxnId};
use cyx_core::writers::WriterList;
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;

use super::apply::Item;
use super::attributes::of_inode;
use super::blobs::{BlobInsert, insert_blobs};
use super::commit::{NewVersion, insert_versions};
use super::error::TreeError;
use super::model::{EntryRow, InodeKind, InodeRow, Place, Token};
use super::namespace::{entries, inodes, insert_entries, insert_inodes, named, new_inode, newest, result_of};
use super::plan::CommitPlan;
use super::refs::{Counters, PageRow, insert_pages};
use super::request::{Create, Operation};
use super::sql::{self, Value};
use super::work::{Actor, Work};
use crate::db::DbError;

/// A shorter run gains nothing.
pub(super) const RUN_MIN: usize = 2;
const ONE: Counters = Counters { refs: 1, live: 1 };

/// A mutation of the right shape.
pub(super) struct NewChild<'a> {
    pub(super) txn: TxnId,
    actor: Actor,
    writers: &'a Arc<WriterList>,
    time_ns: Option<i64>,
    create: &'a Create,
    /// Its first version, if it comes with one.
    content: Option<&'a CommitPlan>,
}

/// What became of one.
pub(super) struct Made {
    pub(super) result: pb::MutationResult,
    /// Number of its last change.
    pub(super) sequence: u64,
}

/// What the mutations of a run bring. None of it may come twice, and none may lie in a directory that the run makes.
#[derive(Default)]
struct Brought<'a> {
    txns: HashSet<TxnId>,
    inodes: HashSet<InodeId>,
    names: HashSet<(InodeId, &'a Token)>,
    blobs: HashSet<BlobId>,
    pages: HashSet<PageId>,
}

impl<'a> Brought<'a> {
    fn takes(&mut self, child: &NewChild<'a>) -> bool {
        let NewChild { txn, create, content, .. } = *child;
        self.txns.insert(txn)
            && !self.inodes.contains(&create.directory)
            && self.inodes.insert(create.inode)
            && create.names.iter().all(|name| self.names.insert((create.directory, name)))
            && content.is_none_or(|plan| {
                plan.upload.blobs.keys().all(|blob| self.blobs.insert(*blob))
                    && plan.pages.iter().all(|page| self.pages.insert(page.id))
            })
    }
}

/// The mutations at the beginning of `items`, at most `most`, that have the right shape, were not done before and do not collide with each other.
pub(super) fn run_of<'a>(
    items: &[Item<'a>],
    done: &HashMap<TxnId, pb::MutationResult>,
    most: usize,
) -> Vec<NewChild<'a>> {
    let mut brought = Brought::default();
    let run = items.iter().take(most).map_while(|item| {
        let child = shape(item)?;
        (!done.contains_key(&child.txn) && brought.takes(&child)).then_some(child)
    });
    run.collect()
}

fn shape<'a>(item: &Item<'a>) -> Option<NewChild<'a>> {
    let mutation = item.mutation.as_ref().ok().filter(|_| item.batch.fast)?;
    let (create, content) = match mutation.operations.as_slice() {
        [Operation::Create(create)] => (&**create, None),
        [Operation::Create(create), Operation::Commit(plan)] if is_first_version(create, plan) => {
            (&**create, Some(&**plan))
        }
        _ => return None,
    };
    Some(NewChild {
        txn: mutation.txn,
        actor: item.batch.actor,
        writers: &item.batch.writers,
        time_ns: mutation.time_ns,
        create,
        content,
    })
}

fn is_first_version(create: &Create, plan: &CommitPlan) -> bool {
    create.kind == InodeKind::File
        && plan.inode == create.inode
        && plan.base == 0
        && plan.pages.len() == 1
        && plan.reused.is_empty()
        && plan.upload.segments.is_empty()
        && plan.staged.is_none()
        && plan.used.len() == plan.upload.blobs.len()
        && plan.upload.blobs.values().all(|blob| matches!(blob.place, Place::Inline(_)))
}

/// Does a whole run, or nothing.
pub(super) async fn try_run(work: &mut Work<'_>, run: &[NewChild<'_>]) -> Result<Option<Vec<Made>>, TreeError> {
    if run.len() < RUN_MIN || !may_sign(work, run) || !directories_take(work, run).await? {
        return Ok(None);
    }
    let mark = work.mark().await?;
    if has_room(work, run).await?
        && let Some(made) = write(work, run).await?
    {
        work.keep().await?;
        return Ok(Some(made));
    }
    work.undo(mark).await?;
    Ok(None)
}

/// A file with content makes two changes, and its writer must be allowed to sign the second.
fn may_sign(work: &Work<'_>, run: &[NewChild<'_>]) -> bool {
    let mut sequence = work.next_sequence();
    run.iter().all(|child| {
        sequence += 1;
        child.content.is_none_or(|plan| {
            let list = child.writers;
            let allowed = list.len() as u64 == work.bucket.writers
                && plan.may_make(sequence)
                && list.may_sign(plan.writer, sequence).is_some();
            sequence += 1;
            allowed
        })
    })
}

/// Whether all directories are there, every name has a token of its directory's newest key, and no name is taken under an older one.
async fn directories_take(work: &mut Work<'_>, run: &[NewChild<'_>]) -> Result<bool, DbError> {
    let directories = sql::distinct(run.iter().map(|child| child.create.directory));
    let found = inodes(work.conn, work.bucket.id, &directories).await?;
    let takes = |child: &NewChild<'_>| {
        let directory = found.get(&child.create.directory);
        directory
            .zip(child.create.names.last())
            .is_some_and(|(inode, name)| inode.is_directory() && inode.deleted_ns == 0 && name.epoch >= inode.key_epoch)
    };
    if !run.iter().all(takes) {
        return Ok(false);
    }
    let mut older: HashMap<InodeId, Vec<Token>> = HashMap::new();
    for child in run {
        let names = child.create.names.split_last().map_or(&[][..], |(_, older)| older);
        if !names.is_empty() {
            older.entry(child.create.directory).or_default().extend_from_slice(names);
        }
    }
    for (directory, tokens) in older {
        // Of other epochs than asked for some may be found. That is rare, and the general path looks closer.
        if !entries(work.conn, work.bucket.id, directory, &tokens).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Counts the bytes of a run; whether the quota has room for them.
async fn has_room(work: &mut Work<'_>, run: &[NewChild<'_>]) -> Result<bool, TreeError> {
    let blobs = run.iter().filter_map(|child| child.content).flat_map(|plan| plan.upload.blobs.values());
    let bytes: u64 = blobs.map(|blob| blob.length).sum();
    if bytes == 0 {
        return Ok(true);
    }
    work.bucket.used_bytes += i64::try_from(bytes).unwrap_or(i64::MAX);
    match work.check_quota().await {
        Ok(()) => Ok(true),
        Err(TreeError::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The rows of a run.
#[derive(Default)]
struct Rows<'a> {
    inodes: Vec<InodeRow>,
    entries: Vec<EntryRow>,
    pages: Vec<PageRow>,
    blobs: Vec<BlobInsert<'a>>,
    versions: Vec<NewVersion<'a>>,
    /// Directories with the time and the subdirectories they got.
    touched: HashMap<InodeId, (i64, i64)>,
}

/// Writes a run; `None` if something of it is there already.
async fn write(work: &mut Work<'_>, run: &[NewChild<'_>]) -> Result<Option<Vec<Made>>, TreeError> {
    let mut rows = Rows::default();
    let mut made = Vec::with_capacity(run.len());
    for child in run {
        made.push(rows.add(work, child)?);
    }
    let (bucket, now) = (work.bucket.id, work.now);
    let is_new = insert_entries(work.conn, bucket, &rows.entries).await? == rows.entries.len() as u64
        && insert_inodes(work.conn, bucket, &rows.inodes).await? == rows.inodes.len() as u64
        && insert_pages(work.conn, &bucket.0, &rows.pages).await? == rows.pages.len() as u64
        && insert_blobs(work.conn, &bucket.0, &rows.blobs).await? == rows.blobs.len() as u64;
    if !is_new {
        return Ok(None);
    }
    insert_versions(work.conn, bucket, &rows.versions, now).await?;
    touch(work, rows.touched).await?;
    Ok(Some(made))
}

impl<'a> Rows<'a> {
    fn add(&mut self, work: &mut Work<'_>, child: &NewChild<'a>) -> Result<Made, TreeError> {
        let NewChild { actor, time_ns, create, content, .. } = *child;
        work.actor = actor;
        let stamp = time_ns.unwrap_or(work.now);
        let touched = self.touched.entry(create.directory).or_default();
        *touched = (stamp, touched.1 + i64::from(create.kind == InodeKind::Directory));
        let created = new_inode(create, work.now);
        let entry = EntryRow {
            directory: create.directory,
            token: newest(&create.names)?.clone(),
            child: create.inode,
            kind: create.kind,
            wrapped_key: create.wrapped_key.clone(),
            version: work.next_sequence(),
        };
        let mut sequence = work.record(named(Kind::Created, &entry));
        work.bucket.files += i64::from(create.kind == InodeKind::File);
        let mut operations = vec![result_of(&entry, &created)];
        let inode = match content {
            None => created,
            Some(plan) => {
                let committed = InodeRow {
                    size: plan.size,
                    version: 1,
                    root_page: plan.root,
                    mtime_ns: plan.mtime_ns,
                    ctime_ns: created.ctime_ns.max(stamp),
                    ..created
                };
                sequence = work.record(of_inode(Kind::Content, &committed));
                operations
                    .push(pb::OperationResult { inode: Some(committed.to_pb()), ..pb::OperationResult::default() });
                self.versions.push(NewVersion { plan, sequence });
                for page in &plan.pages {
                    let end = page.page.extents().last().map_or(0, cyx_core::extent::Extent::end);
                    self.pages.push(PageRow::new(page, end, ONE));
                }
                let blobs = plan.upload.blobs.values();
                self.blobs.extend(blobs.map(|blob| BlobInsert { blob, counters: ONE, staged: None }));
                committed
            }
        };
        self.inodes.push(inode);
        self.entries.push(entry);
        Ok(Made { result: pb::MutationResult { operations, ..pb::MutationResult::default() }, sequence })
    }
}

/// Directories got entries; those that got them at the same time are written together.
async fn touch(work: &mut Work<'_>, touched: HashMap<InodeId, (i64, i64)>) -> Result<(), DbError> {
    let mut alike: HashMap<(i64, i64), Vec<[u8; 16]>> = HashMap::new();
    for (directory, how) in touched {
        alike.entry(how).or_default().push(directory.0);
    }
    let head = "UPDATE inode SET mtime_ns = $2, ctime_ns = $2, nlink = nlink + $3 WHERE bucket = $1 AND id IN (";
    for ((stamp, subdirectories), keys) in alike {
        let values = [Value::Bytes(&work.bucket.id.0), Value::Int(stamp), Value::Int(subdirectories)];
        sql::execute_in(work.conn, head, ")", &values, &keys).await?;
    }
    Ok(())
}
