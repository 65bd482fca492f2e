//! What was changed in a file since its last version: which ranges, and where their bytes are. In memory are only places in the
//! journal, so that a file of any size can be written with little.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::journal::Position;

/// What a range of a file is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Zeros that take no room.
    Hole,
    /// Bytes of a record, from this many bytes behind its first on.
    Data {
        /// The record.
        position: Position,
        /// Bytes of it that come before.
        skip: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    end: u64,
    kind: Kind,
    /// Of the record that made it.
    sequence: u64,
}

/// A part of a range, and what it is; `None`: what the version says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the file.
    pub range: Range<u64>,
    /// What they are.
    pub kind: Option<Kind>,
}

/// The changes of one file.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    entries: BTreeMap<u64, Entry>,
}

impl Kind {
    fn skip(self, bytes: u64) -> Self {
        match self {
            Self::Hole => Self::Hole,
            Self::Data { position, skip } => Self::Data { position, skip: skip + bytes },
        }
    }
}

impl Changes {
    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A range is something else now.
    pub fn set(&mut self, range: Range<u64>, kind: Kind, sequence: u64) {
        if range.is_empty() {
            return;
        }
        self.cut(range.clone());
        self.entries.insert(range.start, Entry { end: range.end, kind, sequence });
    }

    /// Removes what is said about a range.
    fn cut(&mut self, range: Range<u64>) {
        let before = self.entries.range(..range.start).next_back().map(|(start, entry)| (*start, *entry));
        if let Some((start, entry)) = before.filter(|(_, entry)| entry.end > range.start) {
            self.entries.insert(start, Entry { end: range.start, ..entry });
            if entry.end > range.end {
                let kind = entry.kind.skip(range.end - start);
                self.entries.insert(range.end, Entry { kind, ..entry });
            }
        }
        let inside: Vec<u64> = self.entries.range(range.clone()).map(|(start, _)| *start).collect();
        for start in inside {
            let Some(entry) = self.entries.remove(&start) else { continue };
            if entry.end > range.end {
                let kind = entry.kind.skip(range.end - start);
                self.entries.insert(range.end, Entry { kind, ..entry });
            }
        }
    }

    /// Forgets everything that records up to this one have changed: a version has it now.
    pub fn forget(&mut self, upto: u64) {
        self.entries.retain(|_, entry| entry.sequence > upto);
    }

    /// The parts of a range, in order and without gaps.
    #[must_use]
    pub fn parts(&self, range: Range<u64>) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut at = range.start;
        let first = self.entries.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
        for (start, entry) in self.entries.range(first..range.end) {
            if entry.end <= at {
                continue;
            }
            let from = (*start).max(at);
            if from > at {
                parts.push(Part { range: at..from, kind: None });
            }
            let to = entry.end.min(range.end);
            parts.push(Part { range: from..to, kind: Some(entry.kind.skip(from - start)) });
            at = to;
        }
        if at < range.end {
            parts.push(Part { range: at..range.end, kind: None });
        }
        parts
    }

    /// Changed ranges below `len`, neighbours together: those with bytes and those that are holes.
    #[must_use]
    pub fn runs(&self, len: u64) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
        let (mut data, mut holes): (Vec<Range<u64>>, Vec<Range<u64>>) = (Vec::new(), Vec::new());
        for (start, entry) in self.entries.range(..len) {
            let range = *start..entry.end.min(len);
            let list = if entry.kind == Kind::Hole { &mut holes } else { &mut data };
            match list.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => list.push(range),
            }
        }
        (data, holes)
    }

    /// Bytes that were written and are not part of a version.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        let data = self.entries.iter().filter(|(_, entry)| entry.kind != Kind::Hole);
        data.map(|(start, entry)| entry.end - start).sum()
    }

    /// The entries whose bytes lie in a file of the journal, and all holes.
    pub fn kept_by(&self, file: u64) -> impl Iterator<Item = (Range<u64>, Kind)> + '_ {
        self.entries.iter().filter_map(move |(start, entry)| match entry.kind {
            Kind::Data { position, .. } if position.file != file => None,
            kind => Some((*start..entry.end, kind)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(sequence: u64) -> Kind {
        Kind::Data { position: Position::for_tests(sequence), skip: 0 }
    }

    proptest! {
        /// Every byte is what was said of it last.
        #[test]
        fn the_last_change_of_a_byte_holds(
            steps in prop::collection::vec((0..64_u64, 1..32_u64, any::<bool>()), 1..40),
            forget in 0..40_u64,
        ) {
            let mut changes = Changes::default();
            let mut model: Vec<Option<(u64, Option<u64>)>> = vec![None; 128];
            for (sequence, (start, len, hole)) in (1..).zip(&steps) {
                let range = *start..start + len;
                changes.set(range.clone(), if *hole { Kind::Hole } else { data(sequence) }, sequence);
                for at in range {
                    model[usize::try_from(at).unwrap()] = Some((sequence, (!hole).then_some(at - start)));
                }
            }
            changes.forget(forget);
            model.iter_mut().filter(|byte| byte.is_some_and(|(sequence, _)| sequence <= forget)).for_each(|byte| *byte = None);
            let mut at = 3;
            for part in changes.parts(3..100) {
                prop_assert_eq!(part.range.start, at);
                for byte in part.range.clone() {
                    let said = part.kind.map(|kind| match kind {
                        Kind::Hole => None,
                        Kind::Data { position, skip } => Some((position.sequence, skip + byte - part.range.start)),
                    });
                    let expected = model[usize::try_from(byte).unwrap()].map(|(sequence, skip)| skip.map(|skip| (sequence, skip)));
                    prop_assert_eq!(said, expected);
                }
                at = part.range.end;
            }
            prop_assert_eq!(at, 100);
            let (data, holes) = changes.runs(90);
            let covered = |ranges: &[Range<u64>], byte: u64| ranges.iter().any(|range| range.contains(&byte));
            for byte in 0..128 {
                let is = model[usize::try_from(byte).unwrap()];
                prop_assert_eq!(covered(&data, byte), byte < 90 && is.is_some_and(|(_, skip)| skip.is_some()));
                prop_assert_eq!(covered(&holes, byte), byte < 90 && is.is_some_and(|(_, skip)| skip.is_none()));
            }
            let written = model.iter().filter(|byte| byte.is_some_and(|(_, skip)| skip.is_some())).count();
            prop_assert_eq!(changes.dirty_bytes(), written as u64);
        }
    }
}
