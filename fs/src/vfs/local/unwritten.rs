//! Renames of an earlier run whose content is missing. One over another file waits for the content of the file that takes its place. If that is
//! neither on this machine nor known to the server, the part of the journal is damaged that had it: done all the same, the rename would replace
//! the old file by an empty one. So it is not done, and reported; both files stay as they are.
//!
//! One that a later change supersedes goes its way: the content of a file that is replaced again is let go of, and nobody misses it.

use std::collections::HashSet;

use cyx_client::Result;
use cyx_core::ids::InodeId;
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::merge::ASKED;
use super::note::{operation_of, subject};
use super::queue::Item;
use super::{Local, State};
use crate::vfs::Inner;
use crate::vfs::node::{Opened, lock};

impl State {
    /// Of these renames, whose content is missing, those that nothing supersedes; the last ones first, so that none is superseded by one
    /// that is given up.
    fn unwritten(&self, missing: &HashSet<u64>) -> Vec<Item> {
        let mut given_up: HashSet<u64> = HashSet::new();
        let mut found = Vec::new();
        for (place, item) in self.queue.iter().enumerate().rev().filter(|(_, item)| missing.contains(&item.number)) {
            let is_superseded = self.queue.iter().enumerate().skip(place + 1).any(|(last, later)| {
                !given_up.contains(&later.number) && self.superseded(last, missing) == Some(place)
            });
            if !is_superseded {
                given_up.insert(item.number);
                found.push(item.clone());
            }
        }
        found
    }
}

impl Local {
    /// The changes of an earlier run that wait for content, and whose.
    fn doubtful_waiting(&self) -> Vec<(u64, InodeId)> {
        let state = lock(&self.state);
        let doubtful = state.queue.iter().filter(|item| item.doubtful);
        doubtful.filter_map(|item| Some((item.number, item.after?))).collect()
    }

    /// The files that are still to be made.
    fn unmade(&self) -> HashSet<InodeId> {
        let state = lock(&self.state);
        let creates = state.queue.iter().filter(|item| matches!(operation_of(&item.mutation), Some(Op::Create(_))));
        creates.filter_map(|item| subject(&item.mutation)).collect()
    }
}

impl Inner {
    /// Gives up what an earlier run decided and what must not be done, because the content that it waits for is missing. `sending` is held.
    pub(super) async fn give_up_unwritten(&self, home: &Opened) -> Result<()> {
        let is_here = |inode| self.store.existing(home.id, inode).is_some_and(|content| content.is_dirty());
        let mut waiting = home.local.doubtful_waiting();
        waiting.retain(|(_, inode)| !is_here(*inode));
        // One that is neither at the server nor to be made was removed by others, which the server says.
        let mut empty = home.local.unmade();
        for some in waiting.chunks(ASKED) {
            let ids = some.iter().map(|(_, inode)| bytes_of(*inode)).collect();
            let request = pb::GetInodesRequest { bucket: bytes_of(home.id), ids };
            for inode in home.health.ask(self.client.meta.get_inodes(request)).await?.inodes {
                let found: InodeId = id(&inode.id, "inode.id")?;
                if inode.version > 0 {
                    empty.remove(&found);
                } else {
                    empty.insert(found);
                }
            }
        }
        waiting.retain(|(_, inode)| empty.contains(inode));
        let missing: HashSet<u64> = waiting.into_iter().map(|(number, _)| number).collect();
        let given_up = lock(&home.local.state).unwritten(&missing);
        for item in given_up {
            self.settle_with(home, &item, None, "what was written to the file is missing in the journal");
            self.undone(home, &item).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cyx_core::ids::{BucketId, Random as _, TxnId};

    use super::super::note::Note;
    use super::*;
    use crate::journal::Position;

    fn inode(byte: u8) -> InodeId {
        InodeId([byte; 16])
    }

    /// A file that was written to takes the place of another one.
    fn save(file: u8, over: u8) -> Note {
        let tokens = |name: &'static str| vec![pb::NameToken { epoch: 1, name: Bytes::from_static(name.as_bytes()) }];
        let expected = |byte| Some(pb::Expected { child: bytes_of(inode(byte)), entry_version: 1 });
        let rename = pb::Rename {
            directory: bytes_of(inode(1)),
            names: tokens("new"),
            expected: expected(file),
            new_directory: bytes_of(inode(1)),
            new_names: tokens("document"),
            replaced: expected(over),
            ..Default::default()
        };
        let operations = vec![pb::Operation { operation: Some(Op::Rename(rename)) }];
        let mutation = pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: None };
        Note {
            bucket: BucketId([1; 16]),
            mutation,
            changes: 2,
            after: Some(inode(file)),
            known: Some(1),
            last: true,
            named: None,
        }
    }

    /// Of the saves 2 over 9, 3 over 2 and 4 over 3, the content of some is missing: which files are left to take the place of others.
    fn left(missing: &[u64]) -> Vec<InodeId> {
        let local = Local::default();
        for (at, note) in (0..).zip([save(2, 9), save(3, 2), save(4, 3)]) {
            lock(&local.state).push_recovered(Position::for_tests(at), note, None);
        }
        assert_eq!(local.doubtful_waiting(), [(0, inode(2)), (1, inode(3)), (2, inode(4))]);
        let given_up = lock(&local.state).unwritten(&missing.iter().copied().collect());
        for item in given_up {
            local.take(item.number).unwrap();
        }
        local.merge_all(&HashSet::from([0, 1, 2]));
        local.awaiting().into_iter().map(|(_, inode)| inode).collect()
    }

    #[test]
    fn a_file_without_its_content_takes_the_place_of_no_other() {
        for (missing, file) in [
            (&[][..], Some(4)),
            // What came before it is what the program saved last.
            (&[2], Some(3)),
            (&[1, 2], Some(2)),
            (&[0, 2], Some(3)),
            (&[0, 1, 2], None),
            // It was replaced again, by something that is there.
            (&[0], Some(4)),
            (&[1], Some(4)),
            (&[0, 1], Some(4)),
        ] {
            assert_eq!(left(missing), file.map(inode).into_iter().collect::<Vec<_>>(), "without {missing:?}");
        }
    }
}
