//! A node that is emptied, watched until it is: what is said when it moves, and while it does not.

use std::time::{Duration, Instant};

use crate::output::human;

/// Between two words about a node from which nothing is moved.
const WORD: Duration = Duration::from_secs(30);

/// What was seen of a node that is emptied.
pub(super) struct Watched<P> {
    seen: Option<P>,
    /// When it last changed, and when that was last talked of.
    moved: Instant,
    said: Instant,
}

/// What is to be said after another look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// How far it is.
    Moved,
    /// That nothing has moved for so long.
    Stands(Duration),
    /// Nothing.
    Known,
}

impl<P: Clone + PartialEq> Watched<P> {
    pub(super) const fn new(now: Instant) -> Self {
        Self { seen: None, moved: now, said: now }
    }

    pub(super) fn look(&mut self, progress: &P, now: Instant) -> Look {
        if self.seen.as_ref() != Some(progress) {
            *self = Self { seen: Some(progress.clone()), ..Self::new(now) };
            return Look::Moved;
        }
        if now.saturating_duration_since(self.said) < WORD {
            return Look::Known;
        }
        self.said = now;
        Look::Stands(now.saturating_duration_since(self.moved))
    }
}

/// That a node is not being emptied, so that who waits for it can look why.
pub(super) fn stands(chunks: u64, bytes: u64, time: Duration) -> String {
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let since = human::local_time_seconds(now.saturating_sub(time.as_secs()));
    let chunks = human::count(chunks, "chunk", "chunks");
    format!("{chunks} ({}) left; nothing has moved since {since}.", human::bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_not_emptied_is_talked_of_now_and_then() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watched = Watched::new(begin);
        assert_eq!(watched.look(&2, at(1)), Look::Moved);
        assert_eq!(watched.look(&2, at(30)), Look::Known);
        assert_eq!(watched.look(&2, at(31)), Look::Stands(Duration::from_secs(30)));
        assert_eq!(watched.look(&2, at(60)), Look::Known);
        assert_eq!(watched.look(&2, at(61)), Look::Stands(Duration::from_secs(60)));
        assert_eq!(watched.look(&1, at(62)), Look::Moved);
        assert_eq!(watched.look(&1, at(91)), Look::Known);
        assert_eq!(watched.look(&1, at(92)), Look::Stands(Duration::from_secs(30)));
        let said = stands(1, 2048, Duration::from_secs(30));
        assert!(said.starts_with("1 chunk (") && said.contains("nothing has moved since "), "{said}");
    }
}
