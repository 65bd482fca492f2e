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
    /// Bytes of another file, which a record names, likewise.
    Shared {
        /// The record.
        position: Position,
        /// Bytes of it that come before.
        skip: u64,
    },
}

/// Changed ranges, neighbours together where that is possible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    /// Those with written bytes.
    pub data: Vec<Range<u64>>,
    /// Those that are holes.
    pub holes: Vec<Range<u64>>,
    /// Those that are shared: the record's sequence, and how many of its bytes come before.
    pub shared: Vec<(Range<u64>, u64, u64)>,
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
            Self::Shared { position, skip } => Self::Shared { position, skip: skip + bytes },
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

    /// What is said about a range alone; neighbours that reach beyond it included.
    #[must_use]
    pub fn within(&self, range: &Range<u64>) -> Self {
        let first = self.entries.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
        Self { entries: self.entries.range(first..range.end).map(|(start, entry)| (*start, *entry)).collect() }
    }

    /// Whether every byte of a range was written, none of them after this record.
    #[must_use]
    pub fn is_written_by(&self, range: &Range<u64>, sequence: u64) -> bool {
        let mut at = range.start;
        let first = self.entries.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
        for (start, entry) in self.entries.range(first..range.end) {
            if *start > at || entry.sequence > sequence || !matches!(entry.kind, Kind::Data { .. }) {
                return false;
            }
            at = entry.end;
        }
        at >= range.end
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

    /// Changed ranges below `len`.
    #[must_use]
    pub fn runs(&self, len: u64) -> Runs {
        let mut runs = Runs::default();
        for (start, entry) in self.entries.range(..len) {
            let range = *start..entry.end.min(len);
            let list = match entry.kind {
                Kind::Hole => &mut runs.holes,
                Kind::Data { .. } => &mut runs.data,
                Kind::Shared { position, skip } => {
                    runs.shared.push((range, position.sequence, skip));
                    continue;
                }
            };
            match list.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => list.push(range),
            }
        }
        runs
    }

    /// Bytes that were written and are not part of a version.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        let data = self.entries.iter().filter(|(_, entry)| matches!(entry.kind, Kind::Data { .. }));
        data.map(|(start, entry)| entry.end - start).sum()
    }

    /// The entries whose bytes lie in a file of the journal, and all holes.
    pub fn kept_by(&self, file: u64) -> impl Iterator<Item = (Range<u64>, Kind)> + '_ {
        self.entries.iter().filter_map(move |(start, entry)| match entry.kind {
            Kind::Data { position, .. } | Kind::Shared { position, .. } if position.file != file => None,
            kind => Some((*start..entry.end, kind)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(number: u8, sequence: u64) -> Kind {
        let position = Position::for_tests(sequence);
        match number {
            0 => Kind::Hole,
            1 => Kind::Shared { position, skip: 0 },
            _ => Kind::Data { position, skip: 0 },
        }
    }

    /// What a byte is: which kind, made by which record, and which byte of it.
    type Cell = Option<(u64, u8, u64)>;

    proptest! {
        /// Every byte is what was said of it last.
        #[test]
        fn the_last_change_of_a_byte_holds(
            steps in prop::collection::vec((0..64_u64, 1..32_u64, 0..4_u8), 1..40),
            forget in 0..40_u64,
        ) {
            let mut changes = Changes::default();
            let mut model: Vec<Cell> = vec![None; 128];
            for (sequence, (start, len, number)) in (1..).zip(&steps) {
                let range = *start..start + len;
                changes.set(range.clone(), kind(*number, sequence), sequence);
                for at in range {
                    model[usize::try_from(at).unwrap()] = Some((sequence, (*number).min(2), at - start));
                }
            }
            changes.forget(forget);
            model.iter_mut().filter(|cell| cell.is_some_and(|(sequence, ..)| sequence <= forget)).for_each(|cell| *cell = None);
            let is = |byte: u64| model[usize::try_from(byte).unwrap()];
            let mut at = 3;
            for part in changes.parts(3..100) {
                prop_assert_eq!(part.range.start, at);
                for byte in part.range.clone() {
                    let further = byte - part.range.start;
                    match (part.kind, is(byte)) {
                        (None, None) | (Some(Kind::Hole), Some((_, 0, _))) => {}
                        (Some(Kind::Shared { position, skip }), Some((sequence, 1, nth)))
                        | (Some(Kind::Data { position, skip }), Some((sequence, 2, nth))) => {
                            prop_assert_eq!((position.sequence, skip + further), (sequence, nth));
                        }
                        (said, expected) => prop_assert!(false, "{said:?} instead of {expected:?}"),
                    }
                }
                at = part.range.end;
            }
            prop_assert_eq!(at, 100);
            let Runs { data, holes, shared } = changes.runs(90);
            let covered = |ranges: &[Range<u64>], byte: u64| ranges.iter().any(|range| range.contains(&byte));
            for byte in 0..128 {
                let number = is(byte).filter(|_| byte < 90).map(|(_, number, _)| number);
                prop_assert_eq!(covered(&data, byte), number == Some(2));
                prop_assert_eq!(covered(&holes, byte), number == Some(0));
                let found = shared.iter().find(|(range, ..)| range.contains(&byte));
                let found = found.map(|(range, sequence, skip)| (*sequence, 1, skip + byte - range.start));
                prop_assert_eq!(found, is(byte).filter(|_| number == Some(1)));
            }
            let written = model.iter().flatten().filter(|(_, number, _)| *number == 2).count();
            prop_assert_eq!(changes.dirty_bytes(), written as u64);
        }
    }
}
