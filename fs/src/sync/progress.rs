//! Whether anything still gets through, for whoever waits until everything dirty is sent.
//!
//! What is dirty is less only when a whole file, or many small ones, are stored and committed, and over a narrow link that takes minutes. So
//! bytes that go to storage nodes count as well; but only as many as what is left can take, or what fails for ever would be waited for as
//! long as it is tried again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::vfs::MountState;

/// Without any progress for so long, what is left is given up.
pub(crate) const WITHOUT_PROGRESS: Duration = Duration::from_secs(30);
/// Times that what is dirty may be sent: coded it is more, and a part of it is sent again after failures.
const TIMES: u64 = 4;
/// Bytes that may be sent however little is dirty.
const AT_LEAST: u64 = 64 << 20;

/// Notices when nothing gets through any more.
pub(crate) struct Progress {
    last: Mutex<Last>,
}

struct Last {
    at: Instant,
    /// Dirty bytes and files.
    left: u64,
    /// Bytes that had gone to nodes.
    sent: u64,
    /// More of them count for nothing until less is dirty.
    sent_max: u64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { last: Mutex::new(Last { at: Instant::now(), left: u64::MAX, sent: 0, sent_max: 0 }) }
    }

    /// Whether something got through: less is dirty than ever before, or bytes went out.
    pub(crate) fn note(&self, state: &MountState) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, sent) = (state.dirty_bytes.saturating_add(state.dirty_files), state.sent_bytes);
        if left < last.left {
            let sent_max = sent.saturating_add(left.saturating_mul(TIMES).max(AT_LEAST));
            *last = Last { at: Instant::now(), left, sent, sent_max };
            return true;
        }
        let moved = sent.min(last.sent_max) > last.sent;
        if moved {
            (last.at, last.sent) = (Instant::now(), sent);
        }
        moved
    }

    /// Returns when nothing has got through for [`WITHOUT_PROGRESS`].
    pub(crate) async fn stalled(&self) {
        loop {
            let until = self.last.lock().unwrap_or_else(PoisonError::into_inner).at + WITHOUT_PROGRESS;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_when_less_is_dirty() {
        let progress = Progress::new();
        let dirty = |dirty_bytes| MountState { dirty_bytes, ..MountState::default() };
        assert!(progress.note(&dirty(10)));
        assert!(!progress.note(&dirty(10)));
        assert!(!progress.note(&dirty(20)));
        assert!(progress.note(&dirty(9)));
        let names = |dirty_files| MountState { dirty_files, ..MountState::default() };
        assert!(progress.note(&names(8)) && progress.note(&names(7)), "names without bytes are sent as well");
    }

    #[test]
    fn what_goes_out_is_progress_until_it_is_far_more_than_what_is_left() {
        let progress = Progress::new();
        let state = |dirty_bytes, sent_bytes| MountState { dirty_bytes, sent_bytes, ..MountState::default() };
        let gib = 1 << 30;
        assert!(progress.note(&state(gib, 5)) && !progress.note(&state(gib, 5)));
        assert!(progress.note(&state(gib, 6)) && progress.note(&state(gib, 4 * gib)));
        assert!(progress.note(&state(gib, 5 * gib)), "all of the allowance is used up");
        assert!(!progress.note(&state(gib, 6 * gib)));
        assert!(progress.note(&state(1, 6 * gib)), "a file is committed");
        assert!(progress.note(&state(1, 6 * gib + AT_LEAST)) && !progress.note(&state(1, 7 * gib)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_takes_nothing_is_not_waited_for_for_ever() {
        let progress = Progress::new();
        let began = Instant::now();
        let sending = async {
            for sent_bytes in 1..10 {
                progress.note(&MountState { dirty_bytes: 5, sent_bytes, ..MountState::default() });
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        };
        tokio::join!(progress.stalled(), sending);
        assert_eq!(began.elapsed(), Duration::from_secs(8 * 20) + WITHOUT_PROGRESS);
    }
}
