//! The queue of decided changes: what can be sent, what waits for content, and what whoever asks has to wait for.

use std::collections::HashSet;

use cyx_core::ids::InodeId;
use cyx_proto::meta::v1 as pb;

use super::note::{Note, holds, loses, operation_of, touches};
use super::order::{Footprint, Waiting};
use super::{Local, State, count_down};
use crate::journal::Position;
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
    /// Its note in the journal.
    pub(super) note: Position,
    pub(super) mutation: pb::Mutation,
    pub(super) changes: u64,
    /// This file's content has to be committed before.
    pub(super) after: Option<InodeId>,
    /// The version that the file had here which loses a name.
    pub(super) known: Option<u64>,
    /// The lease under which it was decided, if under one.
    pub(super) under: Option<u64>,
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

/// The file whose content must not be committed before a change is done. Also one that loses a name, if it is looked at whether somebody else
/// has written to it: a version of this machine would be taken for one of somebody else.
fn held_by(mutation: &pb::Mutation, known: Option<u64>) -> Option<InodeId> {
    holds(mutation).or_else(|| known.and_then(|_| loses(mutation)))
}

impl State {
    /// Adds a change at the end; the file whose content must not be committed before, if there is one.
    pub(super) fn push(&mut self, note_at: Position, note: Note, under: Option<u64>) -> Option<InodeId> {
        let held = self.hold(held_by(&note.mutation, note.known));
        let Note { mutation, changes, after, known, .. } = note;
        for inode in touches(&mutation) {
            *self.touched.entry(inode).or_default() += 1;
        }
        if let Some(inode) = after {
            *self.awaited.entry(inode).or_default() += 1;
        }
        let changes = u64::from(changes);
        self.queue.push_back(Item { number: self.next, note: note_at, mutation, changes, after, known, under });
        self.next += 1;
        held
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

    fn place(&self, number: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&number, |item| item.number).ok()
    }

    /// The changes that can be sent in one call, in order: those that wait for content are left out, and what is built on them.
    pub(super) fn ready(&self, most: usize) -> Vec<Item> {
        let (mut ready, mut bytes, mut waiting) = (Vec::new(), 0, Waiting::default());
        for item in &self.queue {
            if item.after.is_none() && waiting.is_empty() {
                // The usual case: nothing waits.
            } else {
                let footprint = Footprint::of(&item.mutation);
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

    /// The changes that wait for the content of a file which the server knows, and the files.
    fn awaiting(&self) -> Vec<(u64, InodeId)> {
        let (mut found, mut made) = (Vec::new(), HashSet::new());
        for item in &self.queue {
            if let Some(pb::operation::Operation::Create(_)) = operation_of(&item.mutation) {
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
                waiting.add(Footprint::of(&item.mutation), item.after.is_some());
                waiting.holds_up(change)
            }),
        }
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

    /// What can be sent in one call.
    pub(super) fn batch(&self) -> Vec<Item> {
        lock(&self.state).ready(BATCH)
    }

    /// Something can be sent.
    pub(super) fn has_ready(&self) -> bool {
        !lock(&self.state).ready(1).is_empty()
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

    /// A version of a file was committed here: what was decided about it knows of that.
    pub(crate) fn note_commit(&self, inode: InodeId, version: u64) {
        let mut state = lock(&self.state);
        if !state.touched.contains_key(&inode) {
            return;
        }
        for item in &mut state.queue {
            if item.known.is_some_and(|known| known < version) && loses(&item.mutation) == Some(inode) {
                item.known = Some(version);
            }
        }
    }

    /// Another mutation takes the place of one that was refused.
    pub(super) fn replace(&self, number: u64, mutation: pb::Mutation) {
        let mut state = lock(&self.state);
        let Some(place) = state.place(number) else { return };
        for inode in touches(&mutation) {
            *state.touched.entry(inode).or_default() += 1;
        }
        let Some(item) = state.queue.get_mut(place) else { return };
        let (after, known) = (mutation.clone(), item.known.filter(|_| loses(&mutation).is_some()));
        let held_before = held_by(&item.mutation, item.known);
        let before = std::mem::replace(&mut item.mutation, mutation);
        item.known = known;
        state.hold(held_by(&after, known));
        state.unhold(held_before);
        state.untouch(&before);
    }

    /// A change is done with. The file whose content may be committed now.
    pub(super) fn take(&self, number: u64) -> Option<InodeId> {
        let mut state = lock(&self.state);
        let item = state.place(number).and_then(|place| state.queue.remove(place))?;
        let freed = state.unhold(held_by(&item.mutation, item.known));
        state.untouch(&item.mutation);
        if let Some(inode) = item.after {
            count_down(&mut state.awaited, inode);
        }
        drop(state);
        self.done.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        self.shorter.notify_waiters();
        // A file that is made now may be one whose content something waits for.
        self.commit.notify_one();
        freed
    }
}
