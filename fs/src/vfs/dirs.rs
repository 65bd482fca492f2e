//! Open directories. A listing is that of the moment when reading began; cookies are places in it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::look::Listed;
use super::node::{Node, Shown, lock};
use super::{DirEntry, Done, Filesystem, Found, Handle, Inner, Open, Remember};
use crate::attributes::{Ino, Kind, ROOT_INO};
use crate::errno::Errno;

/// An open directory.
pub(crate) struct OpenDirectory {
    ino: Ino,
    listing: Mutex<Option<Arc<Vec<Entry>>>>,
}

struct Entry {
    name: Box<[u8]>,
    node: Arc<Node>,
}

/// A listing that the kernel keeps is told anew after this time, with all attributes at once: those it was told before end soon, and
/// would be asked for one by one. Less than what it may believe them for.
const TELL_AGAIN: Duration = Duration::from_secs(20);

/// Cookies of the first entry; before it come `.` and `..`.
const FIRST: u64 = 3;

impl Filesystem {
    /// Opens a directory; says what the kernel may do with its listing.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    pub async fn opendir(&self, ino: Ino) -> Result<(Handle, Remember), Errno> {
        let remember = match self.inner.found(ino)? {
            Found::Node(node) if !node.is_directory() => return Err(Errno::ENOTDIR),
            Found::Node(node) => node.remember(),
            // Buckets come and go without an event.
            Found::Top => Remember::Nothing,
        };
        let open = OpenDirectory { ino, listing: Mutex::default() };
        Ok((self.inner.keep(Open::Directory(open)), remember))
    }

    /// Up to `max` entries behind a cookie (0: from the beginning, as it is now). With `plus` a lookup is counted for each but
    /// `.` and `..`: those that do not fit into the answer have to be forgotten again.
    ///
    /// # Errors
    /// `EBADF`; `EIO` if the server cannot be asked.
    pub async fn readdir(&self, handle: Handle, cookie: u64, plus: bool, max: usize) -> Result<Vec<DirEntry>, Errno> {
        let inner = &*self.inner;
        let open = inner.opened(handle)?;
        let Open::Directory(directory) = &*open else { return Err(Errno::EBADF) };
        let known = lock(&directory.listing).clone();
        let listing = match known {
            Some(listing) if cookie != 0 => listing,
            _ => {
                let listing = Arc::new(inner.entries(directory.ino).await?);
                *lock(&directory.listing) = Some(Arc::clone(&listing));
                listing
            }
        };
        let mut entries = Vec::new();
        for (at, name) in [(1, &b"."[..]), (2, b"..")] {
            if cookie < at && entries.len() < max {
                let ino = if at == 1 { directory.ino } else { ROOT_INO };
                entries.push(DirEntry { ino, kind: Kind::Directory, name: name.to_vec(), cookie: at, attr: None });
            }
        }
        let skip = usize::try_from(cookie.saturating_sub(FIRST - 1)).unwrap_or(usize::MAX);
        let part: Vec<&Entry> = listing.iter().skip(skip).take(max - entries.len()).collect();
        if plus {
            let nodes: Vec<Arc<Node>> = part.iter().map(|entry| Arc::clone(&entry.node)).collect();
            inner.fresh_nodes(&nodes).await?;
        }
        for (at, entry) in part.into_iter().enumerate() {
            let cookie = FIRST + (skip + at) as u64;
            let attr = if plus { Some(entry.node.attr(&inner.look)?) } else { None };
            if plus {
                inner.table.count(&entry.node);
            }
            let (ino, kind) = (entry.node.ino, entry.node.kind);
            entries.push(DirEntry { ino, kind, name: entry.name.to_vec(), cookie, attr });
        }
        Ok(entries)
    }

    /// Closes a directory.
    pub fn releasedir(&self, handle: Handle) {
        drop(self.inner.close(handle));
    }

    /// Waits until the changes of a directory are durable: those that the server decided are when they are answered.
    ///
    /// # Errors
    /// `EBADF`; `EIO`.
    pub async fn fsyncdir(&self, handle: Handle, _data_only: bool) -> Result<(), Errno> {
        let inner = &*self.inner;
        inner.opened(handle)?;
        match inner.options.fsync {
            Done::Local => Ok(inner.store.journal().sync().await?),
            Done::Remote => Ok(inner.send_everything().await?),
        }
    }
}

impl Node {
    /// What the kernel may do with the listing of this directory. That it was told of changes since is not relied on: what it keeps is of
    /// now only if nothing has changed here either.
    fn remember(&self) -> Remember {
        let listing = lock(&self.listing);
        if listing.large || !self.home.health.get() {
            return Remember::Nothing;
        }
        let whole = listing.complete.as_ref().is_some_and(|seen| self.home.believes(seen));
        match listing.shown {
            Some(shown) if whole && shown.moved == listing.moved && shown.at.elapsed() < TELL_AGAIN => Remember::Kept,
            _ => Remember::Anew,
        }
    }
}

impl Inner {
    async fn entries(&self, ino: Ino) -> Result<Vec<Entry>, Errno> {
        let mut entries = Vec::new();
        match self.found(ino)? {
            Found::Top => {
                for info in self.bucket_list().await?.iter() {
                    match self.bucket_root(info).await {
                        Ok(node) => entries.push(Entry { name: info.name.as_bytes().into(), node }),
                        // Deleted a moment ago, or not authentic: the others are there all the same.
                        Err(error) => tracing::error!(bucket = info.name, %error, "a bucket is left out"),
                    }
                }
            }
            Found::Node(directory) => {
                let Listed { entries: listed, moved } = self.list(&directory).await?;
                entries.extend(listed.into_iter().map(|(name, edge)| Entry { name, node: edge.node }));
                // Cookies are places: the same names have the same ones, also in a listing that the kernel keeps a part of.
                entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                lock(&directory.listing).shown = moved.map(|moved| Shown { moved, at: Instant::now() });
            }
        }
        Ok(entries)
    }

    /// Makes attributes of nodes of any buckets believable.
    async fn fresh_nodes(&self, nodes: &[Arc<Node>]) -> Result<(), Errno> {
        let Some(first) = nodes.first() else { return Ok(()) };
        if nodes.iter().all(|node| node.home.id == first.home.id) {
            return self.fresh_many(nodes).await;
        }
        for node in nodes {
            self.fresh(node).await?;
        }
        Ok(())
    }
}
