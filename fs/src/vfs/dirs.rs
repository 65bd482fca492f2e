//! Open directories. A listing is that of the moment when reading began here; who began in one that the kernel keeps and goes on here gets one with the
//! same cookies.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::cookies::{DOTS, Places};
use super::look::Listed;
use super::node::{Node, Shown, lock};
use super::{DirEntry, Durability, Filesystem, Found, Handle, Inner, Open, Remember};
use crate::attributes::{Ino, Kind, ROOT_INO};
use crate::errno::Errno;

/// An open directory.
pub(crate) struct OpenDirectory {
    ino: Ino,
    /// Cookies that whoever reads it may have of a listing that the kernel keeps.
    places: Option<Arc<Places>>,
    listing: Mutex<Option<Arc<Vec<Entry>>>>,
}

struct Entry {
    name: Box<[u8]>,
    node: Arc<Node>,
    cookie: u64,
}

/// A listing that the kernel keeps is told anew after this time, with all attributes at once: those it was told before end soon, and
/// would be asked for one by one. Less than what it may believe them for.
const TELL_AGAIN: Duration = Duration::from_secs(20);

impl Filesystem {
    /// Opens a directory; says what the kernel may do with its listing.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    pub async fn opendir(&self, ino: Ino) -> Result<(Handle, Remember), Errno> {
        let (remember, places) = match self.inner.found(ino)? {
            Found::Node(node) if !node.is_directory() => return Err(Errno::ENOTDIR),
            Found::Node(node) => node.remember(),
            // Buckets come and go without an event.
            Found::Top => (Remember::Nothing, None),
        };
        let open = OpenDirectory { ino, places, listing: Mutex::default() };
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
                let listing = Arc::new(inner.entries(directory, cookie == 0).await?);
                *lock(&directory.listing) = Some(Arc::clone(&listing));
                listing
            }
        };
        let mut entries = Vec::new();
        for (at, name) in [(1, &b"."[..]), (DOTS, b"..")] {
            if cookie < at && entries.len() < max {
                let ino = if at == 1 { directory.ino } else { inner.above(directory.ino) };
                entries.push(DirEntry { ino, kind: Kind::Directory, name: name.to_vec(), cookie: at, attr: None });
            }
        }
        let part: Vec<&Entry> = behind(&listing, cookie).iter().take(max - entries.len()).collect();
        if plus {
            let nodes: Vec<Arc<Node>> = part.iter().map(|entry| Arc::clone(&entry.node)).collect();
            inner.fresh_nodes(&nodes).await?;
        }
        for entry in part {
            let attr = plus.then(|| entry.node.attr(&inner.look));
            if plus {
                inner.table.count(&entry.node);
            }
            let (ino, kind) = (entry.node.ino, entry.node.kind);
            entries.push(DirEntry { ino, kind, name: entry.name.to_vec(), cookie: entry.cookie, attr });
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
        let open = inner.opened(handle)?;
        let Open::Directory(directory) = &*open else { return Err(Errno::EBADF) };
        match (inner.options.fsync, inner.found(directory.ino)?) {
            (Durability::Local, _) => Ok(inner.store.journal().sync().await?),
            (Durability::Remote, Found::Node(node)) => Ok(inner.send_all(&node.home).await?),
            // Only the server makes and removes buckets.
            (Durability::Remote, Found::Top) => Ok(()),
        }
    }
}

impl Node {
    /// What the kernel may do with the listing of this directory, and the cookies of the one that it has. That it was told of changes since is
    /// not relied on: what it keeps is of now only if nothing has changed here either.
    fn remember(&self) -> (Remember, Option<Arc<Places>>) {
        let listing = self.listing();
        let places = listing.shown.as_ref().map(|shown| Arc::clone(&shown.places));
        if listing.large || !self.home.health.get() {
            return (Remember::Nothing, places);
        }
        let whole = listing.complete.as_ref().is_some_and(|seen| self.home.believes(seen));
        let is_kept = listing
            .shown
            .as_ref()
            .is_some_and(|shown| whole && shown.moved == Some(listing.moved) && shown.at.elapsed() < TELL_AGAIN);
        (if is_kept { Remember::Kept } else { Remember::Anew }, places)
    }

    /// Gives cookies to what is listed, for somebody who reads from the beginning, or goes on.
    fn tell(&self, listed: Listed, open: &OpenDirectory, from_beginning: bool) -> Vec<Entry> {
        let Listed { entries: mut named, moved } = listed;
        named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let names: Vec<&[u8]> = named.iter().map(|(name, _)| &**name).collect();
        let shown = self.listing().shown.as_ref().map(|shown| Arc::clone(&shown.places));
        let own = open.places.clone();
        let known = if from_beginning { shown.or(own) } else { own.or(shown) };
        let cookies = known.unwrap_or_default().cookies(&names);
        if from_beginning {
            let mut listing = self.listing();
            // Of a large one the kernel keeps nothing, and too much would be kept here.
            listing.shown = (!listing.large).then(|| {
                let places = names.iter().map(|name| Box::from(*name)).zip(cookies.iter().copied());
                Shown { moved, at: Instant::now(), places: Arc::new(Places::new(places)) }
            });
        }
        named.into_iter().zip(cookies).map(|((name, edge), cookie)| Entry { name, node: edge.node, cookie }).collect()
    }
}

/// What comes behind a cookie.
fn behind(listing: &[Entry], cookie: u64) -> &[Entry] {
    &listing[listing.partition_point(|entry| entry.cookie <= cookie)..]
}

impl Inner {
    /// The directory above one, as far as is known.
    fn above(&self, ino: Ino) -> Ino {
        let Ok(Found::Node(node)) = self.found(ino) else { return ROOT_INO };
        let above = lock(&node.file).place.as_ref().and_then(|(above, _)| above.upgrade());
        above.map_or(ROOT_INO, |above| above.ino)
    }

    async fn entries(&self, open: &OpenDirectory, from_beginning: bool) -> Result<Vec<Entry>, Errno> {
        match self.found(open.ino)? {
            Found::Top => {
                let mut entries = Vec::new();
                for (info, cookie) in self.bucket_list().await?.iter().zip(DOTS + 1..) {
                    match self.bucket_root(info).await {
                        Ok(node) => entries.push(Entry { name: info.name.as_bytes().into(), node, cookie }),
                        // Deleted a moment ago, or not authentic: the others are there all the same.
                        Err(error) => tracing::error!(bucket = info.name, %error, "a bucket is left out"),
                    }
                }
                Ok(entries)
            }
            Found::Node(directory) => {
                let listed = self.list(&directory).await?;
                Ok(directory.tell(listed, open, from_beginning))
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::look::whole;
    use crate::vfs::tests::{Tree, name};

    fn open(directory: &Node) -> (OpenDirectory, Remember) {
        let (remember, places) = directory.remember();
        (OpenDirectory { ino: directory.ino, places, listing: Mutex::default() }, remember)
    }

    fn tell(directory: &Node, open: &OpenDirectory, from_beginning: bool) -> Vec<Entry> {
        let listed = whole(directory, &directory.listing()).expect("all of it is known");
        directory.tell(listed, open, from_beginning)
    }

    fn names(entries: &[Entry]) -> Vec<&[u8]> {
        entries.iter().map(|entry| &*entry.name).collect()
    }

    #[test]
    fn who_goes_on_in_the_middle_of_a_listing_that_the_kernel_dropped_misses_nothing_and_gets_nothing_twice() {
        let tree = Tree::new();
        let directory = tree.directory();
        for number in 0..1000 {
            tree.made_in(&directory, &name(number), Kind::File);
        }
        let (first, remember) = open(&directory);
        assert_eq!(remember, Remember::Anew);
        let kept = tell(&directory, &first, true);
        // Read from what the kernel keeps of that one so far.
        let (second, remember) = open(&directory);
        assert_eq!(remember, Remember::Kept);
        let cookie = kept[499].cookie;

        directory.drop_name(&name(3), directory.names_moved());
        tree.made_in(&directory, b"name-0003-and-another", Kind::File);
        tree.made_in(&directory, b"name-0003-and-one-more", Kind::File);
        tree.made_in(&directory, b"name-0700-too", Kind::File);
        let rest = tell(&directory, &second, false);
        let mut expected: Vec<Vec<u8>> = (500..1000).map(name).collect();
        expected.push(b"name-0700-too".to_vec());
        expected.sort();
        assert_eq!(names(behind(&rest, cookie)), expected);
        // Nor does the kernel keep what only somebody in the middle was told.
        assert_eq!(open(&directory).1, Remember::Anew);

        // Somebody else begins, and the kernel lets the second go on in what it keeps of that.
        let third = open(&directory).0;
        let other = tell(&directory, &third, true);
        assert_eq!(names(behind(&other, cookie)), expected);
        assert_eq!(other.len(), 1002);
        for entry in kept.iter().filter(|entry| *entry.name != *name(3)) {
            assert!(other.iter().any(|other| other.name == entry.name && other.cookie == entry.cookie));
        }
        // What is forgotten is known to those that have it open.
        directory.listing().shown = None;
        assert_eq!(names(behind(&tell(&directory, &second, false), cookie)), expected);
    }
}
