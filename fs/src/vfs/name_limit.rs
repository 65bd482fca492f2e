//! How many names are remembered of all directories together, and what is forgotten when they are too many.
//!
//! Every name keeps the inode that it leads to in memory. They are counted where they are learnt, which costs nothing, and forgotten by a task of
//! its own, many at a time: those of directories that were not used for long first, and never what only this machine knows.

use std::collections::{HashMap, HashSet};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};

use cyx_core::ids::{BucketId, InodeId};
use tokio::sync::Notify;

use super::Inner;
use super::listing::Listing;
use super::node::{Node, Opened, lock};
use super::table::Table;
use crate::journal::FileId;

/// How many names are remembered.
pub(crate) struct NameCount {
    now: AtomicUsize,
    most: usize,
    /// Beyond so many, some are forgotten: more than `most` while what may be forgotten is little.
    limit: AtomicUsize,
    passed: Notify,
}

impl NameCount {
    pub(crate) fn new(most: usize) -> Self {
        Self { now: AtomicUsize::new(0), most, limit: AtomicUsize::new(most), passed: Notify::new() }
    }

    /// Of one directory are remembered `after` names now instead of `before`.
    pub(super) fn change(&self, before: usize, after: usize) {
        let Some(more) = after.checked_sub(before) else {
            self.now.fetch_sub(before - after, Ordering::Relaxed);
            return;
        };
        if more > 0 && self.now.fetch_add(more, Ordering::Relaxed) + more > self.limit.load(Ordering::Relaxed) {
            self.passed.notify_one();
        }
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    fn is_passed(&self) -> bool {
        self.now() > self.limit.load(Ordering::Relaxed)
    }

    /// Less than what may be, so that it is not looked for more all the time.
    fn is_enough(&self) -> bool {
        self.now() <= self.most - self.most / 4
    }

    /// As much as possible was forgotten.
    fn settle(&self) {
        self.limit.store(self.most.max(self.now() + self.most / 4), Ordering::Relaxed);
    }
}

/// What is known of the names in a directory, for whoever looks at it or changes it. Counts them afterwards.
pub(crate) struct ListingGuard<'a> {
    listing: MutexGuard<'a, Listing>,
    count: &'a NameCount,
    before: usize,
}

impl<'a> ListingGuard<'a> {
    pub(super) fn new(listing: MutexGuard<'a, Listing>, count: &'a NameCount) -> Self {
        let before = listing.size();
        Self { listing, count, before }
    }
}

impl Deref for ListingGuard<'_> {
    type Target = Listing;

    fn deref(&self) -> &Listing {
        &self.listing
    }
}

impl DerefMut for ListingGuard<'_> {
    fn deref_mut(&mut self) -> &mut Listing {
        &mut self.listing
    }
}

impl Drop for ListingGuard<'_> {
    fn drop(&mut self) {
        self.count.change(self.before, self.listing.size());
    }
}

impl Inner {
    /// Forgets names whenever they are too many. Ends when the filesystem is shut down.
    pub(super) fn begin_bounding(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = inner.stop.cancelled() => return,
                    () = inner.names.passed.notified() => {}
                }
                if inner.names.is_passed() {
                    let dirty: Vec<FileId> = inner.store.dirty().iter().map(|content| content.id()).collect();
                    forget_names(&inner.table, &inner.names, &dirty);
                }
            }
        });
    }
}

/// Forgets names until they are few enough. `dirty`: files with content that is not sent.
fn forget_names(table: &Table, count: &NameCount, dirty: &[FileId]) {
    let mut directories: Vec<Arc<Node>> = table.nodes(None);
    directories.retain(|node| node.is_directory());
    for directory in &directories {
        // It costs no more than that the kernel is told anew.
        directory.listing().shown = None;
    }
    if !count.is_enough() {
        let needed = needed(table, &directories, dirty);
        directories.sort_by_cached_key(|directory| directory.listing().used);
        for directory in directories {
            if count.is_enough() {
                break;
            }
            directory.forget_names(&needed);
        }
    }
    count.settle();
}

/// What the server does not know, and the directories that it lies in.
fn needed(table: &Table, directories: &[Arc<Node>], dirty: &[FileId]) -> HashSet<InodeId> {
    let homes: HashMap<BucketId, &Opened> = directories.iter().map(|node| (node.home.id, &*node.home)).collect();
    let touched = homes.into_values().flat_map(|home| home.local.touched().into_iter().map(|inode| (home.id, inode)));
    let mut needed = HashSet::new();
    for (bucket, inode) in touched.chain(dirty.iter().map(|file| (file.bucket, file.inode))) {
        let mut next = table.by_id(bucket, inode);
        while let Some(node) = next.take_if(|node| needed.insert(node.id)) {
            next = lock(&node.file).place.as_ref().and_then(|(directory, _)| directory.upgrade());
        }
    }
    needed
}

impl Node {
    fn forget_names(&self, needed: &HashSet<InodeId>) {
        let mut listing = self.listing();
        // Without the server nobody could say what is forgotten, and with it nobody what it does not know. What is decided here is touched before it is
        // among the names. Where there are none nothing is gained, and a listing that is on its way would be lost.
        let is_needed = self.home.health.offline() || self.home.local.touches(&[self.id]);
        if is_needed || listing.names.is_empty() {
            return;
        }
        let forgotten = listing.forget_but(needed);
        // Outside of the lock: the last to hold many inodes.
        drop(listing);
        drop(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Kind;
    use crate::vfs::look::{Remembered, remembered};
    use crate::vfs::tests::{Tree, name};

    const MOST: usize = 1000;
    const DIRECTORIES: u32 = 50;
    const FILES: u32 = 100;

    /// How many files are known, and how many would be asked for.
    fn found(tree: &Tree, root: &Arc<Node>) -> (usize, usize) {
        let (mut known, mut asked) = (0, 0);
        for number in 0..DIRECTORIES {
            let directory = match remembered(root, &root.listing(), &name(number)) {
                Remembered::Edge(edge) => edge.node,
                Remembered::Nothing => panic!("the directory {number} is there"),
                Remembered::No => {
                    asked += FILES as usize;
                    continue;
                }
            };
            for file in 0..FILES {
                match remembered(&directory, &directory.listing(), &name(file)) {
                    Remembered::Edge(edge) => {
                        assert!(tree.table.by_id(directory.home.id, edge.node.id).is_some());
                        known += 1;
                    }
                    Remembered::Nothing => panic!("the file {file} in {number} is there"),
                    Remembered::No => asked += 1,
                }
            }
        }
        (known, asked)
    }

    #[test]
    fn names_of_many_directories_are_let_go_and_never_taken_for_names_that_are_not_there() {
        let tree = Tree::with(MOST);
        let root = tree.directory();
        let (mut unsent, mut dirty) = (None, None);
        for number in 0..DIRECTORIES {
            let directory = tree.made_in(&root, &name(number), Kind::Directory);
            for file in 0..FILES {
                let file_made = tree.made_in(&directory, &name(file), Kind::File);
                match (number, file) {
                    (1, 7) => unsent = Some(file_made.id),
                    (2, 8) => dirty = Some(file_made.id),
                    _ => {}
                }
                if tree.count.is_passed() {
                    // As the task does.
                    let (unsent, dirty) = (unsent.unwrap(), dirty.unwrap());
                    tree.decide_about(unsent);
                    forget_names(&tree.table, &tree.count, &[FileId { bucket: root.home.id, inode: dirty }]);
                    assert!(tree.count.is_enough(), "{}", tree.count.now());
                }
            }
        }
        let (unsent, dirty) = (unsent.unwrap(), dirty.unwrap());
        let nodes = tree.table.nodes(None);
        assert!(nodes.len() <= MOST + 2, "{} inodes are remembered", nodes.len());
        for kept in [unsent, dirty] {
            assert!(nodes.iter().any(|node| node.id == kept));
        }
        drop(nodes);
        let (known, asked) = found(&tree, &root);
        assert_eq!(known + asked, (DIRECTORIES * FILES) as usize);
        assert!((MOST / 4..=MOST).contains(&known), "{known}");
        for (number, file) in [(1, 7), (2, 8)] {
            let Remembered::Edge(edge) = remembered(&root, &root.listing(), &name(number)) else { panic!("{number}") };
            let directory = edge.node;
            assert!(matches!(remembered(&directory, &directory.listing(), &name(file)), Remembered::Edge(_)));
        }
    }

    #[test]
    fn what_others_make_in_a_directory_that_is_known_is_counted() {
        let tree = Tree::with(MOST);
        let directory = tree.directory();
        for number in 0..u32::try_from(MOST).unwrap() {
            directory.disbelieve_name(&name(number));
        }
        assert_eq!(tree.count.now(), MOST);
        assert!(!tree.count.is_passed());
        directory.disbelieve_name(b"one more");
        assert!(tree.count.is_passed());
        forget_names(&tree.table, &tree.count, &[]);
        assert_eq!(tree.count.now(), 0);
        assert!(matches!(remembered(&directory, &directory.listing(), b"one more"), Remembered::No));
    }

    #[test]
    fn what_may_not_be_forgotten_is_not_looked_for_all_the_time() {
        let tree = Tree::with(MOST);
        let directory = tree.directory();
        for number in 0..=u32::try_from(MOST).unwrap() {
            tree.made_in(&directory, &name(number), Kind::File);
        }
        tree.decide_about(directory.id);
        forget_names(&tree.table, &tree.count, &[]);
        assert_eq!(tree.count.now(), MOST + 1);
        assert!(!tree.count.is_passed());
        drop(directory);
        assert_eq!(tree.count.now(), 0, "what nobody holds is not counted");
    }
}
