//! Keeps what happens again and again from filling the log: the same sentence is said once a minute.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same is said again after this.
const AGAIN: Duration = Duration::from_secs(60);
/// Sentences that are remembered.
const MOST: usize = 64;

/// Whether a sentence was said lately, by any mount of this process.
pub(crate) fn is_news(sentence: &str) -> bool {
    static SAID: LazyLock<Repeats> = LazyLock::new(Repeats::default);
    SAID.is_news(sentence, Instant::now())
}

#[derive(Default)]
struct Repeats {
    said: Mutex<HashMap<String, Instant>>,
}

impl Repeats {
    fn is_news(&self, sentence: &str, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(sentence).is_some_and(|at| now.duration_since(*at) < AGAIN) {
            return false;
        }
        if said.len() >= MOST {
            said.retain(|_, at| now.duration_since(*at) < AGAIN);
        }
        // So many different ones in a minute are worth their lines.
        if said.len() < MOST {
            said.insert(sentence.to_owned(), now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute_and_what_is_remembered_is_bounded() {
        let (repeats, began) = (Repeats::default(), Instant::now());
        assert!(repeats.is_news("full", began) && !repeats.is_news("full", began));
        assert!(repeats.is_news("away", began) && !repeats.is_news("full", began + AGAIN - Duration::from_nanos(1)));
        assert!(repeats.is_news("full", began + AGAIN) && !repeats.is_news("full", began + AGAIN));
        for number in 0..2 * MOST {
            assert!(repeats.is_news(&number.to_string(), began + AGAIN));
        }
        assert_eq!(repeats.said.lock().unwrap().len(), MOST);
        assert!(!repeats.is_news("full", began + AGAIN) && repeats.is_news("full", began + 2 * AGAIN));
    }
}
