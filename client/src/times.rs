//! How long things of one kind took lately, from which follows when another one is late.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Times that are remembered.
const SAMPLES: usize = 128;
/// Fewer than this say nothing about the slow ones among them,
const SAMPLES_MIN: usize = 8;
/// and fewer than this nothing about the usual ones.
const SAMPLES_FEW: usize = 3;
/// Nothing is asked for a second time sooner: what answers fast is not worth it.
const REPEAT_MIN: Duration = Duration::from_millis(20);

/// The newest times.
#[derive(Default)]
pub(crate) struct Times(Mutex<VecDeque<Duration>>);

impl Times {
    /// Remembers one.
    pub(crate) fn took(&self, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() == SAMPLES {
            times.pop_front();
        }
        times.push_back(time);
    }

    /// The time within which so many of 100 were done, once enough of them are known.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        self.percentile_of(percent, SAMPLES_MIN)
    }

    fn percentile_of(&self, percent: usize, samples: usize) -> Option<Duration> {
        let mut sorted: Vec<Duration> = {
            let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if times.len() < samples {
                return None;
            }
            times.iter().copied().collect()
        };
        sorted.sort_unstable();
        sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
    }

    /// When something small is worth asking for again over the same connection. If a packet was lost, TCP may wait for a fifth of a second and
    /// more before it sends it again; what is sent behind it makes the loss known after one round trip.
    pub(crate) fn repeat_after(&self) -> Option<Duration> {
        self.percentile_of(50, SAMPLES_FEW).map(|median| (median * 3 / 2).max(REPEAT_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_need_samples_and_forget_old_ones() {
        let times = Times::default();
        (0..2).for_each(|_| times.took(Duration::from_secs(1)));
        assert_eq!((times.percentile(95), times.repeat_after()), (None, None));
        times.took(Duration::from_secs(1));
        assert_eq!((times.percentile(95), times.repeat_after()), (None, Some(Duration::from_millis(1500))));
        for _ in 0..SAMPLES {
            times.took(Duration::from_secs(9));
        }
        for millis in 1..=100 {
            times.took(Duration::from_millis(millis));
        }
        assert_eq!(times.percentile(95), Some(Duration::from_secs(9)));
        assert_eq!(times.percentile(50), Some(Duration::from_millis(64)));
        assert_eq!(times.repeat_after(), Some(Duration::from_millis(96)));
        for _ in 0..SAMPLES {
            times.took(Duration::from_millis(7));
        }
        assert_eq!(
            (times.percentile(95), times.percentile(1)),
            (Some(Duration::from_millis(7)), Some(Duration::from_millis(7)))
        );
        assert_eq!(times.repeat_after(), Some(REPEAT_MIN));
    }
}
