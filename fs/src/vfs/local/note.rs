//! Decided changes of names as notes of the journal.
//!
//! ```text
//! note: version u8 (3) | bucket 16 | changes u8 | 0, or 1 and the inode 16 of a file that must be committed before
//!       | 0, or 1 and the version u64 of the file that loses a name
//!       | 1 if that is the last name that it has here, else 0
//!       | 0, or 1 and of what gets a name its kind u8, the epoch u32 and the 32 bytes of its key, the length u16 of the name, the name
//!       | mutation
//! ```
//! In version 1 nothing is said of what loses a name, before version 3 nothing of last names and of what gets one.
//! The mutation is that of the protocol, as it will be sent: encrypted names and wrapped keys, and a transaction, so that one that was
//! sent before a crash is not done twice.

use std::collections::{HashMap, HashSet};
use std::fmt;

use bytes::Bytes;
use cyx_core::ids::{BucketId, InodeId};
use cyx_core::inode::InodeKind;
use cyx_core::wire::{DecodeError, Reader, Writer};
use cyx_crypto::keys::InodeKey;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use prost::Message as _;

use crate::journal::{FileId, Position, Record};
use crate::vfs::orphans;

/// The tag of such notes in the journal.
pub(crate) const TAG: u8 = 1;
const VERSION: u8 = 3;
/// Without last names and what gets a name.
const VERSION_2: u8 = 2;
/// Without what is known of what loses a name, either.
const VERSION_1: u8 = 1;
/// No operation makes more changes.
const CHANGES_MAX: u8 = 2;

/// A change of names that was decided here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) bucket: BucketId,
    /// What will be sent: one operation.
    pub(crate) mutation: pb::Mutation,
    /// Sequence numbers of the bucket that it takes.
    pub(crate) changes: u8,
    /// What was written to this file has to be committed before: the change puts it in the place of another one.
    pub(crate) after: Option<InodeId>,
    /// The newest version here of the file that loses a name to it, or by it. One that somebody else wrote since must not be lost.
    pub(crate) known: Option<u64>,
    /// The file that loses a name has no other one here.
    pub(crate) last: bool,
    /// What gets a name.
    pub(crate) named: Option<Named>,
}

/// What gets a name, as whoever has no key of the directory cannot tell: that may be gone when it is sent.
#[derive(Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) kind: InodeKind,
    pub(crate) key: InodeKey,
    pub(crate) name: Vec<u8>,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("kind", &self.kind).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Note {
    /// As a record of the journal.
    pub(crate) fn record(&self) -> Record {
        let mut writer = Writer::default();
        writer.u8(VERSION).raw(&self.bucket.0).u8(self.changes);
        match self.after {
            Some(inode) => writer.u8(1).raw(&inode.0),
            None => writer.u8(0),
        };
        match self.known {
            Some(version) => writer.u8(1).u64(version),
            None => writer.u8(0),
        };
        writer.u8(u8::from(self.last));
        match &self.named {
            Some(Named { kind, key, name }) => {
                let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
                writer.u8(1).u8(kind.number()).u32(key.epoch()).raw(key.expose()).u16(len).raw(name)
            }
            None => writer.u8(0),
        };
        writer.raw(&self.mutation.encode_to_vec());
        Record::Note { tag: TAG, data: Bytes::from(writer.finish()) }
    }

    /// Reads what a note holds.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub(crate) fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::bare(data);
        let layout = reader.u8()?;
        if !(VERSION_1..=VERSION).contains(&layout) {
            return Err(DecodeError::Invalid("version of a change of names"));
        }
        let (bucket, changes) = (BucketId(reader.array()?), reader.u8()?);
        let after = match reader.u8()? {
            0 => None,
            1 => Some(InodeId(reader.array()?)),
            _ => return Err(DecodeError::Invalid("what a change of names waits for")),
        };
        let known = match layout {
            VERSION_1 => None,
            _ => match reader.u8()? {
                0 => None,
                1 => Some(reader.u64()?),
                _ => return Err(DecodeError::Invalid("what is known of what loses a name")),
            },
        };
        let (last, named) = match layout {
            VERSION_1 | VERSION_2 => (true, None),
            _ => (take_flag(&mut reader)?, take_named(&mut reader)?),
        };
        let mutation = pb::Mutation::decode(reader.take(reader.remaining())?)
            .map_err(|_| DecodeError::Invalid("mutation of a change of names"))?;
        if changes > CHANGES_MAX || mutation.txn.len() != 16 || subject(&mutation).is_none() {
            return Err(DecodeError::Invalid("change of names"));
        }
        Ok(Self { bucket, mutation, changes, after, known, last, named })
    }
}

fn take_flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("flag of a change of names")),
    }
}

fn take_named(reader: &mut Reader<'_>) -> Result<Option<Named>, DecodeError> {
    if !take_flag(reader)? {
        return Ok(None);
    }
    let kind = InodeKind::from_number(i32::from(reader.u8()?))
        .map_err(|_| DecodeError::Invalid("kind of what gets a name"))?;
    let key = InodeKey::from_parts(reader.u32()?, reader.array()?);
    let len = usize::from(reader.u16()?);
    Ok(Some(Named { kind, key, name: reader.take(len)?.to_vec() }))
}

/// What an earlier run noted.
#[derive(Default)]
pub(crate) struct Notes {
    /// Changes of names, in order, by bucket.
    pub(crate) changes: HashMap<BucketId, Vec<(Position, Note)>>,
    /// Those that are there a second time: a crash came while they were moved.
    pub(crate) again: Vec<Position>,
    /// Files that were removed, and open.
    pub(crate) orphans: HashMap<FileId, Position>,
    /// What makes no sense.
    pub(crate) strange: Vec<(Position, Record)>,
}

impl Notes {
    /// The files that lose a name.
    pub(crate) fn losing(&self) -> HashSet<(BucketId, InodeId)> {
        let notes = self.changes.values().flatten().map(|(_, note)| note);
        notes.filter_map(|note| Some((note.bucket, loses(&note.mutation)?))).collect()
    }
}

/// The notes of an earlier run.
pub(crate) fn read_all(notes: &[(Position, u8, Bytes)]) -> Notes {
    let (mut found, mut known) = (Notes::default(), HashSet::new());
    for (position, tag, data) in notes {
        if let Some(file) = orphans::decode(data).ok().filter(|_| *tag == orphans::TAG) {
            found.again.extend(found.orphans.insert(file, *position));
            continue;
        }
        match Note::decode(data) {
            Ok(note) if *tag == TAG => {
                if known.insert((note.bucket, note.mutation.txn.clone())) {
                    found.changes.entry(note.bucket).or_default().push((*position, note));
                } else {
                    found.again.push(*position);
                }
            }
            _ => found.strange.push((*position, Record::Note { tag: *tag, data: data.clone() })),
        }
    }
    found
}

/// The operation of a mutation that was decided here.
pub(crate) fn operation_of(mutation: &pb::Mutation) -> Option<&Op> {
    match mutation.operations.as_slice() {
        [pb::Operation { operation: Some(operation) }] => Some(operation),
        _ => None,
    }
}

/// The inode that a mutation is about: the new one, the one that is moved, removed or changed.
pub(crate) fn subject(mutation: &pb::Mutation) -> Option<InodeId> {
    let id = match operation_of(mutation)? {
        Op::Create(create) => &create.inode,
        Op::Link(link) => &link.inode,
        Op::Unlink(unlink) => &unlink.expected.as_ref()?.child,
        Op::Rename(rename) => &rename.expected.as_ref()?.child,
        Op::SetAttributes(set) => &set.inode,
        Op::SetMeta(set) => &set.inode,
        _ => return None,
    };
    InodeId::try_from(&id[..]).ok()
}

/// Everything about which the server's answers change with a mutation: the inode, the directories, and what it loses a name to.
pub(crate) fn touches(mutation: &pb::Mutation) -> Vec<InodeId> {
    let mut ids = Vec::with_capacity(4);
    match operation_of(mutation) {
        Some(Op::Create(create)) => ids.push(&create.directory),
        Some(Op::Link(link)) => ids.push(&link.directory),
        Some(Op::Unlink(unlink)) => ids.push(&unlink.directory),
        Some(Op::Rename(rename)) => {
            ids.extend([&rename.directory, &rename.new_directory]);
            ids.extend(rename.replaced.as_ref().map(|replaced| &replaced.child));
        }
        _ => {}
    }
    let ids = ids.into_iter().filter_map(|id| InodeId::try_from(&id[..]).ok());
    ids.chain(subject(mutation)).collect()
}

/// The file that loses a name by a mutation: one that is removed or replaced.
pub(crate) fn loses(mutation: &pb::Mutation) -> Option<InodeId> {
    let lost = match operation_of(mutation)? {
        Op::Unlink(unlink) if unlink.mode() == pb::unlink::Mode::File => unlink.expected.as_ref()?,
        Op::Rename(rename) if !rename.exchange => rename.replaced.as_ref()?,
        _ => return None,
    };
    InodeId::try_from(&lost.child[..]).ok()
}

/// Sequence numbers of the bucket that a mutation takes.
pub(crate) fn changes_of(mutation: &pb::Mutation) -> u64 {
    match operation_of(mutation) {
        Some(Op::Rename(rename)) if rename.replaced.is_some() => 2,
        _ => 1,
    }
}

/// The file whose content must not be committed before a mutation is done: one that does not exist before, or one that gets a time
/// which a later commit is to replace, or one that may have no name afterwards.
pub(crate) fn holds(mutation: &pb::Mutation) -> Option<InodeId> {
    match operation_of(mutation)? {
        Op::Create(_) => subject(mutation),
        Op::SetAttributes(set) if set.mtime_ns.is_some() => subject(mutation),
        _ => loses(mutation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::{Random as _, TxnId};
    use cyx_proto::convert::bytes_of;
    use proptest::prelude::*;

    fn note(operation: Op, after: Option<InodeId>) -> Note {
        let operations = vec![pb::Operation { operation: Some(operation) }];
        let mutation = pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: Some(-5) };
        Note {
            bucket: BucketId([7; 16]),
            mutation,
            changes: 2,
            after,
            known: after.map(|_| 5),
            last: true,
            named: None,
        }
    }

    fn data(note: &Note) -> Bytes {
        match note.record() {
            Record::Note { tag: TAG, data } => data,
            _ => panic!("another record"),
        }
    }

    #[test]
    fn a_note_is_read_back() {
        let inode = InodeId([9; 16]);
        let create =
            pb::Create { inode: bytes_of(inode), wrapped_key: Bytes::from_static(b"key"), ..Default::default() };
        let new = Named { kind: InodeKind::Symlink, key: InodeKey::from_parts(3, [8; 32]), name: b"new".to_vec() };
        let made = Note { named: Some(new), ..note(Op::Create(create), None) };
        assert_eq!(Note::decode(&data(&made)), Ok(made.clone()));
        assert_eq!((subject(&made.mutation), holds(&made.mutation)), (Some(inode), Some(inode)));
        let expected = Some(pb::Expected { child: bytes_of(inode), entry_version: 0 });
        let moved = note(Op::Rename(pb::Rename { expected, ..Default::default() }), Some(inode));
        assert_eq!(Note::decode(&data(&moved)), Ok(moved.clone()));
        assert_eq!((subject(&moved.mutation), holds(&moved.mutation)), (Some(inode), None));
        let [from, to, over] = [2, 3, 4].map(|byte| InodeId([byte; 16]));
        let moved = pb::Rename {
            directory: bytes_of(from),
            new_directory: bytes_of(to),
            expected: Some(pb::Expected { child: bytes_of(inode), entry_version: 0 }),
            replaced: Some(pb::Expected { child: bytes_of(over), entry_version: 0 }),
            ..Default::default()
        };
        let moved = note(Op::Rename(moved), None).mutation;
        assert_eq!((touches(&moved), loses(&moved)), (vec![from, to, over, inode], Some(over)));
    }

    #[test]
    fn what_is_no_change_of_names_is_refused() {
        let commit = note(Op::Commit(pb::Commit::default()), None);
        assert!(Note::decode(&data(&commit)).is_err());
        let set = pb::SetAttributes { inode: bytes_of(InodeId([1; 16])), ..Default::default() };
        let good = data(&note(Op::SetAttributes(set), None));
        assert!(Note::decode(&good).is_ok());
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            bytes
        };
        assert!(Note::decode(&changed(0, 4)).is_err(), "another version");
        assert!(Note::decode(&changed(17, 3)).is_err(), "too many changes");
        assert!(Note::decode(&changed(18, 2)).is_err(), "no such flag");
        assert!(Note::decode(&changed(19, 2)).is_err(), "no such flag");
        assert!(Note::decode(&changed(20, 2)).is_err(), "no such flag");
        assert!(Note::decode(&changed(21, 2)).is_err(), "no such flag");
        let plain = Note::decode(&good).unwrap();
        for (version, left) in [(VERSION_1, 19), (VERSION_2, 20)] {
            let older = [&[version][..], &good[1..left], &good[22..]].concat();
            assert_eq!(Note::decode(&older).as_ref(), Ok(&plain), "as it was written before");
        }
        assert!(Note::decode(&good[..good.len() - 20]).is_err(), "cut off");
    }

    proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Note::decode(&bytes);
        }
    }
}
