//! Directories and whole trees, as streams: nothing here holds more than a few thousand entries at a time.

use std::collections::VecDeque;

use cyx_core::ids::InodeId;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::error::{Error, IntegrityError, Result};
use crate::meta::MetaStream;
use crate::tree::change::is_stale;
use crate::tree::names::DirectoryKeys;
use crate::tree::path::TreePath;
use crate::tree::resolve::concerns_all;
use crate::tree::types::{Bucket, Directory, Item, Located};

/// Directories that a walk reads at the same time.
const AT_ONCE: usize = 8;
/// Items that wait for a slow reader of a walk.
const WAITING: usize = 4096;
/// Attempts to go on with a listing that was cut off, without an entry in between.
const ATTEMPTS: u32 = 5;

/// The entries of one directory, in no particular order.
pub struct Listing {
    bucket: Bucket,
    directory: InodeId,
    keys: DirectoryKeys,
    /// The keys were replaced since, and got anew.
    renewed: bool,
    stream: Option<MetaStream<pb::ReadDirectoryResponse>>,
    after: Option<pb::NameToken>,
    sequence: u64,
    backoff: Backoff,
    ended: bool,
}

impl Listing {
    /// The next entries, up to about a thousand; `None` at the end. An entry that is not authentic is an error in its place.
    /// A stream that breaks is taken up behind the last entry.
    ///
    /// # Errors
    /// As every call of [`crate::meta::MetaClient`]; `NOT_FOUND` if the directory is gone.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<Result<Located>>>> {
        while !self.ended {
            match self.next_message().await {
                Ok(Some(message)) => return self.take(message).map(Some),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.stream = None;
                    if !error.is_transient() || !self.backoff.wait().await {
                        self.ended = true;
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Bucket sequence at which the last batch was read; changes from there on are not in it.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    async fn next_message(&mut self) -> Result<Option<pb::ReadDirectoryResponse>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let request = pb::ReadDirectoryRequest {
                    bucket: bytes_of(self.bucket.id),
                    directory: bytes_of(self.directory),
                    after: self.after.clone(),
                    limit: 0,
                    key_epoch: self.keys.epoch(),
                };
                match self.bucket.client.meta.read_directory(request).await {
                    Err(error) if is_stale(&error) && !self.renewed => {
                        self.renewed = true;
                        let directory = self.bucket.renewed_directory(self.directory).await?;
                        self.keys = DirectoryKeys::new(&directory)?;
                        return Box::pin(self.next_message()).await;
                    }
                    stream => stream?,
                }
            }
        };
        let message = stream.next().await;
        self.stream = Some(stream);
        message
    }

    fn take(&mut self, message: pb::ReadDirectoryResponse) -> Result<Vec<Result<Located>>> {
        if message.entries.len() != message.inodes.len() {
            self.ended = true;
            return Err(IntegrityError::Mismatch("a directory has more entries than inodes, or fewer").into());
        }
        if let Some(last) = message.entries.last() {
            // A server that starts again and again from the same place would be listened to for ever.
            if last.name == self.after {
                self.ended = true;
                return Err(IntegrityError::Mismatch("a directory does not go on").into());
            }
            self.after.clone_from(&last.name);
            self.backoff = Backoff::new(ATTEMPTS);
        }
        self.sequence = message.sequence;
        Ok(message.entries.into_iter().zip(message.inodes).map(|(entry, inode)| self.keys.open(entry, inode)).collect())
    }
}

/// What a walk found.
pub enum Walked {
    /// An entry, a directory before what is below it.
    Item(Box<Item>),
    /// Something at or below this path cannot be listed; the walk goes on elsewhere.
    Failed {
        /// The directory that was read.
        path: Vec<u8>,
        /// Why.
        error: Error,
    },
}

/// A walk through a tree; stops when dropped.
pub struct Walk {
    found: mpsc::Receiver<Walked>,
    task: JoinHandle<()>,
    /// Found while the walk was prepared.
    first: VecDeque<Walked>,
}

impl Walk {
    /// The next thing found; `None` at the end.
    pub async fn next(&mut self) -> Option<Walked> {
        if let Some(first) = self.first.pop_front() {
            return Some(first);
        }
        self.found.recv().await
    }

    /// Everything that is left.
    ///
    /// # Errors
    /// The first error, if there is one.
    pub async fn collect(mut self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        while let Some(found) = self.next().await {
            match found {
                Walked::Item(item) => items.push(*item),
                Walked::Failed { error, .. } => return Err(error),
            }
        }
        Ok(items)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bucket {
    /// The entries of a directory.
    ///
    /// # Errors
    /// [`IntegrityError::WrappedKey`] if the directory's older keys are not authentic.
    pub fn read(&self, directory: &Directory) -> Result<Listing> {
        Ok(Listing {
            bucket: self.clone(),
            directory: directory.id,
            keys: DirectoryKeys::new(directory)?,
            renewed: false,
            stream: None,
            after: None,
            sequence: 0,
            backoff: Backoff::new(ATTEMPTS),
            ended: false,
        })
    }

    /// All entries of a directory at once, sorted by name.
    ///
    /// # Errors
    /// The first error of an entry, or what [`Listing::next_batch`] fails with.
    pub async fn read_all(&self, directory: &Directory) -> Result<Vec<Located>> {
        let mut listing = self.read(directory)?;
        let mut all = Vec::new();
        while let Some(batch) = listing.next_batch().await? {
            for located in batch {
                all.push(located?);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The entries of the directory `path` and, if `recursive`, of all below it. Several directories are read at once, so the
    /// order is that a directory comes before what is in it, and no more.
    ///
    /// # Errors
    /// If the directory cannot be opened; what fails later is among what is found.
    pub async fn walk(&self, path: &TreePath, recursive: bool) -> Result<Walk> {
        let directory = self.open_directory(path).await?;
        Ok(self.walk_from(path.to_bytes(), directory, recursive, Vec::new()))
    }

    /// What lies under a key prefix, as object stores understand it: every path that begins with these bytes. Without
    /// `recursive` only the entries of the directory that the prefix reaches into.
    ///
    /// # Errors
    /// As [`Self::walk`]; a prefix that leads nowhere finds nothing.
    pub async fn list(&self, prefix: &[u8], recursive: bool) -> Result<Walk> {
        let cut = prefix.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (directory, begin) = prefix.split_at(cut);
        let path = TreePath::parse(directory)?;
        match self.open_directory(&path).await {
            Ok(directory) => Ok(self.walk_from(path.to_bytes(), directory, recursive, begin.to_vec())),
            Err(Error::NotFound(_) | Error::NotDirectory(_)) => Ok(nothing()),
            Err(error) => Err(error),
        }
    }

    /// Walks below an opened directory; of its own entries only those whose names begin with `begin`.
    fn walk_from(&self, path: Vec<u8>, directory: Directory, recursive: bool, begin: Vec<u8>) -> Walk {
        let (sender, found) = mpsc::channel(WAITING);
        let walker = Walker { bucket: self.clone(), sender, recursive };
        let task = tokio::spawn(walker.run(path, directory, begin));
        Walk { found, task, first: VecDeque::new() }
    }

    /// Walks an entry: the entry itself and, if it is a directory, all below it.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub async fn walk_entry(&self, path: &TreePath) -> Result<Walk> {
        let located = self.resolve(path).await?;
        let below = located.directory();
        let mut walk = match below {
            Some(directory) => self.walk_from(path.to_bytes(), directory, true, Vec::new()),
            None => nothing(),
        };
        walk.first.push_back(Walked::Item(Box::new(Item { path: path.to_bytes(), located })));
        Ok(walk)
    }
}

fn nothing() -> Walk {
    let (_, found) = mpsc::channel(1);
    Walk { found, task: tokio::spawn(async {}), first: VecDeque::new() }
}

struct Walker {
    bucket: Bucket,
    sender: mpsc::Sender<Walked>,
    recursive: bool,
}

/// Nobody listens any more.
struct Stopped;

impl Walker {
    async fn run(self, path: Vec<u8>, directory: Directory, begin: Vec<u8>) {
        let mut waiting = vec![(path, directory, begin)];
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < AT_ONCE
                && let Some((path, directory, begin)) = waiting.pop()
            {
                running.push(self.read(path, directory, begin));
            }
            match running.next().await {
                // The last found is read first: a walk then holds about one directory of each depth, not a whole level.
                Some(Ok(below)) => waiting.extend(below.into_iter().map(|(path, below)| (path, below, Vec::new()))),
                Some(Err(Stopped)) | None => return,
            }
        }
    }

    async fn read(
        &self,
        path: Vec<u8>,
        directory: Directory,
        begin: Vec<u8>,
    ) -> Result<Vec<(Vec<u8>, Directory)>, Stopped> {
        let mut below = Vec::new();
        let mut listing = match self.bucket.read(&directory) {
            Ok(listing) => listing,
            Err(error) => return self.fail(path, error).await.map(|()| below),
        };
        loop {
            let batch = match listing.next_batch().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(below),
                // A directory that was removed since it was found has nothing below it.
                Err(Error::Server { code: cyx_core::error::ErrorCode::NotFound, .. }) => return Ok(below),
                Err(error) => {
                    let everywhere = concerns_all(&error);
                    self.fail(path, error).await?;
                    return if everywhere { Err(Stopped) } else { Ok(below) };
                }
            };
            for located in batch {
                match located {
                    Ok(located) if located.name.starts_with(&begin) => {
                        let path = join(&path, &located.name);
                        if self.recursive
                            && let Some(directory) = located.directory()
                        {
                            below.push((path.clone(), directory));
                        }
                        self.send(Walked::Item(Box::new(Item { path, located }))).await?;
                    }
                    Ok(_) => {}
                    Err(error) => self.fail(path.clone(), error).await?,
                }
            }
        }
    }

    async fn fail(&self, path: Vec<u8>, error: Error) -> Result<(), Stopped> {
        self.send(Walked::Failed { path, error }).await
    }

    async fn send(&self, found: Walked) -> Result<(), Stopped> {
        self.sender.send(found).await.map_err(|_| Stopped)
    }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, name].join(&b'/') }
}
