//! Ranges that are stored before there is a commit that refers to them, so that a long file is on its way to the nodes while it is still
//! being written. What is stored here and never committed is collected like anything else that a broken upload leaves.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use cyx_core::units::FRAME_PLAIN;

use super::{Made, PlainSource, Wanted};
use crate::error::{Error, Result};
use crate::transfer::upload::{Shipped, Uploads, sealed_len};

/// Segments that are stored, with the blobs in each.
pub(super) type Stored = Vec<(Shipped, Vec<Made>)>;
/// The same, or what stands in the way of which patches.
pub(super) type StoredFor = std::result::Result<Stored, (Error, Vec<usize>)>;

/// A range that is stored and waits for its commit.
pub struct Ahead {
    stored: Stored,
}

/// A range of a patch whose storing has begun already.
pub struct OnItsWay {
    /// Bytes of the file.
    pub range: Range<u64>,
    /// What becomes of it; `None` if that failed: then it is stored like the rest.
    pub ahead: Pin<Box<dyn Future<Output = Option<Ahead>> + Send + Sync>>,
}

impl Uploads {
    /// Stores a range of a file ahead of its commit. `coming` is how many plain bytes will probably follow.
    ///
    /// # Errors
    /// [`Error::TooFewNodes`], quota and network errors, [`Error::Local`] for the source.
    pub async fn ahead(&self, range: Range<u64>, source: Arc<dyn PlainSource>, coming: u64) -> Result<Ahead> {
        let mut ahead = Ahead { stored: Vec::new() };
        self.store_run(Wanted { patch: 0, range, source }, sealed_len(coming), &mut ahead.stored).await?;
        Ok(ahead)
    }

    /// What was on its way, or stored now if that came to nothing.
    pub(super) async fn arrived(
        &self,
        patch: usize,
        on_its_way: OnItsWay,
        source: Arc<dyn PlainSource>,
        coming: u64,
    ) -> StoredFor {
        let OnItsWay { range, ahead } = on_its_way;
        if let Some(ahead) = ahead.await {
            let mut stored = ahead.stored;
            stored.iter_mut().flat_map(|(_, made)| made).for_each(|made| made.patch = patch);
            return Ok(stored);
        }
        let mut stored = Vec::new();
        match self.store_run(Wanted { patch, range, source }, coming, &mut stored).await {
            Ok(()) => Ok(stored),
            Err(error) => Err((error, vec![patch])),
        }
    }

    /// `coming` is how many sealed bytes will probably follow.
    async fn store_run(&self, run: Wanted, coming: u64, stored: &mut Stored) -> Result<()> {
        let scheme = self.shared.leases.scheme(run.sealed_len().saturating_add(coming)).await?;
        // Who sends ahead expects a large file.
        let full = self.shared.transfer.tuning().segment_plain(scheme, u64::MAX);
        for range in even(run.range, full) {
            let piece = Wanted { patch: run.patch, range, source: Arc::clone(&run.source) };
            stored.push(self.ship_segment(vec![piece], scheme, coming).await?.map_err(|(error, _)| error)?);
        }
        Ok(())
    }
}

/// Parts of whole frames, as few and as even as a segment of `full` bytes allows.
fn even(range: Range<u64>, full: u64) -> impl Iterator<Item = Range<u64>> {
    let len = range.end - range.start;
    let step = len.div_ceil(len.div_ceil(full).max(1)).next_multiple_of(FRAME_PLAIN);
    let starts = std::iter::successors(Some(range.start), move |start| Some(start + step));
    starts.take_while(move |start| *start < range.end).map(move |start| start..range.end.min(start + step))
}

#[cfg(test)]
mod tests {
    use super::super::rest_of;
    use super::*;

    #[test]
    fn what_has_begun_is_not_stored_again() {
        let begun = |ranges: &[Range<u64>]| {
            let ahead = |range: &Range<u64>| OnItsWay { range: range.clone(), ahead: Box::pin(async { None }) };
            ranges.iter().map(ahead).collect::<Vec<_>>()
        };
        let data = [10..20, 30..60];
        assert_eq!(rest_of(&data, &[]), data);
        assert_eq!(rest_of(&data, &begun(&[12..14, 14..20, 30..40, 50..55])), [10..12, 40..50, 55..60]);
        assert!(rest_of(&data, &begun(&[10..20, 30..60])).is_empty());
    }

    #[test]
    fn a_run_is_cut_evenly() {
        let parts = |range, full| even(range, full).collect::<Vec<_>>();
        let frames = |from: u64, to: u64| from * FRAME_PLAIN..to * FRAME_PLAIN;
        assert_eq!(parts(frames(3, 13), 10 * FRAME_PLAIN), [frames(3, 13)]);
        assert_eq!(parts(frames(0, 1280), 1278 * FRAME_PLAIN), [frames(0, 640), frames(640, 1280)]);
        assert_eq!(parts(frames(2, 3), FRAME_PLAIN).first(), Some(&frames(2, 3)));
        let odd = parts(7..7 + 5 * FRAME_PLAIN + 1, 2 * FRAME_PLAIN);
        assert_eq!(
            odd,
            [
                7..7 + 2 * FRAME_PLAIN,
                7 + 2 * FRAME_PLAIN..7 + 4 * FRAME_PLAIN,
                7 + 4 * FRAME_PLAIN..7 + 5 * FRAME_PLAIN + 1
            ]
        );
    }
}
