//! The queue of decided changes: what can be sent, what waits for content, and what whoever asks has to wait for.

use std::collections::HashSet;
use std::sync::Arc;

use cyx_client::tree::names::DirectoryKeys;
use cyx_core::ids::InodeId;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::note::{Named, Note, changes_of, holds, loses, operation_of, touches};
use super::order::{Footprint, Waiting};
use super::redirect::Link;
use super::{Local, State, count_down};
use crate::journal::{Position, Watch};
use crate::vfs::node::lock;

/// Changes of one call, and their bytes, about.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;
/// Files whose content is committed together.
const TOGETHER: usize = 256;

/// A change that was decided here and is not known to be done.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its place in the order.
    pub(super) number: u64,
    /// Its note in the journal, behind those of changes that it supersedes. None if it is superseded itself.
    pub(super) notes: Vec<Position>,
    pub(super) mutation: pb::Mutation,
    pub(super) changes: u64,
    /// This file's content has to be committed before.
    pub(super) after: Option<InodeId>,
    /// The version that the file had here which loses a name.
    pub(super) known: Option<u64>,
    /// Which later ones are this machine's.
    pub(super) watch: Option<Arc<Watch>>,
    /// The lease under which it was decided, if under one.
    pub(super) under: Option<u64>,
    /// Files that it would have taken the name from, if their own renames had been sent: what these became has to be done before.
    pub(super) behind: Vec<InodeId>,
    /// An earlier run decided it, and may have sent it.
    pub(super) doubtful: bool,
    /// How often the server refused it, and another mutation took its place.
    pub(super) refusals: u32,
    /// What it is about lies somewhere else than where this machine put it.
    pub(super) redirected: bool,
    /// What loses a name by it has no other one here.
    pub(super) last: bool,
    /// What gets a name by it.
    pub(super) named: Option<Named>,
}

/// What has to be sent before somebody can go on.
#[derive(Debug)]
pub(super) enum Goal<'a> {
    /// Everything.
    All,
    /// What is about these inodes.
    About(&'a [InodeId]),
    /// What has to be done before a change like this.
    Before(&'a Footprint),
}

impl Item {
    pub(super) fn footprint(&self) -> Footprint {
        Footprint::of(&self.mutation).and(&self.behind)
    }
}

impl State {
    /// Adds a change at the end, and drops what is superfluous by it; the file whose content must not be committed before, if there is one.
    pub(super) fn push(
        &mut self,
        note_at: Position,
        note: Note,
        watch: Option<Arc<Watch>>,
        under: Option<u64>,
    ) -> Option<InodeId> {
        let held = self.hold(holds(&note.mutation));
        let Note { mutation, changes, after, known, last, named, .. } = note;
        for inode in touches(&mutation) {
            *self.touched.entry(inode).or_default() += 1;
        }
        if let Some(inode) = after {
            *self.awaited.entry(inode).or_default() += 1;
        }
        let changes = u64::from(changes);
        let (number, notes) = (self.next, vec![note_at]);
        let item = Item {
            number,
            notes,
            mutation,
            changes,
            after,
            known,
            watch,
            under,
            behind: Vec::new(),
            doubtful: false,
            refusals: 0,
            redirected: false,
            last,
            named,
        };
        self.queue.push_back(item);
        self.next += 1;
        self.merge(self.queue.len() - 1);
        held
    }

    /// As [`Self::push`], what an earlier run decided.
    pub(super) fn push_recovered(&mut self, note_at: Position, note: Note, watch: Option<Arc<Watch>>) {
        self.push(note_at, note, watch, None);
        if let Some(item) = self.queue.back_mut().filter(|item| item.after.is_some()) {
            item.doubtful = true;
            self.doubtful = true;
        }
    }

    /// Another mutation for the change at this place. The file whose content may be committed now, if there is one.
    pub(super) fn exchange_mutation(&mut self, place: usize, mutation: pb::Mutation) -> Option<InodeId> {
        for inode in touches(&mutation) {
            *self.touched.entry(inode).or_default() += 1;
        }
        self.hold(holds(&mutation));
        let item = self.queue.get_mut(place)?;
        item.changes = changes_of(&mutation);
        let before = std::mem::replace(&mut item.mutation, mutation);
        self.untouch(&before);
        self.unhold(holds(&before))
    }

    pub(super) fn hold(&mut self, held: Option<InodeId>) -> Option<InodeId> {
        let held = held?;
        *self.holding.entry(held).or_default() += 1;
        Some(held)
    }

    pub(super) fn unhold(&mut self, held: Option<InodeId>) -> Option<InodeId> {
        let held = held?;
        count_down(&mut self.holding, held);
        (!self.holding.contains_key(&held)).then_some(held)
    }

    /// A change that is done with touches nothing any more.
    fn untouch(&mut self, mutation: &pb::Mutation) {
        for inode in touches(mutation) {
            count_down(&mut self.touched, inode);
        }
    }

    /// A file is still to be made.
    pub(super) fn makes(&self, inode: InodeId) -> bool {
        // Most of what is removed while it is still to be made was made just before.
        self.queue
            .iter()
            .rev()
            .any(|item| matches!(operation_of(&item.mutation), Some(Op::Create(create)) if create.inode[..] == inode.0))
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&number, |item| item.number).ok()
    }

    /// The changes that can be sent in one call, in order: those that wait for content are left out, and what is built on them. So is what takes a
    /// name from a file that gets another one in the same call: that may be refused.
    pub(super) fn ready(&self, most: usize) -> Vec<Item> {
        let (mut ready, mut bytes, mut waiting) = (Vec::new(), 0, Waiting::default());
        let mut linked = HashSet::new();
        for item in &self.queue {
            if let Some(Op::Link(link)) = operation_of(&item.mutation) {
                linked.insert(&link.inode[..]);
            }
            if !linked.is_empty() && loses(&item.mutation).is_some_and(|lost| linked.contains(&lost.0[..])) {
                waiting.add(item.footprint(), true);
                continue;
            }
            if item.after.is_none() && waiting.is_empty() {
                // The usual case: nothing waits.
            } else {
                let footprint = item.footprint();
                if item.after.is_some() || waiting.holds_up(&footprint) {
                    waiting.add(footprint, item.after.is_some());
                    continue;
                }
            }
            bytes += prost::Message::encoded_len(&item.mutation);
            if ready.len() >= most || (bytes > BATCH_BYTES && !ready.is_empty()) {
                break;
            }
            ready.push(item.clone());
        }
        ready
    }

    /// The last name that a file has here goes by a change.
    pub(super) fn lets_go_of(&self, inode: InodeId) -> bool {
        self.queue.iter().any(|item| item.last && loses(&item.mutation) == Some(inode))
    }

    /// The changes that wait for the content of a file which the server knows, and the files.
    pub(super) fn awaiting(&self) -> Vec<(u64, InodeId)> {
        let (mut found, mut made) = (Vec::new(), HashSet::new());
        for item in &self.queue {
            if let Some(Op::Create(_)) = operation_of(&item.mutation) {
                made.extend(holds(&item.mutation));
            }
            if let Some(inode) = item.after.filter(|inode| !made.contains(inode)) {
                found.push((item.number, inode));
                if found.len() >= TOGETHER {
                    break;
                }
            }
        }
        found
    }

    /// Nothing of what was decided before `end` stands in the way.
    fn is_reached(&self, goal: &Goal<'_>, end: u64) -> bool {
        let mut before = self.queue.iter().take_while(|item| item.number < end);
        match goal {
            Goal::All => before.next().is_none(),
            Goal::About(inodes) => {
                let concerned = |inode: &InodeId| self.touched.contains_key(inode);
                !inodes.iter().any(concerned)
                    || !before.any(|item| touches(&item.mutation).iter().any(|inode| inodes.contains(inode)))
            }
            Goal::Before(change) => !before.any(|item| {
                let mut waiting = Waiting::default();
                waiting.add(item.footprint(), item.after.is_some());
                waiting.holds_up(change)
            }),
        }
    }
}

/// While it lives, contents are committed that something waits for.
pub(super) struct Committing<'a>(&'a Local);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).committing.clear();
    }
}

impl Local {
    /// Number behind the last change that was decided.
    pub(super) fn end(&self) -> u64 {
        lock(&self.state).next
    }

    pub(super) fn is_reached(&self, goal: &Goal<'_>, end: u64) -> bool {
        lock(&self.state).is_reached(goal, end)
    }

    /// See [`State::lets_go_of`].
    pub(super) fn lets_go_of(&self, inode: InodeId) -> bool {
        lock(&self.state).lets_go_of(inode)
    }

    /// What can be sent in one call.
    pub(super) fn batch(&self) -> Vec<Item> {
        lock(&self.state).ready(BATCH)
    }

    /// Something can be sent, or has to be looked at.
    pub(super) fn has_ready(&self) -> bool {
        let state = lock(&self.state);
        state.doubtful || !state.ready(1).is_empty()
    }

    /// Whose content is to be committed now: see [`State::awaiting`]. Nothing supersedes that until the end, so that there is an end to waiting
    /// for a file that is saved all the time.
    pub(super) fn begin_commit(&self) -> (Vec<(u64, InodeId)>, Committing<'_>) {
        let mut state = lock(&self.state);
        let awaiting = state.awaiting();
        state.committing = awaiting.iter().map(|(_, inode)| *inode).collect();
        (awaiting, Committing(self))
    }

    /// See [`State::awaiting`].
    pub(super) fn awaiting(&self) -> Vec<(u64, InodeId)> {
        lock(&self.state).awaiting()
    }

    /// The content that a change waits for is committed.
    pub(super) fn stop_waiting(&self, number: u64) {
        let mut state = lock(&self.state);
        let Some(place) = state.place(number) else { return };
        let Some(inode) = state.queue.get_mut(place).and_then(|item| item.after.take()) else { return };
        count_down(&mut state.awaited, inode);
        drop(state);
        self.send.notify_one();
    }

    /// Another mutation takes the place of one that was refused. What gets another name by it, under these keys, has that for what comes behind as
    /// well. The file whose content may be committed now, if there is one.
    pub(super) fn replace(&self, number: u64, mutation: pb::Mutation, keys: Option<&DirectoryKeys>) -> Option<InodeId> {
        let mut state = lock(&self.state);
        let place = state.place(number)?;
        let item = state.queue.get_mut(place)?;
        item.refusals += 1;
        if loses(&mutation).is_none() {
            (item.known, item.watch) = (None, None);
        }
        let names = Link::made_by(&item.mutation).zip(Link::made_by(&mutation));
        let freed = state.exchange_mutation(place, mutation);
        if let Some((before, now)) = names.filter(|(before, now)| before != now) {
            state.redirect(place + 1, &before, &now, keys);
        }
        freed
    }

    /// A change is done with. Where its notes lie, and the file whose content may be committed now.
    pub(super) fn take(&self, number: u64) -> Option<(Vec<Position>, Option<InodeId>)> {
        let mut state = lock(&self.state);
        let item = state.place(number).and_then(|place| state.queue.remove(place))?;
        let freed = state.unhold(holds(&item.mutation));
        state.untouch(&item.mutation);
        if let Some(inode) = item.after {
            count_down(&mut state.awaited, inode);
        }
        drop(state);
        self.done.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        self.shorter.notify_waiters();
        // A file that is made now may be one whose content something waits for.
        self.commit.notify_one();
        Some((item.notes, freed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cyx_core::ids::BucketId;

    #[test]
    fn what_takes_the_place_of_a_refused_change_takes_as_many_numbers_as_it_makes_changes() {
        let child = |byte: u8| Some(pb::Expected { child: Bytes::from(vec![byte; 16]), entry_version: 1 });
        let mutation = |replaced| {
            let rename = pb::Rename { expected: child(1), replaced, ..pb::Rename::default() };
            let operations = vec![pb::Operation { operation: Some(Op::Rename(rename)) }];
            pb::Mutation { operations, ..pb::Mutation::default() }
        };
        let (bucket, mutation_over) = (BucketId([1; 16]), mutation(child(2)));
        let note =
            Note { bucket, mutation: mutation_over, changes: 2, after: None, known: None, last: false, named: None };
        let local = Local::default();
        lock(&local.state).push(Position::for_tests(1), note, None, None);
        let changes = || local.batch().iter().map(|item| item.changes).collect::<Vec<_>>();
        assert_eq!(changes(), [2]);
        local.replace(0, mutation(None), None);
        assert_eq!(changes(), [1], "the name beside is free");
        local.replace(0, mutation(child(3)), None);
        assert_eq!(changes(), [2]);
    }
}
