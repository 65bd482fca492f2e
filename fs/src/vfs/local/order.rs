//! Which changes of names have to keep their order. Two that have nothing to do with each other may be sent in any order, so that one that has
//! to wait for content holds up nothing but what is built on it.

use std::collections::HashSet;

use bytes::Bytes;
use cyx_core::ids::InodeId;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::note::{operation_of, subject};

/// What a change is about.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    /// Inodes that it makes, changes, moves, removes or replaces.
    inodes: Vec<InodeId>,
    /// Directories in which it changes a name.
    directories: Vec<InodeId>,
    /// The names, encrypted: under every key that they may be found by.
    names: Vec<(InodeId, Bytes)>,
    /// Something gets another directory. What lies in what then decides whether others can be moved.
    moves: bool,
}

impl Footprint {
    pub(super) fn of(mutation: &pb::Mutation) -> Self {
        let mut footprint = Self::default();
        footprint.inodes.extend(subject(mutation));
        match operation_of(mutation) {
            Some(Op::Create(create)) => footprint.name(&create.directory, &create.names),
            Some(Op::Link(link)) => footprint.name(&link.directory, &link.names),
            Some(Op::Unlink(unlink)) => footprint.name(&unlink.directory, &unlink.names),
            Some(Op::Rename(rename)) => {
                footprint.name(&rename.directory, &rename.names);
                footprint.name(&rename.new_directory, &rename.new_names);
                let replaced =
                    rename.replaced.as_ref().and_then(|replaced| InodeId::try_from(&replaced.child[..]).ok());
                footprint.inodes.extend(replaced);
                footprint.moves = rename.directory != rename.new_directory;
            }
            _ => {}
        }
        footprint
    }

    /// The same, about these inodes as well.
    pub(super) fn and(mut self, inodes: &[InodeId]) -> Self {
        self.inodes.extend(inodes);
        self
    }

    /// It is about this inode, or a name in it.
    pub(super) fn concerns(&self, inode: InodeId) -> bool {
        self.inodes.contains(&inode) || self.directories.contains(&inode)
    }

    fn name(&mut self, directory: &[u8], tokens: &[pb::NameToken]) {
        let Ok(directory) = InodeId::try_from(directory) else { return };
        self.directories.push(directory);
        self.names.extend(tokens.iter().map(|token| (directory, token.name.clone())));
    }
}

/// What waiting changes are about, all together.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    inodes: HashSet<InodeId>,
    directories: HashSet<InodeId>,
    names: HashSet<(InodeId, Bytes)>,
    moves: bool,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.inodes.is_empty() && self.names.is_empty()
    }

    /// A change waits. `is_file`: what it moves is no directory.
    pub(super) fn add(&mut self, footprint: Footprint, is_file: bool) {
        self.inodes.extend(footprint.inodes);
        self.directories.extend(footprint.directories);
        self.names.extend(footprint.names);
        self.moves |= footprint.moves && !is_file;
    }

    /// A later change has to wait as well: it is about the same name or inode, lies in a directory that something is done to, does something to
    /// a directory in which a name waits, or may be allowed or not because of where another directory goes.
    pub(super) fn holds_up(&self, later: &Footprint) -> bool {
        later.inodes.iter().any(|inode| self.inodes.contains(inode) || self.directories.contains(inode))
            || later.directories.iter().any(|directory| self.inodes.contains(directory))
            || later.names.iter().any(|name| self.names.contains(name))
            || (self.moves && later.moves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::{Random as _, TxnId};
    use cyx_proto::convert::bytes_of;

    fn id(byte: u8) -> InodeId {
        InodeId([byte; 16])
    }

    fn tokens(name: &'static str) -> Vec<pb::NameToken> {
        vec![pb::NameToken { epoch: 1, name: Bytes::from_static(name.as_bytes()) }]
    }

    fn mutation(operation: Op) -> pb::Mutation {
        let operations = vec![pb::Operation { operation: Some(operation) }];
        pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: None }
    }

    fn create(inode: u8, directory: u8, name: &'static str) -> pb::Mutation {
        mutation(Op::Create(pb::Create {
            inode: bytes_of(id(inode)),
            directory: bytes_of(id(directory)),
            names: tokens(name),
            ..Default::default()
        }))
    }

    fn expected(inode: u8) -> Option<pb::Expected> {
        Some(pb::Expected { child: bytes_of(id(inode)), entry_version: 0 })
    }

    fn unlink(inode: u8, directory: u8, name: &'static str) -> pb::Mutation {
        let (directory, names) = (bytes_of(id(directory)), tokens(name));
        mutation(Op::Unlink(pb::Unlink { directory, names, expected: expected(inode), ..Default::default() }))
    }

    fn rename(inode: u8, from: (u8, &'static str), to: (u8, &'static str), replaced: Option<u8>) -> pb::Mutation {
        mutation(Op::Rename(pb::Rename {
            directory: bytes_of(id(from.0)),
            names: tokens(from.1),
            expected: expected(inode),
            new_directory: bytes_of(id(to.0)),
            new_names: tokens(to.1),
            replaced: replaced.and_then(expected),
            ..Default::default()
        }))
    }

    fn holds_up(waiting: &pb::Mutation, is_file: bool, later: &pb::Mutation) -> bool {
        let mut all = Waiting::default();
        assert!(all.is_empty() && !all.holds_up(&Footprint::of(later)));
        all.add(Footprint::of(waiting), is_file);
        all.holds_up(&Footprint::of(later))
    }

    #[test]
    fn only_what_is_built_on_a_waiting_change_waits_as_well() {
        // In directory 1 the file 2 takes the place of file 3.
        let saved = rename(2, (1, "tmp"), (1, "doc"), Some(3));
        for (later, waits) in [
            (create(9, 1, "other"), false),
            (create(9, 1, "tmp"), true),
            (create(9, 8, "tmp"), false),
            (unlink(2, 1, "doc"), true),
            (unlink(7, 1, "seven"), false),
            (unlink(1, 0, "the directory"), true),
            (rename(3, (1, "second name of it"), (8, "x"), None), true),
            (rename(7, (5, "x"), (6, "x"), None), false),
            (mutation(Op::SetAttributes(pb::SetAttributes { inode: bytes_of(id(2)), ..Default::default() })), true),
            (mutation(Op::SetAttributes(pb::SetAttributes { inode: bytes_of(id(7)), ..Default::default() })), false),
        ] {
            assert_eq!(holds_up(&saved, true, &later), waits, "{later:?}");
        }
    }

    #[test]
    fn what_lies_in_something_that_waits_to_be_made_waits() {
        let made = create(4, 1, "dir");
        assert!(holds_up(&made, false, &create(5, 4, "inside")));
        assert!(!holds_up(&made, false, &create(5, 1, "beside")));
    }

    #[test]
    fn directories_move_in_their_order_whatever_they_are() {
        let moved = rename(4, (1, "a"), (2, "a"), None);
        let other = rename(5, (6, "b"), (7, "b"), None);
        assert!(holds_up(&moved, false, &other));
        assert!(!holds_up(&moved, true, &other), "a file has nothing below it");
        assert!(!holds_up(&moved, false, &rename(5, (6, "b"), (6, "c"), None)), "it stays where it is");
    }
}
