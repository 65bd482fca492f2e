//! Small appends. A log that grows by lines would get one extent for every commit; so what is written at the end of a file is put together
//! with the small extents before it and becomes one blob with them.
//!
//! Sizes grow geometrically: an extent is written again only together with at least half as much behind it, so no byte is
//! written again more than a few times for every doubling, and of small extents a logarithmic number is left. Only what the server keeps
//! inline is put together whatever the sizes are: that is less than the commit itself.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use cyx_core::extent::Extent;
use cyx_core::units::INLINE_MAX;
use zeroize::Zeroizing;

use super::{Building, PlainSource};

/// Extents of this many bytes stay what they are.
const FULL: u64 = 1 << 20;
/// Bytes that one commit writes again of one file, at most.
const AGAIN_MAX: u64 = 2 << 20;
/// Bytes that commits of one call write again, at most: they are held in memory.
pub(super) const TOGETHER_MAX: u64 = 16 << 20;

/// Where the blob of a run at the end of a file begins, if it takes over small extents before it, down to `floor`. The extents are in order.
fn begin_of(before: &[Extent], floor: u64, run: &Range<u64>) -> u64 {
    let mut start = run.start;
    for extent in before.iter().rev() {
        let merged = run.end - start;
        let is_next = extent.end() == start && extent.file_offset >= floor;
        let is_inline = merged + extent.len <= INLINE_MAX;
        let is_worth = extent.len < FULL && extent.len / 2 <= merged;
        if !is_next || !(is_inline || is_worth) || run.start - extent.file_offset > AGAIN_MAX {
            break;
        }
        start = extent.file_offset;
    }
    start
}

/// What was written, behind bytes of the version before.
struct Joined {
    start: u64,
    before: Zeroizing<Vec<u8>>,
    written: Arc<dyn PlainSource>,
}

impl PlainSource for Joined {
    fn read_at(&self, offset: u64, plain: &mut [u8]) -> io::Result<()> {
        let inside = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let old = inside.and_then(|at| self.before.get(at..)).unwrap_or_default();
        let (known, rest) = plain.split_at_mut(old.len().min(plain.len()));
        known.copy_from_slice(&old[..known.len()]);
        if rest.is_empty() { Ok(()) } else { self.written.read_at(offset + known.len() as u64, rest) }
    }
}

impl Building {
    /// Takes small extents before what was appended into the blob that it becomes. `room` is what may be held in memory. What cannot be
    /// read now stays an extent of its own.
    pub(super) async fn take_over_small_extents(&mut self, room: &mut u64) {
        let patch = &self.patch;
        let Some(run) = patch.data.last().cloned() else { return };
        if run.start == 0 || run.start > patch.base.size() || run.end < patch.base.size() || !patch.ahead.is_empty() {
            return;
        }
        let others = patch.data.iter().chain(&patch.holes).chain(patch.shared.iter().map(|shared| &shared.range));
        let floor = others.map(|other| other.end).filter(|end| *end <= run.start).max().unwrap_or(0);
        let span = floor.max(run.start.saturating_sub(AGAIN_MAX))..run.start;
        let Ok(found) = patch.base.extents_in(span).await else { return };
        let before: Vec<Extent> = found.iter().filter_map(|extent| extent.clip(&(0..run.start))).collect();
        let start = begin_of(&before, floor, &run);
        let len = run.start - start;
        if len == 0 || len > *room {
            return;
        }
        let mut plain = Zeroizing::new(vec![0; usize::try_from(len).unwrap_or(0)]);
        if let Err(error) = patch.base.read_cached(start, &mut plain).await {
            tracing::debug!(%error, "small extents stay as they are");
            return;
        }
        *room -= len;
        let written = Arc::clone(&self.patch.source);
        self.patch.source = Arc::new(Joined { start, before: plain, written });
        if let Some(last) = self.patch.data.last_mut() {
            last.start = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::extent::{BlobHeader, WRAPPED_BLOB_KEY_LEN};
    use cyx_core::ids::BlobId;

    fn extent(range: Range<u64>) -> Extent {
        let len = range.end - range.start;
        Extent {
            file_offset: range.start,
            len,
            blob: BlobId([1; 16]),
            blob_offset: 0,
            key_epoch: 1,
            header: BlobHeader::new(len).unwrap(),
            wrapped_key: [0; WRAPPED_BLOB_KEY_LEN],
        }
    }

    /// Appends, commits each time; says how many extents were there at most and how many bytes were written, inline ones apart.
    fn grow(steps: impl Iterator<Item = u64>) -> (usize, u64, u64) {
        let (mut extents, mut most, mut size): (Vec<Extent>, usize, u64) = (Vec::new(), 0, 0);
        let (mut inline, mut stored) = (0, 0);
        for step in steps {
            let run = size..size + step;
            size = run.end;
            let start = begin_of(&extents, 0, &run);
            extents.retain(|extent| extent.file_offset < start);
            extents.push(extent(start..run.end));
            let blob = run.end - start;
            *(if blob <= INLINE_MAX { &mut inline } else { &mut stored }) += blob;
            let small = extents.iter().filter(|extent| extent.len < FULL).count();
            most = most.max(small);
        }
        assert_eq!(extents.last().unwrap().end(), size);
        assert!(extents.windows(2).all(|two| two[0].end() == two[1].file_offset));
        (most, stored, inline / INLINE_MAX)
    }

    #[test]
    fn ten_thousand_lines_are_a_few_extents_and_few_bytes_written_again() {
        let (extents, stored, commits) = grow(std::iter::repeat_n(20, 10_000));
        assert!(extents <= 12, "{extents}");
        assert!(stored <= 200_000 * 12, "{stored}");
        assert!(commits <= 10_000, "inline blobs are bounded by one for each commit");
    }

    #[test]
    fn other_sizes_do_no_worse() {
        for size in [1, 7, 100, 3000, 4096, 5000, 50_000, 300_000] {
            let count = (3 << 20) / size;
            let (extents, stored, _) = grow(std::iter::repeat_n(size, usize::try_from(count).unwrap()));
            assert!(extents <= 24, "{extents} of {size}");
            assert!(stored <= count * size * 16, "{stored} of {size}");
        }
        let mixed = (0..5000_u64).map(|step| 1 + step * step * 31 % 9000);
        let total: u64 = mixed.clone().sum();
        let (extents, stored, _) = grow(mixed);
        assert!(extents <= 24 && stored <= total * 16, "{extents} {stored}");
    }

    #[test]
    fn large_extents_holes_and_what_is_changed_otherwise_are_left_alone() {
        let run = 10_000..10_020;
        assert_eq!(begin_of(&[], 0, &run), 10_000);
        assert_eq!(begin_of(&[extent(9_980..9_990)], 0, &run), 10_000, "a hole is between");
        assert_eq!(begin_of(&[extent(9_980..10_000)], 0, &run), 9_980);
        assert_eq!(begin_of(&[extent(9_980..10_000)], 9_990, &run), 10_000, "it is changed in this commit");
        assert_eq!(begin_of(&[extent(0..10_000)], 0, &run), 10_000, "too much for twenty bytes");
        let large = (5 << 20)..(6 << 20);
        let small: Vec<Extent> = (0..5 << 10).map(|at| extent(at << 10..(at + 1) << 10)).collect();
        assert_eq!(begin_of(&small, 0, &large), 3 << 20, "bounded in one commit");
        let full = [extent(0..FULL)];
        assert_eq!(begin_of(&full, 0, &(FULL..9 * FULL)), FULL);
    }

    struct Letters;

    impl PlainSource for Letters {
        fn read_at(&self, offset: u64, plain: &mut [u8]) -> io::Result<()> {
            (offset..).zip(plain).for_each(|(at, byte)| *byte = b'a' + u8::try_from(at % 26).unwrap());
            Ok(())
        }
    }

    #[test]
    fn joined_bytes_come_from_where_they_are() {
        let joined = Joined { start: 3, before: Zeroizing::new(b"XYZ".to_vec()), written: Arc::new(Letters) };
        for start in 0..10_u64 {
            for len in 0..8_usize {
                // Runs before the joined one are written ones as a whole.
                if start < 3 && start + len as u64 > 3 {
                    continue;
                }
                let mut plain = vec![0; len];
                joined.read_at(start, &mut plain).unwrap();
                let expected = (start..start + len as u64).map(|at| {
                    if (3..6).contains(&at) {
                        b"XYZ"[usize::try_from(at).unwrap() - 3]
                    } else {
                        b'a' + u8::try_from(at).unwrap()
                    }
                });
                assert!(plain.iter().copied().eq(expected), "{start} {len}");
            }
        }
    }
}
