//! Files that lost their last name, and what was written to them and is not committed.
//!
//! | who removed the name | what becomes of it |
//! |---|---|
//! | this machine | it stays for as long as a program has the file open, and is let go of then; not before the server has done the removal, which may find that somebody else gave the file another name |
//! | another one | the server refuses the commit, and a conflict copy is made ([`crate::sync::conflicts`]) |
//!
//! After a crash nobody has the file open. That it was removed here is noted in the journal for as long as it is open, so that nothing is made
//! of it then. The same is noted of a conflict copy for as long as it has only a part of what it is to have.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cyx_core::ids::{BucketId, InodeId};
use cyx_core::wire::{DecodeError, Reader, Writer};
use futures_util::FutureExt as _;

use super::Inner;
use super::node::{Node, Opened, lock};
use crate::content::Content;
use crate::journal::{FileId, Journal, JournalError, Position, Record};

/// The tag of such notes in the journal.
pub(crate) const TAG: u8 = 2;
const VERSION: u8 = 1;

/// Names that files have left at the server, of files of which that matters.
pub(super) type Links = HashMap<InodeId, u32>;

/// A file was removed here, and is still open: `version u8 (1) | bucket 16 | inode 16`.
pub(crate) fn note(file: FileId) -> Record {
    let mut writer = Writer::default();
    writer.u8(VERSION).raw(&file.bucket.0).raw(&file.inode.0);
    Record::Note { tag: TAG, data: Bytes::from(writer.finish()) }
}

/// The file that such a note is about.
///
/// # Errors
/// [`DecodeError`].
pub(crate) fn decode(data: &[u8]) -> Result<FileId, DecodeError> {
    let mut reader = Reader::bare(data);
    if reader.u8()? != VERSION {
        return Err(DecodeError::Invalid("version of a note of a removed file"));
    }
    let file = FileId { bucket: BucketId(reader.array()?), inode: InodeId(reader.array()?) };
    match reader.remaining() {
        0 => Ok(file),
        _ => Err(DecodeError::Invalid("note of a removed file")),
    }
}

/// Notes that what is written to a file is let go of at the next start.
fn begin(orphans: &mut HashMap<FileId, Position>, journal: &Journal, file: FileId) -> Result<(), JournalError> {
    if let Entry::Vacant(place) = orphans.entry(file) {
        place.insert(journal.append_now(&note(file))?);
    }
    Ok(())
}

fn finish_with(orphans: &Mutex<HashMap<FileId, Position>>, journal: &Journal, file: FileId) {
    if let Err(error) = finish(&mut lock(orphans), journal, file) {
        tracing::warn!(inode = %file.inode, %error, "the journal still says that a file is removed");
    }
}

/// Notes that it is not, or not any more. If that fails the note is still there.
fn finish(orphans: &mut HashMap<FileId, Position>, journal: &Journal, file: FileId) -> Result<(), JournalError> {
    if let Some(at) = orphans.get(&file) {
        journal.finish(*at)?;
        orphans.remove(&file);
    }
    Ok(())
}

impl Inner {
    /// The last name was removed here. A program may have found the name just before, and opens what it led to.
    pub(crate) fn removed_here(&self, node: &Node) {
        let Some(content) = self.content_if_any(node) else { return };
        content.orphan();
        self.let_go_of_orphan(&node.home, &content);
    }

    /// A file has a name after all that was taken for removed here: somebody else gave it one.
    pub(super) fn has_name(&self, node: &Node) {
        let Some(content) = self.content_if_any(node).filter(|content| content.is_orphaned()) else { return };
        self.allow(&node.home, &content);
        if !content.is_orphaned() {
            content.upload_soon();
        }
    }

    /// What was written to a file may be committed, if nothing that is to be sent keeps it from that.
    pub(super) fn allow(&self, home: &Opened, content: &Content) {
        let was_orphaned = content.is_orphaned();
        home.local.if_free(content.id().inode, || content.allow());
        if was_orphaned && let Err(error) = self.note_whole(content) {
            tracing::warn!(inode = %content.id().inode, %error, "the journal still says that a file is removed");
        }
    }

    /// Nobody has a file open any more that has no name.
    pub(crate) fn closed_without_name(&self, node: &Node) {
        let Some(content) = self.content_if_any(node) else { return };
        if content.is_orphaned() {
            self.let_go_of_orphan(&node.home, &content);
        } else {
            // Somebody else removed it. The server says so when it is committed.
            content.upload_soon();
            self.let_go(node);
        }
    }

    /// Lets go of what was written to a file that was removed here, if nobody needs it any more. Waits for nothing: what is being committed
    /// may take long, and is let go of behind that.
    pub(crate) fn let_go_of_orphan(&self, home: &Opened, content: &Arc<Content>) {
        let file = content.id();
        // Another one is to be replaced by it, which is not to be empty for a moment; or the removal may be refused.
        if home.local.awaits(file.inode) || home.local.may_keep_name(file.inode) {
            return;
        }
        if let Some(node) = self.table.by_id(file.bucket, file.inode) {
            if lock(&node.file).handles > 0 {
                self.note_orphan(content);
                return;
            }
            if content.is_dirty() && self.table.is_known(node.ino) {
                // Some program may be about to open it. Should this run end before the kernel forgets it, the next one lets go of it.
                self.note_orphan(content);
                return;
            }
            lock(&node.file).content = None;
        }
        if !content.is_dirty() {
            self.finish_orphan(file);
            return;
        }
        let (discarded, orphans) = (Arc::clone(content), Arc::clone(&self.orphans));
        let journal = self.store.journal().clone();
        let mut letting_go = Box::pin(async move {
            match discarded.discard().await {
                Ok(()) => finish_with(&orphans, &journal, file),
                Err(error) => {
                    tracing::warn!(inode = %file.inode, %error, "what was written to a removed file stays in the journal");
                }
            }
        });
        if letting_go.as_mut().now_or_never().is_none() {
            // Should this run end before, the next one lets go of it.
            self.note_orphan(content);
            tokio::spawn(letting_go);
        }
    }

    /// How many names these files have left. `None` for those of which nothing is written that is not committed.
    pub(super) async fn links_left(&self, home: &Opened, files: &[InodeId]) -> cyx_client::Result<Links> {
        let matters = |inode: &InodeId| {
            self.store.existing(home.id, *inode).is_some_and(|content| content.is_orphaned() || content.is_dirty())
        };
        let files: Vec<InodeId> = files.iter().copied().filter(matters).collect();
        let mut links: Links = files.iter().map(|inode| (*inode, 0)).collect();
        for inode in self.inodes_at_server(home, &files).await? {
            if let Some(left) = InodeId::try_from(&inode.id[..]).ok().and_then(|id| links.get_mut(&id)) {
                *left = inode.nlink;
            }
        }
        Ok(links)
    }

    /// Unless it was given a name meanwhile: then nobody would take the note back.
    fn note_orphan(&self, content: &Content) {
        let (file, mut orphans) = (content.id(), lock(&self.orphans));
        if !content.is_orphaned() {
            return;
        }
        if let Err(error) = begin(&mut orphans, self.store.journal(), file) {
            tracing::warn!(inode = %file.inode, %error, "the journal does not say that a file is removed");
        }
    }

    fn finish_orphan(&self, file: FileId) {
        finish_with(&self.orphans, self.store.journal(), file);
    }

    /// What is written to a file from now on is let go of at the next start, until it is whole.
    pub(crate) fn note_part(&self, file: FileId) -> Result<(), JournalError> {
        begin(&mut lock(&self.orphans), self.store.journal(), file)
    }

    /// What was written to a file stays from now on, unless that was removed here meanwhile.
    pub(crate) fn note_whole(&self, content: &Content) -> Result<(), JournalError> {
        let mut orphans = lock(&self.orphans);
        if content.is_orphaned() { Ok(()) } else { finish(&mut orphans, self.store.journal(), content.id()) }
    }

    /// Lets go of what an earlier run wrote to files of a bucket that it had removed, before that goes on.
    pub(super) async fn forget_orphans(&self, bucket: BucketId) -> crate::content::Result<()> {
        for file in self.orphans_of(|orphan| orphan == bucket) {
            self.store.discard_replayed(file).await?;
            self.finish_orphan(file);
        }
        Ok(())
    }

    /// What is kept of buckets that are not there any more is let go of.
    pub(super) fn finish_stranded_orphans(&self) {
        self.orphans_of(|bucket| self.store.is_stranded(bucket)).into_iter().for_each(|file| self.finish_orphan(file));
    }

    fn orphans_of(&self, wanted: impl Fn(BucketId) -> bool) -> Vec<FileId> {
        lock(&self.orphans).keys().copied().filter(|file| wanted(file.bucket)).collect()
    }

    /// Moves such notes to the end of the journal, if one of them lies in this file of it.
    pub(super) fn shift_orphans(&self, file: u64) -> Result<(), JournalError> {
        let mut orphans = lock(&self.orphans);
        let notes: Vec<(Vec<Position>, Record)> = orphans.iter().map(|(id, at)| (vec![*at], note(*id))).collect();
        if let Some(moved) = super::local::shift(self.store.journal(), file, &notes)? {
            orphans.values_mut().zip(moved).for_each(|(at, moved)| *at = moved);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cyx_crypto::keys::AccountKey;

    use super::*;
    use crate::journal::Limits;

    #[test]
    fn a_note_says_which_file_it_is_about() {
        let file = FileId { bucket: BucketId([3; 16]), inode: InodeId([4; 16]) };
        let Record::Note { tag, data } = note(file) else { panic!("another record") };
        assert_eq!((tag, decode(&data).unwrap()), (TAG, file));
        for wrong in [&data[..32], &[&data[..], &[0]].concat(), &[&[9], &data[1..]].concat(), b""] {
            decode(wrong).unwrap_err();
        }
    }

    #[test]
    fn a_note_is_found_at_the_next_start_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let file = FileId { bucket: BucketId([3; 16]), inode: InodeId([4; 16]) };
        let open = || {
            let key = AccountKey::from_bytes([1; 32]).derive_mount_key();
            let (journal, found) = Journal::open(folder.path(), key, Limits::default()).unwrap();
            let files = found.notes.iter().filter(|(_, tag, _)| *tag == TAG).map(|(_, _, data)| decode(data).unwrap());
            (journal, files.collect::<Vec<_>>())
        };
        let (journal, found) = open();
        assert_eq!(found, []);
        let mut orphans = HashMap::new();
        begin(&mut orphans, &journal, file).unwrap();
        begin(&mut orphans, &journal, file).unwrap();
        drop(journal);
        let (journal, found) = open();
        assert_eq!(found, [file], "once");
        finish(&mut orphans, &journal, file).unwrap();
        assert!(orphans.is_empty());
        finish(&mut orphans, &journal, file).unwrap();
        drop(journal);
        assert_eq!(open().1, []);
    }
}
