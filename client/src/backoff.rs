//! Waiting longer and longer between attempts, each time by a random part more or less, so that many clients of a server that
//! comes back do not all call at once.

use std::time::Duration;

use cyx_core::ids::random_bytes;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Attempts of one call.
#[derive(Debug)]
pub(crate) struct Backoff {
    left: u32,
    next: Duration,
}

impl Backoff {
    /// `attempts` in all; the first is made without waiting.
    pub(crate) const fn new(attempts: u32) -> Self {
        Self { left: attempts.saturating_sub(1), next: FIRST }
    }

    /// For what is repeated until it works.
    pub(crate) const fn endless() -> Self {
        Self { left: u32::MAX, next: FIRST }
    }

    /// Waits before the next attempt; `false` at once if there is none.
    pub(crate) async fn wait(&mut self) -> bool {
        let Some(pause) = self.pause() else { return false };
        tokio::time::sleep(pause).await;
        true
    }

    /// It worked: the next failure is waited for as shortly as the first.
    pub(crate) const fn reset(&mut self) {
        self.next = FIRST;
    }

    fn pause(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let base = self.next;
        self.next = (base * 2).min(LONGEST);
        // Between half and all of it.
        let [random] = random_bytes::<1>();
        Some(base / 2 + base.mul_f64(f64::from(random) / 512.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_end() {
        let mut backoff = Backoff::new(10);
        let pauses: Vec<Duration> = std::iter::from_fn(|| backoff.pause()).collect();
        assert_eq!(pauses.len(), 9);
        let mut base = FIRST;
        for pause in pauses {
            assert!(pause >= base / 2 && pause <= base, "{pause:?} of {base:?}");
            base = (base * 2).min(LONGEST);
        }
    }
}
