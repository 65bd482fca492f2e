//! Files and directories up.
//!
//! Directories are read one after the other, each with one listing of what the bucket has there; missing ones are made a
//! directory at a time. Small files gather into batches, large ones go by themselves; both run beside the reading.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::InodeId;
use cyx_core::units::PACK_FILE_MAX;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;
use tokio::task::JoinSet;

use self::sending::{Outcome, Outcomes, large, small};
use super::walk::{Local, LocalKind, Tree, below, has_wanted, read_folder};
use super::{SharedFilter, Summary, stops_all};
use crate::error::{Error, Result};
use crate::transfer::coded::{blocking, joined};
use crate::transfer::put::Target;
use crate::transfer::{Condition, FileOutcome, OnConflict, Place, Progress, Put, PutOptions, Uploads};
use crate::tree::change::{NewKind, RemoveOptions, attributes_now, mutation, remove_operation};
use crate::tree::path::TreePath;
use crate::tree::types::{Directory, Located};

mod sending;

/// Small files of one batch.
const BATCH_FILES: usize = 500;
/// Their plain bytes.
const BATCH_BYTES: u64 = 5 << 20;
/// Batches and large files under way.
const AT_A_TIME: usize = 4;

/// How files and directories are uploaded.
#[derive(Debug, Clone, Default)]
pub struct UploadOptions {
    /// What must be true for each file.
    pub condition: Condition,
    /// If somebody else commits the same file meanwhile.
    pub on_conflict: OnConflict,
    /// Not acknowledged before every shard is durable.
    pub all_shards: bool,
    /// Contents are compared, not sizes and times, to find what is unchanged.
    pub checksum: bool,
    /// Nothing is uploaded.
    pub dry_run: bool,
    /// [`Summary::uploaded`] is wanted.
    pub list_uploaded: bool,
}

impl Uploads {
    /// Uploads files and directories, each to the path beside it. Directories on the way there are made.
    ///
    /// # Errors
    /// None of its own: everything is in the summary.
    pub async fn upload(
        &self,
        items: Vec<(PathBuf, TreePath)>,
        options: UploadOptions,
        filter: SharedFilter,
        progress: Arc<dyn Progress>,
    ) -> Summary {
        let mut run = Run {
            uploads: self.clone(),
            options,
            filter,
            progress,
            summary: Summary::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            jobs: JoinSet::new(),
            open: BTreeSet::new(),
            times: Vec::new(),
        };
        let named: Vec<PathBuf> = items.iter().map(|(path, _)| path.clone()).collect();
        let mut through = 0;
        if let Err(error) = run.all(items, &mut through).await {
            run.stop(error, &named[through..]);
        }
        run.summary
    }

    /// Where a file of this path goes, and what is there now. Directories on the way are made.
    ///
    /// # Errors
    /// [`Error::NotDirectory`], [`Error::IsDirectory`] for the root; network errors.
    pub async fn place(&self, path: &TreePath) -> Result<Place> {
        let (above, name) = path.split().ok_or_else(|| Error::IsDirectory("the root of a bucket".to_owned()))?;
        let directory = self.bucket().make_directories(&above).await?;
        let found = self.bucket().lookup_one(&directory, name).await?;
        Ok(Place { directory, name: name.to_vec(), found })
    }
}

/// A file to be uploaded.
struct Candidate {
    /// Shown to people.
    path: Vec<u8>,
    local: Local,
    size: u64,
    place: Place,
}

struct Run {
    uploads: Uploads,
    options: UploadOptions,
    filter: SharedFilter,
    progress: Arc<dyn Progress>,
    summary: Summary,
    batch: Vec<Candidate>,
    batch_bytes: u64,
    jobs: JoinSet<Result<Outcomes>>,
    /// Files that were found and have no outcome yet.
    open: BTreeSet<Vec<u8>>,
    /// Directories whose time is set at the end, because whatever is made in one changes it, and links of which only the time differs.
    times: Vec<Time>,
}

struct Time {
    /// Shown to people.
    path: Vec<u8>,
    id: InodeId,
    mtime_ns: i64,
}

/// A directory of which the bucket has, or will have, the same.
struct Pair {
    tree: Tree,
    local: PathBuf,
    /// Shown to people, and what the filter sees below `named`.
    shown: Vec<u8>,
    relative: Vec<u8>,
    /// `None` in a dry run for a directory that does not exist.
    remote: Option<Directory>,
    is_new: bool,
    /// When the local one was changed; `None` for a bucket's root, which has no time of its own.
    mtime_ns: Option<i64>,
}

/// What operations make.
enum New {
    Folder(Pair),
    /// Absent in a dry run in a directory that does not exist.
    Link(Option<Put>),
}

impl Run {
    /// Takes over everything, and counts the items that were looked through.
    async fn all(&mut self, items: Vec<(PathBuf, TreePath)>, through: &mut usize) -> Result<()> {
        for (path, target) in items {
            let local = {
                let path = path.clone();
                blocking(move || Local::at(&path)).await
            };
            let shown = path.as_os_str().as_encoded_bytes().to_vec();
            let result = match local {
                Ok(local) if local.kind == LocalKind::Folder => self.tree(local, shown.clone(), &target).await,
                Ok(local) => self.single(local, shown.clone(), &target).await,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.fail(shown, error)?;
            }
            *through += 1;
        }
        self.flush().await?;
        while let Some(done) = self.jobs.join_next().await {
            self.absorb(joined(done)?)?;
        }
        self.set_times().await
    }

    /// Gives directories and links the times of the local ones.
    async fn set_times(&mut self) -> Result<()> {
        let times = std::mem::take(&mut self.times);
        if times.is_empty() {
            return Ok(());
        }
        let change = |time: &Time| {
            let (inode, mtime_ns) = (bytes_of(time.id), Some(time.mtime_ns));
            let change = pb::SetAttributes { inode, mtime_ns, ..pb::SetAttributes::default() };
            mutation(vec![pb::Operation { operation: Some(Op::SetAttributes(change)) }])
        };
        let done = self.uploads.bucket().apply(times.iter().map(change).collect()).await?;
        for (time, result) in times.into_iter().zip(done) {
            match result {
                // Somebody deleted it meanwhile.
                Err(error) if error.code() == ErrorCode::NotFound => {}
                result => result.map(drop).or_else(|error| self.fail(time.path, error))?,
            }
        }
        Ok(())
    }

    async fn single(&mut self, local: Local, shown: Vec<u8>, target: &TreePath) -> Result<()> {
        let place = if self.options.dry_run {
            let (_, name) = target.split().ok_or_else(|| Error::IsDirectory("the root of a bucket".to_owned()))?;
            let found = self.uploads.bucket().try_resolve(target).await?;
            Place { directory: self.uploads.bucket().root_directory(), name: name.to_vec(), found }
        } else {
            self.uploads.place(target).await?
        };
        match local.kind {
            LocalKind::File { size } => self.file(Candidate { path: shown, size, local, place }).await,
            LocalKind::Folder | LocalKind::Symlink { .. } | LocalKind::Special => {
                Err(Error::invalid(format!("{} is not a file", local.path.display())))
            }
        }
    }

    async fn tree(&mut self, local: Local, shown: Vec<u8>, target: &TreePath) -> Result<()> {
        let bucket = self.uploads.bucket().clone();
        let tree = {
            let path = local.path.clone();
            blocking(move || Tree::open(&path)).await?
        };
        let (remote, is_new) = if self.options.dry_run {
            match bucket.open_directory(target).await {
                Ok(directory) => (Some(directory), false),
                Err(Error::NotFound(_)) => (None, true),
                Err(error) => return Err(error),
            }
        } else {
            (Some(bucket.make_directories_as(target, local.mode).await?), false)
        };
        let mtime_ns = (!target.is_root()).then_some(local.mtime_ns);
        let mut waiting = vec![Pair { tree, local: local.path, shown, relative: Vec::new(), remote, is_new, mtime_ns }];
        while let Some(pair) = waiting.pop() {
            let shown = pair.shown.clone();
            match self.directory(pair).await {
                // The last one pushed is the next one read: in the order of the names.
                Ok(below) => waiting.extend(below.into_iter().rev()),
                Err(error) => self.fail(shown, error)?,
            }
        }
        Ok(())
    }

    /// Takes over what is in one directory, and says which directories are below it.
    async fn directory(&mut self, pair: Pair) -> Result<Vec<Pair>> {
        let (tree, path) = (pair.tree.clone(), pair.local.clone());
        let entries = blocking(move || read_folder(&tree, &path)).await?;
        let mut there = self.there(&pair).await?;
        let mut below_it = Vec::new();
        let mut operations: Vec<(Vec<u8>, Vec<pb::Operation>, New)> = Vec::new();
        let mut gains = false;
        for entry in entries {
            let local = match entry {
                Ok(local) => local,
                Err((name, error)) => {
                    self.fail(below(&pair.shown, &name), error)?;
                    continue;
                }
            };
            let (shown, relative) = (below(&pair.shown, &local.name), below(&pair.relative, &local.name));
            let found = match there.remove(&local.name) {
                Some(Err(error)) => {
                    self.fail(shown, error)?;
                    continue;
                }
                Some(Ok(located)) => Some(located),
                None => None,
            };
            let wanted = match local.kind {
                LocalKind::Folder if self.filter.is_partial() && self.filter.enters(&relative) => {
                    let (path, relative, filter) = (local.path.clone(), relative.clone(), Arc::clone(&self.filter));
                    let tree = pair.tree.clone();
                    blocking(move || Ok(has_wanted(&tree, path, relative, &*filter))).await?
                }
                LocalKind::Folder => self.filter.enters(&relative),
                _ => self.filter.takes(&relative),
            };
            if !wanted {
                continue;
            }
            match &local.kind {
                LocalKind::Folder => match self.folder(&pair, &local, found, shown.clone(), relative) {
                    Ok((Some(operation), new)) => operations.push((shown, vec![operation], New::Folder(new))),
                    Ok((None, known)) => below_it.push(known),
                    Err(error) => self.fail(shown, error)?,
                },
                LocalKind::Symlink { target } => match self.symlink(&pair, &local, target, found.as_ref()) {
                    Ok(Some((new, link))) => operations.push((shown, new, New::Link(link))),
                    Ok(None) => {
                        self.unchanged(&shown, 0);
                        self.remember_link_time(shown, &local, found.as_ref());
                    }
                    Err(error) => self.fail(shown, error)?,
                },
                LocalKind::File { size } => {
                    let size = *size;
                    let directory = pair.remote.clone().unwrap_or_else(|| self.uploads.bucket().root_directory());
                    gains |= found.as_ref().is_none_or(|found| found.kind() != pb::InodeKind::File);
                    let place = Place { directory, name: local.name.clone(), found };
                    if let Err(error) = self.file(Candidate { path: shown.clone(), size, local, place }).await {
                        self.fail(shown, error)?;
                    }
                }
                LocalKind::Special => {
                    self.summary.skipped += 1;
                    self.progress.ends(&shown, &FileOutcome::Skipped("it is neither a file nor a link".to_owned()));
                }
            }
        }
        self.remember_time(&pair, gains || !operations.is_empty());
        self.make(operations, &mut below_it).await?;
        below_it.sort_by(|a, b| a.relative.cmp(&b.relative));
        Ok(below_it)
    }

    /// Has the time of a directory set at the end, unless it has it and `gains` nothing.
    fn remember_time(&mut self, pair: &Pair, gains: bool) {
        let (Some(remote), Some(mtime_ns), false) = (&pair.remote, pair.mtime_ns, self.options.dry_run) else { return };
        let has = pair.is_new || remote.attributes.is_some_and(|attributes| attributes.mtime_ns == mtime_ns);
        if gains || !has {
            self.times.push(Time { path: pair.shown.clone(), id: remote.id, mtime_ns });
        }
    }

    /// Has the time of a link set at the end, if nothing else of it differs.
    fn remember_link_time(&mut self, path: Vec<u8>, local: &Local, found: Option<&Located>) {
        let stays = self.options.dry_run || self.options.condition == Condition::IfAbsent;
        let (mtime_ns, Some(found), false) = (local.mtime_ns, found, stays) else { return };
        if found.inode.attributes.as_ref().is_none_or(|attributes| attributes.mtime_ns != mtime_ns) {
            self.times.push(Time { path, id: found.id, mtime_ns });
        }
    }

    /// What the bucket has in a directory, by name.
    async fn there(&self, pair: &Pair) -> Result<HashMap<Vec<u8>, Result<Located>>> {
        let mut there = HashMap::new();
        let Some(directory) = pair.remote.as_ref().filter(|_| !pair.is_new) else { return Ok(there) };
        let mut listing = self.uploads.bucket().read(directory)?;
        while let Some(batch) = listing.next_batch().await? {
            for located in batch {
                match located {
                    Ok(located) => {
                        there.insert(located.name.clone(), Ok(located));
                    }
                    // Its name is not known, so it can be in nobody's way.
                    Err(error) => tracing::warn!(%error, "an entry was left out"),
                }
            }
        }
        Ok(there)
    }

    fn folder(
        &self,
        pair: &Pair,
        local: &Local,
        found: Option<Located>,
        shown: Vec<u8>,
        relative: Vec<u8>,
    ) -> Result<(Option<pb::Operation>, Pair)> {
        let mtime_ns = Some(local.mtime_ns);
        let (tree, path) = (pair.tree.clone(), local.path.clone());
        let known = |remote, is_new| Pair { tree, local: path, shown, relative, remote, is_new, mtime_ns };
        match (found, &pair.remote) {
            (Some(located), _) => match located.directory() {
                Some(directory) => Ok((None, known(Some(directory), false))),
                None => Err(Error::NotDirectory(crate::tree::path::shown(&local.name))),
            },
            (None, Some(above)) => {
                let mut attributes = attributes_now(local.mode);
                attributes.mtime_ns = local.mtime_ns;
                let new = self.uploads.bucket().prepare(above, &local.name, NewKind::Directory, attributes)?;
                Ok((Some(new.operation.clone()), known(Some(new.directory()), true)))
            }
            (None, None) => Ok((Some(pb::Operation::default()), known(None, true))),
        }
    }

    fn symlink(
        &self,
        pair: &Pair,
        local: &Local,
        target: &[u8],
        found: Option<&Located>,
    ) -> Result<Option<(Vec<pb::Operation>, Option<Put>)>> {
        let (mut operations, mut link) = (Vec::new(), None);
        match found {
            Some(located) if located.is_directory() => {
                return Err(Error::IsDirectory(crate::tree::path::shown(&local.name)));
            }
            Some(located) if located.kind() == pb::InodeKind::Symlink && located.link_target()? == target => {
                return Ok(None);
            }
            Some(_) if self.options.condition == Condition::IfAbsent => {
                return Err(Error::AlreadyExists(crate::tree::path::shown(&local.name)));
            }
            Some(located) => operations.push(remove_operation(located, RemoveOptions::default())?),
            None => {}
        }
        if let Some(directory) = &pair.remote {
            let mut attributes = attributes_now(0o777);
            attributes.mtime_ns = local.mtime_ns;
            let kind = NewKind::Symlink(target);
            let new = self.uploads.bucket().prepare(directory, &local.name, kind, attributes)?;
            link = Some(Put::of_link(new.id, local.name.clone()));
            operations.push(new.operation);
        }
        Ok(Some((operations, link)))
    }

    /// Makes directories and links, and says which directories may be read now.
    async fn make(
        &mut self,
        operations: Vec<(Vec<u8>, Vec<pb::Operation>, New)>,
        below_it: &mut Vec<Pair>,
    ) -> Result<()> {
        if operations.is_empty() {
            return Ok(());
        }
        let results = if self.options.dry_run {
            operations.iter().map(|_| Ok(())).collect::<Vec<Result<()>>>()
        } else {
            let mutations = operations.iter().map(|(_, operations, _)| mutation(operations.clone())).collect();
            let done = self.uploads.bucket().apply(mutations).await?;
            done.into_iter().map(|result| result.map(drop)).collect()
        };
        for ((shown, _, new), result) in operations.into_iter().zip(results) {
            match (result, new) {
                (Ok(()), New::Folder(pair)) => {
                    self.summary.directories += 1;
                    below_it.push(pair);
                }
                (Ok(()), New::Link(link)) => {
                    self.summary.files += 1;
                    self.progress.ends(&shown, &FileOutcome::Done);
                    self.summary.uploaded.extend(link.filter(|_| self.options.list_uploaded).map(|link| (shown, link)));
                }
                (Err(error), _) => self.fail(shown, error)?,
            }
        }
        Ok(())
    }

    async fn file(&mut self, candidate: Candidate) -> Result<()> {
        let size = candidate.size;
        self.progress.found(1, size);
        self.open.insert(candidate.path.clone());
        // Also of a file that need not be sent: whoever asks for a condition wants to know whether it holds.
        if self.options.condition != Condition::Replace
            && let Err(error) = Target::decide(&candidate.place, self.options.condition)
        {
            return self.fail(candidate.path, error);
        }
        if !self.options.checksum && is_same(&candidate) {
            self.unchanged(&candidate.path, size);
            return Ok(());
        }
        if self.options.dry_run {
            self.summary.files += 1;
            self.summary.bytes += size;
            self.progress.ends(&candidate.path, &FileOutcome::Done);
            return Ok(());
        }
        let compares = self.options.checksum && candidate.place.found.as_ref().is_some_and(|it| it.inode.size == size);
        if size > PACK_FILE_MAX || compares {
            let job = large(self.uploads.clone(), candidate, self.put_options(), compares, Arc::clone(&self.progress));
            return self.begin(Box::pin(job)).await;
        }
        self.batch_bytes += size;
        self.batch.push(candidate);
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    fn put_options(&self) -> PutOptions {
        PutOptions {
            condition: self.options.condition,
            on_conflict: self.options.on_conflict.clone(),
            all_shards: self.options.all_shards,
            resumable: true,
            ..PutOptions::default()
        }
    }

    async fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let job = small(self.uploads.clone(), batch, self.put_options(), Arc::clone(&self.progress));
        self.begin(Box::pin(job)).await
    }

    async fn begin(&mut self, job: Pin<Box<dyn Future<Output = Result<Outcomes>> + Send>>) -> Result<()> {
        while self.jobs.len() >= AT_A_TIME {
            if let Some(done) = self.jobs.join_next().await {
                self.absorb(joined(done)?)?;
            }
        }
        self.jobs.spawn(job);
        Ok(())
    }

    fn absorb(&mut self, outcomes: Outcomes) -> Result<()> {
        let mut stop = None;
        for (path, size, outcome) in outcomes {
            match outcome {
                Outcome::Unchanged => self.unchanged(&path, size),
                Outcome::Put(Ok(put)) => {
                    self.open.remove(&path);
                    self.progress.ends(&path, &FileOutcome::Done);
                    self.summary.add_put(path, put, self.options.list_uploaded);
                }
                Outcome::Put(Err(error)) => {
                    if stops_all(&error) {
                        stop.get_or_insert_with(|| error.repeated());
                    }
                    self.add_failure(path, error);
                }
            }
        }
        stop.map_or(Ok(()), Err)
    }

    /// Ends early. What is not done by now has failed for the same reason: the files that were found, and what of those that were named was
    /// not looked through.
    fn stop(&mut self, error: Error, named: &[PathBuf]) {
        let mut left = std::mem::take(&mut self.open);
        left.extend(named.iter().map(|path| path.as_os_str().as_encoded_bytes().to_vec()));
        for path in left {
            self.add_failure(path, error.repeated());
        }
        self.summary.stopped = Some(error);
    }

    fn unchanged(&mut self, path: &[u8], size: u64) {
        self.open.remove(path);
        self.summary.unchanged += 1;
        self.progress.bytes(size);
        self.progress.ends(path, &FileOutcome::Unchanged);
    }

    fn fail(&mut self, path: Vec<u8>, error: Error) -> Result<()> {
        if stops_all(&error) {
            return Err(error);
        }
        self.add_failure(path, error);
        Ok(())
    }

    fn add_failure(&mut self, path: Vec<u8>, error: Error) {
        self.open.remove(&path);
        self.progress.ends(&path, &FileOutcome::Failed(error.to_string()));
        self.summary.add_failure(path, error);
    }
}

/// Whether a file's size and time are those of the version there is.
fn is_same(candidate: &Candidate) -> bool {
    candidate.place.found.as_ref().is_some_and(|located| {
        located.kind() == pb::InodeKind::File
            && located.inode.version > 0
            && located.inode.size == candidate.size
            && located.inode.attributes.as_ref().is_some_and(|there| there.mtime_ns == candidate.local.mtime_ns)
    })
}
