//! Audits: every node proves, again and again, that it still has what it was given to keep.
//!
//! The server draws random slices of random chunks and asks their nodes for a proof against the root it holds (`cyx_core::proof`), so
//! that it needs no copy and believes nobody. What fails is asked once more later before anybody is blamed; what fails then costs the
//! node its score and puts the shard into the queue of repairs. `docs/audits.md` has the arithmetic and the formula.
//!
//! | file | what it does |
//! |---|---|
//! | [`sample`] | draws chunks, each of a node's with the same chance |
//! | [`probe`] | asks a node for proofs and tells apart what can go wrong |
//! | [`score`] | what the outcomes are worth: a score, and a standing that follows from it |
//! | [`settle`] | one round's outcomes become rows: scores, rechecks, lost shards |
//! | [`rows`] | the same in the database |
//! | [`round`] | one round, and the task that begins them |
//! | [`hints`] | what nodes say of each other is looked at soon |
//! | [`appeal`] | how a disqualified node comes back |

pub mod appeal;
pub mod hints;
pub mod probe;
pub mod round;
pub mod rows;
pub mod sample;
pub mod score;
pub mod settle;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::round::run;
pub use self::score::Standing;

/// How often and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditOptions {
    /// From the beginning of one round to the next.
    pub every: Duration,
    /// Slices that a node proves in each round.
    pub slices: u32,
    /// What failed is asked once more after this.
    pub recheck: Duration,
    /// For the answer to one question, and for a connection.
    pub patience: Duration,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(600),
            slices: 5,
            recheck: Duration::from_secs(300),
            patience: Duration::from_secs(20),
        }
    }
}
