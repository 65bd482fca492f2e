//! What is known of the names in a directory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use cyx_core::ids::InodeId;

use super::cookies::Places;
use super::index::NameIndex;
use super::node::{Node, Seen};

/// Names of one directory of which is known where they lead, at most, besides those that are not sent.
pub(crate) const KEPT: usize = 50_000;

/// Where a name leads.
pub(crate) enum Name {
    /// To an inode.
    Leads(Edge),
    /// Nowhere.
    Nothing(Seen),
    /// Something changed: ask. Where it led last, if it did and that is known.
    Unknown(Option<Edge>),
}

impl Name {
    /// What is known of it is not to be believed any more.
    fn doubted(self) -> Self {
        match self {
            Self::Leads(edge) => Self::Unknown(Some(edge)),
            Self::Nothing(_) => Self::Unknown(None),
            unknown @ Self::Unknown(_) => unknown,
        }
    }
}

/// An entry.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) node: Arc<Node>,
    /// Version of the entry, named in every change of it.
    pub(crate) version: u64,
    pub(crate) seen: Seen,
}

/// What is known of the names in a directory.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) names: HashMap<Box<[u8]>, Name>,
    /// Every name of the directory is in `names`.
    pub(crate) complete: Option<Seen>,
    /// Moves with every event and every change that concerns a name in it.
    pub(crate) moved: u64,
    /// Names that had to be asked for one by one.
    pub(crate) misses: u32,
    /// Too many names to be kept.
    pub(crate) large: bool,
    /// Of a large directory: every name of it is in here, or in `names`.
    pub(crate) index: Option<(Seen, NameIndex)>,
    pub(crate) used: Option<Instant>,
    /// What the kernel was last told of it from the beginning.
    pub(crate) shown: Option<Shown>,
}

/// A listing that the kernel was told and may have kept.
pub(crate) struct Shown {
    /// Where the counter of the names stood; `None` if it did not stand still.
    pub(crate) moved: Option<u64>,
    pub(crate) at: Instant,
    pub(crate) places: Arc<Places>,
}

impl Listing {
    /// Nothing is known any more.
    pub(crate) fn forget(&mut self) {
        self.names = HashMap::new();
        self.complete = None;
        self.index = None;
        self.shown = None;
        self.moved += 1;
        self.misses = 0;
    }

    /// As [`Self::forget`], but for the names that lead to one of these inodes. What is forgotten.
    pub(super) fn forget_but(&mut self, needed: &HashSet<InodeId>) -> HashMap<Box<[u8]>, Name> {
        let is_needed = |known: &Name| match known {
            Name::Leads(edge) | Name::Unknown(Some(edge)) => needed.contains(&edge.node.id),
            _ => false,
        };
        let mut forgotten = std::mem::take(&mut self.names);
        self.forget();
        self.names = forgotten.extract_if(|_, known| is_needed(known)).collect();
        forgotten
    }

    /// What is remembered of it, as it is counted.
    pub(super) fn size(&self) -> usize {
        self.names.len() + self.shown.as_ref().map_or(0, |shown| shown.places.len())
    }

    /// Something about this name changed.
    pub(crate) fn disbelieve(&mut self, name: &[u8]) {
        self.moved += 1;
        self.add_to_index(name);
        if self.complete.is_some() || self.names.contains_key(name) {
            let known = self.names.remove(name).map_or(Name::Unknown(None), Name::doubted);
            self.names.insert(name.into(), known);
        }
    }

    /// As [`Self::disbelieve`], whether anything is known of the name or not.
    pub(crate) fn doubt(&mut self, name: &[u8]) {
        self.disbelieve(name);
        self.names.entry(name.into()).or_insert(Name::Unknown(None));
    }

    /// A name may be there from now on.
    pub(crate) fn add_to_index(&mut self, name: &[u8]) {
        if self.index.as_mut().is_some_and(|(_, index)| !index.add(name)) {
            self.index = None;
        }
    }

    /// More is remembered than need be.
    pub(super) fn is_much(&self) -> bool {
        self.names.len() > KEPT && (self.complete.is_some() || self.index.is_some())
    }

    /// Forgets where the names of a large directory lead if too many are known, except those that nobody else could tell: which there are is
    /// known all the same. What is forgotten.
    pub(super) fn bound(&mut self, keep: &HashSet<InodeId>) -> Vec<(Box<[u8]>, Name)> {
        if let Some(seen) = self.complete {
            let mut index = NameIndex::default();
            let mut there = self.names.iter().filter(|(_, known)| !matches!(known, Name::Nothing(_)));
            let fits = there.all(|(name, _)| index.add(name));
            self.index = fits.then_some((seen, index));
        }
        (self.complete, self.shown, self.large) = (None, None, true);
        let is_kept = |known: &Name| matches!(known, Name::Leads(edge) if keep.contains(&edge.node.id));
        self.names.extract_if(|_, known| !is_kept(known)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: usize, complete: bool) -> Listing {
        let seen = Seen { at: Instant::now(), generation: 0, keys: 0, stale: false };
        let name = |number: usize| number.to_string().into_bytes().into_boxed_slice();
        Listing {
            names: (0..names).map(|number| (name(number), Name::Unknown(None))).collect(),
            complete: complete.then_some(seen),
            ..Listing::default()
        }
    }

    #[test]
    fn of_a_directory_that_grows_large_is_known_which_names_there_are() {
        assert!(!listing(KEPT, true).is_much() && !listing(KEPT + 1, false).is_much());
        let mut large = listing(KEPT + 1, true);
        assert!(large.is_much());
        assert_eq!(large.bound(&HashSet::new()).len(), KEPT + 1);
        assert!(large.names.is_empty() && large.complete.is_none() && large.large);
        let (_, index) = large.index.as_ref().unwrap();
        assert!(!index.lacks(b"50000") && index.lacks(b"another"));
        large.add_to_index(b"another");
        assert!(!large.index.as_ref().unwrap().1.lacks(b"another"));
    }

    #[test]
    fn what_is_doubted_is_remembered_as_it_was_known_last() {
        let mut known = listing(1, false);
        known.disbelieve(b"0");
        known.disbelieve(b"not known");
        assert_eq!(known.names.len(), 1);
        known.doubt(b"not known");
        assert!(matches!(known.names[&b"not known"[..]], Name::Unknown(None)));
        let mut complete = listing(0, true);
        complete.disbelieve(b"new");
        assert!(matches!(complete.names[&b"new"[..]], Name::Unknown(None)));
        let seen = Seen { at: Instant::now(), generation: 0, keys: 0, stale: false };
        assert!(matches!(Name::Nothing(seen).doubted(), Name::Unknown(None)));
    }
}
