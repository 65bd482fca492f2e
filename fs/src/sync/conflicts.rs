//! Lost races: what was written here, while somebody else committed the file, is kept beside it under a name that says so.
//!
//! Nothing is ever discarded. The file itself becomes the version that won, as every other machine sees it.

use std::sync::Arc;
use std::time::Duration;

use cyx_client::TreePath;
use cyx_client::tree::list::Walked;
use cyx_core::ids::{BucketId, InodeId};
use cyx_core::units::NAME_MAX;
use cyx_proto::meta::v1 as pb;

use crate::attributes::{Caller, Kind};
use crate::content::{Content, ContentError};
use crate::errno::Errno;
use crate::journal::FileId;
use crate::vfs::node::{Node, lock};
use crate::vfs::{Inner, New, now_ns};

/// Names tried before giving up.
const NAMES: u32 = 100;
/// Longest host name in the name of a copy, in characters.
const HOST_MAX: usize = 16;
/// Before a copy that failed is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// `name (conflict host date)`, cut to what a name can be. `number` tells several of one second apart.
pub(crate) fn conflict_name(name: &[u8], host: &str, at_ns: i64, number: u32) -> Vec<u8> {
    let host: String = host.chars().filter(|c| *c != '/' && !c.is_control()).take(HOST_MAX).collect();
    let number = if number > 1 { format!(" {number}") } else { String::new() };
    let suffix = format!(" (conflict {host} {}{number})", date(at_ns.div_euclid(1_000_000_000)));
    let mut kept = name.len().min(NAME_MAX.saturating_sub(suffix.len()));
    // Not in the middle of a character, if the name is text.
    if let Ok(text) = std::str::from_utf8(name) {
        while !text.is_char_boundary(kept) {
            kept -= 1;
        }
    }
    [&name[..kept], suffix.as_bytes()].concat()
}

/// `2026-11-26 221530` in UTC.
fn date(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date of a day number (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}{minute:02}{second:02}")
}

impl Inner {
    /// The store could not commit a file because somebody else was faster. Tried until both are kept.
    pub(super) async fn settle_lost(&self, file: FileId) {
        let mut wait = AGAIN.0;
        loop {
            let Some(content) = self.store.existing(file.bucket, file.inode) else { return };
            let settled = async {
                let node = self.node_of(file).await?;
                self.keep_both(&node, &content).await
            };
            match settled.await {
                Ok(()) => return,
                Err(errno) => {
                    self.look_for_deleted().await;
                    if self.store.is_stranded(file.bucket) {
                        return;
                    }
                    self.report(&format!("the conflict copy of {} cannot be made yet: {errno}", file.inode));
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(AGAIN.1),
            }
        }
    }

    /// Somebody else committed a version that this machine's is not based on, or removed the file for good.
    pub(super) async fn keep_both(&self, node: &Arc<Node>, content: &Arc<Content>) -> Result<(), Errno> {
        let _one = node.settling.lock().await;
        self.removals_done(node).await;
        if content.is_orphaned() {
            return Ok(());
        }
        let _writing = node.writing.lock().await;
        match content.commit().await {
            Err(ContentError::Lost) => {}
            // Somebody else saw to it meanwhile.
            Ok(()) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // Not as it is known here, where it may have another name by something that is not sent.
        let found = self.inodes_at_server(&node.home, &[node.id]).await?;
        let copied = self.copy_beside(node, content).await;
        if content.is_orphaned() {
            // Removed here meanwhile: nobody misses it.
            return Ok(());
        }
        let copied = copied?;
        lock(&node.facts).disbelieve();
        if found.iter().all(|inode| inode.nlink == 0) {
            // Who has it open goes on with what is there.
            self.removed_here(node);
            self.let_go(node);
            if let Some(invalidator) = self.invalidator.get() {
                invalidator.inode(node.ino, 0..u64::MAX);
            }
            return Ok(());
        }
        content.discard().await?;
        lock(&node.facts).written = None;
        let newest = self.newest(node, content).await;
        self.let_go(node);
        self.forget_pages(node, copied);
        newest
    }

    async fn newest(&self, node: &Arc<Node>, content: &Content) -> Result<(), Errno> {
        match self.fresh(node).await {
            Ok(()) => Ok(content.refresh().await.map(|_| ())?),
            Err(Errno::ESTALE) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// The kernel forgets what it has of a file that was copied. Programs that have mapped it may go on changing pages until it has: those are
    /// of the version in the copy, and are written there.
    fn forget_pages(&self, node: &Arc<Node>, copied: Arc<Content>) {
        let Some(invalidator) = self.invalidator.get() else { return };
        lock(&node.file).replaced = Some(Arc::clone(&copied));
        let mapped = Arc::clone(node);
        let forgotten = move || {
            // Another copy may have been made meanwhile.
            lock(&mapped.file).replaced.take_if(|last| Arc::ptr_eq(last, &copied));
        };
        invalidator.inode_then(node.ino, Box::new(forgotten));
    }

    pub(super) fn is_unsent(&self, bucket: BucketId, inode: InodeId) -> bool {
        self.store.existing(bucket, inode).is_some_and(|content| content.is_dirty())
    }

    /// A removal of its name from here that is under way is done: what its commit was refused for may have been that.
    async fn removals_done(&self, node: &Node) {
        let place = lock(&node.file).place.clone();
        if let Some(directory) = place.and_then(|(directory, _)| directory.upgrade()) {
            drop(directory.changing.lock().await);
        }
    }

    async fn copy_beside(&self, node: &Arc<Node>, content: &Arc<Content>) -> Result<Arc<Content>, Errno> {
        let (directory, original) = self.place_of(node).await?;
        let attributes = lock(&node.facts).attributes;
        let caller = Caller { uid: attributes.uid, gid: attributes.gid, pid: 0, umask: 0 };
        let at = content.times().map_or_else(now_ns, |(mtime, _)| mtime);
        let meta = self.sealed_with(node).await?;
        let new = New { kind: Kind::File, mode: attributes.mode, rdev: 0, target: &[], meta: &meta };
        let mut made = None;
        for number in 1..=NAMES {
            let name = conflict_name(&original, &self.options.host, at, number);
            let copy = match self.make_in(&directory, &name, &new, caller).await {
                Ok(copy) => copy,
                // An attempt that was cut off, as by the end of the process, may have come so far and no farther.
                Err(Errno::EEXIST) => match self.find(&directory, &name).await? {
                    Some(edge) if edge.node.kind == Kind::File => edge.node,
                    _ => continue,
                },
                Err(errno) => return Err(errno),
            };
            if let Some(copied) = self.fill(&copy, content, at).await? {
                made = Some((name, copied));
                break;
            }
        }
        let (name, copied) = made.ok_or(Errno::EEXIST)?;
        // Durable before the original is given up; the upload may take as long as it likes.
        copied.sync_local().await?;
        copied.upload_soon();
        {
            let mut file = lock(&node.file);
            file.copies.retain(|inode| self.is_unsent(node.home.id, *inode));
            file.copies.push(copied.id().inode);
        }
        self.report_conflict(&format!(
            "{:?} was changed elsewhere at the same time; what was written here is kept as {:?}",
            String::from_utf8_lossy(&original),
            String::from_utf8_lossy(&name)
        ));
        if let Some(invalidator) = self.invalidator.get() {
            invalidator.entry(directory.ino, &name);
            invalidator.inode(directory.ino, 0..u64::MAX);
        }
        Ok(copied)
    }

    /// Puts content into a file; `None` if anybody has ever written to that. Who does so meanwhile on another machine gets a copy too: only one
    /// version can be the first.
    async fn fill(
        &self,
        copy: &Arc<Node>,
        content: &Arc<Content>,
        mtime_ns: i64,
    ) -> Result<Option<Arc<Content>>, Errno> {
        let _writing = copy.writing.lock().await;
        let copied = self.content_of(copy).await?;
        if lock(&copy.facts).version > 0 || copied.is_dirty() || !copied.is_empty() {
            return Ok(None);
        }
        let filled = async {
            let len = content.len();
            let filled = copied.clone_range(content, 0..len, 0).await?;
            copied.set_mtime(mtime_ns).await?;
            if filled < len || content.is_orphaned() {
                // It was removed here meanwhile, and what was written to it is let go of.
                return Err(ContentError::Lost);
            }
            // Behind all of it in the journal, and before the original is given up.
            Ok(self.note_whole(&copied)?)
        };
        // Of a part of it another run would make a file.
        self.note_part(copied.id())?;
        // Not before it is whole: everybody would see a part of it, which stays if the rest fails.
        copied.set_filling(true);
        let filled = filled.await;
        let done = match filled {
            Ok(()) => Ok(()),
            // A part of it would be kept as a copy of its own when this is tried again.
            Err(error) => {
                let discarded = copied.discard().await.and_then(|()| Ok(self.note_whole(&copied)?));
                discarded.and(Err(error))
            }
        };
        copied.set_filling(false);
        done?;
        copy.note_times(&copied);
        Ok(Some(copied))
    }

    /// A directory and a name by which the file was last known. Of what an earlier run wrote only the inode is known: then the
    /// bucket is searched. What has no name any more is kept where it was, or as near to that as there is a directory.
    async fn place_of(&self, node: &Arc<Node>) -> Result<(Arc<Node>, Vec<u8>), Errno> {
        let place = lock(&node.file).place.clone();
        let place = place.and_then(|(directory, name)| Some((directory.upgrade()?, name.into_vec())));
        if let Some((directory, name)) = &place {
            self.fresh(directory).await.or_else(|errno| if errno == Errno::ESTALE { Ok(()) } else { Err(errno) })?;
            if lock(&directory.facts).nlink > 0 {
                return Ok((Arc::clone(directory), name.clone()));
            }
        }
        let root = self.buckets.root(node.home.id).ok_or(Errno::ESTALE)?;
        if let Some(found) = self.search(&root, node.id).await? {
            return Ok(found);
        }
        match place {
            Some((directory, name)) => {
                let above = self.nearest_above(&node.home, directory.id).await?;
                Ok((above.ok_or(Errno::ESTALE)?, name))
            }
            None => Ok((root, node.id.to_string().into_bytes())),
        }
    }

    /// Finds a name of an inode by looking at every one of the bucket.
    async fn search(&self, root: &Arc<Node>, inode: InodeId) -> Result<Option<(Arc<Node>, Vec<u8>)>, Errno> {
        let mut walk = root.home.bucket.walk(&TreePath::root(), true).await?;
        while let Some(found) = walk.next().await {
            let Walked::Item(item) = found else { continue };
            if item.located.id != inode {
                continue;
            }
            let mut directory = Arc::clone(root);
            let mut names = item.path.split(|byte| *byte == b'/').collect::<Vec<_>>();
            let Some(last) = names.pop() else { return Ok(None) };
            for name in names {
                match self.find(&directory, name).await? {
                    Some(edge) if edge.node.is_directory() => directory = edge.node,
                    // It was moved while it was looked for.
                    _ => return Ok(None),
                }
            }
            return Ok(Some((directory, last.to_vec())));
        }
        Ok(None)
    }

    /// The node of a file that may have been written by an earlier run.
    pub(super) async fn node_of(&self, file: FileId) -> Result<Arc<Node>, Errno> {
        if let Some(node) = self.table.by_id(file.bucket, file.inode) {
            return Ok(node);
        }
        let root = self.buckets.root(file.bucket).ok_or(Errno::ESTALE)?;
        if let Some((directory, name)) = self.search(&root, file.inode).await?
            && let Some(edge) = self.find(&directory, &name).await?
        {
            return Ok(edge.node);
        }
        // No name leads to it. Its content is kept all the same.
        let home = &root.home;
        let found = self.inodes_at_server(home, &[file.inode]).await?.into_iter().next();
        let seen = home.seen_now();
        let (node, _) = self.table.get_or_make(file.bucket, file.inode, None, |ino| {
            let attributes = found.and_then(|inode| inode.attributes);
            let gone = pb::Inode { attributes, ..pb::Inode::default() };
            Node::new(ino, Arc::clone(home), file.inode, Kind::File, root.key(), &gone, seen)
        });
        Ok(node)
    }
}

#[cfg(test)]
mod cut;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 000000");
        assert_eq!(date(951_782_400), "2000-02-29 000000");
        assert_eq!(date(1_795_731_330), "2026-11-26 221530");
        assert_eq!(date(-1), "1969-12-31 235959");
    }

    #[test]
    fn a_copy_has_a_name_that_says_what_it_is() {
        let name = conflict_name(b"notes.txt", "desk", 0, 1);
        assert_eq!(name, b"notes.txt (conflict desk 1970-01-01 000000)");
        let second = conflict_name(b"notes.txt", "desk", 0, 2);
        assert_eq!(second, b"notes.txt (conflict desk 1970-01-01 000000 2)");
        let long = conflict_name("ä".repeat(127).as_bytes(), "a/b\n", 0, 1);
        assert!(long.len() <= NAME_MAX && long.ends_with(b" (conflict ab 1970-01-01 000000)"));
        assert!(std::str::from_utf8(&long).is_ok());
    }
}
