//! What went wrong behind everybody's back, for whoever looks later. Bounded: the oldest is forgotten first.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Problems that are remembered.
const MOST: usize = 32;
/// Of each so many characters.
const LONGEST: usize = 1000;

/// Something that went wrong, or that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// When it was said last, in seconds since 1970.
    pub at: u64,
    /// What, in one sentence.
    pub what: String,
}

/// The latest problems, in their order.
#[derive(Default)]
pub(crate) struct Problems(VecDeque<Problem>);

impl Problems {
    /// Remembers one. The same is remembered once.
    pub(crate) fn note(&mut self, what: &str) {
        let what: String = what.chars().take(LONGEST).collect();
        self.0.retain(|problem| problem.what != what);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.0.push_back(Problem { at, what });
    }

    /// All of them, the latest last.
    pub(crate) fn all(&self) -> Vec<Problem> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_each_once() {
        let mut problems = Problems::default();
        for number in 0..2 * MOST {
            problems.note(&format!("problem {number}"));
        }
        problems.note(&format!("problem {}", MOST + 5));
        problems.note(&"x".repeat(2 * LONGEST));
        let all = problems.all();
        assert_eq!((all.len(), &all[0].what[..]), (MOST, &format!("problem {}", MOST + 1)[..]));
        assert_eq!(
            (&all[MOST - 2].what[..], all[MOST - 1].what.len()),
            (&format!("problem {}", MOST + 5)[..], LONGEST)
        );
        assert!(all[MOST - 2].at > 0);
    }
}
