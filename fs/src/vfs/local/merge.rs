//! Changes that are superseded before they are sent. A program that saves a file again and again, each time under the same other name and by a
//! rename over it, leaves a chain in which every change waits for content that the next one removes: uploaded one by one, for nobody. So when
//! something takes the last name from a file whose own rename still waits for its content, that rename becomes the removal that it amounts to,
//! and what comes after it takes the place of what it would have replaced:
//!
//! ```text
//! make A, A over D (waits for A), make B, B over A (waits for B)
//! make A, remove A,               make B, B over D (waits for B)
//! ```
//!
//! Others see D until B is there, as if the program had saved once.
//!
//! The notes in the journal stay as they were decided until the last change is done, which is sent behind the others, so a crash leaves the whole
//! chain. What of it was sent by then is not known: a rename of an earlier run is superseded only when the server says that it is not done.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cyx_client::Result;
use cyx_core::error::ErrorCode;
use cyx_core::ids::InodeId;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::note::{loses, operation_of};
use super::queue::Item;
use super::{Local, State, count_down};
use crate::vfs::Inner;
use crate::vfs::node::{Opened, lock};

/// Names or inodes that the server is asked for in one call. With the largest metadata that there can be the answer is still a message.
pub(super) const ASKED: usize = 500;

/// A rename of an earlier run, and where what it renames lies if it is not done.
struct Doubtful {
    number: u64,
    directory: Bytes,
    names: Vec<pb::NameToken>,
    child: Bytes,
}

/// The rename of a file over another one, if a change is that.
fn over(mutation: &pb::Mutation) -> Option<&pb::Rename> {
    match operation_of(mutation) {
        Some(Op::Rename(rename)) if !rename.exchange && rename.replaced.is_some() => Some(rename),
        _ => None,
    }
}

/// Where a change takes a name from a file.
pub(super) fn taken(mutation: &pb::Mutation) -> Option<(&Bytes, &[pb::NameToken])> {
    match operation_of(mutation)? {
        Op::Unlink(unlink) => Some((&unlink.directory, &unlink.names)),
        Op::Rename(rename) => Some((&rename.new_directory, &rename.new_names)),
        _ => None,
    }
}

/// A change with something else to take the name from.
fn with_loss(mutation: &pb::Mutation, lost: Option<pb::Expected>) -> pb::Mutation {
    let mut mutation = mutation.clone();
    match mutation.operations.first_mut().and_then(|operation| operation.operation.as_mut()) {
        Some(Op::Unlink(unlink)) => unlink.expected = lost,
        Some(Op::Rename(rename)) => rename.replaced = lost,
        _ => {}
    }
    mutation
}

impl State {
    /// What the change at this place supersedes: the place of a rename that waits for the content of the file which loses its name by it. One
    /// of an earlier run only if it is known to be undone.
    pub(super) fn superseded(&self, last: usize, undone: &HashSet<u64>) -> Option<usize> {
        let item = self.queue.get(last)?;
        let lost = loses(&item.mutation).filter(|lost| self.awaited.contains_key(lost))?;
        if self.committing.contains(&lost) {
            return None;
        }
        let (directory, names) = taken(&item.mutation)?;
        for (place, earlier) in self.queue.iter().enumerate().take(last).rev() {
            if earlier.after == Some(lost) {
                let rename =
                    over(&earlier.mutation).filter(|_| !earlier.doubtful || undone.contains(&earlier.number))?;
                let is_there = rename.new_directory == *directory
                    && rename.new_names.iter().any(|name| names.contains(name))
                    && rename.expected.as_ref().is_some_and(|expected| expected.child[..] == lost.0);
                return is_there.then_some(place);
            }
            // Something was done to the file under that name.
            if earlier.footprint().concerns(lost) {
                return None;
            }
        }
        None
    }

    /// Supersedes what the change at this place makes superfluous. The file whose content nobody waits for any more.
    pub(super) fn merge(&mut self, last: usize) -> Option<InodeId> {
        let first = self.superseded(last, &HashSet::new())?;
        let (earlier, later) = (self.queue.get(first)?, self.queue.get(last)?);
        let rename = over(&earlier.mutation)?;
        let removal = pb::Unlink {
            directory: rename.directory.clone(),
            names: rename.names.clone(),
            expected: rename.expected.clone(),
            mode: pb::unlink::Mode::File.into(),
        };
        let operations = vec![pb::Operation { operation: Some(Op::Unlink(removal)) }];
        let removal = pb::Mutation { operations, ..earlier.mutation.clone() };
        let replacement = with_loss(&later.mutation, rename.replaced.clone());
        // What the one loses by it, the other one takes: nothing is free.
        self.exchange_mutation(first, removal);
        self.exchange_mutation(last, replacement);
        let earlier = self.queue.get_mut(first)?;
        let awaited = earlier.after.take();
        let notes = std::mem::take(&mut earlier.notes);
        let (known, watch, last_name) = (earlier.known.take(), earlier.watch.take(), earlier.last);
        let later = self.queue.get_mut(last)?;
        later.notes.splice(0..0, notes);
        later.behind.extend(awaited);
        let (known, watch) = (std::mem::replace(&mut later.known, known), std::mem::replace(&mut later.watch, watch));
        let last_name = std::mem::replace(&mut later.last, last_name);
        if let Some(earlier) = self.queue.get_mut(first) {
            (earlier.known, earlier.watch, earlier.last) = (known, watch, last_name);
        }
        let lost = awaited?;
        count_down(&mut self.awaited, lost);
        Some(lost)
    }

    /// The renames of earlier runs that something would supersede.
    fn doubtful(&self) -> Vec<Doubtful> {
        let lost: HashSet<InodeId> = self.queue.iter().filter_map(|item| loses(&item.mutation)).collect();
        let doubtful = |item: &Item| {
            let after = item.after.filter(|after| item.doubtful && lost.contains(after))?;
            let rename = over(&item.mutation)?;
            let (directory, names) = (rename.directory.clone(), rename.names.clone());
            Some(Doubtful { number: item.number, directory, names, child: bytes_of(after) })
        };
        self.queue.iter().filter_map(doubtful).collect()
    }
}

impl Local {
    /// What an earlier run left may be partly done, and it was not looked yet.
    pub(super) fn is_doubtful(&self) -> bool {
        lock(&self.state).doubtful
    }

    /// A file is to get another name.
    fn is_linked(&self, inode: InodeId) -> bool {
        let links =
            |item: &Item| matches!(operation_of(&item.mutation), Some(Op::Link(link)) if link.inode[..] == inode.0);
        lock(&self.state).queue.iter().any(links)
    }

    /// These renames are not done. What is superseded by what: the files whose content nobody waits for any more.
    pub(super) fn merge_all(&self, undone: &HashSet<u64>) -> Vec<InodeId> {
        let mut state = lock(&self.state);
        state.doubtful = false;
        for item in state.queue.iter_mut().filter(|item| undone.contains(&item.number)) {
            item.doubtful = false;
        }
        let places = 0..state.queue.len();
        places.filter_map(|place| state.merge(place)).collect()
    }
}

impl Inner {
    /// Looks what of the changes of an earlier run is not done, and supersedes what is superfluous of it. `sending` is held.
    pub(super) async fn merge_recovered(&self, home: &Opened) -> Result<()> {
        self.give_up_unwritten(home).await?;
        let doubtful = lock(&home.local.state).doubtful();
        let (mut undone, mut kept) = (HashSet::new(), HashSet::new());
        let mut elsewhere: Vec<&Doubtful> = Vec::new();
        let mut by_directory: HashMap<&Bytes, Vec<&Doubtful>> = HashMap::new();
        doubtful.iter().for_each(|one| by_directory.entry(&one.directory).or_default().push(one));
        for (directory, all) in by_directory {
            for some in all.chunks(ASKED) {
                let names = some.iter().map(|one| pb::NameQuestion { tokens: one.names.clone() }).collect();
                let request = pb::LookupRequest { bucket: bytes_of(home.id), directory: directory.clone(), names };
                let answers = match home.health.ask(self.client.meta.lookup(request)).await {
                    Ok(answer) => answer.answers,
                    // The directory is gone, or its names are others under a key that is newer.
                    Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::StaleKey) => Vec::new(),
                    Err(error) => return Err(error),
                };
                let mut answers = answers.into_iter();
                for one in some {
                    let there = answers.next().and_then(|answer| answer.entry.zip(answer.inode));
                    match there.filter(|(entry, _)| entry.child == one.child) {
                        Some((_, inode)) => {
                            undone.insert(one.number);
                            kept.extend((inode.nlink > 1).then_some(inode.id));
                        }
                        None => elsewhere.push(one),
                    }
                }
            }
        }
        for some in elsewhere.chunks(ASKED) {
            let ids = some.iter().map(|one| one.child.clone()).collect();
            let request = pb::GetInodesRequest { bucket: bytes_of(home.id), ids };
            let answer = home.health.ask(self.client.meta.get_inodes(request)).await?;
            kept.extend(answer.inodes.iter().filter(|inode| inode.nlink > 1).map(|inode| inode.id.clone()));
            // What is not there yet, or not any more, or has no content yet, was not put in the place of anything that is still to be replaced.
            let is_placed = |inode: &pb::Inode| inode.nlink > 0 && inode.version > 0;
            let placed: HashSet<Bytes> = answer.inodes.into_iter().filter(is_placed).map(|inode| inode.id).collect();
            undone.extend(some.iter().filter(|one| !placed.contains(&one.child)).map(|one| one.number));
        }
        for inode in home.local.merge_all(&undone) {
            if !kept.contains(&inode.0[..]) && !home.local.is_linked(inode) {
                self.superseded(home, inode);
            }
        }
        Ok(())
    }

    /// The content of a file that an earlier run wrote need not be uploaded.
    fn superseded(&self, home: &Opened, inode: InodeId) {
        if let Some(content) = self.store.existing(home.id, inode) {
            content.orphan();
            self.let_go_of_orphan(home, &content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Position;
    use crate::vfs::local::note::{Note, touches};
    use cyx_core::ids::{BucketId, Random as _, TxnId};

    const DIRECTORY: u8 = 1;
    const DOCUMENT: u8 = 9;

    fn id(byte: u8) -> InodeId {
        InodeId([byte; 16])
    }

    fn tokens(name: &'static str) -> Vec<pb::NameToken> {
        vec![pb::NameToken { epoch: 1, name: Bytes::from_static(name.as_bytes()) }]
    }

    fn expected(inode: u8) -> Option<pb::Expected> {
        Some(pb::Expected { child: bytes_of(id(inode)), entry_version: u64::from(inode) })
    }

    fn note(operation: Op, after: Option<u8>, known: Option<u64>) -> Note {
        let operations = vec![pb::Operation { operation: Some(operation) }];
        let mutation = pb::Mutation { txn: bytes_of(TxnId::random()), operations, time_ns: None };
        Note {
            bucket: BucketId([1; 16]),
            mutation,
            changes: 1 + u8::from(known.is_some()),
            after: after.map(id),
            known,
            last: true,
            named: None,
        }
    }

    fn create(inode: u8) -> Note {
        let (inode, directory, names) = (bytes_of(id(inode)), bytes_of(id(DIRECTORY)), tokens("new"));
        note(Op::Create(pb::Create { inode, directory, names, ..Default::default() }), None, None)
    }

    /// A file that was written to takes the place of another one.
    fn save(inode: u8, over: u8) -> Note {
        let rename = pb::Rename {
            directory: bytes_of(id(DIRECTORY)),
            names: tokens("new"),
            expected: expected(inode),
            new_directory: bytes_of(id(DIRECTORY)),
            new_names: tokens("document"),
            replaced: expected(over),
            ..Default::default()
        };
        note(Op::Rename(rename), Some(inode), Some(u64::from(over)))
    }

    fn removal(inode: u8, name: &'static str) -> Note {
        let (directory, names, mode) = (bytes_of(id(DIRECTORY)), tokens(name), pb::unlink::Mode::File.into());
        note(Op::Unlink(pb::Unlink { directory, names, expected: expected(inode), mode }), None, Some(u64::from(inode)))
    }

    fn state(notes: Vec<Note>) -> State {
        let mut state = State::default();
        for (at, note) in (0..).zip(notes) {
            state.push(Position::for_tests(at), note, None, Some(1));
        }
        state
    }

    fn operations(state: &State) -> Vec<Op> {
        state.queue.iter().filter_map(|item| operation_of(&item.mutation).cloned()).collect()
    }

    fn check_counts(state: &State) {
        let mut touched: HashMap<InodeId, u32> = HashMap::new();
        let mut awaited: HashMap<InodeId, u32> = HashMap::new();
        for item in &state.queue {
            touches(&item.mutation).into_iter().for_each(|inode| *touched.entry(inode).or_default() += 1);
            item.after.into_iter().for_each(|inode| *awaited.entry(inode).or_default() += 1);
        }
        assert_eq!((touched, awaited), (state.touched.clone(), state.awaited.clone()));
    }

    #[test]
    fn of_many_saves_only_the_last_is_waited_for() {
        let saves = [(2, DOCUMENT), (3, 2), (4, 3)];
        let notes: Vec<Note> = saves.iter().flat_map(|(file, over)| [create(*file), save(*file, *over)]).collect();
        let last = notes[5].clone();
        let state = state(notes.clone());
        check_counts(&state);
        let wanted = [create(2), removal(2, "new"), create(3), removal(3, "new"), create(4)];
        let wanted: Vec<Op> = wanted.iter().filter_map(|note| operation_of(&note.mutation).cloned()).collect();
        assert_eq!(operations(&state)[..5], wanted);
        let Some(Op::Rename(rename)) = operation_of(&state.queue[5].mutation) else { panic!("another operation") };
        assert_eq!((rename.replaced.clone(), &rename.new_names), (expected(DOCUMENT), &tokens("document")));
        assert_eq!(state.awaiting(), [], "it is not made yet");
        assert_eq!(state.ready(10).iter().map(|item| item.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        let known: Vec<Option<u64>> = state.queue.iter().map(|item| item.known).collect();
        assert_eq!(known, [None, Some(2), None, Some(3), None, Some(u64::from(DOCUMENT))], "of what each one loses");
        let places: Vec<Vec<u64>> =
            state.queue.iter().map(|item| item.notes.iter().map(|note| note.sequence).collect()).collect();
        assert_eq!(places, [vec![0], vec![], vec![2], vec![], vec![4], vec![1, 3, 5]]);
        let txns: Vec<&Bytes> = state.queue.iter().map(|item| &item.mutation.txn).collect();
        assert_eq!(txns, notes.iter().map(|note| &note.mutation.txn).collect::<Vec<_>>(), "none is done twice");
        assert_eq!((state.queue[5].after, last.after), (Some(id(4)), Some(id(4))));
    }

    #[test]
    fn the_last_change_is_not_sent_before_those_whose_notes_it_carries() {
        // A file that is saved over another one before it is put in the place of a third, and is removed there: the first still waits.
        let moved = pb::Rename {
            directory: bytes_of(id(DIRECTORY)),
            names: tokens("document"),
            expected: expected(2),
            new_directory: bytes_of(id(DIRECTORY)),
            new_names: tokens("third"),
            replaced: expected(8),
            ..Default::default()
        };
        let moved = note(Op::Rename(moved), Some(2), Some(8));
        let mut state = state(vec![save(2, DOCUMENT), moved, removal(2, "third")]);
        check_counts(&state);
        let operations = operations(&state);
        assert!(matches!(&operations[1], Op::Unlink(unlink) if unlink.names == tokens("document")));
        assert!(matches!(&operations[2], Op::Unlink(unlink) if unlink.expected == expected(8)));
        assert_eq!(state.queue[2].notes.len(), 2);
        assert!(state.ready(10).is_empty(), "all of it waits for the first");
        state.queue[0].after = None;
        assert_eq!(state.ready(10).len(), 3);
    }

    #[test]
    fn what_is_removed_behind_a_save_is_what_was_there_before() {
        let state = state(vec![create(2), save(2, DOCUMENT), removal(2, "document")]);
        check_counts(&state);
        let Some(Op::Unlink(unlink)) = operation_of(&state.queue[2].mutation) else { panic!("another operation") };
        assert_eq!((&unlink.expected, &unlink.names), (&expected(DOCUMENT), &tokens("document")));
        assert_eq!(state.ready(10).len(), 3);
    }

    #[test]
    fn what_something_else_was_done_to_is_not_superseded() {
        let link =
            pb::Link { inode: bytes_of(id(2)), directory: bytes_of(id(7)), names: tokens("x"), ..Default::default() };
        let set = pb::SetAttributes { inode: bytes_of(id(2)), mode: Some(0), ..Default::default() };
        for between in [Op::Link(link), Op::SetAttributes(set)] {
            let notes = vec![create(2), save(2, DOCUMENT), note(between, None, None), create(3), save(3, 2)];
            let wanted: Vec<Op> = notes.iter().filter_map(|note| operation_of(&note.mutation).cloned()).collect();
            let state = state(notes);
            check_counts(&state);
            assert_eq!(operations(&state), wanted);
        }
        // The file has got away from the name, or another name is taken from it.
        let state = state(vec![create(2), save(2, DOCUMENT), removal(2, "second name")]);
        assert_eq!(state.awaited.len(), 1);
    }

    #[test]
    fn what_is_being_committed_or_may_have_been_sent_is_not_superseded() {
        let local = Local::default();
        let push = |note, at| lock(&local.state).push(Position::for_tests(at), note, None, Some(1));
        push(save(2, DOCUMENT), 0);
        let (awaiting, committing) = local.begin_commit();
        assert_eq!(awaiting, [(0, id(2))]);
        push(create(3), 1);
        push(save(3, 2), 2);
        drop(committing);
        push(create(4), 3);
        push(save(4, 3), 4);
        assert!(local.awaits(id(2)) && !local.awaits(id(3)) && local.awaits(id(4)));

        let mut state = State::default();
        for (at, note) in (0..).zip([save(2, DOCUMENT), create(3), save(3, 2), create(4), save(4, 3)]) {
            state.push_recovered(Position::for_tests(at), note, None);
        }
        assert_eq!(state.awaited.len(), 3);
        let local = Local::default();
        *lock(&local.state) = state;
        let doubtful: Vec<u64> = lock(&local.state).doubtful().iter().map(|one| one.number).collect();
        assert_eq!(doubtful, [0, 2]);
        assert!(local.has_ready() && local.is_doubtful());
        // The first was done, it turns out.
        assert_eq!(local.merge_all(&HashSet::from([2])), [id(3)]);
        assert!(local.awaits(id(2)) && local.awaits(id(4)) && !local.is_doubtful());
        check_counts(&lock(&local.state));
    }
}
