//! Files and directories down.
//!
//! Everything is made relative to open directories, one name at a time, and links are made but never followed: neither those
//! that come with the tree nor those that stand where it goes. Modes and times of directories are set last, because making
//! something in a directory changes its time.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyx_proto::meta::v1 as pb;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use self::one::{Done, One};
use super::folder::{Folder, is_special};
use super::walk::{Local, below};
use super::{SharedFilter, Summary, stops_all};
use crate::error::{Error, Result};
use crate::transfer::coded::{blocking, joined};
use crate::transfer::download::Run as Piece;
use crate::transfer::save::{AT_ONCE, Pace};
use crate::transfer::{FileOutcome, FileReader, Progress, Transfer, Uploads};
use crate::tree::path::TreePath;
use crate::tree::types::{Bucket, Directory, Located};

mod one;

/// Files under way; how many have memory is the engine's business.
const AT_A_TIME: usize = 16;
/// Files of at most this many bytes are small. Most of their time they wait for an answer or for the disk, so they go in batches: the server is asked
/// about a whole batch at once, and the disk makes a whole batch durable.
const SMALL: u64 = AT_ONCE;
/// Small files of a batch, and their bytes.
const BATCH_FILES: usize = 256;
const BATCH_BYTES: u64 = 4 << 20;
/// Batches under way: one is asked for while one is written and one made durable.
const BATCHES: usize = 3;

/// How files and directories are downloaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct DownloadOptions {
    /// Whatever exists already is left as it is.
    pub no_clobber: bool,
    /// Nothing is written.
    pub dry_run: bool,
}

impl Transfer {
    /// Downloads a file to the path `to`, or a directory with all it contains into the directory `to`, which is made.
    ///
    /// # Errors
    /// None of its own: everything is in the summary.
    pub async fn download(
        &self,
        bucket: &Bucket,
        from: &TreePath,
        to: &Path,
        options: DownloadOptions,
        filter: SharedFilter,
        progress: Arc<dyn Progress>,
    ) -> Summary {
        let run = Run {
            transfer: self.clone(),
            bucket: bucket.clone(),
            options,
            filter,
            progress,
            summary: Summary::default(),
            jobs: JoinSet::new(),
            batches: 0,
            files: 0,
            batch: Vec::new(),
            batch_bytes: 0,
            pace: Arc::default(),
            folders: Vec::new(),
            open: BTreeSet::new(),
            through: false,
        };
        run.all(from, to).await
    }
}

struct Run {
    transfer: Transfer,
    bucket: Bucket,
    options: DownloadOptions,
    filter: SharedFilter,
    progress: Arc<dyn Progress>,
    summary: Summary,
    jobs: JoinSet<Result<Finished>>,
    /// Jobs that are a batch, and others.
    batches: usize,
    files: usize,
    /// Small files that wait for others.
    batch: Vec<One>,
    batch_bytes: u64,
    pace: Arc<Pace>,
    /// Directories whose mode and time are still to be set.
    folders: Vec<Incomplete>,
    /// Files and directories that were found and have no outcome yet.
    open: BTreeSet<Vec<u8>>,
    /// What was named is found, and if it is a directory, what is directly in it.
    through: bool,
}

/// What a job has done.
struct Finished {
    batch: bool,
    files: Vec<Done>,
}

struct Incomplete {
    /// The names that lead to it.
    names: Vec<Vec<u8>>,
    attributes: Option<pb::Attributes>,
    target: Arc<Target>,
}

/// A directory that is still to be read.
struct Waiting {
    directory: Directory,
    target: Arc<Target>,
    names: Vec<Vec<u8>>,
}

/// Where a directory goes. It is made when it is opened.
#[derive(Default)]
struct Target {
    above: Option<(Arc<Target>, Vec<u8>)>,
    /// `None` in a dry run.
    folder: OnceCell<Option<Folder>>,
}

impl Target {
    fn below(self: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self { above: Some((Arc::clone(self), name.to_vec())), folder: OnceCell::new() })
    }

    async fn open(&self) -> Result<Option<Folder>> {
        let opening = || async {
            let Some((above, name)) = &self.above else { return Ok(None) };
            let Some(above) = Box::pin(above.open()).await? else { return Ok(None) };
            let name = name.clone();
            blocking(move || above.enter(&name)).await.map(Some)
        };
        self.folder.get_or_try_init(opening).await.cloned()
    }

    fn is_open(&self) -> bool {
        self.folder.initialized()
    }
}

impl Run {
    async fn all(mut self, from: &TreePath, to: &Path) -> Summary {
        if let Err(error) = self.begin(from, to).await {
            if stops_all(&error) {
                self.stop(error, from);
            } else {
                self.summary.add_failure(from.to_bytes(), error);
            }
        }
        self.summary
    }

    /// Ends early. What is not done by now has failed for the same reason: files that were found, directories of which not all is known, and what
    /// was named if that was not looked through.
    fn stop(&mut self, error: Error, from: &TreePath) {
        let mut left = std::mem::take(&mut self.open);
        if !self.through {
            left.insert(from.to_bytes());
        }
        for path in left {
            self.add_failure(path, error.repeated());
        }
        self.summary.stopped = Some(error);
    }

    async fn begin(&mut self, from: &TreePath, to: &Path) -> Result<()> {
        let located = if from.is_root() { None } else { Some(self.bucket.resolve(from).await?) };
        match located {
            Some(located) if !located.is_directory() => {
                let (folder, name) = place(to)?;
                let folder = open(folder).await?;
                self.through = true;
                self.entry(&folder, name, from.to_bytes(), located).await?;
                self.drain().await
            }
            located => {
                let directory = match &located {
                    Some(located) => located.directory().ok_or_else(|| Error::NotDirectory(from.to_string()))?,
                    None => self.bucket.root_directory(),
                };
                self.tree(directory, to).await
            }
        }
    }

    async fn tree(&mut self, directory: Directory, to: &Path) -> Result<()> {
        // A directory that was there before keeps what it has.
        let (mut is_new, attributes) = (false, directory.attributes);
        let root = if self.options.dry_run {
            None
        } else {
            let to = to.to_owned();
            let made = blocking(move || {
                let is_new = !to.exists();
                make_root(&to, is_new && attributes.is_some()).map_err(Error::local(&to))?;
                Ok((Folder::open(&to)?, is_new))
            });
            let (folder, made) = made.await?;
            is_new = made;
            Some(folder)
        };
        let target = Arc::new(Target { above: None, folder: OnceCell::from(root.clone()) });
        let mut waiting = vec![Waiting { directory, target, names: Vec::new() }];
        while let Some(next) = waiting.pop() {
            let path = next.names.join(&b'/');
            match self.directory(next).await {
                Ok(more) => {
                    self.open.remove(&path);
                    waiting.extend(more.into_iter().rev());
                }
                Err(error) => self.fail(path, error)?,
            }
            self.through = true;
        }
        self.drain().await?;
        // Those that nothing went into were not made.
        let folders: Vec<Incomplete> =
            std::mem::take(&mut self.folders).into_iter().filter(|folder| folder.target.is_open()).collect();
        self.summary.directories += folders.len() as u64;
        if let Some(root) = root {
            let mut folders: Vec<_> =
                folders.into_iter().filter_map(|folder| Some((folder.names, folder.attributes?))).collect();
            folders.extend(attributes.filter(|_| is_new).map(|attributes| (Vec::new(), attributes)));
            let special = folders.iter().filter(|(_, attributes)| is_special(attributes.mode));
            self.summary.special_modes += special.count() as u64;
            let failed = blocking(move || Ok(set_folders(&root, folders))).await?;
            for (path, error) in failed {
                self.fail(path, error)?;
            }
        }
        Ok(())
    }

    /// Takes over what is in one directory, and says which directories are below it.
    async fn directory(&mut self, waiting: Waiting) -> Result<Vec<Waiting>> {
        let Waiting { directory, target, names } = waiting;
        if !self.filter.is_partial() {
            target.open().await?;
        }
        if !names.is_empty() {
            let (names, attributes, target) = (names.clone(), directory.attributes, Arc::clone(&target));
            self.folders.push(Incomplete { names, attributes, target });
        }
        let mut more = Vec::new();
        let mut listing = self.bucket.read(&directory)?;
        while let Some(batch) = listing.next_batch().await? {
            for located in batch {
                let located = match located {
                    Ok(located) => located,
                    Err(error) => {
                        self.fail(below(&names.join(&b'/'), b"?"), error)?;
                        continue;
                    }
                };
                let mut deeper = names.clone();
                deeper.push(located.name.clone());
                let path = deeper.join(&b'/');
                if let Some(directory) = located.directory() {
                    if self.filter.enters(&path) {
                        self.open.insert(path);
                        more.push(Waiting { directory, target: target.below(&located.name), names: deeper });
                    }
                } else if self.filter.takes(&path) {
                    let name = located.name.clone();
                    let result = match target.open().await {
                        Ok(Some(folder)) => self.entry(&folder, name, path.clone(), located).await,
                        Ok(None) => self.would(&path, &located),
                        Err(error) => Err(error),
                    };
                    if let Err(error) = result {
                        self.fail(path, error)?;
                    }
                }
            }
        }
        more.sort_by(|a, b| a.names.cmp(&b.names));
        Ok(more)
    }

    fn would(&mut self, path: &[u8], located: &Located) -> Result<()> {
        self.summary.files += 1;
        self.summary.bytes += located.inode.size;
        self.progress.ends(path, &FileOutcome::Done);
        Ok(())
    }

    /// A file, a link or something special.
    async fn entry(&mut self, folder: &Folder, name: Vec<u8>, path: Vec<u8>, located: Located) -> Result<()> {
        if !matches!(located.kind(), pb::InodeKind::File | pb::InodeKind::Symlink) {
            self.summary.skipped += 1;
            self.progress.ends(&path, &FileOutcome::Skipped("it is neither a file nor a link".to_owned()));
            return Ok(());
        }
        if self.options.dry_run {
            return self.would(&path, &located);
        }
        self.progress.found(1, located.inode.size);
        self.open.insert(path.clone());
        let one = One {
            transfer: self.transfer.clone(),
            bucket: self.bucket.clone(),
            folder: folder.clone(),
            name,
            path,
            located,
            no_clobber: self.options.no_clobber,
            progress: Arc::clone(&self.progress),
        };
        if one.located.inode.size > SMALL {
            self.make_room(|run| run.files < AT_A_TIME).await?;
            self.files += 1;
            self.jobs.spawn(async move { Ok(Finished { batch: false, files: vec![one.done(None).await] }) });
            return Ok(());
        }
        self.batch_bytes += one.located.inode.size;
        self.batch.push(one);
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES {
            self.send_batch().await?;
        }
        Ok(())
    }

    /// Begins with the small files that wait.
    async fn send_batch(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.make_room(|run| run.batches < BATCHES).await?;
        self.batches += 1;
        self.batch_bytes = 0;
        let (batch, pace) = (std::mem::take(&mut self.batch), Arc::clone(&self.pace));
        self.jobs.spawn(async move { Ok(Finished { batch: true, files: one::all_of(batch, pace).await? }) });
        Ok(())
    }

    /// Waits until one more job may begin.
    async fn make_room(&mut self, has_room: impl Fn(&Self) -> bool) -> Result<()> {
        while !has_room(self) {
            if let Some(done) = self.jobs.join_next().await {
                self.absorb(done)?;
            }
        }
        Ok(())
    }

    async fn drain(&mut self) -> Result<()> {
        self.send_batch().await?;
        while let Some(done) = self.jobs.join_next().await {
            self.absorb(done)?;
        }
        Ok(())
    }

    fn absorb(&mut self, done: std::result::Result<Result<Finished>, tokio::task::JoinError>) -> Result<()> {
        let Finished { batch, files } = joined(done)?;
        let under_way = if batch { &mut self.batches } else { &mut self.files };
        *under_way -= 1;
        // All of them are counted, even if one of them stops the rest.
        files.into_iter().map(|done| self.count(done)).fold(Ok(()), Result::and)
    }

    fn count(&mut self, done: Done) -> Result<()> {
        let Done { path, bytes, liars, special, result } = done;
        for liar in liars {
            if !self.summary.liars.contains(&liar) {
                self.summary.liars.push(liar);
            }
        }
        match result {
            Ok(outcome) => {
                match outcome {
                    FileOutcome::Done => {
                        self.summary.files += 1;
                        self.summary.bytes += bytes;
                        self.summary.special_modes += u64::from(special);
                    }
                    FileOutcome::Unchanged => {
                        self.summary.unchanged += 1;
                        self.progress.bytes(bytes);
                    }
                    FileOutcome::Skipped(_) | FileOutcome::Failed(_) => self.summary.skipped += 1,
                }
                self.open.remove(&path);
                self.progress.ends(&path, &outcome);
                Ok(())
            }
            Err(error) => self.fail(path, error),
        }
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

/// Makes the directory that a tree goes into, and those above it. If it is `private` it is its owner's alone until its mode is set.
fn make_root(to: &Path, private: bool) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if private {
        if let Some(above) = to.parent() {
            std::fs::create_dir_all(above)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(to) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    std::fs::create_dir_all(to)
}

async fn open(folder: PathBuf) -> Result<Folder> {
    blocking(move || Folder::open(&folder)).await
}

/// The folder and the name of a path that a user named.
fn place(path: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let name = path.file_name().ok_or_else(|| Error::invalid(format!("{} is not a file name", path.display())))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder.to_owned(), name.as_bytes().to_vec()))
}

/// Sets modes and times, the deepest first.
fn set_folders(root: &Folder, mut folders: Vec<(Vec<Vec<u8>>, pb::Attributes)>) -> Vec<(Vec<u8>, Error)> {
    folders.sort_by_key(|(names, _)| std::cmp::Reverse(names.len()));
    let mut failed = Vec::new();
    for (names, attributes) in folders {
        let set = names
            .iter()
            .try_fold(root.clone(), |folder, name| folder.enter(name))
            .and_then(|folder| folder.set(Some(attributes.mode), Some(attributes.mtime_ns)));
        if let Err(error) = set {
            failed.push((names.join(&b'/'), error));
        }
    }
    failed
}

impl Uploads {
    /// Whether a local file has exactly the bytes of a file in the bucket.
    pub(crate) async fn has_same_content(&self, located: &Located, local: Local) -> Result<bool> {
        let reader = self.shared.transfer.open(self.bucket(), located).await?;
        let size = reader.size();
        let file = {
            let local = local.clone();
            blocking(move || {
                let file = local.open()?;
                let length = file.metadata().map_err(Error::local(&local.path))?.len();
                Ok((length == size).then(|| Arc::new(file)))
            })
        };
        let Some(file) = file.await? else { return Ok(false) };
        same_content(&reader, &file, &local.path).await
    }
}

async fn same_content(reader: &FileReader, file: &Arc<std::fs::File>, path: &Path) -> Result<bool> {
    let mut runs = reader.runs(0..reader.size());
    while let Some((range, run)) = runs.next().await? {
        let (file, path) = (Arc::clone(file), path.to_owned());
        if !blocking(move || has_run(&file, range, &run).map_err(Error::local(path))).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a file has these bytes at this place.
fn has_run(file: &std::fs::File, range: std::ops::Range<u64>, run: &Piece) -> std::io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let mut at = range.start;
    let mut bytes = vec![0; 256 * 1024];
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(bytes.len());
        match file.read_exact_at(&mut bytes[..len], at) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        let start = usize::try_from(at - range.start).unwrap_or(usize::MAX);
        let same = match run {
            Piece::Data(plain) => plain.get(start..start + len) == Some(&bytes[..len]),
            Piece::Hole => bytes[..len].iter().all(|byte| *byte == 0),
        };
        if !same {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}
