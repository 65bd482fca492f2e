//! Cutting a node's chunk ids into ranges that cover every id there is, without keeping all of them in memory.
//!
//! Ids come in any order and as often as they like. [`Smallest`] keeps the smallest of those behind a given one, up to a limit; [`cut`] makes
//! ranges of them. If some were dropped, the last range ends at the largest that was kept and the rest comes with another pass.

use cyx_core::ids::ChunkId;

/// Ids of one range. One part of it fits a message, and a node can name all of them as missing at once.
pub const RANGE_IDS: usize = 8192;
/// Ids that are kept at once: 16 MiB of them, twice that while they are being sorted out.
pub const KEPT_IDS: usize = 1 << 20;

/// The last id there is.
pub const LAST: ChunkId = ChunkId([0xff; 16]);

/// A range of ids and those in it that are to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// First id covered.
    pub first: ChunkId,
    /// Last id covered.
    pub last: ChunkId,
    /// Sorted.
    pub ids: Vec<ChunkId>,
}

/// The smallest ids behind `after` that were offered.
pub struct Smallest {
    after: Option<ChunkId>,
    limit: usize,
    ids: Vec<ChunkId>,
    /// Everything above was dropped.
    bound: Option<ChunkId>,
}

impl Smallest {
    /// Keeps at most `limit` ids greater than `after`.
    #[must_use]
    pub fn new(after: Option<ChunkId>, limit: usize) -> Self {
        Self { after, limit: limit.max(1), ids: Vec::new(), bound: None }
    }

    /// Offers an id.
    pub fn offer(&mut self, id: ChunkId) {
        let behind = self.after.is_none_or(|after| id > after);
        let within = self.bound.is_none_or(|bound| id <= bound);
        if behind && within {
            self.ids.push(id);
            if self.ids.len() >= self.limit * 2 {
                self.shrink();
            }
        }
    }

    fn shrink(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
        if self.ids.len() > self.limit {
            self.ids.truncate(self.limit);
            self.bound = self.ids.last().copied();
        }
    }

    /// The ids, sorted, and whether there are more behind them.
    #[must_use]
    pub fn finish(mut self) -> (Vec<ChunkId>, bool) {
        self.shrink();
        (self.ids, self.bound.is_some())
    }
}

/// Cuts sorted ids greater than `after` into ranges of at most `size`. Together they cover everything behind `after`: up to the last id
/// there is, or, if there are `more`, up to the last one given. Empty only if nothing is left to cover.
#[must_use]
pub fn cut(after: Option<ChunkId>, ids: &[ChunkId], more: bool, size: usize) -> Vec<Range> {
    let mut ranges = Vec::with_capacity(ids.len() / size.max(1) + 1);
    let mut next = match after {
        None => Some(ChunkId([0; 16])),
        Some(after) => successor(after),
    };
    let mut parts = ids.chunks(size.max(1)).peekable();
    while let Some(first) = next {
        let part = parts.next();
        let is_end = parts.peek().is_none();
        let last = match part.and_then(<[ChunkId]>::last) {
            Some(last) if !is_end || more => *last,
            None if more => return ranges,
            _ => LAST,
        };
        ranges.push(Range { first, last, ids: part.unwrap_or_default().to_vec() });
        if is_end {
            break;
        }
        next = successor(last);
    }
    ranges
}

fn successor(id: ChunkId) -> Option<ChunkId> {
    u128::from_be_bytes(id.0).checked_add(1).map(|next| ChunkId(next.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(value: u128) -> ChunkId {
        ChunkId(value.to_be_bytes())
    }

    proptest! {
        #[test]
        fn ranges_cover_everything_once_and_keep_every_id(
            values in proptest::collection::vec(any::<u128>(), 0..200),
            limit in 1_usize..60,
            size in 1_usize..20,
            start in proptest::option::of(any::<u128>()),
        ) {
            let all: std::collections::BTreeSet<ChunkId> = values.iter().copied().map(id).collect();
            let mut after = start.map(id);
            let mut next = start.map_or(Some(0), |start| start.checked_add(1));
            let mut kept = Vec::new();
            while let Some(first) = next {
                let mut smallest = Smallest::new(after, limit);
                // Twice, in another order, as a walk might.
                values.iter().chain(values.iter().rev()).for_each(|value| smallest.offer(id(*value)));
                let (ids, more) = smallest.finish();
                prop_assert!(ids.len() <= limit);
                let ranges = cut(after, &ids, more, size);
                prop_assert!(!ranges.is_empty());
                let mut expected = first;
                for range in &ranges {
                    prop_assert_eq!(range.first, id(expected));
                    prop_assert!(range.first <= range.last && range.ids.len() <= size);
                    prop_assert!(range.ids.is_sorted_by(|a, b| a < b));
                    prop_assert!(range.ids.iter().all(|id| (range.first..=range.last).contains(id)));
                    kept.extend(range.ids.iter().copied());
                    after = Some(range.last);
                    expected = u128::from_be_bytes(range.last.0).wrapping_add(1);
                }
                prop_assert_eq!(more, after != Some(LAST) || ranges.last().is_none_or(|range| range.last != LAST));
                next = after.and_then(successor).map(|id| u128::from_be_bytes(id.0));
            }
            let wanted: Vec<ChunkId> = all.into_iter().filter(|value| start.is_none_or(|start| *value > id(start))).collect();
            prop_assert_eq!(kept, wanted);
        }
    }

    #[test]
    fn a_node_that_holds_nothing_gets_one_range_over_everything() {
        assert_eq!(cut(None, &[], false, 10), [Range { first: id(0), last: LAST, ids: vec![] }]);
    }

    #[test]
    fn nothing_is_left_behind_the_last_id() {
        assert!(cut(Some(LAST), &[], false, 10).is_empty());
        let ranges = cut(None, &[LAST], false, 10);
        assert_eq!(ranges, [Range { first: id(0), last: LAST, ids: vec![LAST] }]);
    }
}
